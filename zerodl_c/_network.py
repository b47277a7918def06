"""A fully connected net in one call of C, for the nets to build on.

`params` are W1, b1, W2, b2, ... in this order; `hidden` is the activation of all layers but the
last, which softmax follows. Everything is computed in the dtype to which x, the parameters and
targets that are floats promote.
"""

from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy import empty, ndarray
from numpy.typing import ArrayLike

from ._bridge import OK, Array, check, finish, lib, reals
from .reference.functions import _rows

__all__ = ["forward", "gradient", "predict"]

_PREDICT, _FORWARD, _GRADIENT = lib.np_network_predict, lib.np_network_forward, lib.np_network_gradient


def predict(params: Mapping[str, ArrayLike], x: ArrayLike, hidden: int) -> Array:
    """Probabilities (..., outputs) for x of shape (..., inputs)."""
    arrays: Any = [*params.values()]
    if type(x) is ndarray and x.ndim == 2 and type(arrays[-1]) is ndarray:
        y = empty((len(x), arrays[-1].size), x.dtype)
        if _PREDICT(id(y), id(x), [*map(id, arrays)], len(arrays) // 2, hidden) == OK:
            return y
    x, arrays, _, dtype = _prepared(params, x)
    rows = _rows_of(x)
    y = empty((len(rows), arrays[-1].size), x.dtype)
    check(_PREDICT(id(y), id(rows), [*map(id, arrays)], len(arrays) // 2, hidden))
    return finish(_like_input(y, x), dtype)


def forward(params: Mapping[str, ArrayLike], x: ArrayLike, hidden: int) -> list[Array]:
    """Each layer's a = z @ W + b and z = activation(a), of shapes (..., outputs of the layer)."""
    x, arrays, _, dtype = _prepared(params, x)
    rows = _rows_of(x)
    kept = _room_for_outputs(rows, arrays)
    check(_FORWARD([*map(id, kept)], id(rows), [*map(id, arrays)], len(arrays) // 2, hidden))
    return [finish(_like_input(y, x), dtype) for y in kept]


def gradient(
    params: Mapping[str, ArrayLike], x: ArrayLike, t: ArrayLike, hidden: int
) -> tuple[dict[str, Array], list[Array]]:
    """The gradients of softmax_loss for each parameter, and what `forward` keeps."""
    x, arrays, t, dtype = _prepared(params, x, t)
    rows = _rows_of(x)
    kept = _room_for_outputs(rows, arrays)
    t = _rows(_like_input(kept[-1], x), t)[1]
    t = np.asarray(t, np.int64 if t.ndim == 1 else x.dtype, order="C")
    grads = [np.empty_like(array) for array in arrays]
    check(
        _GRADIENT(
            [*map(id, grads)], [*map(id, kept)], id(rows), id(t), [*map(id, arrays)], len(arrays) // 2, hidden
        )
    )
    kept = [finish(_like_input(y, x), dtype) for y in kept]
    return dict(zip(params, (finish(grad, dtype) for grad in grads), strict=True)), kept


def _prepared(
    params: Mapping[str, ArrayLike], x: ArrayLike, t: ArrayLike = 0
) -> tuple[Any, list[Array], Any, np.dtype[Any]]:
    """x, the parameters as C takes them, t, and the dtype of the results."""
    t = np.asarray(t)
    if t.dtype.kind in "biu":
        x, *arrays, dtype = reals(x=x, **params)
    else:
        x, *arrays, t, dtype = reals(x=x, **params, t=t)
    names, inputs = [*params], x.shape[-1] if x.ndim else None
    for i in range(0, len(arrays), 2):
        W, b = arrays[i : i + 2]
        if W.ndim != 2 or W.shape[0] != inputs or b.shape not in ((), (1,), W.shape[1:]):
            shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(names, arrays, strict=True))
            raise ValueError(f"x and each layer's W and b must be (..., k), (k, n) and (n,), got x {x.shape}, {shapes}")
        arrays[i] = np.asarray(W, order="C")
        arrays[i + 1] = np.asarray(np.broadcast_to(b, W.shape[1:]), order="C")
        inputs = W.shape[1]
    return x, arrays, t, dtype


def _rows_of(x: Array) -> Array:
    """x as (batch, inputs)."""
    return x.reshape(prod(x.shape[:-1]), x.shape[-1])


def _like_input(y: Array, x: Array) -> Array:
    """y, one row for each row of x, in the shape of x but for the last axis."""
    return y.reshape(*x.shape[:-1], y.shape[1])


def _room_for_outputs(rows: Array, params: list[Array]) -> list[Array]:
    return [empty((len(rows), b.size), rows.dtype) for b in params[1::2] for _ in range(2)]
