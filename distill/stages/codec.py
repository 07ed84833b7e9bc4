"""The codec between images and latents: a KL autoencoder trained here, or one that others trained."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from distill.images import Held, Images
from distill.models.kept import kept
from distill.models.pretrained import Pretrained
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.pipeline.work import Rehearsal, Work
from distill.recipe import Recipe, RecipeError
from distill.recipe.images import PretrainedCodec, TrainedCodec
from distill.stages.survey import SurveyStage

if TYPE_CHECKING:
    from distill.models.autoencoder import Autoencoder


class CodecStage(Stage):
    """What encodes images and decodes latents. size: of its images. channels, side: of its latents, (channels, side, side)."""

    name = "codec"
    size: int
    channels: int
    side: int
    _colours: int

    def parts(self) -> list[str]:
        return ["model"]

    @abstractmethod
    def rehearsal(self, half: str, most: int) -> Rehearsal:
        """A batch of the ``encoder`` or the ``decoder``, of ``most`` at most."""

    @abstractmethod
    def load(self, read: Reader) -> "Autoencoder":
        """The model, kept by this process."""

    def _shape(self, half: str) -> tuple[int, int, int]:
        """Of what a half is given."""
        return (self._colours, self.size, self.size) if half == "encoder" else (self.channels, self.side, self.side)


class TrainedCodecStage(CodecStage):
    r"""$\min E|D(z) - x|^2 + \beta\, KL(q(z|x) \| N(0, I))$ over encoder and decoder, both terms per entry.

    Latents are then scaled to mean 0 and variance 1 over the training images; the model's configuration holds shift and factor.
    Its folder loads with ``AutoencoderKL.from_pretrained``.
    """

    def __init__(self, recipe: Recipe, options: TrainedCodec, data: Images, survey: SurveyStage) -> None:
        self._recipe, self._options, self._data, self._survey = recipe, options, data, survey
        self.parents = (survey,)
        self.device = recipe.compute.device
        self._colours, self.size = data.channels, data.size
        self.channels, self.side = options.latent_channels, data.size // 2 ** (len(options.channels) - 1)

    def options(self) -> Mapping[str, Any]:
        return {**self._options.model_dump(), "data": self._data.fingerprint}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models import diffusion
        from distill.models.convnet import scaled
        from distill.models.training import train

        options, device = self._options, self.device
        images = torch.from_numpy(self._data.train.read(self._survey.all_readable(read, "train"))).to(device)
        model = self._new().to(device)
        generator = torch.Generator().manual_seed(seed_of(self.digest, "batches"))

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            pixels = scaled(images[chosen.to(device)])
            posterior = model.encode(pixels).latent_dist
            latents = posterior.sample(generator=generator)
            divergence = posterior.kl().mean() / latents[0].numel()
            return (model.decode(latents).sample - pixels).square().mean() + options.kl_weight * divergence

        train(model, loss, len(images), options, generator, progress, checkpoint=read.checkpoint(self, part))
        model.eval()
        with torch.no_grad():
            latents = torch.cat([model.encode(scaled(batch)).latent_dist.mode() for batch in images.split(512)])
        model.register_to_config(scaling_factor=1 / float(latents.std()), shift_factor=float(latents.mean()))
        return diffusion.files(model.cpu())

    def rehearsal(self, half: str, most: int) -> Rehearsal:
        from distill.models.autoencoder import BATCH
        from distill.models.rehearsal import coding

        return coding(self.digest, self._new, half, self._shape(half), min(most, BATCH))

    def weight(self) -> tuple[float, str]:
        from distill.models.rehearsal import TRAINED, weight

        return weight(self._new, TRAINED)

    def resident(self) -> tuple[float, str]:
        images, each = len(self._data.train), self._data.bytes_an_image
        return float(images * each), f"{images:,} training images × {each:,} bytes"

    def work(self) -> list[Work]:
        from distill.models.rehearsal import ADAMW, reconstructing, weight

        options, images = self._options, self.resident()[0]
        rehearsal = reconstructing(self.digest, self._new, self._shape("encoder"), options.batch)
        kept = weight(self._new, ADAMW)[0] + images
        return [Work(options.steps * options.batch, f"{options.steps:,} steps of {options.batch}", rehearsal, kept)]

    def _new(self) -> Any:
        from distill.models.diffusion import new_autoencoder

        options, data = self._options, self._data
        widths = tuple(options.channels)
        return new_autoencoder(channels=data.channels, size=data.size, latent_channels=options.latent_channels, widths=widths)

    def load(self, read: Reader) -> "Autoencoder":
        from distill.models.autoencoder import Autoencoder
        from distill.models.diffusion import load_autoencoder

        folder = read.check(self, "model")
        return kept((folder, self.digest), lambda: Autoencoder(load_autoencoder("AutoencoderKL", folder), device=self.device))


class PretrainedCodecStage(CodecStage):
    """An autoencoder that others trained; ``model.json`` says which: its configuration, and every file with its SHA-256."""

    def __init__(self, recipe: Recipe, options: PretrainedCodec, data: Images) -> None:
        self._options, self.device, self.dtype = options, recipe.compute.device, options.dtype
        self._source = Pretrained("codec", options.path, (options.subfolder,), options.revision)
        self._config = config = self._source.config()
        kind = config.get("_class_name", options.kind)
        if kind != options.kind:
            raise RecipeError(f"codec.kind = {options.kind!r}, but {options.path} holds a {kind}")
        widths = config["block_out_channels" if options.kind == "AutoencoderKL" else "encoder_block_out_channels"]
        factor = 2 ** (len(widths) - 1)
        if config["in_channels"] != data.channels:
            raise RecipeError(f"the codec takes {config['in_channels']} channels, the images have {data.channels}")
        self._colours, self.size = data.channels, options.size or data.size
        if self.size % factor:
            raise RecipeError(
                f"the codec shrinks images by {factor}, of which {self.size} pixels a side are no multiple; see codec.size"
            )
        if self.size != data.size and isinstance(data.train, Held):
            raise RecipeError(f"codec.size = {self.size}, but these images are to be had at data.size = {data.size} alone")
        self.channels, self.side = config["latent_channels"], self.size // factor

    def options(self) -> Mapping[str, Any]:
        own = {"path", "subfolder", "revision", "batch", "stored", "latents", *([] if self._options.fallback else ["fallback"])}
        options = self._options.model_dump(exclude=own)
        return {**options, "model": self._source.fingerprint(), "config": self._config}

    def rehearsal(self, half: str, most: int) -> Rehearsal:
        from distill.models.rehearsal import coding, from_config

        options, make = self._options, from_config(self._options.kind, self._config)
        return coding(self.digest, make, half, self._shape(half), min(most, options.batch), options.dtype)

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        return {"model.json": {"kind": self._options.kind, "config": self._config, "files": self._source.record()}}

    def unobtainable(self) -> str | None:
        return self._source.unobtainable()

    def changed(self, read: Reader) -> list[str]:
        """The model's files that hold other bytes than when they were recorded. Reads all of them."""
        return self._source.changed(read.values(self, "model")["files"])

    def load(self, read: Reader) -> "Autoencoder":
        from distill.models.autoencoder import Autoencoder
        from distill.models.diffusion import load_autoencoder

        options = self._options

        def make() -> Autoencoder:
            self._source.unchanged(read.values(self, "model")["files"])

            def model(dtype: str) -> Any:
                return load_autoencoder(options.kind, self._source.folder(), subfolder=options.subfolder, dtype=dtype)

            wider = partial(model, options.fallback) if options.fallback else None
            sample = options.latents == "sample"
            return Autoencoder(model(options.dtype), device=self.device, batch=options.batch, sample=sample, wider=wider)

        return kept((self.digest, options.path, options.latents, options.batch), make)


def codec_stage(recipe: Recipe, data: Images, survey: SurveyStage) -> CodecStage:
    """The codec that the recipe asks for."""
    if isinstance(recipe.codec, TrainedCodec):
        return TrainedCodecStage(recipe, recipe.codec, data, survey)
    return PretrainedCodecStage(recipe, recipe.codec, data)
