"""Pictures of functions, and of what was learned and timed.

Each function returns a matplotlib ``Figure``, which a notebook shows, and writes it to `path` where that is given.
It draws into the axes `ax` where those are given. Needs matplotlib: ``pip install 'zerodl_c[demo]'``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from textwrap import fill
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ._arrays import as_array
from ._checks import shown
from ._extras import need
from ._files import replacing, try_to_write
from .gradient import numerical_gradient_2d

need("demo", "matplotlib.figure")
from matplotlib.axes import Axes  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator  # noqa: E402

if TYPE_CHECKING:
    from zerodl_c.bench import Record

__all__ = ["gradient_field", "learning_curves", "speed_ratios", "surface"]

Array = NDArray[Any]
Path = str | os.PathLike[str] | BinaryIO

_DPI = 200  # of a file, and in notebooks, which show two pixels as one: sharp on every screen


def surface(
    f: Callable[[Array], Any],
    path: Path | None = None,
    extent: tuple[float, float] = (-5.0, 5.0),
    *,
    ax: Sequence[Axes] | None = None,
) -> Figure:
    """Draw a function of two variables as a surface, and beside it its two partial derivatives.

    Parameters
    ----------
    f : callable
        f(x) -> one real number, for x of shape (2,). The derivatives are central differences.
    path : path or binary file, optional
        Where the picture goes, whole or not at all. The suffix says in which format: .png, .svg, .pdf, .jpg and what
        else matplotlib writes; a binary file gets a PNG.
    extent : (low, high)
        Both variables go from low to high.
    ax : three Axes, optional
        Where to draw in place of a new figure; of ``projection="3d"``. A notebook shows a figure of pyplot's by itself:
        there, end the line with a semicolon.

    Returns
    -------
    Figure
        What was drawn; the figure of `ax`, if that is given.

    Raises
    ------
    ValueError
        If extent is not two finite numbers, low < high, path has a suffix that is no format, or ax has other Axes than
        those asked for.
    TypeError
        If f is not callable, or gives something that is not one real number, or path or ax is of another type.
    OSError
        If path cannot be written to. This and the suffix are found out before f is called.

    Examples
    --------
    >>> import io
    >>> picture = io.BytesIO()
    >>> surface(lambda x: x[0] ** 2 + x[1] ** 2, picture)
    <Picture size 1050x360 with 3 Axes>
    >>> picture.getvalue()[1:4]
    b'PNG'
    """
    with _picture(path, ax, 3, (10.5, 3.6), "3d") as (figure, panels):
        points = _grid(extent, 41)
        slope0, slope1 = _gradients(f, points)
        heights = {"f": _values(f, points), r"$\partial f/\partial x_0$": slope0, r"$\partial f/\partial x_1$": slope1}
        for axes, (title, height) in zip(panels, heights.items(), strict=True):
            axes.plot_surface(*points, height, cmap="viridis", rcount=41, ccount=41)
            axes.view_init(elev=24, azim=-130)  # from where planes that rise along either axis show their faces
            axes.set_title(title, y=0.97)
            axes.zaxis.set_major_locator(MaxNLocator(5))
            axes.tick_params(labelsize=8, pad=0)
            axes.set_xlabel("$x_0$")
            axes.set_ylabel("$x_1$")
    return figure


def gradient_field(
    f: Callable[[Array], Any],
    path: Path | None = None,
    extent: tuple[float, float] = (-5.0, 5.0),
    *,
    ax: Axes | None = None,
) -> Figure:
    """Draw the contour lines of a function of two variables, and its gradient as arrows in 16 x 16 cells.

    The arrows point uphill, at right angles to the contour lines; gradient descent goes the other way. A longer arrow
    is a steeper place; the longest is as long as its cell.

    Parameters
    ----------
    f, path, extent
        As in `surface`, errors included.
    ax : Axes, optional
        As in `surface`, but one.

    Returns
    -------
    Figure
        As in `surface`.

    Examples
    --------
    >>> import io
    >>> picture = io.BytesIO()
    >>> gradient_field(lambda x: x[0] ** 2 + x[1] ** 2, picture)
    <Picture size 600x500 with 1 Axes>
    >>> picture.getvalue()[1:4]
    b'PNG'
    """
    with _picture(path, ax, 1, (6, 5)) as (figure, (axes,)):
        fine, cell = _grid(extent, 101), (extent[1] - extent[0]) / 16
        middles = _grid((extent[0] + cell / 2, extent[1] - cell / 2), 16)
        gradients, values = _gradients(f, middles), _values(f, fine)
        filled = axes.contourf(*fine, values, levels=12, cmap="viridis", alpha=0.3)
        axes.contour(*fine, values, levels=12, cmap="viridis", linewidths=1.2)
        # Inside the axes' own box, so that the bar is as tall as that, whatever the aspect makes of it.
        axes.figure.colorbar(filled, cax=axes.inset_axes((1.04, 0, 0.05, 1)), label="f")
        scale = np.nanmax(np.hypot(*gradients)) / cell or 1.0
        axes.quiver(
            *middles, *gradients, angles="xy", scale_units="xy", scale=scale, pivot="mid", color="0.2", width=0.003
        )
        axes.set_aspect("equal")
        axes.set_xlabel("$x_0$")
        axes.set_ylabel("$x_1$")
    return figure


def _grid(extent: tuple[float, float], n: int) -> Array:
    """The coordinates of n x n points, (2, n, n)."""
    ends = as_array("extent", extent)
    if ends.dtype.kind not in "iuf" or ends.shape != (2,) or not (np.isfinite(ends).all() and ends[0] < ends[1]):
        raise ValueError(f"extent must be two finite numbers, low < high, got {extent}")
    low, high = ends
    axis = np.linspace(low, high, n)
    return np.stack(np.meshgrid(axis, axis))


def _values(f: Callable[[Array], Any], points: Array) -> Array:
    """f at each of the points, (n, n)."""
    return np.array([np.asarray(f(point), float).item() for point in points.reshape(2, -1).T]).reshape(points.shape[1:])


def _gradients(f: Callable[[Array], Any], points: Array) -> Array:
    """f's gradients at the points, (2, n, n)."""
    return numerical_gradient_2d(f, points.reshape(2, -1).T.copy()).T.reshape(points.shape)


# ---- Learning curves -----------------------------------------------------------------------------


def learning_curves(
    histories: Any, path: Path | None = None, *, ax: Axes | Sequence[Axes] | None = None, title: str | None = None
) -> Figure:
    """Draw what was learned, one panel for the loss and one for the accuracies.

    Each line is labelled at its end, with its last value. Lines that no eye could tell apart are drawn once, under all
    their names. Of many losses, as of each step, the line is their running mean, on the losses themselves.

    Parameters
    ----------
    histories : Trainer, mapping of quantity to sequence of floats, or mapping of name to either
        A Trainer, or its ``history``; or such as ``{"loss": [2.3, 0.9, 0.4], "test accuracy": [0.1, 0.7, 0.9]}``,
        the values before training and after each epoch; or several of these: ``{"SGD": trainer, "Adam": another}``.
        Quantities with the same last word share a panel.
    path : path or binary file, optional
        As in `surface`.
    ax : Axes or sequence of Axes, optional
        Where to draw in place of a new figure: one for each panel.
    title : str, optional
        Of a new figure. By default the net of the Trainers and the number of samples, if those are the same.

    Returns
    -------
    Figure
        As in `surface`.

    Raises
    ------
    TypeError
        If histories is something else, or path or ax is of another type.
    ValueError
        If there is nothing to draw yet; if path has a suffix that is no format, or ax is not one Axes for each panel.

    Examples
    --------
    >>> learning_curves({"loss": [2.3, 0.9, 0.4], "test accuracy": [0.1, 0.7, 0.9]}, title="digits")
    <Picture size 880x340 with 2 Axes>
    """
    sources = _sources(histories)
    curves = {name: _curves(source) for name, source in sources.items()}
    quantities = list(dict.fromkeys(quantity for of in curves.values() for quantity in of))
    if not quantities:
        raise ValueError("histories must hold something to draw, got none")
    panels = list(dict.fromkeys(quantity.split()[-1] for quantity in quantities))
    with _picture(path, ax, len(panels), (4.4 * len(panels), 3.4)) as (figure, all_axes):
        for axes, panel in zip(all_axes, panels, strict=True):
            *others, last = [quantity for quantity in quantities if quantity.split()[-1] == panel]
            _draw_curves(axes, _lines(curves, [*others, last]), panel)
            if others and len(curves) > 1:
                last += f" (dotted: {', '.join(map(_kind, others))})"
            elif others:
                last = panel
            axes.set_title(last, fontsize="medium")
            axes.set_xlabel(_unit(next(iter(sources.values()))))
        if ax is None:
            figure.suptitle(fill(title or _title(sources.values()), 100), fontsize="medium")
    return figure


def _kind(quantity: str) -> str:
    """What stands before the last word: train, of train accuracy."""
    return quantity.rpartition(" ")[0]


def _sources(histories: Any) -> dict[str, Any]:
    """The Trainers and histories by their names; a single one has the name ""."""
    several = isinstance(histories, Mapping) and all(np.ndim(source) == 0 for source in histories.values())
    sources = {str(name): source for name, source in histories.items()} if several else {"": histories}
    for source in sources.values():
        if not isinstance(source, Mapping) and not hasattr(source, "history"):
            raise TypeError(
                "histories must be a Trainer, a mapping of quantities to numbers, or a mapping of names to these, "
                f"got {type(source).__name__}"
            )
    return sources


def _curves(source: Any) -> dict[str, tuple[Array, Array]]:
    """The quantities of a Trainer, by epochs, or of a history: where they were taken, and their values."""
    history, scale = (source, 1) if isinstance(source, Mapping) else (source.history, source.iter_per_epoch)
    curves = {}
    for key, of in history.items():
        if key != "iteration":
            values = as_array(f"histories[{key!r}]", of)
            if not isinstance(key, str) or not key.strip() or values.dtype.kind not in "biuf" or values.ndim != 1:
                raise TypeError(f"histories must have names and sequences of numbers, got {shown(of)} of {key!r}")
            values = values.astype(float)
            if not np.isfinite(values).any():
                raise ValueError(f"histories must have finite values of each quantity, got none of {key!r}")
            values[np.isinf(values)] = np.nan  # a line has a gap there
            steps = history.get("iteration") if key != "loss" else None
            x = np.arange(len(values)) if steps is None else np.array(steps)
            if len(x) != len(values):
                raise ValueError(f"histories must have an iteration for each of {key!r}, got {len(x)} of {len(values)}")
            curves[key.replace("_acc", " accuracy")] = x / scale, values
    return curves


def _unit(source: Any) -> str:
    """What _curves counts along."""
    return "step" if isinstance(source, Mapping) and "iteration" in source else "epoch"


def _title(sources: Iterable[Any]) -> str:
    """The net and the number of samples that all Trainers have in common."""
    titles = {f"{of.network!r}, {of.train_size:,} samples" for of in sources if hasattr(of, "network")}
    title = titles.pop() if len(titles) == 1 else ""
    return "" if title.startswith("<") else title  # where a net is, is not what it is


@dataclass
class _Line:
    """A curve, or several that no eye could tell apart."""

    names: list[str]
    x: Array
    y: Array
    color: str
    dotted: bool

    def looks_like(self, other: _Line) -> bool:
        if self.dotted is not other.dotted or self.y.shape != other.y.shape:
            return False
        height = np.nanmax(self.y) - np.nanmin(self.y)
        return np.allclose(self.y, other.y, rtol=0, atol=height / 500, equal_nan=True)


def _lines(curves: Mapping[str, Mapping[str, tuple[Array, Array]]], quantities: Sequence[str]) -> list[_Line]:
    """The lines of a panel. Of several sources they have the sources' names, of one the quantities'."""
    several, lines = len(curves) > 1, list[_Line]()
    for i, (name, of) in enumerate(curves.items()):
        for j, quantity in enumerate(quantities):
            if quantity in of:
                names = [name if several else _kind(quantity) if len(quantities) > 1 else ""]
                line = _Line(names, *of[quantity], f"C{i if several else j}", several and quantity != quantities[-1])
                twin = next((other for other in lines if other.looks_like(line)), None)
                if twin:
                    twin.names += names
                else:
                    lines.append(line)
    return lines


def _draw_curves(axes: Any, lines: Sequence[_Line], panel: str) -> None:
    """Draw the lines of a panel, and label all but the dotted ones."""
    ends: list[tuple[_Line, float]] = []
    for line in lines:
        x, y = line.x, line.y
        width = len(y) // 30
        if width > 1:  # of so many points only their mean can be read
            axes.plot(x, y, color=line.color, linewidth=0.5, alpha=0.25)
            x, y = (np.convolve(of, np.full(width, 1 / width), mode="valid") for of in (x, y))
        style = "." if len(y) == 1 else ":" if line.dotted else "-"
        axes.plot(x, y, style, color=line.color, linewidth=1.3)
        if not line.dotted:
            ends.append((line, y[np.isfinite(y)][-1]))
    if panel == "loss" and min(np.nanmin(line.y) for line in lines) > 0:  # small losses differ, too
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(alpha=0.25, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(x=0.02)
    _label_ends(axes, ends)


def _label_ends(axes: Any, ends: Sequence[tuple[_Line, float]]) -> None:
    """Write each line's names and last value at the right of the axes, as high as it ends, but apart."""
    axes.autoscale_view()
    to_axes = axes.transScale + axes.transLimits  # from data to shares of the axes, which outlive the layout
    ends = sorted(ends, key=lambda end: end[1])
    wanted = np.array([to_axes.transform((1, end))[1] for _, end in ends])
    line_height = 12 / 72 * axes.figure.figure.dpi / axes.bbox.height
    steps = line_height * np.arange(len(ends))
    pushed_up = np.maximum.accumulate(wanted - steps) + steps
    pushed_down = np.minimum.accumulate((wanted - steps)[::-1])[::-1] + steps
    for (line, end), height in zip(ends, (pushed_up + pushed_down) / 2, strict=True):
        axes.annotate(
            f"{', '.join(line.names)} {end:.3g}".strip(),
            (1, height),
            (6, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            va="center",
            color=line.color,
            fontsize=9,
            annotation_clip=False,
        )


def speed_ratios(records: Sequence[Record], path: Path | None = None, *, ax: Axes | None = None) -> Figure:
    """Draw how many times as fast as NumPy, and as PyTorch where it took part, the C engine is in each case.

    Parameters
    ----------
    records : sequence of zerodl_c.bench.Record
        One colour for each dtype and thread count of theirs, one row for each case.
    path : path or binary file, optional
        As in `surface`, errors included.
    ax : Axes, optional
        As in `surface`, but one.

    Returns
    -------
    Figure
        As in `surface`.
    """
    rows = list(dict.fromkeys((record.group, record.case) for record in records))
    series = list(dict.fromkeys((record.dtype, record.threads) for record in records))
    with _picture(path, ax, 1, (9, 2 + 0.26 * len(rows))) as (figure, (axes,)):
        for index, (dtype, threads) in enumerate(series):
            for engine, marker, faces in (("numpy", "o", f"C{index}"), ("torch", "D", "none")):
                shown = [r for r in records if (r.dtype, r.threads) == (dtype, threads) and engine in r.seconds]
                below = 0.6 * ((index + 0.5) / len(series) - 0.5)  # the middle of its row, so that none hides another
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
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, fontsize=8)
    return figure


# ---- Figures and files ---------------------------------------------------------------------------


class Picture(Figure):
    """A figure that a notebook shows as the value of a cell, and only so: pyplot does not know it."""

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        file = BytesIO()
        self.savefig(file, format="png", dpi=_DPI)
        width, height = (int(inches * _DPI / 2) for inches in self.get_size_inches())
        return file.getvalue(), {"width": width, "height": height}


@contextmanager
def _picture(
    path: Path | None, ax: Any, panels: int, size: tuple[float, float], projection: str = "rectilinear"
) -> Iterator[tuple[Figure, list[Any]]]:
    """A figure and its axes to draw into: `ax`, or new ones; what is drawn goes to `path`. Errors come before."""
    kind = None if path is None else _format(path)
    if ax is None:
        figure: Figure = Picture(figsize=size, layout="constrained")
        axes = list(figure.subplots(1, panels, squeeze=False, subplot_kw={"projection": projection})[0])
    else:
        axes = _given(ax, panels, projection)
        figure = axes[0].figure.figure  # the axes may be in a subfigure
    yield figure, axes
    if isinstance(path, str | os.PathLike):
        with replacing(path) as file:
            figure.savefig(file, format=kind, dpi=_DPI)
    elif path is not None:
        figure.savefig(path, format=kind, dpi=_DPI)


def _format(path: Path) -> str:
    """The format that a path's suffix asks for, or an error if nothing can be written there."""
    if not isinstance(path, str | os.PathLike):
        if not hasattr(path, "write"):
            raise TypeError(f"path must be a path or a binary file, got {type(path).__name__}")
        return "png"
    kinds = Figure().canvas.get_supported_filetypes()
    kind = os.path.splitext(path)[1][1:].lower()
    if kind not in kinds:
        raise ValueError(f"path must end in one of .{', .'.join(sorted(kinds))}, got {os.fspath(path)!r}")
    try_to_write(path)
    return kind


def _given(ax: Any, panels: int, projection: str) -> list[Any]:
    """The axes that the user gave, as many as there are panels."""
    axes = list(np.ravel(np.asarray(ax, object)))
    for one in axes:
        if not isinstance(one, Axes):
            raise TypeError(f"ax must be matplotlib Axes, got {type(one).__name__}")
        if one.figure is None:
            raise ValueError("ax must be in a figure, got Axes that were removed from theirs")
    if len(axes) != panels:
        raise ValueError(f"ax must be {panels} Axes, one for each panel, got {len(axes)}")
    if any(one.name != projection for one in axes):
        raise ValueError(f"ax must be of projection={projection!r}, got {', '.join(one.name for one in axes)}")
    return axes
