"""What `zerodl-c run --report` prints when the script ends."""

import sys
from collections.abc import Iterator
from time import perf_counter
from types import ModuleType
from typing import Any

from .installing import swap_in_place
from .modules import Made, modules_of_common, recognised_in
from .names import BOOK, PLACES
from .watching import Calls, Watcher

_SWAPPED = {f"common.{name}" for name in BOOK}


def lines(watcher: Watcher) -> Iterator[str]:
    """The lines of the report, which is printed when the process ends."""
    called = sorted((calls for calls in watcher.calls if calls.count), key=lambda calls: -calls.seconds)
    total = perf_counter() - watcher.start - watcher.spent
    inside = sum(calls.seconds for calls in called)
    count = sum(calls.count for calls in called)
    yield (
        f"zerodl-c report: the script took {_time(total)}, {_time(inside)} of it in {_number(count)} of common, "
        f"and {_time(watcher.spent)} more to run other code beside them"
    )
    if not any(made.put for made in Made.all.values()) and not any(map(_is_namesake, modules_of_common().values())):
        yield f"nothing was swapped: {_why_nothing()}"
    if called:
        yield "calls: " + "; ".join(map(_described, called))
        yield "saved: " + _saved([calls for calls in called if not calls.shared])
    yield "not accelerated: " + "; ".join(_not_accelerated(called, total - inside))
    yield from filter(None, (_of_the_script(), _elsewhere()))
    if watcher.verify:
        yield _verified(watcher)


def show(watcher: Watcher) -> None:
    """Print the report to stderr, but only in the process that was started, not in its forks."""
    if watcher.is_own_process() and sys.stderr:
        print(*lines(watcher), sep="\n  ", file=sys.stderr, flush=True)


def _described(calls: Calls) -> str:
    ratio = f", {_times(calls.ratio)}x" if calls.compared and not calls.shared else ""
    return f"{calls.name} {_number(calls.count)}, {_time(calls.seconds)}{ratio}"


def _saved(called: list[Calls]) -> str:
    measured = [calls for calls in called if calls.compared]
    ours = sum(calls.seconds for calls in measured)
    theirs = sum(calls.seconds * calls.ratio for calls in measured)
    count = sum(calls.compared for calls in measured)
    code = "the script's own code" if any(made.put for made in Made.all.values()) else "the reference"
    times = _times(theirs / max(ours, 1e-9))
    saved = f"about {_time(theirs - ours)}: {code} would take {times} times as long, by {_number(count)} of these"
    unmeasured = ", ".join(calls.name for calls in called if not calls.compared)
    rest = f"not measured, as called once or for too long: {unmeasured}" if unmeasured else ""
    return "; ".join(filter(None, (saved if measured else "", rest))) or "nothing"


def _not_accelerated(called: list[Calls], outside: float) -> Iterator[str]:
    """What takes as long as without the swap, and why it does."""
    yield f"{_time(outside)} outside of common, the script's own code and what it calls of NumPy itself, as np.dot"
    for calls in called:
        if calls.takes_f:
            yield f"{calls.name}, whose time is that of the script's own f"
    shared = [calls.name for calls in called if calls.shared and not calls.takes_f]
    if shared:
        yield f"{', '.join(shared)}, the same code on both engines"
    for calls in called:
        for kind, count in () if calls.shared else calls.unusual.items():
            yield f"{calls.name} of {kind}, {_number(count)}, which C converts or leaves to NumPy"


def _of_the_script() -> str:
    """The definitions in `common` that are the script's own, and why those with the book's names are not the book's."""
    swap = swap_in_place()
    unread = [f"{name.partition('.')[2]} ({why})" for name, why in swap.finder.unread.items()] if swap else []
    defined = [
        f"{name.partition('.')[2]}.{key}{_why(name, key)}"
        for name, module in modules_of_common().items()
        for key, value in vars(module).items()
        if "." in name and callable(value) and _is_own(name, key, value)
    ]
    own = ", ".join(unread + defined)
    return own and f"the script's own in common: {own}"


def _is_own(module: str, name: str, value: Any) -> bool:
    """Whether a function or class is the module's own, or its own code has taken over from the engine's."""
    made = Made.all.get(module)
    if made and made.put.get(name) is value:
        return name in made.recognition.why_not
    return getattr(value, "__module__", None) == module


def _why(module: str, name: str) -> str:
    why = Made.all[module].recognition.why_not.get(name, "not of the book") if module in Made.all else "not of the book"
    return "" if why == "not of the book" else f" ({why})"


def _elsewhere() -> str:
    """The book's definitions in modules outside `common`."""
    found = {
        name: keys
        for name, module in list(sys.modules.items())
        if name not in _SWAPPED and not name.startswith("zerodl_c") and _has_names_of_the_book(name, module)
        if (keys := recognised_in(module))
    }
    listed = "; ".join(f"{name} has {', '.join(keys)}" for name, keys in found.items())
    return listed and f"the book's, but not swapped, as it is not in {_modules()}: {listed}"


def _has_names_of_the_book(name: str, module: ModuleType) -> bool:
    if not issubclass(type(module), ModuleType):
        return False
    values = object.__getattribute__(module, "__dict__")
    return any(getattr(values.get(key), "__module__", None) == name for key in PLACES)


def _modules() -> str:
    return f"common's {', '.join(BOOK)}"


def _is_namesake(module: ModuleType) -> bool:
    return getattr(module.__spec__, "origin", "") in {f"zerodl_c.{name}" for name in BOOK}


def _why_nothing() -> str:
    modules = [name for name in modules_of_common() if name.partition(".")[2] in BOOK]
    if modules:
        return f"none of the definitions in {', '.join(modules)} is the book's, with all that it uses"
    return f"the script imported none of {_modules()}"


def _verified(watcher: Watcher) -> str:
    return "verify: stopped at a difference" if watcher.stopped else f"verify: {watcher.compared()}, no difference"


def _times(ratio: float) -> str:
    return f"{ratio:,.{0 if ratio > 10 else 1}f}"


def _number(count: int) -> str:
    return f"{count:,} call{'' if count == 1 else 's'}"


def _time(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
