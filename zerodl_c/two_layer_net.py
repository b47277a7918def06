"""SimpleNet and TwoLayerNet on the C engine: what they are is said in the reference, once."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from . import _network
from ._bridge import lib
from ._own import Own
from .functions import cross_entropy_error, matmul, softmax, softmax_loss
from .reference import two_layer_net as reference

Array = NDArray[Any]

__all__ = ["SimpleNet", "TwoLayerNet"]


class SimpleNet(reference.SimpleNet):
    """One 2 x 3 weight W, drawn from NumPy's global generator: the smallest net with a loss.

    Examples
    --------
    >>> import numpy as np
    >>> net = SimpleNet()
    >>> net.W = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    >>> net.predict([0.6, 0.9])
    array([ 0.6,  0.9, -0.6])
    """

    def predict(self, x: ArrayLike) -> Array:
        """Scores x @ W: (batch, 3) for x of shape (batch, 2), (3,) for one x of shape (2,)."""
        return matmul(x, self.W)

    def loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """Cross-entropy of softmax(predict(x)) against t, labels or one-hot."""
        return softmax_loss(self.predict(x), t)

    def predict_proba(self, x: ArrayLike) -> Array:
        """Probabilities of the classes, softmax(predict(x))."""
        return softmax(self.predict(x))


class TwoLayerNet(reference.TwoLayerNet):
    """x -> affine -> sigmoid -> affine -> softmax, with the gradients of its cross-entropy loss.

    Parameters
    ----------
    input_size, hidden_size, output_size : int
    weight_init_std : float
        Standard deviation of the initial weights, drawn from NumPy's global generator (W1, then
        W2) in float64; biases start at 0.
    dtype : dtype, optional
        Dtype that the parameters are kept in.

    Attributes
    ----------
    params, grads : dict
        Arrays "W1" (input, hidden), "b1" (hidden,), "W2" (hidden, output) and "b2" (output,).
    a1, z1, a2, y : ndarray
        Forward pass of the last `loss` or `gradient`: sums and activations of the hidden layer,
        sums and probabilities of the output.

    Examples
    --------
    >>> import numpy as np
    >>> np.random.seed(0)
    >>> net = TwoLayerNet(2, 3, 3)
    >>> x, t = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 2])
    >>> print(round(net.loss(x, t), 3))  # about log(3): it knows nothing yet
    1.095
    >>> {key: grad.shape for key, grad in net.gradient(x, t).items()}
    {'W1': (2, 3), 'b1': (3,), 'W2': (3, 3), 'b2': (3,)}
    """

    def predict(self, x: ArrayLike) -> Array:
        """Probabilities (batch, output) for x of shape (batch, input)."""
        return _network.predict(self._layers(), x, lib.ZDL_SIGMOID)

    def loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """Mean cross-entropy of predict(x) against t, (batch,) labels or (batch, output) one-hot."""
        if not _PREDICT.are_methods_of(self):
            return cross_entropy_error(self.predict(x), t)
        self.a1, self.z1, self.a2, y = _network.forward(self._layers(), x, lib.ZDL_SIGMOID)
        self.y = y
        return cross_entropy_error(y, t)

    def gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradients of the loss by backpropagation, for x of shape (batch, input).

        t holds labels or rows of output_size probabilities. The dict is kept as `grads`, too.
        """
        grads, kept = _network.gradient(self._layers(), x, t, lib.ZDL_SIGMOID)
        self.a1, self.z1, self.a2, self.y = kept
        self.grads = grads
        return grads

    def numerical_gradient(self, x: ArrayLike, t: ArrayLike, h: float | None = None) -> dict[str, Array]:
        """Gradients of the loss by central differences, (loss(w + h) - loss(w - h)) / 2h.

        Every loss is computed in float64, but only what a parameter changes: in milliseconds where
        the reference takes seconds. Of a net with another `loss` or `predict`, or with a parameter that is
        infinite, the reference's.
        """
        if not _PASSES.are_methods_of(self) or _network.needs_losses(self.params, self.loss, x, t):
            return super().numerical_gradient(x, t, h)
        return _network.numerical_gradient(self._layers(), x, t, lib.ZDL_SIGMOID, h=h)

    def _layers(self) -> dict[str, Array]:
        """The parameters in the order of the layers, whatever the order of `params`."""
        return {key: self.params[key] for key in ("W1", "b1", "W2", "b2")}


_PREDICT, _PASSES = Own(TwoLayerNet, "predict"), Own(TwoLayerNet, "predict", "loss")
