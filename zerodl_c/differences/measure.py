"""Derivatives for `gradient_check`: central differences, and shorter steps for the entries that disagree.

A right gradient may disagree with a central difference for three reasons besides rounding:

- the formula's error, which extrapolation removes (Richardson)
- a kink within the step, such as a relu's, which a shorter step avoids
- a kink at this very point, where backpropagation gives the slope to one side.

An entry that disagreed at first is accepted only if the estimate that agrees with it is precise enough: its noise must
be well below the first disagreement.
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

_SHORTER = 2, 16, 128, 1024  # divisors of the step: 2 for the formula's error, the others for kinks
_BOUND = 10  # standard deviations: a larger change is not taken for rounding


class Scale(NamedTuple):
    """f at the point itself, the largest change that rounding explains, and the tolerance."""

    value: float
    noise: float
    rtol: float


class Slopes(NamedTuple):
    """The slopes of f one step to either side of some entries of a parameter. Each entry has a row."""

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
    """The measurements of the checked entries of a parameter. Each array has a number for each entry."""

    chosen: Array  # their flat indices
    analytic: Array
    turned: Array  # the analytic gradient at the transposed place
    first: Slopes
    numeric: Array
    floor: Array  # below this size, entries are compared absolutely
    kink: Array

    @property
    def error(self) -> Array:
        return errors(self.numeric, self.analytic, self.floor)


@np.errstate(all="ignore")
def errors(numeric: Array, analytic: Array, floor: Any) -> Array:
    size = np.maximum(np.maximum(abs(numeric), abs(analytic)), floor)
    return np.where(numeric == analytic, 0, abs(numeric - analytic) / size)


def noise_of(problem: Problem) -> float:
    """The largest change of f by rounding. It is the median over the parameters, since some may have a kink here."""
    evaluators = [InPlace(lambda _: problem.value(), param, param) for param in problem.params.values()]
    with np.errstate(all="ignore"):
        noise = [noise_and_eps(evaluator)[0] for evaluator in evaluators]
    return _BOUND * float(np.median(np.nan_to_num(noise, posinf=0)))


def measure(problem: Problem, name: Any, chosen: Array, steps: Sequence[float], scale: Scale) -> Measure:
    """Measure the chosen entries, and measure those that disagree again with shorter steps."""
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
    """The slopes with the first step at which some entry changes f visibly above rounding, or with the last step."""
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
    """Measure the entries that disagree again, with shorter and shorter steps."""
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
    """Update the entries that agree now, mark kinks, and say for which others a shorter step may help."""
    noise, jump = scale.noise / now.h, now.jump
    _, left, right = now.estimates.T
    agree = _agree(m, doubtful, off, before, now, scale)
    between = (m.analytic[doubtful] - left) * (right - m.analytic[doubtful]) >= 0
    # The jump of a smooth curve shrinks in proportion to the step.
    lasting = jump > m.first.jump[doubtful] * (now.h / m.first.h) ** 0.5
    m.kink[doubtful] = between & lasting & (noise < np.minimum(off, jump) / 4)
    settled = np.maximum(jump, abs(now.estimates - before.estimates)[:, 0]) <= off / 4
    return ~agree & ~settled & (noise <= off / 2)


def _agree(m: Measure, doubtful: Array, off: Array, before: Slopes, now: Slopes, scale: Scale) -> Array:
    """Whether an estimate agrees, and its noise is small enough to prove it."""
    candidates, noise = _candidates(before, now, scale.noise)
    floor = noise / scale.rtol
    error = errors(candidates, m.analytic[doubtful, np.newaxis], floor)
    clear = noise <= np.maximum(off[:, np.newaxis] / 2, 4 * scale.noise / m.first.h)
    error[~clear | ~np.isfinite(candidates).all(axis=1, keepdims=True)] = np.inf
    best, agree = error.argmin(axis=1), error.min(axis=1) <= scale.rtol
    m.numeric[doubtful[agree]], m.floor[doubtful[agree]] = candidates[agree, best[agree]], floor[best[agree]]
    if before.h == m.first.h:  # the extrapolated estimate is the better one for the report
        better = ~agree & np.isfinite(candidates[:, 1])
        m.numeric[doubtful[better]] = candidates[better, 1]
    return agree


def _candidates(before: Slopes, now: Slopes, noise: float) -> tuple[Array, Array]:
    """The central difference, the extrapolations of two steps (central, left, right), and the noise of these four."""
    power = (before.h / now.h) ** np.array([2, 1, 1])
    further = (power * now.estimates - before.estimates) / (power - 1)
    amplified = (power + 1) / (power - 1) * np.array([1, 2, 2])
    return np.column_stack([now.estimates[:, 0], further]), noise / now.h * np.array([1, *amplified])
