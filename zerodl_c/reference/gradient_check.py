"""Is an analytic gradient right, and if not, why: central differences beside it, and a diagnosis.

Both engines share this function: its time is that of the net's `loss`, or of f.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
_Sides = tuple[Array, Array]  # steps to either side, and f there: a row for each entry

# The default step and tolerance, by the bytes of the narrowest float dtype. The step is about the
# fourth root of eps: there both the rounding of f, eps / h, and what a second look leaves of the
# formula's error, h^4, are far below the tolerance.
_STEP = {8: 1e-4, 4: 5e-2, 2: 2e-1}
_RTOL = {8: 1e-3, 4: 2e-2, 2: 2e-1}
_NEARLY_ALL = 0.9  # of the entries; the others may have a kink besides


@dataclass(frozen=True)
class Entry:
    """One entry of a parameter: where it is, and its derivative as measured and as claimed.

    Attributes
    ----------
    index : tuple of int
    numeric, analytic : float
        The central difference (nan where h is lost in the entry), and the gradient in question.
    error : float
        |numeric - analytic| / max(|numeric|, |analytic|, floor).
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
    """What was found out about the gradient of one parameter.

    Attributes
    ----------
    name : str
        Its key in `net.params`; "x" for a function.
    size, checked, within : int
        Its entries; those that were checked; those of them whose error is at most rtol.
    worst : Entry
        The checked entry of the largest error.
    reason : str or None
        Why it is not well, where that is recognisable; see `gradient_check`.
    ratio : float or None
        numeric / analytic, where it is not 1 but the same at nearly all entries.
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
        """The share of the checked entries that is within tolerance, from 0 to 1."""
        return self.within / self.checked

    @property
    def ok(self) -> bool:
        """Whether every entry is within tolerance, and that means something."""
        return self.within == self.checked and self.reason is None


@dataclass(frozen=True, repr=False)
class GradientCheck:
    """The result of `gradient_check`: true when all is well; it prints as a table.

    Attributes
    ----------
    parameters : dict of ParameterCheck
        By name, in the order of `net.params`.
    value : float
        f(x), the loss.
    spread : float
        How far evaluations of f at the same point lay apart.
    h, rtol, floor : float
        The step, the tolerance, and the size below which entries are compared absolutely.
    """

    parameters: dict[str, ParameterCheck]
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
        dict of the same keys. A callable is a scalar function f(x) -> one real number.
    x : array_like
        The net's input, handed on as it is; or the point at which f is differentiated, of any
        shape. A float array is perturbed in place; of anything else f is handed a float64 copy.
    t_or_gradient : array_like or callable
        The net's targets, handed on as they are; or f's gradient at x, or a function of x that
        gives it.
    h : float, optional
        The step. By default 1e-4, as in the book; 0.05 if a parameter or f's value is float32, and
        0.2 if one is float16, to rise above the rounding of f.
    rtol : float, optional
        The largest error that is within tolerance: by default 1e-3; 0.02 for float32 and 0.2 for
        float16.
    sample : int, optional
        Check this many random entries of each parameter (all, where it has fewer).
    seed : int
        Seeds the choice of the sample, whose generator is its own.

    Returns
    -------
    GradientCheck
        True when all is well: every entry is within tolerance, and there is none of the reasons
        below. Printed, it is a table of the worst entry of each parameter; its `parameters` are
        dataclasses with the same figures.

    Raises
    ------
    TypeError
        If net_or_f is neither a net nor callable, or arrays do not hold real numbers of up to 64
        bits, or f gives anything but one real number, or an option is not a number of its kind.
    ValueError
        If the keys of the gradients are not those of the parameters; a gradient has another shape
        than its parameter (the transposed one is diagnosed); a parameter is read-only or empty;
        f or the gradient changes a parameter; or an option is not positive (seed: is negative).

    Notes
    -----
    The error of an entry is |numeric - analytic| / max(|numeric|, |analytic|, floor), with floor =
    2 * eps * max(|f|, 1) / h / rtol: differences that the rounding of f explains are no fault. Where
    an entry exceeds rtol, half the step is tried, too, and the two are extrapolated (Richardson), so
    that the error of the formula, about h^2, is no fault either. The book's cross-entropy adds 1e-7
    to each probability y, which its gradient leaves out: an error of 1e-7 / y, which shows where y
    is small. Parameters are put back to the last bit, whatever happens.

    These reasons are recognised:

    - "step below one ulp": x + h == x. A larger h may do.
    - "nan": one of f's values or of the gradient is nan or infinite.
    - "not deterministic": two evaluations of f at the same point differ by more than rounding.
    - "both sides are 0": f does not change, nor should it, so that nothing is proven.
    - "float32 noise": no entry rises above the floor, so that rounding of f explains all of it and
      nothing is proven. A larger h, or float64, may do. (An analytic gradient that is 0 but for its
      own rounding is confirmed, though: such is that of a bias before a batch normalisation.)
    - "transposed": the transpose of the analytic gradient matches at nearly all entries; or it has
      the parameter's shape, and the gradient has not. Then the figures compare the transpose.
    - "analytic is 0" and "numeric is 0": all of it, while the other is not. The gradient is
      missing; or f does not depend on x, perhaps because it reads a copy.
    - "scaled": numeric / analytic is the same at nearly all entries; the batch size is named.
    - "kink within h": the differences on either side disagree, as those of a relu do at 0, at nearly
      all entries that are not within tolerance. A smaller h steps over fewer.

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
    """
    _require_positive("h", h)
    _require_positive("rtol", rtol)
    _require_count("sample", sample, 1)
    _require_count("seed", seed, 0)
    problem = (_net_problem if _is_net(net_or_f) else _function_problem)(net_or_f, x, t_or_gradient)
    generator = np.random.default_rng(seed)
    with _restored(problem.params):
        grads = _gradients(problem)
        scale = _scale(problem, h, rtol)
        measures, values = {}, [_value(problem)]
        for name, param in problem.params.items():
            chosen = np.arange(param.size)
            if sample is not None and sample < param.size:
                chosen = generator.choice(param.size, sample, replace=False)
            measures[name] = _measure(problem, name, grads[name], chosen, scale)
            values.append(_value(problem))
    with np.errstate(invalid="ignore"):
        spread = float(np.max(abs(np.array(values) - scale.value)))
    checks = {name: _diagnose(name, measure, scale, spread, problem.batch) for name, measure in measures.items()}
    return GradientCheck(checks, scale.value, spread, scale.h, scale.rtol, scale.floor)


# ---- What is checked -----------------------------------------------------------------------------


class _Problem(NamedTuple):
    """A scalar function of arrays, which are perturbed in place, and the gradient that it is said to have."""

    f: Callable[[], Any]
    gradient: Callable[[], Any]
    params: dict[str, Array]
    batch: int | None


def _is_net(net: Any) -> bool:
    net_like = all(hasattr(net, name) for name in ("params", "loss", "gradient"))
    if not net_like and not callable(net):
        raise TypeError(f"net_or_f must be callable, or have params, loss and gradient, got {type(net).__name__}")
    return net_like


def _net_problem(net: Any, x: Any, t: Any) -> _Problem:
    if not isinstance(net.params, dict) or not net.params:
        raise TypeError(f"params must be a dict of arrays, got {net.params!r:.60}")
    params = {name: _perturbable(f"params[{name!r}]", param) for name, param in net.params.items()}
    batch = len(x) if isinstance(x, np.ndarray) and x.ndim > 1 else None
    return _Problem(lambda: net.loss(x, t), lambda: net.gradient(x, t), params, batch)


def _function_problem(f: Callable[[Any], Any], x: Any, gradient: Any) -> _Problem:
    point = x
    if not (isinstance(x, np.ndarray) and x.dtype.kind == "f"):
        point = _real("x", x).astype(np.float64)
    params = {"x": _perturbable("x", point)}
    return _Problem(lambda: f(point), lambda: {"x": gradient(point) if callable(gradient) else gradient}, params, None)


def _perturbable(name: str, param: Any) -> Array:
    """A view of a parameter, whose shape f cannot change."""
    if not isinstance(param, np.ndarray) or param.dtype.kind != "f" or param.dtype.itemsize > 8:
        got = param.dtype if isinstance(param, np.ndarray) else type(param).__name__
        raise TypeError(f"{name} must be an array of floats of up to 64 bits, got {got}")
    if not param.flags.writeable:
        raise ValueError(f"{name} must be writable, for it is perturbed in place; it is read-only")
    if not param.size:
        raise ValueError(f"{name} must have entries, got shape {param.shape}")
    return param.view()


def _gradients(problem: _Problem) -> dict[str, Array]:
    """Copies of the gradients in float64, each of its parameter's shape or the transposed one."""
    params, grads = problem.params, problem.gradient()
    if not isinstance(grads, dict):
        raise TypeError(f"gradient must give a dict of arrays, got {type(grads).__name__}")
    if grads.keys() != params.keys():
        missing, unknown = [key for key in params if key not in grads], [key for key in grads if key not in params]
        raise ValueError(f"gradient must have the keys of params: missing are {missing}, unknown are {unknown}")
    copies = {name: _real(f"the gradient of {name}", grads[name]).astype(np.float64) for name in params}
    for name, param in params.items():
        if copies[name].shape not in (param.shape, param.shape[::-1]):
            raise ValueError(f"the gradient of {name} must have its shape, {param.shape}, got {copies[name].shape}")
    return copies


def _real(name: str, value: Any) -> Array:
    result = np.asarray(value)
    if result.dtype.kind not in "biuf" or result.dtype.itemsize > 8:
        raise TypeError(f"{name} must be real numbers of up to 64 bits, got {value!r:.60} of {type(value).__name__}")
    return result


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


@contextmanager
def _restored(params: dict[str, Array]) -> Iterator[None]:
    """Put the parameters back to the last bit, whatever happens."""
    saved = {name: param.copy() for name, param in params.items()}
    try:
        yield
        for name, param in params.items():
            if param.tobytes() != saved[name].tobytes():
                raise ValueError(f"neither f nor its gradient must change {name}")
    finally:
        for name, param in params.items():
            param[...] = saved[name]


# ---- What is measured ----------------------------------------------------------------------------


class _Scale(NamedTuple):
    """f at the point itself, the step, and what counts as equal."""

    value: float
    size: int  # bytes of the narrowest float dtype, whose rounding is f's
    h: float
    rtol: float

    @property
    def rounding(self) -> float:
        """How far rounding takes f, which has numbers of about 1 inside even where it is small itself."""
        return 2 * float(np.finfo(f"f{self.size}").eps) * max(abs(self.value), 1.0)

    @property
    def noise(self) -> float:
        """How far rounding takes a central difference."""
        return self.rounding / self.h

    @property
    def floor(self) -> float:
        return self.noise / self.rtol

    @np.errstate(all="ignore")
    def error(self, numeric: Array, analytic: Array) -> Array:
        return abs(numeric - analytic) / np.maximum(np.maximum(abs(numeric), abs(analytic)), self.floor)


class _Measure(NamedTuple):
    """The checked entries of a parameter, by their flat indices: a number, or two, for each."""

    shape: tuple[int, ...]
    chosen: Array
    numeric: Array
    analytic: Array
    slopes: Array
    lost: Array
    kink: Array
    turned: Array  # the analytic gradient at the transposed place
    flipped: bool  # whether the analytic gradient has the transposed shape


def _scale(problem: _Problem, h: float | None, rtol: float | None) -> _Scale:
    result = _scalar(problem.f())
    floats = [array.dtype for array in (*problem.params.values(), result) if array.dtype.kind == "f"]
    size = min(dtype.itemsize for dtype in floats)
    return _Scale(float(result.item()), size, _STEP[size] if h is None else h, _RTOL[size] if rtol is None else rtol)


def _value(problem: _Problem) -> float:
    return float(_scalar(problem.f()).item())


def _scalar(value: Any) -> Array:
    result = _real("what f gives", value)
    if result.size != 1:
        raise TypeError(f"f must give one real number, got shape {result.shape}")
    return result


def _sides(problem: _Problem, param: Array, chosen: Array, h: float) -> _Sides:
    """The steps to either side as the dtype holds them, and f there: a row for each entry."""
    steps, values = np.empty((2, len(chosen), 2))
    entries = param.flat
    for row, i in enumerate(chosen):
        here = entries[i]
        for side, step in enumerate((-h, h)):
            entries[i] = float(here) + step
            steps[row, side] = float(entries[i]) - float(here)
            values[row, side] = _value(problem)
        entries[i] = here
    return steps, values


@np.errstate(all="ignore")
def _central(steps: Array, values: Array) -> Array:
    """Central differences, divided by the step really taken; nan where there is none."""
    difference = (values[:, 1] - values[:, 0]) / (steps[:, 1] - steps[:, 0])
    return np.where((steps == 0).any(axis=1), np.nan, difference)


def _measure(problem: _Problem, name: str, grad: Array, chosen: Array, scale: _Scale) -> _Measure:
    """Measure the chosen entries, and those that disagree more closely."""
    param = problem.params[name]
    turned = grad.T.ravel()[chosen]
    analytic = grad.ravel()[chosen] if grad.shape == param.shape else turned
    whole = _sides(problem, param, chosen, scale.h)
    numeric, kink = _central(*whole), np.zeros(len(chosen), bool)
    again = np.flatnonzero(scale.error(numeric, analytic) > scale.rtol)
    half = _sides(problem, param, chosen[again], scale.h / 2)
    numeric[again], kink[again] = _look_closer((whole[0][again], whole[1][again]), half, analytic[again], scale)
    return _Measure(
        shape=param.shape,
        chosen=chosen,
        numeric=numeric,
        analytic=analytic,
        slopes=_slopes(*whole, scale.value),
        lost=(whole[0] == 0).any(axis=1),
        kink=kink,
        turned=turned,
        flipped=grad.shape != param.shape,
    )


@np.errstate(all="ignore")
def _look_closer(whole: _Sides, half: _Sides, analytic: Array, scale: _Scale) -> tuple[Array, Array]:
    """Central differences with half the step, too, and whether a kink explains that they disagree."""
    numeric = _central(*whole)
    closer = (4 * _central(*half) - numeric) / 3  # Richardson: without the term in h^2
    agrees = scale.error(closer, analytic) <= scale.rtol
    bend = _bend(whole, half, scale.value)
    # Rounding alone was seen to bend by up to 4 times the noise; for 1.5 see _bend.
    kink = ~agrees & (bend > 4 * scale.noise) & (abs(numeric - analytic) <= 1.5 * bend)
    return np.where(kink | np.isnan(closer), numeric, closer), kink


def _bend(whole: _Sides, half: _Sides, value: float) -> Array:
    """How far the slopes of f over the four halves of the two sides are from lying on a line.

    Those of a smooth function are about h^2 from it. At a kink the slope of f jumps: then this is at
    least two thirds of what the kink does to the central difference, wherever within h it is.
    """
    points, values = (
        np.column_stack([a[:, 0], b[:, 0], np.full(len(a), middle), b[:, 1], a[:, 1]])
        for a, b, middle in zip(whole, half, (0.0, value), strict=True)
    )
    slopes = np.diff(values) / np.diff(points)
    return abs(np.diff(slopes, 2)).max(axis=1)


@np.errstate(all="ignore")
def _slopes(steps: Array, values: Array, value: float) -> Array:
    return (values - value) / steps


# ---- What it means -------------------------------------------------------------------------------


@np.errstate(all="ignore")
def _diagnose(name: str, m: _Measure, scale: _Scale, spread: float, batch: int | None) -> ParameterCheck:
    error, ratio = scale.error(m.numeric, m.analytic), _ratio(m, scale)
    reason = _reason(m, error, ratio, scale, spread, batch)
    worst = int(np.argmax(error))  # nan is the largest of all
    left, right = map(float, m.slopes[worst])
    entry = Entry(
        index=tuple(map(int, np.unravel_index(m.chosen[worst], m.shape))),
        numeric=float(m.numeric[worst]),
        analytic=float(m.analytic[worst]),
        error=float(error[worst]),
        slopes=(left, right),
    )
    within = int(np.sum(error <= scale.rtol))
    return ParameterCheck(name, math.prod(m.shape), len(error), within, entry, reason, ratio)


def _reason(
    m: _Measure, error: Array, ratio: float | None, scale: _Scale, spread: float, batch: int | None
) -> str | None:
    failing = ~(error <= scale.rtol)
    changes, claims = m.numeric.any(), m.analytic.any()
    if m.lost.any():
        return "step below one ulp"
    if not np.isfinite([scale.value, spread, *m.numeric, *m.analytic]).all():
        return "nan"
    if spread > scale.rounding:
        return f"not deterministic: f differs by {spread:.1e}"
    if not changes and not claims:
        return "both sides are 0"
    if m.flipped or _explains(m.turned, m, scale):
        return "transposed"
    if not failing.any():
        return f"float{8 * scale.size} noise, floor {scale.floor:.1e}" if _drowned(m, scale) else None
    if not claims or not changes:
        return "numeric is 0" if claims else "analytic is 0"
    if ratio is not None:
        return f"scaled: numeric / analytic = {_named(ratio, batch, scale.rtol)}"
    if m.kink[failing].mean() >= _NEARLY_ALL:
        return "kink within h: slopes {:.4g} and {:.4g}".format(*m.slopes[int(np.argmax(error))])
    return None


def _drowned(m: _Measure, scale: _Scale) -> bool:
    """Whether no entry rises above the floor, and the analytic gradient is not a mere residue of rounding."""
    numeric, analytic = abs(m.numeric).max(), abs(m.analytic).max()
    return bool(max(numeric, analytic) <= scale.floor and not 0 < analytic < scale.noise / 1000)


def _explains(other: Array, m: _Measure, scale: _Scale) -> bool:
    """Whether nearly all entries that rise above the floor agree with `other`, and more than with the gradient."""
    strong = abs(m.numeric) > scale.floor
    if not strong.any():
        return False
    share, before = (np.mean(scale.error(m.numeric, a)[strong] <= scale.rtol) for a in (other, m.analytic))
    return bool(before < share >= _NEARLY_ALL)


def _ratio(m: _Measure, scale: _Scale) -> float | None:
    """What the analytic gradient must be multiplied by to be right, if it is one number."""
    strong = (abs(m.numeric) > scale.floor) & (m.analytic != 0)
    if strong.sum() < 2:
        return None
    ratio = float(np.median(m.numeric[strong] / m.analytic[strong]))
    return ratio if _explains(ratio * m.analytic, m, scale) else None


def _named(ratio: float, batch: int | None, rtol: float) -> str:
    """A ratio as a whole number or its inverse, if it is one; and whether that is the batch size."""
    size = max(abs(ratio), 1 / abs(ratio))
    whole = round(size)
    if abs(size - whole) > rtol * size:
        return f"{ratio:.4g}"
    sign, inverse = "-" * (ratio < 0), "1/" * (abs(ratio) < 1 and whole > 1)
    return f"{sign}{inverse}{whole}" + ", the batch size" * (whole == batch)
