"""What the optimizers of both engines share: no arithmetic of a step."""

from collections.abc import Mapping, MutableMapping
from typing import Any, ClassVar

import numpy as np

from ._checks import check_number
from ._shown import Shown


class Optimizer(Shown):
    """What all optimizers share: an update is a step of every parameter."""

    _state: ClassVar[tuple[str, ...]] = ()  # the attributes that hold an array for each parameter

    def __init__(self, lr: float) -> None:
        check_number("lr", lr, several=True)
        self.lr = lr
        for name in self._state:
            setattr(self, name, None)

    def update(self, params: MutableMapping[str, Any], grads: Mapping[str, Any]) -> None:
        """Take one step: arrays in `params` are changed in place, plain floats are replaced.

        Parameters
        ----------
        params : dict of float arrays of any shape, or of floats
            The parameters. At the first update the optimizer makes its state, of their shapes and dtypes.
        grads : dict of arrays or floats
            The gradient of each parameter, under the same key; keys beyond those of `params` are not looked at.

        Raises
        ------
        KeyError
            If a parameter has no gradient, or is new since the first update of an optimizer that has a state.
        ValueError
            If a gradient cannot be broadcast to its parameter, or a parameter is read-only.
        TypeError
            If a parameter is an array that cannot hold the step, as integers cannot.
        """
        lr = self._begin(params)
        for key in params:
            self._step(params, key, grads[key], lr)

    def _begin(self, params: Mapping[str, Any]) -> float:
        """Make the state if there is none; return the learning rate of this update."""
        if self._state and getattr(self, self._state[0]) is None:
            for name in self._state:
                setattr(self, name, {key: np.zeros_like(param) for key, param in params.items()})
        return self.lr

    def _step(self, params: MutableMapping[str, Any], key: str, grad: Any, lr: float) -> None:
        """Change one parameter, and its state."""
