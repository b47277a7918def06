"""What `zerodl-c run --report` prints when the script ends."""

import sys
from collections.abc import Iterator
from time import perf_counter

from ._watch import Calls, Watcher
from .dropin import _modules_of_common


def lines(watcher: Watcher) -> Iterator[str]:
    """The report, to be printed as the process ends."""
    called = sorted((calls for calls in watcher.calls if calls.count), key=lambda calls: -calls.seconds)
    total = perf_counter() - watcher.start - watcher.spent
    inside = sum(calls.seconds for calls in called)
    count = sum(calls.count for calls in called)
    yield (
        f"zerodl-c report: the script took {_time(total)}, {_time(inside)} of it in {_number(count)} of common, "
        f"and {_time(watcher.spent)} more to run the reference beside them"
    )
    if called:
        yield "calls: " + "; ".join(map(_told, called))
        yield "saved: " + _saved([calls for calls in called if not calls.shared])
    yield "not accelerated: " + "; ".join(_not_accelerated(called, total - inside))
    yield from _of_the_script()
    if watcher.verify:
        yield _verified(watcher, count)


def show(watcher: Watcher) -> None:
    """Print the report to stderr, from the process that was started, and not from its forks."""
    if watcher.is_own_process() and sys.stderr:
        print(*lines(watcher), sep="\n  ", file=sys.stderr, flush=True)


def _told(calls: Calls) -> str:
    ratio = f", {calls.ratio:,.{0 if calls.ratio > 10 else 1}f}x" if calls.compared and not calls.shared else ""
    return f"{calls.name} {_number(calls.count)}, {_time(calls.seconds)}{ratio}"


def _saved(called: list[Calls]) -> str:
    measured = [calls for calls in called if calls.compared]
    saved = sum(calls.seconds * (calls.ratio - 1) for calls in measured)
    count = sum(calls.compared for calls in measured)
    told = f"about {_time(saved)}: the reference took x times as long in {_number(count)} of these" if measured else ""
    unmeasured = ", ".join(calls.name for calls in called if not calls.compared)
    untold = f"not measured, as called once or for too long: {unmeasured}" if unmeasured else ""
    return "; ".join(filter(None, (told, untold))) or "nothing"


def _not_accelerated(called: list[Calls], outside: float) -> Iterator[str]:
    """What takes as long as on the reference, and why."""
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


def _of_the_script() -> Iterator[str]:
    """The script's own part of `common`."""
    modules = {name.partition(".")[2]: module for name, module in _modules_of_common().items() if "." in name}
    own = [
        f"{name}.{key}"
        for name, module in modules.items()
        for key, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    if own:
        yield f"the script's own in common: {', '.join(own)}"


def _verified(watcher: Watcher, count: int) -> str:
    return "verify: stopped at a difference" if watcher.stopped else f"verify: {_number(count)} gave what they should"


def _number(count: int) -> str:
    return f"{count:,} call{'' if count == 1 else 's'}"


def _time(seconds: float) -> str:
    return f"{seconds:,.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
