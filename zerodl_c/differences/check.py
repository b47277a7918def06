"""Compares an analytic gradient with central differences, and says what is wrong with it.

Both engines share this function, because nearly all of its time is spent in the net's `loss`, or in f.
"""

from __future__ import annotations  # np.random.Generator itself would import numpy.random

import math
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .measure import Measure, Scale, errors, measure, noise_of
from .problem import Problem, function_problem, is_net, net_problem

Array = NDArray[Any]

# The default step and the smallest tolerance, by the bytes of the float dtype that f is computed in. The step is about
# the fourth root of eps. Then the rounding of f, eps / h, is far below the tolerance, and so is the formula's error
# after extrapolation, h^4.
_STEP = {8: 1e-4, 4: 5e-2, 2: 2e-1}
_RTOL = {8: 0.0, 4: 2e-2, 2: 2e-1}
_LONGER = 1, 10, 100  # longer steps, for a parameter that does not change f visibly at the first
_AGAIN = 64  # two evaluations may differ by so many eps: threads may add up numbers of about 1 in any order
_NEARLY_ALL = 0.9  # share of the entries; the others may also have a kink


@dataclass(frozen=True)
class Entry:
    """One entry of a parameter: where it is, and its derivative as measured and as claimed.

    Attributes
    ----------
    index : tuple of int
    numeric, analytic : float
        The measured derivative (nan if h is lost in the entry), and the gradient in question.
    error : float
        ``|numeric - analytic| / max(|numeric|, |analytic|, floor)``, with the floor of the deciding step.
    slopes : tuple of float
        The differences on either side, (f(x) - f(x - h)) / h and (f(x + h) - f(x)) / h.
    """

    index: tuple[int, ...]
    numeric: float
    analytic: float
    error: float
    slopes: tuple[float, float]


@dataclass(frozen=True)
class ParameterCheck:
    """The findings about the gradient of one parameter.

    Attributes
    ----------
    name : str
        Its key in `net.params`, or in x; "x" if x is one array.
    size, checked, within : int
        The numbers of entries, of checked entries, and of checked entries whose error is at most rtol.
    worst : Entry
        The checked entry with the largest error.
    reason : str or None
        What is wrong, if that is recognisable; see `gradient_check`.
    ratio : float or None
        numeric / analytic, if it is the same at nearly all entries, but not 1.
    """

    name: str
    size: int
    checked: int
    within: int
    worst: Entry
    reason: str | None
    ratio: float | None

    @property
    def share(self) -> float:
        """The share of the checked entries that are within tolerance, from 0 to 1."""
        return self.within / self.checked

    @property
    def ok(self) -> bool:
        """Whether every entry is within tolerance, and this proves something."""
        return self.within == self.checked and self.reason is None


@dataclass(frozen=True, repr=False)
class GradientCheck:
    """The result of `gradient_check`: true when all is well; it prints as a table.

    Attributes
    ----------
    parameters : dict of ParameterCheck
        By its key, in the order of `net.params` or x.
    value : float
        f(x), the loss.
    spread : float
        The largest difference between evaluations of f at the same point.
    h, rtol, floor : float
        The step, the tolerance, and the size below which entries are compared absolutely.
    """

    parameters: dict[Any, ParameterCheck]
    value: float
    spread: float
    h: float
    rtol: float
    floor: float

    def __bool__(self) -> bool:
        return all(parameter.ok for parameter in self.parameters.values())

    def __repr__(self) -> str:
        rows = [("parameter", "checked", "within", "worst", "numeric", "analytic", "error", "verdict")]
        for p in self.parameters.values():
            share = f"{100 * p.share:.4g} %"
            figures = f"{p.worst.numeric:.6g}", f"{p.worst.analytic:.6g}", f"{p.worst.error:.1e}"
            verdict = "ok" if p.ok else p.reason or "differs"
            rows.append((p.name, f"{p.checked}/{p.size}", share, str(p.worst.index), *figures, verdict))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([*lines, f"f = {self.value:.6g}, h = {self.h:g}, rtol = {self.rtol:g}"])


def gradient_check(
    net_or_f: Any,
    x: Any,
    t_or_gradient: Any,
    /,
    *,
    h: float | None = None,
    rtol: float | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> GradientCheck:
    """Compare an analytic gradient with central differences, entry by entry, and say what is wrong.

    Call it as gradient_check(net, x, t), or as gradient_check(f, x, gradient).

    Parameters
    ----------
    net_or_f : net or callable
        A net has a dict `params` of float arrays, `loss(x, t)`, and `gradient(x, t)` that gives a
        dict of the same keys. If `loss` takes train_flg, as the book's nets with dropout do, it is
        called with train_flg=True, because the net's gradient is that of the training loss.
        A callable is a scalar function f(x) -> one real number.
    x : array_like, or dict, list or tuple of arrays
        The net's input, passed on as it is; or the point at which f is differentiated: one array of
        any shape, or several parameters. Float arrays are perturbed in place and restored to the last
        bit, and f gets x itself. If x is anything else, f gets a float64 copy.
    t_or_gradient : array_like, dict, list or callable
        The net's targets, passed on as they are; or f's gradient at x, in the form of x, or a
        function of x that returns it.
    h : float, optional
        The step. By default 1e-4, as in the book. It is 0.05 if f is computed in float32, and 0.2 if in
        float16, because the rounding of f is larger then.
    rtol : float, optional
        The largest error that is within tolerance. By default 1e-4 for a net and 1e-3 for f; 0.02
        if f is computed in float32 and 0.2 if in float16.
    sample : int, optional
        Check this many random entries of each parameter (all, where it has fewer).
    seed : int
        The seed of the sample, which has its own generator.

    Returns
    -------
    GradientCheck
        True when all is well: every entry is within tolerance, and there is none of the reasons
        below. Printed, it is a table of the worst entry of each parameter; its `parameters` are
        dataclasses with the same figures.

    Raises
    ------
    TypeError
        If net_or_f is neither a net nor callable; arrays do not hold real numbers of up to 64 bits,
        or have masked entries; f gives anything but one real number; x is a matrix, masked array or
        the like, of which f would get a copy of another type; or an option is not a number of its
        kind.
    ValueError
        If the keys of the gradients are not those of the parameters; a gradient has another shape
        than its parameter (the transposed one is diagnosed); a parameter is empty, or read-only where
        it must be perturbed in place, as x is and a net that cannot be copied;
        f or the gradient changes a parameter; or an option is not positive (seed: is negative).

    Notes
    -----
    The error of an entry is ``|numeric - analytic| / max(|numeric|, |analytic|, floor)``. Below
    the floor, the rounding of f hides an error of rtol. That rounding is measured: f is evaluated
    while the entries of a parameter move by some ulps.

    An entry whose error exceeds rtol is measured again, with steps down to h / 1024, because a right
    gradient may differ from a central difference. Extrapolation from two steps removes the formula's
    error (Richardson). Short steps avoid the kinks of a relu. At a kink itself, the slope to either
    side is accepted. A step at which rounding hides the disagreement proves nothing. By default, a
    parameter in which f is nearly constant gets steps of 10 h or 100 h.

    The book's cross-entropy adds 1e-7 to each probability y in the log. Its gradient leaves this out,
    an error of 1e-7 / y. So a net that does not pass is measured again with the loss without the 1e-7.
    That loss is computed from the probabilities that the net or its last layer keeps in `y`, or that
    the net predicts. The gradient must be that of one of the two losses. For a function f there are no
    such probabilities: if some y is below 1e-4, use `log_softmax` in f, or pass the net.

    A net is measured on a deep copy with float64 parameters and x, so that float32 hides nothing. The
    net itself, with its running statistics, stays as it is. The gradient in question is that of a copy
    in the net's own dtype, or that of the float64 copy where both are equal apart from rounding. If
    there is no such copy, because the net holds something that cannot be copied, or its loss reads
    parameters from elsewhere, the net itself is measured in its own dtype. Its parameters are then
    restored to the last bit, but other things that its loss changes stay changed.

    Every evaluation begins with the same state of NumPy's global generator, so that dropout draws the
    same masks for f and the gradient. The generator is restored in the end.

    These reasons are recognised:

    - "step below one ulp": x + h == x. A larger h may help.
    - "nan": one of f's values or of the gradient is nan or infinite.
    - "not deterministic": two evaluations of f at the same point differ by more than rounding; or
      entries disagree, and f draws other numbers from NumPy's global generator than the gradient
      does: dropout is on in one of them.
    - "both sides are 0": f does not change, and the gradient is 0, so that nothing is proven.
    - "float32 noise": no entry rises above the floor, so that rounding of f could explain all of it and
      nothing is proven. A larger h, or float64, may help. (But an analytic gradient that is 0 apart
      from its own rounding is accepted, such as that of a bias before a batch normalization.)
    - "transposed": the transpose of the analytic gradient matches at nearly all entries; or only the
      transpose has the parameter's shape. In the second case the figures are those of the transpose.
    - "analytic is 0" and "numeric is 0": all entries of one are 0, but not of the other. The gradient
      is missing; or f does not depend on x, perhaps because it reads a copy.
    - "scaled": numeric / analytic is the same at nearly all entries; the batch size is named.
    - "kink within h": at nearly all entries that are not within tolerance, the slopes on either side
      disagree at every step, and the gradient is between them.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[1.0, 2.0], [3.0, 4.0]])
    >>> print(gradient_check(lambda x: np.sum(x**3), x, 3 * x**2))
    parameter  checked  within  worst   numeric  analytic  error    verdict
    x          4/4      100 %   (0, 0)  3        3         3.3e-09  ok
    f = 100, h = 0.0001, rtol = 0.001
    >>> check = gradient_check(lambda x: np.mean(x**3), x, lambda x: 3 * x**2)
    >>> print(bool(check), check.parameters["x"].reason)
    False scaled: numeric / analytic = 1/4

    With several parameters:

    >>> W, b = np.array([[1.0, 2.0]]), np.array([0.5])
    >>> bool(gradient_check(lambda p: np.sum(p["W"] ** 2) * p["b"], {"W": W, "b": b}, {"W": 2 * W * b, "b": [5.0]}))
    True
    """
    _require_positive("h", h)
    _require_positive("rtol", rtol)
    _require_count("sample", sample, 1)
    _require_count("seed", seed, 0)
    problem = (net_problem if is_net(net_or_f) else function_problem)(net_or_f, x, t_or_gradient)
    generator, rtol = np.random.default_rng(seed), rtol or max(problem.rtol, _RTOL[problem.size])
    chosen = {name: _chosen(param.size, sample, generator) for name, param in problem.params.items()}
    with problem.restored():
        for reading in problem.readings():
            check = _check(reading, chosen, h, rtol)
            if check:
                break
    return check


def _chosen(size: int, sample: int | None, generator: np.random.Generator) -> Array:
    return np.arange(size) if sample is None or sample >= size else generator.choice(size, sample, replace=False)


def _require_positive(name: str, value: float | None) -> None:
    if value is not None and not isinstance(value, Real):
        raise TypeError(f"{name} must be a real number, got {type(value).__name__}")
    if value is not None and not 0 < value < np.inf:
        raise ValueError(f"{name} must be positive and finite, got {value}")


def _require_count(name: str, value: int | None, least: int) -> None:
    if value is not None and not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}")
    if value is not None and value < least:
        raise ValueError(f"{name} must be {least} or more, got {value}")


def _check(problem: Problem, chosen: dict[Any, Array], h: float | None, rtol: float) -> GradientCheck:
    steps = [_STEP[8] * longer for longer in _LONGER] if h is None and problem.size == 8 else [h or _STEP[problem.size]]
    scale = Scale(problem.value(), noise_of(problem), rtol)
    measures, values = {}, [scale.value]
    for name in problem.params:
        measures[name] = measure(problem, name, chosen[name], steps, scale)
        values.append(problem.value())
    with np.errstate(invalid="ignore"):
        spread = float(np.max(abs(np.array(values) - scale.value)))
    checks = {name: _diagnose(name, m, scale, spread, problem) for name, m in measures.items()}
    return GradientCheck(checks, problem.first, spread, steps[0], rtol, scale.noise / steps[0] / rtol)


# ---- Diagnosis ----------------------------------------------------------------------------------


@np.errstate(all="ignore")
def _diagnose(name: Any, m: Measure, scale: Scale, spread: float, problem: Problem) -> ParameterCheck:
    error, ratio, shape = m.error, _ratio(m, scale.rtol), problem.params[name].shape
    worst = int(np.argmax(error))  # nan is the largest of all
    _, left, right = map(float, m.first.estimates[worst])
    entry = Entry(
        index=tuple(map(int, np.unravel_index(m.chosen[worst], shape))),
        numeric=float(m.numeric[worst]),
        analytic=float(m.analytic[worst]),
        error=float(error[worst]),
        slopes=(left, right),
    )
    within = int(np.sum(error <= scale.rtol))
    reason = _no_verdict(m, scale, spread, problem)
    flipped = problem.grads[name].shape != shape
    if reason is None and within == len(error) and not flipped:
        reason = _nothing_proven(m, scale.rtol, problem)
    elif reason is None:
        reason = _fault(m, entry, flipped, ratio, scale.rtol, problem)
    return ParameterCheck(str(name), math.prod(shape), len(error), within, entry, reason, ratio)


def _no_verdict(m: Measure, scale: Scale, spread: float, problem: Problem) -> str | None:
    """The reason why the comparison is not valid, or None."""
    if m.first.lost.any():
        return "step below one ulp"
    if not np.isfinite([scale.value, spread, *m.numeric, *m.analytic]).all():
        return "nan"
    if spread > _AGAIN * float(np.finfo(f"f{problem.size}").eps) * max(abs(scale.value), 1.0):
        return f"not deterministic: f differs by {spread:.1e}"
    return None


def _nothing_proven(m: Measure, rtol: float, problem: Problem) -> str | None:
    """Why agreement proves nothing: f does not change, or only by as much as rounding explains. None if it does."""
    numeric, analytic, floor = abs(m.numeric).max(), abs(m.analytic).max(), float(m.floor.min())
    noise = floor * rtol
    if not numeric and not analytic:
        return "both sides are 0"
    if max(numeric, analytic) > floor or analytic <= problem.residue or 0 < analytic < noise / 1000:
        return None  # visible, or 0 apart from its own rounding, such as that of a bias before batch normalization
    return f"float{8 * problem.size} noise, floor {floor:.1e}"


def _fault(m: Measure, worst: Entry, flipped: bool, ratio: float | None, rtol: float, problem: Problem) -> str | None:
    """The reason why entries disagree, if it is recognisable."""
    if problem.draw_after_f != problem.draw_after_gradient:
        return "not deterministic: f and the gradient draw other random numbers"
    if flipped or _explains(m.turned, m, rtol):
        return "transposed"
    if not m.analytic.any() or not m.numeric.any():
        return "numeric is 0" if m.analytic.any() else "analytic is 0"
    if ratio is not None:
        return f"scaled: numeric / analytic = {_named(ratio, problem.batch, rtol)}"
    if m.kink[~(m.error <= rtol)].mean() >= _NEARLY_ALL:
        return "kink within h: slopes {:.4g} and {:.4g}".format(*worst.slopes)
    return None


def _explains(other: Array, m: Measure, rtol: float) -> bool:
    """Whether nearly all entries above the floor agree with `other`, and more of them than with the gradient."""
    strong = abs(m.numeric) > m.floor
    if not strong.any():
        return False
    share, before = (np.mean(errors(m.numeric, a, m.floor)[strong] <= rtol) for a in (other, m.analytic))
    return bool(before < share >= _NEARLY_ALL)


def _ratio(m: Measure, rtol: float) -> float | None:
    """The factor by which the analytic gradient is wrong, if one number explains nearly all entries; else None."""
    strong = (abs(m.numeric) > m.floor) & (m.analytic != 0)
    if strong.sum() < 2:
        return None
    ratio = float(np.median(m.numeric[strong] / m.analytic[strong]))
    return ratio if abs(ratio - 1) > rtol and _explains(ratio * m.analytic, m, rtol) else None


def _named(ratio: float, batch: int | None, rtol: float) -> str:
    """A ratio as text: as an integer or its inverse if it is one, with a note if that is the batch size."""
    size = max(abs(ratio), 1 / abs(ratio))
    whole = round(size)
    if abs(size - whole) > rtol * size:
        return f"{ratio:.4g}"
    sign, inverse = "-" * (ratio < 0), "1/" * (abs(ratio) < 1 and whole > 1)
    return f"{sign}{inverse}{whole}" + ", the batch size" * (whole == batch)
