"""From a recipe to its stages, parents before children. What methods share, they share by being one stage."""

from collections.abc import Mapping

from distill.images import Images, load
from distill.methods import METHODS, Method
from distill.pipeline.stage import Stage, ordered
from distill.recipe import Recipe, RecipeError, TrainedTeacher
from distill.recipe.codes import NoPrior
from distill.recipe.students import Network
from distill.stages.decode import DiffusionStage
from distill.stages.distances import DistancesStage
from distill.stages.draw import images_of
from distill.stages.encode import EncodeStage
from distill.stages.evaluate import EvaluateStage
from distill.stages.external_images import ExternalImagesStage
from distill.stages.invert import InvertStage
from distill.stages.kinds import CODECS, PRIORS, SELECTIONS, TEACHERS, kind_of
from distill.stages.label import ImageLabelStage, ImagesStage, StoredLabelStage
from distill.stages.quantize import QuantizeStage
from distill.stages.real_images import RealImagesStage
from distill.stages.report import ReportStage
from distill.stages.select import RealStage, SelectStage
from distill.stages.teacher import TeacherStage
from distill.stages.train import TrainStage
from distill.stages.untrained import network
from distill.stages.validate_images import ValidateImagesStage

Labels = ImageLabelStage | StoredLabelStage | ExternalImagesStage | TeacherStage | None
Line = tuple[SelectStage | ExternalImagesStage, ImagesStage]


def build(recipe: Recipe, data: Images | None = None) -> list[Stage]:
    """validate → codec → encode → select → decode → label → train → evaluate → report; prior, teacher where they are needed.

    data: instead of the images that the recipe names, for a plan.
    """
    data = load(recipe.data) if data is None else data
    _check_shares(recipe, data)
    _check_networks(recipe)
    validated = ValidateImagesStage(recipe, data)
    codec = kind_of(CODECS, "codecs", recipe.codec.source)(recipe, recipe.codec, data, validated)
    teacher = TEACHERS[recipe.teacher.source](recipe, recipe.teacher, data, validated)
    encode = EncodeStage(recipe, data, validated, codec)
    prior = None
    if not isinstance(recipe.prior, NoPrior):
        prior = kind_of(PRIORS, "priors", recipe.prior.source)(recipe, recipe.prior, data, encode)
    noise = recipe.select.space == "noise"
    space = InvertStage(recipe, data, validated, encode, prior) if noise and prior is not None else encode
    quantize = QuantizeStage(recipe, data, validated, space)

    def line(method: Method) -> Line:
        if method.decode == "external":
            select = images = ExternalImagesStage(recipe, data)
            return select, images
        select = quantize
        if method.select != quantize.kind:
            select = kind_of(SELECTIONS, "select", method.select)(recipe, data, validated, space, quantize)
        if isinstance(select, RealStage):
            images = RealImagesStage(recipe, data, validated, select)
        else:
            images = DiffusionStage(recipe, data, codec, prior, select)
        return select, images

    lines: dict[tuple[str, str], Line] = {}
    labelled: dict[tuple[str, str, str], Labels] = {}
    trains: dict[tuple[str, str], TrainStage] = {}
    distances: dict[str, DistancesStage] = {}
    # A folder beside random images alone is judged by its students: nothing is encoded.
    judged = recipe.external is not None and all(METHODS[name].select in ("external", "random", "all") for name in recipe.methods)
    for name in recipe.methods:
        method = METHODS[name]
        alike = (method.select, method.decode)
        if alike not in lines:
            lines[alike] = line(method)
        select, images = lines[alike]
        for regime in recipe.train.regimes:
            if name not in (recipe.train.scope(regime).methods or recipe.methods):
                continue
            if (*alike, regime) not in labelled:
                labelled[*alike, regime] = _labels(recipe, data, teacher, images, method.select, regime)
            trains[name, regime] = TrainStage(recipe, data, name, regime, validated, select, images, labelled[*alike, regime])
        if isinstance(select, SelectStage) and not judged:
            distances[name] = DistancesStage(recipe, data, name, encode, space, select, images)
    evaluate = EvaluateStage(recipe, data, trains, distances)
    _check_batches(recipe, data, trains)
    return ordered(ReportStage(recipe, data, trains, evaluate))


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
    named = [("train.student", recipe.train.student, recipe.train.small_stem)]
    if isinstance(recipe.teacher, TrainedTeacher):
        named.append(("teacher.model", recipe.teacher.model, recipe.teacher.small_stem))
    elif recipe.teacher.source == "timm":
        named.append(("teacher.model", recipe.teacher.model.partition(".")[0], False))
    for key, name, small_stem in named:
        if name == "convnet" and not small_stem:
            continue
        from distill.models.networks import why_not

        if reason := why_not(name, small_stem=small_stem):
            raise RecipeError(f"{key}: {reason}")


def _check_batches(recipe: Recipe, data: Images, trains: Mapping[tuple[str, str], TrainStage]) -> None:
    """No network that takes means over a batch is to learn from one image. Networks are looked at where a batch is so small."""
    small = list[tuple[str, Network, str]]()
    for train in trains.values():
        for run in train.runs():
            n = images_of(run.draw, data)
            batch = train.rules.batch_at(run.draw.k, n)
            if batch < 2 * recipe.train.processes:
                each = f"{n} image" if n < 2 else f"batches of {batch}"
                small.append((recipe.train.student, recipe.train, f"train.batch, train.processes: {each}"))
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
