"""Optimizers in C: one pass over each parameter, in place."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import numpy as np

from ._bridge import FLOAT32, FLOAT64, contiguous, kernel
from .reference import optimizer as reference

__all__ = ["SGD"]

_SGD = kernel("sgd")


class SGD(reference.SGD):
    __doc__ = reference.SGD.__doc__

    def update(self, params: MutableMapping[str, Any], grads: Mapping[str, Any]) -> None:
        """Take one step: arrays in `params` are changed in place, plain floats are replaced."""
        for key, param in params.items():
            grad = grads[key]
            if _in_one_pass(param, grad):
                _SGD[param.dtype.char](contiguous(param), contiguous(grad), self.lr, param.size)
            else:
                params[key] -= self.lr * grad


def _in_one_pass(param: Any, grad: Any) -> bool:
    """Whether both are contiguous arrays of one shape and one dtype that C has, and lie apart."""
    return (
        isinstance(param, np.ndarray)
        and isinstance(grad, np.ndarray)
        and (param.dtype is FLOAT64 or param.dtype is FLOAT32)
        and grad.dtype is param.dtype
        and grad.shape == param.shape
        and param.flags.carray
        and grad.flags.c_contiguous
        and grad.flags.aligned
        and not np.may_share_memory(param, grad)
    )
