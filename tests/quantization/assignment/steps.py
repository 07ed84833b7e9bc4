"""Lloyd's loop on one strategy alone, without relocation, for the tests of each."""

from types import SimpleNamespace

import numpy as np


def lloyds_steps(strategy, codes):
    """The steps from ``codes``, with the codes that follow, until one is at rest, has an empty cell or costs more for certain."""
    cells, least = strategy.moving_cells(codes), np.inf
    while True:
        step = cells.step()
        if step is None or not step.masses.all() or step.distortion * (1 - step.distortion_rtol) > least:
            return
        least = min(least, step.distortion * (1 + step.distortion_rtol))
        current = step.codes() if callable(step.codes) else step.codes
        cells.advance()
        yield SimpleNamespace(
            codes=current, masses=step.masses, distortion=step.distortion, distortion_rtol=step.distortion_rtol,
            stationarity=step.stationarity, at_rest=step.at_rest, measure=step.measure, following=cells.codes(),
        )  # fmt: skip
        if step.at_rest:
            return
