"""Compares two results of a call, and makes the copies of its arguments that the other code is called with.

"The other code" is the script's own definition or the reference.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from .modules import attributes_in_place, properties

_ROUNDINGS = 8


class Mismatch(NamedTuple):
    """The place where two values differ, both values, and the allowed distance, as text."""

    place: str
    ours: str
    theirs: str
    allowed: str = ""


class Tolerance:
    """How far two results of one call may differ by rounding alone.

    A number may be off by 8 * eps * sqrt(n) * max(scale, the largest number of its own array). n is the size of the
    largest array of the call: no sum in the call has more terms, and roundings add up like steps in random directions.
    `scale` is the largest number among the arguments, because such numbers may cancel in the result. Both engines
    compute float16 in float32 and then round, which adds 2 * eps(float16).

    A result that was divided by a small difference may be off by more. So `bends` has, for each place, how far the
    result moves when each argument moves by one eps, and 8 * sqrt(n) times that is also allowed.
    """

    def __init__(self, arguments: Any) -> None:
        self.terms = max((array.size for array in _arrays(arguments)), default=1)
        self.scale = largest(arguments)
        self.bends: dict[str, float] = {}

    def of(self, expected: np.ndarray, place: str = "") -> float:
        """The allowed distance between the engine's numbers and the array `expected` of the other code."""
        if expected.dtype.kind != "f":
            return 0.0
        own, computed = np.finfo(expected.dtype), np.finfo(np.promote_types(expected.dtype, np.float32))
        roundings = _ROUNDINGS * math.sqrt(max(self.terms, expected.size))
        relative = roundings * float(computed.eps)
        least = own.smallest_normal  # below this, the engines underflow at different points
        if expected.dtype.itemsize < 4:
            relative, least = relative + 2 * float(own.eps), own.smallest_subnormal
        return relative * max(self.scale, largest(expected)) + float(least) + roundings * self.bends.get(place, 0.0)

    def bend(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Record how far the result at each place moved when `shake` had moved the arguments."""
        for root in before:
            for place, a, b in _leaves(root, before[root], after.get(root)):
                if isinstance(a, _NUMBERS) and isinstance(b, _NUMBERS) and np.shape(a) == np.shape(b):
                    moved = _error(np.asarray(a), np.asarray(b))
                    self.bends[place] = float(moved.max(initial=0, where=np.isfinite(moved)))


def largest(value: Any) -> float:
    """The largest finite absolute value among the arrays and floats in a value; 0 if there is none."""
    sizes = (np.abs(array[np.isfinite(array)], dtype=np.float64) for array in _arrays(value, within_objects=False))
    return max((float(size.max()) for size in sizes if size.size), default=0.0)


def shake(value: Any) -> None:
    """Move each number in the arrays of a value by one eps, up or down."""
    random, seen = np.random.RandomState(0), set()
    for array in _arrays(value):
        if array.dtype.kind == "f" and array.ndim and id(array) not in seen:
            seen.add(id(array))
            signs = random.choice([-1, 1], array.shape).astype(array.dtype)
            writeable, array.flags.writeable = array.flags.writeable, True
            with np.errstate(all="ignore"):
                array += array * signs * np.finfo(array.dtype).eps
            array.flags.writeable = writeable


def _arrays(value: Any, within_objects: bool = True) -> Iterator[np.ndarray]:
    """The arrays of real numbers in a value. A float counts as an array."""
    if isinstance(value, (np.ndarray, np.generic, float)):
        array = np.asarray(value)
        if array.dtype.kind in "biuf":
            yield array
    elif within_objects and isinstance(type(value), _Twin):
        yield from _arrays(vars(value))
    elif isinstance(value, (Mapping, list, tuple)):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _arrays(item, within_objects)


# ---- Twins ---------------------------------------------------------------------------------------


class _Twin(type):
    """The metaclass of a twin's class: a subclass of the object's class that puts the other code before the engine's.

    Methods of a script's own subclass still come first, and `super()` and isinstance still work.
    """

    def mro(cls) -> list[type]:
        kind, others = vars(cls)["_twin_of"]
        order: list[type] = [cls]
        for base, other in zip(kind.__mro__, others, strict=True):
            order += [*(other.__mro__[:-1] if other else ()), base]
        return list(dict.fromkeys(order))


class Twins:
    """Makes twins: copies in which each class of the engine is replaced by `other(class)`, unless that is None."""

    def __init__(self, other: Callable[[type], type | None]) -> None:
        self._other = other

    def of(self, value: Any, memo: dict[int, Any] | None = None) -> Any:
        """A deep copy whose layers, optimizers and nets are those of the other code.

        An object that occurs twice is one object in the copy, too. An object that cannot be copied is used as it is.
        """
        memo = {} if memo is None else memo
        if id(value) in memo:
            return memo[id(value)]
        others = tuple(map(self._other, type(value).__mro__))
        if any(others):
            result: Any = object.__new__(_twin_class(type(value), others))
            found = attributes(value)
            memo[id(value)] = result
            memo.setdefault(id(memo), []).append(found)  # keeps `found`, and so its id, as deepcopy does
            vars(result).update((name, self.of(attribute, memo)) for name, attribute in found.items())
            return result
        if isinstance(value, np.ndarray):
            memo[id(value)] = array = value.copy(order="K")
            array.flags.writeable = value.flags.writeable
            return array
        if isinstance(value, dict):
            memo[id(value)] = items = copy.copy(value)
            items.update((key, self.of(item, memo)) for key, item in value.items())
            return items
        if type(value) in (list, tuple):
            return type(value)(self.of(item, memo) for item in value)
        try:
            return copy.deepcopy(value, memo)
        except Exception:
            return value


def _twin_class(kind: type, others: tuple[type | None, ...]) -> type:
    if (kind, others) not in _twin_classes:
        _twin_classes[kind, others] = _made_twin_class(kind, others)
    return _twin_classes[kind, others]


_twin_classes: dict[tuple[type, tuple[type | None, ...]], type] = {}


def _made_twin_class(kind: type, others: tuple[type | None, ...]) -> type:
    theirs = [base for base, other in zip(kind.__mro__, others, strict=True) if other]
    plain = {name: None for base in theirs for name in attributes_in_place(base)}
    meta: Any = _Twin if type(kind) is type else type("_Twin", (_Twin, type(kind)), {})
    made: type = meta(kind.__name__, (kind,), {**plain, "_twin_of": (kind, others), "__module__": kind.__module__})
    return made


def attributes(thing: Any) -> dict[str, Any]:
    """An object's attributes, including properties that C computes when they are read, such as Convolution.col."""
    found = dict(vars(thing))
    for name in properties(thing.__class__):
        with suppress(Exception):  # it may not be readable before the first call
            found[name] = getattr(thing, name)
    return found


# ---- Differences ---------------------------------------------------------------------------------


def mismatch(place: str, ours: Any, theirs: Any, tolerance: Tolerance) -> Mismatch | None:
    """The first place where a value differs from the other code's, or None."""
    found = (_of_values(*leaf, tolerance) for leaf in _leaves(place, ours, theirs))
    return next((one for one in found if one), None)


def _leaves(place: str, ours: Any, theirs: Any) -> Iterator[tuple[str, Any, Any]]:
    """Each place in two values, with the parts of both at this place."""
    if isinstance(type(theirs), _Twin):
        ours, theirs = attributes(ours), attributes(theirs)
        names = [name for name in theirs if name in ours and not name.startswith("_")]
        pairs = [(f"{place}.{name}", ours[name], theirs[name]) for name in names]
    elif isinstance(theirs, Mapping) and isinstance(ours, Mapping) and ours.keys() == theirs.keys():
        pairs = [(f"{place}[{key!r}]", ours[key], theirs[key]) for key in theirs]
    elif isinstance(theirs, (list, tuple)) and isinstance(ours, (list, tuple)) and len(ours) == len(theirs):
        pairs = [(f"{place}[{i}]", *pair) for i, pair in enumerate(zip(ours, theirs, strict=True))]
    else:
        yield place, ours, theirs
        return
    for pair in pairs:
        yield from _leaves(*pair)


_NUMBERS = np.ndarray, np.generic, bool, int, float
_COMPARED = *_NUMBERS, str, Mapping, list, tuple, type(None)  # functions and other objects are not


def _of_values(place: str, ours: Any, theirs: Any, tolerance: Tolerance) -> Mismatch | None:
    if isinstance(ours, _NUMBERS) and isinstance(theirs, _NUMBERS):
        return _of_arrays(place, np.asarray(ours), np.asarray(theirs), tolerance)
    if not isinstance(ours, _COMPARED) and not isinstance(theirs, _COMPARED):
        return None
    if type(ours) is type(theirs) and isinstance(theirs, (str, type(None))) and ours == theirs:
        return None
    return Mismatch(place, described(ours), described(theirs))


def _of_arrays(place: str, ours: np.ndarray, theirs: np.ndarray, tolerance: Tolerance) -> Mismatch | None:
    # The engine sometimes keeps float32 where the book's code makes float64 of it. Equal numbers then count as equal.
    are_floats = ours.dtype.kind == theirs.dtype.kind == "f"
    equal = ours.shape == theirs.shape and np.array_equal(ours, theirs, equal_nan=are_floats)
    if ours.shape != theirs.shape or (ours.dtype != theirs.dtype and not (equal and are_floats)):
        return Mismatch(place, described(ours), described(theirs))
    if equal or theirs.dtype.kind not in "biuf":
        return None
    allowed, error = tolerance.of(theirs, place), _error(ours, theirs)
    if error.max() <= allowed:
        return None
    worst = int(error.argmax())
    index = [int(i) for i in np.unravel_index(worst, theirs.shape)]
    at = f"{place}{index if index else ''}"
    return Mismatch(at, str(ours.flat[worst]), str(theirs.flat[worst]), f"{allowed:.2g}")


def _error(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """How far each number is off. Nan equals nan, and inf equals inf; both are infinitely far from other numbers."""
    equal = (ours == theirs) | (np.isnan(ours) & np.isnan(theirs))
    with np.errstate(all="ignore"):
        error = np.abs(np.subtract(ours, theirs, dtype=np.float64))
    return np.where(equal, 0, np.where(np.isnan(error), np.inf, error))


def described(value: Any, depth: int = 0) -> str:
    """A short description of a value; for an array its shape and dtype."""
    if isinstance(value, np.ndarray) and value.ndim:
        return f"{value.shape} {value.dtype}"
    if isinstance(value, Mapping) and depth < 2:
        items = [f"{key}: {described(item, depth + 1)}" for key, item in list(value.items())[:8]]
        return f"{{{', '.join(items)}{', ...' if len(value) > 8 else ''}}}"
    return f"{value!r:.60}"
