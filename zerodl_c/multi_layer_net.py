"""MultiLayerNet of the layers in C."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _network, layers
from ._bridge import lib
from .reference import multi_layer_net as reference

__all__ = ["MultiLayerNet"]

Array = NDArray[Any]

_ACTIVATIONS = {layers.Relu: lib.ZDL_RELU, layers.Sigmoid: lib.ZDL_SIGMOID}
_STEP = 1e-4


class MultiLayerNet(reference.MultiLayerNet):
    __doc__ = reference.MultiLayerNet.__doc__

    _kinds: ClassVar = layers

    def numerical_gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradients of the loss by central differences, (loss(w + 1e-4) - loss(w - 1e-4)) / 2e-4.

        Every loss is computed in float64, but only what a parameter changes. Of a net with another
        `loss` or `predict`, or with other layers than it was made with, the reference's.
        """
        if not self._is_as_made():
            return super().numerical_gradient(x, t)
        params = {f"{name}{i}": self.params[f"{name}{i}"] for i in range(1, self.hidden_layer_num + 2) for name in "Wb"}
        x = np.asarray(x)
        return _network.numerical_gradient(
            params, x.reshape(len(x), self.input_size), t, self._activation(), h=_STEP, decay=self.weight_decay_lambda
        )

    def _is_as_made(self) -> bool:
        """Whether predict, loss and the layers are those of this class, and hold `params`."""
        own = type(self).predict is MultiLayerNet.predict and type(self).loss is MultiLayerNet.loss
        hidden = [type(layer) for key, layer in self.layers.items() if not key.startswith("Affine")]
        alike = len(hidden) == self.hidden_layer_num and len({*hidden}) <= 1 and {*hidden} <= {*_ACTIVATIONS}
        whole = len(self.layers) == 2 * self.hidden_layer_num + 1 and type(self.last_layer) is layers.SoftmaxWithLoss
        held = all(getattr(layer, name) is self.params[key] for key, name, layer in self._parameters())
        return own and alike and whole and held

    def _activation(self) -> int:
        return _ACTIVATIONS[type(self.layers["Activation_function1"])] if self.hidden_layer_num else lib.ZDL_IDENTITY
