"""A method is data: how images are selected, how they are weighted, and how what was selected becomes images.

``BASES`` are the ways, each under its own weights; ``METHODS`` has them, and those whose images have masses of their own under
every mode of weights: ``nearest-mass``, ``ddoq-sqrt``, ``nearest-power(0.5)``, ...
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from distill.methods.entry_points import load, registered
from distill.methods.weights import MODES, exponent, power


@dataclass(frozen=True)
class Method:
    """select: which stage draws the codes. weights: mode of :mod:`distill.methods.weights`. decode: how they become images."""

    select: str  # a kind of distill.stages.kinds.SELECTIONS, quantize, balanced, or what a package registers
    weights: str  # uniform | mass | sqrt | power(a)
    decode: str  # diffusion | real | external
    summary: str

    @property
    def does(self) -> tuple[str, float, str]:
        """What it comes to: equal for methods that are one under two names, such as uniform and ddoq-uniform."""
        return self.select, exponent(self.weights), self.decode


BASES = {
    "ddoq": Method("quantize", "mass", "diffusion", "optimal quantization: codes, weighted by their cells' masses"),
    "uniform": Method("quantize", "uniform", "diffusion", "the same codes, equal weights (the view of D4M)"),
    "balanced": Method("balanced", "uniform", "diffusion", "codes that are optimal for equal masses"),
    "random": Method("random", "uniform", "real", "random real images"),
    "random-decoded": Method("random", "uniform", "diffusion", "random real images sent through codec and prior"),
    "nearest": Method("nearest", "uniform", "real", "the real image nearest each code"),
    "nearest-balanced": Method("nearest-balanced", "uniform", "real", "the real image nearest each code of equal mass"),
    "counts": Method("counts", "uniform", "real", "real images nearest the codes, as many a cell as its mass allots"),
    "stratified": Method("stratified", "uniform", "real", "one random image of each cell of equal mass"),
    "stratified-mass": Method("stratified-mass", "mass", "real", "one random image of each cell, weighted by its mass"),
    "thinned": Method("thinned", "uniform", "real", "real images by kernel thinning (needs goodpoints)"),
    "full": Method("all", "uniform", "real", "all of the training data: the ceiling"),
    "external": Method("external", "mass", "external", "the images of a folder, weighted as it says"),
}

_IN_WORDS = {"uniform": "equal weights", "mass": "weighted by their cells' masses", "sqrt": "weighted by the roots of the masses"}
WITH_MASSES = ("ddoq", "nearest", "nearest-balanced")  # of other ways all images stand for as much, or their weights are fixed


def _table() -> dict[str, Method]:
    """The bases, and those with masses under every mode that has a name."""
    modes = {
        f"{base}-{mode}": replace(BASES[base], weights=mode, summary=f"{BASES[base].summary}; {_IN_WORDS[mode]}")
        for base in WITH_MASSES
        for mode in MODES
    }
    return {**modes, **BASES}


class _Methods(Mapping[str, Method]):
    """The table; beside it powers of the masses, and what packages of others register."""

    def __init__(self, table: Mapping[str, Method]) -> None:
        self._table = table

    def __getitem__(self, name: str) -> Method:
        if name in self._table:
            return self._table[name]
        if name in registered("select"):
            kind = load("select", name)
            return Method(name, kind.weights, kind.decode, (kind.__doc__ or name).strip().splitlines()[0])
        if (found := power(name)) is not None and found[0] in WITH_MASSES:
            method = BASES[found[0]]
            return replace(method, weights=found[1], summary=f"{method.summary}; weighted by {found[1]} of the masses")
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


METHODS = _Methods(_table())
