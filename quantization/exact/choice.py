"""Which laws are exact, and how: one table, first match wins."""

from quantization.exact.protocol import ExactLaw
from quantization.exact.samples import Samples
from quantization.laws import Law
from quantization.measure import DiscreteMeasure


def exact_law(law: DiscreteMeasure | Law | None, r: float) -> ExactLaw | None:
    """``law`` as one whose cells of order ``r`` are computed exactly, or None where they can only be sampled."""
    if isinstance(law, DiscreteMeasure):
        return Samples(law, r)
    return None
