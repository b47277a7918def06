"""SimpleNet and TwoLayerNet on the C engine: what they are is said in the reference, once."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from ._bridge import lib
from .functions import (
    activated_affine,
    affine,
    affine_backward,
    cross_entropy_error,
    first_layer_backward,
    matmul,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_cross_entropy_backward,
    softmax_loss,
)
from .reference import two_layer_net as reference

Array = NDArray[Any]

__all__ = ["SimpleNet", "TwoLayerNet"]


class SimpleNet(reference.SimpleNet):
    __doc__ = reference.SimpleNet.__doc__

    def predict(self, x: ArrayLike) -> Array:
        """Scores x @ W: (batch, 3) for x of shape (batch, 2), (3,) for one x of shape (2,)."""
        return matmul(x, self.W)

    def loss(self, x: ArrayLike, t: ArrayLike) -> Any:
        """Cross-entropy of softmax(predict(x)) against t, labels or one-hot."""
        return softmax_loss(self.predict(x), t)


class TwoLayerNet(reference.TwoLayerNet):
    __doc__ = reference.TwoLayerNet.__doc__

    def predict(self, x: ArrayLike) -> Array:
        """Probabilities (batch, output) for x of shape (batch, input)."""
        W1, b1, W2, b2 = (self.params[key] for key in ("W1", "b1", "W2", "b2"))
        return softmax(affine(activated_affine(x, W1, b1, lib.ZDL_SIGMOID), W2, b2))

    def loss(self, x: ArrayLike, t: ArrayLike) -> Any:
        """Mean cross-entropy of predict(x) against t, (batch,) labels or (batch, output) one-hot."""
        self.a1, self.z1, self.a2, self.y = self._forward(x)
        return cross_entropy_error(self.y, t)

    def gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradients of the loss by backpropagation, for x of shape (batch, input).

        t holds labels or rows of output_size probabilities. The dict is kept as `grads`, too.
        """
        self.a1, self.z1, self.a2, self.y = self._forward(x)
        W1, W2 = self.params["W1"], self.params["W2"]
        dy = softmax_cross_entropy_backward(self.y, t)
        dz1, dW2, db2 = affine_backward(dy, self.z1, W2)
        dW1, db1 = first_layer_backward(sigmoid_backward(dz1, self.z1), x, W1)
        self.grads = {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}
        return self.grads

    def _forward(self, x: ArrayLike) -> tuple[Array, Array, Array, Array]:
        a1 = affine(x, self.params["W1"], self.params["b1"])
        z1 = sigmoid(a1)
        a2 = affine(z1, self.params["W2"], self.params["b2"])
        return a1, z1, a2, softmax(a2)
