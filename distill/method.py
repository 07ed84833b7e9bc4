"""A method is data: how images are selected, how they are weighted, and how codes become images."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """select: which stage draws the codes. weights: mode of :mod:`distill.weights`. decode: how they become images."""

    select: str  # quantize | random | closest | all
    weights: str  # uniform | mass
    decode: str  # diffusion | real
    summary: str


METHODS = {
    "ddoq": Method("quantize", "mass", "diffusion", "optimal quantization: decoded codes, weighted by their cells' masses"),
    "uniform": Method("quantize", "uniform", "diffusion", "the same images, equal weights (the view of D4M)"),
    "random": Method("random", "uniform", "real", "random real images"),
    "closest": Method("closest", "uniform", "real", "the real image nearest each code"),
    "full": Method("all", "uniform", "real", "all of the training data: the ceiling"),
}
