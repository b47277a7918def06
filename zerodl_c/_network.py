"""A fully connected net in one call of C, for the nets to build on.

`params` are W1, b1, W2, b2, ... in this order; `hidden` is the activation of all layers but the
last, which softmax follows. Everything is computed in the dtype to which x, the parameters and
targets that are floats promote.
"""

from collections.abc import Callable, Iterator, Mapping
from math import prod
from time import perf_counter
from typing import Any

import numpy as np
from numpy import empty, ndarray
from numpy.typing import ArrayLike

from ._arrays import as_array, float_dtype, rows_and_targets, share_memory
from ._bridge import FLOAT64, OK, Array, by_pieces, check, finish, lib, must_be_cut, real, reals, widened
from ._config import threads_at_once
from .differences.formula import check_step

__all__ = ["forward", "gradient", "numerical_gradient", "predict"]

BOOK_STEP = 1e-4
_TURN = 0.05  # seconds that C may keep Python waiting

_ACTIVATIONS = {"identity": lib.ZDL_IDENTITY, "relu": lib.ZDL_RELU, "sigmoid": lib.ZDL_SIGMOID, "tanh": lib.ZDL_TANH}
_PREDICT, _FORWARD, _GRADIENT = lib.np_network_predict, lib.np_network_forward, lib.np_network_gradient
_NUMERICAL_GRADIENT = lib.np_network_numerical_gradient


def predict(params: Mapping[str, ArrayLike], x: ArrayLike, hidden: int) -> Array:
    """Probabilities (..., outputs) for x of shape (..., inputs)."""
    if must_be_cut(x, next(iter(params.values()))):
        return by_pieces(lambda rows: predict(params, rows, hidden), x)
    return _outputs(_predict, params, x, hidden)[0]


def _predict(x: Array, arrays: Any, hidden: int) -> tuple[int, list[Array]]:
    y = empty((len(x), arrays[-1].size), x.dtype)
    return _PREDICT(id(y), id(x), [*map(id, arrays)], len(arrays) // 2, hidden), [y]


def forward(params: Mapping[str, ArrayLike], x: ArrayLike, hidden: int) -> list[Array]:
    """Each layer's a = z @ W + b and z = activation(a), of shapes (..., outputs of the layer)."""
    return _outputs(_forward, params, x, hidden)


def _forward(x: Array, arrays: Any, hidden: int) -> tuple[int, list[Array]]:
    kept = _empty_outputs(x, arrays)
    return _FORWARD([*map(id, kept)], id(x), [*map(id, arrays)], len(arrays) // 2, hidden), kept


def _outputs(
    attempt: Callable[..., tuple[int, list[Array]]], params: Mapping[str, ArrayLike], x: ArrayLike, hidden: int
) -> list[Array]:
    """What C gives for x and the parameters as they are or, where it does not take them so, prepared."""
    arrays = [*params.values()]
    if _are_arrays(x, arrays):
        x = widened(x, arrays[0])
        status, outputs = attempt(x, arrays, hidden)
        if status == OK:
            return outputs
    x, arrays, _, dtype = _prepared(params, x)
    status, outputs = attempt(_rows_of(x), arrays, hidden)
    check(status)
    return [finish(_like_input(y, x), dtype) for y in outputs]


def gradient(
    params: Mapping[str, ArrayLike], x: ArrayLike, t: ArrayLike, hidden: int, *, sums: bool = True
) -> tuple[dict[str, Array], list[Array]]:
    """The gradients of softmax_loss for each parameter, and what `forward` keeps; not `sums`: each layer's z alone."""
    arrays = [*params.values()]
    if _are_arrays(x, arrays):
        x = widened(x, arrays[0])
        status, grads, kept = _gradient(x, t, arrays, hidden, sums)
        if status == OK:
            return dict(zip(params, grads, strict=True)), kept
    x, arrays, t, dtype = _prepared(params, x, t)
    outputs = empty((*x.shape[:-1], arrays[-1].size), x.dtype)
    t = rows_and_targets(outputs, t)[1]
    t = np.asarray(t, np.int64 if t.ndim == 1 else x.dtype, order="C")
    status, grads, kept = _gradient(_rows_of(x), t, arrays, hidden, sums)
    check(status)
    grads = [finish(grad, dtype) for grad in grads]
    return dict(zip(params, grads, strict=True)), [finish(_like_input(y, x), dtype) for y in kept]


def _gradient(x: Array, t: Any, arrays: Any, hidden: int, sums: bool) -> tuple[int, list[Array], list[Array]]:
    kept, grads = _empty_outputs(x, arrays, sums), [empty(array.shape, array.dtype) for array in arrays]
    depth = len(arrays) // 2
    status = _GRADIENT([*map(id, grads)], [*map(id, kept)], sums, id(x), id(t), [*map(id, arrays)], depth, hidden)
    return status, grads, kept


def numerical_gradient(
    params: Mapping[str, ArrayLike],
    x: ArrayLike,
    t: ArrayLike,
    hidden: int,
    *,
    h: float | None = None,
    squared: bool = False,
    decay: float = 0.0,
) -> dict[str, Array]:
    """The central differences of a net's loss in each parameter, each in its parameter's float dtype.

    The loss is the cross-entropy of the softmax or, if `squared`, half the sum of squares of the
    last layer's sums less t; and decay / 2 times the sum of squares of each W. It is computed in
    float64, whatever x and the parameters are. A step h that is given must not be lost in a
    parameter; the book's, 1e-4, may be, and then the difference is 0. C gets a few milliseconds'
    work at a time, so that Ctrl-C is heard.
    """
    if h is not None:
        check_step(h)
    given = [as_array(key, param) for key, param in params.items()]
    x, arrays, _, _ = _prepared(params, x)
    x, *arrays = (np.asarray(array, FLOAT64) for array in (_rows_of(x), *arrays))
    for key, param, array in zip(params, given, arrays, strict=True):
        if param.size != array.size:
            raise ValueError(f"{key} must have an entry for each unit, got shape {param.shape} for {array.size} units")
        if h is not None and ((array + h == array).any() or (array - h == array).any()):
            raise ValueError(f"h = {h} is lost in {key}: an entry plus or minus h is that entry again")
    t = _targets((len(x), arrays[-1].size), t, squared)

    grads, net = [empty(array.shape) for array in arrays], (len(arrays) // 2, hidden, decay, h or BOOK_STEP)
    for _ in _differences(grads, x, t, arrays, net, 0, sum(len(W) + 1 for W in arrays[::2])):
        pass
    return {
        key: finish(grad.reshape(param.shape), float_dtype(param))
        for key, grad, param in zip(params, grads, given, strict=True)
    }


def differences_of_first_layer(
    arrays: list[Array], x: Array, labels: Array, hidden: str, h: float, *, of_b: bool
) -> Iterator[Array]:
    """The central differences of the cross-entropy in the first W, or b: all that are done, again and again.

    `hidden` is the name of the activation. What is given is float64 and labels of C's type.
    """
    grads, inputs = [empty(array.shape) for array in arrays], len(arrays[0])
    begin, end = (inputs, inputs + 1) if of_b else (0, inputs)
    for done in _differences(grads, x, labels, arrays, (len(arrays) // 2, _ACTIVATIONS[hidden], 0.0, h), begin, end):
        yield grads[1] if of_b else grads[0][:done].reshape(-1)


def _differences(
    grads: list[Array], x: Array, t: Array, arrays: list[Array], net: tuple[Any, ...], begin: int, end: int
) -> Iterator[int]:
    """C's differences of the weights from inputs begin to end, a few milliseconds' work at a time; yields the next."""
    threads = threads_at_once()  # that many inputs at least are worth a call
    count = threads
    while begin < end:
        start, stop = perf_counter(), min(begin + count, end)
        check(_NUMERICAL_GRADIENT([*map(id, grads)], id(x), id(t), [*map(id, arrays)], *net, begin, stop))
        begin = stop
        count = max(int(count * min(_TURN / (perf_counter() - start), 64)), threads)
        yield begin


def needs_losses(params: Mapping[str, ArrayLike], loss: Callable[..., Any], x: ArrayLike, t: ArrayLike) -> bool:
    """Whether `numerical_gradient` is of no use, and the loss itself must be computed for each entry.

    So it is where two parameters share memory and change together, or where one is infinite while the loss is not:
    what a weight changes is added to sums, and infinity times a change of 0 would be nan.
    """
    if share_memory(params.values()):
        return True
    return any(np.isinf(param).any() for param in params.values()) and bool(np.isfinite(loss(x, t)))


def _targets(shape: tuple[int, int], t: ArrayLike, squared: bool) -> Array:
    """Labels of C's type, or the targets of a squared error, for outputs of this shape."""
    if squared:
        t, _ = real("t", t)
        if t.size != prod(shape):
            raise ValueError(f"t must have the outputs' shape {shape}, got {t.shape}")
        return np.asarray(t.reshape(shape), FLOAT64)
    t = rows_and_targets(empty(shape), t)[1]
    return np.asarray(t if t.ndim == 1 else t.argmax(axis=1), np.int64)


def _are_arrays(x: Any, arrays: list[Any]) -> bool:
    """Whether x and the parameters are arrays, so that C can say whether it takes them as they are."""
    return type(x) is ndarray and x.ndim == 2 and {*map(type, arrays)} == {ndarray}


def _prepared(
    params: Mapping[str, ArrayLike], x: ArrayLike, t: ArrayLike = 0
) -> tuple[Any, list[Array], Any, np.dtype[Any]]:
    """x, the parameters as C takes them, t, and the dtype of the results."""
    t = as_array("t", t)
    if t.dtype.kind in "biu":
        x, *arrays, dtype = reals(x=x, **params)
    else:
        x, *arrays, t, dtype = reals(x=x, **params, t=t)
    names, inputs = [*params], x.shape[-1] if x.ndim else None
    for i in range(0, len(arrays), 2):
        W, b = arrays[i : i + 2]
        if W.ndim != 2 or W.shape[0] != inputs or b.shape not in ((), (1,), (1, 1), W.shape[1:], (1, *W.shape[1:])):
            shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(names, arrays, strict=True))
            raise ValueError(f"x and each layer's W and b must be (..., k), (k, n) and (n,), got x {x.shape}, {shapes}")
        arrays[i] = np.asarray(W, order="C")
        arrays[i + 1] = np.asarray(np.broadcast_to(b, (1, *W.shape[1:]))[0], order="C")
        inputs = W.shape[1]
    return x, arrays, t, dtype


def _rows_of(x: Array) -> Array:
    """x as (batch, inputs)."""
    return x.reshape(prod(x.shape[:-1]), x.shape[-1])


def _like_input(y: Array, x: Array) -> Array:
    """y, one row for each row of x, in the shape of x but for the last axis."""
    return y.reshape(*x.shape[:-1], y.shape[1])


def _empty_outputs(x: Array, arrays: list[Array], sums: bool = True) -> list[Array]:
    """For what each layer keeps: its sums, unless they are left out, and its activations."""
    return [empty((len(x), b.size), x.dtype) for b in arrays[1::2] for _ in range(1 + sums)]
