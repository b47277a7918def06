"""Copies of what a call gets, for the reference, and the first place where two results are not alike."""

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

import numpy as np

TWINS: dict[type, type] = {}  # a class of the engine, and the reference's

_ROUNDINGS = 8


class Difference(NamedTuple):
    """Where two values are not alike, as text: the place, what both are, and how far apart they may be."""

    place: str
    ours: str
    theirs: str
    allowed: str = ""


class Tolerance:
    """How far the engines may be apart in one call: by rounding alone.

    A number may be off by 8 * eps * sqrt(n) of `scale`, or of the largest number of its own array, if that is larger.
    n is the size of the largest array of the call, as no sum in it has more terms, and roundings add up like steps in
    random directions; `scale` is the largest number among the arguments, which may cancel in the result. float16 is
    computed in float32 on both engines, and then rounded: 2 * eps(float16) besides.
    """

    def __init__(self, arguments: Any) -> None:
        self.terms = max((array.size for array in _arrays(arguments)), default=1)
        self.scale = largest(arguments)

    def of(self, expected: np.ndarray) -> float:
        """What is allowed between the numbers of two arrays, of which the reference's is `expected`."""
        if expected.dtype.kind != "f":
            return 0.0
        own, computed = np.finfo(expected.dtype), np.finfo(np.promote_types(expected.dtype, np.float32))
        relative = _ROUNDINGS * float(computed.eps) * math.sqrt(max(self.terms, expected.size))
        least = own.smallest_normal  # below it the engines underflow at different points
        if expected.dtype.itemsize < 4:
            relative, least = relative + 2 * float(own.eps), own.smallest_subnormal
        return relative * max(self.scale, largest(expected)) + float(least)


def largest(value: Any) -> float:
    """The largest finite absolute value among the arrays and floats in a value; 0 if there is none."""
    sizes = (np.abs(array[np.isfinite(array)], dtype=np.float64) for array in _arrays(value, within_objects=False))
    return max((float(size.max()) for size in sizes if size.size), default=0.0)


def _arrays(value: Any, within_objects: bool = True) -> Iterator[np.ndarray]:
    """The arrays of real numbers in a value; a float is one."""
    if isinstance(value, (np.ndarray, np.generic, float)):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            yield array
    elif within_objects and type(value) in TWINS.values():
        yield from _arrays(vars(value))
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _arrays(item, within_objects)


# ---- Twins ---------------------------------------------------------------------------------------


def twin(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """A deep copy, in which the engine's layers, optimizers and nets are the reference's.

    What was one object is one in the copy. What cannot be copied is itself.
    """
    memo = {} if memo is None else memo
    if id(value) in memo:
        return memo[id(value)]
    theirs = next((TWINS[kind] for kind in type(value).__mro__ if kind in TWINS), None)
    if theirs:
        result: Any = object.__new__(theirs)
        found = attributes(value)
        memo[id(value)] = result
        memo.setdefault(id(memo), []).append(found)  # as deepcopy does: what was made just now keeps its id
        for name, attribute in found.items():
            setattr(result, name, twin(attribute, memo))
        return result
    if isinstance(value, np.ndarray):
        memo[id(value)] = array = value.copy(order="K")
        array.flags.writeable = value.flags.writeable
        return array
    if isinstance(value, dict):
        memo[id(value)] = items = copy.copy(value)
        items.update((key, twin(item, memo)) for key, item in value.items())
        return items
    if type(value) in (list, tuple):
        return type(value)(twin(item, memo) for item in value)
    try:
        return copy.deepcopy(value, memo)
    except Exception:
        return value


def attributes(thing: Any) -> dict[str, Any]:
    """An object's attributes, with those that C computes when they are read, as Convolution.col."""
    found = dict(vars(thing))
    for name in _properties(thing.__class__):
        with suppress(Exception):  # it cannot be read yet, as before the first call
            found[name] = getattr(thing, name)
    return found


@cache
def _properties(kind: Any) -> list[str]:
    return [name for name in dir(kind) if isinstance(getattr(kind, name), property)]


# ---- Differences ---------------------------------------------------------------------------------


def difference(place: str, ours: Any, theirs: Any, tolerance: Tolerance) -> Difference | None:
    """The first place where a value is not what the reference's is, or None."""
    if type(theirs) in TWINS.values():
        ours, theirs = attributes(ours), attributes(theirs)
        names = [name for name in theirs if name in ours and not name.startswith("_")]
        pairs = [(f"{place}.{name}", ours[name], theirs[name]) for name in names]
    elif isinstance(theirs, Mapping) and isinstance(ours, Mapping) and ours.keys() == theirs.keys():
        pairs = [(f"{place}[{key!r}]", ours[key], theirs[key]) for key in theirs]
    elif isinstance(theirs, (list, tuple)) and isinstance(ours, (list, tuple)) and len(ours) == len(theirs):
        pairs = [(f"{place}[{i}]", *pair) for i, pair in enumerate(zip(ours, theirs, strict=True))]
    else:
        return _of_values(place, ours, theirs, tolerance)
    found = (difference(*pair, tolerance) for pair in pairs)
    return next((one for one in found if one), None)


_NUMBERS = np.ndarray, np.generic, bool, int, float
_COMPARED = *_NUMBERS, str, Mapping, list, tuple, type(None)  # functions and others are not


def _of_values(place: str, ours: Any, theirs: Any, tolerance: Tolerance) -> Difference | None:
    if isinstance(ours, _NUMBERS) and isinstance(theirs, _NUMBERS):
        return _of_arrays(place, np.asarray(ours), np.asarray(theirs), tolerance)
    if not isinstance(ours, _COMPARED) and not isinstance(theirs, _COMPARED):
        return None
    if type(ours) is type(theirs) and isinstance(theirs, (str, type(None))) and ours == theirs:
        return None
    return Difference(place, described(ours), described(theirs))


def _of_arrays(place: str, ours: np.ndarray, theirs: np.ndarray, tolerance: Tolerance) -> Difference | None:
    if (ours.shape, ours.dtype) != (theirs.shape, theirs.dtype):
        return Difference(place, described(ours), described(theirs))
    if np.array_equal(ours, theirs) or theirs.dtype.kind not in "biuf":
        return None
    allowed, error = tolerance.of(theirs), _error(ours, theirs)
    if error.max() <= allowed:
        return None
    worst = int(error.argmax())
    index = [int(i) for i in np.unravel_index(worst, theirs.shape)]
    at = f"{place}{index if index else ''}"
    return Difference(at, str(ours.flat[worst]), str(theirs.flat[worst]), f"{allowed:.2g}")


def _error(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How far each number is off; nan is nan, and inf is inf, and infinitely far from all else."""
    alike = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(all="ignore"):
        error = np.abs(np.subtract(ours, theirs, dtype=np.float64))
    return np.where(alike, 0, np.where(np.isnan(error), np.inf, error))


def described(value: Any, depth: int = 0) -> str:
    """A value in few words: of an array its shape and dtype."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{value.shape} {value.dtype}"
    if isinstance(value, Mapping) and depth < 2:
        items = [f"{key}: {described(item, depth + 1)}" for key, item in list(value.items())[:8]]
        return f"{{{', '.join(items)}{', ...' if len(value) > 8 else ''}}}"
    return f"{value!r:.60}"
