"""How well a teacher knows the classes that it labels: its confusions on the test split, and what they give away."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

_TIMES = 3  # chance: below it a teacher tells nothing of the classes
_SHOWN = 12  # outputs in a sentence


def recognition(confusions: NDArray[np.int64], outputs: Sequence[int] | None) -> dict[str, Any]:
    """``top1``, and what to say of it: a ``warning``, or None; ``likely_outputs``, the order in which the classes may be meant.

    confusions: (classes, classes), how often an image of a class was taken for another. outputs: the network's that stand for the
    classes, all in their order where it is None.
    """
    classes, seen = len(confusions), confusions.sum()
    top1, chance = np.trace(confusions) / seen, confusions.sum(1).max() / seen
    meant = np.asarray(linear_sum_assignment(confusions, maximize=True)[1])
    best = confusions[np.arange(classes), meant].sum() / seen
    low = min(_TIMES * chance, (1 + chance) / 2)  # of two or three classes no top-1 is three times chance
    if classes > 1 and best >= low and best > 2 * top1:
        likely = [i if outputs is None else outputs[i] for i in meant.tolist()]
        shown = f"{likely[:_SHOWN]}" if classes <= _SHOWN else f"[{', '.join(map(str, likely[:_SHOWN]))}, ...]"
        warning = (
            f"the teacher's top-1 on the test split is {top1:.4f}, and {best:.4f} were its outputs in another order: "
            f"teacher.outputs = {shown} names the likely one (all of it in teacher.json)"
        )
        return {"top1": float(top1), "warning": warning, "likely_outputs": likely}
    warning = None
    if classes > 1 and top1 < low:
        warning = (
            f"the teacher's top-1 on the test split is {top1:.4f}, where chance has {chance:.4f}: its soft labels say little "
            "of the classes, and no comparison made with them tells methods apart"
        )
    return {"top1": float(top1), "warning": warning, "likely_outputs": None}
