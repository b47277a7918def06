"""Optimizers: how parameters follow their gradients."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from .._checks import check_number
from .._optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent: params[key] -= lr * grads[key] for every key.

    Parameters
    ----------
    lr : float
        Learning rate: the length of a step in units of the gradient.

    Examples
    --------
    >>> import numpy as np
    >>> params = {"W": np.array([1.0, 2.0]), "b": 3.0}
    >>> SGD(lr=0.1).update(params, {"W": np.array([10.0, -10.0]), "b": 5.0})
    >>> params
    {'W': array([0., 3.]), 'b': 2.5}
    """

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
    """Gradient descent with momentum: v = momentum * v - lr * grad; param += v.

    A parameter moves like a heavy ball (B. T. Polyak, "Some methods of speeding up the convergence of iteration
    methods", 1964): it gathers speed where gradients agree, and friction, 1 - momentum, takes it away.

    Parameters
    ----------
    lr : float
        Learning rate: what a gradient adds to the velocity.
    momentum : float
        The part of the velocity that is left after a step.

    Attributes
    ----------
    v : dict of arrays, or None before the first update
        The velocity of each parameter, of its shape and dtype; at first zero.

    Examples
    --------
    >>> import numpy as np
    >>> params, optimizer = {"W": np.array([1.0, 2.0])}, Momentum(lr=0.1, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.update(params, {"W": np.array([10.0, -10.0])})
    >>> params["W"], optimizer.v["W"]
    (array([-1.5,  4.5]), array([-1.5,  1.5]))
    """

    def _step(self, params: MutableMapping[str, Any], key: str, grad: Any, lr: float) -> None:
        self.v[key] = self.momentum * self.v[key] - lr * grad
        params[key] += self.v[key]


class Nesterov(_WithVelocity):
    """Nesterov's accelerated gradient: momentum whose gradient is taken ahead, where the velocity leads.

    Y. Nesterov, "A method of solving a convex programming problem with convergence rate O(1/k^2)", 1983, in the form of
    Y. Bengio, N. Boulanger-Lewandowski and R. Pascanu, "Advances in optimizing recurrent networks", 2012,
    arXiv:1212.0901, which keeps the point ahead as the parameter, so that its gradient is what is needed:
    param += momentum^2 * v - (1 + momentum) * lr * grad; v = momentum * v - lr * grad.

    Parameters
    ----------
    lr : float
        Learning rate: what a gradient adds to the velocity.
    momentum : float
        The part of the velocity that is left after a step.

    Attributes
    ----------
    v : dict of arrays, or None before the first update
        The velocity of each parameter, of its shape and dtype; at first zero.

    Examples
    --------
    >>> import numpy as np
    >>> params, optimizer = {"W": np.array([1.0, 2.0])}, Nesterov(lr=0.1, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.update(params, {"W": np.array([10.0, -10.0])})
    >>> params["W"], optimizer.v["W"]
    (array([-2.25,  5.25]), array([-1.5,  1.5]))
    """

    def _step(self, params: MutableMapping[str, Any], key: str, grad: Any, lr: float) -> None:
        params[key] += self.momentum * self.momentum * self.v[key]
        params[key] -= (1 + self.momentum) * lr * grad
        self.v[key] *= self.momentum
        self.v[key] -= lr * grad


class AdaGrad(Optimizer):
    """Adaptive gradient: h += grad^2; param -= lr * grad / (sqrt(h) + 1e-7).

    Each element has a learning rate of its own, the smaller the further it has been driven: J. Duchi, E. Hazan and
    Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization", 2011.

    Parameters
    ----------
    lr : float
        Learning rate: the length of an element's first step.

    Attributes
    ----------
    h : dict of arrays, or None before the first update
        The sum of the squares of all gradients, of each parameter's shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> params, optimizer = {"W": np.array([1.0, 2.0])}, AdaGrad(lr=0.1)
    >>> optimizer.update(params, {"W": np.array([10.0, -0.5])})
    >>> params["W"].round(6), optimizer.h["W"]
    (array([0.9, 2.1]), array([100. ,   0.25]))
    """

    _state = ("h",)
    h: Any

    def __init__(self, lr: float = 0.01) -> None:
        super().__init__(lr)

    def _step(self, params: MutableMapping[str, Any], key: str, grad: Any, lr: float) -> None:
        self.h[key] += grad * grad
        params[key] -= lr * grad / (np.sqrt(self.h[key]) + 1e-7)


class RMSprop(Optimizer):
    """AdaGrad that forgets: h = decay_rate * h + (1 - decay_rate) * grad^2; param -= lr * grad / (sqrt(h) + 1e-7).

    T. Tieleman and G. Hinton, "Lecture 6.5 - rmsprop: divide the gradient by a running average of its recent
    magnitude", Coursera, 2012.

    Parameters
    ----------
    lr : float
        Learning rate: the length of a step in units of the gradients' usual size.
    decay_rate : float
        The part of the average that is left after a step.

    Attributes
    ----------
    h : dict of arrays, or None before the first update
        The running average of the squares of the gradients, of each parameter's shape and dtype; at first zero.

    Examples
    --------
    >>> import numpy as np
    >>> params, optimizer = {"W": np.array([1.0, 2.0])}, RMSprop(lr=0.1, decay_rate=0.75)
    >>> optimizer.update(params, {"W": np.array([10.0, -0.5])})
    >>> params["W"].round(6), optimizer.h["W"]
    (array([0.8, 2.2]), array([25.    ,  0.0625]))
    """

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
    """Adaptive moments: m follows the gradient, v its square; param -= lr_t * m / (sqrt(v) + 1e-7).

    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", 2015, arXiv:1412.6980. m and v begin at zero,
    and are too small at first; the rate of update t makes up for it: lr_t = lr * sqrt(1 - beta2^t) / (1 - beta1^t).

    Parameters
    ----------
    lr : float
        Learning rate: about the longest step of an element.
    beta1 : float
        The part of m that is left after a step: m += (1 - beta1) * (grad - m).
    beta2 : float
        The part of v that is left after a step: v += (1 - beta2) * (grad^2 - v).

    Attributes
    ----------
    iter : int
        The number of updates so far.
    m, v : dict of arrays, or None before the first update
        The running averages of the gradients and of their squares, of each parameter's shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> params, optimizer = {"W": np.array([1.0, 2.0])}, Adam(lr=0.1, beta1=0.5, beta2=0.75)
    >>> optimizer.update(params, {"W": np.array([10.0, -0.5])})
    >>> params["W"].round(6), optimizer.m["W"], optimizer.v["W"]
    (array([0.9, 2.1]), array([ 5.  , -0.25]), array([25.    ,  0.0625]))
    """

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
