"""Central differences: derivatives, gradients, and descent along them.

A float array x is perturbed in place, one entry at a time, because the book's functions read their parameter through a
closure and ignore their argument. x is always restored to the last bit, even after an error. Integers, lists and
numbers cannot hold x + h, so f gets a float copy and must read that.
"""

from __future__ import annotations

import operator
from numbers import Real
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import as_array, float_dtype
from .auto_step import find_step
from .c_function import c_function
from .evaluate import (
    Copies,
    Evaluator,
    Function,
    InPlace,
    OfOneShape,
    Progress,
    Reader,
    Workers,
    check_progress,
    count_workers,
    number,
    plain,
    real_result,
    reporting,
    require_read,
)
from .formula import GradientInfo, check_step, combine, default_step, points_around, require_kept, rounding

if TYPE_CHECKING:
    from typing_extensions import Unpack

Array = NDArray[Any]
Step = float | Literal["auto"] | None
Order = Literal[2, 4]


class Options(TypedDict, total=False):
    """What `numerical_gradient` and `numerical_jacobian` take besides; the types say so once."""

    args: Any
    vectorized: bool
    workers: Workers
    progress: Progress
    order: Order


def numerical_diff(f: Function, x: ArrayLike, h: float = 1e-4) -> Array:
    """Derivative of f at x, (f(x + h) - f(x - h)) / 2h; elementwise where x is an array.

    Parameters
    ----------
    f : callable
        Called as f(x + h) and f(x - h), always with float64.
    x : array_like
        Any shape; not changed.
    h : float
        The step, in both directions.

    Returns
    -------
    ndarray or scalar
        Of x's float dtype; float64 for integers.

    Raises
    ------
    TypeError
        If f is not callable or gives something that is not real, or x or h is not real, or x is a
        matrix, a masked array or the like, because f gets plain arrays.
    ValueError
        If h is not positive and finite, or x + h == x or x - h == x for some entry.

    Examples
    --------
    >>> print(numerical_diff(lambda x: 0.01 * x**2 + 0.1 * x, 5))
    0.1999999999990898
    """
    values = _real_array(f, plain("x", x))
    check_step(h)
    h, centre = float(h), values.astype(np.float64)
    points, _ = points_around(centre, h, pairs=1)
    require_kept(h, centre, points)
    ahead, behind = (points[:, i].reshape(values.shape)[()] for i in (0, 1))
    return ((real_result(f(ahead)) - real_result(f(behind))) / (2 * h)).astype(float_dtype(values))


@overload
def numerical_gradient(
    f: Any,
    x: ArrayLike,
    h: Step = None,
    *,
    full_output: Literal[False] = False,
    plain_loop: bool = False,
    **options: Unpack[Options],
) -> Array: ...
@overload
def numerical_gradient(
    f: Any,
    x: ArrayLike,
    h: Step = None,
    *,
    full_output: Literal[True],
    plain_loop: bool = False,
    **options: Unpack[Options],
) -> tuple[Array, GradientInfo]: ...
@overload
def numerical_gradient(
    f: Any, x: ArrayLike, h: Step = None, *, full_output: bool, plain_loop: bool = False, **options: Unpack[Options]
) -> Array | tuple[Array, GradientInfo]: ...
def numerical_gradient(
    f: Any,
    x: ArrayLike,
    h: Step = None,
    *,
    args: Any = (),
    vectorized: bool = False,
    workers: Workers = 1,
    progress: Progress = False,
    order: Order = 2,
    full_output: bool = False,
    plain_loop: bool = False,
) -> Any:
    """Gradient of the scalar function f at x, by central differences in each entry of x.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` -> one real number, called twice for each entry, unless a plan is found (see the
        notes). Or a C function
        `double f(const double *x, ptrdiff_t n, void *data)`: a function pointer of cffi or ctypes, a
        numba `cfunc`, or a `scipy.LowLevelCallable`, which brings data. In `zerodl_c` the loop around
        it then runs in C, without the GIL, on all threads (see `set_num_threads`); in
        `zerodl_c.reference` in Python.
    x : array_like
        Any shape. A writable float array is perturbed in place while f runs, and put back even if f
        raises. Of a read-only array, integers, lists, tuples and numbers f is handed a float copy. So it
        is with `vectorized`, with `workers`, and with a C function, which is handed float64.
    h : float or "auto", optional
        The step, used as given. By default 1e-4 for float64, as in the book, and
        ``eps^(1 / (order + 1)) * max(|x|, 1)`` of the dtype's eps for float32 (0.0049 for order 2) and
        float16 (0.1), where it balances the rounding of f, about eps / h, against the error of the
        formula. "auto" finds a step for the entries of each magnitude from the noise and the curvature of f. It
        takes some tens of evaluations for each decade of magnitudes.
    args : tuple
        What f takes after x; anything else than a tuple is one argument. Of a C function () only, as a
        `scipy.LowLevelCallable` brings its data.
    vectorized : bool
        Whether f takes a stack of k arguments, of shape ``(k, *x.shape)``, and returns k real numbers. A
        stack has at most 2^20 numbers, or only one argument.
    workers : int or callable
        The number of threads that call f, or -1 for one on each core; or a map, called as
        workers(function, blocks), such as the `map` method of a pool of `concurrent.futures`,
        `multiprocessing` or `mpi4py.futures`. Its results may come in any order. Each worker has its
        own copy of x. For a pool of processes, f must be one that can be pickled.
    progress : bool or callable
        True shows a bar of tqdm, with the time left; a callable is called as progress(done, total)
        with numbers of evaluations, after each entry or, with `vectorized`, `workers`, a C function
        or a plan, after some of them.
    order : {2, 4}
        The order of the formula's error in h. 4 takes two more evaluations for each entry, at
        x + 2h and x - 2h.
    full_output : bool
        Whether to also return `info`. It takes two more evaluations for each entry, at twice the
        largest step. The gradient stays the same.

    Returns
    -------
    gradient : ndarray or scalar
        C-contiguous, of x's shape and float dtype; float64 for integers.
    info : GradientInfo
        With `full_output` only: `info.error`, an estimate of each entry's error; `info.step`, each
        entry's step; `info.evaluations`, how often f was evaluated; `info.way`, by a plan or at every
        point, and why.

    Raises
    ------
    TypeError
        If f is not callable or gives anything but one real number (or, `vectorized`, k of them), or
        is a C function of another form; or x or h is not real, or workers or progress has a
        wrong type; or x is a matrix, a masked array or the like, of which f would get a copy of
        another type; or x has masked entries.
    ValueError
        If h is not positive and finite, or so small that x + h == x or x - h == x for some entry;
        workers or order is out of range; a C function is given with args, `vectorized` or `workers`; f
        changes its argument; or f, handed a copy of x, reads x itself or ignores its argument, so that
        the copy would give a false gradient, mostly zeros.
    ImportError
        If progress is True and tqdm is not installed.

    Notes
    -----
    Float64 differences are divided by 2h, so that figures are the book's to the last bit; where
    ``|x| > 1e12``, the default step is below one ulp of x and the gradient is 0, also as in the book.
    Narrower ones, and those of "auto", are divided by the step really taken, (x + h) - (x - h) after
    rounding. Order 4 is (4 D(h) - D(2h)) / 3 (Abramowitz and Stegun, 25.3.24).

    If f is a chain of layers of `zerodl_c`, from one with x as W or b to the loss, and x has at least
    32 entries, f is called only some 30 times. f is watched while it runs once, and all differences are
    computed from the layers that were seen. Further calls of f prove that the differences are those of
    f before they are returned. `docs/plans.md` says how.

    Where f gets a copy, a test finds out whether f reads it. If x is a writable array, x is changed for
    a moment, and f's value must stay the same. Otherwise the copy is changed, and f's value must change,
    so that a constant f is refused. This takes two calls of f for a float array, and up to seven for
    other x.

    Examples
    --------
    >>> numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 2, np.array([3.0, 4.0]))
    array([6., 8.])
    >>> gradient, info = numerical_gradient(np.prod, [3.0, 4.0], order=4, full_output=True)
    >>> bool((info.error < 1e-9).all()), info.step
    (True, array([0.0001, 0.0001]))
    >>> numerical_gradient(lambda x: np.exp(x).sum(axis=1), [0.0, 0.0], vectorized=True)
    array([1., 1.])
    """
    evaluator = evaluator_of(f, x, args, vectorized, workers, Copies)
    return central_differences(evaluator, h, progress, order, full_output)


@overload
def numerical_jacobian(
    f: Function, x: ArrayLike, h: Step = None, *, full_output: Literal[False] = False, **options: Unpack[Options]
) -> Array: ...
@overload
def numerical_jacobian(
    f: Function, x: ArrayLike, h: Step = None, *, full_output: Literal[True], **options: Unpack[Options]
) -> tuple[Array, GradientInfo]: ...
@overload
def numerical_jacobian(
    f: Function, x: ArrayLike, h: Step = None, *, full_output: bool, **options: Unpack[Options]
) -> Array | tuple[Array, GradientInfo]: ...
def numerical_jacobian(
    f: Function,
    x: ArrayLike,
    h: Step = None,
    *,
    args: Any = (),
    vectorized: bool = False,
    workers: Workers = 1,
    progress: Progress = False,
    order: Order = 2,
    full_output: bool = False,
) -> Any:
    """All derivatives at x of a function f that gives an array, by central differences in each entry of x.

    Parameters
    ----------
    f : callable
        ``f(x, *args)`` -> real numbers, in an array of any shape, which is the same at each call.
    x : array_like
        Any shape. A writable float array is perturbed in place while f runs, as by `numerical_gradient`.
    h, args, workers, progress, order, full_output
        As those of `numerical_gradient`. "auto" finds steps that fit a sum of what f gives.
    vectorized : bool
        Whether f takes a stack of k arguments, of shape ``(k, *x.shape)``, and gives k results, of shape
        ``(k, *shape)``.

    Returns
    -------
    jacobian : ndarray or scalar
        Of the shape of what f gives, followed by x's: entry (i, j) is the derivative of f's entry i by
        x's entry j, where each may be several indices. C-contiguous, of x's float dtype; float64 for integers.
    info : GradientInfo
        With `full_output` only: of `numerical_gradient`, but `info.error` has the Jacobian's shape.

    Raises
    ------
    TypeError
        If f gives something that is not real, or is a C function, which gives one number; and as by
        `numerical_gradient`.
    ValueError
        If f gives another shape than before; and as by `numerical_gradient`.
    ImportError
        If progress is True and tqdm is not installed.

    Notes
    -----
    f is called once at x for the shape of what it gives, also where x is empty, and then as by
    `numerical_gradient`.

    Examples
    --------
    >>> A = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> numerical_jacobian(lambda x: A @ x, [0.0, 0.0])
    array([[1., 2.],
           [3., 4.],
           [5., 6.]])
    >>> numerical_jacobian(lambda x, power: x**power, [1.0, 2.0], args=(2,)).round(8)
    array([[2., 0.],
           [0., 4.]])
    """
    if c_function(f) is not None:
        raise TypeError("f must be a Python function, for a C function gives one number: use numerical_gradient")
    evaluator = evaluator_of(f, x, args, vectorized, workers, Copies, OfOneShape())
    return central_differences(evaluator, h, progress, order, full_output)


def evaluator_of(
    f: Any,
    x: ArrayLike,
    args: Any,
    vectorized: bool,
    workers: Workers,
    for_c: type[Copies],
    reader: Reader | None = None,
) -> InPlace | Copies:
    """The evaluator of f around x. For a C function it is of the type `for_c`."""
    c = c_function(f)
    values, workers = _real_array(c or f, x), count_workers(workers)
    args = args if isinstance(args, tuple) else (args,)
    if c is None:
        f = _WithArgs(f, args) if args else f
        if vectorized or workers != 1:
            return Copies(f, values, x, bool(vectorized), workers, reader)
        return InPlace(f, values, x, reader)
    if args:
        raise ValueError("args must be () for a C function: hand it its data by a scipy.LowLevelCallable")
    for name, value, default in (("vectorized", bool(vectorized), False), ("workers", workers, 1)):
        if value != default:
            raise ValueError(f"{name} must be {default} for a C function, which runs on all threads, got {value}")
    return for_c(c, values.astype(np.float64), x)


class _WithArgs:
    """f(x, *args) as a function of x, which can be pickled if f and args can."""

    def __init__(self, f: Function, args: tuple[Any, ...]) -> None:
        self.f, self.args = f, args

    def __call__(self, x: Any) -> Any:
        return self.f(x, *self.args)


def central_differences(evaluator: Evaluator, h: Any, progress: Progress, order: int, full_output: bool) -> Any:
    """What `numerical_gradient` and `numerical_jacobian` return, from f as the evaluator evaluates it."""
    if h is not None:
        check_step(h, "auto")
    if order not in (2, 4):
        raise ValueError(f"order must be 2 or 4, got {order!r}")
    check_progress(progress)
    points, widths = _points(evaluator, h, order, pairs=order // 2 + bool(full_output))
    with reporting(progress, points.size) as report:
        values = np.moveaxis(evaluator.values(points, report), (0, 1), (-2, -1))
    x = evaluator.x
    shape = values.shape[:-2] + x.shape
    with np.errstate(all="ignore"):
        slope, error = combine(values, widths, order)
        gradient = slope.reshape(shape).astype(evaluator.dtype, order="C")[()]
        if not full_output:
            return gradient
        values += evaluator.offset
        error += rounding(values) * abs(values).max(axis=-1) / widths[:, 0]
    step = widths[:, 0] / 2
    return gradient, GradientInfo(
        error.reshape(shape)[()], step.reshape(x.shape)[()], evaluator.evaluations, evaluator.way
    )


def _points(evaluator: Evaluator, h: Any, order: int, pairs: int) -> tuple[Array, Array]:
    """The points at which to evaluate f, and the distances to divide by. Checks h and f first."""
    x = evaluator.x
    if isinstance(h, str):
        evaluator.prepare()
        return points_around(x, find_step(evaluator, order), pairs, exact=True)
    points, widths = points_around(x, default_step(x, order) if h is None else float(h), pairs)
    if h is not None:
        require_kept(h, x, points)
    evaluator.prepare()
    return points, widths


def numerical_gradient_2d(f: Function, X: ArrayLike) -> Array:
    """The gradient at X, if it is 1-D; else the gradients of f at each row of a 2-D X, as rows.

    f gets one row at a time, a view of X. Errors are those of `numerical_gradient`.

    Examples
    --------
    >>> numerical_gradient_2d(lambda x: np.sum(x**2), np.array([[3.0, 4.0], [0.0, 2.0]]))
    array([[6., 8.],
           [0., 4.]])
    """
    values = _real_array(f, plain("X", X), "X")
    if values.ndim == 1:
        return _numerical_gradient_1d(f, X)
    if values.ndim != 2:
        raise ValueError(f"X must be 1-D or 2-D, got shape {values.shape}")
    grad = np.empty(values.shape, float_dtype(values))
    for i, row in enumerate(X):  # type: ignore[arg-type]  # a row of a list is a list
        grad[i] = _numerical_gradient_1d(f, row)
    return grad


def _numerical_gradient_1d(f: Function, x: ArrayLike) -> Array:
    """`numerical_gradient` of a 1-D x."""
    if np.ndim(x) != 1:
        raise ValueError(f"x must be 1-D, got shape {np.shape(x)}")
    return numerical_gradient(f, x)


def gradient_descent(f: Function, init_x: ArrayLike, lr: float = 0.01, step_num: int = 100) -> Array:
    """Follow the gradient of f downhill from init_x: step_num times x -= lr * gradient.

    Parameters
    ----------
    f : callable
        f(x) -> one real number. x is a copy of init_x, so f must read its argument. A ValueError is
        raised if it reads init_x itself (see `numerical_gradient`).
    init_x : array_like
        Any shape; not changed.
    lr : float
        Learning rate.
    step_num : int
        Number of steps, 0 or more.

    Returns
    -------
    ndarray
        The last x, of init_x's shape and float dtype; float64 for integers.

    Examples
    --------
    >>> gradient_descent(lambda x: x[0] ** 2 + x[1] ** 2, [-3.0, 4.0], lr=0.1)
    array([-6.11110793e-10,  8.14814391e-10])
    """
    values = _real_array(f, plain("init_x", init_x), "init_x")
    if not isinstance(lr, Real):
        raise TypeError(f"lr must be a real number, got {type(lr).__name__}")
    if operator.index(step_num) < 0:
        raise ValueError(f"step_num must be 0 or more, got {step_num}")
    x = values.astype(float_dtype(values))
    require_read(lambda point: number(f(point)), init_x, x)
    for _ in range(step_num):
        x -= lr * numerical_gradient(f, x)
    return x


def _real_array(f: Any, x: ArrayLike, name: str = "x") -> Array:
    """x as an array, which is a view so that f cannot change its shape. Checks f and x first."""
    if not callable(f):
        raise TypeError(f"f must be callable, got {type(f).__name__}")
    values = as_array(name, x).view()
    if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers of up to 64 bits, got dtype {values.dtype}")
    return values
