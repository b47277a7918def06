"""MultiLayerNet of the layers in C."""

from math import prod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _network, layers
from ._bridge import OK, lib
from .functions import cross_entropy_error
from .reference import multi_layer_net as reference

__all__ = ["MultiLayerNet"]

Array = NDArray[Any]

_ACTIVATIONS = {layers.Relu: lib.ZDL_RELU, layers.Sigmoid: lib.ZDL_SIGMOID}
_STEP = 1e-4


class MultiLayerNet(reference.MultiLayerNet):
    __doc__ = reference.MultiLayerNet.__doc__

    _kinds: ClassVar = layers

    def gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradients of the loss by backpropagation, under the names of the parameters."""
        if self._is_as_made() and not self._widens(x, t):
            self._backpropagate(x, t)
        else:
            self._backpropagate_by_layers(x, t)
        return self._gradients()

    def numerical_gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradients of the loss by central differences, (loss(w + 1e-4) - loss(w - 1e-4)) / 2e-4.

        Every loss is computed in float64, but only what a parameter changes. Of a net with another
        `loss` or `predict`, or with other layers than it was made with, the reference's.
        """
        if not self._is_as_made():
            return super().numerical_gradient(x, t)
        return _network.numerical_gradient(
            self._in_order(), self._rows(x), t, self._activation(), h=_STEP, decay=self.weight_decay_lambda
        )

    def _backpropagate(self, x: ArrayLike, t: ArrayLike) -> None:
        """In one call of C, after which the layers hold what they would have kept."""
        rows = self._rows(x)
        grads, outputs = _network.gradient(self._in_order(), rows, t, self._activation(), sums=False)
        self.last_layer.t, self.last_layer.y = t, outputs[-1]
        self.last_layer.loss = cross_entropy_error(outputs[-1], t)
        for i, (x_i, out) in enumerate(zip([rows, *outputs], outputs, strict=False), 1):
            affine = self.layers[f"Affine{i}"]
            affine.x, affine.dW, affine.db = x_i, grads[f"W{i}"], grads[f"b{i}"]
            affine.original_x_shape = x_i.shape if i > 1 else np.shape(x)
            if i <= self.hidden_layer_num:
                self.layers[f"Activation_function{i}"]._keep(out)

    def _backpropagate_by_layers(self, x: ArrayLike, t: ArrayLike) -> None:
        """As the reference, but for the gradient of x, which nothing needs."""
        self._training_loss(x, t)
        dout = self.last_layer.backward()
        first, *others = self.layers.values()
        for layer in reversed(others):
            dout = layer.backward(dout)
        if type(first) is layers.Affine and "backward" not in vars(first):
            first._backward_without_dx(dout)
        else:
            first.backward(dout)

    def _decayed(self, dW: Array, W: Array) -> Array:
        """As the reference, in one pass: SGD's step with the learning rate -lambda."""
        rate = self.weight_decay_lambda
        if type(rate) in (float, int) and type(dW) is np.ndarray:
            grad = dW.copy()
            if lib.np_sgd(id(grad), id(W), -float(rate)) == OK:
                return grad
        return super()._decayed(dW, W)

    def _rows(self, x: ArrayLike) -> Array:
        x = np.asarray(x)
        return x.reshape(len(x), prod(x.shape[1:]))

    def _widens(self, x: ArrayLike, t: ArrayLike) -> bool:
        """Whether t, of wider floats than x and the parameters, makes the way back wider than the way there."""
        t = np.asarray(t)
        return t.dtype.kind == "f" and not np.can_cast(t.dtype, np.result_type(x, *self.params.values()))

    def _in_order(self) -> dict[str, Array]:
        """The parameters in the order of the layers, whatever the order of `params`."""
        return {f"{name}{i}": self.params[f"{name}{i}"] for i in range(1, self.hidden_layer_num + 2) for name in "Wb"}

    def _is_as_made(self) -> bool:
        """Whether predict, loss and the layers are those of this class, with their own methods, and hold `params`."""
        if type(self).predict is not MultiLayerNet.predict or type(self).loss is not MultiLayerNet.loss:
            return False
        in_order = [*self.layers.values()]
        if not {"predict", "loss"}.isdisjoint(vars(self)):
            return False
        if not all({"forward", "backward"}.isdisjoint(vars(layer)) for layer in (*in_order, self.last_layer)):
            return False
        hidden = type(in_order[1]) if len(in_order) > 1 else layers.Relu
        kinds = [layers.Affine, hidden] * self.hidden_layer_num + [layers.Affine]
        if [*map(type, in_order)] != kinds or hidden not in _ACTIVATIONS:
            return False
        if type(self.last_layer) is not layers.SoftmaxWithLoss:
            return False
        held = [(layer, getattr(layer, name) is self.params[key]) for key, name, layer in self._parameters()]
        return held == [(layer, True) for layer in in_order[::2] for _ in "Wb"]

    def _activation(self) -> int:
        return _ACTIVATIONS[type(self.layers["Activation_function1"])] if self.hidden_layer_num else lib.ZDL_IDENTITY
