"""Which stage makes what a recipe names, of this package or of those that register their own (docs/extending.md)."""

from collections.abc import Mapping
from typing import TypeVar

from distill.methods.entry_points import Group, load
from distill.recipe import RecipeError
from distill.stages.codec import CodecStage
from distill.stages.pretrained_codec import PretrainedCodecStage
from distill.stages.pretrained_prior import PretrainedPriorStage
from distill.stages.pretrained_teacher import PretrainedTeacherStage
from distill.stages.prior import PriorStage
from distill.stages.real_selection import (
    AllStage,
    CountsStage,
    NearestBalancedStage,
    NearestStage,
    RandomStage,
    StratifiedMassStage,
    StratifiedStage,
)
from distill.stages.select import SelectStage
from distill.stages.teacher import TeacherStage
from distill.stages.thinned import ThinnedStage
from distill.stages.trained_codec import TrainedCodecStage
from distill.stages.trained_prior import TrainedPriorStage
from distill.stages.trained_teacher import TrainedTeacherStage

CODECS: dict[str, type[CodecStage]] = {"train": TrainedCodecStage, "pretrained": PretrainedCodecStage}
PRIORS: dict[str, type[PriorStage]] = {"train": TrainedPriorStage, "pretrained": PretrainedPriorStage}
TEACHERS: dict[str, type[TeacherStage]] = {
    "train": TrainedTeacherStage,
    "timm": PretrainedTeacherStage,
    "torchvision": PretrainedTeacherStage,
}
_REAL = (
    AllStage,
    RandomStage,
    NearestStage,
    NearestBalancedStage,
    CountsStage,
    StratifiedStage,
    StratifiedMassStage,
    ThinnedStage,
)
SELECTIONS: dict[str, type[SelectStage]] = {kind.kind: kind for kind in _REAL}

Kind = TypeVar("Kind")


def kind_of(known: Mapping[str, type[Kind]], group: Group, name: str) -> type[Kind]:
    """The kind of stage of a name: known here, or registered by a package."""
    if name in known:
        return known[name]
    try:
        kind = load(group, name)
    except ValueError as error:
        raise RecipeError(str(error)) from None
    return type(kind.__name__, (kind,), {"registered": name, "__module__": kind.__module__, "__doc__": kind.__doc__})
