"""The sections from images to codes and back: features, select, prior and decode."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, model_validator

from distill.recipe.section import (
    LocalPath,
    Precision,
    PretrainedNetwork,
    Registered,
    Section,
    Steps,
    Training,
    by_source,
    distinct,
    tag,
)


class Select(Section):
    """How a class is quantized: K codes for every K in ``k``, an int or a list; fewer where a class has fewer images.

    solver: ``lloyd``, or ``clvq`` (streaming: latents are read shard by shard, never held as one). max_iter: mini-batches of
    ``batch`` (CLVQ) or full passes (Lloyd) at most. n_init: initializations, of which the best is kept. init: how they begin, by
    ``k-means++``, or at codes of equal masses (``balanced``), which ends closer where there are few images per code. space: of
    the codes, the latents, the noise to which DDIM inverts them, or the ``features`` of a network. medoids: each code is replaced
    by the image's point nearest to it, with the masses of the new cells. shares: of some classes' budgets, such as 2.0 for twice
    as many codes.
    """

    k: Annotated[
        Annotated[Steps, tag("one")] | Annotated[list[Steps], Field(min_length=1), AfterValidator(distinct), tag("many")],
        Discriminator(lambda value: "<many>" if isinstance(value, list) else "<one>"),
    ]
    solver: Literal["clvq", "lloyd"]
    batch: Steps
    max_iter: Steps
    n_init: Steps = 1
    init: Literal["k-means++", "balanced"] = "k-means++"
    streaming: bool = False
    space: Literal["latent", "noise", "features"] = "latent"
    medoids: bool = False
    shares: dict[str, Annotated[float, Field(gt=0)]] = Field(default_factory=dict)

    @property
    def budgets(self) -> list[int]:
        """The Ks, as a list."""
        return [self.k] if isinstance(self.k, int) else list(self.k)


class FeatureOptions(Section):
    """What becomes of a network's features.

    layer: whose output they are, by its name in the network; by default the input of its last linear layer. pooling: of a layer's
    map, its ``mean`` over places or ``none``. components: principal components, of all training images together, that are kept;
    not set, all of the features. center: their mean is taken off. whiten: each component is divided by its standard deviation.
    image_size: pixels a side at which images are read before they are scaled to what the network is fed, data.size by default.
    batch: images at once on a GPU; halved where memory runs out.
    """

    layer: str = ""
    pooling: Literal["mean", "none"] = "mean"
    components: Steps | None = None
    center: bool = True
    whiten: bool = False
    image_size: Annotated[int, Field(ge=8)] | None = None
    batch: Steps = 64

    @model_validator(mode="after")
    def _whitened_components(self) -> "FeatureOptions":
        if self.components is not None and not self.center:
            raise ValueError("center = false takes no mean off, and principal components are of what is centred: leave one out")
        if self.whiten and self.components is None:
            raise ValueError("whiten divides principal components by their standard deviations: say how many with components")
        return self


class TeacherFeatures(FeatureOptions):
    """Features of the run's own teacher."""

    source: Literal["teacher"]


class PretrainedFeatures(FeatureOptions, PretrainedNetwork):
    """Features of a network of timm's or torchvision's."""


Features = Annotated[
    Annotated[TeacherFeatures, tag("teacher")]
    | Annotated[PretrainedFeatures, tag("timm")]
    | Annotated[PretrainedFeatures, tag("torchvision")],
    by_source("teacher", "timm", "torchvision"),
]


class TrainedPrior(Training):
    """A class-conditional latent diffusion transformer, trained here to predict v under a cosine schedule.

    layers, heads, head_width: its size. label_dropout: the share of the images whose class is hidden, for guidance. ema: decay of
    the moving average of its weights, which then are the prior's; 0 takes the last ones.
    """

    source: Literal["train"]
    layers: Steps
    heads: Steps
    head_width: Annotated[int, Field(ge=8, multiple_of=4)]
    label_dropout: Annotated[float, Field(ge=0, lt=1)]
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0


class PretrainedPrior(Precision):
    """A latent diffusion model that others trained: a folder as a pipeline of diffusers saves it, or its name on a hub.

    kind: a UNet conditioned on text (Stable Diffusion) or a transformer conditioned on a class (DiT). path: holds ``scheduler``
    and ``unet``, ``tokenizer`` and ``text_encoder``, or ``transformer``. revision: the commit on a hub.
    prompt: the text of a class, with {name} for what the class is called. negative_prompt: of the unguided direction.
    classes: what the transformer's labels stand for, ImageNet-1K's classes or the data's own in their order.
    """

    source: Literal["pretrained"]
    kind: Literal["UNet2DConditionModel", "DiTTransformer2DModel"]
    path: LocalPath
    revision: str = ""
    prompt: Annotated[str, Field(pattern=r"^[^{}]*(\{name\}[^{}]*)*$")] = "{name}"
    negative_prompt: str = ""
    classes: Literal["imagenet-1k", "data"] = "imagenet-1k"


class NoPrior(Section):
    """Codes are decoded as they are."""

    source: Literal["none"]


Prior = Annotated[
    Annotated[TrainedPrior, tag("train")]
    | Annotated[PretrainedPrior, tag("pretrained")]
    | Annotated[NoPrior, tag("none")]
    | Annotated[Registered, tag("registered")],
    by_source("train", "pretrained", "none", group="priors"),
]


class Decode(Section):
    """Codes to images, by sampling from the prior; nothing of it is used where there is none.

    strength: the share of the sampler's time to which codes are noised. steps: of the whole time. guidance: the classifier-free
    scale. scheduler: of the sampler's steps. start: codes are noised at random, or inverted by DDIM (under their class, with
    ``inversion_guidance``). latent: for which a code in the space of features stands, the ``mean`` of its members' latents, or
    that of the image ``nearest`` to it. batch: codes at once; halved where memory runs out.
    """

    strength: Annotated[float, Field(ge=0, le=1)] = 0.7
    steps: Steps = 50
    guidance: Annotated[float, Field(ge=0)] = 1.0
    scheduler: Literal["ddim", "dpm-solver", "euler", "ddpm"] = "ddim"
    start: Literal["noised", "inverted"] = "noised"
    inversion_guidance: Annotated[float, Field(ge=0)] = 1.0
    latent: Literal["mean", "nearest"] = "mean"
    batch: Steps = 512

    @model_validator(mode="after")
    def _one_step_at_least(self) -> "Decode":
        if 0 < self.strength * self.steps < 1 - 1e-9:
            raise ValueError(
                f"strength = {self.strength:g} of {self.steps} steps is less than one step, which is a strength of "
                f"{1 / self.steps:g}; take that, 0, or more steps"
            )
        return self


def taken(steps: int, strength: float) -> int:
    """How many of ``steps`` a share of the time is: rounded, one at least, none for 0."""
    return max(1, round(steps * strength)) if strength else 0
