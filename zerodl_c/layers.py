"""The layers on the C engine: what they are is said in the reference, once."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .functions import (
    affine,
    affine_backward,
    relu,
    sigmoid,
    sigmoid_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
    tanh,
    tanh_backward,
)
from .reference import layers as reference

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


class Relu(reference.Relu):
    __doc__ = reference.Relu.__doc__

    def forward(self, x: ArrayLike) -> Array:
        """max(x, 0) for x of any shape."""
        self.mask = np.asarray(x) <= 0
        return relu(x)


class Sigmoid(reference.Sigmoid):
    __doc__ = reference.Sigmoid.__doc__

    def forward(self, x: ArrayLike) -> Array:
        """1 / (1 + exp(-x)) for x of any shape."""
        self.out = sigmoid(x)
        return self.out

    def backward(self, dout: ArrayLike) -> Array:
        """dout * out * (1 - out); dout has x's shape."""
        return sigmoid_backward(dout, self.out)


class Tanh(reference.Tanh):
    __doc__ = reference.Tanh.__doc__

    def forward(self, x: ArrayLike) -> Array:
        """tanh(x) for x of any shape."""
        self.out = tanh(x)
        return self.out

    def backward(self, dout: ArrayLike) -> Array:
        """dout * (1 - out^2); dout has x's shape."""
        return tanh_backward(dout, self.out)


class Affine(reference.Affine):
    __doc__ = reference.Affine.__doc__

    def forward(self, x: ArrayLike) -> Array:
        """(batch, outputs) for x of shape (batch, ...), `inputs` numbers for each sample."""
        x = np.asarray(x)
        self.original_x_shape = x.shape
        self.x = x.reshape(len(x), math.prod(x.shape[1:]))
        return affine(self.x, self.W, self.b)

    def backward(self, dout: ArrayLike) -> Array:
        """dx, of the shape in which x came, for dout of shape (batch, outputs); keeps dW and db."""
        dx, self.dW, self.db = affine_backward(dout, self.x, self.W)
        return dx.reshape(self.original_x_shape)


class SoftmaxWithLoss(reference.SoftmaxWithLoss):
    __doc__ = reference.SoftmaxWithLoss.__doc__

    def forward(self, x: ArrayLike, t: ArrayLike) -> Any:
        """The loss, for scores x (batch, classes) and t, (batch,) labels or one-hot rows.

        Errors are those of `cross_entropy_error`.
        """
        self.t = t
        self.loss, self.y = softmax_cross_entropy(x, t)
        return self.loss

    def backward(self, dout: Any = 1) -> Array:
        """(y - t) / batch, of x's shape. Nothing follows the loss: dout is 1 whatever is given."""
        return softmax_cross_entropy_backward(self.y, self.t)


class Dropout(reference.Dropout):
    __doc__ = reference.Dropout.__doc__


class BatchNormalization(reference.BatchNormalization):
    __doc__ = reference.BatchNormalization.__doc__


class Convolution(reference.Convolution):
    __doc__ = reference.Convolution.__doc__


class Pooling(reference.Pooling):
    __doc__ = reference.Pooling.__doc__
