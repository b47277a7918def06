"""Optimizers: how parameters follow their gradients."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from .._checks import check_number
from .._optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent: params[key] -= lr * grads[key] for every key."""

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)

    def _step(self, params: MutableMapping[str, Any], key: str, grad: Any, lr: float) -> None:
        params[key] -= lr * grad


class _WithVelocity(Optimizer):
    """What Momentum and Nesterov share. In the book neither is the other's subclass."""

    _state = ("v",)
    v: Any

    def __init__(self, lr: float = 0.01, momentum: float = 0.9) -> None:
        super().__init__(lr)
        check_number("momentum", momentum, most=1)
        self.momentum = momentum


class Momentum(_WithVelocity):
    """Gradient descent with momentum: v = momentum * v - lr * grad; param += v."""

    def _step(self, params: MutableMapping[str, Any], key: str, grad: Any, lr: float) -> None:
        self.v[key] = self.momentum * self.v[key] - lr * grad
        params[key] += self.v[key]


class Nesterov(_WithVelocity):
    """Nesterov's accelerated gradient: momentum whose gradient is taken ahead, where the velocity leads."""

    def _step(self, params: MutableMapping[str, Any], key: str, grad: Any, lr: float) -> None:
        params[key] += self.momentum * self.momentum * self.v[key]
        params[key] -= (1 + self.momentum) * lr * grad
        self.v[key] *= self.momentum
        self.v[key] -= lr * grad


class AdaGrad(Optimizer):
    """Adaptive gradient: h += grad^2; param -= lr * grad / (sqrt(h) + 1e-7)."""

    _state = ("h",)
    h: Any

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)

    def _step(self, params: MutableMapping[str, Any], key: str, grad: Any, lr: float) -> None:
        self.h[key] += grad * grad
        params[key] -= lr * grad / (np.sqrt(self.h[key]) + 1e-7)


class RMSprop(Optimizer):
    """AdaGrad that forgets: h = decay_rate * h + (1 - decay_rate) * grad^2; param -= lr * grad / (sqrt(h) + 1e-7)."""

    _state = ("h",)
    h: Any

    def __init__(self, lr: float = 0.01, decay_rate: float = 0.99) -> None:
        super().__init__(lr)
        check_number("decay_rate", decay_rate, most=1)
        self.decay_rate = decay_rate

    def _step(self, params: MutableMapping[str, Any], key: str, grad: Any, lr: float) -> None:
        self.h[key] *= self.decay_rate
        self.h[key] += (1 - self.decay_rate) * grad * grad
        params[key] -= lr * grad / (np.sqrt(self.h[key]) + 1e-7)


class Adam(Optimizer):
    """Adaptive moments: m follows the gradient, v its square; param -= lr_t * m / (sqrt(v) + 1e-7)."""

    _state = ("m", "v")
    m: Any
    v: Any

    def __init__(self, lr: float = 0.001, beta1: float = 0.9, beta2: float = 0.999) -> None:
        super().__init__(lr)
        check_number("beta1", beta1, below=1)
        check_number("beta2", beta2, below=1)
        self.beta1 = beta1
        self.beta2 = beta2
        self.iter = 0

    def _begin(self, params: Mapping[str, Any]) -> float:
        lr = super()._begin(params)
        self.iter += 1
        return lr * np.sqrt(1.0 - self.beta2**self.iter) / (1.0 - self.beta1**self.iter)

    def _step(self, params: MutableMapping[str, Any], key: str, grad: Any, lr: float) -> None:
        self.m[key] += (1 - self.beta1) * (grad - self.m[key])
        self.v[key] += (1 - self.beta2) * (grad**2 - self.v[key])
        params[key] -= lr * self.m[key] / (np.sqrt(self.v[key]) + 1e-7)
