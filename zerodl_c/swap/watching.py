"""Watching a script's calls of `common`: `zerodl-c run --verify` and `--report`. Loaded only when asked for.

The engine's functions and methods are replaced, in their modules and classes and for the life of the process, by ones
that watch; the classes stay the same objects, so that subclassing and pickling go on as ever. A call that the engine
makes of itself is a part of the call that is watched. Where the nets of `common` only hand on from layer to layer, in
the same code on both engines, each layer's call is watched, and of a net itself what C has its own way for.

The other code, which C is compared with, is the script's own definition where the engine stands in for one, and else
the reference. A script's own definitions call each other by the names in their modules, which are the engine's: while
one of them runs beside a call, these hand on to the script's own.
"""

import atexit
import copy
import inspect
import linecache
import math
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

from .._own import Own
from ..differences.c_function import c_function
from ..reference.layers import _OfFunctions
from .comparing import Mismatch, Tolerance, Twins, described, largest, mismatch, shake
from .modules import as_they_were, own_definition
from .names import BOOK, of_engine, on_made

_STEP = 1e-4  # of the nets' numerical gradients
_SHARE, _FREE = 0.05, 0.5  # of the script's time, and seconds besides: what --report may spend on the other code
_RATIO = 10  # how many times as long as C the other code is expected to take
_RUNS = 3  # of which the least time counts, as other work and cold caches only add to it
_STEPS = {"forward", "backward", "update"}
_REALS = {np.dtype(np.float32), np.dtype(np.float64)}

Function = Callable[..., Any]


class Calls:
    """The calls of one function or method of `common`."""

    def __init__(self, module: str, name: str, ours: Function, theirs: Function, owner: type | None = None) -> None:
        self.module, self.name, self.ours, self.reference = module, name, ours, theirs
        self.stand_in: Any = owner  # the class, or the function that watches
        self.takes_f = module == "gradient"  # the script's own function, whose calls of `common` are watched apart
        self.first = int("." in name)  # where the arguments begin, after self
        self.of_net = "." in name and name.rpartition(".")[2] not in _STEPS
        self.by_differences = self.of_net and name.endswith(".numerical_gradient")
        self.shared = ours is theirs or self.takes_f  # one code for both engines
        self.draws = self.of_net or "random" in {*ours.__code__.co_names, *theirs.__code__.co_names}
        self.count, self.seconds = 0, 0.0
        self.compared, self.ours_seconds, self.theirs_seconds = 0, 0.0, 0.0  # those that the other code ran, too
        self.unusual: Counter[str] = Counter()
        self.parameters = list(inspect.signature(theirs).parameters)

    def other(self, args: Any, kwargs: Any) -> Function:
        """The script's own code, or the reference if there is none or it does not take these arguments."""
        own = self._own_method(args) if self.first else own_definition(self.stand_in)
        return own if own and _takes(own, args, kwargs) else self.reference

    def _own_method(self, args: Any) -> Any:
        kinds = [kind for kind in type(args[0]).__mro__ if issubclass(kind, self.stand_in)] if args else []
        found = next(filter(None, map(own_definition, kinds)), None)
        return getattr(found, self.name.rpartition(".")[2], None)

    @property
    def is_one_of_few(self) -> bool:
        """Whether the next call is number 1, 2, 4, 8, ..."""
        return not self.count & (self.count + 1)

    @property
    def ratio(self) -> float:
        """How many times as long the other code took as C: by the same calls or, where it was estimated, by all."""
        ours = self.ours_seconds or self.compared * self.seconds / self.count
        return self.theirs_seconds / max(ours, 1e-9)

    def compare(self, ours: float, theirs: float) -> None:
        self.compared += 1
        self.ours_seconds += ours
        self.theirs_seconds += theirs

    def named(self, args: Any, kwargs: Any) -> dict[str, Any]:
        """The arguments by name."""
        return {**dict(zip(self.parameters, args, strict=False)), **kwargs}


def _takes(function: Function, args: Any, kwargs: Any) -> bool:
    try:
        inspect.signature(function).bind(*args, **kwargs)
    except TypeError:
        return False
    return True


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
    beside = False  # within the other code that runs beside one
    watched = 0.0  # seconds of all its watched calls, and of what was done beside them


_here = _Here()


def watch(verify: str = "") -> "Watcher":
    """Watch every call of `common` from now on, and compare with the other code: "sample", or "all" calls."""
    watcher = Watcher(verify)
    for module, of_module in BOOK.items():
        for key in of_module[module].split():
            mine, twin_of_mine = (of_engine(engine, f"{module}.{key}") for engine in ("c", "numpy"))
            if isinstance(mine, type):
                _REFERENCE[mine] = twin_of_mine
                watcher.watch_methods(module, mine, twin_of_mine)
            else:
                of = import_module(f"zerodl_c.{module}")
                setattr(of, key, watcher.watched(Calls(module, key, mine, twin_of_mine)))
    on_made.append(watcher.watch_made)
    as_they_were.clear()
    Own.renew()
    if verify:
        atexit.register(watcher.end)
    return watcher


def _other_class(kind: type) -> type | None:
    """What a class of the engine is in the other code."""
    own: type | None = own_definition(kind)
    return own or _REFERENCE.get(kind)


_REFERENCE: dict[type, type] = {}  # a class of the engine, and the reference's
_twin = Twins(_other_class).of


class Watcher:
    """What was seen so far."""

    def __init__(self, verify: str) -> None:
        self.verify, self.process, self.stopped = verify, os.getpid(), ""
        self.calls: list[Calls] = []
        self.start, self.spent = perf_counter(), 0.0  # seconds spent on copies and on the other code
        self._told = perf_counter() if verify and sys.stderr and sys.stderr.isatty() else math.inf

    def watch_methods(self, module: str, mine: type, twin_of_mine: type) -> None:
        """Watch the methods of layers and optimizers, and of others those that C has its own way for."""
        for name in dir(mine):
            ours, theirs = getattr(mine, name), getattr(twin_of_mine, name, None)
            if name.startswith("_") or not inspect.isfunction(ours) or not theirs:
                continue
            if name in _STEPS or name == "numerical_gradient" or ours is not theirs:
                calls = Calls(module, f"{mine.__name__}.{name}", ours, theirs, mine)
                calls.shared &= not issubclass(mine, _OfFunctions) and not calls.of_net
                setattr(mine, name, self.watched(calls))

    def watch_made(self, place: str, made: Any) -> Any:
        """Watch a function that stands in for one of an older edition."""
        if isinstance(made, type):
            return made
        module, name = place.split(".")
        return self.watched(Calls(module, name, made, of_engine("numpy", place)))

    def watched(self, calls: Calls) -> Function:
        """What takes the place of `calls.ours`."""
        self.calls.append(calls)
        ours, call = calls.ours, self._call_with_f if calls.takes_f else self._call

        @wraps(ours)
        def function(*args: Any, **kwargs: Any) -> Any:
            if _here.beside:
                return calls.other(args, kwargs)(*args, **kwargs)
            # Of a net of the script's own class the layers are watched: what it overrides, the other code has not.
            if _here.busy or (calls.of_net and args and not _other_class(type(args[0]))):
                return ours(*args, **kwargs)
            return call(calls, args, kwargs)

        if not calls.first:
            calls.stand_in = function
        return function

    def _call(self, calls: Calls, args: Any, kwargs: Any) -> Any:
        _here.busy = True
        try:
            if self.verify:
                self._go_on()
            if self._is_to_be_verified(calls):
                return self._verify(calls, args, kwargs)
            if not self.verify and calls.is_one_of_few and self._is_worth_measuring(calls):
                self._measure(calls, args, kwargs)
            start = perf_counter()
            try:
                return calls.ours(*args, **kwargs)
            finally:
                self._count(calls, args[calls.first :], perf_counter() - start)
        finally:
            _here.busy = False

    def _is_to_be_verified(self, calls: Calls) -> bool:
        return self.verify == "all" or (self.verify != "" and calls.is_one_of_few)

    def _is_worth_measuring(self, calls: Calls) -> bool:
        """Whether to run both codes on copies before this call: it must tell something, and cost little."""
        if calls.shared or calls.by_differences:
            return calls.by_differences
        cost = _RUNS * (1 + _RATIO) * calls.seconds / max(calls.count, 1)
        return calls.count > 0 and self.spent + cost < _FREE + _SHARE * (perf_counter() - self.start)

    def _measure(self, calls: Calls, args: Any, kwargs: Any) -> None:
        """Time both codes on copies."""
        start, random = perf_counter(), _random_of(calls)
        try:
            given = _twin((args, kwargs))
            if calls.by_differences:
                calls.compare(0.0, _estimate(given))
            else:
                ours = _least(calls.ours, (args, kwargs))
                calls.compare(ours, _least(partial(_beside, calls.other(args, kwargs)), given))
        except Exception:  # what cannot be copied, or raises, is not measured
            pass
        finally:
            if random:
                np.random.set_state(random)
            self._spend(perf_counter() - start)

    def _verify(self, calls: Calls, args: Any, kwargs: Any) -> Any:
        """Call C, and the other code on copies: both draw the same of NumPy's random numbers."""
        start, before, given, spare = perf_counter(), _random_of(calls), _twin((args, kwargs)), _twin((args, kwargs))
        other, tolerance = partial(_beside, calls.other(args, kwargs)), Tolerance(given)
        if calls.by_differences:  # a difference of losses is divided by the step
            tolerance.scale = max(tolerance.scale, largest(_loss(given).result) / _STEP)
        ours = _outcome(calls.ours, args, kwargs)
        after = before and _random()
        theirs = _quietly(other, given, before)
        drawn = before and _random()
        self._count(calls, args[calls.first :], ours.seconds)
        calls.compare(ours.seconds, theirs.seconds)
        found = _mismatch(calls, ours, theirs, (args, kwargs), given, tolerance)
        if found and found.allowed and not calls.by_differences:
            shake(spare)
            shaken = _quietly(other, spare, before)
            tolerance.bend(_places(calls, theirs, given), _places(calls, shaken, spare))
            found = _mismatch(calls, ours, theirs, (args, kwargs), given, tolerance)
            if after:
                np.random.set_state(after)
        self._stop_at(calls, args, kwargs, found or mismatch("NumPy's generator", after, drawn, tolerance))
        self._spend(perf_counter() - start - ours.seconds)
        return ours.give()

    def _call_with_f(self, calls: Calls, args: Any, kwargs: Any) -> Any:
        """Call C with f(x), and the other code with a player of the values that f gave at each x."""
        self._go_on()
        other = calls.other(args, kwargs)
        f, args, kwargs = _without_f(args, kwargs)
        verify = self._is_to_be_verified(calls)
        recorder, before = _Recorder(f), _here.watched
        recorded = verify and recorder.can_record and not kwargs.keys() & {"workers", "vectorized"}
        given: Any = _twin((args, kwargs)) if verify else ()
        ours_given = kwargs
        if recorded and "plain_loop" in calls.parameters and _takes(calls.ours, (f, *args), kwargs):
            ours_given = {**kwargs, "plain_loop": True}  # the player has f's values at every point, and no others
        ours = _outcome(partial(calls.ours, recorder if recorded else f), args, ours_given)
        self._count(calls, (), ours.seconds - (_here.watched - before))
        start = perf_counter()
        if verify and not recorder.raised:
            player = _Player(recorder)
            theirs = _quietly(partial(_beside, other, player if recorded else f), given)
            calls.compare(ours.seconds, theirs.seconds)
            found = _mismatch(calls, ours, theirs, ((f, *args), kwargs), ((f, *given[0]), given[1]), Tolerance(given))
            if recorded and player.left():
                found = found or Mismatch("f", "called more often", "called less often")
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
        if perf_counter() - self._told > 1:  # on a terminal, once a second
            self._told = perf_counter()
            print(f"\rzerodl-c: --verify: {self.compared()}", end="", file=sys.stderr, flush=True)

    def compared(self) -> str:
        """How many calls were compared, of how many."""
        compared, count = (sum(of) for of in zip(*[(c.compared, c.count) for c in self.calls], strict=True))
        return f"{compared:,} of {count:,} call{'' if count == 1 else 's'} compared"

    def _spend(self, seconds: float) -> None:
        """Note time that the script would not have taken."""
        self.spent += seconds
        _here.watched += seconds

    # ---- Stopping

    def _stop_at(self, calls: Calls, args: Any, kwargs: Any, found: Mismatch | None) -> None:
        """End the process with 1 and a paragraph that says why, if a difference was found."""
        if not found:
            return
        values = calls.named(args, kwargs).items()
        given = ", ".join(f"{name} {described(value)}" for name, value in values if name != "self")
        of = "the reference" if calls.other(args, kwargs) is calls.reference else "the script's own"
        allowed = f", more than {found.allowed} apart" if found.allowed else ""
        self.stopped = (
            f"zerodl-c: --verify: common.{calls.module}.{calls.name} differs from {of}: {found.place} is "
            f"{found.ours} in C and {found.theirs} in {of}{allowed}. The arguments: {given or 'none'}. "
            f"Called in {_place(sys._getframe())}"
        )
        if self.is_own_process():
            print(self.stopped, file=sys.stderr, flush=True)
        self._go_on()

    def _go_on(self) -> None:
        """Raise, if there was a difference: in a child an error, which its parent may be waiting for."""
        if self.stopped:
            raise SystemExit(1) if self.is_own_process() else RuntimeError(self.stopped)

    def end(self) -> None:
        """Tell how much was compared. Exit with 1 after a difference, even if the script caught the SystemExit."""
        if not self.is_own_process():
            return
        if not self.stopped:
            clear = "" if self._told == math.inf else "\r"
            with suppress(Exception):
                print(f"{clear}zerodl-c: --verify: {self.compared()}, no difference", file=sys.stderr, flush=True)
        else:
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
    package = os.path.dirname(os.path.dirname(__file__)) + os.sep
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


def _quietly(function: Function, given: tuple[Any, Any], random: Any = None) -> _Outcome:
    """The outcome without warnings, as C warns of nothing, from one state of NumPy's generator."""
    if random:
        np.random.set_state(random)
    with np.errstate(all="ignore"):
        return _outcome(function, *given)


def _beside(function: Function, *args: Any, **kwargs: Any) -> Any:
    """Call other code: what it calls of the engine is the other code's, too."""
    _here.beside = True
    try:
        return function(*args, **kwargs)
    finally:
        _here.beside = False


def _least(function: Function, given: Any) -> float:
    """The least seconds of some calls with copies of the arguments; what they raise is raised."""
    outcomes = [_quietly(function, copy.deepcopy(given)) for _ in range(_RUNS)]
    outcomes[0].give()
    return min(outcome.seconds for outcome in outcomes)


def _estimate(given: Any) -> float:
    """What a net's numerical gradient, two losses for each parameter, would take the other code: maybe minutes."""
    seconds = min(_loss(given).seconds for _ in range(_RUNS))
    return seconds * 2 * sum(np.size(param) for param in given[0][0].params.values())


def _loss(given: tuple[Any, Any]) -> _Outcome:
    """A net's loss by the other code; nothing of it is left."""
    random, ((net, *args), kwargs) = _random(), copy.deepcopy(given)
    try:
        return _quietly(partial(_beside, net._training_loss), (args, kwargs))
    finally:
        np.random.set_state(random)


def _random_of(calls: Calls) -> Any:
    """The state of NumPy's global generator; None beside other threads, which may draw, if the call itself does not."""
    return _random() if calls.draws or threading.active_count() == 1 else None


def _random() -> Any:
    return np.random.get_state(legacy=False)


def _mismatch(
    calls: Calls, ours: _Outcome, theirs: _Outcome, args: Any, given: Any, tolerance: Tolerance
) -> Mismatch | None:
    """The first difference: in what was raised, the result, or an argument or the object that was changed."""
    if type(ours.error) is not type(theirs.error):
        return Mismatch("what comes of it", *map(_told, (ours, theirs)))
    if ours.error:
        return None
    values, twins = _places(calls, ours, args), _places(calls, theirs, given)
    found = (mismatch(place, values[place], twins[place], tolerance) for place in values)
    return next((one for one in found if one), None)


def _places(calls: Calls, outcome: _Outcome, args: Any) -> dict[str, Any]:
    """What a call gave, and what it may have changed."""
    values = {("self" if name == "self" else f"the argument {name}"): x for name, x in calls.named(*args).items()}
    if calls.by_differences:  # C needs no layers: what they remember of the other code's last loss, it has not
        values["self.params"] = values.pop("self").params
    return {"the result": outcome.result, **values}


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
    """f by a record of it: at its points in any order, as NumPy goes through a transposed array by its memory."""

    def __init__(self, recorder: _Recorder) -> None:
        self.values: dict[int, list[Any]] = {}
        for at, value in reversed(recorder.record):
            self.values.setdefault(at, []).append(value)

    def __call__(self, x: Any) -> Any:
        values = self.values.get(_fingerprint(x))
        if not values:
            raise LookupError("f is not called where C calls it")
        return values.pop()

    def left(self) -> bool:
        return any(self.values.values())


def _fingerprint(x: Any) -> int:
    return hash(np.asarray(x).tobytes())
