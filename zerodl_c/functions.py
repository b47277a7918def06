"""Activations, losses and matrix products in C: the twins of `zerodl_c.reference.functions`.

All functions compute with floats. Integers and bools are converted to float64. Float16 is computed in float32, and the
result is float16. Several operands promote as they do in NumPy. A 0-d input gives a NumPy scalar.

`sigmoid_grad` and `relu_grad` take the *input* x of their function. Each `..._backward` takes `dout`, the gradient of
the loss with respect to the output, and returns the gradient with respect to the inputs.
"""

from __future__ import annotations

import operator
from math import prod
from typing import Any

import numpy as np
from numpy import empty, ndarray
from numpy.typing import ArrayLike, NDArray

from . import _bridge as bridge
from ._arrays import as_array, broadcast_shape, rows_and_targets
from ._bridge import (
    FLOAT64,
    OK,
    broadcast,
    by_pieces,
    check,
    finish,
    lib,
    must_be_cut,
    output_array,
    real,
    reals,
    widened,
)
from .reference.functions import _check_affine, _matmul_operands, _sum_to, identity_function

Array = NDArray[Any]

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


# ---- Activations ---------------------------------------------------------------------------------

_STEP = lib.np_step
_SIGMOID, _SIGMOID_GRAD = lib.np_sigmoid, lib.np_sigmoid_grad
_SIGMOID_BACKWARD = lib.np_sigmoid_backward
_RELU, _RELU_GRAD, _RELU_BACKWARD = lib.np_relu, lib.np_relu_grad, lib.np_relu_backward
_TANH, _TANH_BACKWARD = lib.np_tanh, lib.np_tanh_backward


def step_function(x: ArrayLike) -> Array:
    """1 where x > 0, else 0, as integers; x has any shape, and nan gives 0.

    Parameters
    ----------
    x : array_like
        Of any shape.

    Returns
    -------
    ndarray of int64, of x's shape

    Raises
    ------
    TypeError
        If x is not real: complex numbers, strings, objects.

    Examples
    --------
    >>> step_function([-1.0, 0.0, 2.0])
    array([0, 0, 1])
    """
    x, _ = real("x", x)
    y = empty(x.shape, np.int64)
    check(_STEP(id(y), id(x)))
    return finish(y, y.dtype)


def sigmoid(x: ArrayLike, out: Array | None = None) -> Array:
    """1 / (1 + exp(-x)), elementwise for x of any shape.

    Parameters
    ----------
    x : array_like
        Of any shape.
    out : ndarray, optional
        Where the result goes: of x's shape and the result's dtype.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError
        If x is not real: complex numbers, strings, objects.
    ValueError, TypeError
        If `out` is not writable, or of another shape or dtype.

    Notes
    -----
    Deep Learning from Scratch, 3.2; within 2 ulp of the true value.

    Examples
    --------
    >>> sigmoid([-1000.0, 0.0, 1.0])
    array([0.        , 0.5       , 0.73105858])
    """
    return bridge.elementwise(_SIGMOID, x, out)


def sigmoid_grad(x: ArrayLike) -> Array:
    """Derivative of sigmoid at its *input* x: (1 - s) * s with s = sigmoid(x).

    `sigmoid_backward` takes the output instead.

    Parameters
    ----------
    x : array_like
        Of any shape.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError
        If x is not real: complex numbers, strings, objects.

    Examples
    --------
    >>> sigmoid_grad([0.0, 1.0])
    array([0.25      , 0.19661193])
    """
    return bridge.elementwise(_SIGMOID_GRAD, x)


def sigmoid_backward(dout: ArrayLike, y: ArrayLike) -> Array:
    """dout * y * (1 - y) for the *output* y = sigmoid(x); dout has y's shape.

    Parameters
    ----------
    dout : array_like
        Gradient of the loss with respect to the output, of y's shape.
    y : array_like
        The output sigmoid(x).

    Returns
    -------
    ndarray of y's shape: the gradient with respect to x

    Raises
    ------
    ValueError
        If dout and y do not match; the message has both shapes.

    Examples
    --------
    >>> sigmoid_backward([1.0, 2.0], [0.5, 0.9])
    array([0.25, 0.18])
    """
    return bridge.elementwise_backward(_SIGMOID_BACKWARD, dout, y)


def relu(x: ArrayLike, out: Array | None = None) -> Array:
    """max(x, 0), elementwise for x of any shape; nan stays nan, and -0.0 becomes 0.0.

    Parameters
    ----------
    x : array_like
        Of any shape.
    out : ndarray, optional
        Where the result goes: of x's shape and the result's dtype.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError
        If x is not real: complex numbers, strings, objects.
    ValueError, TypeError
        If `out` is not writable, or of another shape or dtype.

    Examples
    --------
    >>> relu([-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    """
    return bridge.elementwise(_RELU, x, out)


def relu_grad(x: ArrayLike) -> Array:
    """1 where x >= 0, else 0, in x's dtype: the derivative of relu, with the book's value 1 at 0.

    Parameters
    ----------
    x : array_like
        Of any shape.

    Returns
    -------
    ndarray of x's shape and dtype

    Raises
    ------
    TypeError
        If x is not real: complex numbers, strings, objects.

    Examples
    --------
    >>> relu_grad([-1.0, 0.0, 2.0])
    array([0., 1., 1.])
    """
    return bridge.elementwise(_RELU_GRAD, x)


def relu_backward(dout: ArrayLike, y: ArrayLike) -> Array:
    """0 where y <= 0, else dout. y is relu's input or its output, and dout has y's shape.

    Parameters
    ----------
    dout : array_like
        Gradient of the loss with respect to the output, of y's shape.
    y : array_like
        The input or the output of relu.

    Returns
    -------
    ndarray of y's shape: the gradient with respect to x

    Raises
    ------
    ValueError
        If dout and y do not match; the message has both shapes.

    Examples
    --------
    >>> relu_backward([5.0, 6.0, 7.0], [-1.0, 0.0, 2.0])
    array([0., 0., 7.])
    """
    return bridge.elementwise_backward(_RELU_BACKWARD, dout, y)


def tanh(x: ArrayLike, out: Array | None = None) -> Array:
    """Hyperbolic tangent, elementwise for x of any shape.

    Parameters
    ----------
    x : array_like
        Of any shape.
    out : ndarray, optional
        Where the result goes: of x's shape and the result's dtype.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    TypeError
        If x is not real: complex numbers, strings, objects.
    ValueError, TypeError
        If `out` is not writable, or of another shape or dtype.

    Examples
    --------
    >>> tanh([0.0, 1.0])
    array([0.        , 0.76159416])
    """
    return bridge.elementwise(_TANH, x, out)


def tanh_backward(dout: ArrayLike, y: ArrayLike) -> Array:
    """dout * (1 - y^2) for the *output* y = tanh(x); dout has y's shape.

    Parameters
    ----------
    dout : array_like
        Gradient of the loss with respect to the output, of y's shape.
    y : array_like
        The output tanh(x).

    Returns
    -------
    ndarray of y's shape: the gradient with respect to x

    Raises
    ------
    ValueError
        If dout and y do not match; the message has both shapes.

    Examples
    --------
    >>> tanh_backward([1.0, 2.0], [0.0, 0.5])
    array([1. , 1.5])
    """
    return bridge.elementwise_backward(_TANH_BACKWARD, dout, y)


# ---- Softmax -------------------------------------------------------------------------------------

_SOFTMAX, _LOG_SOFTMAX = lib.np_softmax, lib.np_log_softmax
_SOFTMAX_BACKWARD = lib.np_softmax_backward


def softmax(x: ArrayLike, axis: int | None = -1, out: Array | None = None) -> Array:
    """exp(x) / sum(exp(x)) along `axis`, or over the whole array if axis is None.

    The maximum is subtracted first. This does not change the result, and it keeps exp from overflowing.

    Parameters
    ----------
    x : array_like
        Of any shape.
    axis : int or None
        The axis that sums to 1; None: the whole array.
    out : ndarray, optional
        Where the result goes: of x's shape and the result's dtype.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    AxisError
        If x has no such axis.
    ValueError, TypeError
        If `out` is not writable, or of another shape or dtype.

    Notes
    -----
    Deep Learning from Scratch, 3.5; within 4 ulp of the true value.

    Examples
    --------
    >>> softmax([[0.3, 2.9, 4.0], [1000.0, 1000.0, 0.0]])
    array([[0.01821127, 0.24519181, 0.73659691],
           [0.5       , 0.5       , 0.        ]])
    """
    if axis == -1 and out is None and type(x) is ndarray and x.ndim:
        y = empty(x.shape, x.dtype)
        if _SOFTMAX(id(y), id(x)) == OK:
            return y
    x, dtype = real("x", x)
    bridge.check_out(out, x.shape, dtype)
    return _along_axis(_SOFTMAX, axis, dtype, out, x)


def softmax_backward(dout: ArrayLike, y: ArrayLike, axis: int | None = -1) -> Array:
    """y * (dout - sum(dout * y)) for the *output* y = softmax(x, axis); dout has y's shape.

    Parameters
    ----------
    dout : array_like
        Gradient of the loss with respect to the output, of y's shape.
    y : array_like
        The output softmax(x, axis).
    axis : int or None
        The axis of softmax; None: the whole array.

    Returns
    -------
    ndarray of y's shape: the gradient with respect to x

    Raises
    ------
    ValueError
        If dout and y do not match; the message has both shapes.

    Examples
    --------
    >>> softmax_backward([1.0, 0.0], [0.25, 0.75])
    array([ 0.1875, -0.1875])
    """
    dout, y, dtype = reals(dout=dout, y=y)
    return _along_axis(_SOFTMAX_BACKWARD, axis, dtype, None, *broadcast(dout, y))


def log_softmax(x: ArrayLike, axis: int | None = -1) -> Array:
    """x - log(sum(exp(x))) along `axis`, or over the whole array if axis is None.

    Parameters
    ----------
    x : array_like
        Of any shape.
    axis : int or None
        The axis that softmax sums over; None: the whole array.

    Returns
    -------
    ndarray of x's shape

    Raises
    ------
    AxisError
        If x has no such axis.

    Examples
    --------
    >>> log_softmax([0.0, 0.0, -1000.0])
    array([-6.93147181e-01, -6.93147181e-01, -1.00069315e+03])
    """
    if axis == -1 and type(x) is ndarray and x.ndim:
        y = empty(x.shape, x.dtype)
        if _LOG_SOFTMAX(id(y), id(x)) == OK:
            return y
    x, dtype = real("x", x)
    return _along_axis(_LOG_SOFTMAX, axis, dtype, None, x)


def _along_axis(c: bridge.Kernel, axis: int | None, dtype: np.dtype[Any], out: Array | None, *inputs: Array) -> Array:
    """c(y, *inputs) along `axis`, or over all elements if axis is None, for inputs of one shape."""
    shape = inputs[0].shape
    axis = axis if axis is None else operator.index(axis)
    if axis is not None and axis != -1 and axis != max(len(shape) - 1, 0):
        moved = (np.moveaxis(x, axis, -1) for x in inputs)
        y = np.moveaxis(_along_axis(c, -1, dtype, None, *moved), -1, axis)
        return finish(np.asarray(y, dtype, order="C"), dtype, out)

    inputs = tuple(np.asarray(x, order="C") for x in inputs)
    y = out if out is inputs[0] else output_array(shape, inputs[0].dtype, out, *inputs)
    rows = [x.reshape(-1) if axis is None else x for x in (y, *inputs)]
    check(c(*map(id, rows)))
    return finish(y, dtype, out)


# ---- Losses --------------------------------------------------------------------------------------

_SUM_OF_SQUARES, _CROSS_ENTROPY = lib.np_sum_of_squares, lib.np_cross_entropy
_SOFTMAX_CROSS_ENTROPY = lib.np_softmax_cross_entropy
_SOFTMAX_CROSS_ENTROPY_BACKWARD = lib.np_softmax_cross_entropy_backward
_SOFTMAX_CROSS_ENTROPY_GRADIENT = lib.np_softmax_cross_entropy_gradient


def sum_squared_error(y: ArrayLike, t: ArrayLike) -> float:
    """0.5 * sum((y - t)^2), a scalar; y and t have one shape.

    Parameters
    ----------
    y, t : array_like
        Outputs and targets, of one shape.

    Returns
    -------
    scalar of the dtype that y and t promote to

    Raises
    ------
    ValueError
        If y and t do not match; the message has both shapes.

    Notes
    -----
    Deep Learning from Scratch, 4.2.1. The sum is accumulated in float64.

    Examples
    --------
    >>> print(sum_squared_error([0.1, 0.6, 0.3], [0, 1, 0]))
    0.13
    """
    total, _, dtype = _sum_of_squares(y, t)
    return finish(0.5 * total, dtype)


def mean_squared_error(y: ArrayLike, t: ArrayLike) -> float:
    """mean((y - t)^2), a scalar (nan if the arrays are empty); y and t have one shape.

    Parameters
    ----------
    y, t : array_like
        Outputs and targets, of one shape.

    Returns
    -------
    scalar of the dtype that y and t promote to

    Raises
    ------
    ValueError
        If y and t do not match; the message has both shapes.

    Notes
    -----
    The book's early printings give this name to 0.5 * sum((y - t)^2), which is `sum_squared_error`.

    Examples
    --------
    >>> print(mean_squared_error([1.0, 2.0], [0.0, 4.0]))
    2.5
    """
    total, size, dtype = _sum_of_squares(y, t)
    return finish(total / size if size else total * np.nan, dtype)


def _sum_of_squares(y: ArrayLike, t: ArrayLike) -> tuple[Array, int, np.dtype[Any]]:
    y, t, dtype = reals(y=y, t=t)
    y, t = broadcast(y, t)
    total = empty((), FLOAT64)
    check(_SUM_OF_SQUARES(id(total), id(y), id(t)))
    return total, y.size, dtype


def cross_entropy_error(y: ArrayLike, t: ArrayLike) -> float:
    """-sum(log(y_t + 1e-7)) / batch: the loss of the probabilities y when t is the right class.

    Parameters
    ----------
    y : (batch, classes) or (classes,) array_like
        Probabilities, such as softmax gives; 1-D y is a batch of one.
    t : array_like
        One label for each row, or one-hot rows: t of y's size. The label of a row is its argmax.

    Returns
    -------
    scalar of y's dtype

    Raises
    ------
    ValueError
        If y is neither 1-D nor 2-D or is empty, or t has no label for each row.
    TypeError
        If labels are not integers.
    IndexError
        If a label is not in 0 ... classes - 1.

    Examples
    --------
    >>> y = [[0.1, 0.8, 0.1], [0.2, 0.3, 0.5]]
    >>> print(cross_entropy_error(y, [1, 2]) == cross_entropy_error(y, [[0, 1, 0], [0, 0, 1]]))
    True
    >>> print(round(cross_entropy_error(y, [1, 2]), 6))
    0.458145
    """
    if type(y) is ndarray and type(t) is ndarray:
        loss = empty((), y.dtype)
        if _CROSS_ENTROPY(id(loss), id(y), id(t)) == OK:
            return loss[()]
    y, dtype = real("y", y)
    y, labels = _labels(y, t)
    loss = empty((), y.dtype)
    check(_CROSS_ENTROPY(id(loss), id(y), id(labels)))
    return finish(loss, dtype)


def softmax_loss(X: ArrayLike, t: ArrayLike) -> float:
    """cross_entropy_error(softmax(x), t), a scalar.

    Parameters
    ----------
    X : (batch, classes) or (classes,) array_like
        Scores, before softmax; 1-D X is a batch of one.
    t : array_like
        One label for each row, or one-hot rows: t of X's size.

    Returns
    -------
    scalar of X's dtype

    Raises
    ------
    ValueError
        If X is neither 1-D nor 2-D or is empty, or t has no label for each row.
    TypeError
        If labels are not integers.
    IndexError
        If a label is not in 0 ... classes - 1.

    Examples
    --------
    >>> print(round(softmax_loss([0.0, 0.0, 0.0], 1), 6))  # log(3)
    1.098612
    """
    return softmax_cross_entropy(X, t)[0]


def softmax_cross_entropy(x: ArrayLike, t: ArrayLike) -> tuple[float, Array]:
    """The loss of softmax_loss, and y = softmax(x), which the backward pass needs.

    Parameters
    ----------
    x : (batch, classes) or (classes,) array_like
        Scores, before softmax; 1-D x is a batch of one.
    t : array_like
        One label for each row, or one-hot rows: t of x's size.

    Returns
    -------
    loss : scalar of x's dtype
    y : ndarray of x's shape

    Raises
    ------
    ValueError
        If x is neither 1-D nor 2-D or is empty, or t has no label for each row.
    TypeError
        If labels are not integers.
    IndexError
        If a label is not in 0 ... classes - 1.

    Examples
    --------
    >>> loss, y = softmax_cross_entropy([[0.0, 0.0]], [1])
    >>> print(round(loss, 6), y)
    0.693147 [[0.5 0.5]]
    """
    if type(x) is ndarray and type(t) is ndarray:
        loss, y = empty((), x.dtype), empty(x.shape, x.dtype)
        if _SOFTMAX_CROSS_ENTROPY(id(loss), id(y), id(x), id(t)) == OK:
            return loss[()], y
    x, dtype = real("x", x)
    rows, labels = _labels(x, t)
    loss, y = empty((), x.dtype), empty(rows.shape, x.dtype)
    check(_SOFTMAX_CROSS_ENTROPY(id(loss), id(y), id(rows), id(labels)))
    return finish(loss, dtype), finish(y.reshape(x.shape), dtype)


def softmax_cross_entropy_backward(y: ArrayLike, t: ArrayLike) -> Array:
    """(y - t) / batch: the gradient of softmax_loss(x, t) with respect to x, from y = softmax(x).

    Parameters
    ----------
    y : (batch, classes) or (classes,) array_like
        Probabilities, such as softmax gives; 1-D y is a batch of one.
    t : array_like
        One label for each row, or rows of any distribution over the classes, which are subtracted as they are.

    Returns
    -------
    ndarray of y's shape; integer t does not widen y's dtype

    Raises
    ------
    ValueError
        If y is neither 1-D nor 2-D or is empty, or t has no label for each row.
    TypeError
        If labels are not integers.
    IndexError
        If a label is not in 0 ... classes - 1.

    Examples
    --------
    >>> softmax_cross_entropy_backward([[0.2, 0.8], [0.5, 0.5]], [1, 0])
    array([[ 0.1 , -0.1 ],
           [-0.25,  0.25]])
    """
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
    rows, t = rows_and_targets(y, t)
    dx = empty(rows.shape, y.dtype)
    t = np.asarray(t, np.int64 if t.ndim == 1 else y.dtype, order="C")
    check(_SOFTMAX_CROSS_ENTROPY_BACKWARD(id(dx), id(rows), id(t)))
    return finish(dx.reshape(y.shape), dtype)


def softmax_cross_entropy_gradient(x: ArrayLike, t: ArrayLike) -> tuple[float, Array]:
    """The loss of softmax_loss, and its gradient with respect to x: all that training needs.

    Parameters
    ----------
    x : (batch, classes) or (classes,) array_like
        Scores, before softmax; 1-D x is a batch of one.
    t : array_like
        One label for each row, or rows of any distribution over the classes.

    Returns
    -------
    loss : scalar of x's dtype
    dx : ndarray of x's shape

    Raises
    ------
    ValueError
        If x is neither 1-D nor 2-D or is empty, or t has no label for each row.
    TypeError
        If labels are not integers.
    IndexError
        If a label is not in 0 ... classes - 1.

    Examples
    --------
    >>> loss, dx = softmax_cross_entropy_gradient([[0.0, 0.0]], [1])
    >>> print(round(loss, 6), dx)
    0.693147 [[ 0.5 -0.5]]
    """
    if type(x) is ndarray and type(t) is ndarray:
        loss, dx = empty((), x.dtype), empty(x.shape, x.dtype)
        if _SOFTMAX_CROSS_ENTROPY_GRADIENT(id(loss), id(dx), id(x), id(t)) == OK:
            return loss[()], dx
    x, dtype = real("x", x)
    rows, targets = rows_and_targets(x, t)
    if targets.ndim == 1:
        loss, dx, labels = empty((), x.dtype), empty(rows.shape, x.dtype), np.asarray(targets, np.int64)
        check(_SOFTMAX_CROSS_ENTROPY_GRADIENT(id(loss), id(dx), id(rows), id(labels)))
        return finish(loss, dtype), finish(dx.reshape(x.shape), dtype)
    loss, y = softmax_cross_entropy(rows, targets)
    dx = softmax_cross_entropy_backward(y, targets).reshape(x.shape)
    return finish(loss, dtype), finish(dx, dtype if targets.dtype.kind in "biu" else np.result_type(dtype, targets))


def _labels(y: Array, t: ArrayLike) -> tuple[Array, Array]:
    """y as (batch, classes), and the (batch,) int64 labels, from t as labels or as one-hot rows."""
    y, t = rows_and_targets(y, t)
    return y, np.asarray(t if t.ndim == 1 else t.argmax(axis=1), np.int64, order="C")


# ---- Matrix products -----------------------------------------------------------------------------

_MATMUL, _MATMUL_STACK = lib.np_matmul, lib.np_matmul_stack
_AFFINE, _AFFINE_BACKWARD = lib.np_affine, lib.np_affine_backward


def matmul(a: ArrayLike, b: ArrayLike, out: Array | None = None) -> Array:
    """a @ b, as NumPy's matmul: (..., m, k) by (..., k, n), or 1-D operands; 0-d ones are refused.

    Parameters
    ----------
    a, b : array_like
        (..., m, k) and (..., k, n), or 1-D; stacks broadcast. Any strides are read without a copy.
    out : ndarray, optional
        Where the result goes: of the product's shape and the result's dtype.

    Returns
    -------
    ndarray (..., m, n)

    Raises
    ------
    ValueError
        If the shapes of a and b do not match; the message has both shapes.
    ValueError, TypeError
        If `out` is not writable, or of another shape or dtype.

    Notes
    -----
    After Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008).

    Examples
    --------
    >>> matmul([[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]])
    array([[19., 22.],
           [43., 50.]])
    """
    if out is None:
        try:
            (m, _), (_, n) = a.shape, b.shape
            y = empty((m, n), a.dtype)
            if _MATMUL(id(y), id(a), id(b)) == OK:
                return y
        except (AttributeError, TypeError, ValueError):  # the operands are not two matrices
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
    y = output_array(shape, a.dtype, out, a, b)
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


def dot(a: ArrayLike, b: ArrayLike) -> Array:
    """The sum of products over a's last axis and b's second-to-last (or only) axis, as NumPy's dot; scalars, too.

    Parameters
    ----------
    a, b : array_like
        Of any dimensions.

    Returns
    -------
    ndarray or scalar

    Raises
    ------
    ValueError
        If the last axis of a and the second-to-last of b do not match; the message has both shapes.

    Examples
    --------
    >>> print(dot([1, 2, 3], [4, 5, 6]))
    32.0
    """
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


def matmul_backward(dout: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """da = dout @ b.T and db = a.T @ dout for a @ b, each of the shape of its operand.

    dout has the shape of a @ b. In stacks, .T swaps the last two axes. If an operand was broadcast, its gradient is
    summed over the broadcast axes.

    Parameters
    ----------
    dout : array_like
        Gradient of the loss with respect to a @ b, of its shape.
    a, b : array_like
        The operands.

    Returns
    -------
    da, db : ndarrays of the shapes of a and b

    Raises
    ------
    ValueError
        If dout, a and b do not match; the message has both shapes.

    Examples
    --------
    >>> da, db = matmul_backward([[1.0], [1.0]], [[1.0, 2.0], [3.0, 4.0]], [[5.0], [6.0]])
    >>> da, db
    (array([[5., 6.],
           [5., 6.]]), array([[4.],
           [6.]]))
    """
    dout, a, b, dtype = reals(dout=dout, a=a, b=b)
    dout, left, right = _matmul_operands(dout, a, b)
    da = _sum_to(matmul(dout, right.swapaxes(-1, -2)), left.shape).reshape(a.shape)
    db = _sum_to(matmul(left.swapaxes(-1, -2), dout), right.shape).reshape(b.shape)
    return finish(da, dtype), finish(db, dtype)


def affine(x: ArrayLike, W: ArrayLike, b: ArrayLike) -> Array:
    """x @ W + b: (batch, inputs) @ (inputs, outputs) + (outputs,).

    Parameters
    ----------
    x : (..., inputs) array_like
    W : (inputs, outputs) array_like
    b : (outputs,) array_like, or one number

    Returns
    -------
    ndarray (..., outputs)

    Raises
    ------
    ValueError
        If x, W and b do not match; the message has both shapes.

    Notes
    -----
    Deep Learning from Scratch, 5.6.

    Examples
    --------
    >>> affine([[1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]], [0.5, -0.5])
    array([[1.5, 1.5]])
    """
    try:
        (m, _), (_, n) = x.shape, W.shape
        x = widened(x, W)
        y = empty((m, n), x.dtype)
        if _AFFINE(id(y), id(x), id(W), id(b)) == OK:
            return y
    except (AttributeError, TypeError, ValueError):  # the operands are not two matrices
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


def affine_backward(dout: ArrayLike, x: ArrayLike, W: ArrayLike) -> tuple[Array, Array, Array]:
    """dx = dout @ W.T, dW = x.T @ dout and db = sum of dout's rows, for 2-D x @ W + b.

    Parameters
    ----------
    dout : (batch, outputs) array_like
    x : (batch, inputs) array_like
    W : (inputs, outputs) array_like

    Returns
    -------
    dx, dW, db : ndarrays (batch, inputs), (inputs, outputs), (outputs,)

    Raises
    ------
    ValueError
        If dout, x and W do not match; the message has both shapes.

    Notes
    -----
    Deep Learning from Scratch, 5.6.

    Examples
    --------
    >>> affine_backward([[1.0]], [[2.0, 3.0]], [[4.0], [5.0]])
    (array([[4., 5.]]), array([[2.],
           [3.]]), array([1.]))
    """
    if type(dout) is ndarray and type(x) is ndarray and type(W) is ndarray and W.ndim == 2:
        x = widened(x, W)
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
