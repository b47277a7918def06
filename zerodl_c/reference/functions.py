"""Activations, losses and matrix products in NumPy: the formulas of *Deep Learning from Scratch*.

Arrays are floats: integers and bools are taken as float64, float16 is computed in float32 and
given back as float16, and several operands promote as they do in NumPy. A 0-d input gives a NumPy
scalar. `sigmoid_grad` and `relu_grad` take the *input* x of their function; every `..._backward`
takes the gradient `dout` of the loss with respect to the output, and gives it for the inputs.
What each takes, gives and refuses is said in `zerodl_c.functions`; here are the formulas.
"""

from __future__ import annotations

# mypy: allow-redefinition
# (an argument keeps the book's name once it is an array)
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import as_array, broadcast_shape, rows_and_targets

Array = NDArray[Any]


def identity_function(x: ArrayLike) -> Any:
    """Return x itself: the activation of an output layer for regression.

    Examples
    --------
    >>> identity_function(2.5)
    2.5
    """
    return x


def step_function(x: ArrayLike) -> Array:
    """1 where x > 0, else 0, as integers; x has any shape, and nan gives 0."""
    return (as_array("x", x) > 0).astype(int)


def sigmoid(x: ArrayLike, out: Array | None = None) -> Array:
    """1 / (1 + exp(-x)), elementwise for x of any shape."""
    x, dtype = _floats(x=x)
    with np.errstate(over="ignore"):  # exp(1000) is inf, and 1 / inf the right answer
        return _result(1 / (1 + np.exp(-x)), dtype, out)


def sigmoid_grad(x: ArrayLike) -> Array:
    """Derivative of sigmoid at its *input* x: (1 - s) * s with s = sigmoid(x).

    `sigmoid_backward` takes the output instead.
    """
    x, dtype = _floats(x=x)
    s = sigmoid(x)
    return _result((1 - s) * s, dtype)


def sigmoid_backward(dout: ArrayLike, y: ArrayLike) -> Array:
    """dout * y * (1 - y) for the *output* y = sigmoid(x); dout has y's shape."""
    dout, y, dtype = _floats(dout=dout, y=y)
    return _result(dout * y * (1 - y), dtype)


def relu(x: ArrayLike, out: Array | None = None) -> Array:
    """max(x, 0), elementwise for x of any shape; nan stays nan, and -0.0 becomes 0.0."""
    x, dtype = _floats(x=x)
    return _result(np.maximum(x, 0) + 0.0, dtype, out)  # maximum may keep -0.0; adding 0.0 does not


def relu_grad(x: ArrayLike) -> Array:
    """1 where x >= 0, else 0, in x's dtype: the derivative of relu, as the book takes it at 0."""
    x, dtype = _floats(x=x)
    return _result(x >= 0, dtype)


def relu_backward(dout: ArrayLike, y: ArrayLike) -> Array:
    """0 where y <= 0, else dout; y is relu's input or its output, dout has y's shape."""
    dout, y, dtype = _floats(dout=dout, y=y)
    return _result(np.where(y <= 0, 0, dout)[()], dtype)


def tanh(x: ArrayLike, out: Array | None = None) -> Array:
    """Hyperbolic tangent, elementwise for x of any shape."""
    x, dtype = _floats(x=x)
    return _result(np.tanh(x), dtype, out)


def tanh_backward(dout: ArrayLike, y: ArrayLike) -> Array:
    """dout * (1 - y^2) for the *output* y = tanh(x); dout has y's shape."""
    dout, y, dtype = _floats(dout=dout, y=y)
    return _result(dout * (1 - y * y), dtype)


def softmax(x: ArrayLike, axis: int | None = -1, out: Array | None = None) -> Array:
    """exp(x) / sum(exp(x)) along `axis`, or over the whole array if axis is None.

    The maximum is subtracted first, which leaves the ratio as it is and keeps exp from overflowing.
    """
    x, dtype = _floats(x=x)
    with np.errstate(all="ignore"):
        e = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))  # initial: for empty axes
        return _result(e / e.sum(axis=axis, keepdims=True), dtype, out)


def softmax_backward(dout: ArrayLike, y: ArrayLike, axis: int | None = -1) -> Array:
    """y * (dout - sum(dout * y)) for the *output* y = softmax(x, axis); dout has y's shape."""
    dout, y, dtype = _floats(dout=dout, y=y)
    return _result(y * (dout - (dout * y).sum(axis=axis, keepdims=True)), dtype)


def log_softmax(x: ArrayLike, axis: int | None = -1) -> Array:
    """x - log(sum(exp(x))) along `axis`, or over the whole array if axis is None."""
    x, dtype = _floats(x=x)
    with np.errstate(all="ignore"):
        shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
        return _result(shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)), dtype)


def sum_squared_error(y: ArrayLike, t: ArrayLike) -> float:
    """0.5 * sum((y - t)^2), a scalar; y and t have one shape."""
    y, t, dtype = _floats(y=y, t=t)
    with np.errstate(all="ignore"):
        return _result(0.5 * np.sum((y - t) ** 2, dtype=np.float64), dtype)


def mean_squared_error(y: ArrayLike, t: ArrayLike) -> float:
    """mean((y - t)^2), a scalar (nan where there is nothing to average); y and t have one shape."""
    y, t, dtype = _floats(y=y, t=t)
    with np.errstate(all="ignore"):
        squares = (y - t) ** 2
        return _result(np.sum(squares, dtype=np.float64) / squares.size, dtype)


def cross_entropy_error(y: ArrayLike, t: ArrayLike) -> float:
    """-sum(log(y_t + 1e-7)) / batch: the loss of the probabilities y where the right class is t."""
    y, dtype = _floats(y=y)
    y, t = rows_and_targets(y, t)
    labels = t if t.ndim == 1 else t.argmax(axis=1)
    picked = y[np.arange(len(y)), labels].astype(np.float64)
    with np.errstate(all="ignore"):
        return _result(-np.sum(np.log(picked + 1e-7)) / len(y), dtype)


def softmax_loss(X: ArrayLike, t: ArrayLike) -> float:
    """cross_entropy_error(softmax(x), t), a scalar."""
    return softmax_cross_entropy(X, t)[0]


def softmax_cross_entropy(x: ArrayLike, t: ArrayLike) -> tuple[float, Array]:
    """The loss of softmax_loss, and y = softmax(x), which the backward pass needs."""
    x, dtype = _floats(x=x)
    y = softmax(x)
    return _result(cross_entropy_error(y, t), dtype), _result(y, dtype)


def softmax_cross_entropy_backward(y: ArrayLike, t: ArrayLike) -> Array:
    """(y - t) / batch: the gradient of softmax_loss(x, t) with respect to x, from y = softmax(x)."""
    t = as_array("t", t)
    y, dtype = _floats(y=y) if t.dtype.kind in "biu" else _floats(y=y, t=t)[::2]
    rows, t = rows_and_targets(y, t)
    if t.ndim == 1:
        dx = rows.copy()
        dx[np.arange(len(rows)), t] -= 1
    else:
        dx = rows - t.astype(rows.dtype, copy=False)
    dx /= len(rows)
    return _result(dx.reshape(y.shape), dtype)


def softmax_cross_entropy_gradient(x: ArrayLike, t: ArrayLike) -> tuple[float, Array]:
    """The loss of softmax_loss, and its gradient with respect to x: all that training needs."""
    loss, y = softmax_cross_entropy(x, t)
    return loss, softmax_cross_entropy_backward(y, t)


def matmul(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """a @ b, as NumPy's matmul: (..., m, k) by (..., k, n), or 1-D operands; never 0-d ones."""
    a, b, dtype = _floats(a=a, b=b)
    return _result(np.matmul(a, b), dtype, out)


def dot(a: ArrayLike, b: ArrayLike) -> Array:
    """a's last axis times b's last but one (or only) axis, as NumPy's dot, scalars included."""
    a, b, dtype = _floats(a=a, b=b)
    return _result(np.dot(a, b), dtype)


def matmul_backward(dout: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """da = dout @ b.T and db = a.T @ dout for a @ b, each of the shape of its operand.

    dout has the shape of a @ b. Stacks transpose their last two axes; over the axes along which an
    operand was broadcast, its gradient is summed.
    """
    dout, a, b, dtype = _floats(dout=dout, a=a, b=b)
    dout, left, right = _matmul_operands(dout, a, b)
    da = _sum_to(dout @ right.swapaxes(-1, -2), left.shape).reshape(a.shape)
    db = _sum_to(left.swapaxes(-1, -2) @ dout, right.shape).reshape(b.shape)
    return _result(da, dtype), _result(db, dtype)


def affine(x: ArrayLike, W: ArrayLike, b: ArrayLike) -> Array:
    """x @ W + b: (batch, inputs) @ (inputs, outputs) + (outputs,).

    b may be one number, too.
    """
    x, W, b, dtype = _floats(x=x, W=W, b=b)
    return _result(x @ W + b, dtype)


def affine_backward(dout: ArrayLike, x: ArrayLike, W: ArrayLike) -> tuple[Array, Array, Array]:
    """dx = dout @ W.T, dW = x.T @ dout and db = sum of dout's rows, for 2-D x @ W + b."""
    dout, x, W, dtype = _floats(dout=dout, x=x, W=W)
    _check_affine(dout, x, W)
    dx, dW, db = dout @ W.T, x.T @ dout, dout.sum(axis=0)
    return _result(dx, dtype), _result(dW, dtype), _result(db, dtype)


def _floats(**operands: Any) -> Any:
    """The operands as arrays of the float dtype to compute in, then the dtype of the result."""
    values = [x if isinstance(x, (int, float)) else as_array(name, x) for name, x in operands.items()]
    dtype = np.result_type(*values)
    if dtype.kind in "biu":
        dtype = np.dtype(np.float64)
    compute = np.float32 if dtype == np.float16 else dtype
    return *(np.asarray(x, compute) for x in values), dtype


def _result(value: Any, dtype: np.dtype[Any], out: Array | None = None) -> Any:
    """The value in the dtype of the result, in `out` where one is given."""
    result: Array = value.astype(dtype, copy=False)
    if out is None:
        return result
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        got = getattr(out, "dtype", type(out).__name__)
        raise TypeError(f"out must be an array of dtype {dtype}, got {got}")
    if out.shape != result.shape or not out.flags.writeable:
        got = f"shape {out.shape}" if out.flags.writeable else "a read-only array"
        raise ValueError(f"out must be writable and of shape {result.shape}, got {got}")
    out[...] = result
    return out


def _check_affine(dout: Array, x: Array, W: Array) -> None:
    """ValueError unless dout has the shape of x @ W, all 2-D."""
    fits = dout.ndim == x.ndim == W.ndim == 2
    if not fits or x.shape[1] != W.shape[0] or dout.shape != (x.shape[0], W.shape[1]):
        shapes = f"{dout.shape}, {x.shape} and {W.shape}"
        raise ValueError(f"dout, x and W must be (m, n), (m, k) and (k, n), got {shapes}")


def _matmul_operands(dout: Array, a: Array, b: Array) -> tuple[Array, Array, Array]:
    """dout as (..., m, n), a as (..., m, k) and b as (..., k, n), for a and b of matmul."""
    if not a.ndim or not b.ndim:
        raise ValueError(f"a and b must have a dimension at least, got shapes {a.shape}, {b.shape}")
    left = a if a.ndim > 1 else a[None, :]
    right = b if b.ndim > 1 else b[:, None]
    stack = broadcast_shape(left.shape[:-2], right.shape[:-2])
    shape = stack + left.shape[-2:-1] * (a.ndim > 1) + right.shape[-1:] * (b.ndim > 1)
    if left.shape[-1] != right.shape[-2]:
        raise ValueError(f"a @ b must be possible, got shapes {a.shape} and {b.shape}")
    if dout.shape != shape:
        raise ValueError(f"dout must have the shape of a @ b, {shape}, got {dout.shape}")
    return dout.reshape(*stack, left.shape[-2], right.shape[-1]), left, right


def _sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """x summed over the axes along which an array of `shape` was broadcast to x's shape."""
    extra = x.ndim - len(shape)
    axes = tuple(i for i, n in enumerate(x.shape) if i < extra or n != shape[i - extra])
    return x.sum(axis=axes).reshape(shape) if axes else x
