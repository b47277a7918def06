"""What the arguments of nets, layers, optimizers and the trainer must be: errors that say what was given."""

import math
from collections.abc import Iterable
from numbers import Real
from operator import index
from typing import Any

import numpy as np

# While the swap of `common` is in place nothing is checked here: a script computes what it computes with plain python,
# and the book takes a learning rate below 0, too.
strict = True


def check_whole(name: str, value: Any, least: int = 1) -> None:
    """Raise TypeError unless the value is an integer, and ValueError if it is less than `least`."""
    if not strict:
        return
    try:
        number = index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {shown(value)}") from None
    if number < least:
        raise ValueError(f"{name} must be {least} or more, got {number}")


def check_sizes(name: str, value: Any) -> None:
    """Raise TypeError unless the value is a sequence of integers, and ValueError if one is less than 1."""
    if not strict:
        return
    if isinstance(value, str) or not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        raise TypeError(f"{name} must be a sequence of sizes, such as [50, 50], got {shown(value)}")
    for i, size in enumerate(value):
        check_whole(f"{name}[{i}]", size)


def check_number(name: str, value: Any, most: float = math.inf, below: float = math.inf) -> None:
    """Raise TypeError unless the value is a real number, or several, and ValueError unless from 0 to `most` or `below`.

    Optimizers take an array of learning rates, too: one for each entry of a parameter.
    """
    if not strict:
        return
    numbers = np.asarray(float(value) if isinstance(value, Real) else value)
    if numbers.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    if not np.all((numbers >= 0) & (numbers <= most) & (numbers < below)):
        end = "finite" if below == math.inf else f"less than {below:g}"
        limits = f"from 0 to {most:g}" if most < math.inf else f"0 or more, and {end}"
        raise ValueError(f"{name} must be {limits}, got {value}")


def check_word(name: str, value: Any, words: Iterable[str]) -> None:
    """Raise ValueError unless the value is one of the words."""
    words = [*words]
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, got {shown(value)}")


def shown(value: Any) -> str:
    """A value in an error: what it is, and of which type where that does not show."""
    text = f"{value!r:.60}"
    return text if isinstance(value, (str, int, float, type(None))) else f"{text} of type {type(value).__name__}"
