"""``qz``: the package called by its new argument names while it still has the old ones. For deletion once it has the new ones."""

from typing import Any

import quantization

OLD = {"init": "start", "n_init": "restarts", "max_iter": "max_steps", "rng": "seed"}


class _Renaming:
    def __getattr__(self, name: str) -> Any:
        found = getattr(quantization, name)
        if name not in ("quantize", "quantize_many", "barycenter"):
            return found
        return lambda *args, **options: found(*args, **{OLD.get(key, key): value for key, value in options.items()})


qz: Any = _Renaming()
