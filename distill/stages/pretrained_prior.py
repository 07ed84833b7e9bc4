"""A latent diffusion model that others trained, with its scheduler."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from distill.images import Images
from distill.images.names import imagenet_classes
from distill.models.model_cache import cached
from distill.models.pretrained import Pretrained
from distill.pipeline.stage import Product, Progress, Reader
from distill.recipe import Recipe, RecipeError
from distill.recipe.codes import PretrainedPrior
from distill.stages.encode import EncodeStage
from distill.stages.prior import PriorStage

if TYPE_CHECKING:
    from distill.models.sampler import Predict


class PretrainedPriorStage(PriorStage):
    """A model that others trained; ``model.json`` says which: its configuration, and every file with its SHA-256."""

    def __init__(self, recipe: Recipe, section: PretrainedPrior, data: Images, encode: EncodeStage) -> None:
        codec = encode.codec
        self.section, self.data = section, data
        self.device, self.dtype, self.fallback = recipe.compute.device, section.dtype, section.fallback
        self._inner = "unet" if section.kind == "UNet2DConditionModel" else "transformer"
        others = ("tokenizer", "text_encoder") if self._inner == "unet" else ()
        self._source = Pretrained("prior", section.path, (self._inner, "scheduler", *others), section.revision)
        self.config = config = self._source.config()
        text = config.get("cross_attention_dim")
        self.text_width = text if self._inner == "unet" and isinstance(text, int) else 0
        self.shape = (codec.channels, codec.side, codec.side)
        kind = config.get("_class_name", section.kind)
        # Earlier diffusers saved DiT under the name of the transformer it was a case of.
        if kind != section.kind and (section.kind, kind) != ("DiTTransformer2DModel", "Transformer2DModel"):
            raise RecipeError(f"prior.kind = {section.kind!r}, but {section.path}/{self._inner} holds a {kind}")
        if config["in_channels"] != codec.channels:
            raise RecipeError(f"the prior takes {config['in_channels']} channels, the codec's latents have {codec.channels}")
        if self._inner == "transformer":
            if config["sample_size"] != codec.side:
                raise RecipeError(
                    f"the prior takes latents of {config['sample_size']} a side, the codec makes {codec.side}; change data.size"
                )
            self._labels()

    def options(self) -> Mapping[str, Any]:
        options = self.section
        names = ("kind", "classes") if self._inner == "transformer" else ("kind", "prompt", "negative_prompt")
        names += ("fallback",) if options.fallback else ()
        asked = {name: getattr(options, name) for name in names}
        prompts = [self._text(index) for index in range(len(self.data.classes))] if self._inner == "unet" else self._labels()
        return {**asked, "conditions": prompts, "model": self._source.fingerprint(), "config": self.config}

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

    def predict(self, read: Reader, index: int, guidance: float, dtype: str | None = None) -> "Predict":
        from distill.models.sampler import guided, of_class, of_text

        model = self._kept(read, self._inner, dtype or self.dtype)
        if self._inner == "transformer":
            null = model.config.num_embeds_ada_norm
            return guided(of_class(model, self._labels()[index]), of_class(model, null), guidance)
        encoder = self._kept(read, "text", dtype or self.dtype)
        conditional = of_text(model, encoder(self._text(index)))
        return guided(conditional, of_text(model, encoder(self.section.negative_prompt)), guidance)

    def scheduler(self, read: Reader, kind: str) -> Any:
        from distill.models.diffusion import load_scheduler

        return load_scheduler(self._source.folder(), kind, subfolder="scheduler")

    def _kept(self, read: Reader, what: str, dtype: str) -> Any:
        from distill.models.diffusion import load_transformer, load_unet
        from distill.models.text import TextEncoder

        def make() -> Any:
            self._source.unchanged(read.values(self, "model")["files"])
            folder = self._source.folder()
            if what == "text":
                return TextEncoder(folder, device=self.device, dtype=dtype)
            load = load_transformer if what == "transformer" else load_unet
            return load(folder, subfolder=what, dtype=dtype).to(self.device)

        return cached((self.digest, self.section.path, what, dtype), make)

    def _text(self, index: int) -> str:
        return self.section.prompt.replace("{name}", self.data.prompts[index])

    def _labels(self) -> list[int]:
        """The transformer's label of each class."""
        classes, held = self.data.classes, self.config["num_embeds_ada_norm"]
        if self.section.classes == "data":
            if held != len(classes):
                raise RecipeError(f"the prior knows {held} classes, the data have {len(classes)}; see prior.classes")
            return list(range(len(classes)))
        place = {name: index for index, name in enumerate(imagenet_classes())}
        strange = [name for name in classes if name not in place]
        if strange or held != len(place):
            why = f"{strange[0]!r} is no WordNet id of them" if strange else f"it knows {held}"
            raise RecipeError(f'prior.classes = "imagenet-1k" needs a prior and classes of ImageNet-1K; {why}')
        return [place[name] for name in classes]
