"""Layers: a forward pass that remembers, and a backward pass that takes a gradient through it.

`forward` takes the input x (images are (batch, channels, height, width)) and gives the output.
`backward(dout)` takes the gradient of the loss with respect to that output, gives the one with
respect to x, and keeps those of the parameters: dW is that of W. Parameters are read at each call,
so they may change in place or be replaced. Dtypes are those of `functions`.
"""

# mypy: allow-redefinition
# (an argument keeps the book's name once it is an array)

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import as_array
from .._checks import check_number, check_whole
from .._shown import Shown
from . import functions
from .functions import _floats, _result, affine, affine_backward, relu
from .util import _output_shape, _window, col2im, im2col

Array = NDArray[Any]


class _OfFunctions(Shown):
    """A layer that is made of functions alone."""

    _functions: ClassVar[ModuleType] = functions  # those of the engine


class Relu(Shown):
    """max(x, 0), elementwise."""

    def __init__(self) -> None:
        self.mask: Any = None

    def forward(self, x: ArrayLike) -> Array:
        """max(x, 0) for x of any shape."""
        x = as_array("x", x)
        self.mask = x <= 0
        return relu(x)

    def backward(self, dout: Array) -> Array:
        """`dout` itself, of x's shape: set to 0 in place where x <= 0."""
        dout[self.mask] = 0
        return dout


class Sigmoid(_OfFunctions):
    """1 / (1 + exp(-x)), elementwise."""

    def __init__(self) -> None:
        self.out: Any = None

    def forward(self, x: ArrayLike) -> Array:
        """1 / (1 + exp(-x)) for x of any shape."""
        self.out = out = self._functions.sigmoid(x)
        return out

    def backward(self, dout: ArrayLike) -> Array:
        """dout * out * (1 - out); dout has x's shape."""
        return self._functions.sigmoid_backward(dout, self.out)


class Tanh(_OfFunctions):
    """Hyperbolic tangent, elementwise."""

    def __init__(self) -> None:
        self.out: Any = None

    def forward(self, x: ArrayLike) -> Array:
        """tanh(x) for x of any shape."""
        self.out = out = self._functions.tanh(x)
        return out

    def backward(self, dout: ArrayLike) -> Array:
        """dout * (1 - out^2); dout has x's shape."""
        return self._functions.tanh_backward(dout, self.out)


class Affine(_OfFunctions):
    """x @ W + b, for each sample x as one row."""

    def __init__(self, W: ArrayLike, b: ArrayLike) -> None:
        self.W, self.b = W, b
        self.x: Any = None
        self.original_x_shape: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: ArrayLike) -> Array:
        """(batch, outputs) for x of shape (batch, ...), `inputs` numbers for each sample."""
        x = as_array("x", x)
        rows = x if x.ndim == 2 else x.reshape(len(x), math.prod(x.shape[1:]))
        self.x, self.original_x_shape = rows, x.shape
        return self._functions.affine(rows, self.W, self.b)

    def backward(self, dout: ArrayLike) -> Array:
        """dx, of the shape in which x came, for dout of shape (batch, outputs); keeps dW and db."""
        dx, self.dW, self.db = self._functions.affine_backward(dout, self.x, self.W)
        return dx if dx.shape == self.original_x_shape else dx.reshape(self.original_x_shape)


class SoftmaxWithLoss(_OfFunctions):
    """The cross-entropy of softmax(x) against the right classes: the end of a net."""

    def __init__(self) -> None:
        self.loss: Any = None
        self.y: Any = None
        self.t: Any = None

    def forward(self, x: ArrayLike, t: ArrayLike) -> float:
        """The loss, for scores x (batch, classes) and t, (batch,) labels or one-hot rows.

        Errors are those of `cross_entropy_error`.
        """
        loss, y = self._functions.softmax_cross_entropy(x, t)
        self.loss, self.y, self.t = loss, y, t
        return loss

    def backward(self, dout: Any = 1) -> Array:
        """(y - t) / batch, of x's shape.

        Nothing follows the loss: dout is 1 whatever is given, as in the book, and is there so that
        every layer is called alike.
        """
        return self._functions.softmax_cross_entropy_backward(self.y, self.t)


class Dropout(Shown):
    """Neurons that are switched off at random while a net learns, so that none relies on another."""

    def __init__(self, dropout_ratio: float = 0.5) -> None:
        check_number("dropout_ratio", dropout_ratio, most=1)
        self.dropout_ratio = dropout_ratio
        self.mask: Any = None

    def forward(self, x: ArrayLike, train_flg: bool = True) -> Array:
        """x of any shape, with zeros at random (from NumPy's global generator), or scaled."""
        x, dtype = _float("x", x)
        if not train_flg:
            return _result(x * (1.0 - self.dropout_ratio), dtype)
        self.mask = mask = np.random.rand(*x.shape) > self.dropout_ratio
        return _result(x * mask, dtype)

    def backward(self, dout: ArrayLike) -> Array:
        """`dout` where the neuron was on, else 0; dout has x's shape."""
        dout, dtype = _float("dout", dout)
        return _result(dout * self.mask, dtype)


class BatchNormalization(Shown):
    """gamma * (x - mean) / sqrt(variance + 1e-6) + beta: each feature centred and scaled over the batch."""

    def __init__(
        self,
        gamma: ArrayLike,
        beta: ArrayLike,
        momentum: float = 0.9,
        running_mean: ArrayLike | None = None,
        running_var: ArrayLike | None = None,
    ) -> None:
        check_number("momentum", momentum, most=1)
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean: Any = running_mean
        self.running_var: Any = running_var
        self.input_shape: Any = None
        self.batch_size: Any = None
        self.xc: Any = None
        self.std: Any = None
        self.xn: Any = None
        self.dgamma: Any = None
        self.dbeta: Any = None

    def forward(self, x: ArrayLike, train_flg: bool = True) -> Array:
        """Normalise x, (batch, features) or (batch, channels, height, width).

        With train_flg by the statistics of x, which move the running ones; else by those.
        """
        x, gamma, beta, dtype = _floats(x=x, gamma=self.gamma, beta=self.beta)
        self.input_shape = x.shape
        rows = x.reshape(len(x), math.prod(x.shape[1:]))
        if self.running_mean is None:
            self.running_mean, self.running_var = np.zeros((2, rows.shape[1]))
        if train_flg:
            mean = _mean(rows)
            centred = rows - mean
            variance = _mean(centred**2)
            self.running_mean = self._moved(self.running_mean, mean)
            self.running_var = self._moved(self.running_var, variance)
            self.batch_size, self.std = len(rows), np.sqrt(variance + 1e-6)
            xn = centred / self.std
            self.xc, self.xn = _result(centred, dtype), _result(xn, dtype)
        else:
            xn = (rows - self.running_mean) / np.sqrt(np.add(self.running_var, 1e-6))
        return _result((gamma * xn + beta).reshape(x.shape), dtype)

    def backward(self, dout: ArrayLike) -> Array:
        """dx, of x's shape as dout is; keeps dgamma and dbeta. x is that of the last pass with train_flg.

        The mean and the variance depend on x, too: their part of the gradient is what is
        subtracted from dout (Ioffe and Szegedy, section 3). The mean of xc is 0, unless a subclass
        has set another xc in a `forward` of its own.
        """
        dout = _checked(dout, self.input_shape)
        dout, gamma, xn, xc, dtype = _floats(dout=dout, gamma=self.gamma, xn=self.xn, xc=self.xc)
        rows, scaled = dout.reshape(xn.shape), xc / self.std
        dbeta, dgamma = rows.sum(axis=0), (rows * xn).sum(axis=0)
        along = (scaled - _mean(scaled)) * (rows * scaled).sum(axis=0)
        dx = gamma / self.std * (rows - (dbeta + along) / self.batch_size)
        self.dgamma, self.dbeta = _result(dgamma, dtype), _result(dbeta, dtype)
        return _result(dx.reshape(dout.shape), dtype)

    def _moved(self, running: ArrayLike, statistic: Array) -> Array:
        return self.momentum * np.asarray(running) + (1 - self.momentum) * statistic


class Convolution(Shown):
    """Filters that slide over images: at each place, the sum of pixels times weights, plus b."""

    def __init__(self, W: ArrayLike, b: ArrayLike, stride: int = 1, pad: int = 0) -> None:
        check_whole("stride", stride)
        check_whole("pad", pad, least=0)
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
        self.x: Any = None
        self.col: Any = None
        self.col_W: Any = None
        self.dW: Any = None
        self.db: Any = None

    def forward(self, x: ArrayLike) -> Array:
        """(batch, filters, out_h, out_w) for x of shape (batch, channels, height, width).

        The sizes are those of `im2col`, and so are the errors; besides, W must be 4-D with x's
        channels, else it is a ValueError.
        """
        x, W = as_array("x", x), as_array("W", self.W)
        batch, filters, out_h, out_w = self._shape_of_output(x, W)
        col = im2col(x, W.shape[2], W.shape[3], self.stride, self.pad)
        col_W = W.reshape(filters, math.prod(W.shape[1:])).T
        pixels = affine(col, col_W, self.b)
        self.x, self.col, self.col_W = x, col, col_W
        return pixels.reshape(batch, out_h, out_w, filters).transpose(0, 3, 1, 2)

    def backward(self, dout: ArrayLike) -> Array:
        """dx, of x's shape, for dout of the output's shape; keeps dW and db."""
        x, W = self.x, as_array("W", self.W)
        dout = _checked(dout, self._shape_of_output(x, W))
        filters, _, filter_h, filter_w = W.shape
        pixels = dout.transpose(0, 2, 3, 1).reshape(math.prod(dout.shape) // max(filters, 1), filters)
        dcol, dW, db = affine_backward(pixels, self.col, self.col_W)
        self.dW, self.db = dW.T.reshape(W.shape), db
        return col2im(dcol, x.shape, filter_h, filter_w, self.stride, self.pad)

    def _shape_of_output(self, x: Array, W: Array) -> tuple[int, ...]:
        """(batch, filters, out_h, out_w), once x and W are known to fit."""
        if W.ndim != 4 or np.ndim(x) != 4 or W.shape[1] != x.shape[1]:
            shapes = f"got shapes {np.shape(x)} and {W.shape}"
            raise ValueError(f"x and W must be (batch, channels, height, width) with equal channels, {shapes}")
        return (len(x), len(W), *_output_shape(x.shape, self._window(W)))

    def _window(self, W: Array) -> tuple[int, int, int, int]:
        _, _, filter_h, filter_w = W.shape
        return _window(filter_h, filter_w, self.stride, self.pad)


class Pooling(Shown):
    """The largest pixel of each window, channel by channel."""

    def __init__(self, pool_h: int, pool_w: int, stride: int = 2, pad: int = 0) -> None:
        for name, size in {"pool_h": pool_h, "pool_w": pool_w, "stride": stride}.items():
            check_whole(name, size)
        check_whole("pad", pad, least=0)
        self.pool_h, self.pool_w, self.stride, self.pad = pool_h, pool_w, stride, pad
        self.x: Any = None
        self.arg_max: Any = None

    def forward(self, x: ArrayLike) -> Array:
        """(batch, channels, out_h, out_w) for x of shape (batch, channels, height, width).

        The sizes are those of `im2col`, and so are the errors.
        """
        x, window = as_array("x", x), self._window()
        batch, channels, out_h, out_w = self._shape_of_output(x, window)
        windows = im2col(x, *window).reshape(batch * channels * out_h * out_w, window[0] * window[1])
        self.x, self.arg_max = x, windows.argmax(axis=1)
        return windows.max(axis=1).reshape(batch, out_h, out_w, channels).transpose(0, 3, 1, 2)

    def backward(self, dout: ArrayLike) -> Array:
        """dx, of x's shape: dout, of the output's shape, where the largest pixels are, else 0."""
        x, window = self.x, self._window()
        dout, dtype = _floats(dout=_checked(dout, self._shape_of_output(x, window)))
        dcol = np.zeros((dout.size, window[0] * window[1]), dtype)
        arg_max = _pixels(self.arg_max, *dcol.shape)
        dcol[np.arange(dout.size), arg_max] = dout.transpose(0, 2, 3, 1).ravel()
        return col2im(dcol, x.shape, *window)

    def _window(self) -> tuple[int, int, int, int]:
        return _window(self.pool_h, self.pool_w, self.stride, self.pad)

    def _shape_of_output(self, x: Array, window: tuple[int, int, int, int]) -> tuple[int, ...]:
        return (*x.shape[:2], *_output_shape(x.shape, window))


def _float(name: str, x: Any) -> Any:
    """`_floats` of one operand, quickly where there is nothing to do."""
    if type(x) is np.ndarray and x.dtype in (np.float64, np.float32):
        return x, x.dtype
    return _floats(**{name: x})


def _mean(rows: Array) -> Array:
    """The mean of the rows, added up in float64."""
    return rows.mean(axis=0, dtype=np.float64).astype(rows.dtype)


def _pixels(arg_max: ArrayLike, windows: int, size: int) -> Array:
    """A copy of `arg_max` as an index from 0 to size - 1 for each window; a negative one counts from the end."""
    pixels = np.array(arg_max)
    if pixels.dtype.kind not in "iu":
        raise TypeError(f"arg_max must hold integers, got dtype {pixels.dtype}")
    if pixels.shape != (windows,):
        raise ValueError(f"arg_max must have an index for each entry of dout, shape ({windows},), got {pixels.shape}")
    if windows and not -size <= pixels.min() <= pixels.max() < size:
        raise IndexError(f"arg_max must hold indices below {size}, got {pixels.min()} to {pixels.max()}")
    return np.where(pixels < 0, pixels + size, pixels).astype(np.int64)


def _checked(dout: ArrayLike, shape: tuple[int, ...]) -> Array:
    """dout as an array; ValueError unless it has the shape of the output."""
    dout = as_array("dout", dout)
    if dout.shape != shape:
        raise ValueError(f"dout must have the shape of the output, {shape}, got {dout.shape}")
    return dout
