"""The swap: `common`, the package that the book's scripts import, resolves to this engine.

The modules of the book's `common` get the engine's functions and classes in place of the book's. A script's own
`common`, if it has one, is found and run as Python would, and keeps all that the book has not: other modules, other
names, another `np`. Without one, the modules hold what the book's hold, `np` included.
"""

import builtins
import os
import sys
import warnings
from collections import OrderedDict
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import ModuleType, TracebackType
from typing import Any

import numpy as np

__all__ = ["HOOK", "install", "run", "uninstall"]

# What Python runs when it starts, once `zerodl-c hook --install` has put it into a .pth file of site-packages.
HOOK = 'import os; os.environ.get("ZERODL_SWAP") == "1" and __import__("zerodl_c").install()\n'

_ENGINES = {"c": "zerodl_c", "numpy": "zerodl_c.reference"}

_FUNCTIONS = {
    "functions": (
        "identity_function step_function sigmoid sigmoid_grad relu relu_grad softmax sum_squared_error "
        "cross_entropy_error softmax_loss"
    )
}
_OPTIMIZERS = {"optimizer": "SGD Momentum Nesterov AdaGrad RMSprop Adam"}
_LAYERS = {
    **_FUNCTIONS,
    "util": "im2col col2im",
    "layers": "Relu Sigmoid Affine SoftmaxWithLoss Dropout BatchNormalization Convolution Pooling",
}
# For each module of the book what `import *` brings, and the engine's module where it is.
_BOOK = {
    "functions": _FUNCTIONS,
    "gradient": {"gradient": "_numerical_gradient_1d numerical_gradient_2d numerical_gradient"},
    "layers": _LAYERS,
    "multi_layer_net": {**_LAYERS, "gradient": "numerical_gradient", "multi_layer_net": "MultiLayerNet"},
    "multi_layer_net_extend": {
        **_LAYERS,
        "gradient": "numerical_gradient",
        "multi_layer_net_extend": "MultiLayerNetExtend",
    },
    "optimizer": _OPTIMIZERS,
    "trainer": {**_OPTIMIZERS, "trainer": "Trainer"},
    "util": {"util": "smooth_curve shuffle_dataset conv_output_size im2col col2im"},
}
_NET_LIBRARY = {"np": np, "os": os, "sys": sys, "OrderedDict": OrderedDict}
_LIBRARY: dict[str, dict[str, Any]] = {
    "multi_layer_net": _NET_LIBRARY,
    "multi_layer_net_extend": _NET_LIBRARY,
    "trainer": {"np": np, "os": os, "sys": sys},
}
_MISSING = object()


def install(engine: str = "c") -> None:
    """Let `common`, which the book's scripts import, resolve to this engine, until `uninstall`.

    A name means what it meant in the edition that had it. So `common.functions.mean_squared_error` is that of the
    first printings and of the Korean edition, 0.5 times the sum of squares, which later printings call
    `sum_squared_error`; both are there, in this one meaning, whereas `zerodl_c.mean_squared_error` is the mean. No
    edition has both: where a script's own `common.functions` does, `mean_squared_error` is the script's own and stays.

    Modules and names in a script's own `common` that no edition had stay as they are. Modules of `common` that were
    imported before are changed in place; what was bound by `from common.layers import Affine` before cannot be.

    Parameters
    ----------
    engine : {"c", "numpy"}
        This engine, or its reference in NumPy. Another one than before takes its place.

    Raises
    ------
    ValueError
        If engine is neither.

    Warns
    -----
    UserWarning
        If a module holds functions or classes that were imported from `common` before. It names them.

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
    if engine not in _ENGINES:
        raise ValueError(f"engine must be one of {', '.join(map(repr, _ENGINES))}, got {engine!r}")
    if _swap is not None and _swap.engine == engine:
        return
    replaced = _everything(_swap.engine) if _swap is not None else []
    uninstall()
    _swap = _Swap(engine)
    replaced += _swap.take_over()
    _warn_of_bound({id(value) for value in replaced if callable(value)} - set(map(id, _everything(engine))))


def uninstall() -> None:
    """Undo `install`: `common` is again what it was, and what was imported of it meanwhile is forgotten.

    Names that a script bound meanwhile, by `from common.layers import Affine`, stay this engine's.

    Examples
    --------
    >>> import zerodl_c
    >>> zerodl_c.install("numpy")
    >>> zerodl_c.uninstall()
    >>> zerodl_c.uninstall()  # nothing is left to undo
    """
    global _swap
    if _swap is not None:
        _swap.give_back()
        _swap = None


def run(
    script: str, arguments: Sequence[str] = (), engine: str = "c", *, verify: bool = False, report: bool = False
) -> None:
    """Run a script as `python script arguments` does, on this engine; the process is the script's from then on.

    The folder above the script's is added to `sys.path`: the book's scripts add `..`, which is the same folder only
    as long as the current one is the script's.

    Parameters
    ----------
    script : str
        The path of a Python script.
    arguments : sequence of str
        The rest of its `sys.argv`.
    engine : {"c", "numpy"}
        As in `install`.
    verify : bool
        Whether to run every call on the reference, too, and to exit with status 1 at the first difference.
    report : bool
        Whether to print to stderr, as the process ends, what the calls took and what was not accelerated.

    Raises
    ------
    OSError
        If the script cannot be read; nothing was changed then. Whatever the script raises is raised, too.
    ValueError
        If engine is neither, or "numpy" with verify or report, which compare C with it.

    Examples
    --------
    >>> run("ch04/train_neuralnet.py")  # doctest: +SKIP
    """
    path = os.path.abspath(script)
    loader = SourceFileLoader("__main__", path)
    source = loader.get_data(path)
    if (verify or report) and engine != "c":
        raise ValueError(f"engine must be 'c' with verify or report, which compare it with 'numpy', got {engine!r}")
    if verify or report:
        from ._watch import watch

        watch(verify, report)
    install(engine)
    main = _main_module(path, loader)
    sys.argv = [script, *arguments]
    _set_path(os.path.dirname(os.path.realpath(path)))
    _show_only_frames_from(main)
    sys.modules["__main__"] = main
    exec(loader.source_to_code(source, path), vars(main))


# ---- The swap ------------------------------------------------------------------------------------


class _Swap:
    """A swap in place: it finds the modules of `common`, and knows what they were before."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.before = _modules_of_common()
        self.replaced: list[tuple[ModuleType, str, Any]] = []
        sys.meta_path.insert(0, self)

    def take_over(self) -> list[Any]:
        """Change the modules that were imported before; return what of them was replaced."""
        for fullname, module in self.before.items():
            name = fullname.partition(".")[2]
            if name in _BOOK:
                before = _overlay(module, name, self.engine)
                self.replaced += [(module, key, value) for key, value in before.items()]
        return [value for _, _, value in self.replaced if value is not _MISSING]

    def give_back(self) -> None:
        sys.meta_path.remove(self)
        for module, key, value in self.replaced:
            if value is _MISSING:
                vars(module).pop(key, None)
            else:
                setattr(module, key, value)
        for fullname, module in _modules_of_common().items():
            if self.before.get(fullname) is not module:
                del sys.modules[fullname]
                self._forget(fullname, module)
        sys.modules.update(self.before)

    def _forget(self, fullname: str, module: ModuleType) -> None:
        """Undo that the import of a module made it an attribute of its package."""
        package, _, name = fullname.rpartition(".")
        parent = self.before.get(package)
        if parent is None or vars(parent).get(name) is not module:
            return
        if fullname in self.before:
            setattr(parent, name, self.before[fullname])
        else:
            delattr(parent, name)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "common":
            package_loader: Any = _Overlay(self.engine, None)
            made = ModuleSpec(fullname, package_loader, origin=_ENGINES[self.engine], is_package=True)
            return self._own(fullname, None) or made
        package, _, name = fullname.partition(".")
        if package != "common":
            return None
        if isinstance(path, list) and not path:
            # The package is the one made above; by now sys.path may lead to the script's own.
            own = self._own(package, None)
            path += own.submodule_search_locations or [] if own else []
        if name not in _BOOK:
            return None
        spec = self._own(fullname, path) or ModuleSpec(fullname, None, origin=f"{_ENGINES[self.engine]}.{name}")
        overlay: Any = _Overlay(self.engine, spec.loader)
        spec.loader = overlay
        return spec

    def _own(self, fullname: str, path: Sequence[str] | None) -> ModuleSpec | None:
        """Where the module would be found without the swap."""
        for finder in sys.meta_path:
            if finder is not self and hasattr(finder, "find_spec"):
                spec = finder.find_spec(fullname, path)
                if spec is not None:
                    return spec
        return None


# Neither _Swap nor _Overlay is of importlib.abc's classes: Python does not ask for it, and importing that module takes
# a tenth of the time that the import of this package may take.
class _Overlay:
    """Loads a script's own module of `common`, or an empty one, and gives it the book's names."""

    def __init__(self, engine: str, own: Any) -> None:
        self.engine, self.own = engine, own

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.own.create_module(spec) if self.own else None

    def exec_module(self, module: ModuleType) -> None:
        if self.own:
            self.own.exec_module(module)
        name = module.__name__.partition(".")[2]
        if name in _BOOK:
            _overlay(module, name, self.engine)


_swap: _Swap | None = None


def _modules_of_common() -> dict[str, ModuleType]:
    return {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "common"}


def _names(name: str, engine: str) -> dict[str, Any]:
    """The engine's functions and classes for a module of the book, in the meaning of every edition."""
    found: dict[str, Any] = {}
    for source, keys in _BOOK[name].items():
        module = import_module(f"{_ENGINES[engine]}.{source}")
        found |= {key: getattr(module, key) for key in keys.split()}
    if "sum_squared_error" in found:
        found["mean_squared_error"] = found["sum_squared_error"]
    return found


def _everything(engine: str) -> list[Any]:
    return [value for name in _BOOK for value in _names(name, engine).values()]


def _overlay(module: ModuleType, name: str, engine: str) -> dict[str, Any]:
    """Give a module the book's names; return what they were, or _MISSING."""
    own, names = vars(module), _names(name, engine)
    if "mean_squared_error" in own and "sum_squared_error" in own:
        names.pop("mean_squared_error", None)  # the script's own, as no edition has both
    library = _LIBRARY.get(name, {"np": np})
    names |= {key: value for key, value in library.items() if key not in own}
    before = {key: own.get(key, _MISSING) for key in names}
    own.update(names)
    return before


def _warn_of_bound(identities: set[int]) -> None:
    """Warn of the modules that hold what was replaced, by its identities, and go on using it."""
    bound = []
    for fullname, module in list(sys.modules.items()):
        # By type(): cffi's libraries say that they are modules, and have no __dict__.
        if not issubclass(type(module), ModuleType) or fullname.partition(".")[0] == "zerodl_c":
            continue
        # Not vars(module), at which a module that is to load at its first use would load.
        attributes = list(object.__getattribute__(module, "__dict__").items())
        names = sorted(key for key, value in attributes if id(value) in identities)
        if names:
            bound.append(f"{', '.join(names)} in {fullname}")
    if bound:
        text = "imported from common before zerodl_c.install, and not swapped unless imported again: "
        warnings.warn(text + "; ".join(bound), stacklevel=3)


# ---- Running a script ----------------------------------------------------------------------------


def _main_module(path: str, loader: SourceFileLoader) -> ModuleType:
    """An empty `__main__` for a script, as Python makes it."""
    main = ModuleType("__main__")
    vars(main).update(__file__=path, __cached__=None, __loader__=loader, __builtins__=builtins)
    return main


def _set_path(folder: str) -> None:
    """Put the script's folder where Python puts it, and add the one above it."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        del sys.path[0]  # the folder of zerodl-c itself, or with `python -m` the current one
    sys.path.insert(0, folder)
    sys.path.append(os.path.dirname(folder))


def _show_only_frames_from(main: ModuleType) -> None:
    """Let an uncaught exception's traceback begin in the script, and pass over the swap's part in an import."""
    show = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        while trace is not None and trace.tb_frame.f_globals is not vars(main):
            trace = trace.tb_next
        entry = trace
        while entry is not None:
            while entry.tb_next is not None and _is_of_import(entry.tb_next):
                entry.tb_next = entry.tb_next.tb_next
            entry = entry.tb_next
        show(kind, error.with_traceback(trace), trace)

    sys.excepthook = hook


def _is_of_import(entry: TracebackType) -> bool:
    """Python hides its own frames of an import, save where others, as ours, stand among them."""
    return entry.tb_frame.f_code.co_filename.startswith((__file__, "<frozen importlib"))
