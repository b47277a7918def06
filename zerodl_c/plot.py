"""Pictures of what was learned and timed, as PNG files. Needs matplotlib, from the extras ``[demo]``, ``[bench]``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

if TYPE_CHECKING:
    from zerodl_c.bench import Record

__all__ = ["learning_curves", "speed_ratios"]


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
    figure.savefig(path, format="png")


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
    figure.savefig(path, format="png")
