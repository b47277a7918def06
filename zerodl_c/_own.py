"""Whether methods and functions are still the engine's own: a program may replace them, in a class or in one object.

What does the work of several methods in one go, as C does for a net, must not pass over one that was replaced.
"""

from operator import attrgetter
from types import ModuleType
from typing import Any


class Own:
    """Methods of a class, or functions of a module, as they are when this object is made."""

    _all: list["Own"] = []  # noqa: RUF012

    def __init__(self, owner: type | ModuleType, *names: str) -> None:
        self._owner, self._names, self._get = owner, names, attrgetter(*names)
        self._values = self._get(owner)
        self._all.append(self)

    def are_in_place(self) -> bool:
        """Whether the class or module has them still."""
        return bool(self._get(self._owner) == self._values)

    def are_methods_of(self, thing: Any) -> bool:
        """Whether they are what an object of the class, or of a subclass, has under these names."""
        return self._get(type(thing)) == self._values and vars(thing).keys().isdisjoint(self._names)

    @classmethod
    def renew(cls) -> None:
        """Take all as they are now, after methods were replaced by ones that do the same and are watched."""
        for own in cls._all:
            own._values = own._get(own._owner)
