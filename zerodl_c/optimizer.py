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
    __doc__ = reference.SGD.__doc__
    _kernel = lib.np_sgd


class Momentum(_InC, reference.Momentum):
    __doc__ = reference.Momentum.__doc__
    _kernel, _rates = lib.np_momentum, ("momentum",)

    def update(self, params: MutableMapping[str, Any], grads: Mapping[str, Any]) -> None:
        # The reference makes a new v at each update, so that one that a script has kept stays as it was.
        v = self.v or {}
        for key in v:
            if getrefcount(v[key]) > 2:  # one reference is the dict's, one is getrefcount's own
                v[key] = v[key].copy()
        super().update(params, grads)


class Nesterov(_InC, reference.Nesterov):
    __doc__ = reference.Nesterov.__doc__
    _kernel, _rates = lib.np_nesterov, ("momentum",)


class AdaGrad(_InC, reference.AdaGrad):
    __doc__ = reference.AdaGrad.__doc__
    _kernel = lib.np_adagrad


class RMSprop(_InC, reference.RMSprop):
    __doc__ = reference.RMSprop.__doc__
    _kernel, _rates = lib.np_rmsprop, ("decay_rate",)


class Adam(_InC, reference.Adam):
    __doc__ = reference.Adam.__doc__
    _kernel, _rates = lib.np_adam, ("beta1", "beta2")
