"""From a recipe to its stages, parents before children. What methods share, they share by being one stage."""

from distill.images import Images, load
from distill.method import METHODS, Method
from distill.pipeline.stage import Stage, ordered
from distill.recipe import Recipe, RecipeError
from distill.stages.codec import CodecStage
from distill.stages.decode import DiffusionStage, RealImagesStage
from distill.stages.encode import EncodeStage
from distill.stages.evaluate import EvaluateStage
from distill.stages.label import LabelStage
from distill.stages.prior import PriorStage
from distill.stages.report import ReportStage
from distill.stages.select import AllStage, ClosestStage, QuantizeStage, RandomStage
from distill.stages.teacher import TeacherStage
from distill.stages.train import TrainStage


def build(recipe: Recipe) -> list[Stage]:
    """codec → encode → select → decode → label → train → evaluate → report; the prior and the teacher where they are needed."""
    data = load(recipe.data)
    _check_budgets(recipe, data)
    codec, teacher = CodecStage(recipe, data), TeacherStage(recipe, data)
    encode = EncodeStage(recipe, data, codec)
    prior, quantize = PriorStage(recipe, data, encode), QuantizeStage(recipe, data, encode)

    real = {
        "random": RandomStage(recipe, data),
        "all": AllStage(recipe, data),
        "closest": ClosestStage(recipe, data, encode, quantize),
    }

    def line(method: Method) -> tuple[Stage, Stage, Stage]:
        if method.decode == "diffusion":
            select, images = quantize, DiffusionStage(recipe, data, codec, prior, quantize)
        else:
            select = real[method.select]
            images = RealImagesStage(recipe, data, select)
        return select, images, LabelStage(recipe, data, teacher, images)

    lines: dict[tuple[str, str], tuple[Stage, Stage, Stage]] = {}
    trains: dict[str, TrainStage] = {}
    for name in recipe.methods:
        method = METHODS[name]
        alike = (method.select, method.decode)
        if alike not in lines:
            lines[alike] = line(method)
        trains[name] = TrainStage(recipe, data, name, *lines[alike])
    evaluate = EvaluateStage(recipe, data, encode, trains)
    return ordered(ReportStage(recipe, data, trains, evaluate))


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
