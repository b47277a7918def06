"""Images as matrices, and small helpers of the book's scripts."""

# mypy: allow-redefinition
# (an argument keeps the book's name once it is an array)

from __future__ import annotations

import math
from operator import index
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from .._arrays import as_array
from .functions import _floats, _result

Array = NDArray[Any]

_MOST_PIXELS = 2**60  # of a padded image: of float64, as many as an address can tell apart


def smooth_curve(x: ArrayLike) -> Array:
    """The curve x, each point averaged with the five on either side: what noisy losses tell.

    The weights are a Kaiser window of 11 points with beta = 2; at its ends, the curve is reflected.

    Parameters
    ----------
    x : (n,) array_like

    Returns
    -------
    (n,) ndarray of float64
        Shorter where n < 11, as in the book: such a curve is too short to be reflected.

    Raises
    ------
    ValueError
        If x is not 1-D, or empty.

    Examples
    --------
    >>> noisy = np.arange(20) + np.tile([0.5, -0.5], 10)
    >>> smooth_curve(noisy)[8:12].round(1)
    array([ 8.,  9., 10., 11.])
    """
    x = as_array("x", x)
    if x.ndim != 1 or not x.size:
        raise ValueError(f"x must be 1-D and not empty, got shape {x.shape}")
    window = np.kaiser(11, 2)
    reflected = np.concatenate([x[10:0:-1], x, x[:-11:-1]])
    return np.convolve(window / window.sum(), reflected, mode="valid")[5:-5]


def shuffle_dataset(x: ArrayLike, t: ArrayLike) -> tuple[Array, Array]:
    """x and t in one random order, drawn from NumPy's global generator.

    Parameters
    ----------
    x, t : (n, ...) array_like
        Samples along the first axis, such as images and labels; not changed. Where t has more than
        x, the rest is left out.

    Returns
    -------
    (n, ...) ndarrays
        Copies, of x's and t's dtypes.

    Raises
    ------
    ValueError
        If x or t has no first axis, or t is shorter than x.

    Examples
    --------
    >>> np.random.seed(0)
    >>> shuffle_dataset([[1.0], [2.0], [3.0]], [1, 2, 3])
    (array([[3.],
           [2.],
           [1.]]), array([3, 2, 1]))
    """
    x, t = as_array("x", x), as_array("t", t)
    if not x.ndim or not t.ndim or len(t) < len(x):
        raise ValueError(f"t must have a sample for each of x, got shapes {t.shape} and {x.shape}")
    order = np.random.permutation(len(x))
    return x[order], t[order]


def conv_output_size(input_size: float, filter_size: float, stride: float = 1, pad: float = 0) -> float:
    """How many times a filter fits along one axis: (input_size + 2 * pad - filter_size) / stride + 1.

    A float, as in the book, and a fraction where the last step does not reach the edge.

    Examples
    --------
    >>> conv_output_size(28, 5), conv_output_size(28, 2, stride=2), conv_output_size(7, 2, stride=2)
    (24.0, 14.0, 3.5)
    """
    sizes = input_size, filter_size, stride, pad
    # 8-bit integers of NumPy would wrap around
    input_size, filter_size, stride, pad = (int(n) if isinstance(n, np.integer) else n for n in sizes)
    return (input_size + 2 * pad - filter_size) / stride + 1


def im2col(input_data: ArrayLike, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    """Every window that a filter sees, as a row: convolution becomes a product of matrices."""
    x, dtype = _floats(input_data=input_data)
    filter_h, filter_w, stride, pad = window = _window(filter_h, filter_w, stride, pad)
    _output_shape(x.shape, window)
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    windows = sliding_window_view(x, (filter_h, filter_w), axis=(2, 3))[:, :, ::stride, ::stride]
    rows = windows.transpose(0, 2, 3, 1, 4, 5).copy()  # batch, out_h, out_w, channels, filter_h, filter_w
    return _result(rows.reshape(math.prod(rows.shape[:3]), math.prod(rows.shape[3:])), dtype)


def col2im(
    col: ArrayLike, input_shape: tuple[int, ...], filter_h: int, filter_w: int, stride: int = 1, pad: int = 0
) -> Array:
    """The transpose of im2col: rows go back to where they came from, and add up where they overlap."""
    col, dtype = _floats(col=col)
    filter_h, filter_w, stride, pad = window = _window(filter_h, filter_w, stride, pad)
    rows = _columns_of(col, input_shape, window)
    out_h, out_w = _output_shape(input_shape, window)
    N, C, H, W = input_shape
    windows = rows.reshape(N, out_h, out_w, C, filter_h, filter_w).transpose(0, 3, 4, 5, 1, 2)
    images = np.zeros((N, C, H + 2 * pad, W + 2 * pad), col.dtype)
    for i, j in np.ndindex(filter_h, filter_w):  # the pixels at (i, j) of all windows: no two are the same
        images[:, :, i : i + stride * out_h : stride, j : j + stride * out_w : stride] += windows[:, :, i, j]
    return _result(images[:, :, pad : pad + H, pad : pad + W], dtype)


def _columns_of(col: Array, input_shape: tuple[int, ...], window: tuple[int, int, int, int]) -> Array:
    """col as im2col gives it for images of input_shape: ValueError if it has not as many entries."""
    out_h, out_w = _output_shape(input_shape, window)
    shape = input_shape[0] * out_h * out_w, input_shape[1] * window[0] * window[1]
    if col.size != math.prod(shape):
        raise ValueError(f"col must have {math.prod(shape)} entries for such images, got shape {col.shape}")
    return col.reshape(shape)


def _window(filter_h: int, filter_w: int, stride: int, pad: int) -> tuple[int, int, int, int]:
    """The sizes of a window as Python's integers, which do not wrap around, once they are what they must be."""
    plain = type(filter_h) is type(filter_w) is type(stride) is type(pad) is int
    if plain and filter_h > 0 < filter_w and 0 < stride <= _MOST_PIXELS and pad >= 0:
        return filter_h, filter_w, stride, pad  # nothing to do, in most calls
    sizes = {"filter_h": filter_h, "filter_w": filter_w, "stride": stride, "pad": pad}
    for name, size in sizes.items():
        least = 0 if name == "pad" else 1
        if index(size) < least:
            raise ValueError(f"{name} must be {least} or more, got {size}")
    # A stride beyond every image is as good as any longer one, which C could not hold.
    return index(filter_h), index(filter_w), min(index(stride), _MOST_PIXELS), index(pad)


def _output_shape(input_shape: tuple[int, ...], window: tuple[int, int, int, int]) -> tuple[int, int]:
    """How many windows lie below each other and side by side, once they are known to fit."""
    filter_h, filter_w, stride, pad = window
    if len(input_shape) != 4:
        raise ValueError(f"images must be (batch, channels, height, width), got shape {tuple(input_shape)}")
    height, width = index(input_shape[2]) + 2 * pad, index(input_shape[3]) + 2 * pad
    if height * width > _MOST_PIXELS:
        raise ValueError(f"padded images must have {_MOST_PIXELS} pixels at most, got {height} x {width}")
    if height < filter_h or width < filter_w:
        size = f"{filter_h} x {filter_w}"
        raise ValueError(f"padded images must hold a window of {size}, got {height} x {width}")
    return (height - filter_h) // stride + 1, (width - filter_w) // stride + 1
