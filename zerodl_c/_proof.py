"""f by a plan that is proved, or at every point.

The notes of one evaluation say how f depends on x as far as the engine's layers know. They may miss something: a weight
decay in NumPy, a branch on a weight, a cache. So the plan's loss is compared with f itself, to the bit, at points where
all entries of x are where the central differences need them: in pairs x + d and x - d, with d of random signs, so that
every entry is seen at both of its points, and at some points where one entry alone is moved.

Whatever raises an exception or a doubt, f is evaluated at every point, as if nothing had been tried.
"""

import pickle
import random
from collections.abc import Callable, Iterator
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._notes import may_watch, watching
from ._plan import Doubt, Plan
from .reference._arrays import entries_of
from .reference._evaluate import InPlace, Report, number
from .reference._steps import points_around

Array = NDArray[Any]

_FEWEST = 32  # entries of x: fewer cost less than a proof
Singles = list[tuple[int, list[float]]]

_PAIRS = 10  # of points where all entries are moved
_SINGLES = 3  # entries that are moved alone


class Planned(InPlace):
    """f of x itself: by a plan where one is found and proved, else at every point."""

    def __init__(self, f: Callable[..., Any], x: Array, original: Any, h: Any) -> None:
        super().__init__(f, x, original)
        self.h = float(h) if isinstance(h, Real) else 1e-4 if h is None else None
        self.random = np.random.default_rng()

    def values(self, points: Array, report: Report) -> Array:
        values = self._by_plan(points, report)
        return super().values(points, report) if values is None else values

    def _by_plan(self, points: Array, report: Report) -> Array | None:
        """How f changes at the points; None if there is no plan, and then `way` says why."""
        before = self.evaluations
        proved = self._attempt(self._proved, points)
        if proved is None:
            return None
        plan, value, singles = proved
        values = np.empty(points.shape)
        steps = plan.fill(values, points, self._step(points))
        while done := self._attempt(next, steps, 0):
            if report:
                report(done)
        if done is None or self._attempt(_check_singles, plan, values, value, singles) is None:
            return None
        self.offset = value
        self.way = f"a plan, proved in {self.evaluations - before} evaluations of f"
        return values

    def _attempt(self, do: Callable[..., Any], *args: Any) -> Any:
        """do(*args), or None if it raises something."""
        try:
            return do(*args)
        except Exception as error:
            self.way = f"f at every point: {str(error) or type(error).__name__}"
            return None

    def _proved(self, points: Array) -> tuple[Plan, float, Singles]:
        """A plan that is f in all that is seen of it, f at x, and f at the points of single entries."""
        if points.size < 2 * _FEWEST:
            raise Doubt("x has few entries")
        if not may_watch():
            raise Doubt("a profiler watches this thread")
        before = _random_state()
        try:
            value, plan = self._noted()
            if value != float(plan.result) or value != plan.loss(self.saved):
                raise Doubt("f gives something else than the loss of its last layer")
            if self._at(self.saved) != value or _random_state() != before:
                raise Doubt("f is not the same when it is called again")
            for point in self._pairs(points):
                _compare(self._at(point), plan, point)
            singles = [self._single(plan, points, i) for i in self._some(_SINGLES)]
            again, other = self._noted()
            if again != value or _random_state() != before or not plan.has_the_constants_of(other):
                raise Doubt("f is not what it was before")
            return plan, value, singles
        finally:
            self.x[...] = self.saved
            if _random_state() != before:
                _set_random_state(before)

    def _noted(self) -> tuple[float, Plan]:
        """f at x, and the plan that follows from what it does."""
        with watching() as notes:
            value = self._at(self.saved)
        return value, Plan(notes, self.original)

    def _at(self, point: Array) -> float:
        """f at a point, called as at every point."""
        self.evaluations += 1
        self.x[...] = point
        value = number(self.f(self.argument))
        if self.x.tobytes() != point.tobytes():
            raise Doubt("f changes x")
        return value

    def _pairs(self, points: Array) -> Iterator[Array]:
        """x + d, x - d, x + d', x - d', ...: every entry of x is at a point of its own, with random signs."""
        for k in range(_PAIRS):
            pair = points[:, 2 * k % points.shape[1] :][:, :2]
            up = self.random.integers(0, 2, len(pair))
            for side in (up, 1 - up):
                yield self._point(pair[np.arange(len(pair)), side])

    def _single(self, plan: Plan, points: Array, i: int) -> tuple[int, list[float]]:
        """An entry, and f at its points."""
        values = []
        for value in points[i, :2]:
            point = self._point(self.saved)
            entries_of(point)[i] = value
            values.append(_compare(self._at(point), plan, point))
        return i, values

    def _some(self, count: int) -> list[int]:
        return [int(i) for i in self.random.choice(self.x.size, count, replace=False)]

    def _point(self, entries: Array) -> Array:
        point = np.empty_like(self.x)
        point[...] = entries.reshape(self.x.shape)
        return point

    def _step(self, points: Array) -> float | None:
        """The h of points that are x + h, x - h, x + 2h, x - 2h, x + 4h, ...; None of others."""
        if self.h is None or self.x.itemsize < 8:
            return None
        expected, _ = points_around(self.x, self.h, points.shape[1] // 2)
        return self.h if np.array_equal(points, expected) else None


def _compare(value: float, plan: Plan, point: Array) -> float:
    if not value == plan.loss(point):
        raise Doubt("f depends on x in a way that the engine's layers do not show")
    return value


def _check_singles(plan: Plan, values: Array, value: float, singles: Singles) -> bool:
    """Doubt if the plan's differences are not those of its own loss, to rounding."""
    if not np.isfinite(values).all():
        raise Doubt("not all differences are finite")
    for i, of_entry in singles:
        change = np.array(of_entry) - value
        tolerance = 1e-6 * abs(change).max() + 1000 * plan.rounding
        if abs(values[i, 0] - values[i, 1] - (change[0] - change[1])) > tolerance:
            raise Doubt("the plan's differences are not those of f")
    return True


def _random_state() -> bytes:
    """Of the generators that functions share: NumPy's and Python's."""
    return pickle.dumps((np.random.get_state(legacy=False), random.getstate()))


def _set_random_state(state: bytes) -> None:
    of_numpy, of_python = pickle.loads(state)
    np.random.set_state(of_numpy)
    random.setstate(of_python)
