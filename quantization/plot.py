"""Plots: cells of a codebook, a barycenter over its measures, the course of a run. matplotlib is imported on first use."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.spatial import Voronoi

from quantization.arrays import Array, FloatArray, IntArray, summed_by, to_host
from quantization.laws import FrozenLaw, GaussianMixture, scipys_mixture
from quantization.make_problem import LawLike, make_problem
from quantization.measure import DiscreteMeasure
from quantization.processes import Process
from quantization.solution import Solution
from quantization.validation import checked_count, checked_rng

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Paths(Protocol):
    """Weighted paths of a process, as those of a :class:`quantization.FunctionalGrid`."""

    @property
    def process(self) -> Process: ...

    @property
    def weights(self) -> FloatArray: ...

    def paths(self, times: Array, index: IntArray | None = None) -> FloatArray: ...


Rng = int | np.random.Generator | None
Density = Callable[[FloatArray], FloatArray]

_INK, _SECOND = "#1b1b1b", "#b3402a"
_SHARE = 0.002  # of the draws that may lie outside of a plot, on each side


def voronoi(
    codebook: Solution | DiscreteMeasure, law: LawLike = None, ax: "Axes | None" = None, *, samples: int = 2000, rng: Rng = 0
) -> "Axes":
    r"""The Voronoi cells of a codebook on the line or in the plane, coloured by weight.

    In the plane cells are clipped to the window, and codes are dots. On the line each cell is a bar of area $w_k$ (those at the
    ends are cut at the window), so that the bars are the quantizer's own histogram.

    Parameters
    ----------
    codebook : Solution or DiscreteMeasure
        Codes and weights, d ≤ 2.
    law : optional
        What was quantized, of any kind that :func:`quantization.quantize` takes: some of its points are drawn beneath the codes;
        on the line its density, or a histogram of the points, over the bars.
    ax : matplotlib Axes, optional
        Axes to draw on; ``None`` makes new ones.
    samples : int, default 2000
        Points of the law at most.
    rng : int, numpy Generator or None, default 0
        With which they are drawn.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        For d ≥ 3, or a law of another dimension.
    ModuleNotFoundError
        Where matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> import numpy as np, quantization as qz
    >>> from quantization import plot
    >>> x = np.random.default_rng(0).normal(size=(500, 2))
    >>> axes = plot.voronoi(qz.quantize(x, 5, rng=0), x)
    >>> len(axes.collections[0].get_paths())  # a polygon per cell
    5
    """
    measure = _measure(codebook, "voronoi")
    if measure.dim > 2:
        raise ValueError(
            f"voronoi draws the line and the plane; received d = {measure.dim}. Look at plot.trace(solution), or quantize and "
            "draw a projection such as x[:, :2]"
        )
    codes, weights = to_host(measure.points), to_host(measure.weights_float64)
    shown = None if law is None else _shown(law, measure.dim, checked_count("samples", samples), checked_rng(rng))
    axes = _axes(ax, (5.6, 4.6) if measure.dim == 2 else (6.4, 3.6))
    low, high = _window(codes, shown)
    if measure.dim == 2:
        _plane(axes, codes, weights, shown, low, high)
    else:
        _line(axes, codes[:, 0], weights, None if shown is None else shown[:, 0], _density(law), (float(low[0]), float(high[0])))
    return axes


def barycenter(nu: Solution | DiscreteMeasure, measures: Iterable[Any], ax: "Axes | None" = None) -> "Axes":
    """A barycenter in the plane over its measures: atoms are discs of area ∝ weight, points are dots coloured by measure.

    Parameters
    ----------
    nu : Solution or DiscreteMeasure
        The barycenter, d = 2.
    measures : iterable
        As for :func:`quantization.barycenter`; of a law or a large measure 2,000 points are drawn.
    ax : matplotlib Axes, optional
        Axes to draw on; ``None`` makes new ones.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        For d ≠ 2.
    ModuleNotFoundError
        Where matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> import numpy as np, quantization as qz
    >>> from quantization import plot
    >>> x = np.random.default_rng(0).normal(size=(2, 50, 2))
    >>> axes = plot.barycenter(qz.barycenter(x, 4, rng=0), x)
    >>> len(axes.collections)  # two measures and the barycenter
    3
    """
    measure = _measure(nu, "barycenter")
    if measure.dim != 2:
        raise ValueError(f"barycenter draws the plane; received d = {measure.dim}. Draw a projection such as x[:, :2]")
    clouds = [_cloud(m, 2000, np.random.default_rng(j)) for j, m in enumerate(measures)]
    axes = _axes(ax, (5.6, 4.6))
    for j, cloud in enumerate(clouds):
        axes.scatter(*cloud.T, s=3.0, color=f"C{j % 10}", alpha=0.4, lw=0, zorder=1)
    codes, weights = to_host(measure.points), to_host(measure.weights_float64)
    area = np.clip(2600 / len(codes), 6, 90) * len(codes) * weights  # discs of the mean weight just fill the plot
    axes.scatter(*codes.T, s=area, color=_INK, alpha=0.85, edgecolors="white", linewidths=0.6, zorder=2)
    axes.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    _hide_spines(axes, *axes.spines)
    return axes


def trace(solution: Solution, ax: "Axes | None" = None) -> "Axes":
    """Distortion (left) and stationarity (right) of every step, both on a log scale.

    A dotted line marks the solver's tolerance once the residual comes within a factor of 100 of it; the axis ends a factor of 10
    below it. Numbers of a stochastic solver are its running estimates. A value that is not positive leaves a gap.

    Parameters
    ----------
    solution : Solution
        Of any solver.
    ax : matplotlib Axes, optional
        Axes to draw on; ``None`` makes new ones.

    Returns
    -------
    matplotlib Axes
        The left one; the right one is ``axes.figure.axes[-1]``.

    Raises
    ------
    ValueError
        For anything but a Solution.
    ModuleNotFoundError
        Where matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> import numpy as np, quantization as qz
    >>> from quantization import plot
    >>> axes = plot.trace(qz.quantize(np.random.default_rng(0).normal(size=(500, 2)), 5, rng=0))
    >>> axes.get_ylabel(), axes.figure.axes[-1].get_ylabel()
    ('distortion', 'stationarity')
    """
    if not isinstance(solution, Solution):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
        raise ValueError(f"trace draws a Solution; received {type(solution).__name__}")
    axes = _axes(ax, (6.4, 3.6))
    right: Any = axes.twinx()
    _curve(axes, solution.trace.distortion, "distortion", _INK)
    least = _curve(right, solution.trace.stationarity, "stationarity", _SECOND)
    rtol = solution.solver.rtol
    if least < 100 * rtol:
        right.set_ylim(bottom=rtol / 10)
        right.axhline(rtol, color=_SECOND, lw=0.9, ls=":")
        place = {"xycoords": ("axes fraction", "data"), "xytext": (3, 3), "textcoords": "offset points"}
        right.annotate("rtol", (0, rtol), color=_SECOND, fontsize=8, **place)
    axes.set_xlabel("step")
    axes.xaxis.get_major_locator().set_params(integer=True)
    status = solution.status.name.lower().replace("_", " ")
    axes.set_title(f"{type(solution.solver).__name__}, K = {solution.measure.size}: {status}", fontsize=10)
    return axes


def paths(grid: Paths, times: FloatArray | None = None, ax: "Axes | None" = None) -> "Axes":
    """The paths of a functional grid, the heavier the darker.

    Parameters
    ----------
    grid : FunctionalGrid
        Of :func:`quantization.functional_grid`.
    times : array (n,), optional
        Where they are drawn; ``None`` takes 200 times from 0 to T.
    ax : matplotlib Axes, optional
        Axes to draw on; ``None`` makes new ones.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        For times outside [0, T].
    ModuleNotFoundError
        Where matplotlib is not installed.

    Examples
    --------
    >>> import matplotlib; matplotlib.use("agg")
    >>> import quantization as qz
    >>> from quantization import plot
    >>> len(plot.paths(qz.functional_grid(qz.BrownianMotion(), 10)).lines)
    10
    """
    times = np.linspace(0, grid.process.horizon, 200) if times is None else to_host(times)
    axes = _axes(ax, (6.4, 3.6))
    weights, drawn = grid.weights, grid.paths(times)
    for i in np.argsort(weights, kind="stable"):  # the heaviest last, on top
        axes.plot(times, drawn[i], color=_colours()(1 - weights[i] / weights.max()), lw=1.2)
    axes.set(xlabel="$t$", ylabel="$x_k(t)$")
    _hide_spines(axes, "top", "right")
    return axes


def _measure(codebook: Solution | DiscreteMeasure, function: str) -> DiscreteMeasure:
    measure = codebook.measure if isinstance(codebook, Solution) else codebook
    if not isinstance(measure, DiscreteMeasure):  # pyright: ignore[reportUnnecessaryIsInstance]  callers may be untyped
        raise ValueError(f"{function} draws a Solution or a DiscreteMeasure; received {type(codebook).__name__}")
    return measure


def _hide_spines(axes: Any, *sides: str) -> None:
    for side in sides:
        axes.spines[side].set_visible(False)


def _curve(axes: Any, values: FloatArray, name: str, colour: str) -> float:
    """One of the two curves with its own scale; returns its least positive value."""
    from matplotlib.ticker import MaxNLocator, NullLocator, StrMethodFormatter

    shown = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    axes.plot(np.arange(len(shown)), shown, color=colour, lw=1.6, marker="o" if len(shown) <= 30 else None, ms=3)
    axes.set_ylabel(name, color=colour)
    _hide_spines(axes, "top")
    positive = shown[~np.isnan(shown)]
    if not len(positive):
        return np.inf
    axes.set_yscale("log")
    if positive.max() < 10 * positive.min():  # powers of ten are too far apart to label less than one of them
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.4g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(axis="y", which="both", colors=colour)
    return float(positive.min())


def _plane(
    axes: Any, codes: FloatArray, weights: FloatArray, shown: FloatArray | None, low: FloatArray, high: FloatArray
) -> None:
    from matplotlib.collections import PolyCollection

    polygons, cell_weights = _clipped_cells(codes, weights, low, high)
    drawn: Any = PolyCollection(polygons, edgecolors="white", linewidths=0.7)
    drawn.set(array=cell_weights, cmap=_colours(), clim=(0.0, float(weights.max())))
    axes.add_collection(drawn)
    if shown is not None:
        axes.scatter(*shown.T, s=2.0, color=_INK, alpha=0.3, lw=0, zorder=2)
    axes.scatter(*codes.T, s=float(np.clip(1500 / len(codes), 4, 26)), color=_INK, edgecolors="white", linewidths=0.7, zorder=3)
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    bar: Any = axes.figure.colorbar(drawn, cax=axes.inset_axes((1.03, 0.0, 0.03, 1.0)), label="weight $w_k$")
    bar.outline.set_visible(False)
    _hide_spines(axes, *axes.spines)


def _line(
    axes: Any, codes: FloatArray, weights: FloatArray, shown: FloatArray | None, density: Density | None,
    window: tuple[float, float],
) -> None:  # fmt: skip
    order, few = np.argsort(codes, kind="stable"), len(codes) <= 60
    x, w = codes[order], weights[order]
    ends = np.concatenate([window[:1], (x[1:] + x[:-1]) / 2, window[1:]])
    width = np.diff(ends)
    height = np.divide(w, width, out=np.zeros_like(w), where=width > 0)
    top = float(height.max())
    colours = _colours()(w / w.max())
    axes.bar(ends[:-1], height, width, align="edge", color=colours, edgecolor="white", lw=0.6 if few else 0.0)
    if density is not None:
        grid = np.linspace(*window, 800)
        with np.errstate(all="ignore"):
            f = density(grid)
        axes.plot(grid, np.where(np.isfinite(f), f, np.nan), color=_INK, lw=1.4, label="density")
        top = max(top, float(np.quantile(f[np.isfinite(f)], 0.995)))
    elif shown is not None:
        style = {"histtype": "step", "color": _INK, "lw": 1.2, "label": "samples"}
        top = max(top, float(np.max(axes.hist(shown, bins=60, range=window, density=True, **style)[0])))
    marks = {"marker": "o", "ms": 5, "mec": "white", "mew": 0.7} if few else {"marker": "|", "ms": 6, "mew": 0.5}
    axes.plot(x, np.zeros_like(x), ls="", color=_INK, clip_on=False, zorder=4, **marks)
    axes.set(xlim=window, ylim=(0, 1.08 * top), xlabel="$x$", ylabel="mass per length of cell")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    _hide_spines(axes, "top", "right")


def _clipped_cells(
    codes: FloatArray, weights: FloatArray, low: FloatArray, high: FloatArray
) -> tuple[list[FloatArray], FloatArray]:
    """The polygons of the cells within the window, and their weights; equal codes share a cell.

    The codes' mirror images in the four sides bound their cells by these sides exactly, so that no cell is unbounded.
    """
    unique, places = np.unique(codes, axis=0, return_inverse=True)
    unit = (unique - low) / (high - low).max()
    mirrored = [unit]
    for i, reach in enumerate((high - low) / (high - low).max()):
        for wall in (0.0, reach):
            mirrored.append(unit.copy())
            mirrored[-1][:, i] = 2 * wall - unit[:, i]
    diagram = Voronoi(np.concatenate(mirrored))
    corners = np.asarray(diagram.vertices, dtype=np.float64) * (high - low).max() + low
    polygons = [corners[list(diagram.regions[int(diagram.point_region[k])])] for k in range(len(unit))]
    return polygons, summed_by(places.ravel(), weights, len(unit))


def _window(codes: FloatArray, shown: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Corners of a box around all codes, with margins, and around all but the outermost of the law's points."""
    low, high = codes.min(0), codes.max(0)
    span = np.maximum(high - low, 0.3 * (high - low).max())
    room = np.where(span > 0, 0.5 * span / max(len(codes) ** (1 / codes.shape[1]), 1.5), 1.0)
    low, high = low - room, high + room
    if shown is not None:
        low = np.minimum(low, np.quantile(shown, _SHARE, axis=0))
        high = np.maximum(high, np.quantile(shown, 1 - _SHARE, axis=0))
    return low, high


def _shown(law: LawLike, dim: int, samples: int, rng: np.random.Generator) -> FloatArray:
    """Points of the law to draw: all of a small measure, else draws by weight."""
    problem = make_problem(law, 1, 2.0)
    if problem.dim != dim:
        raise ValueError(f"the law must have the codebook's dimension {dim}; received {problem.dim}")
    pilot = problem.pilot(rng)
    return to_host(pilot.points if pilot.size <= samples and problem.measure is None else pilot.sample(samples, rng))


def _cloud(law: LawLike, samples: int, rng: np.random.Generator) -> FloatArray:
    """The points of positive weight of a measure of at most ``samples`` points, else as many draws."""
    measure = make_problem(law, 1, 2.0).measure
    if measure is None or measure.size > samples:
        return _shown(law, 2, samples, rng)
    return to_host(measure.points)[to_host(measure.weights_float64) > 0]


def _density(law: LawLike) -> Density | None:
    law = scipys_mixture(law) or law
    frozen = FrozenLaw.of(law)
    if frozen is not None:
        return lambda x: np.asarray(frozen.distribution.pdf(x), dtype=np.float64)
    if isinstance(law, GaussianMixture) and (law.covs > 0).all():
        return lambda x: np.exp(law.log_density(x[:, None]))
    return None


def _colours() -> Any:
    """Viridis without its dark third, on which dots and lines would not show."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    return ListedColormap(colormaps["viridis"](np.linspace(0.3, 1.0, 256)))


def _axes(ax: "Axes | None", size: tuple[float, float]) -> Any:
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("plot needs matplotlib: pip install 'optimal-quantization[plot]'") from error
    return pyplot.subplots(figsize=size, layout="constrained")[1]
