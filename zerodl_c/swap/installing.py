"""Installing and removing the swap."""

import os
import sys
import warnings
from types import ModuleType
from typing import Any

from .. import _checks
from . import children
from .modules import Finder, Made, adopt, forget, modules_of_common
from .names import BOOK, ENGINES, EngineName, of_engine

# `zerodl-c hook --install` writes this line into a .pth file of site-packages. Python runs it at each start.
HOOK = 'import os; os.environ.get("ZERODL_SWAP", "") in ("", "0") or __import__("zerodl_c").swap.start()\n'


def install(engine: EngineName = "c") -> None:
    """Make `common`, which the book's scripts import, compute on this engine until `uninstall`.

    A definition in the script's own `common` is replaced if it is identical to that of some edition of the book and
    uses only names that mean what they mean in the book. The engine's definition then behaves as in that edition.
    All other definitions stay the script's own.

    A script without a `common` gets one with the names of all editions. Its `mean_squared_error` is that of the first
    printings: 0.5 times the sum of squares, which later printings call `sum_squared_error`.
    `zerodl_c.mean_squared_error` is the mean.

    Modules of `common` that are already imported are changed in place. A name that
    `from common.layers import Affine` has already bound cannot be changed.

    Parameters
    ----------
    engine : {"c", "numpy"}
        This engine, or its reference in NumPy. It replaces the one installed before.

    Raises
    ------
    ValueError
        If engine is neither.

    Warns
    -----
    UserWarning
        If a module holds functions or classes that were imported from `common` before. The message names them.

    Examples
    --------
    >>> import zerodl_c
    >>> zerodl_c.install()
    >>> from common.functions import softmax
    >>> softmax is zerodl_c.softmax
    True
    >>> zerodl_c.uninstall()
    """
    global _swap
    if engine not in ENGINES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, ENGINES))}, got {engine!r}")
    if _swap is not None and _swap.engine == engine:
        _swap.come_first()
        return
    replaced = _everything(_swap.engine) if _swap is not None else []
    uninstall()
    _swap = Swap(engine)
    _checks.strict = False
    replaced += _swap.take_over()
    _warn_of_bound({id(value) for value in replaced if callable(value)} - set(map(id, _everything(engine))))


def uninstall() -> None:
    """Undo `install`: restore `common`, and remove its modules that were imported since from `sys.modules`.

    Names that a script has bound since `install`, by `from common.layers import Affine`, stay this engine's.

    Examples
    --------
    >>> import zerodl_c
    >>> zerodl_c.install("numpy")
    >>> zerodl_c.uninstall()
    >>> zerodl_c.uninstall()  # does nothing: there is no swap
    """
    global _swap
    if _swap is not None:
        _swap.give_back()
        _swap = None
        _checks.strict = True


def start() -> None:
    """Install the engine that the variable ZERODL_SWAP names, as Python starts."""
    value = os.environ["ZERODL_SWAP"]
    engines: dict[str, EngineName] = {"1": "c", "c": "c", "numpy": "numpy"}
    engine = engines.get(value)
    if engine:
        install(engine)
    else:
        warnings.warn(f"ZERODL_SWAP must be c, numpy, 1 for c, or 0 or empty for neither, got {value!r}", stacklevel=2)


class Swap:
    """An installed swap, with the modules of `common` as they were before."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.in_children = f"__import__('zerodl_c').install({engine!r})"  # what child processes evaluate first
        self.finder = Finder(engine, {children.MODULE: _lead_children})
        self.before = modules_of_common()
        self.replaced: list[tuple[ModuleType, str, Any]] = []
        self.come_first()
        if children.MODULE in sys.modules:
            _lead_children(sys.modules[children.MODULE])

    def come_first(self) -> None:
        if self.finder not in sys.meta_path:
            sys.meta_path.insert(0, self.finder)

    def take_over(self) -> list[Any]:
        """Change the modules that were imported before; return the values that were replaced."""
        self.replaced = adopt(self.finder)
        return [value for _, _, value in self.replaced]

    def give_back(self) -> None:
        if self.finder in sys.meta_path:
            sys.meta_path.remove(self.finder)
        for name in list(Made.all):
            forget(name)
        for module, key, value in self.replaced:
            setattr(module, key, value)
        for fullname, module in modules_of_common().items():
            if self.before.get(fullname) is not module:
                del sys.modules[fullname]
                self._forget(fullname, module)
        sys.modules.update(self.before)

    def _forget(self, fullname: str, module: ModuleType) -> None:
        """Remove the attribute that the import of a module added to its package."""
        package, _, name = fullname.rpartition(".")
        parent = self.before.get(package)
        if parent is None or vars(parent).get(name) is not module:
            return
        if fullname in self.before:
            setattr(parent, name, self.before[fullname])
        else:
            delattr(parent, name)


_swap: Swap | None = globals().get("_swap")  # a reload of this module keeps it


def swap_in_place() -> Swap | None:
    return _swap


def _lead_children(module: ModuleType) -> None:
    children.lead(module, lambda: _swap.in_children if _swap else "")


def _everything(engine: str) -> list[Any]:
    return [of_engine(engine, f"{of}.{name}") for of, keys in BOOK.items() for name in keys[of].split()]


def _warn_of_bound(identities: set[int]) -> None:
    """Warn of the modules that still hold, and go on using, the replaced values of these identities."""
    bound = []
    for fullname, module in list(sys.modules.items()):
        # type() and not isinstance: cffi's libraries claim to be modules, but have no __dict__.
        if not issubclass(type(module), ModuleType) or fullname.partition(".")[0] == "zerodl_c":
            continue
        # Not vars(module): it would load a module that waits for its first use.
        attributes = list(object.__getattribute__(module, "__dict__").items())
        names = sorted(key for key, value in attributes if id(value) in identities)
        if names:
            bound.append(f"{', '.join(names)} in {fullname}")
    if bound:
        text = "imported from common before zerodl_c.install, and not swapped unless imported again: "
        warnings.warn(text + "; ".join(bound), stacklevel=3)
