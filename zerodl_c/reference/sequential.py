"""A net that is a list of layers."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._checks import shown
from .layers import SoftmaxWithLoss
from .multi_layer_net_extend import _NetThatLearns

Array = NDArray[Any]

_NAMES = {"Convolution": "Conv", "Pooling": "Pool", "BatchNormalization": "BatchNorm"}  # as the book's nets have them
_PARAMETERS = "W", "b", "gamma", "beta"


class Sequential(_NetThatLearns):
    """The layers one after the other, then softmax and cross-entropy."""

    _settings = ()

    def __init__(self, layers: Iterable[Any]) -> None:
        if not isinstance(layers, Iterable):
            raise TypeError(f"layers must be a list of layers, got {shown(layers)}")
        self.layers, count = OrderedDict(), Counter[str]()
        for layer in layers:
            _check_layer(layer)
            name = _NAMES.get(type(layer).__name__, type(layer).__name__)
            count[name] += 1
            self.layers[f"{name}{count[name]}"] = layer
        if not self.layers:
            raise ValueError("layers must hold one layer or more, got none")
        _check_memory(self.layers)
        self.last_layer = self._kinds.SoftmaxWithLoss()
        self._take_params({key: getattr(layer, name) for key, name, layer in self._parameters()})

    def _parameters(self) -> Iterator[tuple[str, str, Any]]:
        count = Counter[str]()
        for layer in _each_once(self.layers).values():
            for name in _PARAMETERS:
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


def _each_once(layers: Mapping[str, Any]) -> dict[str, Any]:
    """The layers by the names of their first places."""
    first: dict[int, str] = {}
    for name, layer in layers.items():
        first.setdefault(id(layer), name)
    return {name: layers[name] for name in first.values()}


def _check_layer(layer: Any) -> None:
    kind = type(layer).__name__
    if isinstance(layer, type) or not all(callable(getattr(layer, name, None)) for name in ("forward", "backward")):
        raise TypeError(f"layers must have the methods forward and backward, got {shown(layer)}")
    if isinstance(layer, SoftmaxWithLoss):
        raise ValueError("layers must end before SoftmaxWithLoss, of which the net has its own")
    for name in _PARAMETERS:
        param = getattr(layer, name, None)
        if param is not None and not (isinstance(param, np.ndarray) and param.dtype.kind == "f"):
            raise TypeError(f"{name} of {kind} must be an array of floats, which optimizers change, got {shown(param)}")


def _check_memory(layers: Mapping[str, Any]) -> None:
    """Raise ValueError if a change of one parameter would change another: each had a part of the gradient."""
    params = [
        (f"{name} of {key}", getattr(layer, name))
        for key, layer in _each_once(layers).items()
        for name in _PARAMETERS
        if getattr(layer, name, None) is not None
    ]
    for (one, a), (other, b) in combinations(params, 2):
        if np.shares_memory(a, b):
            how = "give it a copy, or one layer in both places"
            raise ValueError(f"{other} must have memory of its own, got that of {one}: {how}")
