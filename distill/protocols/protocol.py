"""What a protocol is: duration, batches, optimizer, schedule, loss, augmentation and labels of a student's training."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from distill.protocols.pairs import PAIRINGS

ByBudget = int | tuple[tuple[int, int], ...]  # a number, or (budget, number) in rising order: a number up to each budget

Schedule = Literal["cosine", "half-cosine", "steps", "cycle"]
Labels = Literal["online", "stored", "fixed", "hard"]


def batches_of(n: int, size: int, processes: int = 1) -> int:
    """The batches of a pass over n images: of ``size`` each, the last of what is left.

    Where that would leave a process one image or none, it joins the batch before: batch norm takes two at least.
    """
    return max(1, n // size + (n % size >= min(size, 2 * processes)))


@dataclass(frozen=True)
class Augmentation:
    """What is done to an image at random, in this order.

    shift: pixels of translation at most, along both axes; the rest is black. patches: the image is cut into patches × patches,
    whose rows and columns are shuffled. crop: area, as a share of the image, of the part that is cut out (at aspect ratios of 3:4
    to 4:3) and resized to the image's size. flip: left and right, one time in two. cutmix: a box of another image is pasted in,
    which leaves the share λ ~ β(cutmix, cutmix) of the first.
    """

    shift: int = 0
    patches: int = 1
    crop: tuple[float, float] | None = None
    flip: bool = False
    cutmix: float | None = None

    def __post_init__(self) -> None:
        if self.shift and (self.crop or self.patches > 1):
            raise ValueError(f"shift = {self.shift} cannot be combined with crop or patches; leave out one of them")
        if self.crop is not None and not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError(f"crop is a range of shares of the image, such as (0.08, 1); received {self.crop}")


@dataclass(frozen=True)
class Protocol:
    r"""A student's training, all of it but the images.

    The loss of a batch of b is $\frac1b \sum_i w_i\, H(p_i, q_i)$: w the pairs' weights (``weighting``), H the cross-entropy of
    the student's q at ``temperature`` to the target p; for soft labels its gradient is that of KL, without a factor T².

    epochs, or steps: how long; with ``steps`` passes are laid end to end and every batch is full. batch: images per step, never
    more than there are. rates: learning rates of students whose names begin so, where they are not ``learning_rate``.
    weight_decay: not of parameters with one dimension. schedule: of the learning rate in the share x of the epochs done (of the
    steps, where steps are given): ``cosine`` ½(1 + cos πx), ``half-cosine`` ½(1 + cos ½πx), ``steps`` × 0.2 at ⅔ and ⅚, ``cycle``
    a rise over a tenth and a fall. labels: ``online``, the teacher's of every augmented image; ``stored``, the same made
    beforehand, in fp16; ``fixed``, the teacher's of every image before augmentation; ``hard``, the class. evaluations: looks at
    the test images.
    """

    name: str
    epochs: ByBudget | None = None
    steps: int | None = None
    batch: ByBudget = 128
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: float = 1e-3
    rates: Mapping[str, float] = field(default_factory=dict)
    weight_decay: float = 0.01
    momentum: float = 0.9
    schedule: Schedule = "cosine"
    temperature: float = 20.0
    augmentation: Augmentation = Augmentation()
    labels: Labels = "online"
    weighting: str = "product"
    evaluations: int = 10

    def __post_init__(self) -> None:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(f"a protocol takes epochs or steps, one of the two; received {self.epochs} and {self.steps}")
        if self.weighting not in PAIRINGS:
            raise ValueError(f"weighting is one of {', '.join(PAIRINGS)}; received {self.weighting!r}")
        if self.labels == "stored" and self.weighting == "systematic":
            raise ValueError(
                "weighting = 'systematic' picks pairs by one method's weights, and stored labels are of uniform pairs, for all "
                "methods; take weighting = 'product', or labels = 'online'"
            )
        if self.labels == "stored" and self.steps is not None:
            raise ValueError("labels are stored by epoch: give epochs, not steps, or take labels = 'online'")

    def epochs_at(self, ipc: int | None) -> int | None:
        """Epochs at a budget of images per class; None of them is all images."""
        return None if self.epochs is None else _at(self.epochs, ipc)

    def batch_at(self, ipc: int | None, n: int) -> int:
        """Images a step at a budget, for a set of ``n``; with ``epochs`` never more than there are."""
        batch = _at(self.batch, ipc)
        return batch if self.steps is not None else min(batch, n)

    def steps_at(self, ipc: int | None, n: int, processes: int = 1) -> int:
        """Steps in all, for a set of ``n`` images."""
        if self.steps is not None:
            return self.steps
        epochs = self.epochs_at(ipc)
        assert epochs is not None
        return epochs * batches_of(n, self.batch_at(ipc, n), processes)

    def rate_of(self, student: str) -> float:
        """The learning rate of a student."""
        return next((rate for name, rate in self.rates.items() if student.startswith(name)), self.learning_rate)

    def described(self) -> dict[str, Any]:
        """All that decides the training, as JSON values: what it is called is not part of it."""
        return {key: value for key, value in asdict(self).items() if key != "name"}


def _at(table: ByBudget, ipc: int | None) -> int:
    if isinstance(table, int):
        return table
    return next((value for budget, value in table if ipc is not None and ipc <= budget), table[-1][1])
