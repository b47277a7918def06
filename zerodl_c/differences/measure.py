"""Derivatives for `gradient_check`: central differences and, where an entry disagrees, others with shorter steps.

A right gradient may disagree with a central difference for three reasons besides rounding: the formula's error, which
extrapolation takes away (Richardson); a kink within the step, as of a relu, which a shorter step steps over; and a kink
at this very point, where the slope to one side is what backpropagation gives.
An entry that disagreed is taken for right only where the noise of what agrees with it is well below how far it was off.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arrays import entries_of
from .auto_step import noise_and_eps
from .evaluate import InPlace
from .problem import Problem

Array = NDArray[Any]

_SHORTER = 2, 16, 128, 1024  # what the step is divided by: half for the formula's error, the others for kinks
_BOUND = 10  # deviations of rounding: beyond it is no rounding


class Scale(NamedTuple):
    """f at the point itself, how far rounding takes it, and what counts as equal."""

    value: float
    noise: float
    rtol: float


class Slopes(NamedTuple):
    """What f does one step to either side of some entries of a parameter, a row for each."""

    h: float
    estimates: Array  # the central difference, and the slopes to the left and to the right
    lost: Array  # whether x + h or x - h is x: then the estimates are nan

    @property
    def jump(self) -> Array:
        return abs(self.estimates[:, 2] - self.estimates[:, 1])

    def of(self, entries: Array) -> "Slopes":
        return Slopes(self.h, self.estimates[entries], self.lost[entries])


@dataclass
class Measure:
    """The checked entries of a parameter: a number for each."""

    chosen: Array  # their flat indices
    analytic: Array
    turned: Array  # the analytic gradient at the transposed place
    first: Slopes
    numeric: Array
    floor: Array  # the size below which they are compared absolutely
    kink: Array

    @property
    def error(self) -> Array:
        return errors(self.numeric, self.analytic, self.floor)


@np.errstate(all="ignore")
def errors(numeric: Array, analytic: Array, floor: Any) -> Array:
    size = np.maximum(np.maximum(abs(numeric), abs(analytic)), floor)
    return np.where(numeric == analytic, 0, abs(numeric - analytic) / size)


def noise_of(problem: Problem) -> float:
    """How far rounding takes f: the median over the parameters, for some may have a kink at this very point."""
    evaluators = [InPlace(lambda _: problem.value(), param, param) for param in problem.params.values()]
    with np.errstate(all="ignore"):
        noise = [noise_and_eps(evaluator)[0] for evaluator in evaluators]
    return _BOUND * float(np.median(np.nan_to_num(noise, posinf=0)))


def measure(problem: Problem, name: Any, chosen: Array, steps: Sequence[float], scale: Scale) -> Measure:
    """Measure the chosen entries, and those that disagree more closely."""
    param, grad = problem.params[name], problem.grads[name]
    turned = grad.T.ravel()[chosen].astype(np.float64)
    first = _first_slopes(problem, param, chosen, steps, scale)
    m = Measure(
        chosen=chosen,
        analytic=grad.ravel()[chosen].astype(np.float64) if grad.shape == param.shape else turned,
        turned=turned,
        first=first,
        numeric=first.estimates[:, 0].copy(),
        floor=np.full(len(chosen), scale.noise / first.h / scale.rtol),
        kink=np.zeros(len(chosen), bool),
    )
    _shorten_steps(problem, param, m, scale)
    return m


def _first_slopes(problem: Problem, param: Array, chosen: Array, steps: Sequence[float], scale: Scale) -> Slopes:
    """With the first step at which f changes by more than rounding can hide in some entry, or with the last."""
    for h in steps:
        slopes = _slopes_at(problem, param, chosen, h, scale)
        if (abs(slopes.estimates[:, 0]) * h > scale.noise / scale.rtol).any() or slopes.lost.any():
            break
    return slopes


def _slopes_at(problem: Problem, param: Array, chosen: Array, h: float, scale: Scale) -> Slopes:
    entries = entries_of(param)
    steps, values = np.empty((2, len(chosen), 2))
    for row, i in enumerate(chosen):
        here = entries[i]
        for side, step in enumerate((-h, h)):
            entries[i] = float(here) + step
            steps[row, side] = float(entries[i]) - float(here)
            values[row, side] = problem.value()
        entries[i] = here
    lost = (steps == 0).any(axis=1)
    steps[lost] = np.nan
    with np.errstate(all="ignore"):
        slopes = (values - scale.value) / steps
        return Slopes(h, np.column_stack([np.diff(values) / np.diff(steps), slopes]), lost)


# ---- Shorter steps -------------------------------------------------------------------------------


def _shorten_steps(problem: Problem, param: Array, m: Measure, scale: Scale) -> None:
    """Measure the entries that disagree again, with ever shorter steps."""
    with np.errstate(all="ignore"):
        off = abs(m.numeric - m.analytic)
    doubtful = np.flatnonzero(~(m.error <= scale.rtol) & ~m.first.lost)
    before = m.first.of(doubtful)
    for divisor in _SHORTER:
        if len(doubtful):
            now = _slopes_at(problem, param, m.chosen[doubtful], m.first.h / divisor, scale)
            left = _judge(m, doubtful, off[doubtful], before, now, scale)
            doubtful, before = doubtful[left], now.of(left)


@np.errstate(all="ignore")
def _judge(m: Measure, doubtful: Array, off: Array, before: Slopes, now: Slopes, scale: Scale) -> Array:
    """Settle the entries that agree now, note kinks, and say which of the others a shorter step may settle."""
    noise, jump = scale.noise / now.h, now.jump
    _, left, right = now.estimates.T
    agree = _agree(m, doubtful, off, before, now, scale)
    between = (m.analytic[doubtful] - left) * (right - m.analytic[doubtful]) >= 0
    lasting = jump > m.first.jump[doubtful] * (now.h / m.first.h) ** 0.5  # that of a curve shrinks as the step does
    m.kink[doubtful] = between & lasting & (noise < np.minimum(off, jump) / 4)
    settled = np.maximum(jump, abs(now.estimates - before.estimates)[:, 0]) <= off / 4
    return ~agree & ~settled & (noise <= off / 2)


def _agree(m: Measure, doubtful: Array, off: Array, before: Slopes, now: Slopes, scale: Scale) -> Array:
    """Whether an estimate agrees, and its noise does not hide how far the entry was off."""
    candidates, noise = _candidates(before, now, scale.noise)
    floor = noise / scale.rtol
    error = errors(candidates, m.analytic[doubtful, np.newaxis], floor)
    clear = noise <= np.maximum(off[:, np.newaxis] / 2, 4 * scale.noise / m.first.h)
    error[~clear | ~np.isfinite(candidates).all(axis=1, keepdims=True)] = np.inf
    best, agree = error.argmin(axis=1), error.min(axis=1) <= scale.rtol
    m.numeric[doubtful[agree]], m.floor[doubtful[agree]] = candidates[agree, best[agree]], floor[best[agree]]
    if before.h == m.first.h:  # for the report, the extrapolated one is the better one
        better = ~agree & np.isfinite(candidates[:, 1])
        m.numeric[doubtful[better]] = candidates[better, 1]
    return agree


def _candidates(before: Slopes, now: Slopes, noise: float) -> tuple[Array, Array]:
    """The central difference, and what two steps extrapolate: central, to the left, to the right; and their noise."""
    power = (before.h / now.h) ** np.array([2, 1, 1])
    further = (power * now.estimates - before.estimates) / (power - 1)
    amplified = (power + 1) / (power - 1) * np.array([1, 2, 2])
    return np.column_stack([now.estimates[:, 0], further]), noise / now.h * np.array([1, *amplified])
