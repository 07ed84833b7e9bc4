"""What the stages cost that ask networks without training them: encode, invert, decode and label."""

from distill.costs.images import JOINED, pixels
from distill.costs.microbenchmark import Bytes, Microbenchmark, Repeated
from distill.costs.networks import autoencoding, classifier, prediction
from distill.models.autoencoder import BATCH
from distill.models.soft_labels import bytes_an_image
from distill.recipe.codes import taken
from distill.recipe.images import PretrainedCodec
from distill.stages.codec import CodecStage
from distill.stages.decode import DiffusionStage
from distill.stages.draw import images_of
from distill.stages.encode import EncodeStage, LatentStage
from distill.stages.features import FeaturesStage
from distill.stages.invert import InvertStage
from distill.stages.label import LABEL_BATCH, ImageLabelStage, StoredLabelStage
from distill.stages.prior import PriorStage
from distill.stages.teacher import TeacherStage


def of_codec(codec: CodecStage, half: str, most: int) -> Microbenchmark:
    """A batch of the ``encoder`` or the ``decoder``, of ``most`` at most."""
    batch = codec.section.batch if isinstance(codec.section, PretrainedCodec) else BATCH
    return autoencoding(codec.digest, codec.untrained, half, codec.shape(half), min(most, batch), codec.dtype)


def of_prior(prior: PriorStage, batch: int) -> Microbenchmark:
    """The prediction for a batch of latents under one condition."""
    return prediction(prior.digest, prior.untrained, prior.shape, batch, prior.dtype, text=prior.text_width)


def of_teacher(teacher: TeacherStage, batch: int, precision: str = "float32") -> Microbenchmark:
    """Its logits for a batch of images."""
    return classifier(teacher.digest, teacher.untrained, teacher.shape, batch, precision)


def encode(stage: EncodeStage) -> list[Repeated]:
    """Every training image by the encoder."""
    images = len(stage.data.train)
    return [Repeated(images, f"{images:,} images by the encoder", of_codec(stage.codec, "encoder", images))]


def features(stage: FeaturesStage) -> list[Repeated]:
    """Every image of the split by the network."""
    images, network = len(stage.data.split(stage.split)), stage.network
    benchmark = classifier(network.digest, network.untrained, network.shape, min(images, stage.at_once), stage.dtype)
    return [Repeated(images, f"{images:,} images by the network", benchmark)]


def features_disk(stage: FeaturesStage) -> Bytes:
    """Its features of each image, in float32."""
    images = len(stage.data.split(stage.split))
    return Bytes(4.0 * images * stage.entries, f"{images:,} images × {stage.entries:,} features × 4 bytes")


def latents_disk(stage: LatentStage) -> Bytes:
    """A latent per image, as it is stored."""
    codec, images, entries = stage.recipe.codec, len(stage.data.train), stage.entries
    each = 2 if isinstance(codec, PretrainedCodec) and codec.stored == "float16" else 4
    return Bytes(float(images * entries * each), f"{images:,} images × {entries:,} entries × {each} bytes")


def invert(stage: InvertStage) -> list[Repeated]:
    """Every latent by so many predictions, twice as many under guidance."""
    decode, images = stage.recipe.decode, len(stage.data.train)
    calls = taken(decode.steps, decode.strength) * (1 if decode.inversion_guidance == 1 else 2)
    return [Repeated(images * calls, f"{images:,} images × {calls} predictions", of_prior(stage.prior, decode.batch))]


def decode(stage: DiffusionStage) -> list[Repeated]:
    """Every code by the prior's predictions, the decoder, and the encoder again."""
    section, codes = stage.recipe.decode, stage.select.count()
    most = max(-(-codes // len(stage.parts())), 1)  # a class's codes, of all draws
    halves = [Repeated(codes, f"{codes:,} codes by the {h}", of_codec(stage.codec, h, most)) for h in ("decoder", "encoder")]
    if stage.prior is None:
        return halves
    guided = [section.guidance, *([section.inversion_guidance] if stage.inverts else [])]
    calls = taken(section.steps, section.strength) * sum(1 if scale == 1 else 2 for scale in guided)
    predictions = of_prior(stage.prior, min(section.batch, most))
    return [Repeated(codes * calls, f"{codes:,} codes × {calls} predictions", predictions), *halves]


def decoded_disk(stage: DiffusionStage) -> Bytes:
    """Of each code the latent of its image, the image, and its tile in the sheet."""
    codes, entries = stage.select.count(), stage.codec.channels * stage.codec.side**2
    each = 8 * entries + 2 * stage.data.channels * stage.data.size**2
    return Bytes(
        float(codes * each), f"{codes:,} codes × {each:,} bytes: latents, pixels, and as many again in the sheets at most"
    )


def label_images(stage: ImageLabelStage) -> list[Repeated]:
    """Every distilled image by the teacher."""
    images = sum(images_of(draw, stage.data) for draw in stage.draws)
    return [Repeated(images, f"{images:,} images by the teacher", of_teacher(stage.teacher, LABEL_BATCH))]


def label_epochs(stage: StoredLabelStage) -> list[Repeated]:
    """Every image of every epoch of every student by the teacher."""
    seen = stage.seen()
    return [Repeated(seen, f"{seen:,} images seen by the teacher", of_teacher(stage.teacher, LABEL_BATCH))]


def labels_disk(stage: StoredLabelStage) -> Bytes:
    """The compressed logits of all of them."""
    each, seen = bytes_an_image(len(stage.data.classes), stage.recipe.label.top), stage.seen()
    return Bytes(float(seen * each), f"{seen:,} images seen × {each:,} bytes")


def labels_memory(stage: StoredLabelStage) -> Bytes:
    """The largest set that is labelled."""
    most = max(images_of(run.draw, stage.data) for run in stage.all_runs.values())
    return pixels(stage.data, {JOINED: 2 * most})
