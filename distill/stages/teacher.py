"""The teacher: trained here on all of the training images, or a network that others trained; its logits are the soft labels."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.images import Images
from distill.images.names import imagenet_classes
from distill.models.kept import kept
from distill.pipeline.stage import Product, Progress, Reader, Stage, seed_of
from distill.pipeline.work import Rehearsal, Work
from distill.protocols.protocol import Protocol
from distill.recipe import PretrainedTeacher, Recipe, RecipeError, TrainedTeacher
from distill.recipe.students import Network
from distill.stages.survey import SurveyStage

LOOK = 512  # test images at once


class TeacherStage(Stage):
    """``teacher.safetensors`` and ``teacher.json``: what it is, its top-1 on the test split, and a warning where that is low."""

    name = "teacher"
    _data: Images

    def parts(self) -> list[str]:
        return ["teacher"]

    def resident(self) -> tuple[float, str]:
        return in_memory(self._data, {"test images": len(self._data.test)})

    @abstractmethod
    def load(self, read: Reader) -> Any:
        """The network: pixels (n, C, H, W) from 0 to 1 → logits (n, classes)."""

    @abstractmethod
    def rehearsal(self, batch: int, precision: str = "float32") -> Rehearsal:
        """Its logits for a batch of images."""


class TrainedTeacherStage(TeacherStage):
    """min E ℓ(T(x), y), cross-entropy to the classes under augmentation."""

    version = 3  # since it says how well it knows the classes

    def __init__(self, recipe: Recipe, options: TrainedTeacher, data: Images, survey: SurveyStage) -> None:
        self._recipe, self._options, self._data, self._survey = recipe, options, data, survey
        self.parents, self.device, self.dtype = (survey,), recipe.compute.device, options.precision

    def options(self) -> Mapping[str, Any]:
        return {**self._options.model_dump(), "data": self._data.fingerprint}

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.recognition import recognition
        from distill.models.student import Passes, hard_targets, learn

        options, rules = self._options, self._options.protocol
        device = torch.device(self.device)
        known = self._survey.all_readable(read, "train")
        images, labels = torch.from_numpy(self._data.train.read(known)), torch.from_numpy(self._data.train.labels[known])
        model = self._network().to(device)
        weights = torch.ones(len(images), dtype=torch.float64)
        passes = Passes(held(images, device), weights, rules, images.shape[-1], seed_of(self.digest, "batches"), device)
        targets = hard_targets(labels, len(self._data.classes), device)
        look = scores_on_test(self._data, self._survey, read, device)
        learn(
            model,
            passes,
            weights,
            rules,
            targets,
            look,
            progress,
            student=options.model,
            ipc=None,
            precision=options.precision,
            checkpoint=read.checkpoint(self, part),
        )
        known = recognition(confusions_on_test(self._data, self._survey, read, device)(model.eval()), None)
        about = {"model": options.model, "trained": True, **known}
        return {"teacher.safetensors": model.state_dict(), "teacher.json": about}

    def rehearsal(self, batch: int, precision: str = "float32") -> Rehearsal:
        from distill.models.rehearsal import answering

        return answering(self.digest, self._network, self._shape, batch, precision)

    def weight(self) -> tuple[float, str]:
        from distill.models.rehearsal import TRAINED, weight

        return weight(self._network, TRAINED)

    def resident(self) -> tuple[float, str]:
        return in_memory(self._data, {"training images": len(self._data.train), "test images": len(self._data.test)})

    def work(self) -> list[Work]:
        from distill.models.rehearsal import answering, weight

        options = self._options
        rehearsal = answering(self.digest, self._network, self._shape, options.batch, options.precision, learns=True)
        kept = weight(self._network, moments(options.protocol))[0]
        looks = looking(self._data, 1, self.rehearsal(LOOK, options.precision), kept)
        return [Work(options.steps * options.batch, f"{options.steps:,} steps of {options.batch}", rehearsal, kept), looks]

    @property
    def _shape(self) -> tuple[int, int, int]:
        return (self._data.channels, self._recipe.data.size, self._recipe.data.size)

    def load(self, read: Reader) -> Any:
        def make() -> Any:
            model = self._network()
            model.load_state_dict(read.tensors(self, "teacher"))
            return model.eval().to(self.device)

        return kept((read.check(self, "teacher"), self.digest), make)

    def _network(self) -> Any:
        return network(self._options.model, self._options, self._data)


class PretrainedTeacherStage(TeacherStage):
    """A network of timm's or torchvision's with its weights, copied into the run, so that a run needs them once."""

    version = 2  # since it says how well it knows the classes

    def __init__(self, recipe: Recipe, options: PretrainedTeacher, data: Images, survey: SurveyStage) -> None:
        self._options, self._data, self._survey = options, data, survey
        self.parents, self.device = (survey,), recipe.compute.device
        if options.weights != "pretrained" and _is_file(options.weights) and not Path(options.weights).is_file():
            raise RecipeError(f"teacher.weights: there is no file {options.weights}; give one, or 'pretrained'")

    def options(self) -> Mapping[str, Any]:
        options = self._options
        weights = _sha256(Path(options.weights)) if Path(options.weights).is_file() else options.weights
        return {**options.model_dump(), "weights": weights, "data": self._data.fingerprint}

    def unobtainable(self) -> str | None:
        from distill.models.fetching import why_no_teacher

        options = self._options
        reason = None if Path(options.weights).is_file() else why_no_teacher(options.source, options.model)
        return reason and (
            f"teacher.model = {options.model!r}: its weights are not here, and can't be fetched: {reason}. Give a file with "
            "teacher.weights, which may be the teacher.safetensors of another run"
        )

    def make(self, part: str, read: Reader, progress: Progress) -> Product:
        import torch

        from distill.models.recognition import recognition
        from distill.models.teachers import pretrained, rebuilt

        options = self._options
        network, made = pretrained(options.source, options.model, options.weights, options.size)
        outputs = self._outputs(made["classes"])
        progress(0.5)
        device = torch.device(self.device)
        teacher = rebuilt(made, network.state_dict(), outputs).to(device)
        known = recognition(confusions_on_test(self._data, self._survey, read, device)(teacher), outputs)
        about = {**made, "trained": False, "outputs": outputs, **known}
        return {"teacher.safetensors": network.state_dict(), "teacher.json": about}

    def rehearsal(self, batch: int, precision: str = "float32") -> Rehearsal:
        from distill.models.rehearsal import answering
        from distill.models.teachers import blank

        make, shape = blank(self._options.source, self._options.model, self._options.size)
        return answering(self.digest, make, shape, batch, precision)

    def weight(self) -> tuple[float, str]:
        from distill.models.rehearsal import weight
        from distill.models.teachers import blank

        return weight(blank(self._options.source, self._options.model, self._options.size)[0])

    def load(self, read: Reader) -> Any:
        from distill.models.teachers import rebuilt

        def make() -> Any:
            made = read.values(self, "teacher")
            return rebuilt(made, read.tensors(self, "teacher"), made["outputs"]).to(self.device)

        return kept((read.check(self, "teacher"), self.digest), make)

    def _outputs(self, held: int) -> list[int] | None:
        """The network's outputs that are the data's classes; None where they are all of them, in their order."""
        classes, given = self._data.classes, self._options.outputs
        if given is not None:
            if len(given) != len(classes) or max(given) >= held:
                raise ValueError(f"teacher.outputs must be {len(classes)} of the network's {held}; received {given}")
            return given
        if held == len(classes):
            return None
        return imagenet_outputs(classes, held)


def imagenet_outputs(classes: tuple[str, ...], held: int) -> list[int]:
    """The outputs of an ImageNet-1K network for classes that are WordNet ids."""
    place = {name: index for index, name in enumerate(imagenet_classes())}
    strange = [name for name in classes if name not in place]
    if strange or held != len(place):
        why = f"{strange[0]!r} is no WordNet id of ImageNet-1K" if strange else "it is no network for ImageNet-1K"
        raise ValueError(
            f"the teacher has {held} outputs and the data {len(classes)} classes, and {why}; say which are which with "
            "teacher.outputs"
        )
    return [place[name] for name in classes]


def teacher_stage(recipe: Recipe, data: Images, survey: SurveyStage) -> TeacherStage:
    """The teacher that the recipe asks for."""
    if isinstance(recipe.teacher, TrainedTeacher):
        return TrainedTeacherStage(recipe, recipe.teacher, data, survey)
    return PretrainedTeacherStage(recipe, recipe.teacher, data, survey)


def network(name: str, options: Network, data: Images) -> Any:
    """A network with random weights, for a section that asks for one to be trained on the data."""
    from distill.models.networks import new_student

    shape = {"channels": data.channels, "size": data.size, "classes": len(data.classes)}
    return new_student(name, **shape, width=options.width, depth=options.depth, small_stem=options.small_stem)


def held(images: Any, device: Any) -> Any:
    """Images where they are augmented, if they leave half of the device's free memory to the training; else where they are."""
    import torch

    if device.type != "cuda":
        return images
    free, _ = torch.cuda.mem_get_info(device)
    return images.to(device) if images.numel() < free / 2 else images


def in_memory(data: Images, counts: Mapping[str, int]) -> tuple[float, str]:
    """The bytes of so many images of each kind as pixels, and how that is reckoned."""
    images = " and ".join(f"{count:,} {kind}" for kind, count in counts.items())
    return float(sum(counts.values()) * data.bytes_an_image), f"{images} × {data.bytes_an_image:,} bytes in each worker"


def looking(data: Images, times: int, rehearsal: Rehearsal, kept: float = 0.0) -> Work:
    """The work of looks at the test images, beside what a training keeps."""
    seen = times * len(data.test.labels)
    return Work(seen, f"{seen:,} test images", rehearsal, kept)


def moments(rules: Protocol) -> int:
    """How many numbers the optimizer of a protocol keeps for each of a network's."""
    from distill.models.rehearsal import ADAMW

    return ADAMW if rules.optimizer == "adamw" else int(rules.momentum > 0)


def scores_on_test(data: Images, survey: SurveyStage, read: Reader, device: Any, batch: int = LOOK) -> Any:
    """A look at the test images: a model → its top-1 and top-5 there, as fractions.

    A worker decodes these images once and keeps them in its memory: students look many times, and decoding takes longer than most
    looks. What they take there, stages say (:meth:`Stage.resident`).
    """
    import torch

    ranks, top = _ranks_on_test(data, survey, read, device, batch), min(5, len(data.classes))

    def scores(model: Any) -> dict[str, float]:
        hits, count = torch.zeros(2, dtype=torch.long), 0
        for ranked, wanted in ranks(model, top):
            right = ranked == wanted[:, None]
            hits += torch.stack([right[:, 0].sum(), right.any(1).sum()])
            count += len(wanted)
        return {"top1": int(hits[0]) / count, "top5": int(hits[1]) / count}

    return scores


def confusions_on_test(data: Images, survey: SurveyStage, read: Reader, device: Any) -> Any:
    """A look at the test images: a model → how often it took an image of a class for another, (classes, classes)."""
    ranks = _ranks_on_test(data, survey, read, device, LOOK)

    def confusions(model: Any) -> NDArray[np.int64]:
        found = np.zeros((len(data.classes), len(data.classes)), np.int64)
        for ranked, wanted in ranks(model, 1):
            np.add.at(found, (wanted.numpy(), ranked[:, 0].numpy()), 1)
        return found

    return confusions


def _ranks_on_test(data: Images, survey: SurveyStage, read: Reader, device: Any, batch: int) -> Any:
    """(model, top) → batch by batch of the test images, the classes (b, top) that it ranks first, and theirs (b,)."""
    import torch

    from distill.models.finite import finite

    seen = survey.all_readable(read, "test")
    pixels = kept(("test", survey.digest), lambda: torch.from_numpy(data.test.read(seen)))
    labels = torch.from_numpy(data.test.labels[seen])

    @torch.no_grad()
    def ranks(model: Any, top: int) -> Iterator[Any]:
        for some, wanted in zip(pixels.split(batch), labels.split(batch), strict=True):
            logits = finite(model(some.to(device).float() / 255), "logits of test images", "the network's training diverged")
            yield logits.topk(top, 1).indices.cpu(), wanted

    return ranks


def _is_file(weights: str) -> bool:
    return weights.endswith((".safetensors", ".pth", ".pt", ".bin")) or "/" in weights


def _sha256(path: Path) -> str:
    import hashlib

    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
