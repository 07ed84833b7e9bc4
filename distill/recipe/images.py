"""The sections from images to latents: data and codec."""

from typing import Annotated, Literal

from pydantic import Field

from distill.recipe.section import LocalPath, Precision, Registered, Section, Steps, Training, by_source, tag

Share = Annotated[float, Field(ge=0, lt=1)]


class DigitsData(Section):
    """scikit-learn's digits. size: pixels a side. test_fraction: of each class, kept for evaluation alone.

    validation_fraction: to choose options by, hold this share of the training images out and evaluate there; the test images are
    then not looked at. seed: of what is held out.
    """

    source: Literal["digits"]
    size: Annotated[int, Field(ge=8, multiple_of=8)]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    validation_fraction: Share = 0.0
    seed: int = Field(0, ge=0, lt=2**32)


class Photos(Section):
    """What all image sets on disk share.

    path: of the data. size: pixels a side. resize: the centre cut out (``crop``) or both sides scaled (``stretch``).
    subset: classes to keep: ``imagenette``, ``imagewoof``, ``imagenet-100``, a text file with one per line, or a list.
    names: what people and prompts call a class, where it is not ImageNet's name of a WordNet id.
    bits: of the largest value that 16-bit images hold, such as 12; not set, 16 if any image has so large values.
    max_unreadable: the share of the images that may be unreadable (they are skipped and listed) before the run is stopped.
    test_fraction: of each class, where the data has no test split of its own. validation_fraction: to choose options by, as for
    the digits. seed: of what is held out.
    """

    path: LocalPath
    size: Annotated[int, Field(ge=8, multiple_of=8)]
    resize: Literal["crop", "stretch"] = "crop"
    subset: str | list[str] | None = None
    names: dict[str, str] = Field(default_factory=dict)
    bits: Annotated[int, Field(ge=9, le=16)] | None = None
    max_unreadable: Annotated[float, Field(ge=0, le=1)] = 0.001
    test_fraction: Share = 0.0
    validation_fraction: Share = 0.0
    seed: int = Field(0, ge=0, lt=2**32)


class FolderData(Photos):
    """A folder of images for each class: ``<path>/<train>/<class>/*.JPEG`` and ``<path>/<test>/<class>/*.JPEG``.

    splits: their folders are ``named``, or ``found``: also other usual names are taken, and where there is no folder for training
    ``path`` itself holds the classes; test_fraction then counts only without a folder for the test.
    """

    source: Literal["folder"]
    train: str = "train"
    test: str = "val"
    splits: Literal["named", "found"] = "named"


class Table(Photos):
    """Rows that the datasets library opens. image, label: columns. labels: what numbers stand for, if the data don't say."""

    image: str = "image"
    label: str = "label"
    labels: Literal["imagenet-1k"] | None = None


class ParquetData(Table):
    """Parquet files below ``path``; train, test: patterns of their names."""

    source: Literal["parquet"]
    train: str = "train*.parquet"
    test: str = "val*.parquet"


class WebdatasetData(Table):
    """Shards (tar files) below ``path``; train, test: patterns of their names.

    image: endings, of which each sample has one.
    """

    source: Literal["webdataset"]
    train: str = "*train*.tar"
    test: str = "*val*.tar"
    image: str = "jpg;jpeg;png;webp"
    label: str = "cls"


class HubData(Table):
    """A data set by its name on a hub, or its folder. revision: the commit, which names the content. train, test: splits."""

    source: Literal["hub"]
    revision: str = ""
    train: str = "train"
    test: str = "validation"


TableData = ParquetData | WebdatasetData | HubData
PhotoData = FolderData | TableData
Data = Annotated[
    Annotated[DigitsData, tag("digits")]
    | Annotated[FolderData, tag("folder")]
    | Annotated[ParquetData, tag("parquet")]
    | Annotated[WebdatasetData, tag("webdataset")]
    | Annotated[HubData, tag("hub")],
    by_source("digits", "folder", "parquet", "webdataset", "hub"),
]


class TrainedCodec(Training):
    """A KL autoencoder, trained here: latents of ``latent_channels`` × size/2^(levels − 1) a side.

    channels: of each level. kl_weight: of the divergence from N(0, I).
    """

    source: Literal["train"]
    latent_channels: Steps
    channels: Annotated[list[Annotated[int, Field(ge=4, multiple_of=4)]], Field(min_length=1)]
    kl_weight: Annotated[float, Field(ge=0)]


class PretrainedCodec(Precision):
    """An autoencoder that others trained, of a ``kind`` of diffusers'. path: its folder, or its name on a hub (with the commit as
    ``revision``).

    subfolder: where the autoencoder lies within it. size: pixels a side of what it encodes and decodes, ``data.size`` by default;
    decoded images are scaled to ``data.size``. latents: the posterior's mean, or a sample with a seed of its own for every
    image. stored: the precision of the latents on disk. batch: images at once; halved where memory runs out.
    """

    source: Literal["pretrained"]
    kind: Literal["AutoencoderKL", "AutoencoderTiny"]
    path: LocalPath
    subfolder: str = ""
    revision: str = ""
    size: Annotated[int, Field(ge=8, multiple_of=8)] | None = None
    latents: Literal["mean", "sample"] = "mean"
    stored: Literal["float32", "float16"] = "float32"
    batch: Steps = 32


class NoCodec(Section):
    """Nothing is encoded: codes are features, and images real ones."""

    source: Literal["none"]


Codec = Annotated[
    Annotated[TrainedCodec, tag("train")]
    | Annotated[PretrainedCodec, tag("pretrained")]
    | Annotated[NoCodec, tag("none")]
    | Annotated[Registered, tag("registered")],
    by_source("train", "pretrained", "none", group="codecs"),
]
