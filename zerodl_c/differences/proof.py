"""Computes f by a plan that is proved first, or else evaluates f at every point.

The notes of one evaluation show how f depends on x through the engine's layers. They may miss something: a weight decay
in NumPy, a branch on a weight, a cache. So f itself is compared with the plan, bit for bit, at points that the central
differences use. Pairs x + d and x - d move all entries of x at once, with different signs in each pair, so that every
entry is seen at both of its points. Other points move one entry alone.

After any exception or Doubt, f is evaluated at every point. The watched evaluation is the first of these, so if its
notes show no plan, f is called as often as without the attempt.
"""

from __future__ import annotations  # np.random is loaded when it is used

import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import entries_of
from .engine import Engine
from .evaluate import EVERY_POINT, InPlace, Report, number
from .formula import points_around
from .notes import Note, may_watch, watching
from .plan import Doubt, Plan, is_same, outputs_of

Array = NDArray[Any]

_FEWEST = 32  # entries of x: with fewer, a proof costs more than it saves
_OTHERWISE = "f depends on x in a way that the engine's layers do not show"
_PAIRS = 10  # pairs of points where all entries are moved: one for each of 9 bits, and one more


class Planned(InPlace):
    """f of x itself: by a plan if one is found and proved, otherwise at every point."""

    def __init__(self, f: Callable[..., Any], x: Array, original: Any, h: Any, engine: Engine) -> None:
        super().__init__(f, x, original)
        self.engine = engine
        self.h = float(h) if isinstance(h, Real) else 1e-4 if h is None else None

    def values(self, points: Array, report: Report) -> Array:
        if points.size < 2 * _FEWEST:
            return self._at_every_point(points, report, "x has few entries")
        if not may_watch():
            return self._at_every_point(points, report, "a profiler watches this thread")
        first, plan = self._first(points)
        values = self._by_plan(plan, points, report) if isinstance(plan, Plan) else plan
        return values if isinstance(values, np.ndarray) else self._at_every_point(points, report, values, first)

    def _at_every_point(self, points: Array, report: Report, why: Any, first: float | None = None) -> Array:
        """`values` without a plan. `first` is f at the first point, if it is known."""
        self.way = f"{EVERY_POINT}: {str(why) or type(why).__name__}"
        if first is None:
            return super().values(points, report)
        values = np.empty(points.shape)
        values[0, 0], values[0, 1:] = first, self._values_from(0, points[:1, 1:], None)
        if report:
            report(points.shape[1])
        values[1:] = self._values_from(1, points[1:], report)
        return values

    def _first(self, points: Array) -> tuple[float | None, Any]:
        """f at the first point, and the plan from its notes, or the exception that says why there is none."""
        point = self._alone(0, points[0, 0])
        try:
            with watching(self.engine.readers) as notes:
                self.x[...] = point
                value = number(self.f(self.argument))
            self.evaluations += 1
            if self.x.tobytes() != point.tobytes():
                return None, Doubt("f changes x")
        finally:
            self.x[...] = self.saved
        try:
            plan = Plan(self.engine, notes, self.original)
            if value != float(plan.result):
                raise Doubt("f does not return the loss of its last layer")
            _compare(value, plan, point)
            if 2 * plan.memory > points.size:
                raise Doubt("the running statistics would not be those of the last evaluations")
        except Exception as error:
            return value, error
        return value, plan

    def _by_plan(self, plan: Plan, points: Array, report: Report) -> Any:
        """The changes of f at the points, or the exception that says why there are none."""
        before = self.evaluations - 1
        try:
            value = self._prove(plan, points)
            values = np.empty(points.shape)
            steps = plan.fill(values, points, self._step(points))
        except Exception as error:
            return error
        done: Any = True
        while done:
            try:
                done = next(steps, None)
                if not done:
                    self._confirm(plan, points, values, value)
            except Exception as error:
                return error
            if done and report:
                report(done)
        self.offset, self.way = value, f"a plan, proved in {self.evaluations - before} evaluations of f"
        return values

    def _prove(self, plan: Plan, points: Array) -> float:
        """f at x. Doubt if f differs from the plan at any point of the proof."""
        signs = np.random.default_rng(0)  # our own generator, the same in each run
        with self._undisturbed() as require_no_draws:
            value = _compare(self._at(self.saved), plan, self.saved)
            require_no_draws()
            for point in self._pairs(points, signs):
                self._notes_at(plan, point)
            some = np.where(signs.integers(0, 2, len(points)), points[:, 0], points[:, 1])
            notes = self._notes_at(plan, self._point(some))
            self.x[...] = self.saved
            if not plan.has_the_constants_of(Plan(self.engine, notes, self.original)):
                raise Doubt("an input or another parameter of the layers depends on x")
            if self._at(self.saved) != value:
                raise Doubt("f at x is not what it was before")
        return value

    def _confirm(self, plan: Plan, points: Array, values: Array, value: float) -> None:
        """Doubt if f differs from the plan where one entry changes it most, up and down, or where the loop ends.

        One entry alone may change the loss more than all entries together.
        """
        with self._undisturbed():
            for k in (values.argmin(), values.argmax()):
                i, j = divmod(int(k), points.shape[1])
                point = self._alone(i, points[i, j])
                _compare(self._at(point), plan, point)
            ends = self._ends(plan, points)
        _check(values, value, ends, plan.rounding)

    @contextmanager
    def _undisturbed(self) -> Iterator[Callable[[], None]]:
        """Restores x after the block. If the block draws random numbers, restores the generators and raises Doubt."""
        state = _random_state()

        def require_no_draws() -> None:
            if _random_state() != state:
                raise Doubt("f draws random numbers")

        try:
            yield require_no_draws
            require_no_draws()
        finally:
            self.x[...] = self.saved
            if _random_state() != state:
                _set_random_state(state)

    def _ends(self, plan: Plan, points: Array) -> Array:
        """f at the points that end the loop, so that layers then hold what they hold after the loop."""
        rows = max(-(-plan.memory // points.shape[1]), 1)
        self.x[...] = self.saved
        ends = self._values_from(len(points) - rows, points[-rows:], None)
        for value, there in zip(ends[-1], points[-1], strict=True):
            _compare(value, plan, self._alone(len(points) - 1, there))
        return ends

    def _notes_at(self, plan: Plan, point: Array) -> list[Note]:
        """The notes of f at a point. Doubt if the layers' outputs differ from the plan's.

        A loss near its minimum may hide such a difference.
        """
        with watching(self.engine.readers) as notes:
            value = self._at(point)
        outputs = plan.outputs(point)
        if value != plan.loss(outputs[-1]) or not all(map(is_same, outputs, outputs_of(notes, self.original))):
            raise Doubt(_OTHERWISE)
        return notes

    def _at(self, point: Array) -> float:
        """f at a point, with x changed in place as in the loop."""
        self.evaluations += 1
        self.x[...] = point
        value = number(self.f(self.argument))
        if self.x.tobytes() != point.tobytes():
            raise Doubt("f changes x")
        return value

    def _pairs(self, points: Array, signs: np.random.Generator) -> Iterator[Array]:
        """x + d, x - d, x + d', x - d', ...: all entries are moved, each to one of its points.

        In the first pair, all entries move the same way. In the others, the bits of a number say which way an entry
        moves, and among 512 entries in a row no two have the same number. So any two of these entries move the same way
        in some pair, and opposite ways in another.
        """
        blocks = -(-len(points) // 512)
        numbers = np.concatenate([signs.permutation(512) for _ in range(blocks)])[: len(points)] << 1
        for k in range(_PAIRS):
            column, bits = 2 * k % points.shape[1], (numbers >> k & 1).astype(bool)
            up, down = points[:, column], points[:, column + 1]
            yield self._point(np.where(bits, down, up))
            yield self._point(np.where(bits, up, down))

    def _alone(self, i: int, value: Any) -> Array:
        """x with another value in entry i."""
        point = self._point(self.saved)
        entries_of(point)[i] = value
        return point

    def _point(self, entries: Array) -> Array:
        """These entries in x's own order in memory. In another order, C's results may differ in the last bits."""
        point = np.empty_like(self.x)
        point[...] = entries.reshape(self.x.shape)
        return point

    def _step(self, points: Array) -> float | None:
        """h if the points are x + h, x - h, x + 2h, x - 2h, x + 4h, ..., otherwise None."""
        if self.h is None or self.x.itemsize < 8:
            return None
        expected, _ = points_around(self.x, self.h, points.shape[1] // 2)
        return self.h if np.array_equal(points, expected) else None


def _compare(value: float, plan: Plan, point: Array) -> float:
    if not value == plan.loss(plan.outputs(point)[-1]):
        raise Doubt(_OTHERWISE)
    return value


def _check(values: Array, value: float, ends: Array, rounding: float) -> None:
    """Doubt if the plan's differences for the last entries are not those of f, apart from rounding."""
    if not np.isfinite(values).all():
        raise Doubt("not all differences are finite")
    changes, plans = ends - value, values[-len(ends) :]
    off = abs(np.diff(plans) - np.diff(changes))[:, ::2].max(axis=1)
    if (off > 1e-6 * abs(changes).max(axis=1) + 1000 * rounding).any():
        raise Doubt("the plan's differences are not those of f")


def _random_state() -> tuple[Any, bytes]:
    """The states of the generators that all code shares: Python's and NumPy's."""
    return random.getstate(), pickle.dumps(np.random.get_state(legacy=False))


def _set_random_state(state: tuple[Any, bytes]) -> None:
    random.setstate(state[0])
    np.random.set_state(pickle.loads(state[1]))
