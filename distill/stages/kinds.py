"""Which stage makes what a recipe names: by ``source`` for models, by method for what is selected."""

from distill.stages.codec import CodecStage
from distill.stages.pretrained_codec import PretrainedCodecStage
from distill.stages.pretrained_prior import PretrainedPriorStage
from distill.stages.pretrained_teacher import PretrainedTeacherStage
from distill.stages.prior import PriorStage
from distill.stages.real_selection import AllStage, ClosestStage, RandomStage
from distill.stages.select import RealStage
from distill.stages.teacher import TeacherStage
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
SELECTIONS: dict[str, type[RealStage]] = {"all": AllStage, "random": RandomStage, "closest": ClosestStage}
