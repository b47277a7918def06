"""A fully connected net of any depth, with batch normalization and dropout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .._checks import check_number
from .multi_layer_net import Activation, _Net

Array = NDArray[Any]


class _NetThatLearns(_Net):
    """A net with layers that do something else while it learns."""

    def predict(self, x: ArrayLike, train_flg: bool = False) -> Array:
        """Scores (batch, output) for x of shape (batch, input), as while learning or as after it."""
        self._notice_params()
        out: Any = x
        for key, layer in self.layers.items():
            learns = "BatchNorm" in key or "Dropout" in key
            out = layer.forward(out, train_flg) if learns else layer.forward(out)
        return out

    def loss(self, x: ArrayLike, t: ArrayLike, train_flg: bool = False) -> float:
        """Cross-entropy of softmax(predict(x, train_flg)) against t, plus the weight decay."""
        return self.last_layer.forward(self.predict(x, train_flg), t) + self._weight_decay()

    def _training_loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """The loss as while learning: every call draws new masks, and moves the running statistics."""
        return self.loss(x, t, train_flg=True)


class MultiLayerNetExtend(_NetThatLearns):
    """`MultiLayerNet`, whose hidden layers are affine -> batch normalization -> activation -> dropout."""

    _settings = (*_Net._settings, "use_dropout", "use_batchnorm")

    def __init__(
        self,
        input_size: int,
        hidden_size_list: Sequence[int],
        output_size: int,
        activation: Activation = "relu",
        weight_init_std: float | str = "relu",
        weight_decay_lambda: float = 0,
        use_dropout: bool = False,
        dropout_ration: float = 0.5,
        use_batchnorm: bool = False,
    ) -> None:
        if use_dropout:
            check_number("dropout_ration", dropout_ration, most=1)
        self.use_dropout = use_dropout
        self.use_batchnorm = use_batchnorm
        self._dropout_ratio = dropout_ration
        super().__init__(input_size, hidden_size_list, output_size, activation, weight_init_std, weight_decay_lambda)

    def _summary(self) -> Iterator[str]:
        yield from super()._summary()
        if self.use_batchnorm:
            yield "batch normalization"
        if self.use_dropout and self.hidden_layer_num:
            yield f"dropout {self.layers['Dropout1'].dropout_ratio:g}"

    def _add_hidden_layer(self, i: int, activation: Any) -> None:
        self._add_affine(i)
        if self.use_batchnorm:
            size = self.hidden_size_list[i - 1]
            self.params[f"gamma{i}"], self.params[f"beta{i}"] = np.ones(size), np.zeros(size)
            self.layers[f"BatchNorm{i}"] = self._kinds.BatchNormalization(
                self.params[f"gamma{i}"], self.params[f"beta{i}"]
            )
        self.layers[f"Activation_function{i}"] = activation
        if self.use_dropout:
            self.layers[f"Dropout{i}"] = self._kinds.Dropout(self._dropout_ratio)

    def _weight(self, key: str, layer: Any) -> Any:
        """That of `params`, as in the book."""
        return self.params[key]
