"""Installs the swap in the processes that a script starts by multiprocessing's spawn and forkserver."""

import sys
from collections.abc import Callable
from functools import wraps
from types import ModuleType
from typing import Any

MODULE = "multiprocessing.spawn"


def lead(module: ModuleType, statement: Callable[[], str]) -> None:
    """Make each child evaluate an expression before it imports the script. If the expression is "", change nothing.

    multiprocessing hands a child a dict of preparation data, and the child unpickles it before it imports the script.
    The forkserver reads the script's path as a part of its command line. A string of type `_After` works in both cases.
    """
    original = module.get_preparation_data
    if hasattr(original, "__wrapped__"):  # it is already replaced
        return

    @wraps(original)
    def get_preparation_data(name: str) -> dict[str, Any]:
        data: dict[str, Any] = original(name)
        first = statement()
        if first:
            for key in {"name", "init_main_from_path"} & data.keys():
                data[key] = _After(data[key], first)
        return data

    module.get_preparation_data = get_preparation_data  # type: ignore[attr-defined]


class _After(str):
    """A string whose pickle and repr are an expression: it evaluates `first`, then gives the string."""

    expression: str

    def __new__(cls, text: str, first: str) -> "_After":
        self = super().__new__(cls, text)
        self.expression = f"[__import__('sys').path.__setitem__(slice(None), {sys.path}), {first}, {text!r}][-1]"
        return self

    def __repr__(self) -> str:
        return self.expression

    def __reduce__(self) -> tuple[Any, ...]:
        return eval, (self.expression,)
