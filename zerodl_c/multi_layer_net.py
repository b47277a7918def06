"""MultiLayerNet of the layers in C."""

from __future__ import annotations

from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _network, functions, layers
from ._arrays import as_array
from ._bridge import add_scaled, lib
from ._own import Own
from .functions import cross_entropy_error
from .gradient import numerical_gradient
from .reference import multi_layer_net as reference

__all__ = ["MultiLayerNet"]

Array = NDArray[Any]

_KINDS = layers.Affine, layers.Relu, layers.Sigmoid, layers.Tanh, layers.SoftmaxWithLoss
_LAYERS = {kind: Own(kind, "forward", "backward") for kind in _KINDS}
_FUNCTIONS = Own(  # of which these layers are made
    functions,
    "affine",
    "affine_backward",
    "sigmoid",
    "sigmoid_backward",
    "tanh",
    "tanh_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
)
_ACTIVATIONS = {layers.Relu: lib.ZDL_RELU, layers.Sigmoid: lib.ZDL_SIGMOID, layers.Tanh: lib.ZDL_TANH}


class _Net(reference._Net):
    """What this net and MultiLayerNetExtend share."""

    _kinds: ClassVar = layers
    _numerical_gradient: ClassVar = staticmethod(numerical_gradient)

    def gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradients of the loss by backpropagation, under the names of the parameters.

        A layer that stands in several places has the sum of what it has in each.
        """
        if not self._is_as_made() or self._widens(x, t):
            return super().gradient(x, t)
        self._notice_params()
        return self._gradient_in_c(x, t)

    def numerical_gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradients of the loss by central differences, (loss(w + 1e-4) - loss(w - 1e-4)) / 2e-4.

        Every loss is computed in float64, but only what a parameter changes. Of a net with another
        `loss` or `predict`, with other layers than it was made with, or with a parameter that is infinite,
        the reference's.
        """
        if not self._is_as_made() or _network.needs_losses(self.params, self.loss, x, t):
            return super().numerical_gradient(x, t)
        if not np.isfinite(self._weight_decay()):  # nor is any loss, nor any difference of two
            return {key: np.full(np.shape(param), np.nan) for key, param in self._in_order().items()}
        return _network.numerical_gradient(
            self._in_order(), self._rows(x), t, self._activation(), decay=self.weight_decay_lambda
        )

    def _gradient_in_c(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """In one call, after which the layers hold what they would have kept."""
        rows, params = self._rows(x), self._in_order()
        grads, outputs = _network.gradient(params, rows, t, self._activation(), sums=False)
        self.last_layer.t, self.last_layer.y = t, outputs[-1]
        self.last_layer.loss = cross_entropy_error(outputs[-1], t)
        for i, (x_i, out) in enumerate(zip([rows, *outputs], outputs, strict=False), 1):
            affine = self.layers[f"Affine{i}"]
            affine.x, affine.dW, affine.db = x_i, grads[f"W{i}"], grads[f"b{i}"]
            affine.original_x_shape = x_i.shape if i > 1 else np.shape(x)
            if i <= self.hidden_layer_num:
                self.layers[f"Activation_function{i}"]._keep(out)
        return {key: self._decayed(grad, params[key]) if key[0] == "W" else grad for key, grad in grads.items()}

    def _backpropagate(self, x: ArrayLike, t: ArrayLike) -> None:
        """As the reference, but for the gradient of x, which nothing needs."""
        self._training_loss(x, t)
        dout = self.last_layer.backward()
        first, *others = self.layers.values()
        for layer in reversed(others):
            dout = layer.backward(dout)
        if type(first) is layers.Affine and _LAYERS[layers.Affine].are_methods_of(first):
            first._backward_without_dx(dout)
        else:
            first.backward(dout)

    def _decayed(self, dW: Array, W: Array) -> Array:
        """As the reference, in one pass."""
        rate = self.weight_decay_lambda
        if type(rate) in (float, int) and type(dW) is np.ndarray:
            grad = dW.copy()
            if add_scaled(grad, float(rate), W):
                return grad
        return super()._decayed(dW, W)

    def _rows(self, x: ArrayLike) -> Array:
        x = as_array("x", x)
        return x.reshape(len(x), prod(x.shape[1:]))

    def _widens(self, x: ArrayLike, t: ArrayLike) -> bool:
        """Whether t, of wider floats than x and the parameters, makes the way back wider than the way there."""
        t = as_array("t", t)
        return t.dtype.kind == "f" and not np.can_cast(t.dtype, np.result_type(x, *self.params.values()))

    def _in_order(self) -> dict[str, Array]:
        """The parameters in the order of the layers, whatever the order of `params`."""
        return {f"{name}{i}": self.params[f"{name}{i}"] for i in range(1, self.hidden_layer_num + 2) for name in "Wb"}

    def _is_as_made(self) -> bool:
        """Whether predict, loss and the layers are those of this class, with their own methods, and hold `params`."""
        if not _PASSES.are_methods_of(self):
            return False
        in_order, hidden, parameters = [*self.layers.values()], self.hidden_layer_num, [*self._parameters()]
        activation = type(in_order[1]) if hidden and len(in_order) > 1 else layers.Relu
        return (
            activation in _ACTIVATIONS
            and [*map(type, in_order)] == [layers.Affine, activation] * hidden + [layers.Affine]
            and type(self.last_layer) is layers.SoftmaxWithLoss
            and all(_LAYERS[type(layer)].are_methods_of(layer) for layer in (*in_order, self.last_layer))
            and _FUNCTIONS.are_in_place()
            and not self._shares_layers()
            and [layer for _, _, layer in parameters] == [layer for layer in in_order[::2] for _ in "Wb"]
            and all(getattr(layer, name) is self.params[key] for key, name, layer in parameters)
        )

    def _activation(self) -> int:
        return _ACTIVATIONS[type(self.layers["Activation_function1"])] if self.hidden_layer_num else lib.ZDL_IDENTITY


class MultiLayerNet(_Net, reference.MultiLayerNet):
    """x -> (affine -> activation) for each hidden layer -> affine -> softmax and cross-entropy.

    Parameters
    ----------
    input_size : int
    hidden_size_list : sequence of int
        Neurons of each hidden layer.
    output_size : int
    activation : "relu", "sigmoid" or "tanh"
    weight_init_std : float or str
        Standard deviation of the initial weights, drawn from NumPy's global generator from the
        first layer to the last; biases start at 0. "relu" or "he" is sqrt(2 / inputs) of each
        layer, which keeps the size of signals that pass relu (He et al., "Delving Deep into
        Rectifiers", 2015). "sigmoid" or "xavier" is sqrt(1 / inputs), for activations that are
        nearly linear around 0 (after Glorot and Bengio, "Understanding the Difficulty of Training
        Deep Feedforward Neural Networks", 2010). Capitals make no difference.
    weight_decay_lambda : float
        The loss grows by half of this times the sum of the squares of all weights.

    Attributes
    ----------
    input_size, hidden_size_list, output_size, weight_decay_lambda : as given
    hidden_layer_num : int
    params : dict
        Arrays "W1" (input, hidden), "b1" (hidden,), "W2", ...: those of the layers. They are changed in place,
        ``net.params["W1"][...] = W``: another array put here does not reach the layers, as in the book, and a
        UserWarning says so once.
    layers : dict
        "Affine1", "Activation_function1", "Affine2", ..., from the first to the last.
    last_layer : SoftmaxWithLoss

    Raises
    ------
    TypeError
        If a size is no integer, hidden_size_list no sequence of them, or a number none.
    ValueError
        If a size is less than 1, a number less than 0 or not finite, or activation or weight_init_std none of these
        words.

    Examples
    --------
    >>> np.random.seed(0)
    >>> net = MultiLayerNet(2, [5, 4], 3)
    >>> x, t = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 2])
    >>> net.predict(x).shape
    (2, 3)
    >>> {key: grad.shape for key, grad in net.gradient(x, t).items()}
    {'W1': (2, 5), 'b1': (5,), 'W2': (5, 4), 'b2': (4,), 'W3': (4, 3), 'b3': (3,)}
    """


_PASSES = Own(_Net, "predict", "loss")
