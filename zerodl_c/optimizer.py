"""Optimizers in C: one pass over each parameter, in place."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from ._bridge import lib
from .reference import optimizer as reference

__all__ = ["SGD"]


class SGD(reference.SGD):
    __doc__ = reference.SGD.__doc__

    def update(self, params: MutableMapping[str, Any], grads: Mapping[str, Any]) -> None:
        """Take one step: arrays in `params` are changed in place, plain floats are replaced."""
        for key, param in params.items():
            grad = grads[key]
            if lib.np_sgd(id(param), id(grad), self.lr) != lib.NP_OK:
                params[key] -= self.lr * grad
