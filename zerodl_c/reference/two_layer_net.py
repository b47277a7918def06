"""Two small networks: one weight alone, and one hidden layer with backpropagation."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._arrays import float_dtype, rows_and_targets
from .._checks import check_floats, check_number, check_whole
from .._net import Net
from .._own import Own
from .functions import (
    affine,
    affine_backward,
    cross_entropy_error,
    matmul,
    sigmoid,
    sigmoid_backward,
    softmax,
    softmax_cross_entropy_backward,
    softmax_loss,
)
from .gradient import numerical_gradient

Array = NDArray[Any]


class SimpleNet(Net):
    """One 2 x 3 weight W, drawn from NumPy's global generator: the smallest net with a loss."""

    def __init__(self) -> None:
        self.W = np.random.randn(2, 3)

    def predict(self, x: ArrayLike) -> Array:
        """Scores x @ W: (batch, 3) for x of shape (batch, 2), (3,) for one x of shape (2,)."""
        return matmul(x, self.W)

    def loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """Cross-entropy of softmax(predict(x)) against t, labels or one-hot."""
        return softmax_loss(self.predict(x), t)

    def predict_proba(self, x: ArrayLike) -> Array:
        """Probabilities of the classes, softmax(predict(x))."""
        return softmax(self.predict(x))

    def _in_params(self) -> dict[str, Any]:
        return {"W": self.W}

    def _take_params(self, params: dict[str, Any]) -> None:
        self.W = params["W"]

    def _products(self) -> Iterator[tuple[str, Any, Any]]:
        yield "W", self.W, 0

    def _summary(self) -> Iterator[str]:
        yield "-".join(map(str, self.W.shape))


class TwoLayerNet(Net):
    """x -> affine -> sigmoid -> affine -> softmax, with the gradients of its cross-entropy loss."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        weight_init_std: float = 0.01,
        *,
        dtype: DTypeLike = np.float64,
    ) -> None:
        for name, size in {"input_size": input_size, "hidden_size": hidden_size, "output_size": output_size}.items():
            check_whole(name, size)
        check_number("weight_init_std", weight_init_std)
        check_floats("dtype", dtype)
        W1 = weight_init_std * np.random.randn(input_size, hidden_size)
        W2 = weight_init_std * np.random.randn(hidden_size, output_size)
        self.params: dict[str, Array] = {
            "W1": W1.astype(dtype),
            "b1": np.zeros(hidden_size, dtype),
            "W2": W2.astype(dtype),
            "b2": np.zeros(output_size, dtype),
        }
        self.grads: dict[str, Array] = {}

    def predict(self, x: ArrayLike) -> Array:
        """Probabilities (batch, output) for x of shape (batch, input)."""
        return self._forward(x)[-1]

    def loss(self, x: ArrayLike, t: ArrayLike) -> float:
        """Cross-entropy of predict(x) against t, (batch,) labels or (batch, output) one-hot."""
        if not _PREDICT.are_methods_of(self):
            return cross_entropy_error(self.predict(x), t)
        self.a1, self.z1, self.a2, y = self._forward(x)
        self.y = y
        return cross_entropy_error(y, t)

    def accuracy(self, x: ArrayLike, t: ArrayLike) -> float:
        """Fraction of the rows of x whose most probable class is that of t, labels or one-hot."""
        y, labels = rows_and_targets(self.predict(x), t)
        if labels.ndim == 2:
            labels = labels.argmax(axis=1)
        return np.mean(y.argmax(axis=1) == labels)

    def gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Gradients of the loss by backpropagation, for x of shape (batch, input).

        t holds labels or rows of output_size probabilities. The dict is kept as `grads`, too.
        """
        a1, z1, a2, y = self._forward(x)
        dy = softmax_cross_entropy_backward(y, t)
        dz1, dW2, db2 = affine_backward(dy, z1, self.params["W2"])
        da1 = sigmoid_backward(dz1, z1)
        dW1, db1 = matmul(np.transpose(x), da1), da1.sum(axis=0)  # x itself needs no gradient
        self.a1, self.z1, self.a2, self.y = a1, z1, a2, y
        self.grads = grads = {"W1": dW1, "b1": db1, "W2": dW2, "b2": db2}
        return grads

    def backward(self, x: ArrayLike, t: ArrayLike) -> dict[str, Array]:
        """Fill `grads`, and return it: `gradient` by its other name.

        The forward pass is run afresh, so that the gradients always belong to this x and these
        params, whatever was predicted last.
        """
        return self.gradient(x, t)

    def numerical_gradient(self, x: ArrayLike, t: ArrayLike, h: float | None = None) -> dict[str, Array]:
        """Gradients of the loss by central differences: slow, and a check of `gradient`.

        The step h is the book's 1e-4, which is lost where a parameter is above 1e12: there the difference is 0. An h
        that is given and lost is a ValueError. Of narrower parameters too, the losses are float64: in float32 they
        would hardly differ.
        """
        net = copy(self)
        net.params = {key: np.asarray(param, np.float64) for key, param in self.params.items()}
        return {
            key: numerical_gradient(lambda _: net.loss(x, t), net.params[key], h).astype(float_dtype(param))
            for key, param in self.params.items()
        }

    def predict_proba(self, x: ArrayLike) -> Array:
        """Probabilities of the classes: what `predict` gives, too."""
        return self.predict(x)

    def _take_params(self, params: dict[str, Any]) -> None:
        self.params, self.grads = params, {}

    def _products(self) -> Iterator[tuple[str, Any, Any]]:
        for i in "12":
            yield f"W{i}", self.params[f"W{i}"], self.params[f"b{i}"]

    def _summary(self) -> Iterator[str]:
        (inputs, hidden), outputs = self.params["W1"].shape, self.params["W2"].shape[1]
        yield from (f"{inputs}-{hidden}-{outputs}", "sigmoid")

    def _forward(self, x: ArrayLike) -> tuple[Array, Array, Array, Array]:
        a1 = affine(x, self.params["W1"], self.params["b1"])
        z1 = sigmoid(a1)
        a2 = affine(z1, self.params["W2"], self.params["b2"])
        return a1, z1, a2, softmax(a2)


_PREDICT = Own(TwoLayerNet, "predict")
