"""Real images for each class: all, some at random, those nearest the codes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distill.pipeline.stage import Reader, seed_of
from distill.stages.codebooks import nearest_distinct
from distill.stages.draw import Draw
from distill.stages.select import RealStage
from quantization.assignment import nearest


class AllStage(RealStage):
    """All of a class."""

    kind = "all"

    def options(self) -> Mapping[str, Any]:
        return {"select": self.kind, "data": self.data.fingerprint}

    def summary(self, read: Reader) -> Mapping[str, Any]:
        return {}

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        return np.arange(self.size(read, part, draw))


class RandomStage(RealStage):
    """K of a class at random, without replacement."""

    kind = "random"

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        count, size = self.size(read, part, Draw(None, 0)), self.size(read, part, draw)
        return np.sort(np.random.default_rng(seed_of("random", part, draw.name)).choice(count, size, replace=False))


class NearestStage(RealStage):
    """For each code the real image nearest to it, every image once, with the masses of the chosen images' own Voronoi cells."""

    kind = "nearest"
    reads = ("latents", "codes")
    version = 2  # since it has masses

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        return nearest_distinct(self.space.points(read, self.data.index_of(part)), self._codes_of(part, draw, read))

    def masses(self, part: str, draw: Draw, read: Reader, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        points = self.space.points(read, self.data.index_of(part))
        return np.bincount(nearest(points, points[indices]).labels, minlength=len(indices)) / len(points)

    def _codes_of(self, part: str, draw: Draw, read: Reader) -> NDArray[np.float64]:
        return draw.of(read.tensors(self.codes, part), "points").numpy()


class NearestBalancedStage(NearestStage):
    """For each code of equal mass the real image nearest to it."""

    kind = "nearest-balanced"
    codes_kind = "balanced"


class CountsStage(NearestStage):
    """Slots in proportion to masses: of each cell so many images, those nearest to its code, by largest remainders."""

    kind = "counts"
    version = 1

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        points, codes = self.space.points(read, self.data.index_of(part)), self._codes_of(part, draw, read)
        found = nearest(points, codes)
        slots = apportioned(np.bincount(found.labels, minlength=len(codes)), len(codes))
        order = np.lexsort((np.asarray(found.squared), found.labels))  # by cell, the nearest first
        starts = np.searchsorted(found.labels[order], np.arange(len(codes)))
        return np.concatenate([order[start : start + count] for start, count in zip(starts, slots, strict=True)])


class StratifiedStage(RealStage):
    """One image at random of each cell of the codes of equal masses, each with weight 1/K.

    Unbiased for the class's mean of any function, of a variance no more than that of K independent draws.
    """

    kind = "stratified"
    reads = ("latents", "codes")
    codes_kind = "balanced"

    def indices(self, part: str, draw: Draw, read: Reader) -> NDArray[np.int64]:
        rng = np.random.default_rng(seed_of(self.kind, part, draw.name))
        members = self._cells(part, draw, read)
        return np.array([rng.choice(rows, p=mass / mass.sum()) for rows, mass in members], dtype=np.int64)

    def masses(self, part: str, draw: Draw, read: Reader, indices: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.array([mass.sum() for _, mass in self._cells(part, draw, read)])

    def _cells(self, part: str, draw: Draw, read: Reader) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        """Of each cell that is not empty the images and how much of them lies in it."""
        rows, cells, mass = self._memberships(part, draw, read)
        order = np.argsort(cells, kind="stable")
        starts = np.flatnonzero(np.diff(cells[order], prepend=-1))
        return list(zip(np.split(rows[order], starts[1:]), np.split(mass[order], starts[1:]), strict=True))

    def _memberships(
        self, part: str, draw: Draw, read: Reader
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """The plan between images and codes: which image, which code, how much. A few images lie in several cells."""
        codes = read.tensors(self.codes, part)
        rows, cells, mass = (draw.of(codes, name).numpy() for name in ("plan_rows", "plan_codes", "plan_masses"))
        return rows, cells, mass


class StratifiedMassStage(StratifiedStage):
    """One image at random of each Voronoi cell, weighted by the cell's mass: unbiased too, but its variance may be larger."""

    kind = "stratified-mass"
    codes_kind = "quantize"
    weights = "mass"

    def _memberships(
        self, part: str, draw: Draw, read: Reader
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        points = self.space.points(read, self.data.index_of(part))
        cells = nearest(points, draw.of(read.tensors(self.codes, part), "points").numpy()).labels
        return np.arange(len(points)), np.asarray(cells), np.full(len(points), 1 / len(points))


def apportioned(masses: NDArray[Any], slots: int) -> NDArray[np.int64]:
    """How many of so many slots each mass gets, by largest remainders: (K,) counts or masses → (K,), never more than a count."""
    quotas = slots * masses / masses.sum()
    given = np.floor(quotas).astype(np.int64)
    rest = np.argsort(given - quotas, kind="stable")[: slots - given.sum()]
    given[rest] += 1
    return given
