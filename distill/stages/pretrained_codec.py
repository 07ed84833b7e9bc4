"""An autoencoder that others trained."""

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from distill.images import Held, Images
from distill.models.model_cache import cached
from distill.models.pretrained import Pretrained
from distill.pipeline.stage import Product, Progress, Reader
from distill.recipe import Recipe, RecipeError
from distill.recipe.images import PretrainedCodec
from distill.stages.codec import CodecStage
from distill.stages.validate_images import ValidateImagesStage

if TYPE_CHECKING:
    from distill.models.autoencoder import Autoencoder


class PretrainedCodecStage(CodecStage):
    """An autoencoder that others trained; ``model.json`` says which: its configuration, and every file with its SHA-256."""

    def __init__(self, recipe: Recipe, section: PretrainedCodec, data: Images, validated: ValidateImagesStage) -> None:
        self.section, self.device, self.dtype = section, recipe.compute.device, section.dtype
        self._source = Pretrained("codec", section.path, (section.subfolder,), section.revision)
        self.config = config = self._source.config()
        kind = config.get("_class_name", section.kind)
        if kind != section.kind:
            raise RecipeError(f"codec.kind = {section.kind!r}, but {section.path} holds a {kind}")
        widths = config["block_out_channels" if section.kind == "AutoencoderKL" else "encoder_block_out_channels"]
        factor = 2 ** (len(widths) - 1)
        if config["in_channels"] != data.channels:
            raise RecipeError(f"the codec takes {config['in_channels']} channels, the images have {data.channels}")
        self.colours, self.size = data.channels, section.size or data.size
        if self.size % factor:
            raise RecipeError(
                f"the codec shrinks images by {factor}, of which {self.size} pixels a side are no multiple; see codec.size"
            )
        if self.size != data.size and isinstance(data.train, Held):
            raise RecipeError(f"codec.size = {self.size}, but these images exist only at data.size = {data.size}")
        self.channels, self.side = config["latent_channels"], self.size // factor

    def options(self) -> Mapping[str, Any]:
        own = {"path", "subfolder", "revision", "batch", "stored", "latents", *([] if self.section.fallback else ["fallback"])}
        options = self.section.model_dump(exclude=own)
        return {**options, "model": self._source.fingerprint(), "config": self.config}

    def untrained(self) -> Any:
        from distill.models.diffusion import untrained

        return untrained(self.section.kind, self.config)

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        return {"model.json": {"kind": self.section.kind, "config": self.config, "files": self._source.record()}}

    def unobtainable(self) -> str | None:
        return self._source.unobtainable()

    def changed(self, read: Reader) -> list[str]:
        """The model's files that hold other bytes than when they were recorded. Reads all of them."""
        return self._source.changed(read.values(self, "model")["files"])

    def load(self, read: Reader) -> "Autoencoder":
        from distill.models.autoencoder import Autoencoder
        from distill.models.diffusion import load_autoencoder

        options = self.section

        def make() -> Autoencoder:
            self._source.unchanged(read.values(self, "model")["files"])

            def model(dtype: str) -> Any:
                return load_autoencoder(options.kind, self._source.folder(), subfolder=options.subfolder, dtype=dtype)

            wider = partial(model, options.fallback) if options.fallback else None
            sample = options.latents == "sample"
            return Autoencoder(model(options.dtype), device=self.device, batch=options.batch, sample=sample, wider=wider)

        return cached((self.digest, options.path, options.latents, options.batch), make)
