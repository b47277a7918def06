"""Optimizers in C: one pass over each parameter, in place.

The state changes in place, too.
"""

from collections.abc import Mapping, MutableMapping
from sys import getrefcount
from typing import Any, ClassVar

import numpy as np

from ._bridge import OK, Kernel, lib
from ._optimizer import Optimizer
from .reference import optimizer as reference

__all__ = ["SGD", "AdaGrad", "Adam", "Momentum", "Nesterov", "RMSprop"]

# The types that mean to NumPy what they mean to C. (With float32 arrays a float64 makes NumPy 2 compute in float64.)
_NUMBERS = {float, int, np.float64}
_SCALARS = {float, np.float64}  # parameters that are no arrays: C is not asked


class _InC(Optimizer):
    """Takes the steps in C; those that C does not take, for their arrays or rates, are taken as in the reference."""

    _kernel: ClassVar[Kernel]  # of the parameter, its state, its gradient, lr, and the other rates
    _rates: ClassVar[tuple[str, ...]] = ()  # the attributes that hold these

    def update(self, params: MutableMapping[str, Any], grads: Mapping[str, Any]) -> None:
        rates = [getattr(self, name) for name in self._rates]
        scalars = type(next(iter(params.values()), None)) in _SCALARS
        if scalars or not _NUMBERS.issuperset(map(type, (self.lr, *rates))):
            super().update(params, grads)
            return
        kernel, lr = self._kernel, self._begin(params)
        held = [params, *[getattr(self, name) for name in self._state]]
        copies = [(i, of) for i, of in enumerate(held) if type(of) is not dict]  # that may hand out copies
        for key in params:
            arrays = [of[key] for of in held]
            arrays.append(grads[key])
            if kernel(*map(id, arrays), lr, *rates) != OK:
                self._step(params, key, grads[key], lr)
                continue
            for i, of in copies:
                of[key] = arrays[i]


class SGD(_InC, reference.SGD):
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

    _kernel = lib.np_sgd


class Momentum(_InC, reference.Momentum):
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

    _kernel, _rates = lib.np_momentum, ("momentum",)

    def update(self, params: MutableMapping[str, Any], grads: Mapping[str, Any]) -> None:
        # The reference makes a new v at each update, so that one that a script has kept stays as it was.
        v = self.v or {}
        for key in v:
            if getrefcount(v[key]) > 2:  # one reference is the dict's, one is getrefcount's own
                v[key] = v[key].copy()
        super().update(params, grads)


class Nesterov(_InC, reference.Nesterov):
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

    _kernel, _rates = lib.np_nesterov, ("momentum",)


class AdaGrad(_InC, reference.AdaGrad):
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

    _kernel = lib.np_adagrad


class RMSprop(_InC, reference.RMSprop):
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

    _kernel, _rates = lib.np_rmsprop, ("decay_rate",)


class Adam(_InC, reference.Adam):
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

    _kernel, _rates = lib.np_adam, ("beta1", "beta2")
