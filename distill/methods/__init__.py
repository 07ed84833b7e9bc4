"""A method is data: how images are selected, how they are weighted, and how codes become images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from distill.methods.entry_points import load, registered
from distill.methods.weights import exponent


@dataclass(frozen=True)
class Method:
    """select: which stage draws the codes. weights: mode of :mod:`distill.methods.weights`. decode: how they become images."""

    select: str  # quantize | random | nearest | all | what a package registers
    weights: str  # uniform | mass | sqrt | power(a)
    decode: str  # diffusion | real
    summary: str

    @property
    def does(self) -> tuple[str, float, str]:
        """What it comes to: equal for methods that are one under two names, such as uniform and ddoq-power(0)."""
        return self.select, exponent(self.weights), self.decode


_NAMED = {
    "ddoq": Method("quantize", "mass", "diffusion", "optimal quantization: decoded codes, weighted by their cells' masses"),
    "uniform": Method("quantize", "uniform", "diffusion", "the same images, equal weights (the view of D4M)"),
    "random": Method("random", "uniform", "real", "random real images"),
    "nearest": Method("nearest", "uniform", "real", "the real image nearest each code"),
    "full": Method("all", "uniform", "real", "all of the training data: the ceiling"),
}


_EXTERNAL = Method("external", "mass", "external", "the images of a folder, weighted as it says")


class _Methods(Mapping[str, Method]):
    """The named methods; beside them ``ddoq-<mode>``, ddoq under another mode of weights, ``external``, a folder's images, and
    what packages of others register.
    """

    def __getitem__(self, name: str) -> Method:
        if name == "external":
            return _EXTERNAL
        if name not in _NAMED and name in registered("select"):
            kind = load("select", name)
            return Method(name, kind.weights, kind.decode, (kind.__doc__ or name).strip().splitlines()[0])
        base, dash, mode = name.partition("-") if isinstance(name, str) else (name, "", "")
        if not dash:
            return _NAMED[base]
        try:
            exponent(mode)
        except ValueError:
            raise KeyError(name) from None
        if base != "ddoq":
            raise KeyError(name)
        return replace(_NAMED[base], weights=mode, summary=f"the same images, weighted by {mode} of their cells' masses")

    def __iter__(self) -> Iterator[str]:
        return iter(_NAMED)

    def __len__(self) -> int:
        return len(_NAMED)


METHODS = _Methods()
