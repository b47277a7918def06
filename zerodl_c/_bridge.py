"""From NumPy arrays to C and back: the only module that knows cffi.

A call takes five steps: coerce the arguments to real arrays (`reals`), find room for the result
(`check_out`, `room`), hand a pointer to each (`contiguous`, `strided`) to the C function of their
dtype (`kernel`), check what it returns (`check`), and give the result back as NumPy would (`finish`).
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

# GNU OpenMP's threads spin for milliseconds while they wait. On a busy core that keeps the thread they wait for from
# running at all: 8 ms for a call of 50 us. 2,000 rounds are about 0.1 ms. It reads this once, when it is loaded.
_SPIN = "GOMP_SPINCOUNT"
_choose_spin = _SPIN not in os.environ and "OMP_WAIT_POLICY" not in os.environ
if _choose_spin:
    os.environ[_SPIN] = "2000"
try:
    from ._zerodl import ffi, lib
except ModuleNotFoundError as error:
    raise ImportError(
        f"zerodl_c was imported from {Path(__file__).parent}, which has no compiled extension. If these are its "
        "sources, start Python in another folder, or build in place with `python build.py`"
    ) from error
finally:
    if _choose_spin:
        del os.environ[_SPIN]

Array = NDArray[Any]
Kernel = dict[str, Callable[..., Any]]

FLOAT16, FLOAT32, FLOAT64 = np.dtype(np.float16), np.dtype(np.float32), np.dtype(np.float64)
BUFFERS = {
    "f": ffi.typeof("float[]"),
    "d": ffi.typeof("double[]"),
    np.dtype(np.int64).char: ffi.typeof("int64_t[]"),
}
from_buffer = ffi.from_buffer
POINTERS = {"f": ffi.typeof("float *"), "d": ffi.typeof("double *")}


def kernel(name: str) -> Kernel:
    """The C functions zdl_<name>_f32 and zdl_<name>_f64, by the dtype's char."""
    return {"f": getattr(lib, f"zdl_{name}_f32"), "d": getattr(lib, f"zdl_{name}_f64")}


def reals(**operands: ArrayLike) -> tuple[Any, ...]:
    """The operands as native, aligned arrays of one dtype to compute in, then the result's dtype.

    Several operands promote as in NumPy; integers and bools become float64; float16 is computed
    in float32. Strides stay as they are. TypeError for what is not real or is wider than float64.
    """
    dtype = None
    for x in operands.values():
        if type(x) is not np.ndarray or not x.flags.aligned or (dtype and x.dtype is not dtype):
            break
        dtype = x.dtype
        if dtype is not FLOAT64 and dtype is not FLOAT32:
            break
    else:
        return *operands.values(), dtype  # nothing to do, in most calls

    arrays = [x if isinstance(x, (np.ndarray, bool, int, float)) else np.asarray(x)
              for x in operands.values()]
    for name, x in zip(operands, arrays, strict=True):
        if isinstance(x, np.ndarray) and (x.dtype.kind not in "biuf" or x.dtype.itemsize > 8):
            raise TypeError(f"{name} must be real, of float64 at most, got dtype {x.dtype}")
    dtype = np.result_type(*arrays)
    dtype = dtype.newbyteorder("=") if dtype.kind == "f" else FLOAT64
    compute = FLOAT32 if dtype == FLOAT16 else dtype
    arrays = [np.asarray(x, compute) for x in arrays]
    return *(x if x.flags.aligned else x.copy() for x in arrays), dtype


def real(name: str, x: ArrayLike) -> tuple[Array, np.dtype[Any]]:
    """`reals` of one operand, C-contiguous."""
    if type(x) is np.ndarray and x.flags.carray and (x.dtype is FLOAT64 or x.dtype is FLOAT32):
        return x, x.dtype
    x, dtype = reals(**{name: x})
    return np.asarray(x, order="C"), dtype


def alike(*arrays: Array) -> tuple[Array, ...]:
    """The arrays broadcast to one shape, C-contiguous."""
    if any(x.shape != arrays[0].shape for x in arrays):
        arrays = tuple(np.broadcast_arrays(*arrays))
    return tuple(np.asarray(x, order="C") for x in arrays)


def check_out(out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """TypeError or ValueError if `out` is given and cannot take a result of this shape and dtype."""
    if out is None:
        return
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        got = getattr(out, "dtype", type(out).__name__)
        raise TypeError(f"out must be an array of dtype {dtype}, got {got}")
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out must be writable, got a read-only array")


def room(shape: tuple[int, ...], compute: np.dtype[Any], out: Array | None, *inputs: Array) -> Array:
    """Where C writes: `out` if it is contiguous, of dtype `compute` and apart from the inputs."""
    if out is None or out.dtype != compute or not out.flags.carray:
        return np.empty(shape, compute)
    if any(np.may_share_memory(out, x) for x in inputs):
        return np.empty(shape, compute)
    return out


def finish(y: Array, dtype: np.dtype[Any], out: Array | None = None) -> Any:
    """The result y in `out` where one is given, else in its dtype; a NumPy scalar if it is 0-d."""
    if out is None:
        if y.dtype is dtype and y.ndim:
            return y
        with np.errstate(over="ignore"):
            return y.astype(dtype, order="C", copy=False)[()]
    if y is not out:
        with np.errstate(over="ignore"):
            out[...] = y
    return out


def scalar(value: float, dtype: np.dtype[Any]) -> Any:
    """A loss as a NumPy scalar of the result's dtype."""
    return finish(np.asarray(value), dtype)


def contiguous(x: Array) -> Any:
    """A C pointer to C-contiguous x, which it keeps alive."""
    return from_buffer(BUFFERS[x.dtype.char], x)


def strided(x: Array) -> tuple[Any, int, int]:
    """A C pointer to x[..., 0, 0], and the strides of x's last two axes, in elements.

    The caller keeps x alive.
    """
    flags = x.flags
    if flags.c_contiguous:
        return contiguous(x), x.shape[-1], 1
    if flags.f_contiguous and x.ndim == 2:
        return contiguous(x.T), 1, x.shape[0]
    at = ffi.cast(POINTERS[x.dtype.char], x.__array_interface__["data"][0])
    return at, x.strides[-2] // x.itemsize, x.strides[-1] // x.itemsize


def check(status: int) -> None:
    """Raise what a C function's status says."""
    if status == lib.ZDL_NO_MEMORY:
        raise MemoryError("no memory for the workspace of a matrix product")


def elementwise(c: Kernel, x: ArrayLike, out: Array | None = None) -> Any:
    """c(out, x, n) for x of any shape."""
    x, dtype = real("x", x)
    if out is None:
        y = np.empty(x.shape, x.dtype)
    else:
        check_out(out, x.shape, dtype)
        y = out if out is x else room(x.shape, x.dtype, out, x)
    c[x.dtype.char](contiguous(y), contiguous(x), x.size)
    return finish(y, dtype, out)


def elementwise_backward(c: Kernel, dout: ArrayLike, y: ArrayLike) -> Any:
    """c(dx, dout, y, n) for dout and y of one shape, or of shapes that broadcast."""
    dout, y, dtype = reals(dout=dout, y=y)
    dout, y = alike(dout, y)
    dx = np.empty(y.shape, y.dtype)
    c[y.dtype.char](contiguous(dx), contiguous(dout), contiguous(y), y.size)
    return finish(dx, dtype)
