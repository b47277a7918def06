"""The convnet of the book's chapter 7."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from .._arrays import rows_and_targets
from .._checks import check_number, check_sizes, check_whole, shown
from .sequential import Sequential
from .util import _output_shape

_CONV_PARAM = MappingProxyType({"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1})


class SimpleConvNet(Sequential):
    """Convolution -> relu -> pooling -> affine -> relu -> affine -> softmax and cross-entropy."""

    def __init__(
        self,
        input_dim: Sequence[int] = (1, 28, 28),
        conv_param: Mapping[str, int] = _CONV_PARAM,
        hidden_size: int = 100,
        output_size: int = 10,
        weight_init_std: float = 0.01,
    ) -> None:
        check_sizes("input_dim", input_dim)
        if len(input_dim) != 3:
            raise ValueError(f"input_dim must be (channels, height, width), got {shown(input_dim)}")
        _check_conv_param(conv_param)
        check_whole("hidden_size", hidden_size)
        check_whole("output_size", output_size)
        check_number("weight_init_std", weight_init_std)
        filters, size, pad, stride = (conv_param[key] for key in _CONV_PARAM)
        try:
            images = _output_shape((1, *input_dim), (size, size, stride, pad))
            height, width = _output_shape((1, filters, *images), (2, 2, 2, 0))
        except ValueError as error:
            must = "input_dim must have room for the filters of conv_param and the pooling"
            raise ValueError(f"{must}, got {shown(input_dim)}: {error}") from None
        W1 = weight_init_std * np.random.randn(filters, input_dim[0], size, size)
        W2 = weight_init_std * np.random.randn(filters * height * width, hidden_size)
        W3 = weight_init_std * np.random.randn(hidden_size, output_size)
        kinds = self._kinds
        super().__init__(
            [
                kinds.Convolution(W1, np.zeros(filters), stride, pad),
                kinds.Relu(),
                kinds.Pooling(pool_h=2, pool_w=2, stride=2),
                kinds.Affine(W2, np.zeros(hidden_size)),
                kinds.Relu(),
                kinds.Affine(W3, np.zeros(output_size)),
            ]
        )

    def accuracy(self, x: ArrayLike, t: ArrayLike, batch_size: int = 100) -> float:
        """Fraction of the images x whose highest score is at the class of t, labels or one-hot.

        So many images at a time are looked at. The book leaves out those that do not fill a batch; here all count.
        """
        check_whole("batch_size", batch_size)
        images = np.asarray(x)
        parts = [self.predict(images[i : i + batch_size]) for i in range(0, max(len(images), 1), batch_size)]
        y, labels = rows_and_targets(np.concatenate(parts), t)
        return np.mean(y.argmax(axis=1) == (labels if labels.ndim == 1 else labels.argmax(axis=1)))


def _check_conv_param(conv_param: Any) -> None:
    if not isinstance(conv_param, Mapping) or {*conv_param} != {*_CONV_PARAM}:
        raise ValueError(f"conv_param must be a dict of {', '.join(_CONV_PARAM)}, got {shown(conv_param)}")
    for key, value in conv_param.items():
        check_whole(f"conv_param[{key!r}]", value, least=0 if key == "pad" else 1)
