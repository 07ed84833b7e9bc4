"""Which laws are exact, and how: one table, first match wins."""

from quantization.exact.density import frozen_density, mixture_density
from quantization.exact.line import Line
from quantization.exact.ordered import Ordered
from quantization.exact.plane import Plane, definite
from quantization.exact.protocol import ExactLaw
from quantization.exact.samples import Samples
from quantization.laws import FrozenLaw, GaussianMixture, Law
from quantization.measure import DiscreteMeasure


def exact_law(law: DiscreteMeasure | Law | None, r: float) -> ExactLaw | None:
    """``law`` as one whose cells of order ``r`` are computed exactly, or None where they can only be sampled."""
    if isinstance(law, DiscreteMeasure):
        return Ordered(law, r) if law.dim == 1 else Samples(law, r)
    if isinstance(law, FrozenLaw):
        return Line(frozen_density(law), r)
    if isinstance(law, GaussianMixture) and law.dim == 1 and definite(law):
        return Line(mixture_density(law), r)
    if isinstance(law, GaussianMixture) and law.dim == 2 and r == 2 and definite(law):
        return Plane(law)
    return None
