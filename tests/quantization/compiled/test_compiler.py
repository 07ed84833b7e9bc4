"""How loops are compiled is theirs alone."""

from numba.core.caching import NullCache

from quantization.compiled.kernels.compiler import compiled, unordered


@compiled
def _in_order(x):
    total = 0.0
    for i in range(len(x)):
        total += x[i] * x[i]
    return total


@unordered
def _from_elsewhere(x):
    return _in_order(x)


def test_a_sum_in_order_stays_so_whoever_has_it_compiled(rng):
    """What settles ties must be one number, also where a loop whose order is free is the first to call for it."""
    _in_order._cache = _from_elsewhere._cache = NullCache()  # compiled here and now
    x = rng.standard_normal(1000)
    total = 0.0
    for value in x.tolist():
        total += value * value
    assert _from_elsewhere(x) == total
