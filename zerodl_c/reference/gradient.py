"""Central differences of a Python function: derivatives, gradients, and descent along them.

A float array x is perturbed in place, one entry at a time, because the book's functions read their
parameter through a closure and ignore their argument; whatever happens, x is put back to the last
bit. Integers, lists and numbers cannot hold x + h: f is handed a float copy, and must read that.
"""

import operator
from collections.abc import Callable
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[Any]


def numerical_diff(f: Callable[..., Any], x: ArrayLike, h: float = 1e-4) -> Any:
    """Derivative of f at x, (f(x + h) - f(x - h)) / 2h; elementwise where x is an array.

    Parameters
    ----------
    f : callable
        Called as f(x + h) and f(x - h), in float64 whatever x is.
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
        If f is not callable or gives something that is not real, or x or h is not real.
    ValueError
        If h is not positive and finite, or x + h == x or x - h == x for some entry.

    Examples
    --------
    >>> print(numerical_diff(lambda x: 0.01 * x**2 + 0.1 * x, 5))
    0.1999999999990898
    """
    values = _real_array(f, x)
    dtype = _float_dtype(values)
    ahead, behind, width = _steps(values.astype(np.float64), _positive(h))
    return ((_real_result(f(ahead)) - _real_result(f(behind))) / width).astype(dtype)


def numerical_gradient(f: Callable[..., Any], x: ArrayLike, h: float | None = None) -> Any:
    """Gradient of the scalar function f at x, by central differences in each entry of x.

    Parameters
    ----------
    f : callable
        f(x) -> one real number, called twice for each entry.
    x : array_like
        Any shape. A float array must be writable: it is perturbed in place while f runs, and put
        back even if f raises. Of integers, lists, tuples and numbers f is handed a float copy.
    h : float, optional
        The step, used as given. By default 1e-4 for float64, as in the book, and
        eps^(1/3) * max(|x|, 1) of the dtype's eps for float32 (0.0049) and float16 (0.1), where
        it balances the rounding of f, about eps / h, against the error of the formula, about h^2.

    Returns
    -------
    ndarray or scalar
        C-contiguous, of x's shape and float dtype; float64 for integers.

    Raises
    ------
    TypeError
        If f is not callable or gives anything but one real number, or x or h is not real.
    ValueError
        If x is a read-only float array; h is not positive and finite, or so small that x + h == x
        or x - h == x for some entry; f changes its argument; or f, handed a copy of x, reads x
        itself or ignores its argument, so that the copy would give a false gradient, mostly zeros.

    Notes
    -----
    Float64 differences are divided by 2h, so that figures are the book's to the last bit; where
    |x| > 1e12, the default step is below one ulp of x and the gradient is 0, also as in the book.
    Narrower ones are divided by the step really taken, (x + h) - (x - h) after rounding.

    Whether f reads a copy is found out by changing x for a moment, if it is a writable array (then
    f must not notice), or else the copy (then f must notice); a constant f is accepted only in the
    first case. It costs up to seven calls of f.

    Examples
    --------
    >>> numerical_gradient(lambda x: x[0] ** 2 + x[1] ** 2, np.array([3.0, 4.0]))
    array([6., 8.])
    """
    values = _real_array(f, x)
    in_place = isinstance(x, np.ndarray) and values.dtype.kind == "f"
    if in_place and not values.flags.writeable:
        raise ValueError("x must be writable, for it is perturbed in place; it is read-only")
    if not in_place:
        values = values.astype(_float_dtype(values))
    ahead, behind, width = _steps(values, h if h is None else _positive(h))
    if not in_place:
        _require_read(f, x, values)
    argument = x if in_place else values

    saved, entries = values.copy(), values.flat
    difference = np.empty(values.size)
    try:
        for i, (here, up, down) in enumerate(zip(saved.flat, ahead.flat, behind.flat, strict=True)):
            entries[i] = up
            forward = _number(f(argument))
            entries[i] = down
            difference[i] = forward - _number(f(argument))
            entries[i] = here
        if values.tobytes() != saved.tobytes():
            raise ValueError("f must not change its argument")
    finally:
        values[...] = saved
    return (difference.reshape(values.shape) / width).astype(values.dtype, copy=False)


def numerical_gradient_2d(f: Callable[..., Any], X: ArrayLike) -> Any:
    """The gradient at X, if it is 1-D; else the gradients of f at each row of a 2-D X, as rows.

    f is handed one row at a time, a view of X. Errors are those of `numerical_gradient`.

    Examples
    --------
    >>> numerical_gradient_2d(lambda x: np.sum(x**2), np.array([[3.0, 4.0], [0.0, 2.0]]))
    array([[6., 8.],
           [0., 4.]])
    """
    values = _real_array(f, X, "X")
    if values.ndim == 1:
        return _numerical_gradient_1d(f, X)
    if values.ndim != 2:
        raise ValueError(f"X must be 1-D or 2-D, got shape {values.shape}")
    grad = np.empty(values.shape, _float_dtype(values))
    for i, row in enumerate(X):  # type: ignore[arg-type]  # a row of a list is a list
        grad[i] = _numerical_gradient_1d(f, row)
    return grad


def _numerical_gradient_1d(f: Callable[..., Any], x: ArrayLike) -> Any:
    """`numerical_gradient` of a 1-D x."""
    if np.ndim(x) != 1:
        raise ValueError(f"x must be 1-D, got shape {np.shape(x)}")
    return numerical_gradient(f, x)


def gradient_descent(
    f: Callable[..., Any], init_x: ArrayLike, lr: float = 0.01, step_num: int = 100
) -> Array:
    """Follow the gradient of f downhill from init_x: step_num times x -= lr * gradient.

    Parameters
    ----------
    f : callable
        f(x) -> one real number. x is a copy of init_x: f must read its argument, and is refused
        with a ValueError if it reads init_x itself (see `numerical_gradient`).
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
    values = _real_array(f, init_x, "init_x")
    if not isinstance(lr, Real):
        raise TypeError(f"lr must be a real number, got {type(lr).__name__}")
    if operator.index(step_num) < 0:
        raise ValueError(f"step_num must be 0 or more, got {step_num}")
    x = values.astype(_float_dtype(values))
    _require_read(f, init_x, x)
    for _ in range(step_num):
        x -= lr * numerical_gradient(f, x)
    return x


def _real_array(f: Callable[..., Any], x: ArrayLike, name: str = "x") -> Array:
    """x as an array (a view, whose shape f cannot change), once f and x are what they must be."""
    if not callable(f):
        raise TypeError(f"f must be callable, got {type(f).__name__}")
    values = np.asarray(x).view()
    if values.dtype.kind not in "biuf" or values.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers of up to 64 bits, got dtype {values.dtype}")
    return values


def _float_dtype(values: Array) -> np.dtype[Any]:
    return values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)


def _positive(h: float) -> float:
    if not isinstance(h, Real):
        raise TypeError(f"h must be a real number, got {type(h).__name__}")
    if not 0 < h < np.inf:
        raise ValueError(f"h must be positive and finite, got {h}")
    return float(h)


def _steps(x: Array, h: float | None) -> tuple[Array, Array, Any]:
    """x + h and x - h as x's dtype holds them, and the distance to divide by."""
    double = x.dtype.itemsize == 8
    if double and h is None:
        return x + 1e-4, x - 1e-4, 2e-4
    centre = x.astype(np.float64, order="C")
    step: Any = h
    with np.errstate(all="ignore"):
        if h is None:
            step = np.cbrt(float(np.finfo(x.dtype).eps)) * np.maximum(abs(centre), 1)
        ahead, behind = (centre + step).astype(x.dtype), (centre - step).astype(x.dtype)
        width = 2 * step if double else ahead.astype(np.float64) - behind.astype(np.float64)
    lost = (ahead == x) | (behind == x)
    if h is not None and lost.any():
        i = tuple(map(int, np.argwhere(lost)[0]))
        raise ValueError(f"h = {h} is lost in x = {x[i]} at index {i}: x + h or x - h is x again")
    return ahead, behind, width


def _require_read(f: Callable[..., Any], x: ArrayLike, copy: Array) -> None:
    """Refuse an f that reads x itself, or ignores the copy of x that it is handed."""
    if not copy.size:
        return
    if isinstance(x, np.ndarray) and x.flags.writeable:
        # An f that is not repeatable seems to notice everything, and is not to blame for that.
        if _notices(f, copy.copy(), x) and _number(f(copy.copy())) == _number(f(copy.copy())):
            raise ValueError(
                "f must read x through its argument alone, which is a float copy of x, but its "
                "value depends on x itself (where x is meant as a constant, pass x.copy())"
            )
    elif not _notices(f, copy, copy):
        raise ValueError(
            "f must read its argument, which is a float copy of x, but its value is the same for "
            "any argument (pass x as a float array, which is perturbed in place)"
        )


def _notices(f: Callable[..., Any], argument: Array, watched: Array) -> bool:
    """Whether f(argument) changes with the entries of `watched`, which are put back."""
    value = _number(f(argument))
    saved, other = watched.copy(), np.random.default_rng(0).integers(1, 128, watched.shape)
    odd = np.arange(watched.size).reshape(watched.shape) % 2  # bools need zeros among the ones
    try:
        for values in (0 * other, other, odd * other, (odd - 1) * other):
            watched[...] = values
            try:
                with np.errstate(all="ignore"):
                    seen = _number(f(argument))
            except Exception:  # f cannot take such entries: it has noticed them
                return True
            if not np.array_equal(seen, value, equal_nan=True):
                return True
        return False
    finally:
        watched[...] = saved


def _number(value: Any) -> float:
    """What f gave, as a float: at once, for f may hand out one buffer again and again."""
    if isinstance(value, (float, int)):
        return float(value)
    result = _real_result(value)
    if result.size != 1:
        raise TypeError(f"f must give one real number, got shape {result.shape}")
    return float(result.item())


def _real_result(value: Any) -> Array:
    result = np.asarray(value)
    if result.dtype.kind not in "biuf":
        raise TypeError(f"f must give real numbers, got {value!r:.60} of {type(value).__name__}")
    return result.astype(np.float64)
