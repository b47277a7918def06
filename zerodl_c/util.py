"""im2col and col2im in C, and the helpers for the book's scripts that both engines share."""

# mypy: allow-redefinition
# (an argument keeps the book's name after it is converted to an array)

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._bridge import check, finish, lib, real
from .reference.util import _columns_of, _output_shape, _window, conv_output_size, shuffle_dataset, smooth_curve

Array = NDArray[Any]

__all__ = ["col2im", "conv_output_size", "im2col", "shuffle_dataset", "smooth_curve"]


def im2col(input_data: ArrayLike, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    """Every window that a filter sees, as a row: convolution becomes a product of matrices.

    Parameters
    ----------
    input_data : (batch, channels, height, width) array_like
        Images; not changed.
    filter_h, filter_w : int
        Size of a window.
    stride : int
        From one window to the next, in both directions.
    pad : int
        Zeros around each image.

    Returns
    -------
    (batch * out_h * out_w, channels * filter_h * filter_w) ndarray
        Of input_data's float dtype; float64 for integers. Here
        out_h = (height + 2 * pad - filter_h) // stride + 1, and out_w likewise.

    Raises
    ------
    ValueError
        If input_data is not 4-D; filter_h, filter_w or stride is less than 1, or pad than 0; or a
        padded image is smaller than a window.
    TypeError
        If one of the sizes is not an integer.

    Examples
    --------
    >>> im2col(np.arange(9.0).reshape(1, 1, 3, 3), 2, 2)
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.],
           [3., 4., 6., 7.],
           [4., 5., 7., 8.]])
    """
    x, dtype = real("input_data", input_data)
    window = _window(filter_h, filter_w, stride, pad)
    out_h, out_w = _output_shape(x.shape, window)
    col = np.empty((len(x) * out_h * out_w, x.shape[1] * window[0] * window[1]), x.dtype)
    check(lib.np_im2col(id(col), id(x), *window))
    return finish(col, dtype)


def col2im(
    col: ArrayLike, input_shape: tuple[int, ...], filter_h: int, filter_w: int, stride: int = 1, pad: int = 0
) -> Array:
    """The transpose of im2col: rows go back to where they came from, and add up where they overlap.

    It takes the gradient with respect to the windows to that with respect to the images.

    Parameters
    ----------
    col : array_like
        What im2col gives for images of input_shape, in any shape of as many entries; not changed.
    input_shape : (batch, channels, height, width)
    filter_h, filter_w, stride, pad : int
        As for im2col, and so are the errors.

    Returns
    -------
    ndarray of input_shape
        Of col's float dtype; float64 for integers. With pad, a view into the padded images.

    Examples
    --------
    >>> col2im(np.ones((4, 4)), (1, 1, 3, 3), 2, 2)  # how many windows see each pixel
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    """
    col, dtype = real("col", col)
    window = _window(filter_h, filter_w, stride, pad)
    col = _columns_of(col, input_shape, window)
    dx = np.empty(input_shape, col.dtype)
    check(lib.np_col2im(id(dx), id(col), *window))
    return finish(dx, dtype)
