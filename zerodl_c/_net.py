"""What all nets share: how they are shown, and kept."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray


class SavedNet(Protocol):
    """What the nets that `load` gives have in common. SimpleNet, which does not learn, has less."""

    params: dict[str, NDArray[Any]]

    def predict(self, x: ArrayLike) -> NDArray[Any]: ...
    def predict_proba(self, x: ArrayLike) -> NDArray[Any]: ...
    def loss(self, x: ArrayLike, t: ArrayLike) -> float: ...
    def accuracy(self, x: ArrayLike, t: ArrayLike) -> float: ...
    def gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, NDArray[Any]]: ...
    def numerical_gradient(self, x: ArrayLike, t: ArrayLike) -> dict[str, NDArray[Any]]: ...
    def save(self, path: str | os.PathLike[str]) -> None: ...


class Net:
    """A net with parameters and `predict`."""

    params: dict[str, NDArray[Any]]
    _settings: ClassVar[tuple[str, ...]] = ()  # attributes that a file of the net holds beside its layers

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the net to a file from which `load` makes it again: what it is made of, and its parameters.

        The file is a plain .npz without pickles, whose arrays `np.load` gives under the names that they have in
        `params`. It is written whole, or not at all.

        Parameters
        ----------
        path : path
            The name of the file as it is: no suffix is added.

        Raises
        ------
        TypeError
            If the class of the net, or of a layer, is not the engine's own: `load` could not make it again.
        ValueError
            If `params` hold other arrays than the layers, or a layer a number that it could not be made with.
        OSError
            If the file cannot be written. An older one is as it was.
        """
        from ._saved import save

        save(self, path)

    def __repr__(self) -> str:
        with suppress(Exception):  # a subclass in a script may lack what its base class has
            count = sum(np.size(param) for param in self._in_params().values())
            return f"{type(self).__name__}({', '.join([*self._summary(), f'{count:,} parameters'])})"
        return object.__repr__(self)

    def _in_params(self) -> dict[str, Any]:
        """The parameters by their names."""
        return self.params

    def _take_params(self, params: dict[str, Any]) -> None:
        """Have these parameters, which are those of the layers."""
        self.params = params

    def _products(self) -> Iterator[tuple[str, Any, Any]]:
        """Each name of a weight, the weight and its bias, from the first to the last."""
        raise NotImplementedError

    def _summary(self) -> Iterable[str]:
        """What the net is made of, in words."""
        raise NotImplementedError
