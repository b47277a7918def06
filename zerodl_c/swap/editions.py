"""The engine's functions and classes in the meaning of older editions."""

from collections.abc import Callable
from typing import Any

import numpy as np


def softmax_until_2020(softmax: Callable[..., Any]) -> Callable[..., Any]:
    """Over the whole array where that has not two axes, and not over its last axis."""

    def softmax_of_edition(x: Any) -> Any:
        return softmax(x) if np.ndim(x) == 2 else softmax(x, axis=None)

    return softmax_of_edition


def pooling_until_2020(pooling: Any) -> type:
    """With stride=1 unless another is given."""

    class Pooling(pooling):  # type: ignore[misc]
        def __init__(self, pool_h: int, pool_w: int, stride: int = 1, pad: int = 0) -> None:
            super().__init__(pool_h, pool_w, stride, pad)

    return Pooling


def extended_net_until_2020(net: Any) -> type:
    """With X and T as the names of two methods' arguments."""

    class MultiLayerNetExtend(net):  # type: ignore[misc]
        def accuracy(self, X: Any, T: Any) -> Any:
            return super().accuracy(X, T)

        def numerical_gradient(self, X: Any, T: Any) -> Any:
            return super().numerical_gradient(X, T)

    return MultiLayerNetExtend
