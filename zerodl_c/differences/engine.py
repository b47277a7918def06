"""The parts of an engine that plans use. The engine itself provides them; this package imports no engine."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from .._own import Own
from .notes import readers_of


class Engine:
    """An engine whose layers and functions `notes` can watch.

    Parameters
    ----------
    functions, layers, util : module
    differences_of_first_layer : callable
        Called as differences_of_first_layer(arrays, x, labels, hidden, h, of_b=...) for a fully connected net. `hidden`
        is the activation of each hidden layer: "identity", "relu", "sigmoid" or "tanh". It yields, several times, those
        central differences of the cross-entropy in the first W, or b, that are done so far.
    """

    def __init__(
        self,
        functions: ModuleType,
        layers: ModuleType,
        util: ModuleType,
        differences_of_first_layer: Callable[..., Iterator[NDArray[Any]]],
    ) -> None:
        self.functions, self.layers, self.util = functions, layers, util
        self.differences_of_first_layer = differences_of_first_layer
        self.readers = readers_of(functions, layers)
        self._own = [
            *(Own(getattr(layers, name), "forward") for name in layers.__all__),
            Own(functions, *functions.__all__),
        ]

    def is_in_place(self) -> bool:
        """Whether its functions and the layers' `forward` are still its own, and no program has replaced them."""
        return all(own.are_in_place() for own in self._own)
