"""From a recipe to its stages, parents before children. What methods share, they share by being one stage."""

from distill.method import METHODS
from distill.pipeline.stage import Stage
from distill.recipe import Recipe
from distill.stages.codec import CodecStage
from distill.stages.decode import DiffusionStage, RealImagesStage
from distill.stages.encode import EncodeStage
from distill.stages.evaluate import EvaluateStage
from distill.stages.label import LabelStage
from distill.stages.prior import PriorStage
from distill.stages.report import ReportStage
from distill.stages.select import QuantizeStage, RealStage
from distill.stages.teacher import TeacherStage
from distill.stages.train import TrainStage


def build(recipe: Recipe) -> list[Stage]:
    """codec → encode → select → decode → label → train → evaluate → report, with the prior and the teacher where they are needed."""
    codec, teacher = CodecStage(recipe), TeacherStage(recipe)
    encode = EncodeStage(recipe, codec)
    prior, quantize = PriorStage(recipe, encode), QuantizeStage(recipe, encode)
    selects: dict[str, Stage] = {}
    images: dict[str, Stage] = {}
    labels: dict[str, Stage] = {}
    trains: dict[str, TrainStage] = {}
    used: dict[str, Stage] = {}
    for name in recipe.methods:
        method = METHODS[name]
        if method.select not in used:
            if method.decode == "diffusion":
                used[method.select] = quantize
                images[method.select] = DiffusionStage(recipe, codec, prior, quantize)
            else:
                real = RealStage(recipe, encode, method.select, quantize if method.select == "closest" else None)
                used[method.select] = real
                images[method.select] = RealImagesStage(recipe, real)
            labels[method.select] = LabelStage(recipe, teacher, images[method.select])
        selects[name] = used[method.select]
        trains[name] = TrainStage(recipe, name, images[method.select], labels[method.select])
    evaluate = EvaluateStage(recipe, encode, selects, trains)
    report = ReportStage(recipe, encode, trains, evaluate)
    return ordered(report)


def ordered(last: Stage) -> list[Stage]:
    """``last`` and its ancestors, every stage after its parents."""
    found: dict[Stage, None] = {}

    def visit(stage: Stage) -> None:
        for parent in stage.parents:
            visit(parent)
        found.setdefault(stage)

    visit(last)
    return list(found)
