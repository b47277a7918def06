"""h="auto": finds a step for the entries of each magnitude by evaluating f.

A central difference has two errors: that of the formula, which grows with a power of the step, and the rounding of f
divided by the step. The best step depends on two things that x alone does not tell: how noisy f is, and how large its
third derivative is (the fifth for order 4). A few evaluations estimate both, for each decade of magnitudes rather than
for each entry. (J. J. More and S. M. Wild do this for one variable: Estimating computational noise, SIAM J. Sci.
Comput. 33, 2011, and Estimating derivatives of noisy simulations, ACM Trans. Math. Softw. 38, 2012.)
"""

from collections.abc import Callable
from math import comb, isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import entries_of
from .evaluate import Evaluator
from .formula import rounding

Array = NDArray[Any]

# The sum of these weights times f((j + 1) h) - f(-(j + 1) h) is 2 h^(order + 1) times the derivative in the error term.
_WEIGHTS = {2: np.array([-2.0, 1.0]), 4: np.array([5.0, -4.0, 1.0])}
# If S is that sum for a step, the best step is (constant * noise / S)^(1 / (order + 1)) times this step.
_BEST = {2: 6 / 2**0.5, 4: 15 * 0.95}
_SAMPLE = 16  # entries of a decade that are moved together


def find_step(evaluator: Evaluator, order: int) -> Array:
    """A step for each entry of evaluator.x, in float64."""
    x = abs(evaluator.x.astype(np.float64))
    with np.errstate(all="ignore"):
        noise, eps = noise_and_eps(evaluator)
        ratio = eps ** (1 / (order + 1))
        step = ratio * np.maximum(x, 1)
        decade = np.where(np.isfinite(x), np.clip(np.floor(np.log10(x)), -20, 20), np.nan)
        for ten in np.unique(decade[np.isfinite(decade)]) if noise > 0 else ():
            group = np.flatnonzero(decade == ten)
            largest = float(entries_of(x)[group].max())
            least, most = 32 * float(np.finfo(evaluator.x.dtype).eps) * largest, 16 * ratio * max(largest, 1)
            bend = _difference(evaluator, group, order)
            entries_of(step)[group] = _best(bend, noise, order, ratio * (largest or 1), least, most)
    return step


def noise_and_eps(evaluator: Evaluator) -> tuple[float, float]:
    """The standard deviation of f's rounding, from differences of f within some ulps of x; and f's eps."""
    x, direction = evaluator.x, np.rint(16 * _direction(evaluator.x.size)).reshape(evaluator.x.shape)
    ulps = np.spacing(np.where(x == 0, 1, abs(x))) * direction
    values = np.array([_value(evaluator, x + i * ulps) for i in range(-3, 4)])
    variance = [np.mean(np.diff(values, k) ** 2) / comb(2 * k, k) for k in (3, 4, 5, 6)]
    eps = rounding(values)
    return max(float(np.sqrt(np.mean(variance))), eps / 4 * float(abs(values).max())), eps


def _difference(evaluator: Evaluator, group: Array, order: int) -> Callable[[float], float]:
    """S as a function of the step, which is taken in some entries of the group at once."""
    some = group[:: -(-len(group) // _SAMPLE)]
    x = evaluator.x
    direction: Array = np.zeros(x.shape)
    # If f is a sum over its entries, this S is that of one entry. If the derivative depends on several, S is larger.
    entries_of(direction)[some] = _direction(len(some)) / len(some) ** (0.5 / (order + 1))

    def difference(step: float) -> float:
        total = 0.0
        offset = (x + step * direction).astype(x.dtype) - x  # rounded first, so that both distances are equal
        for j, weight in enumerate(_WEIGHTS[order], 1):
            total += weight * (_value(evaluator, x + j * offset) - _value(evaluator, x - j * offset))
        return abs(total)

    return difference


def _best(
    difference: Callable[[float], float], noise: float, order: int, step: float, least: float, most: float
) -> float:
    """Change the step until S is above the noise, but not too far above, and then compute the best step."""
    power = order + 1
    spread = float(np.sqrt(2 * np.sum(_WEIGHTS[order] ** 2)))  # the standard deviation of S if the noise is 1
    grown, before, factor = False, 0.0, 1.0
    for _ in range(30):
        seen = difference(step)
        if not isfinite(seen):
            step = most = step / 8
            continue
        if seen > 2 * (before + 4 * spread * noise) * 16**power if grown else step <= least:
            louder = max(seen / spread / noise, 1)  # a smooth f has no such S: it is noise
            noise, most = noise * louder, most * louder ** (1 / power)
        factor = (_BEST[order] * noise / max(seen, noise)) ** (1 / power)
        if seen < 64 * spread * noise and step < most:
            before, step, grown = seen, min(step * 16, most), True
        elif factor > 1 / 32 or grown:
            break
        else:  # the step is too long for the formula, which holds for small steps
            step = max(step * 16 * factor, least)
    return max(min(step * min(factor, 1), most), least)


def _value(evaluator: Evaluator, point: Array) -> float:
    """f, or nan where it is not defined: a trial step may be too long."""
    try:
        value = evaluator.value(point.astype(evaluator.x.dtype))
    except (ArithmeticError, ValueError):
        return float("nan")
    return value if isinstance(value, float) else _sum(value)


def _sum(values: Array) -> float:
    """Of an f that gives many numbers: in the precision that they seem to have."""
    total = float(_direction(values.size) @ values.ravel())
    return total if rounding(values) < 1e-12 else float(np.float32(total))


def _direction(count: int) -> Array:
    """Numbers near 1 or -1, so that no symmetry cancels terms. Equal terms add up to sqrt(count), as random ones do."""
    random = np.random.default_rng(0)
    signs = np.where(np.arange(count) < round((count + count**0.5) / 2), 1, -1)
    return random.permutation(signs) * (1 + random.permutation(np.arange(count) - (count - 1) / 2) / (2 * count))
