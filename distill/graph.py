"""From a recipe to its stages, parents before children. What methods share, they share by being one stage."""

from distill.images import Images, load
from distill.method import METHODS, Method
from distill.pipeline.stage import Stage, ordered
from distill.recipe import Recipe, RecipeError
from distill.stages.codec import CodecStage
from distill.stages.decode import DiffusionStage, RealImagesStage
from distill.stages.encode import EncodeStage
from distill.stages.evaluate import EvaluateStage
from distill.stages.label import ImageLabelStage, StoredLabelStage
from distill.stages.prior import PriorStage
from distill.stages.report import ReportStage
from distill.stages.select import AllStage, ClosestStage, QuantizeStage, RandomStage
from distill.stages.teacher import TeacherStage, teacher_stage
from distill.stages.train import TrainStage

Labels = ImageLabelStage | StoredLabelStage | TeacherStage | None
Line = tuple[Stage, Stage, Labels]


def build(recipe: Recipe) -> list[Stage]:
    """codec → encode → select → decode → label → train → evaluate → report; the prior and the teacher where they are needed."""
    data = load(recipe.data)
    _check_budgets(recipe, data)
    codec, teacher = CodecStage(recipe, data), teacher_stage(recipe, data)
    encode = EncodeStage(recipe, data, codec)
    prior, quantize = PriorStage(recipe, data, encode), QuantizeStage(recipe, data, encode)

    real = {
        "random": RandomStage(recipe, data),
        "all": AllStage(recipe, data),
        "closest": ClosestStage(recipe, data, encode, quantize),
    }

    def line(method: Method) -> Line:
        if method.decode == "diffusion":
            select, images = quantize, DiffusionStage(recipe, data, codec, prior, quantize)
        else:
            select = real[method.select]
            images = RealImagesStage(recipe, data, select)
        return select, images, _labels(recipe, data, teacher, images, method.select)

    lines: dict[tuple[str, str], Line] = {}
    trains: dict[str, TrainStage] = {}
    for name in recipe.methods:
        method = METHODS[name]
        alike = (method.select, method.decode)
        if alike not in lines:
            lines[alike] = line(method)
        trains[name] = TrainStage(recipe, data, name, *lines[alike])
    evaluate = EvaluateStage(recipe, data, encode, trains)
    return ordered(ReportStage(recipe, data, trains, evaluate))


def _labels(recipe: Recipe, data: Images, teacher: TeacherStage, images: DiffusionStage | RealImagesStage, select: str) -> Labels:
    """Where a protocol's labels come from: stored ones, the teacher itself while students train, or nowhere."""
    kind = recipe.train.rules.labels
    if kind == "image":
        return ImageLabelStage(recipe, data, teacher, images)
    if kind == "stored":
        return StoredLabelStage(recipe, data, teacher, images, select)
    return teacher if kind == "online" else None


def _check_budgets(recipe: Recipe, data: Images) -> None:
    """Every class must have images, and as many as the largest budget asks for."""
    if all(METHODS[name].select == "all" for name in recipe.methods):
        return
    counts = [len(data.train.of_class(index)) for index in range(len(data.classes))]
    fewest = counts.index(min(counts))
    if max(recipe.select.budgets) > counts[fewest]:
        raise RecipeError(
            f"select.k = {max(recipe.select.budgets)} asks for more codes than the {counts[fewest]} training images of class "
            f"{data.classes[fewest]!r}; lower select.k"
        )
