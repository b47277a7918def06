"""Pictures of what was learned, as PNG files. Needs matplotlib, from the extra ``[demo]``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import BinaryIO

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["learning_curves"]


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
