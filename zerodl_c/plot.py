"""Pictures of functions, and of what was learned and timed, as PNG files.

Needs matplotlib, from the extras ``[demo]``, ``[bench]``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ._extras import need
from ._files import replacing
from .gradient import numerical_gradient_2d

need("demo", "matplotlib.figure")
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator  # noqa: E402

if TYPE_CHECKING:
    from zerodl_c.bench import Record

__all__ = ["gradient_field", "learning_curves", "speed_ratios", "surface"]

Array = NDArray[Any]


def surface(
    f: Callable[[Array], Any], path: str | os.PathLike[str] | BinaryIO, extent: tuple[float, float] = (-5.0, 5.0)
) -> None:
    """Draw a function of two variables as a surface, and beside it its two partial derivatives.

    Parameters
    ----------
    f : callable
        f(x) -> one real number, for x of shape (2,). The derivatives are central differences.
    path : path or binary file
        Where the PNG goes.
    extent : (low, high)
        Both variables go from low to high.

    Raises
    ------
    ValueError
        If extent is not two finite numbers, low < high.
    TypeError
        If f is not callable, or gives something that is not one real number.

    Examples
    --------
    >>> import io
    >>> picture = io.BytesIO()
    >>> surface(lambda x: x[0] ** 2 + x[1] ** 2, picture)
    >>> picture.getvalue()[1:4]
    b'PNG'
    """
    points = _grid(extent, 41)
    slope0, slope1 = _gradients(f, points)
    heights = {"f": _values(f, points), r"$\partial f/\partial x_0$": slope0, r"$\partial f/\partial x_1$": slope1}
    figure = Figure(figsize=(12.5, 4.3), dpi=150, layout="constrained")
    for i, (title, height) in enumerate(heights.items()):
        axes: Any = figure.add_subplot(1, 3, i + 1, projection="3d")
        axes.plot_surface(*points, height, cmap="viridis", rcount=41, ccount=41)
        axes.view_init(elev=24, azim=-130)  # from where planes that rise along either axis show their faces
        axes.set_title(title, y=0.97)
        axes.set_xlabel("$x_0$")
        axes.set_ylabel("$x_1$")
    _save(figure, path)


def gradient_field(
    f: Callable[[Array], Any], path: str | os.PathLike[str] | BinaryIO, extent: tuple[float, float] = (-5.0, 5.0)
) -> None:
    """Draw the contour lines of a function of two variables, and its gradient as arrows on a 20 x 20 grid.

    The arrows point uphill, at right angles to the contour lines; gradient descent goes the other way. A longer arrow
    is a steeper place.

    Parameters
    ----------
    f, path, extent
        As in `surface`, errors included.

    Examples
    --------
    >>> import io
    >>> picture = io.BytesIO()
    >>> gradient_field(lambda x: x[0] ** 2 + x[1] ** 2, picture)
    >>> picture.getvalue()[1:4]
    b'PNG'
    """
    grid, fine = _grid(extent, 20), _grid(extent, 101)
    gradients, values = _gradients(f, grid), _values(f, fine)
    figure = Figure(figsize=(6.4, 5.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    figure.colorbar(axes.contourf(*fine, values, levels=12, cmap="viridis", alpha=0.3), label="f")
    axes.contour(*fine, values, levels=12, cmap="viridis", linewidths=1.2)
    longest = 1.3 * (extent[1] - extent[0]) / 19  # of an arrow: somewhat more than from one point to the next
    scale = np.nanmax(np.hypot(*gradients)) / longest or 1.0
    axes.quiver(*grid, *gradients, angles="xy", scale_units="xy", scale=scale, color="0.2", width=0.0028)
    axes.set_aspect("equal")
    axes.set_xlabel("$x_0$")
    axes.set_ylabel("$x_1$")
    _save(figure, path)


def _save(figure: Figure, path: str | os.PathLike[str] | BinaryIO) -> None:
    if isinstance(path, (str, os.PathLike)):
        with replacing(path) as file:
            figure.savefig(file, format="png")
    else:
        figure.savefig(path, format="png")


def _grid(extent: tuple[float, float], n: int) -> Array:
    """The coordinates of n x n points, (2, n, n)."""
    low, high = extent
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"extent must be two finite numbers, low < high, got {extent}")
    axis = np.linspace(low, high, n)
    return np.stack(np.meshgrid(axis, axis))


def _values(f: Callable[[Array], Any], points: Array) -> Array:
    """f at each of the points, (n, n)."""
    return np.array([float(f(point)) for point in points.reshape(2, -1).T]).reshape(points.shape[1:])


def _gradients(f: Callable[[Array], Any], points: Array) -> Array:
    """f's gradients at the points, (2, n, n)."""
    return numerical_gradient_2d(f, points.reshape(2, -1).T.copy()).T.reshape(points.shape)


def learning_curves(
    histories: Mapping[str, Mapping[str, Sequence[float]]], path: str | os.PathLike[str] | BinaryIO
) -> None:
    """Draw the learning curves of one or more engines, one panel for each quantity.

    Engines that agree draw the same line; the first is drawn widest and each after it narrower, so
    that all of them show.

    Parameters
    ----------
    histories : mapping of engine to mapping of quantity to sequence of floats
        Such as ``{"c": {"loss": [2.3, 0.9, 0.4]}, "numpy": {"loss": [2.3, 0.9, 0.4]}}``: the value
        before training, then one after each epoch. All engines have the same quantities.
    path : path or binary file
        Where the PNG goes.

    Examples
    --------
    >>> import io
    >>> picture = io.BytesIO()
    >>> learning_curves({"c": {"loss": [2.3, 0.9, 0.4]}}, picture)
    >>> picture.getvalue()[1:4]
    b'PNG'
    """
    quantities = list(next(iter(histories.values())))
    figure = Figure(figsize=(4.8 * len(quantities), 3.6), dpi=150, layout="constrained")
    for axes, quantity in zip(
        figure.subplots(1, len(quantities), squeeze=False)[0], quantities, strict=True
    ):
        for index, (engine, curves) in enumerate(histories.items()):
            values = curves[quantity]
            width = 1.5 + 4 * (len(histories) - 1 - index)
            axes.plot(
                values, linewidth=width, label=f"{engine}: {values[-1]:.4f}", solid_capstyle="round"
            )
        axes.set_title(quantity)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.grid(alpha=0.3)
        axes.legend(title="at the end")
    _save(figure, path)


def speed_ratios(records: Sequence[Record], path: str | os.PathLike[str] | BinaryIO) -> None:
    """Draw how many times as fast as NumPy, and as PyTorch where it took part, the C engine is in each case.

    Parameters
    ----------
    records : sequence of zerodl_c.bench.Record
        One colour for each dtype and thread count of theirs, one row for each case.
    path : path or binary file
        Where the PNG goes.
    """
    rows = list(dict.fromkeys((record.group, record.case) for record in records))
    series = list(dict.fromkeys((record.dtype, record.threads) for record in records))
    figure = Figure(figsize=(9, 2 + 0.26 * len(rows)), dpi=120, layout="constrained")
    axes = figure.subplots()
    for index, (dtype, threads) in enumerate(series):
        for engine, marker, faces in (("numpy", "o", f"C{index}"), ("torch", "D", "none")):
            shown = [r for r in records if (r.dtype, r.threads) == (dtype, threads) and engine in r.seconds]
            below = 0.6 * ((index + 0.5) / len(series) - 0.5)  # the middle of its row, so that no colour hides another
            if shown:
                axes.scatter(
                    [record.ratio(engine) for record in shown],
                    [rows.index((record.group, record.case)) + below for record in shown],
                    s=18,
                    marker=marker,
                    facecolors=faces,
                    edgecolors=f"C{index}",
                    label=f"{engine}: {dtype}, {threads} thread{'s' * (threads > 1)}",
                )
    axes.axvline(1, color="black", linewidth=1)
    for row in range(1, len(rows)):
        between_groups = rows[row][0] != rows[row - 1][0]
        axes.axhline(row - 0.5, color="grey", linewidth=1.2 if between_groups else 0.2)
    axes.set_yticks(range(len(rows)), [case for _, case in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}x"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="x", alpha=0.3)
    axes.set_xlabel("time of the other engine / time of C: to the right of 1, C is faster")
    figure.legend(loc="outside upper center", ncols=2, fontsize=8)
    _save(figure, path)
