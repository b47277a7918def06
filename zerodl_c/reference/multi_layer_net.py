"""A fully connected net of any depth, made of layers."""

from __future__ import annotations

import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from operator import is_
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._arrays import rows_and_targets
from .._checks import check_number, check_sizes, check_whole, check_word
from .._net import Net
from . import layers
from .gradient import numerical_gradient

Array = NDArray[Any]

Activation = Literal["relu", "sigmoid", "tanh"]
_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "tanh": "Tanh"}
_LAYER_OF = {"W": "Affine", "b": "Affine", "gamma": "BatchNorm", "beta": "BatchNorm"}


class _Net(Net):
    """What the nets of this module and of multi_layer_net_extend share. In the book neither is the other's subclass."""

    _kinds: ClassVar[ModuleType] = layers  # those of the engine
    _numerical_gradient: ClassVar = staticmethod(numerical_gradient)  # the engine's
    _given: Mapping[str, Any] = MappingProxyType({})  # the arrays in `params` when they were last looked at
    _warned = False
    _settings: ClassVar[tuple[str, ...]] = (
        "input_size",
        "hidden_size_list",
        "output_size",
        "hidden_layer_num",
        "weight_decay_lambda",
    )

    def __init__(
        self,
        input_size: int,
        hidden_size_list: Sequence[int],
        output_size: int,
        activation: Activation = "relu",
        weight_init_std: float | str = "relu",
        weight_decay_lambda: float = 0,
    ) -> None:
        check_whole("input_size", input_size)
        check_sizes("hidden_size_list", hidden_size_list)
        check_whole("output_size", output_size)
        check_word("activation", activation, _ACTIVATIONS)
        check_number("weight_decay_lambda", weight_decay_lambda)
        self.input_size = input_size
        self.hidden_size_list = hidden_size_list
        self.output_size = output_size
        self.hidden_layer_num = len(hidden_size_list)
        self.weight_decay_lambda = weight_decay_lambda
        self.params: dict[str, Array] = {}
        self.layers: OrderedDict[str, Any] = OrderedDict()
        self._init_weights(weight_init_std)
        for i in range(1, self.hidden_layer_num + 1):
            self._add_hidden_layer(i, getattr(self._kinds, _ACTIVATIONS[activation])())
        self._add_affine(self.hidden_layer_num + 1)
        self.last_layer = self._kinds.SoftmaxWithLoss()
        self._given = dict(self.params)

    def predict(self, x: ArrayLike) -> Array:
        """Scores (batch, output) for x of shape (batch, input): not yet softmax, which keeps their order."""
        self._notice_params()
        out: Any = x
        for layer in self.layers.values():
            out = layer.forward(out)
        return out

    def predict_proba(self, x: ArrayLike) -> Array:
        """Probabilities (batch, output) of the classes, softmax(predict(x))."""
        return self._kinds.functions.softmax(self.predict(x))

    def loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """Cross-entropy of softmax(predict(x)) against t, labels or one-hot, plus the weight decay."""
        return self.last_layer.forward(self.predict(x), t) + self._weight_decay()

    def accuracy(self, x: ArrayLike, t: ArrayLike) -> float:
        """Fraction of the rows of x whose highest score is at the class of t, labels or one-hot."""
        y, labels = rows_and_targets(self.predict(x), t)
        if labels.ndim == 2:
            labels = labels.argmax(axis=1)
        return np.mean(y.argmax(axis=1) == labels)

    def gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradients of the loss by backpropagation, under the names of the parameters.

        A layer that stands in several places has the sum of what it has in each.
        """
        if self._shares_layers():
            return self._gradient_of_shared_layers(x, t)
        self._backpropagate(x, t)
        return self._gradients()

    def numerical_gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradients of the loss by central differences: slow, and a check of `gradient`."""
        return {
            key: self._numerical_gradient(lambda _: self._training_loss(x, t), self.params[key])
            for key, _, _ in self._parameters()
        }

    def _init_weights(self, weight_init_std: float | str) -> None:
        sizes = [self.input_size, *self.hidden_size_list, self.output_size]
        for i in range(1, len(sizes)):
            std = _standard_deviation(weight_init_std, sizes[i - 1])
            self.params[f"W{i}"] = std * np.random.randn(sizes[i - 1], sizes[i])
            self.params[f"b{i}"] = np.zeros(sizes[i])

    def _add_hidden_layer(self, i: int, activation: Any) -> None:
        self._add_affine(i)
        self.layers[f"Activation_function{i}"] = activation

    def _add_affine(self, i: int) -> None:
        self.layers[f"Affine{i}"] = self._kinds.Affine(self.params[f"W{i}"], self.params[f"b{i}"])

    def _backpropagate(self, x: ArrayLike, t: ArrayLike) -> None:
        """Through all layers, which keep the gradients of their parameters."""
        self._training_loss(x, t)
        dout = self.last_layer.backward()
        for layer in reversed(self.layers.values()):
            dout = layer.backward(dout)

    def _shares_layers(self) -> bool:
        return len({*map(id, self.layers.values())}) < len(self.layers)

    def _gradient_of_shared_layers(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        self._notice_params()
        layers, places = self.layers, OrderedDict((key, _Place(layer)) for key, layer in self.layers.items())
        self.layers = places
        try:
            self._backpropagate(x, t)
        finally:
            self.layers = layers
        parameters = [*self._parameters()]
        for _, name, layer in parameters:
            parts = (getattr(place.then, f"d{name}") for place in places.values() if place.layer is layer)
            setattr(layer, f"d{name}", sum(parts))
        grads, weights = self._gradients(), [self.params[key] for key, name, _ in parameters if name == "W"]
        for key, name, layer in parameters:
            if name == "W":  # the loss has the decay of an array once for each name that it has in `params`
                for _ in range(sum(W is layer.W for W in weights) - 1):
                    grads[key] = self._decayed(grads[key], layer.W)
        return grads

    def _notice_params(self) -> None:
        """Warn once of arrays in `params` that no layer uses."""
        if all(map(is_, self.params.values(), self._given.values())):
            return
        params, given = self.params, self._given
        self._given = {key: params[key] for key in params}
        strange = [
            key
            for key, name, layer in self._parameters()
            if key in given and params.get(key) is not given[key] and params.get(key) is not getattr(layer, name)
        ]
        if strange and not self._warned:
            self._warned = True
            warnings.warn(
                f"params hold other arrays than the layers: {', '.join(strange)}. The layers go on with theirs, as in "
                f'the book. To change a parameter, write into its array: net.params["{strange[0]}"][...] = values',
                stacklevel=_level_outside(),
            )

    def _gradients(self) -> dict[str, Array]:
        """What the layers have kept of them, and the weight decay's."""
        return {
            key: self._decayed(layer.dW, self._weight(key, layer)) if name == "W" else getattr(layer, f"d{name}")
            for key, name, layer in self._parameters()
        }

    def _weight(self, key: str, layer: Any) -> Any:
        """The weight that decays, where the layer and `params` hold two: the layer's, as in the book."""
        return layer.W

    def _decayed(self, dW: Array, W: Array) -> Array:
        """The gradient of a weight with its decay: with lambda 0, too, for 0 * inf is nan, and should be seen."""
        return dW + self.weight_decay_lambda * W

    def _training_loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """What the gradient is the gradient of."""
        return self.loss(x, t)

    def _weight_decay(self) -> float:
        weights = (self.params[f"W{i}"] for i in range(1, self.hidden_layer_num + 2))
        return sum(0.5 * self.weight_decay_lambda * np.sum(W**2) for W in weights)

    def _parameters(self) -> Iterator[tuple[str, str, Any]]:
        """Each parameter, as layers follow each other: its key ("W1"), its name there ("W"), and the layer."""
        for i in range(1, self.hidden_layer_num + 2):
            for name, kind in _LAYER_OF.items():
                layer = self.layers.get(f"{kind}{i}")
                if layer is not None:
                    yield f"{name}{i}", name, layer

    def _take_params(self, params: dict[str, Any]) -> None:
        self.params, self._given = params, {**params}

    def _products(self) -> Iterator[tuple[str, Any, Any]]:
        for name, layer in self.layers.items():
            if hasattr(layer, "W"):
                yield name, layer.W, layer.b

    def _summary(self) -> Iterator[str]:
        yield "-".join(map(str, (self.input_size, *self.hidden_size_list, self.output_size)))
        if self.hidden_layer_num:
            yield type(self.layers["Activation_function1"]).__name__.lower()


class MultiLayerNet(_Net):
    """x -> (affine -> activation) for each hidden layer -> affine -> softmax and cross-entropy."""


def _level_outside() -> int:
    """The stacklevel at which a warning of this package names the line of the script that has called it."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith("zerodl_c."):
        level, frame = level + 1, frame.f_back
    return level


class _Place:
    """One of the places of a layer that stands in several, with the layer as it was after its pass there.

    To a script's own `predict` it is the layer: it has the layer's class and attributes.
    """

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        self.then: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.layer, name)

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self.layer)

    def forward(self, *args: Any) -> Array:
        out: Array = self.layer.forward(*args)
        self.then = copy(self.layer)
        return out

    def backward(self, dout: Array) -> Any:
        return self.then.backward(dout)


def _standard_deviation(weight_init_std: float | str, inputs: int) -> Any:
    """Of the initial weights of a layer with so many inputs."""
    if not isinstance(weight_init_std, str):
        check_number("weight_init_std", weight_init_std)
        return weight_init_std
    gain = {"relu": 2.0, "he": 2.0, "sigmoid": 1.0, "xavier": 1.0}.get(weight_init_std.lower())
    if gain is None:
        words = "relu, he, sigmoid or xavier"
        raise ValueError(f"weight_init_std must be a number, {words}, got {weight_init_std!r}")
    return np.sqrt(gain / inputs)
