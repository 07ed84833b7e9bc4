"""From a recipe to its stages, parents before children. What methods share, they share by being one stage."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from distill.images import Images, load
from distill.methods import METHODS, Method
from distill.methods.entry_points import registered
from distill.pipeline.stage import Stage, ordered
from distill.recipe import Recipe, RecipeError, Train, TrainedTeacher
from distill.recipe.codes import NoPrior, PretrainedFeatures
from distill.recipe.students import Network
from distill.stages.balanced import BalancedStage
from distill.stages.codec import CodecStage
from distill.stages.decode import DiffusionStage
from distill.stages.distances import PIXELS, DistancesStage
from distill.stages.draw import images_of
from distill.stages.encode import EncodeStage, LatentStage
from distill.stages.evaluate import EvaluateStage
from distill.stages.external_images import ExternalImagesStage
from distill.stages.feature_space import FeatureSpaceStage
from distill.stages.features import FeaturesStage
from distill.stages.invert import InvertStage
from distill.stages.kinds import CODECS, PRIORS, SELECTIONS, TEACHERS, kind_of
from distill.stages.label import ImageLabelStage, ImagesStage, StoredLabelStage
from distill.stages.pretrained_network import PretrainedNetworkStage
from distill.stages.prior import PriorStage
from distill.stages.probe import ProbeStage
from distill.stages.quantize import QuantizeStage
from distill.stages.real_images import RealImagesStage
from distill.stages.report import ReportStage
from distill.stages.select import RealStage, SelectStage
from distill.stages.space import SpaceStage
from distill.stages.start_latents import StartLatentsStage
from distill.stages.students import StudentsStage
from distill.stages.teacher import TeacherStage
from distill.stages.train import TrainStage
from distill.stages.untrained import network
from distill.stages.validate_images import ValidateImagesStage

Labels = ImageLabelStage | StoredLabelStage | ExternalImagesStage | TeacherStage | None


def build(recipe: Recipe, data: Images | None = None) -> list[Stage]:
    """validate → codec → encode, features → select → decode → label → train → evaluate → report, each where it is needed.

    After them stages that packages register. data: instead of the images that the recipe names, for a plan.
    """
    data = load(recipe.data) if data is None else data
    _check_shares(recipe, data)
    _check_networks(recipe)
    found = _Stages(recipe, data)
    students: dict[tuple[str, str], StudentsStage] = {}
    distances: dict[str, DistancesStage] = {}
    # A folder beside random images alone is judged by its students: nothing is encoded.
    judged = recipe.external is not None and all(METHODS[name].select in ("external", "random", "all") for name in recipe.methods)
    for name in recipe.methods:
        select, images = found.line(METHODS[name], codes=recipe.codes_suffice(name))
        for regime in recipe.train.regimes:
            if name in (recipe.train.scope(regime).methods or recipe.methods):
                students[name, regime] = found.students(name, regime, select, images)
        if isinstance(select, SelectStage) and not judged and recipe.measured:
            spaces = found.measured(decoded=images is not None)
            distances[name] = DistancesStage(recipe, data, name, found.validated, select, images, spaces)
    evaluate = EvaluateStage(recipe, data, students, distances)
    _check_batches(recipe, data, students)
    stages = ordered(ReportStage(recipe, data, students, evaluate))
    for name in recipe.stages:
        stages += [stage for stage in ordered(_registered_stage(recipe, data, name, stages)) if stage not in stages]
    return stages


def _registered_stage(recipe: Recipe, data: Images, name: str, stages: list[Stage]) -> Stage:
    """A stage that a package registers, which may come from any before it."""
    if name not in (known := registered("stages")):
        named = ", ".join(known) or "none, as no package registers any"
        raise RecipeError(f"stages names no stage {name!r}; those that packages register as distill.stages are: {named}")
    kind: Any = kind_of(dict[str, type[Stage]](), "stages", name)
    before = {stage.title: stage for stage in stages}
    made: Stage = kind(recipe, data, _Asked(name, before, recipe.stages[name]), _Asked(name, before, before))
    if made.title in before:
        raise RecipeError(f"stages.{name} has the title {made.title!r} of another stage; give it one of its own")
    return made


class _Asked(dict[str, Any]):
    """What a registered stage is given by name; what is not there is named."""

    def __init__(self, name: str, before: Mapping[str, Stage], values: Mapping[str, Any]) -> None:
        super().__init__(values)
        self._name, self._before = name, before

    def __missing__(self, key: str) -> Any:
        raise RecipeError(
            f"stages.{self._name} asks for {key!r}, no option of it and no stage of these: {', '.join(self._before)}"
        )


class _Stages:
    """The stages of a recipe, each made once: what methods share, they share by being one stage."""

    def __init__(self, recipe: Recipe, data: Images) -> None:
        self.recipe, self.data = recipe, data
        self.validated = ValidateImagesStage(recipe, data)
        self.teacher = TEACHERS[recipe.teacher.source](recipe, recipe.teacher, data, self.validated)
        self._lines: dict[tuple[str, str, bool], tuple[SelectStage | ExternalImagesStage, ImagesStage | None]] = {}
        self._labels: dict[tuple[Stage, str], Labels] = {}
        self._selections: dict[str, SelectStage] = {}

    @cached_property
    def codec(self) -> CodecStage:
        """What encodes images; there is one wherever something asks for it, which the recipe's own checks hold."""
        return kind_of(CODECS, "codecs", self.recipe.codec.source)(self.recipe, self.recipe.codec, self.data, self.validated)

    @cached_property
    def encode(self) -> EncodeStage:
        return EncodeStage(self.recipe, self.data, self.validated, self.codec)

    @cached_property
    def prior(self) -> PriorStage | None:
        section = self.recipe.prior
        if isinstance(section, NoPrior):
            return None
        return kind_of(PRIORS, "priors", section.source)(self.recipe, section, self.data, self.encode)

    @cached_property
    def features(self) -> FeatureSpaceStage:
        features = FeaturesStage(self.recipe, self.data, self.validated, self._network, "train")
        return FeatureSpaceStage(self.recipe, self.data, self.validated, features)

    @cached_property
    def test_features(self) -> FeaturesStage:
        return FeaturesStage(self.recipe, self.data, self.validated, self._network, "test")

    @cached_property
    def _network(self) -> TeacherStage | PretrainedNetworkStage:
        section = self.recipe.features
        if isinstance(section, PretrainedFeatures):
            return PretrainedNetworkStage(self.recipe, section, self.data, self.validated)
        return self.teacher

    @cached_property
    def space(self) -> SpaceStage:
        """Where codes are sought."""
        kind = self.recipe.select.space
        if kind == "features":
            return self.features
        if kind == "noise" and self.prior is not None:
            return InvertStage(self.recipe, self.data, self.validated, self.encode, self.prior)
        return self.encode

    @cached_property
    def latents(self) -> LatentStage:
        """Where decoding starts: the space itself, or the latents beside features."""
        return self.space if isinstance(self.space, LatentStage) else self.encode

    def measured(self, *, decoded: bool) -> dict[str, SpaceStage | None]:
        """The spaces in which a method's images are measured; that of its codes where they are not decoded."""
        known = {"latent": lambda: self.encode, "features": lambda: self.features, PIXELS: lambda: None}
        return {name: known[name]() for name in self.recipe.measured if decoded or name == self.recipe.select.space}

    @cached_property
    def quantize(self) -> QuantizeStage:
        return QuantizeStage(self.recipe, self.data, self.validated, self.space)

    @cached_property
    def balanced(self) -> BalancedStage:
        return BalancedStage(self.recipe, self.data, self.validated, self.space)

    def line(self, method: Method, *, codes: bool) -> tuple[SelectStage | ExternalImagesStage, ImagesStage | None]:
        """What selects for a method, and what makes images of it; nothing where students learn from the codes themselves."""
        key = (method.select, method.decode, codes)
        if key not in self._lines:
            self._lines[key] = self._line(method, codes=codes)
        return self._lines[key]

    def _line(self, method: Method, *, codes: bool) -> tuple[SelectStage | ExternalImagesStage, ImagesStage | None]:
        recipe, data = self.recipe, self.data
        if method.decode == "external":
            external = ExternalImagesStage(recipe, data)
            return external, external
        select = self._select(method.select)
        if codes:
            return select, None
        if recipe.probe is not None and method.select == "all" and "fixed" not in recipe.train.regimes:
            return select, None  # their features are there, and nobody looks at all of the images
        if isinstance(select, RealStage) and method.decode == "real":
            return select, RealImagesStage(recipe, data, self.validated, select)
        start = select
        if isinstance(select, RealStage) or recipe.select.space == "features":
            start = StartLatentsStage(recipe, data, self.validated, self.latents, select)
        return select, DiffusionStage(recipe, data, self.codec, self.prior, start)

    def _select(self, kind: str) -> SelectStage:
        known = {"quantize": lambda: self.quantize, "balanced": lambda: self.balanced}
        if kind in known:
            return known[kind]()
        if kind not in self._selections:
            made = kind_of(SELECTIONS, "select", kind)
            codes = known[made.codes_kind]() if "codes" in made.reads else None
            self._selections[kind] = made(self.recipe, self.data, self.validated, self.space, codes)
        return self._selections[kind]

    def students(
        self, name: str, regime: str, select: SelectStage | ExternalImagesStage, images: ImagesStage | None
    ) -> StudentsStage:
        """The students of a method under a regime of labels."""
        labels = None if images is None else self._labels_of(images, METHODS[name].select, regime)
        if self.recipe.probe is not None:
            assert isinstance(select, SelectStage), "the recipe's checks leave external sets to networks"
            soft = labels if isinstance(labels, ImageLabelStage) else None
            places = (self.features, self.test_features)
            return ProbeStage(self.recipe, self.recipe.probe, self.data, name, regime, select, images, soft, *places)
        assert images is not None, "networks learn from images"
        return TrainStage(self.recipe, self.data, name, regime, self.validated, select, images, labels)

    def _labels_of(self, images: ImagesStage, select: str, regime: str) -> Labels:
        if (images, regime) not in self._labels:
            self._labels[images, regime] = _labels(self.recipe, self.data, self.teacher, images, select, regime)
        return self._labels[images, regime]


def _labels(recipe: Recipe, data: Images, teacher: TeacherStage, images: ImagesStage, select: str, regime: str) -> Labels:
    """Where a regime's labels come from: stored, an external set's own, the teacher itself while students train, or none."""
    if isinstance(images, ExternalImagesStage) and recipe.external is not None and recipe.external.labels == "own":
        return images
    if regime == "fixed":
        return ImageLabelStage(recipe, data, teacher, images, select)
    if regime == "stored":
        return StoredLabelStage(recipe, data, teacher, images, select)
    return teacher if regime == "online" else None


def _check_networks(recipe: Recipe) -> None:
    """Every network that is to be trained has a name that can be built. Only names of others' ask for torch."""
    named = list[tuple[str, str, bool]]()
    if isinstance(recipe.train, Train):
        named.append(("train.student", recipe.train.student, recipe.train.small_stem))
    if isinstance(recipe.teacher, TrainedTeacher):
        named.append(("teacher.model", recipe.teacher.model, recipe.teacher.small_stem))
    elif recipe.teacher.source == "timm":
        named.append(("teacher.model", recipe.teacher.model.partition(".")[0], False))
    if recipe.features is not None and recipe.features.source == "timm":
        named.append(("features.model", recipe.features.model.partition(".")[0], False))
    for key, name, small_stem in named:
        if name == "convnet" and not small_stem:
            continue
        from distill.models.networks import why_not

        if reason := why_not(name, small_stem=small_stem):
            raise RecipeError(f"{key}: {reason}")


def _check_batches(recipe: Recipe, data: Images, students: Mapping[tuple[str, str], StudentsStage]) -> None:
    """No network that takes means over a batch is to learn from one image. Networks are looked at where a batch is so small."""
    small = list[tuple[str, Network, str]]()
    for train in (each for each in students.values() if isinstance(each, TrainStage)):
        for run in train.runs():
            n = images_of(run.draw, data)
            batch = train.rules.batch_at(run.draw.k, n)
            if batch < 2 * train.processes:
                each = f"{n} image" if n < 2 else f"batches of {batch}"
                small.append((train.section.student, train.section, f"train.batch, train.processes: {each}"))
    if isinstance(recipe.teacher, TrainedTeacher) and recipe.teacher.batch < 2:
        small.append((recipe.teacher.model, recipe.teacher, "teacher.batch: batches of 1"))
    for name, options, what in dict.fromkeys((name, options, what) for name, options, what in small if name != "convnet"):
        from distill.models.networks import normalizes_batches

        if normalizes_batches(lambda name=name, options=options: network(name, options, data)):
            raise RecipeError(
                f"{what} leave a process one image at a time, and {name} takes means over a batch (batch norm); raise the "
                "batch, lower the processes, or take a convnet"
            )


def _check_shares(recipe: Recipe, data: Images) -> None:
    unknown = sorted(set(recipe.select.shares) - set(data.classes))
    if unknown:
        raise RecipeError(f"select.shares names {unknown[0]!r}, which is no class of the data, such as {data.classes[0]!r}")
