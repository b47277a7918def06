"""im2col and col2im in C, and the helpers for the book's scripts that both engines share."""

# mypy: allow-redefinition
# (an argument keeps the book's name after it is converted to an array)

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._bridge import check, finish, lib, real
from .reference import util as reference
from .reference.util import _columns_of, _output_shape, _window, conv_output_size, shuffle_dataset, smooth_curve

Array = NDArray[Any]

__all__ = ["col2im", "conv_output_size", "im2col", "shuffle_dataset", "smooth_curve"]


def im2col(input_data: ArrayLike, filter_h: int, filter_w: int, stride: int = 1, pad: int = 0) -> Array:
    x, dtype = real("input_data", input_data)
    window = _window(filter_h, filter_w, stride, pad)
    out_h, out_w = _output_shape(x.shape, window)
    col = np.empty((len(x) * out_h * out_w, x.shape[1] * window[0] * window[1]), x.dtype)
    check(lib.np_im2col(id(col), id(x), *window))
    return finish(col, dtype)


def col2im(
    col: ArrayLike, input_shape: tuple[int, ...], filter_h: int, filter_w: int, stride: int = 1, pad: int = 0
) -> Array:
    col, dtype = real("col", col)
    window = _window(filter_h, filter_w, stride, pad)
    col = _columns_of(col, input_shape, window)
    dx = np.empty(input_shape, col.dtype)
    check(lib.np_col2im(id(dx), id(col), *window))
    return finish(dx, dtype)


im2col.__doc__, col2im.__doc__ = reference.im2col.__doc__, reference.col2im.__doc__
