"""A net that is a list of layers."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import shown
from .layers import SoftmaxWithLoss
from .multi_layer_net_extend import _NetThatLearns

Array = NDArray[Any]

_NAMES = {"Convolution": "Conv", "Pooling": "Pool", "BatchNormalization": "BatchNorm"}  # as the book's nets have them


class Sequential(_NetThatLearns):
    """The layers one after the other, then softmax and cross-entropy."""

    _settings = ()

    def __init__(self, layers: Iterable[Any]) -> None:
        if not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a list of layers, got {shown(layers)}")
        self.layers, count = OrderedDict(), Counter[str]()
        for layer in layers:
            _check_layer(layer, self.layers.values())
            name = _NAMES.get(type(layer).__name__, type(layer).__name__)
            count[name] += 1
            self.layers[f"{name}{count[name]}"] = layer
        if not self.layers:
            raise ValueError("layers must hold one layer or more, got none")
        self.last_layer = self._kinds.SoftmaxWithLoss()
        self._take_params({key: getattr(layer, name) for key, name, layer in self._parameters()})

    def _parameters(self) -> Iterator[tuple[str, str, Any]]:
        count = Counter[str]()
        for layer in self.layers.values():
            for name in ("W", "b", "gamma", "beta"):
                if getattr(layer, name, None) is not None:
                    count[name] += 1
                    yield f"{name}{count[name]}", name, layer

    def _weight_decay(self) -> float:
        return 0

    def _decayed(self, dW: Array, W: Array) -> Array:
        return dW

    def _summary(self) -> Iterator[str]:
        for layer in self.layers.values():
            shape, kind = np.shape(getattr(layer, "W", 0)), type(layer).__name__
            if len(shape) == 4:
                yield f"{kind} {shape[1]}-{shape[0]} {shape[2]}x{shape[3]}"
            else:
                yield f"{kind} {shape[0]}-{shape[1]}" if len(shape) == 2 else kind


def _check_layer(layer: Any, before: Iterable[Any]) -> None:
    kind = type(layer).__name__
    if isinstance(layer, type) or not all(callable(getattr(layer, name, None)) for name in ("forward", "backward")):
        raise TypeError(f"layers must have the methods forward and backward, got {shown(layer)}")
    if isinstance(layer, SoftmaxWithLoss):
        raise ValueError("layers must end before SoftmaxWithLoss, of which the net has its own")
    if any(layer is other for other in before):
        raise ValueError(f"layers must each have one place, got a {kind} in two")
    for name in ("W", "b", "gamma", "beta"):
        param = getattr(layer, name, None)
        if param is not None and not (isinstance(param, np.ndarray) and param.dtype.kind == "f"):
            raise TypeError(f"{name} of {kind} must be an array of floats, which optimizers change, got {shown(param)}")
