"""Mean, variance and skewness of numbers that come in parts."""

import numpy as np

from quantization.arrays import FloatArray


class Moments:
    """Central moments up to the third, merged about each part's own mean so that nothing cancels.

    Kept in units of a power of two near the first part's largest number, so that neither cubes of 1e200 nor of 1e-200 are lost.
    """

    def __init__(self) -> None:
        self.count = 0
        self._unit = 0.0
        self._mean = self._second = self._third = 0.0

    def add(self, values: FloatArray) -> None:
        """Take in some numbers, (n,)."""
        if not self._unit:
            top = float(np.abs(values).max())
            self._unit = 2.0 ** int(np.frexp(top)[1]) if 0 < top < np.inf else 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = values / self._unit
            mean, own = float(scaled.mean()), len(scaled)
            deviation = scaled - mean
            second, third = float(np.square(deviation).sum()), float((deviation**3).sum())
            before, count, gap = self.count, self.count + own, mean - self._mean
            self._third += third + gap**3 * before * own * (before - own) / count**2
            self._third += 3 * gap * (before * second - own * self._second) / count
            self._second += second + gap * gap * before * own / count
            self._mean += gap * own / count
        self.count = count

    @property
    def mean(self) -> float:
        """The mean."""
        return self._mean * self._unit

    @property
    def standard_error(self) -> float:
        """Of the mean, from the unbiased variance; infinite for a single number."""
        return (self._second / (self.count - 1) / self.count) ** 0.5 * self._unit if self.count > 1 else np.inf

    @property
    def skewness(self) -> float:
        """The third central moment over the standard deviation cubed; 0 where all numbers are equal."""
        return (self._third / self.count) / (self._second / self.count) ** 1.5 if self._second > 0 else 0.0
