"""From NumPy arrays to C and back: the only module that uses cffi.

Python passes C the address of each array object, id(array). C reads the dtype, shape and strides itself
(csrc/python/arrays.h): that takes nanoseconds, where the same checks in Python would take microseconds.

An address does not keep its array alive, and other threads run while C computes. So `id` is applied only to local
variables, which hold their arrays until the call returns. tests/test_addresses.py checks the sources for this.

A function first calls C on its arguments as they are, which C usually accepts. If C refuses them, the function converts
them to arrays of floats (`reals`), chooses the array that C writes to (`check_out`, `output_array`), calls C again
(`check`), and returns the result as NumPy would (`finish`).
"""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy import empty, ndarray
from numpy.typing import ArrayLike, NDArray

from ._arrays import as_array, broadcast_shape

try:
    from ._zerodl import ffi, lib  # noqa: F401  other modules import ffi from here
except ModuleNotFoundError as error:
    raise ImportError(
        f"zerodl_c was imported from {os.path.dirname(__file__)}, which has no compiled extension. If that folder is a "
        "checkout, start Python elsewhere, or build the extension in place with `python build.py`"
    ) from error

Array = NDArray[Any]
Kernel = Callable[..., int]  # a function of cffi: takes id(array) for each array and returns a status

FLOAT16, FLOAT32, FLOAT64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
OK = lib.NP_OK

lib.np_set_array_type(id(ndarray))


def reals(**operands: ArrayLike) -> tuple[Any, ...]:
    """The operands as native, aligned arrays of the dtype that C computes in, followed by the result's dtype.

    Several operands promote as in NumPy. Integers and bools become float64, and float16 is computed in float32.
    Strides are kept. TypeError if an operand is not real or is wider than float64.
    """
    dtype = None
    for x in operands.values():
        if type(x) is not np.ndarray or not x.flags.aligned or (dtype and x.dtype is not dtype):
            break
        dtype = x.dtype
        if dtype is not FLOAT64 and dtype is not FLOAT32:
            break
    else:
        return *operands.values(), dtype  # usually there is nothing to convert

    arrays = [x if isinstance(x, (bool, int, float)) else as_array(name, x) for name, x in operands.items()]
    for name, x in zip(operands, arrays, strict=True):
        if isinstance(x, np.ndarray) and (x.dtype.kind not in "biuf" or x.dtype.itemsize > 8):
            raise TypeError(f"{name} must be real, of float64 at most, got dtype {x.dtype}")
    dtype = np.result_type(*arrays)
    dtype = np.dtype(f"f{dtype.itemsize}") if dtype.kind == "f" else FLOAT64
    compute = FLOAT32 if dtype == FLOAT16 else dtype
    arrays = [np.asarray(x, compute) for x in arrays]
    return *(x if x.flags.aligned else x.copy() for x in arrays), dtype


_PIECE = 1 << 17  # elements: 1 MiB of float64, which fits in the second-level cache


def must_be_cut(x: Any, W: Any) -> bool:
    """Whether x @ W would have to convert the whole of x, and x is larger than the cache."""
    if type(x) is not ndarray or type(W) is not ndarray or x.ndim != 2 or x.size <= 2 * _PIECE:
        return False
    return x.dtype.kind in "biuf" and x.shape[1:] == W.shape[:1] and np.result_type(x, W) != x.dtype


def widened(x: Array, W: Array) -> Array:
    """x in float64, to which NumPy promotes it, if x is float32, as the book's images are, and W float64.

    A large x is left as it is.
    """
    if type(x) is ndarray and x.dtype is FLOAT32 and W.dtype is FLOAT64 and x.size <= 2 * _PIECE:
        return x.astype(FLOAT64)
    return x


def by_pieces(f: Callable[[Array], Array], x: Array) -> Array:
    """f(x) for an f that treats each row alone. It is called on a few rows at a time, which stay in the cache."""
    rows = max(1, _PIECE // x.shape[1])
    first = f(x[:rows])
    y = empty((len(x), *first.shape[1:]), first.dtype)
    y[:rows] = first
    for begin in range(rows, len(x), rows):
        y[begin : begin + rows] = f(x[begin : begin + rows])
    return y


def real(name: str, x: ArrayLike) -> tuple[Array, np.dtype[Any]]:
    """`reals` of one operand, C-contiguous."""
    if type(x) is np.ndarray and x.flags.carray and (x.dtype is FLOAT64 or x.dtype is FLOAT32):
        return x, x.dtype
    x, dtype = reals(**{name: x})
    return np.asarray(x, order="C"), dtype


def broadcast(*arrays: Array) -> tuple[Array, ...]:
    """The arrays broadcast to a common shape, C-contiguous."""
    if any(x.shape != arrays[0].shape for x in arrays):
        shape = broadcast_shape(*(x.shape for x in arrays))
        arrays = tuple(np.broadcast_to(x, shape) for x in arrays)
    return tuple(np.asarray(x, order="C") for x in arrays)


def check_out(out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """TypeError or ValueError if `out` is given but cannot hold a result of this shape and dtype."""
    if out is None:
        return
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        got = getattr(out, "dtype", type(out).__name__)
        raise TypeError(f"out must be an array of dtype {dtype}, got {got}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")


def output_array(shape: tuple[int, ...], compute: np.dtype[Any], out: Array | None, *inputs: Array) -> Array:
    """The array that C writes to: `out` if it is contiguous, of dtype `compute` and apart from the inputs."""
    if type(out) is not ndarray or out.dtype != compute or not out.flags.carray:
        return empty(shape, compute)
    if any(np.may_share_memory(out, x) for x in inputs):
        return empty(shape, compute)
    return out


def finish(y: Array, dtype: np.dtype[Any], out: Array | None = None) -> Any:
    """y copied into `out` if that is given, otherwise y in the result's dtype, or as a NumPy scalar if it is 0-d."""
    if out is None:
        if y.dtype is dtype and y.ndim:
            return y
        with np.errstate(over="ignore"):
            return y.astype(dtype, order="C", copy=False)[()]
    if y is not out:
        with np.errstate(over="ignore"):
            out[...] = y
    return out


def add_scaled(y: Array, scale: float, x: Array) -> bool:
    """y += scale * x in one pass, SGD's step with the learning rate -scale; False, and nothing, if C refuses them."""
    return bool(lib.np_sgd(id(y), id(x), -scale) == OK)


def check(status: int) -> None:
    """Raise the error that the status of a C function stands for."""
    if status == lib.NP_NO_MEMORY:
        raise MemoryError("not enough memory for the workspace of the call")
    if status != OK:  # Python had prepared the arrays for C
        raise RuntimeError("the shape or dtype of an array changed during the call: another thread must not change it")


def elementwise(c: Kernel, x: ArrayLike, out: Array | None = None) -> Any:
    """c(y, x) for x of any shape."""
    if out is None and type(x) is ndarray and x.ndim:
        y = empty(x.shape, x.dtype)
        if c(id(y), id(x)) == OK:
            return y
    x, dtype = real("x", x)
    check_out(out, x.shape, dtype)
    y = out if out is x else output_array(x.shape, x.dtype, out, x)
    check(c(id(y), id(x)))
    return finish(y, dtype, out)


def elementwise_backward(c: Kernel, dout: ArrayLike, y: ArrayLike) -> Any:
    """c(dx, dout, y) for dout and y of one shape, or of shapes that broadcast together."""
    if type(dout) is ndarray and type(y) is ndarray and y.ndim:
        dx = empty(y.shape, y.dtype)
        if c(id(dx), id(dout), id(y)) == OK:
            return dx
    dout, y, dtype = reals(dout=dout, y=y)
    dout, y = broadcast(dout, y)
    dx = empty(y.shape, y.dtype)
    check(c(id(dx), id(dout), id(y)))
    return finish(dx, dtype)
