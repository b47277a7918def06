"""Optimizers: how parameters follow their gradients."""

from collections.abc import Mapping, MutableMapping
from typing import Any


class SGD:
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
        self.lr = lr

    def update(self, params: MutableMapping[str, Any], grads: Mapping[str, Any]) -> None:
        """Take one step: arrays in `params` are changed in place, plain floats are replaced."""
        for key in params:
            params[key] -= self.lr * grads[key]
