"""Watching a script's calls of `common`, for `zerodl-c run --verify` and `--report`. Loaded only for these options.

The engine's functions and methods are replaced, in their modules and classes and for the life of the process, by
wrappers. The classes stay the same objects, so that subclassing and pickling still work. A call that the engine makes
itself is a part of the call that is watched. Where the nets of `common` only pass arrays from layer to layer, with the
same code on both engines, the layers' calls are watched. A net's method is wrapped only where C implements it.

C is compared with "the other code": the script's own definition if the engine replaces one, otherwise the reference. A
script's own definitions call each other by the names in their modules, and these names hold the engine's wrappers. So
while the other code runs, the wrappers call the script's own definitions.
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

_STEP = 1e-4  # the h of the nets' numerical gradients
_SHARE, _FREE = 0.05, 0.5  # --report may spend this share of the script's time, plus these seconds, on the other code
_RATIO = 10  # the other code is expected to take this many times as long as C
_RUNS = 3  # the least time counts: other work and cold caches only add to it
_STEPS = {"forward", "backward", "update"}
_REALS = {np.dtype(np.float32), np.dtype(np.float64)}

Function = Callable[..., Any]


class Calls:
    """The calls of one function or method of `common`."""

    def __init__(self, module: str, name: str, ours: Function, theirs: Function, owner: type | None = None) -> None:
        self.module, self.name, self.ours, self.reference = module, name, ours, theirs
        self.stand_in: Any = owner  # the class, or the wrapper of a function
        self.takes_f = module == "gradient"  # f is the script's own: its calls of `common` are watched separately
        self.first = int("." in name)  # the index of the first argument, after self
        self.of_net = "." in name and name.rpartition(".")[2] not in _STEPS
        self.by_differences = self.of_net and name.endswith(".numerical_gradient")
        self.shared = ours is theirs or self.takes_f  # both engines run the same code
        self.draws = self.of_net or "random" in {*ours.__code__.co_names, *theirs.__code__.co_names}
        self.count, self.seconds = 0, 0.0
        self.compared, self.ours_seconds, self.theirs_seconds = 0, 0.0, 0.0  # of the calls that the other code also ran
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
        """How many times as long as C the other code took, on the same calls, or on all calls if it was estimated."""
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
    """The result of a call, or its error, and its time."""

    result: Any
    error: Exception | None
    seconds: float

    def give(self) -> Any:
        if self.error:
            raise self.error
        return self.result


class _Here(threading.local):
    """What a thread is doing."""

    busy = False  # in a watched call
    beside = False  # in the other code, which runs beside a watched call
    watched = 0.0  # seconds of all its watched calls and of the other code


_here = _Here()


def watch(verify: str = "") -> "Watcher":
    """Watch every call of `common` from now on. `verify` says which calls to compare: "", "sample" or "all"."""
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
    """The other code's class for a class of the engine."""
    own: type | None = own_definition(kind)
    return own or _REFERENCE.get(kind)


_REFERENCE: dict[type, type] = {}  # the reference's class for each class of the engine
_twin = Twins(_other_class).of


class Watcher:
    """The calls seen so far, and what to do at each call."""

    def __init__(self, verify: str) -> None:
        self.verify, self.process, self.stopped = verify, os.getpid(), ""
        self.calls: list[Calls] = []
        self.start, self.spent = perf_counter(), 0.0  # seconds spent on copies and on the other code
        # When the count of calls was last shown; inf if stderr is no terminal, so that it is never shown.
        self._last_shown = perf_counter() if verify and sys.stderr and sys.stderr.isatty() else math.inf

    def watch_methods(self, module: str, mine: type, twin_of_mine: type) -> None:
        """Watch the methods of layers and optimizers. A net's method is wrapped only where C implements it."""
        for name in dir(mine):
            ours, theirs = getattr(mine, name), getattr(twin_of_mine, name, None)
            if name.startswith("_") or not inspect.isfunction(ours) or not theirs:
                continue
            if name in _STEPS or name == "numerical_gradient" or ours is not theirs:
                calls = Calls(module, f"{mine.__name__}.{name}", ours, theirs, mine)
                calls.shared &= not issubclass(mine, _OfFunctions) and not calls.of_net
                setattr(mine, name, self.watched(calls))

    def watch_made(self, place: str, made: Any) -> Any:
        """Watch the replacement for a function of an older edition."""
        if isinstance(made, type):
            return made
        module, name = place.split(".")
        return self.watched(Calls(module, name, made, of_engine("numpy", place)))

    def watched(self, calls: Calls) -> Function:
        """The wrapper that replaces `calls.ours`."""
        self.calls.append(calls)
        ours, call = calls.ours, self._call_with_f if calls.takes_f else self._call

        @wraps(ours)
        def function(*args: Any, **kwargs: Any) -> Any:
            if _here.beside:
                return calls.other(args, kwargs)(*args, **kwargs)
            # For a net of the script's own class only the layers are watched: the other code lacks its methods.
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
        """Whether to time both codes on copies before this call: only if it is informative and cheap."""
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
        except Exception:  # a call that cannot be copied, or raises, is not measured
            pass
        finally:
            if random:
                np.random.set_state(random)
            self._spend(perf_counter() - start)

    def _verify(self, calls: Calls, args: Any, kwargs: Any) -> Any:
        """Call C, then the other code on copies. Both draw the same random numbers from NumPy."""
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
        """Call C with f, then the other code with a `_Player`, which returns the values that f gave at each x."""
        self._go_on()
        other = calls.other(args, kwargs)
        f, args, kwargs = _without_f(args, kwargs)
        verify = self._is_to_be_verified(calls)
        recorder, before = _Recorder(f), _here.watched
        recorded = verify and recorder.can_record and not kwargs.keys() & {"workers", "vectorized"}
        given: Any = _twin((args, kwargs)) if verify else ()
        ours_given = kwargs
        if recorded and "plain_loop" in calls.parameters and _takes(calls.ours, (f, *args), kwargs):
            ours_given = {**kwargs, "plain_loop": True}  # the player needs f's value at every point
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
        if perf_counter() - self._last_shown > 1:  # on a terminal, once a second
            self._last_shown = perf_counter()
            print(f"\rzerodl-c: --verify: {self.compared()}", end="", file=sys.stderr, flush=True)

    def compared(self) -> str:
        """How many calls were compared, and how many there were."""
        compared, count = (sum(of) for of in zip(*[(c.compared, c.count) for c in self.calls], strict=True))
        return f"{compared:,} of {count:,} call{'' if count == 1 else 's'} compared"

    def _spend(self, seconds: float) -> None:
        """Add time that the script would not have taken without the watcher."""
        self.spent += seconds
        _here.watched += seconds

    # ---- Stopping

    def _stop_at(self, calls: Calls, args: Any, kwargs: Any, found: Mismatch | None) -> None:
        """If a difference was found, explain it on stderr and end the process with status 1."""
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
        """Raise if there was a difference. In a child this is an ordinary error, so that a waiting parent gets it."""
        if self.stopped:
            raise SystemExit(1) if self.is_own_process() else RuntimeError(self.stopped)

    def end(self) -> None:
        """Print how many calls were compared. After a difference exit with 1, even if the script caught SystemExit."""
        if not self.is_own_process():
            return
        if not self.stopped:
            clear = "" if self._last_shown == math.inf else "\r"
            with suppress(Exception):
                print(f"{clear}zerodl-c: --verify: {self.compared()}, no difference", file=sys.stderr, flush=True)
        else:
            with suppress(Exception):  # it may be closed
                sys.stdout.flush()
            os._exit(1)

    def is_own_process(self) -> bool:
        """Whether this is the process that was started, not a fork of it."""
        return os.getpid() == self.process


def _unusual(x: Any) -> str | None:
    """The kind of x, if C does not take it as it is. Scalars and the arguments that are sizes do not count."""
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
    """The outcome of a call that begins with this state of NumPy's generator. NumPy's warnings are off, as in C."""
    if random:
        np.random.set_state(random)
    with np.errstate(all="ignore"):
        return _outcome(function, *given)


def _beside(function: Function, *args: Any, **kwargs: Any) -> Any:
    """Call the other code. Its calls of the engine go to the other code, too."""
    _here.beside = True
    try:
        return function(*args, **kwargs)
    finally:
        _here.beside = False


def _least(function: Function, given: Any) -> float:
    """The least time of some calls with copies of the arguments. An error of a call is raised."""
    outcomes = [_quietly(function, copy.deepcopy(given)) for _ in range(_RUNS)]
    outcomes[0].give()
    return min(outcome.seconds for outcome in outcomes)


def _estimate(given: Any) -> float:
    """The seconds that a net's numerical gradient, two losses for each parameter, would take the other code."""
    seconds = min(_loss(given).seconds for _ in range(_RUNS))
    return seconds * 2 * sum(np.size(param) for param in given[0][0].params.values())


def _loss(given: tuple[Any, Any]) -> _Outcome:
    """A net's loss by the other code, computed on a copy. NumPy's generator is put back."""
    random, ((net, *args), kwargs) = _random(), copy.deepcopy(given)
    try:
        return _quietly(partial(_beside, net._training_loss), (args, kwargs))
    finally:
        np.random.set_state(random)


def _random_of(calls: Calls) -> Any:
    """The state of NumPy's global generator. None if the call does not draw and other threads run, which may."""
    return _random() if calls.draws or threading.active_count() == 1 else None


def _random() -> Any:
    return np.random.get_state(legacy=False)


def _mismatch(
    calls: Calls, ours: _Outcome, theirs: _Outcome, args: Any, given: Any, tolerance: Tolerance
) -> Mismatch | None:
    """The first difference: in the error, the result, an argument, or the object whose method was called."""
    if type(ours.error) is not type(theirs.error):
        return Mismatch("what comes of it", *map(_error_text, (ours, theirs)))
    if ours.error:
        return None
    values, twins = _places(calls, ours, args), _places(calls, theirs, given)
    found = (mismatch(place, values[place], twins[place], tolerance) for place in values)
    return next((one for one in found if one), None)


def _places(calls: Calls, outcome: _Outcome, args: Any) -> dict[str, Any]:
    """The result of a call, and the values that the call may have changed."""
    values = {("self" if name == "self" else f"the argument {name}"): x for name, x in calls.named(*args).items()}
    if calls.by_differences:  # C computes without the layers, so they do not hold what the other code's layers hold
        values["self.params"] = values.pop("self").params
    return {"the result": outcome.result, **values}


def _without_f(args: Any, kwargs: Any) -> tuple[Any, Any, Any]:
    """The function that is the first parameter, and the other arguments."""
    if args:
        return args[0], args[1:], kwargs
    return kwargs.get("f"), (), {name: value for name, value in kwargs.items() if name != "f"}


def _error_text(outcome: _Outcome) -> str:
    return f"{outcome.error!r:.200}" if outcome.error else "no error"


class _Recorder:
    """f, with a record of the points where it was called and of its values."""

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
    """f by a record of it. The points may come in any order: NumPy visits a transposed array in the order of memory."""

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
