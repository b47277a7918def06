"""`zerodl-c run`: runs a script, a module or a program text as Python does, with the swap installed."""

import atexit
import builtins
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any, NamedTuple

from . import installing
from .names import EngineName

_NOTEBOOK = "is a notebook: call zerodl_c.install() in its first cell, before the first import of common"


class Program(NamedTuple):
    """A program to run: its `__main__` module, its code, `sys.argv[0]`, and the first folder of `sys.path`."""

    main: ModuleType
    code: Callable[[], CodeType]
    argv0: str
    folder: str


def script(path: str) -> Program:
    """`python path`."""
    if path.endswith(".ipynb"):
        raise ValueError(f"{path} {_NOTEBOOK}")
    full = os.path.abspath(path)
    loader = SourceFileLoader("__main__", full)
    source = loader.get_data(full)
    main = _main(__file__=full, __cached__=None, __loader__=loader)
    return Program(main, lambda: loader.source_to_code(source, full), path, os.path.dirname(os.path.realpath(full)))


def module(name: str) -> Program:
    """`python -m name`. Errors from importing its packages are raised by `code`, not here."""
    main = _main()

    def code() -> CodeType:
        spec = _spec(name)
        vars(main).update(
            __spec__=spec, __loader__=spec.loader, __package__=spec.parent, __file__=spec.origin, __cached__=spec.cached
        )
        sys.argv[0] = spec.origin
        found: CodeType = spec.loader.get_code(spec.name)
        return found

    return Program(main, code, "-m", os.getcwd())


def _spec(name: str) -> Any:
    """The spec of a module, or of a package's `__main__`."""
    try:
        spec = importlib.util.find_spec(name)
        if spec and spec.submodule_search_locations is not None:
            return _spec(f"{name}.__main__")
    except (ImportError, AttributeError, ValueError) as error:
        raise SystemExit(f"{sys.executable}: Error while finding module specification for {name!r} ({error})") from None
    if not spec:
        raise SystemExit(f"{sys.executable}: No module named {name}")
    return spec


def command(text: str) -> Program:
    """`python -c text`."""
    return Program(_main(), lambda: compile(text, "<string>", "exec", dont_inherit=True), "-c", "")


def run(
    program: Program, arguments: Sequence[str] = (), engine: EngineName = "c", *, verify: str = "", report: bool = False
) -> None:
    """Run a program on this engine. From then on, the process belongs to the program.

    The folder above the script's folder is added to `sys.path`. The book's scripts add `..` themselves, but this is the
    right folder only if the current folder is the script's.

    Parameters
    ----------
    program : Program
        From `script`, `module` or `command`.
    arguments : sequence of str
        The arguments after `sys.argv[0]`.
    engine : {"c", "numpy"}
        As in `install`.
    verify : {"", "sample", "all"}
        Which calls to also run on the script's own code. The process exits with status 1 at the first difference.
    report : bool
        Whether to print, to stderr when the process ends, how long the calls took and what was not accelerated.

    Raises
    ------
    ValueError
        If engine is neither "c" nor "numpy", or is "numpy" with verify or report, which compare C with other code.
    """
    if (verify or report) and engine != "c":
        raise ValueError(f"engine must be 'c' with verify or report, which compare it with 'numpy', got {engine!r}")
    if verify or report:
        begin(verify, report)
    else:
        installing.install(engine)
    sys.argv = [program.argv0, *arguments]
    _set_path(program.folder)
    _show_only_frames_from(program.main)
    sys.modules["__main__"] = program.main
    exec(program.code(), vars(program.main))


def begin(verify: str, report: bool, child: bool = False) -> None:
    """Watch every call, and install the swap. A child process also verifies, but prints nothing when it ends."""
    from .watching import watch

    watcher = watch(verify)
    installing.install()
    swap = installing.swap_in_place()
    if swap and verify:
        swap.in_children = f"__import__('zerodl_c.swap.running').swap.running.begin({verify!r}, False, True)"
    if child:
        watcher.process = 0
    if report:
        from .reporting import show

        atexit.register(show, watcher)


def _main(**attributes: Any) -> ModuleType:
    """An empty `__main__` module, as Python makes it."""
    main = ModuleType("__main__")
    vars(main).update(__builtins__=builtins, **attributes)
    return main


def _set_path(folder: str) -> None:
    """Put the program's folder first in sys.path, as Python does, and add the folder above it."""
    if not getattr(sys.flags, "safe_path", sys.flags.isolated):
        del sys.path[0]  # the folder of the zerodl-c command, or the current folder with `python -m`
    sys.path.insert(0, folder)
    sys.path.append(os.path.dirname(folder or os.getcwd()))


def _show_only_frames_from(main: ModuleType) -> None:
    """Make tracebacks of uncaught exceptions begin in the script, and leave out the swap's frames of an import."""
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
    """Whether a frame is the swap's or Python's own of an import. Python hides its own unless others are among them."""
    return entry.tb_frame.f_code.co_filename.startswith((os.path.dirname(__file__), "<frozen importlib"))
