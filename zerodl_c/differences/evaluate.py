"""Evaluates f at points where one entry of x is changed, in x itself or in copies.

Row i of `points` holds the values that entry i takes, one after the other, while all other entries keep theirs. The
result holds f at each of them. Code that changes x always restores it, even after an error.

A `Reader` converts what f returns: one number, or an array whose shape is always the same.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from threading import Event
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._arrays import as_array, entries_of, float_dtype
from .._progress import bars

Array = NDArray[Any]
Function = Callable[..., Any]
Block = tuple[int, Array]  # the first entry, and the rows of points, or of values, from there on
Progress = bool | Callable[[int, int], object]
Report = Callable[[int], object] | None
EVERY_POINT = "f at every point"
Workers = int | Callable[..., Iterable[Any]]

_STACK = 1 << 20  # numbers in a stack for a vectorized f: 8 MiB of float64
_SHARES = 128  # blocks for a map whose workers we cannot count: two for each of 64 workers


class Evaluator(Protocol):
    """f around x, which is an array of the dtype that f is evaluated in."""

    x: Array
    dtype: np.dtype[Any]  # the dtype of the gradient
    evaluations: int
    way: str
    """How `values` were computed: at every point, or by a plan."""
    offset: float
    """What must be added to `values` to get f."""

    def prepare(self) -> None:
        """Refuse an f that does not read its argument. Called after the other arguments are checked."""

    def value(self, point: Array) -> Any:
        """f at a point of x's shape."""

    def values(self, points: Array, report: Report) -> Array:
        """f at points[i, j] for entry i: points' shape, followed by that of f. Calls report(evaluations done)."""


class Reader(Protocol):
    """Converts what f returns to float64, at once, because f may return the same buffer each time."""

    shape: tuple[int, ...] | None
    """The shape of f's values; None before the first one."""
    exact: type | None
    """The type of values that need no conversion."""

    def one(self, value: Any) -> Any:
        """The value of f for one argument."""

    def stack(self, value: Any, count: int) -> Array:
        """The values of a vectorized f for `count` arguments."""


class Number:
    """Converts one number."""

    shape: tuple[int, ...] | None = ()
    exact: type | None = float

    def one(self, value: Any) -> float:
        return number(value)

    def stack(self, value: Any, count: int) -> Array:
        result = real_result(value)
        if result.shape != (count,):
            raise TypeError(f"f must give {count} real numbers, one for each of the stack, got shape {result.shape}")
        return result


class OfOneShape:
    """Converts arrays that all have the shape of the first one."""

    exact: type | None = None

    def __init__(self) -> None:
        self.shape: tuple[int, ...] | None = None

    def one(self, value: Any) -> Array:
        result = real_result(value)
        if self.shape is None:
            self.shape = result.shape
        if result.shape != self.shape:
            raise ValueError(f"f must always give the same shape, got {result.shape} after {self.shape}")
        return result

    def stack(self, value: Any, count: int) -> Array:
        result = real_result(value)
        if result.shape[:1] != (count,):
            raise ValueError(f"f must give {count} results, one for each of the stack, got shape {result.shape}")
        self.one(result[0])
        return result


class InPlace:
    """f of x itself, which f may also read through a closure; or of a copy of what is no writable float array."""

    def __init__(self, f: Callable[..., Any], x: Array, original: Any, reader: Reader | None = None) -> None:
        self.in_place = isinstance(original, np.ndarray) and original.dtype.kind == "f" and x.flags.writeable
        if not self.in_place:
            plain("x", original)
        self.x = x if self.in_place else x.astype(float_dtype(x))
        self.f, self.original, self.evaluations, self.reader = f, original, 0, reader or Number()
        self.argument = original if self.in_place else self.x
        self.dtype, self.way, self.offset = self.x.dtype, EVERY_POINT, 0.0
        self.saved = self.x.copy()

    def prepare(self) -> None:
        if not self.in_place:
            require_read(self.value, self.original, self.x.copy())
        if self.reader.shape is None:
            self.value(self.saved)

    def value(self, point: Array) -> Any:
        self.evaluations += 1
        try:
            self.x[...] = point
            return self.reader.one(self.f(self.argument))
        finally:
            self.x[...] = self.saved

    def values(self, points: Array, report: Report) -> Array:
        return self._values_from(0, points, report)

    def _values_from(self, begin: int, points: Array, report: Report) -> Array:
        """f at points[i, j] for entry begin + i."""
        size = 1 if report else max(len(points), 1)
        values = _room(points, self.reader)
        try:
            for i in range(0, len(points), size):
                block = points[i : i + size]
                values[i : i + size] = _one_by_one(
                    self.f, self.reader, self.argument, self.x, self.saved, begin + i, block
                )
                if report:
                    report((begin + i + 1) * points.shape[1])
            if self.x.tobytes() != self.saved.tobytes():
                raise ValueError("f must not change its argument")
        finally:
            self.x[...] = self.saved
        self.evaluations += points.size
        return values


class Copies:
    """f of copies of x: one copy for each worker, or stacks of copies."""

    def __init__(
        self,
        f: Callable[..., Any],
        x: Array,
        original: Any,
        vectorized: bool = False,
        workers: Any = 1,
        reader: Reader | None = None,
    ) -> None:
        self.f, self.original, self.evaluations, self.reader = f, plain("x", original), 0, reader or Number()
        self.x = x.astype(float_dtype(x), order="C")
        self.dtype, self.way, self.offset = float_dtype(as_array("x", original)), EVERY_POINT, 0.0
        self.vectorized, self.workers = vectorized, workers

    def prepare(self) -> None:
        require_read(self.value, self.original, self.x.copy())
        if self.reader.shape is None:
            self.value(self.x)

    def value(self, point: Array) -> Any:
        self.evaluations += 1
        if self.vectorized:
            return self.reader.stack(self.f(point[np.newaxis].copy()), 1)[0]
        return self.reader.one(self.f(point.copy()))

    def values(self, points: Array, report: Report) -> Array:
        values = _room(points, self.reader)
        evaluate = _in_a_stack if self.vectorized else _in_a_copy
        blocks = self._blocks(points)
        missing, done = {first: block.shape + values.shape[2:] for first, block in blocks}, 0
        with self._map() as (spread, f):
            for first, result in spread(partial(evaluate, f, self.reader, self.x), blocks):
                if np.shape(result) == missing.get(first):
                    del missing[first]
                    values[first : first + len(result)] = result
                    done += len(result) * points.shape[1]
                if report:
                    report(done)
        if missing:
            raise ValueError(f"workers must give a result for each of {len(blocks)} blocks; {len(missing)} are missing")
        self.evaluations += points.size
        return values

    def _blocks(self, points: Array) -> list[Block]:
        size = len(points) if self.workers == 1 else -(-len(points) // _SHARES)
        if self.vectorized:
            size = min(size, _STACK // max(self.x.size * points.shape[1], 1))
        size = max(size, 1)
        return [(i, points[i : i + size]) for i in range(0, len(points), size)]

    def _map(self) -> AbstractContextManager[tuple[Any, Callable[..., Any]]]:
        if callable(self.workers) or self.workers == 1:
            return nullcontext((map if self.workers == 1 else self.workers, self.f))
        return _map_in_threads(self.f, self.workers)


def _room(points: Array, reader: Reader) -> Array:
    """For f at each of the points."""
    return np.empty(points.shape + (reader.shape or ()))


def _one_by_one(
    f: Callable[..., Any], reader: Reader, argument: Any, x: Array, saved: Array, first: int, points: Array
) -> Any:
    """f(argument) for each value in points[i] of entry first + i of x. The argument shares x's memory."""
    results: list[Any] = []
    entries, append, here = entries_of(x), results.append, entries_of(saved)
    exact, read = reader.exact, reader.one
    for i, row in enumerate(points.tolist(), first):
        for point in row:
            entries[i] = point
            value = f(argument)
            append(value if type(value) is exact else read(value))
        entries[i] = here[i]
    return np.array(results).reshape(points.shape + (reader.shape or ()))


def _in_a_copy(f: Callable[..., Any], reader: Reader, x: Array, block: Block) -> Block:
    """The first entry of a block, since a map may return blocks in any order, and f at the block's points."""
    copy = x.copy()
    values = _one_by_one(f, reader, copy.view(), copy, x, *block)  # a view, so that f cannot change the shape of `copy`
    if copy.tobytes() != x.tobytes():
        raise ValueError("f must not change its argument")
    return block[0], values


def _in_a_stack(f: Callable[..., Any], reader: Reader, x: Array, block: Block) -> Block:
    """As `_in_a_copy`, for an f that takes stacks."""
    first, points = block
    stack = np.repeat(x[np.newaxis], points.size, axis=0)
    which = np.arange(points.size)
    stack.reshape(points.size, x.size)[which, first + which // points.shape[1]] = points.ravel()
    values = reader.stack(f(stack), points.size)
    return first, values.reshape(points.shape + values.shape[1:])


@contextmanager
def _map_in_threads(f: Callable[..., Any], workers: int) -> Iterator[tuple[Any, Callable[..., Any]]]:
    """A map in threads, and the f to use with it. After the context ends, no thread begins another evaluation."""
    from concurrent.futures import (  # slow: a tenth of the package's import
        ThreadPoolExecutor,
        wait,
    )

    stop = Event()

    def until_stopped(x: Array) -> Any:
        if stop.is_set():
            raise RuntimeError("stopped")  # nobody waits for this result
        return f(x)

    def in_order(function: Callable[[Block], Array], blocks: list[Block]) -> Iterator[Array]:
        for future in [pool.submit(function, block) for block in blocks]:
            while not future.done():
                wait([future], timeout=0.05)  # Windows handles Ctrl-C only between two waits
            yield future.result()

    with ThreadPoolExecutor(workers) as pool:
        try:
            yield in_order, until_stopped
        finally:
            stop.set()


def count_workers(workers: Any) -> Any:
    """`workers` as a map or as the number of threads; TypeError or ValueError if it is neither."""
    if callable(workers):
        return workers
    try:
        count = operator.index(workers)
    except TypeError:
        raise TypeError(f"workers must be an int or a map, got {type(workers).__name__}") from None
    if count == -1:
        return os.cpu_count() or 1
    if count < 1:
        raise ValueError(f"workers must be 1 or more, or -1 for one on each core, got {count}")
    return count


@contextmanager
def reporting(progress: Progress, total: int) -> Iterator[Report]:
    """The function to call with the number of evaluations done: the caller's, tqdm's bar's, or None."""
    if callable(progress):
        yield lambda done: progress(done, total)
    elif progress:
        with bars()(total=total, unit="f") as bar:
            yield lambda done: bar.update(done - bar.n)
    else:
        yield None


def check_progress(progress: Progress) -> None:
    if not (isinstance(progress, (bool, np.bool_)) or callable(progress)):
        raise TypeError(f"progress must be a bool or callable, got {type(progress).__name__}")
    if progress and not callable(progress):
        bars()


def require_read(value: Callable[[Array], Any], x: Any, copy: Array) -> None:
    """Refuse an f that reads x itself, or ignores the copy of x that is passed to it."""
    if not copy.size:
        return
    if isinstance(x, np.ndarray) and x.flags.writeable:
        others = [x / 2 + np.pi * (1 + _count(x))] if x.dtype.kind == "f" else _integers(x)
        # An f that is not repeatable seems to react to any change, and is accepted.
        if _notices(value, copy.copy(), x, others) and np.array_equal(value(copy), value(copy)):
            raise ValueError(
                "f must read x through its argument alone, which is a float copy of x, but its "
                "value depends on x itself (where x is meant as a constant, pass x.copy())"
            )
    elif not _notices(value, copy, copy, _integers(copy)):
        raise ValueError(
            "f must read its argument, which is a float copy of x, but its value is the same for "
            "any argument (pass x as a writable float array, which is perturbed in place)"
        )


def _notices(value: Callable[[Array], Any], argument: Array, watched: Array, others: list[Array]) -> bool:
    """Whether value(argument) changes when the entries of `watched` change. They are restored afterwards."""
    before, saved = value(argument), watched.copy()
    try:
        for other in others:
            try:
                with np.errstate(all="ignore"):
                    watched[...] = other
                    after = value(argument)
            except Exception:  # f cannot take such entries, so it reads them
                return True
            if not np.array_equal(before, after, equal_nan=True):
                return True
        return False
    finally:
        watched[...] = saved


def _integers(x: Array) -> list[Array]:
    """Arrays to replace x with. There are several, because a bool or a piecewise constant f reacts only to some."""
    odd, other = _count(x) % 2, 1 + _count(x) * 53 % 127
    return [0 * other, other, odd * other, (odd - 1) * other]


def _count(x: Array) -> Array:
    return np.arange(x.size).reshape(x.shape)


def number(value: Any) -> float:
    """The value of f as a float. It is converted at once, because f may return the same buffer each time."""
    if isinstance(value, (float, int, np.floating, np.integer)):
        return float(value)
    result = real_result(value)
    if result.size != 1:
        raise TypeError(f"f must give one real number, got shape {result.shape}")
    return float(result.item())


def real_result(value: Any) -> Array:
    result = as_array("f(x)", value)
    if result.dtype.kind not in "biuf":
        raise TypeError(f"f must give real numbers, got {value!r:.60} of {type(value).__name__}")
    return result.astype(np.float64)


def plain(name: str, x: Any) -> Any:
    """x. TypeError if it is a matrix, a masked array or the like, because its copies would be plain ndarrays."""
    if isinstance(x, np.ndarray) and type(x) not in (np.ndarray, np.memmap):
        kind = type(x).__name__
        raise TypeError(f"{name} must be a plain array, as f is handed copies, got {kind}: pass np.asarray({name})")
    return x
