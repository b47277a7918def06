"""Processes that a script starts by multiprocessing's spawn and forkserver: they begin with the swap in place."""

import sys
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

MODULE = "multiprocessing.spawn"


def lead(module: ModuleType, statement: Callable[[], str]) -> None:
    """Let what multiprocessing tells a child make it evaluate an expression first; "" is none.

    The child unpickles what it is told before it imports the script; and the server that forks children evaluates the
    path of the script as a part of its command line.
    """
    tell = module.get_preparation_data
    if hasattr(tell, "__wrapped__"):  # it was done before
        return

    @wraps(tell)
    def get_preparation_data(name: str) -> dict[str, Any]:
        told: dict[str, Any] = tell(name)
        first = statement()
        if first:
            for key in {"name", "init_main_from_path"} & told.keys():
                told[key] = _After(told[key], first)
        return told

    module.get_preparation_data = get_preparation_data  # type: ignore[attr-defined]


class _After(str):
    """A string that is read, unpickled or as a part of a program, as the value of an expression that does more."""

    expression: str

    def __new__(cls, text: str, first: str) -> "_After":
        self = super().__new__(cls, text)
        self.expression = f"[__import__('sys').path.__setitem__(slice(None), {sys.path}), {first}, {text!r}][-1]"
        return self

    def __repr__(self) -> str:
        return self.expression

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (self.expression,)
