"""Registers zerodl_c with threadpoolctl, which then limits and lists its threads. Either may be imported first."""

import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ._bridge import lib

NAME = "threadpoolctl"


def register_when_imported() -> None:
    """Register now if threadpoolctl is already imported or is run by `python -m`, and each time it is imported."""
    for module in (sys.modules.get(NAME), sys.modules.get("__main__")):
        if getattr(getattr(module, "__spec__", None), "name", None) == NAME:
            register(module)
    # If this module was imported before and removed from sys.modules, its old finder is still there. The two finders
    # would call each other without end, so the old one goes.
    sys.meta_path[:] = [Finder(), *(finder for finder in sys.meta_path if type(finder).__module__ != __name__)]


def register(threadpoolctl: Any) -> None:
    """Add zerodl_c's library to those that threadpoolctl controls."""
    if not hasattr(threadpoolctl, "register"):  # threadpoolctl before 3.2
        return

    class Controller(threadpoolctl.LibController):  # type: ignore[misc]
        user_api = internal_api = "zerodl_c"
        filename_prefixes = ("_zerodl.",)
        check_symbols = ("PyInit__zerodl",)

        def get_num_threads(self) -> int:
            return int(lib.zdl_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            lib.zdl_limit_this_thread(max(num_threads, 1))

        def get_version(self) -> str:
            return version()

    threadpoolctl.register(Controller)


@cache
def version() -> str:
    from importlib import metadata  # slow to import, and used only here

    return metadata.version("zerodl_c")


class Finder:
    """A finder that leaves every module to the other finders, but notices when threadpoolctl is imported."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != NAME:
            return None
        for finder in sys.meta_path:
            if not isinstance(finder, Finder) and (spec := finder.find_spec(name, path, target)):
                watch(spec)
                return spec
        return None


def watch(spec: ModuleSpec) -> None:
    """Register after the module of this spec has been executed. The loader may serve other modules, too."""
    execute = spec.loader.exec_module  # type: ignore[union-attr]

    def exec_module(module: ModuleType) -> None:
        execute(module)
        if module.__name__ == NAME:
            register(module)

    spec.loader.exec_module = exec_module  # type: ignore[union-attr, method-assign]
