"""Activations, losses and matrix products in C: the twins of `zerodl_c.reference.functions`.

What each function means, takes and gives is said there, once; here is how it reaches its kernel.
"""

import operator
from collections.abc import Callable
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy import empty, ndarray
from numpy.typing import ArrayLike, NDArray

from . import _bridge as bridge
from ._bridge import FLOAT64, OK, alike, by_pieces, check, finish, lib, must_be_cut, real, reals, room
from .reference import functions as reference
from .reference._arrays import as_array, broadcast_shape
from .reference.functions import _check_affine, _matmul_operands, _rows, _sum_to, identity_function

Array = NDArray[Any]
Function = TypeVar("Function", bound=Callable[..., Any])

__all__ = [
    "affine",
    "affine_backward",
    "cross_entropy_error",
    "dot",
    "identity_function",
    "log_softmax",
    "matmul",
    "matmul_backward",
    "mean_squared_error",
    "relu",
    "relu_backward",
    "relu_grad",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_grad",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_gradient",
    "softmax_loss",
    "step_function",
    "sum_squared_error",
    "tanh",
    "tanh_backward",
]


def _documented(function: Function) -> Function:
    """Give a function the docstring, and so the examples, of its twin in the reference."""
    function.__doc__ = getattr(reference, function.__name__).__doc__
    return function


# ---- Activations ---------------------------------------------------------------------------------

_STEP = lib.np_step
_SIGMOID, _SIGMOID_GRAD = lib.np_sigmoid, lib.np_sigmoid_grad
_SIGMOID_BACKWARD = lib.np_sigmoid_backward
_RELU, _RELU_GRAD, _RELU_BACKWARD = lib.np_relu, lib.np_relu_grad, lib.np_relu_backward
_TANH, _TANH_BACKWARD = lib.np_tanh, lib.np_tanh_backward


@_documented
def step_function(x: ArrayLike) -> Array:
    x, _ = real("x", x)
    y = empty(x.shape, np.int64)
    check(_STEP(id(y), id(x)))
    return finish(y, y.dtype)


@_documented
def sigmoid(x: ArrayLike, out: Array | None = None) -> Array:
    return bridge.elementwise(_SIGMOID, x, out)


@_documented
def sigmoid_grad(x: ArrayLike) -> Array:
    return bridge.elementwise(_SIGMOID_GRAD, x)


@_documented
def sigmoid_backward(dout: ArrayLike, y: ArrayLike) -> Array:
    return bridge.elementwise_backward(_SIGMOID_BACKWARD, dout, y)


@_documented
def relu(x: ArrayLike, out: Array | None = None) -> Array:
    return bridge.elementwise(_RELU, x, out)


@_documented
def relu_grad(x: ArrayLike) -> Array:
    return bridge.elementwise(_RELU_GRAD, x)


@_documented
def relu_backward(dout: ArrayLike, y: ArrayLike) -> Array:
    return bridge.elementwise_backward(_RELU_BACKWARD, dout, y)


@_documented
def tanh(x: ArrayLike, out: Array | None = None) -> Array:
    return bridge.elementwise(_TANH, x, out)


@_documented
def tanh_backward(dout: ArrayLike, y: ArrayLike) -> Array:
    return bridge.elementwise_backward(_TANH_BACKWARD, dout, y)


# ---- Softmax -------------------------------------------------------------------------------------

_SOFTMAX, _LOG_SOFTMAX = lib.np_softmax, lib.np_log_softmax
_SOFTMAX_BACKWARD = lib.np_softmax_backward


@_documented
def softmax(x: ArrayLike, axis: int | None = -1, out: Array | None = None) -> Array:
    if axis == -1 and out is None and type(x) is ndarray and x.ndim:
        y = empty(x.shape, x.dtype)
        if _SOFTMAX(id(y), id(x)) == OK:
            return y
    x, dtype = real("x", x)
    bridge.check_out(out, x.shape, dtype)
    return _along_axis(_SOFTMAX, axis, dtype, out, x)


@_documented
def softmax_backward(dout: ArrayLike, y: ArrayLike, axis: int | None = -1) -> Array:
    dout, y, dtype = reals(dout=dout, y=y)
    return _along_axis(_SOFTMAX_BACKWARD, axis, dtype, None, *alike(dout, y))


@_documented
def log_softmax(x: ArrayLike, axis: int | None = -1) -> Array:
    if axis == -1 and type(x) is ndarray and x.ndim:
        y = empty(x.shape, x.dtype)
        if _LOG_SOFTMAX(id(y), id(x)) == OK:
            return y
    x, dtype = real("x", x)
    return _along_axis(_LOG_SOFTMAX, axis, dtype, None, x)


def _along_axis(
    c: bridge.Kernel, axis: int | None, dtype: np.dtype[Any], out: Array | None, *inputs: Array
) -> Array:
    """c(y, *inputs) for inputs of one shape, by what lies along `axis`, or by everything if it is None."""
    shape = inputs[0].shape
    axis = axis if axis is None else operator.index(axis)
    if axis is not None and axis != -1 and axis != max(len(shape) - 1, 0):
        moved = (np.moveaxis(x, axis, -1) for x in inputs)
        y = np.moveaxis(_along_axis(c, -1, dtype, None, *moved), -1, axis)
        return finish(np.asarray(y, dtype, order="C"), dtype, out)

    inputs = tuple(np.asarray(x, order="C") for x in inputs)
    y = out if out is inputs[0] else room(shape, inputs[0].dtype, out, *inputs)
    rows = [x.reshape(-1) if axis is None else x for x in (y, *inputs)]
    check(c(*map(id, rows)))
    return finish(y, dtype, out)


# ---- Losses --------------------------------------------------------------------------------------

_SUM_OF_SQUARES, _CROSS_ENTROPY = lib.np_sum_of_squares, lib.np_cross_entropy
_SOFTMAX_CROSS_ENTROPY = lib.np_softmax_cross_entropy
_SOFTMAX_CROSS_ENTROPY_BACKWARD = lib.np_softmax_cross_entropy_backward
_SOFTMAX_CROSS_ENTROPY_GRADIENT = lib.np_softmax_cross_entropy_gradient


@_documented
def sum_squared_error(y: ArrayLike, t: ArrayLike) -> Any:
    total, _, dtype = _sum_of_squares(y, t)
    return finish(0.5 * total, dtype)


@_documented
def mean_squared_error(y: ArrayLike, t: ArrayLike) -> Any:
    total, size, dtype = _sum_of_squares(y, t)
    return finish(total / size if size else total * np.nan, dtype)


def _sum_of_squares(y: ArrayLike, t: ArrayLike) -> tuple[Array, int, np.dtype[Any]]:
    y, t, dtype = reals(y=y, t=t)
    y, t = alike(y, t)
    total = empty((), FLOAT64)
    check(_SUM_OF_SQUARES(id(total), id(y), id(t)))
    return total, y.size, dtype


@_documented
def cross_entropy_error(y: ArrayLike, t: ArrayLike) -> Any:
    if type(y) is ndarray and type(t) is ndarray:
        loss = empty((), y.dtype)
        if _CROSS_ENTROPY(id(loss), id(y), id(t)) == OK:
            return loss[()]
    y, dtype = real("y", y)
    y, labels = _labels(y, t)
    loss = empty((), y.dtype)
    check(_CROSS_ENTROPY(id(loss), id(y), id(labels)))
    return finish(loss, dtype)


@_documented
def softmax_loss(X: ArrayLike, t: ArrayLike) -> Any:
    return softmax_cross_entropy(X, t)[0]


@_documented
def softmax_cross_entropy(x: ArrayLike, t: ArrayLike) -> tuple[Any, Array]:
    if type(x) is ndarray and type(t) is ndarray:
        loss, y = empty((), x.dtype), empty(x.shape, x.dtype)
        if _SOFTMAX_CROSS_ENTROPY(id(loss), id(y), id(x), id(t)) == OK:
            return loss[()], y
    x, dtype = real("x", x)
    rows, labels = _labels(x, t)
    loss, y = empty((), x.dtype), empty(rows.shape, x.dtype)
    check(_SOFTMAX_CROSS_ENTROPY(id(loss), id(y), id(rows), id(labels)))
    return finish(loss, dtype), finish(y.reshape(x.shape), dtype)


@_documented
def softmax_cross_entropy_backward(y: ArrayLike, t: ArrayLike) -> Array:
    if type(y) is ndarray and type(t) is ndarray:
        dx = empty(y.shape, y.dtype)
        if _SOFTMAX_CROSS_ENTROPY_BACKWARD(id(dx), id(y), id(t)) == OK:
            return dx
    t = as_array("t", t)
    if t.dtype.kind in "biu":
        y, dtype = real("y", y)
    else:
        y, t, dtype = reals(y=y, t=t)
        y = np.asarray(y, order="C")
    rows, t = _rows(y, t)
    dx = empty(rows.shape, y.dtype)
    t = np.asarray(t, np.int64 if t.ndim == 1 else y.dtype, order="C")
    check(_SOFTMAX_CROSS_ENTROPY_BACKWARD(id(dx), id(rows), id(t)))
    return finish(dx.reshape(y.shape), dtype)


@_documented
def softmax_cross_entropy_gradient(x: ArrayLike, t: ArrayLike) -> tuple[Any, Array]:
    if type(x) is ndarray and type(t) is ndarray:
        loss, dx = empty((), x.dtype), empty(x.shape, x.dtype)
        if _SOFTMAX_CROSS_ENTROPY_GRADIENT(id(loss), id(dx), id(x), id(t)) == OK:
            return loss[()], dx
    x, dtype = real("x", x)
    rows, targets = _rows(x, t)
    if targets.ndim == 1:
        loss, dx, labels = empty((), x.dtype), empty(rows.shape, x.dtype), np.asarray(targets, np.int64)
        check(_SOFTMAX_CROSS_ENTROPY_GRADIENT(id(loss), id(dx), id(rows), id(labels)))
        return finish(loss, dtype), finish(dx.reshape(x.shape), dtype)
    loss, y = softmax_cross_entropy(rows, targets)
    dx = softmax_cross_entropy_backward(y, targets).reshape(x.shape)
    return finish(loss, dtype), finish(dx, dtype if targets.dtype.kind in "biu" else np.result_type(dtype, targets))


def _labels(y: Array, t: ArrayLike) -> tuple[Array, Array]:
    """y as (batch, classes), and the (batch,) int64 labels of t, which holds them or is one-hot."""
    y, t = _rows(y, t)
    return y, np.asarray(t if t.ndim == 1 else t.argmax(axis=1), np.int64, order="C")


# ---- Matrix products -----------------------------------------------------------------------------

_MATMUL, _MATMUL_STACK = lib.np_matmul, lib.np_matmul_stack
_AFFINE, _AFFINE_BACKWARD = lib.np_affine, lib.np_affine_backward


@_documented
def matmul(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    if out is None:
        try:
            (m, _), (_, n) = a.shape, b.shape
            y = empty((m, n), a.dtype)
            if _MATMUL(id(y), id(a), id(b)) == OK:
                return y
        except (AttributeError, TypeError, ValueError):  # no two matrices
            pass
    a, b, dtype = reals(a=a, b=b)
    if not a.ndim or not b.ndim:
        raise ValueError(f"matmul: a and b must not be scalars, got shapes {a.shape}, {b.shape}")
    left = a if a.ndim > 1 else a[None, :]
    right = b if b.ndim > 1 else b[:, None]
    m, k, n = left.shape[-2], left.shape[-1], right.shape[-1]
    if k != right.shape[-2]:
        raise ValueError(
            f"matmul: a and b of shapes {a.shape} and {b.shape} do not match: "
            f"size {right.shape[-2]} is different from {k}"
        )
    stack = shape = ()
    if a.ndim > 2 or b.ndim > 2:
        stack = shape = broadcast_shape(a.shape[:-2], b.shape[:-2])
    if a.ndim > 1:
        shape = (*shape, m)
    if b.ndim > 1:
        shape = (*shape, n)
    bridge.check_out(out, shape, dtype)
    y = room(shape, a.dtype, out, a, b)
    matrices = y.reshape(*stack, m, n)
    if stack:
        _multiply_stack(matrices, left, right)
    else:
        check(_MATMUL(id(matrices), id(left), id(right)))
    return finish(y, dtype, out)


def _multiply_stack(y: Array, a: Array, b: Array) -> None:
    """y[..., m, n] = a[..., m, k] @ b[..., k, n] over the stack that a and b broadcast to."""
    a_offset, b_offset = _offsets(a, y.shape[:-2]), _offsets(b, y.shape[:-2])
    check(_MATMUL_STACK(id(y), id(a), id(a_offset), id(b), id(b_offset)))


def _offsets(x: Array, stack: tuple[int, ...]) -> Array:
    """Where each matrix of the stack begins, in elements from x's first."""
    strides = np.broadcast_to(x, stack + x.shape[-2:]).strides[: len(stack)]
    offsets = np.zeros(stack, np.int64)
    for axis, (length, stride) in enumerate(zip(stack, strides, strict=True)):
        steps = np.arange(length, dtype=np.int64) * (stride // x.itemsize)
        offsets += steps.reshape(-1, *(1,) * (len(stack) - axis - 1))
    return offsets


@_documented
def dot(a: ArrayLike, b: ArrayLike) -> Array:
    a, b, dtype = reals(a=a, b=b)
    if not a.ndim or not b.ndim:
        with np.errstate(all="ignore"):
            return finish(np.asarray(np.multiply(a, b, order="C")), dtype)
    k = b.shape[max(b.ndim - 2, 0)]
    if a.shape[-1] != k:
        raise ValueError(f"dot: shapes {a.shape} and {b.shape} not aligned: {a.shape[-1]} != {k}")
    columns = np.moveaxis(b, -2, 0) if b.ndim > 1 else b
    y = matmul(a.reshape(prod(a.shape[:-1]), k), columns.reshape(k, prod(columns.shape[1:])))
    return finish(y.reshape(a.shape[:-1] + columns.shape[1:]), dtype)


@_documented
def matmul_backward(dout: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    dout, a, b, dtype = reals(dout=dout, a=a, b=b)
    dout, left, right = _matmul_operands(dout, a, b)
    da = _sum_to(matmul(dout, right.swapaxes(-1, -2)), left.shape).reshape(a.shape)
    db = _sum_to(matmul(left.swapaxes(-1, -2), dout), right.shape).reshape(b.shape)
    return finish(da, dtype), finish(db, dtype)


@_documented
def affine(x: ArrayLike, W: ArrayLike, b: ArrayLike) -> Array:
    try:
        (m, _), (_, n) = x.shape, W.shape
        y = empty((m, n), x.dtype)
        if _AFFINE(id(y), id(x), id(W), id(b)) == OK:
            return y
    except (AttributeError, TypeError, ValueError):  # no two matrices
        pass
    if must_be_cut(x, W):
        return by_pieces(lambda rows: affine(rows, W, b), x)
    x, W, b, dtype = reals(x=x, W=W, b=b)
    if b.ndim > 1 or W.ndim == 1:
        return finish(np.asarray(matmul(x, W) + b), dtype)
    if not x.ndim or W.ndim != 2 or x.shape[-1] != W.shape[0]:
        raise ValueError(f"affine: x and W must be (..., k) and (k, n), got {x.shape}, {W.shape}")
    k, n = W.shape
    if b.shape != (n,):
        if b.size != 1:
            raise ValueError(f"affine: b must be of shape ({n},) or one number, got {b.shape}")
        b = np.full(n, b.reshape(()))
    rows, b = x.reshape(prod(x.shape[:-1]), k), np.asarray(b, order="C")
    y = empty((len(rows), n), x.dtype)
    check(_AFFINE(id(y), id(rows), id(W), id(b)))
    return finish(y.reshape(*x.shape[:-1], n), dtype)


@_documented
def affine_backward(dout: ArrayLike, x: ArrayLike, W: ArrayLike) -> tuple[Array, Array, Array]:
    if type(dout) is ndarray and type(x) is ndarray and type(W) is ndarray and W.ndim == 2:
        dx, dW, db = empty(x.shape, x.dtype), empty(W.shape, x.dtype), empty(W.shape[1], x.dtype)
        if _AFFINE_BACKWARD(id(dx), id(dW), id(db), id(dout), id(x), id(W)) == OK:
            return dx, dW, db
    dout, x, W, dtype = _affine_operands(dout, x, W)
    dx, dW, db = empty(x.shape, x.dtype), empty(W.shape, x.dtype), empty(W.shape[1], x.dtype)
    check(_AFFINE_BACKWARD(id(dx), id(dW), id(db), id(dout), id(x), id(W)))
    return finish(dx, dtype), finish(dW, dtype), finish(db, dtype)


def _affine_parameters_backward(dout: ArrayLike, x: ArrayLike, W: ArrayLike) -> tuple[Array, Array]:
    """dW and db of `affine_backward`: all that the first layer of a net needs."""
    dout, x, W, dtype = _affine_operands(dout, x, W)
    dW, db = empty(W.shape, x.dtype), empty(W.shape[1], x.dtype)
    check(_AFFINE_BACKWARD(0, id(dW), id(db), id(dout), id(x), id(W)))
    return finish(dW, dtype), finish(db, dtype)


def _affine_operands(dout: ArrayLike, x: ArrayLike, W: ArrayLike) -> tuple[Any, ...]:
    dout, x, W, dtype = reals(dout=dout, x=x, W=W)
    _check_affine(dout, x, W)
    return np.asarray(dout, order="C"), x, W, dtype
