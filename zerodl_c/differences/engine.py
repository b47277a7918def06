"""What plans use of an engine, which gives it: nothing else in this package knows one."""

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

from .._own import Own
from .notes import readers_of


class Engine:
    """An engine whose layers are noted.

    Parameters
    ----------
    functions, layers, util : module
    differences_of_first_layer : callable
        Called as differences_of_first_layer(arrays, x, labels, hidden, h, of_b=...), for a fully connected net with the
        activation `hidden`, "identity", "relu", "sigmoid" or "tanh", behind each of its hidden layers: yields the
        central differences of the cross-entropy in the first W, or b, that are done, again and again.
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
        """Whether its functions and the layers' `forward` are its own, and not a program's in their place."""
        return all(own.are_in_place() for own in self._own)
