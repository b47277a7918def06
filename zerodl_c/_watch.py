"""Watching a script's calls of `common`: `zerodl-c run --verify` and `--report`. Loaded only when asked for.

The engine's functions and methods are replaced, in their modules and classes and for the life of the process, by ones
that watch; the classes stay the same objects, so that subclassing and pickling go on as ever. A call that the engine
makes of itself is a part of the call that is watched. Where the nets of `common` only hand on from layer to layer, in
the same code on both engines, each layer's call is watched, and of a net itself what C has its own way for.
"""

import atexit
import copy
import inspect
import linecache
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial, wraps
from importlib import import_module
from time import perf_counter
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

from ._difference import TWINS, Difference, Tolerance, described, difference, largest, twin
from .dropin import _BOOK
from .reference._cfunction import c_function
from .reference._own import Own
from .reference.layers import _OfFunctions

_STEP = 1e-4  # of the nets' numerical gradients
_SHARE, _FREE = 0.05, 0.5  # of the script's time, and seconds besides: what --report may spend on the reference
_RATIO = 10  # how many times as long as C the reference is expected to take
_RUNS = 3  # of which the least time counts, as other work and cold caches only add to it
_STEPS = {"forward", "backward", "update"}
_REALS = {np.dtype(np.float32), np.dtype(np.float64)}

Function = Callable[..., Any]


class Calls:
    """The calls of one function or method of `common`."""

    def __init__(self, module: str, name: str, ours: Function, theirs: Function) -> None:
        self.module, self.name, self.ours, self.theirs = module, name, ours, theirs
        self.takes_f = module == "gradient"  # the script's own function, whose calls of `common` are watched apart
        self.first = int("." in name)  # where the arguments begin, after self
        self.of_net = "." in name and name.rpartition(".")[2] not in _STEPS
        self.by_differences = self.of_net and name.endswith(".numerical_gradient")
        self.shared = ours is theirs or self.takes_f  # one code for both engines
        self.draws = self.of_net or "random" in {*ours.__code__.co_names, *theirs.__code__.co_names}
        self.count, self.seconds = 0, 0.0
        self.compared, self.ours_seconds, self.theirs_seconds = 0, 0.0, 0.0  # those that the reference ran, too
        self.unusual: Counter[str] = Counter()
        self.parameters = list(inspect.signature(theirs).parameters)

    @property
    def ratio(self) -> float:
        """How many times as long as C the reference took: by the same calls or, where it was only estimated, by all."""
        ours = self.ours_seconds or self.compared * self.seconds / self.count
        return self.theirs_seconds / max(ours, 1e-9)

    def compare(self, ours: float, theirs: float) -> None:
        self.compared += 1
        self.ours_seconds += ours
        self.theirs_seconds += theirs

    def named(self, args: Any, kwargs: Any) -> dict[str, Any]:
        """The arguments by name."""
        return {**dict(zip(self.parameters, args, strict=False)), **kwargs}


class _Outcome(NamedTuple):
    """What came of a call."""

    result: Any
    error: Exception | None
    seconds: float

    def give(self) -> Any:
        if self.error:
            raise self.error
        return self.result


class _Here(threading.local):
    """What a thread is doing."""

    busy = False  # within a watched call
    watched = 0.0  # seconds of all its watched calls, and of what was done beside them


_here = _Here()


def watch(verify: bool, report: bool) -> None:
    """Watch every call of `common` from now on, for `--verify`, `--report` or both."""
    watcher = Watcher(verify)
    for module, of_module in _BOOK.items():
        ours, theirs = (import_module(f"{package}.{module}") for package in ("zerodl_c", "zerodl_c.reference"))
        for key in of_module[module].split():
            mine, twin_of_mine = getattr(ours, key), getattr(theirs, key)
            if isinstance(mine, type):
                TWINS[mine] = twin_of_mine
                watcher.watch_methods(module, mine, twin_of_mine)
            else:
                setattr(ours, key, watcher.watched(Calls(module, key, mine, twin_of_mine)))
    Own.renew()
    if verify:
        atexit.register(watcher.exit_if_stopped)
    if report:
        from ._report import show

        atexit.register(show, watcher)


class Watcher:
    """What was seen so far."""

    def __init__(self, verify: bool) -> None:
        self.verify, self.process, self.stopped = verify, os.getpid(), ""
        self.calls: list[Calls] = []
        self.start, self.spent = perf_counter(), 0.0  # seconds spent on copies and on the reference

    def watch_methods(self, module: str, mine: type, twin_of_mine: type) -> None:
        """Watch the methods of layers and optimizers, and of others those that C has its own way for."""
        for name in dir(mine):
            ours, theirs = getattr(mine, name), getattr(twin_of_mine, name, None)
            if name.startswith("_") or not inspect.isfunction(ours) or not theirs:
                continue
            if name in _STEPS or name == "numerical_gradient" or ours is not theirs:
                calls = Calls(module, f"{mine.__name__}.{name}", ours, theirs)
                calls.shared &= not issubclass(mine, _OfFunctions) and not calls.of_net
                setattr(mine, name, self.watched(calls))

    def watched(self, calls: Calls) -> Function:
        """What takes the place of `calls.ours`."""
        self.calls.append(calls)
        ours, call = calls.ours, self._call_with_f if calls.takes_f else self._call

        @wraps(ours)
        def function(*args: Any, **kwargs: Any) -> Any:
            # Of a net of the script's own class the layers are watched: what it overrides, the reference has not.
            if _here.busy or (calls.of_net and args and type(args[0]) not in TWINS):
                return ours(*args, **kwargs)
            return call(calls, args, kwargs)

        return function

    def _call(self, calls: Calls, args: Any, kwargs: Any) -> Any:
        _here.busy = True
        try:
            if self.verify:
                return self._verify(calls, args, kwargs)
            if not calls.count & (calls.count + 1) and self._is_worth_measuring(calls):  # calls 1, 2, 4, 8, ...
                self._measure(calls, args, kwargs)
            start = perf_counter()
            try:
                return calls.ours(*args, **kwargs)
            finally:
                self._count(calls, args[calls.first :], perf_counter() - start)
        finally:
            _here.busy = False

    def _is_worth_measuring(self, calls: Calls) -> bool:
        """Whether to run both engines on copies before this call: it must tell something, and cost little."""
        if calls.shared or calls.by_differences:
            return calls.by_differences
        cost = _RUNS * (1 + _RATIO) * calls.seconds / max(calls.count, 1)
        return calls.count > 0 and self.spent + cost < _FREE + _SHARE * (perf_counter() - self.start)

    def _measure(self, calls: Calls, args: Any, kwargs: Any) -> None:
        """Time both engines on copies."""
        start, random = perf_counter(), _random_of(calls)
        try:
            given = twin((args, kwargs))
            if calls.by_differences:
                calls.compare(0.0, _estimate(given))
            else:
                calls.compare(_least(calls.ours, (args, kwargs)), _least(calls.theirs, given))
        except Exception:  # what cannot be copied, or raises, is not measured
            pass
        finally:
            if random:
                np.random.set_state(random)
            self._spend(perf_counter() - start)

    def _verify(self, calls: Calls, args: Any, kwargs: Any) -> Any:
        """Call C, and the reference on copies: both draw the same of NumPy's random numbers."""
        self._go_on()
        start, before, given = perf_counter(), _random_of(calls), twin((args, kwargs))
        tolerance = Tolerance(given)
        if calls.by_differences:  # a difference of losses is divided by the step
            tolerance.scale = max(tolerance.scale, largest(_loss(given).result) / _STEP)
        ours = _outcome(calls.ours, args, kwargs)
        after = before and _random()
        if before:
            np.random.set_state(before)
        theirs = _quietly(calls.theirs, *given)
        drawn = before and _random()
        self._count(calls, args[calls.first :], ours.seconds)
        calls.compare(ours.seconds, theirs.seconds)
        found = _difference(calls, ours, theirs, (args, kwargs), given, tolerance)
        self._stop_at(calls, args, kwargs, found or difference("NumPy's generator", after, drawn, tolerance))
        self._spend(perf_counter() - start - ours.seconds)
        return ours.give()

    def _call_with_f(self, calls: Calls, args: Any, kwargs: Any) -> Any:
        """Call C with f(x), and the reference with a player of the values that f gave at each x."""
        self._go_on()
        f, args, kwargs = _without_f(args, kwargs)
        recorder, before = _Recorder(f), _here.watched
        recorded = self.verify and recorder.can_record and not kwargs.keys() & {"workers", "vectorized"}
        given: Any = twin((args, kwargs)) if self.verify else ()
        ours = _outcome(partial(calls.ours, recorder if recorded else f), args, kwargs)
        self._count(calls, (), ours.seconds - (_here.watched - before))
        start = perf_counter()
        if self.verify and not recorder.raised:
            player = _Player(recorder)
            theirs = _quietly(partial(calls.theirs, player if recorded else f), *given)
            found = _difference(calls, ours, theirs, ((f, *args), kwargs), ((f, *given[0]), given[1]), Tolerance(given))
            if recorded and player.left():
                found = found or Difference("f", "called more often", "called less often")
            self._stop_at(calls, (f, *args), kwargs, found)
        self._spend(perf_counter() - start)
        return ours.give()

    def _count(self, calls: Calls, args: Any, seconds: float) -> None:
        calls.count += 1
        calls.seconds += seconds
        _here.watched += seconds
        unusual = args and _unusual(args[0])
        if unusual:
            calls.unusual[unusual] += 1

    def _spend(self, seconds: float) -> None:
        """Note time that the script would not have taken."""
        self.spent += seconds
        _here.watched += seconds

    # ---- Stopping

    def _stop_at(self, calls: Calls, args: Any, kwargs: Any, found: Difference | None) -> None:
        """End the process with 1 and a paragraph that says why, if a difference was found."""
        if not found:
            return
        values = calls.named(args, kwargs).items()
        given = ", ".join(f"{name} {described(value)}" for name, value in values if name != "self")
        allowed = f", more than {found.allowed} apart" if found.allowed else ""
        self.stopped = (
            f"zerodl-c: --verify: common.{calls.module}.{calls.name} differs from the reference: {found.place} is "
            f"{found.ours} in C and {found.theirs} in the reference{allowed}. The arguments: {given or 'none'}. "
            f"Called in {_place(sys._getframe())}"
        )
        if self.is_own_process():
            print(self.stopped, file=sys.stderr, flush=True)
        self._go_on()

    def _go_on(self) -> None:
        """Raise, if there was a difference: in a child an error, which its parent may be waiting for."""
        if self.stopped:
            raise SystemExit(1) if self.is_own_process() else RuntimeError(self.stopped)

    def exit_if_stopped(self) -> None:
        """Exit with 1 after a difference, even if it was in a thread, or the script caught the SystemExit."""
        if self.stopped and self.is_own_process():
            with suppress(Exception):  # it may be closed
                sys.stdout.flush()
            os._exit(1)

    def is_own_process(self) -> bool:
        """Whether this is the process that was started, and no fork of it."""
        return os.getpid() == self.process


def _unusual(x: Any) -> str | None:
    """What x is, if no array that C takes as it is; scalars and names of sizes do not count."""
    if isinstance(x, dict):
        x = next(iter(x.values()), None)
        if isinstance(x, (int, float, np.generic)):
            return "plain numbers"
    if isinstance(x, np.ndarray):
        return None if x.dtype in _REALS else str(x.dtype)
    return type(x).__name__ + "s" if isinstance(x, (list, tuple)) else None


def _place(frame: FrameType | None) -> str:
    """The line of the script that called into this package."""
    package = os.path.dirname(__file__) + os.sep
    while frame and frame.f_code.co_filename.startswith(package):
        frame = frame.f_back
    if not frame:
        return "Python itself"
    name, line = frame.f_code.co_filename, frame.f_lineno
    return f"{name}, line {line}: {linecache.getline(name, line).strip()}"


# ---- Both engines --------------------------------------------------------------------------------


def _outcome(function: Function, args: Any, kwargs: Any) -> _Outcome:
    start = perf_counter()
    try:
        result, error = function(*args, **kwargs), None
    except MemoryError:
        raise
    except Exception as raised:
        result, error = None, raised
    return _Outcome(result, error, perf_counter() - start)


def _quietly(function: Function, args: Any, kwargs: Any) -> _Outcome:
    with np.errstate(all="ignore"):  # C warns of nothing, and so must the reference beside it
        return _outcome(function, args, kwargs)


def _least(function: Function, given: Any) -> float:
    """The least seconds of some calls with copies of the arguments; what they raise is raised."""
    outcomes = [_quietly(function, *copy.deepcopy(given)) for _ in range(_RUNS)]
    outcomes[0].give()
    return min(outcome.seconds for outcome in outcomes)


def _estimate(given: Any) -> float:
    """What a net's numerical gradient, two losses for each parameter, would take the reference: maybe minutes."""
    seconds = min(_loss(given).seconds for _ in range(_RUNS))
    return seconds * 2 * sum(np.size(param) for param in given[0][0].params.values())


def _loss(given: tuple[Any, Any]) -> _Outcome:
    """A net's loss by the reference; nothing of it is left."""
    random, ((net, *args), kwargs) = _random(), copy.deepcopy(given)
    try:
        return _quietly(net._training_loss, args, kwargs)
    finally:
        np.random.set_state(random)


def _random_of(calls: Calls) -> Any:
    """The state of NumPy's global generator; None beside other threads, which may draw, if the call itself does not."""
    return _random() if calls.draws or threading.active_count() == 1 else None


def _random() -> Any:
    return np.random.get_state(legacy=False)


def _difference(
    calls: Calls, ours: _Outcome, theirs: _Outcome, args: Any, given: Any, tolerance: Tolerance
) -> Difference | None:
    """The first difference: in what was raised, the result, or an argument or the object that was changed."""
    if type(ours.error) is not type(theirs.error):
        return Difference("what comes of it", *map(_told, (ours, theirs)))
    if ours.error:
        return None
    found = difference("the result", ours.result, theirs.result, tolerance)
    if found:
        return found
    values, twins = calls.named(*args), calls.named(*given)
    places = {name: "self" if name == "self" else f"the argument {name}" for name in values}
    if calls.by_differences:  # C needs no layers: what they remember of the reference's last loss, it has not
        for of in (values, twins):
            of["self"] = of["self"].params
        places["self"] = "self.params"
    found_in = (difference(place, values[name], twins[name], tolerance) for name, place in places.items())
    return next((one for one in found_in if one), None)


def _without_f(args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
    """The function that is the first parameter, and the other arguments."""
    if args:
        return args[0], args[1:], kwargs
    return kwargs.get("f"), (), {name: value for name, value in kwargs.items() if name != "f"}


def _told(outcome: _Outcome) -> str:
    return f"{outcome.error!r:.200}" if outcome.error else "no error"


class _Recorder:
    """f, with a record of where it was called, and of what it gave."""

    def __init__(self, f: Any) -> None:
        self.f, self.raised = f, False
        self.can_record = callable(f) and c_function(f) is None
        self.record: list[tuple[int, Any]] = []

    def __call__(self, x: Any) -> Any:
        at = _fingerprint(x)
        try:
            value = self.f(x)
        except BaseException:
            self.raised = True
            raise
        self.record.append((at, value))
        return value


class _Player:
    """f by a record of it."""

    def __init__(self, recorder: _Recorder) -> None:
        self.record = iter(recorder.record)

    def __call__(self, x: Any) -> Any:
        at, value = next(self.record, (None, None))
        if at != _fingerprint(x):
            raise LookupError("f is not called where C calls it")
        return value

    def left(self) -> bool:
        return next(self.record, None) is not None


def _fingerprint(x: Any) -> int:
    return hash(np.asarray(x).tobytes())
