"""Dataset distillation as pushforward optimal quantization: images in, a weighted distilled set and evaluated students out.

Order of reading: ``recipe`` (every option), ``images`` (what comes in), ``methods`` (what is compared), ``graph`` (recipe →
stages), ``stages`` (one file each), ``costs`` (what they take), ``pipeline`` (what stages, parts and their sealed folder are),
``engines`` (who makes what is missing), ``runs`` (the public functions), ``__main__`` (the command).
"""

import sys
from typing import TYPE_CHECKING, Any

try:
    from distill.runs.run import Run, run
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] in ("distill", "quantization"):
        raise
    sentence = f"distill needs the packages of its extra: pip install 'optimal-quantization[distill]' (there is no {error.name})"
    if sys.argv[:1] == ["-m"]:  # python -m distill, which is told without a traceback
        raise SystemExit(sentence) from None
    raise ModuleNotFoundError(sentence, name=error.name) from None

if TYPE_CHECKING:
    from distill.runs.distilled_set import DistilledSet, load

__all__ = ["DistilledSet", "Run", "load", "run"]


def __getattr__(name: str) -> Any:
    if name in ("load", "DistilledSet"):  # they need torch, which a run's parent process does without
        from importlib import import_module

        return getattr(import_module("distill.runs.distilled_set"), name)
    raise AttributeError(f"module 'distill' has no attribute {name!r}")
