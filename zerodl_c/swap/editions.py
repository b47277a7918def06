"""The engine's functions and classes with the behaviour of older editions."""

from collections.abc import Callable
from typing import Any

import numpy as np


def softmax_until_2020(softmax: Callable[..., Any]) -> Callable[..., Any]:
    """softmax over the whole array, not its last axis, unless the array has two axes."""

    def softmax_of_edition(x: Any) -> Any:
        return softmax(x) if np.ndim(x) == 2 else softmax(x, axis=None)

    return softmax_of_edition


def pooling_until_2020(pooling: Any) -> type:
    """Pooling with stride=1 by default."""

    class Pooling(pooling):  # type: ignore[misc]
        def __init__(self, pool_h: int, pool_w: int, stride: int = 1, pad: int = 0) -> None:
            super().__init__(pool_h, pool_w, stride, pad)

    return Pooling


def extended_net_until_2020(net: Any) -> type:
    """The net with X and T as the names of the arguments of two methods."""

    class MultiLayerNetExtend(net):  # type: ignore[misc]
        def accuracy(self, X: Any, T: Any) -> Any:
            return super().accuracy(X, T)

        def numerical_gradient(self, X: Any, T: Any) -> Any:
            return super().numerical_gradient(X, T)

    return MultiLayerNetExtend
