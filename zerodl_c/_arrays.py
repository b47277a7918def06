"""What an argument must be to be taken as an array."""

from collections.abc import Iterable
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def share_memory(arrays: Iterable[ArrayLike]) -> bool:
    """Whether a change of one of the arrays may change another."""
    return any(np.may_share_memory(a, b) for a, b in combinations(map(np.asarray, arrays), 2))


def entries_of(x: NDArray[Any]) -> Any:
    """The entries of x by their number, to be read and written: x.flat, which NumPy has of up to 32 dimensions only."""
    return x.reshape(-1) if x.flags.c_contiguous else x.flat


def as_array(name: str, x: ArrayLike) -> NDArray[Any]:
    """x as an array, as `np.asarray` makes it of anything array_like.

    Parameters
    ----------
    name : str
        What errors call x.
    x : array_like

    Raises
    ------
    ValueError, TypeError
        What NumPy raises, with the name: x is ragged, contains itself, or has an `__array__` that gives no array.
    TypeError
        If x is a masked array with masked entries: an array could not say which they are.
    """
    try:
        array = np.asarray(x)
    except (ValueError, TypeError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name} must be array_like, got {type(x).__name__}: {error}") from error
    if array is not x and isinstance(x, np.ndarray) and np.ma.is_masked(x):
        raise TypeError(f"{name} must have no masked entries, which would count as numbers: use {name}.filled(...)")
    return array


def float_dtype(x: NDArray[Any]) -> np.dtype[Any]:
    """The dtype of x where it holds floats, else float64."""
    return x.dtype if x.dtype.kind == "f" else np.dtype(np.float64)


def rows_and_targets(y: NDArray[Any], t: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """y as (batch, classes), and t as rows of that shape or as (batch,) labels."""
    if y.ndim not in (1, 2) or not y.size:
        raise ValueError(f"y must be 1-D or 2-D and not empty, got shape {y.shape}")
    y, t = np.atleast_2d(y), as_array("t", t)
    if t.dtype.kind not in "biuf":
        raise TypeError(f"t must hold labels or be one-hot, got dtype {t.dtype}")
    batch, classes = y.shape
    if t.size == y.size and (t.shape == y.shape or 1 in y.shape):
        return y, t.reshape(y.shape)
    if t.size != batch:
        raise ValueError(f"t must hold {batch} labels, or be one-hot of shape {y.shape}; got shape {t.shape}")
    if t.dtype.kind not in "biu":
        raise TypeError(f"t must hold integer labels, got dtype {t.dtype}")
    labels = t.reshape(batch).copy()  # which no other thread changes once they are checked
    if labels.min() < 0 or labels.max() >= classes:
        raise IndexError(f"t must hold labels from 0 to {classes - 1}, got {labels.min()} to {labels.max()}")
    return y, labels.astype(np.intp)


def broadcast_shape(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that the shapes broadcast to, of up to 64 dimensions: `np.broadcast_shapes` takes 32.

    Raises
    ------
    ValueError
        If they do not broadcast.
    """
    dims = max(map(len, shapes))
    aligned = [(1,) * (dims - len(shape)) + shape for shape in shapes]
    parts = (np.broadcast_shapes(*(shape[i : i + 32] for shape in aligned)) for i in range(0, dims, 32))
    return tuple(length for part in parts for length in part)
