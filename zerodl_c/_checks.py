"""What the arguments of nets, layers, optimizers and the trainer must be: errors that say what was given."""

from __future__ import annotations  # np.random is loaded when it is used

import math
from collections.abc import Iterable, Mapping
from operator import index
from typing import Any

import numpy as np

from ._arrays import as_array

# While the swap of `common` is in place nothing is checked here: a script computes what it computes with plain python,
# and the book takes a learning rate below 0, too. Only what files hold is checked `always`.
strict = True


def check_whole(name: str, value: Any, least: int = 1, *, always: bool = False) -> None:
    """Raise TypeError unless the value is an integer, and ValueError if it is less than `least`."""
    if not (strict or always):
        return
    try:
        number = index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, got {shown(value)}")
    if number < least:
        raise ValueError(f"{name} must be {least} or more, got {number}")


def check_sizes(name: str, value: Any, *, always: bool = False) -> None:
    """Raise TypeError unless the value is a sequence of integers, and ValueError if one is less than 1."""
    if not (strict or always):
        return
    is_one = isinstance(value, (str, bytes, Mapping)) or getattr(value, "shape", None) == ()
    if is_one or not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        raise TypeError(f"{name} must be a sequence of sizes, such as [50, 50], got {shown(value)}")
    for i, size in enumerate(value):
        check_whole(f"{name}[{i}]", size, always=always)


def check_number(
    name: str,
    value: Any,
    most: float = math.inf,
    below: float = math.inf,
    *,
    several: bool = False,
    always: bool = False,
) -> None:
    """Raise TypeError unless the value is a real number, and ValueError unless from 0 to `most` or `below`.

    An array will do if there may be `several`: optimizers take a learning rate for each entry of a parameter.
    """
    if not (strict or always):
        return
    numbers = as_array(name, value)
    if numbers.dtype.kind not in "biuf" or (numbers.ndim and not several):
        raise TypeError(f"{name} must be a number, got {shown(value)}")
    if not np.all((numbers >= 0) & (numbers <= most) & (numbers < below)):
        end = "finite" if below == math.inf else f"less than {below:g}"
        limits = f"from 0 to {most:g}" if most < math.inf else f"0 or more, and {end}"
        raise ValueError(f"{name} must be {limits}, got {value}")


def check_floats(name: str, dtype: Any) -> None:
    """Raise TypeError unless the dtype is one of floats."""
    try:
        known: Any = np.dtype(dtype)
    except TypeError:
        known = None
    if known is None or known.kind != "f":
        raise TypeError(f"{name} must be one of floats, got {known or shown(dtype)}")


def check_word(name: str, value: Any, words: Iterable[str]) -> None:
    """Raise ValueError unless the value is one of the words."""
    words = [*words]
    if not isinstance(value, str) or value not in words:
        raise ValueError(f"{name} must be one of {', '.join(words)}, got {shown(value)}")


def shown(value: Any) -> str:
    """A value in an error: what it is, and of which type where that does not show."""
    text = f"{value!r:.60}"
    return text if isinstance(value, (str, int, float, type(None))) else f"{text} of type {type(value).__name__}"


# ---- Of the trainer ------------------------------------------------------------------------------


def check_network(network: Any) -> None:
    """Raise TypeError unless it has what a Trainer asks of a net."""
    for name in ("params", "gradient", "loss", "accuracy"):
        if strict and not hasattr(network, name):
            must = "params, gradient, loss and accuracy"
            raise TypeError(f"network must have {must}, got {shown(network)} without {name}")


def samples(of: str, x: Any, t: Any) -> tuple[Any, Any]:
    """x and t as arrays, which are as long."""
    if not strict:
        return x, t  # a script may have something else that it can index
    x, t = as_array(f"x_{of}", x), as_array(f"t_{of}", t)
    if x.dtype.kind not in "biuf":
        raise TypeError(f"x_{of} must hold numbers, got dtype {x.dtype}")
    if t.dtype.kind not in "biuf":
        how = "np.unique(labels, return_inverse=True)[1] makes integers of strings"
        raise TypeError(f"t_{of} must hold integer labels or one-hot rows, got dtype {t.dtype}; {how}")
    if not x.ndim or not t.ndim or len(x) != len(t):
        raise ValueError(f"x_{of} and t_{of} must have as many samples, got shapes {x.shape} and {t.shape}")
    if not len(x):
        raise ValueError(f"x_{of} must hold one sample or more, got shape {x.shape}")
    return x, t


def generator(rng: Any) -> np.random.Generator:
    """What `np.random.default_rng` makes of it."""
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(f"rng must be a numpy.random.Generator or a seed, got {shown(rng)}") from None
