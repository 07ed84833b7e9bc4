"""The prior on the latents: a diffusion transformer trained here, or a model that others trained, with its scheduler."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from distill.images import Images
from distill.images.names import imagenet_classes
from distill.models.kept import kept
from distill.models.pretrained import Pretrained
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.pipeline.work import Rehearsal, Work
from distill.recipe import Recipe, RecipeError
from distill.recipe.codes import PretrainedPrior, TrainedPrior
from distill.stages.codec import CodecStage
from distill.stages.encode import EncodeStage

if TYPE_CHECKING:
    from torch import Tensor

    from distill.models.sampler import Predict


class PriorStage(Stage):
    """What latents are sampled from, given a class."""

    name = "prior"

    def parts(self) -> list[str]:
        return ["model"]

    @abstractmethod
    def rehearsal(self, batch: int) -> Rehearsal:
        """The prediction for a batch of latents under one condition."""

    fallback: str | None = None  # the precision in which is computed again what is not finite

    @abstractmethod
    def predict(self, read: Reader, index: int, guidance: float, dtype: str | None = None) -> "Predict":
        """The guided prediction for a class of the data, in the prior's own precision or another."""

    def finite(self, sample: "Callable[[str, slice | Tensor], Tensor]", some: slice) -> "Tensor":
        """What ``sample(precision, rows)`` gives of some rows, computed again where it is not finite, as the recipe says."""
        from distill.models.finite import finite, of_precision

        first, wider = some.start, self.fallback
        again = (lambda rows: sample(wider, first + rows)) if wider else None
        return finite(sample(self.dtype, some), "latents by the prior", of_precision("prior", self.dtype), again)

    @abstractmethod
    def scheduler(self, read: Reader, kind: str) -> Any:
        """A scheduler of some kind on the prior's schedule, a new one at every call."""


class TrainedPriorStage(PriorStage):
    r"""$\min_\theta E\,|v_\theta(\alpha_t z + \sigma_t \varepsilon, t, c) - (\alpha_t \varepsilon - \sigma_t z)|^2$.

    Labels are dropped now and then, so that guidance has a null class.
    """

    def __init__(self, recipe: Recipe, options: TrainedPrior, data: Images, encode: EncodeStage) -> None:
        self._options, self._data, self._encode = options, data, encode
        self._shape = (encode.codec.channels, encode.codec.side, encode.codec.side)
        self.parents = (encode,)
        self.device = recipe.compute.device

    def options(self) -> Mapping[str, Any]:
        return self._options.model_dump()

    def rehearsal(self, batch: int) -> Rehearsal:
        from distill.models.rehearsal import prediction

        return prediction(self.digest, self._new, self._shape, batch)

    def weight(self) -> tuple[float, str]:
        from distill.models.rehearsal import TRAINED, weight

        return weight(self._new, TRAINED)

    def resident(self) -> tuple[float, str]:
        images, entries = len(self._data.train), self._encode.entries
        return 4.0 * images * entries, f"{images:,} latents × {entries:,} entries × 4 bytes"

    def work(self) -> list[Work]:
        from distill.models.rehearsal import ADAMW, prediction, weight

        options, latents = self._options, self.resident()[0]
        rehearsal = prediction(self.digest, self._new, self._shape, options.batch, learns=True)
        kept = weight(self._new, ADAMW + bool(options.ema))[0] + latents
        return [Work(options.steps * options.batch, f"{options.steps:,} steps of {options.batch}", rehearsal, kept)]

    def _new(self) -> Any:
        from distill.models.diffusion import new_transformer

        options, (channels, size, _) = self._options, self._shape
        return new_transformer(
            channels=channels,
            size=size,
            classes=len(self._data.classes),
            layers=options.layers,
            heads=options.heads,
            head_width=options.head_width,
        )

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models import diffusion
        from distill.models.training import train

        options, classes, device = self._options, len(self._data.classes), self.device
        by_class = [self._encode.latents(read, index) for index in range(classes)]
        latents = torch.cat(by_class).float().to(device)
        labels = torch.arange(classes).repeat_interleave(torch.tensor([len(part) for part in by_class]))
        model = self._new().to(device)
        # In training mode the transformer would drop labels from the global generator, again in each block; here they are dropped
        # once, below. It has no other use for the mode.
        model.eval()
        scheduler = diffusion.new_scheduler()
        generator = torch.Generator().manual_seed(seed_of(self.digest, "batches"))

        def loss(chosen: torch.Tensor) -> torch.Tensor:
            clean, n = latents[chosen.to(device)], len(chosen)
            times = torch.randint(scheduler.config.num_train_timesteps, (n,), generator=generator)
            noise = torch.randn(clean.shape, generator=generator).to(device)
            dropped = torch.rand(n, generator=generator) < options.label_dropout
            conditions = torch.where(dropped, classes, labels[chosen]).to(device)
            times = times.to(device)
            prediction = model(scheduler.add_noise(clean, noise, times), timestep=times, class_labels=conditions).sample
            return (prediction - scheduler.get_velocity(clean, noise, times)).square().mean()

        train(model, loss, len(latents), options, generator, progress, ema=options.ema, checkpoint=read.checkpoint(self, part))
        return {**diffusion.files(model.cpu()), **diffusion.scheduler_files(scheduler)}

    def predict(self, read: Reader, index: int, guidance: float, dtype: str | None = None) -> "Predict":
        from distill.models.diffusion import load_transformer
        from distill.models.sampler import guided, of_class

        folder = read.check(self, "model")
        model = kept((folder, self.digest), lambda: load_transformer(folder).to(self.device))
        return guided(of_class(model, index), of_class(model, model.config.num_embeds_ada_norm), guidance)

    def scheduler(self, read: Reader, kind: str) -> Any:
        from distill.models.diffusion import load_scheduler

        return load_scheduler(read.check(self, "model"), kind)


class PretrainedPriorStage(PriorStage):
    """A model that others trained; ``model.json`` says which: its configuration, and every file with its SHA-256."""

    def __init__(self, recipe: Recipe, options: PretrainedPrior, data: Images, codec: CodecStage) -> None:
        self._options, self._data = options, data
        self.device, self.dtype, self.fallback = recipe.compute.device, options.dtype, options.fallback
        self._inner = "unet" if options.kind == "UNet2DConditionModel" else "transformer"
        others = ("tokenizer", "text_encoder") if self._inner == "unet" else ()
        self._source = Pretrained("prior", options.path, (self._inner, "scheduler", *others), options.revision)
        self._config = config = self._source.config()
        self._shape = (codec.channels, codec.side, codec.side)
        kind = config.get("_class_name", options.kind)
        # Earlier diffusers saved DiT under the name of the transformer it was a case of.
        if kind != options.kind and (options.kind, kind) != ("DiTTransformer2DModel", "Transformer2DModel"):
            raise RecipeError(f"prior.kind = {options.kind!r}, but {options.path}/{self._inner} holds a {kind}")
        if config["in_channels"] != codec.channels:
            raise RecipeError(f"the prior takes {config['in_channels']} channels, the codec's latents have {codec.channels}")
        if self._inner == "transformer":
            if config["sample_size"] != codec.side:
                raise RecipeError(
                    f"the prior takes latents of {config['sample_size']} a side, the codec makes {codec.side}; change data.size"
                )
            self._labels()

    def options(self) -> Mapping[str, Any]:
        options = self._options
        names = ("kind", "classes") if self._inner == "transformer" else ("kind", "prompt", "negative_prompt")
        names += ("fallback",) if options.fallback else ()
        asked = {name: getattr(options, name) for name in names}
        prompts = [self._text(index) for index in range(len(self._data.classes))] if self._inner == "unet" else self._labels()
        return {**asked, "conditions": prompts, "model": self._source.fingerprint(), "config": self._config}

    def rehearsal(self, batch: int) -> Rehearsal:
        from distill.models.rehearsal import from_config, prediction

        make, text = from_config(self._options.kind, self._config), self._config.get("cross_attention_dim")
        width = text if self._inner == "unet" and isinstance(text, int) else 0
        return prediction(self.digest, make, self._shape, batch, self.dtype, text=width)

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        return {"model.json": {"kind": self._options.kind, "config": self._config, "files": self._source.record()}}

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
        return guided(conditional, of_text(model, encoder(self._options.negative_prompt)), guidance)

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

        return kept((self.digest, self._options.path, what, dtype), make)

    def _text(self, index: int) -> str:
        return self._options.prompt.replace("{name}", self._data.prompts[index])

    def _labels(self) -> list[int]:
        """The transformer's label of each class."""
        classes, held = self._data.classes, self._config["num_embeds_ada_norm"]
        if self._options.classes == "data":
            if held != len(classes):
                raise RecipeError(f"the prior knows {held} classes, the data have {len(classes)}; see prior.classes")
            return list(range(len(classes)))
        place = {name: index for index, name in enumerate(imagenet_classes())}
        strange = [name for name in classes if name not in place]
        if strange or held != len(place):
            why = f"{strange[0]!r} is no WordNet id of them" if strange else f"it knows {held}"
            raise RecipeError(f'prior.classes = "imagenet-1k" needs a prior and classes of ImageNet-1K; {why}')
        return [place[name] for name in classes]


def prior_stage(recipe: Recipe, data: Images, codec: CodecStage, encode: EncodeStage) -> PriorStage | None:
    """The prior that the recipe asks for; None where codes are decoded as they are."""
    if isinstance(recipe.prior, TrainedPrior):
        if codec.side % 2:
            raise RecipeError(f"the codec's latents are {codec.side} a side; the prior needs an even side: change data.size")
        return TrainedPriorStage(recipe, recipe.prior, data, encode)
    if isinstance(recipe.prior, PretrainedPrior):
        return PretrainedPriorStage(recipe, recipe.prior, data, codec)
    return None
