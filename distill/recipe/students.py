"""The sections of those who learn: teacher, labels and students."""

from dataclasses import fields, replace
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, model_validator

from distill.protocols import PRESETS, Augmentation, Protocol
from distill.protocols.protocol import Labels
from distill.recipe.section import LocalPath, PretrainedNetwork, Rate, Section, Steps, Training, by_source, distinct, tag


def _a_range(values: list[float]) -> list[float]:
    if len(values) != 2 or not 0 < values[0] <= values[1] <= 1:
        raise ValueError("must be two shares of the image's area in rising order, such as [0.08, 1.0]")
    return values


def _a_preset(value: str) -> str:
    if value not in PRESETS:
        raise ValueError(f"names no protocol {value!r}; the protocols are {', '.join(PRESETS)}")
    return value


Crop = Annotated[list[float], AfterValidator(_a_range)]
Positive = Annotated[float, Field(gt=0)]


class Network(Section):
    """A network to train. width and depth are a ``convnet``'s; small_stem: a ResNet's, for images of 32 or 64 pixels.

    precision: of its arithmetic; weights and optimizer stay in float32.
    """

    width: Annotated[int, Field(ge=4)] = 128
    depth: Annotated[int, Field(ge=1, le=8)] = 3
    small_stem: bool = False
    precision: Literal["float32", "bfloat16", "float16"] = "float32"


class TrainedTeacher(Training, Network):
    """A network trained here on all of the training data, with their classes; its logits label every method's images.

    model: ``convnet`` or a model of timm's. shift, crop, flip, cutmix: augmentation, as in ``train``. weight_decay: AdamW's.
    """

    source: Literal["train"]
    model: str = "convnet"
    shift: Annotated[int, Field(ge=0)] = 0
    crop: Crop | None = None
    flip: bool = False
    cutmix: Positive | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4

    @property
    def protocol(self) -> Protocol:
        """How it is trained: on the classes, by one cycle of the learning rate."""
        augmentation = Augmentation(shift=self.shift, crop=_pair(self.crop), flip=self.flip, cutmix=self.cutmix)
        return Protocol(
            "teacher",
            steps=self.steps,
            batch=self.batch,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            schedule="cycle",
            temperature=1.0,
            augmentation=augmentation,
            labels="hard",
            evaluations=1,
        )

    @model_validator(mode="after")
    def _consistent(self) -> "TrainedTeacher":
        _ = self.protocol
        return self


class PretrainedTeacher(PretrainedNetwork):
    """A network of timm's or torchvision's. outputs: which of its outputs are the data's classes, in their order; by default all
    of them where there are as many, and ImageNet's outputs for classes that are WordNet ids.
    """

    outputs: Annotated[list[Annotated[int, Field(ge=0)]], AfterValidator(distinct)] | None = None


Teacher = Annotated[
    Annotated[TrainedTeacher, tag("train")]
    | Annotated[PretrainedTeacher, tag("timm")]
    | Annotated[PretrainedTeacher, tag("torchvision")],
    by_source("train", "timm", "torchvision"),
]


class Label(Section):
    """How stored labels are kept. top: logits per image; the others share one number, so that their probability is right in sum.

    shard_mb: how much of a student's labels lies in one file.
    """

    top: Steps | None = None
    shard_mb: Annotated[float, Field(gt=0)] = 256.0


class External(Section):
    """Somebody's distilled set, in the place of a method's images: the method ``external``.

    path: a folder of images for each class, parquet, webdataset's tars, or tensors of torch. ipc: images per class, at most.
    labels: the ``protocol``'s, or the ``own`` soft labels that the set brings. mean, std: one number per channel, by which
    tensors were normalized.
    """

    path: LocalPath
    ipc: Steps
    labels: Literal["protocol", "own"] = "protocol"
    mean: Annotated[list[float], Field(min_length=1, max_length=3)] | None = None
    std: Annotated[list[Positive], Field(min_length=1, max_length=3)] | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> "External":
        if (self.mean and len(self.mean)) != (self.std and len(self.std)):
            raise ValueError(f"mean and std belong together, one number per channel each; received {self.mean} and {self.std}")
        return self


class Scope(Section):
    """What one regime of labels is for: budgets ``k``, ``methods``; where one of the two is not set, all of them."""

    k: Annotated[list[Steps], Field(min_length=1), AfterValidator(distinct)] | None = None
    methods: Annotated[list[str], Field(min_length=1), AfterValidator(distinct)] | None = None


class Only(Section):
    """The regimes of labels that are not for everything, with what they are for."""

    online: Scope | None = None
    stored: Scope | None = None
    fixed: Scope | None = None
    hard: Scope | None = None


class Scoped(Section):
    """Labels that students learn from, each regime for all methods and budgets, or for some: ``only`` restricts online, stored,
    fixed or hard ones to budgets k, to methods, or to both.
    """

    labels: (
        Annotated[
            Annotated[Labels, tag("one")] | Annotated[list[Labels], Field(min_length=1), AfterValidator(distinct), tag("many")],
            Discriminator(lambda value: "<many>" if isinstance(value, list) else "<one>"),
        ]
        | None
    ) = None
    only: Only | None = None

    @property
    def usual(self) -> str:
        """The regime where none is set."""
        return "hard"

    @property
    def regimes(self) -> list[str]:
        """The labels that students learn from, one regime after another."""
        labels = self.labels or self.usual
        return list(labels) if isinstance(labels, list) else [labels]

    def scope(self, labels: str) -> Scope:
        """What a regime is for."""
        return getattr(self.only, labels, None) or Scope()

    def titled(self, title: str, labels: str) -> str:
        """A title, with the regime where there are several."""
        return f"{title}, {labels}" if len(self.regimes) > 1 else title

    @model_validator(mode="after")
    def _restricts_what_is_asked_for(self) -> "Scoped":
        for labels in get_args(Labels):
            if labels not in self.regimes and self.scope(labels) != Scope():
                raise ValueError(f"only.{labels} restricts labels that are not asked for; labels are {', '.join(self.regimes)}")
        return self


class Train(Network, Scoped):
    """Students: the same protocol for every method. Whatever is set beside ``protocol`` takes the place of what it says.

    protocol: ``fkd``, ``rded``, ``rd3``, ``hard`` or ``small``. student: ``convnet`` or a model of timm's. weighting: how
    weights go through CutMix, ``product``, ``systematic`` or ``mix``. epochs, or steps: how long. batch, optimizer,
    learning_rate, weight_decay, momentum (of sgd), schedule (of the learning rate): how.
    shift: pixels of random translation. patches, crop, flip, cutmix: the rest of the augmentation; crop = [1, 1] and cutmix = 0
    are none. processes: workers of Ray, so on GPUs as many GPUs, that train one student together; its bits then depend on
    how many.
    labels: ``online``, ``stored``, ``fixed`` or ``hard``, or a list of them: students of every method under each. only: what some
    of these are restricted to, such as online = {k = [10], methods = ["random"]}; ``full`` has no k. temperature: of the soft
    labels, and of hard ones where ``labels`` says nothing else. evaluations: looks at the test images.
    """

    protocol: Annotated[str, AfterValidator(_a_preset)]
    student: str = "convnet"
    processes: Steps = 1
    weighting: Literal["product", "systematic", "mix"] = "product"
    epochs: Steps | None = None
    steps: Steps | None = None
    batch: Steps | None = None
    optimizer: Literal["adamw", "sgd"] | None = None
    learning_rate: Rate | None = None
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    schedule: Literal["cosine", "half-cosine", "steps", "cycle"] | None = None
    temperature: Positive | None = None
    shift: Annotated[int, Field(ge=0)] | None = None
    patches: Annotated[int, Field(ge=1, le=16)] | None = None
    crop: Crop | None = None
    flip: bool | None = None
    cutmix: Annotated[float, Field(ge=0)] | None = None
    evaluations: Steps | None = None

    @property
    def usual(self) -> str:
        return PRESETS[self.protocol].labels

    def rules_for(self, labels: str) -> Protocol:
        """The preset under a regime, with what is set here in place of what it says."""
        preset = PRESETS[self.protocol]
        given: dict[str, Any] = {key: value for key, value in self if value is not None} | {"labels": labels}
        changes: dict[str, Any] = {f.name: given[f.name] for f in fields(Protocol) if f.name in given and f.name != "name"}
        if "steps" in given:
            changes["epochs"] = given.get("epochs")
        elif "epochs" in given:
            changes["steps"] = None
        if "learning_rate" in given:
            changes["rates"] = {}
        parts = {f.name: given[f.name] for f in fields(Augmentation) if f.name in given}
        if "crop" in parts:
            parts["crop"] = None if parts["crop"] == [1.0, 1.0] else _pair([float(share) for share in parts["crop"]])
        if "cutmix" in parts:
            parts["cutmix"] = parts["cutmix"] or None
        if labels == "hard" and ("temperature" not in given or len(self.regimes) > 1):
            changes["temperature"] = 1.0
        return replace(preset, augmentation=replace(preset.augmentation, **parts), **changes)

    @model_validator(mode="after")
    def _consistent(self) -> "Train":
        rules = [self.rules_for(labels) for labels in self.regimes]
        if any(each.schedule == "cycle" and each.steps is None for each in rules) and self.schedule is None:
            raise ValueError(f"protocol {self.protocol!r} counts steps; with epochs give a schedule too, such as 'cosine'")
        return self


def _pair(crop: list[float] | None) -> tuple[float, float] | None:
    return None if crop is None else (crop[0], crop[1])
