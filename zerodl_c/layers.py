"""The layers on the C engine: what they are is said in the reference, once."""

# mypy: allow-redefinition
# (an argument keeps the book's name once it is an array)

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy import empty, ndarray
from numpy.typing import ArrayLike, NDArray

from . import functions
from ._arrays import as_array
from ._bridge import OK, check, finish, lib, real, reals
from .reference import layers as reference
from .reference.layers import _checked, _pixels
from .util import im2col

Array = NDArray[Any]

__all__ = [
    "Affine",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Pooling",
    "Relu",
    "Sigmoid",
    "SoftmaxWithLoss",
    "Tanh",
]


_RELU_MASK, _RELU_MASK_BACKWARD = lib.np_relu_mask, lib.np_relu_mask_backward
_BATCH_NORM, _BATCH_NORM_BACKWARD = lib.np_batch_norm, lib.np_batch_norm_backward


class _InC:
    _functions: ClassVar = functions


def _unless_set(make: Callable[[Any], Any]) -> Any:
    """A property that somebody may set; until then `make` computes it when it is read, since C does without it."""
    name = f"_{make.__name__}"

    def read(self: Any) -> Any:
        value = getattr(self, name)
        return make(self) if value is None else value

    return property(read, lambda self, value: setattr(self, name, value), doc=make.__doc__)


class _Restored:
    """A layer of a pickle of the book's own class, too, of which what C does without is an attribute like others."""

    def __setstate__(self, state: Any) -> None:
        for attributes in state if type(state) is tuple else (state,):
            for name, value in (attributes or {}).items():
                setattr(self, name, value)


class Relu(reference.Relu):
    """max(x, 0), elementwise.

    Attributes
    ----------
    mask : ndarray of bool
        Where x <= 0, and the output is 0: not where x is nan, which goes through.

    Examples
    --------
    >>> layer = Relu()
    >>> layer.forward([-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    >>> layer.backward(np.array([5.0, 6.0, 7.0]))
    array([0., 0., 7.])
    """

    def forward(self, x: ArrayLike) -> Array:
        """max(x, 0) for x of any shape."""
        if type(x) is ndarray and x.ndim:
            out, mask = empty(x.shape, x.dtype), empty(x.shape, bool)
            if _RELU_MASK(id(out), id(mask), id(x)) == OK:
                self.mask = mask
                return out
        x = as_array("x", x)
        self.mask = x <= 0
        return functions.relu(x)

    def _keep(self, out: Array) -> None:
        """What `forward` keeps, where a net has found its output."""
        self.mask = out <= 0

    def backward(self, dout: Array) -> Array:
        """`dout` itself, of x's shape: set to 0 in place where x <= 0."""
        mask = self.mask
        return dout if _RELU_MASK_BACKWARD(id(dout), id(mask)) == OK else super().backward(dout)


class _KeepsOutput(_InC):
    def _keep(self, out: Array) -> None:
        """What `forward` keeps, where a net has found its output."""
        self.out = out


class Sigmoid(_KeepsOutput, reference.Sigmoid):
    """1 / (1 + exp(-x)), elementwise.

    Attributes
    ----------
    out : ndarray
        The output.

    Examples
    --------
    >>> layer = Sigmoid()
    >>> layer.forward([0.0, 1.0])
    array([0.5       , 0.73105858])
    >>> layer.backward([1.0, 1.0])
    array([0.25      , 0.19661193])
    """


class Tanh(_KeepsOutput, reference.Tanh):
    """Hyperbolic tangent, elementwise.

    Attributes
    ----------
    out : ndarray
        The output.

    Examples
    --------
    >>> layer = Tanh()
    >>> layer.forward([0.0, 1.0])
    array([0.        , 0.76159416])
    >>> layer.backward([1.0, 1.0])
    array([1.        , 0.41997434])
    """


class Affine(_InC, reference.Affine):
    """x @ W + b, for each sample x as one row.

    Parameters
    ----------
    W : (inputs, outputs) array_like
    b : (outputs,) array_like, or one number

    Attributes
    ----------
    W, b : as given
    x : (batch, inputs) ndarray
        The last input, as rows.
    original_x_shape : tuple
        The shape that it came in.
    dW : (inputs, outputs) ndarray
    db : (outputs,) ndarray

    Examples
    --------
    >>> layer = Affine(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, -0.5]))
    >>> layer.forward([[1.0, 1.0]])
    array([[4.5, 5.5]])
    >>> layer.backward([[1.0, 0.0]])
    array([[1., 3.]])
    >>> layer.dW, layer.db
    (array([[1., 0.],
           [1., 0.]]), array([1., 0.]))
    """

    def _backward_without_dx(self, dout: ArrayLike) -> None:
        """`backward` of a net's first layer."""
        self.dW, self.db = functions._affine_parameters_backward(dout, self.x, self.W)


class SoftmaxWithLoss(_InC, reference.SoftmaxWithLoss):
    """The cross-entropy of softmax(x) against the right classes: the end of a net.

    Attributes
    ----------
    loss : scalar
    y : ndarray
        softmax(x), of x's shape.
    t : as given

    Examples
    --------
    >>> layer = SoftmaxWithLoss()
    >>> print(round(layer.forward([[0.0, 0.0]], [1]), 6))  # log(2)
    0.693147
    >>> layer.backward()
    array([[ 0.5, -0.5]])
    """


class Dropout(reference.Dropout):
    """Neurons that are switched off at random while a net learns, so that none relies on another.

    Later all are on, and scaled by the share that was on before (Srivastava et al., "Dropout: A
    Simple Way to Prevent Neural Networks from Overfitting", 2014).

    Parameters
    ----------
    dropout_ratio : float
        How many are switched off, from 0 to 1.

    Attributes
    ----------
    dropout_ratio : float
    mask : ndarray of bool
        Those that were on in the last pass with train_flg.

    Examples
    --------
    >>> np.random.seed(0)
    >>> layer = Dropout(0.6)
    >>> layer.forward([1.0, 2.0, 3.0, 4.0])
    array([0., 2., 3., 0.])
    >>> layer.backward([1.0, 1.0, 1.0, 1.0])
    array([0., 1., 1., 0.])
    >>> layer.forward([1.0, 2.0, 3.0, 4.0], train_flg=False)
    array([0.4, 0.8, 1.2, 1.6])
    """


class BatchNormalization(_Restored, reference.BatchNormalization):
    """gamma * (x - mean) / sqrt(variance + 1e-6) + beta: each feature centred and scaled over the batch.

    After Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift", 2015. Every pixel of an image is a feature of its own, as in the
    book; their section 3.2 would share statistics within a channel.

    Parameters
    ----------
    gamma, beta : (features,) array_like, or one number
    momentum : float
        What share of the running statistics a batch leaves as it is.
    running_mean, running_var : (features,) array_like, optional
        Where the running statistics start; both at 0 if there is no running_mean.

    Attributes
    ----------
    gamma, beta, momentum : as given
    running_mean, running_var : (features,) ndarray
        A moving average of the statistics: what stands in for them when the net no longer learns.
    input_shape : tuple
        x's shape.
    batch_size : int
        Of the last pass with train_flg, as are xc, std and xn, from which `backward` computes.
    xc : (batch, features) ndarray
        x - mean.
    std : (features,) ndarray
        What xc was divided by.
    xn : (batch, features) ndarray
        The normalised x, xc / std.
    dgamma, dbeta : (features,) ndarray

    Examples
    --------
    >>> layer = BatchNormalization(gamma=np.ones(2), beta=np.zeros(2))
    >>> layer.forward([[1.0, 10.0], [3.0, 30.0]]).round(3)
    array([[-1., -1.],
           [ 1.,  1.]])
    >>> layer.running_mean.round(3), layer.running_var.round(3)
    (array([0.2, 2. ]), array([ 0.1, 10. ]))
    >>> layer.backward([[1.0, 0.0], [0.0, 1.0]]).shape, layer.dbeta
    ((2, 2), array([1., 1.]))
    """

    _kept: Any = None, None  # xn and std of the last pass in C
    _xc: Any = None  # what somebody else has set

    @_unless_set
    def xc(self) -> Any:
        """x - mean of the last pass with train_flg."""
        xn, std = self._kept
        return None if xn is None else np.asarray(xn * std, xn.dtype)

    def forward(self, x: ArrayLike, train_flg: bool = True) -> Array:
        """Normalise x, (batch, features) or (batch, channels, height, width).

        With train_flg by the statistics of x, which move the running ones; else by those.
        """
        if not train_flg:
            return super().forward(x, train_flg)
        out = self._learn(x, self.gamma, self.beta)
        if out is not None:
            return out
        batch, gamma, beta, dtype = reals(x=x, gamma=self.gamma, beta=self.beta)
        batch = np.asarray(batch, order="C")
        out = self._learn(batch, _of_each(gamma, batch), _of_each(beta, batch), dtype)
        return super().forward(x) if out is None else finish(out, dtype)

    def _learn(self, x: Any, gamma: Any, beta: Any, result: Any = None) -> Any:
        """The output for train_flg, or None, with nothing done, if C does not take these. xn is kept as `result`."""
        if type(x) is not ndarray or not x.ndim:
            return None
        dtype, features = x.dtype, math.prod(x.shape[1:])
        out, xn = empty(x.shape, dtype), empty((len(x), features), dtype)
        mean, variance, std = empty(features, dtype), empty(features, dtype), empty(features, dtype)
        if _BATCH_NORM(*map(id, (out, xn, mean, variance, std, x, gamma, beta))) != OK:
            return None
        self.input_shape = x.shape
        if self.running_mean is None:
            self.running_mean, self.running_var = np.zeros((2, features))
        self.running_mean = self._moved(self.running_mean, mean)
        self.running_var = self._moved(self.running_var, variance)
        self.batch_size, self.std, self.xn = len(x), std, xn if result is None else finish(xn, result)
        self._xc, self._kept = None, (self.xn, std)
        return out

    def backward(self, dout: ArrayLike) -> Array:
        """dx, of x's shape as dout is; keeps dgamma and dbeta. x is that of the last pass with train_flg."""
        xn, std = self._kept
        if self._xc is not None or self.xn is not xn or self.std is not std or self.batch_size != len(xn):
            return super().backward(dout)
        dout = _checked(dout, self.input_shape)
        grads = _batch_norm_gradients(dout, xn, self.gamma, std)
        if grads is None:
            batch, xn, gamma, dtype = reals(dout=dout, xn=xn, gamma=self.gamma)
            batch, xn, std = np.asarray(batch, order="C"), np.asarray(xn, order="C"), np.asarray(std, batch.dtype)
            grads = _batch_norm_gradients(batch, xn, _of_each(gamma, batch), std)
            if grads is None:
                return super().backward(dout)
            grads = [finish(grad, dtype) for grad in grads]
        dx, self.dgamma, self.dbeta = grads
        return dx


def _batch_norm_gradients(dout: Array, xn: Any, gamma: Any, std: Any) -> Any:
    """dx, dgamma and dbeta, or None if C does not take these."""
    features = math.prod(dout.shape[1:])
    dx, dgamma, dbeta = empty(dout.shape, dout.dtype), empty(features, dout.dtype), empty(features, dout.dtype)
    status = _BATCH_NORM_BACKWARD(*map(id, (dx, dgamma, dbeta, dout, xn, gamma, std)))
    return (dx, dgamma, dbeta) if status == OK else None


def _of_each(value: Array, batch: Array) -> Array:
    """One number as one for each feature of the batch."""
    return value if value.ndim else np.full(math.prod(batch.shape[1:]), value)


class Convolution(_Restored, reference.Convolution):
    """Filters that slide over images: at each place, the sum of pixels times weights, plus b.

    It is a product of matrices: im2col makes a row of each place, and a filter is a column.

    Parameters
    ----------
    W : (filters, channels, filter_h, filter_w) array_like
    b : (filters,) array_like, or one number
    stride : int
        From one place to the next, in both directions.
    pad : int
        Zeros around each image.

    Attributes
    ----------
    W, b, stride, pad : as given
    x : (batch, channels, height, width) ndarray
        The last input.
    col : (batch * out_h * out_w, channels * filter_h * filter_w) ndarray
        Its im2col.
    col_W : (channels * filter_h * filter_w, filters) ndarray
        W as it was multiplied by, a column for each filter. `backward` computes from col and col_W.
    dW, db : ndarray
        Of the shapes of W and (filters,).

    Examples
    --------
    >>> layer = Convolution(np.ones((1, 1, 2, 2)), 0)
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> layer.forward(x)
    array([[[[ 8., 12.],
             [20., 24.]]]])
    >>> layer.backward(np.ones((1, 1, 2, 2)))
    array([[[[1., 2., 1.],
             [2., 4., 2.],
             [1., 2., 1.]]]])
    >>> layer.dW, layer.db
    (array([[[[ 8., 12.],
              [20., 24.]]]]), array([4.]))
    """

    _kept_x: Any = None  # a copy of the last input, which may be changed in place before `backward`
    _kept_W: Any = None  # that of the last `forward`
    _col: Any = None  # what somebody else has set, as _col_W
    _col_W: Any = None

    @_unless_set
    def col(self) -> Any:
        """im2col of the last input."""
        x, W = self._kept_x, self._kept_W
        if x is None or W is None:
            return None
        _, _, filter_h, filter_w = W.shape
        return im2col(x, filter_h, filter_w, self.stride, self.pad)

    @_unless_set
    def col_W(self) -> Any:
        """The last W, a column for each filter."""
        W = self._kept_W
        return None if W is None else W.reshape(len(W), math.prod(W.shape[1:])).T

    def forward(self, x: ArrayLike) -> Array:
        """(batch, filters, out_h, out_w) for x of shape (batch, channels, height, width).

        The sizes are those of `im2col`, and so are the errors; besides, W must be 4-D with x's
        channels, else it is a ValueError.
        """
        given, W = as_array("x", x), as_array("W", self.W)
        shape, window = self._shape_of_output(given, W), self._window(W)
        given_W = W
        kept_x = np.array(given, order="C")
        x, W, b, dtype = reals(x=kept_x, W=W, b=self.b)
        if b.ndim > 1 and b.size > b.shape[-1]:
            return super().forward(given)  # a number for each place, not only for each filter
        out, b = empty(shape, x.dtype), np.broadcast_to(b.ravel() if b.ndim else b, len(W))
        arrays = [np.asarray(array, order="C") for array in (x, W, b)]
        check(lib.np_convolution(id(out), *map(id, arrays), *window[2:]))
        self.x, self._kept_x, self._kept_W, self._col, self._col_W = given, kept_x, given_W, None, None
        return finish(out, dtype)

    def backward(self, dout: ArrayLike) -> Array:
        """dx, of x's shape, for dout of the output's shape; keeps dW and db."""
        if self._col is not None or self._col_W is not None:
            return super().backward(dout)
        x, W, kept_x, kept_W = self.x, as_array("W", self.W), self._kept_x, self._kept_W
        if kept_x is not None and np.shape(x) == kept_x.shape:
            x = kept_x
        if kept_W is None or W.shape != kept_W.shape:
            _checked(dout, self._shape_of_output(x, W))
        else:
            W = kept_W
        status, grads = self._gradients(dout, x, W)
        if status == lib.NP_NOT_PLAIN:
            dout, x, W, dtype = reals(dout=_checked(dout, self._shape_of_output(x, W)), x=x, W=W)
            status, grads = self._gradients(*(np.asarray(array, order="C") for array in (dout, x, W)))
            grads = [finish(grad, dtype) for grad in grads]
        check(status)
        dx, self.dW, self.db = grads
        return dx

    def _gradients(self, dout: ArrayLike, x: Array, W: Array) -> tuple[int, Any]:
        """C's status, and dx, dW and db."""
        if type(dout) is not ndarray or type(x) is not ndarray:
            return lib.NP_NOT_PLAIN, None
        grads = [empty(shape, x.dtype) for shape in (x.shape, W.shape, len(W))]
        arrays = *grads, dout, x, W
        return lib.np_convolution_backward(*map(id, arrays), *self._window(W)[2:]), grads


class Pooling(_Restored, reference.Pooling):
    """The largest pixel of each window, channel by channel.

    Parameters
    ----------
    pool_h, pool_w : int
        Size of a window.
    stride : int
        From one window to the next, in both directions.
    pad : int
        Zeros around each image; they count as pixels.

    Attributes
    ----------
    pool_h, pool_w, stride, pad : as given
    x : (batch, channels, height, width) ndarray
        The last input.
    arg_max : (batch * out_h * out_w * channels,) ndarray of int
        Which pixel of each window, row by row, it was: the first of equals.

    Examples
    --------
    >>> layer = Pooling(pool_h=2, pool_w=2)
    >>> layer.forward([[[[1.0, 2.0, 3.0, 9.0], [4.0, 0.0, 5.0, 6.0]]]])
    array([[[[4., 9.]]]])
    >>> layer.backward([[[[7.0, 8.0]]]])
    array([[[[0., 0., 0., 8.],
             [7., 0., 0., 0.]]]])
    """

    _places: Any = None  # arg_max of the last `forward`, of the output's shape
    _arg_max: Any = None  # what somebody else has read or set

    @property
    def arg_max(self) -> Any:
        """Which pixel of its window each output is, (batch * out_h * out_w * channels,): made when it is read."""
        if self._arg_max is None and self._places is not None:
            self._arg_max = self._places.transpose(0, 2, 3, 1).flatten()
        return self._arg_max

    @arg_max.setter
    def arg_max(self, value: Any) -> None:
        self._arg_max = value

    def forward(self, x: ArrayLike) -> Array:
        """(batch, channels, out_h, out_w) for x of shape (batch, channels, height, width).

        The sizes are those of `im2col`, and so are the errors.
        """
        given, window = as_array("x", x), self._window()
        shape = self._shape_of_output(given, window)
        x, dtype = real("x", given)
        out = empty(shape, x.dtype)
        places = empty(shape, np.int64)
        check(lib.np_pooling(id(out), id(places), id(x), *window))
        self.x, self._places, self._arg_max = given, places, None
        return finish(out, dtype)

    def backward(self, dout: ArrayLike) -> Array:
        """dx, of x's shape: dout, of the output's shape, where the largest pixels are, else 0."""
        x, window = self.x, self._window()
        if type(dout) is ndarray and type(x) is ndarray and self._arg_max is None:
            dx, places = empty(x.shape, dout.dtype), self._places
            if lib.np_pooling_backward(id(dx), id(dout), id(places), *window) == OK:
                return dx
        shape = self._shape_of_output(x, window)
        dout, dtype = real("dout", _checked(dout, shape))
        dx, places = empty(x.shape, dout.dtype), self._places
        if self._arg_max is None and lib.np_pooling_backward(id(dx), id(dout), id(places), *window) == OK:
            return finish(dx, dtype)
        batch, channels, out_h, out_w = shape
        pixels = _pixels(self.arg_max, dout.size, window[0] * window[1])
        places = pixels.reshape(batch, out_h, out_w, channels).transpose(0, 3, 1, 2).astype(np.int64, order="C")
        check(lib.np_pooling_backward(id(dx), id(dout), id(places), *window))
        return finish(dx, dtype)
