"""Models that a worker keeps between parts, so that each is loaded once: a few, the one not asked for longest going first."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

_MOST = 4
_cached: OrderedDict[Hashable, Any] = OrderedDict()


def cached(key: Hashable, make: Callable[[], Any]) -> Any:
    """What ``make()`` gave when ``key`` was first asked for. A key names the content: a stage's digest and folder."""
    if key not in _cached:
        while len(_cached) >= _MOST:
            _cached.popitem(last=False)
        _cached[key] = make()
    _cached.move_to_end(key)
    return _cached[key]
