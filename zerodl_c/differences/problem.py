"""What `gradient_check` checks: a function of arrays, which are perturbed in place, and its claimed gradient."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy, deepcopy
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import as_array, rows_and_targets, share_memory
from .evaluate import number, plain

Array = NDArray[Any]

_ADDED = 1e-7  # to each probability, in the log of the book's cross-entropy
_TERMS = 128  # how many roundings of its dtype a gradient may be off by


class Problem:
    """A scalar function of the arrays `params`, and its claimed gradient.

    Every evaluation begins with the same state of NumPy's global generator, so that dropout draws the same masks.
    """

    rtol = 1e-3
    batch: int | None = None

    def __init__(self, params: dict[Any, Array], f: Callable[[], Any], gradient: Callable[[], Any]) -> None:
        self.params, self._f = params, f
        self._random = np.random.get_state(legacy=False)
        with self.restored():
            self.grads = _like(params, gradient())
            self.draw_after_gradient = self._draw()
            result = f()
            self.draw_after_f = self._draw()
            self._draws = self.draw_after_f != self._draw()
        self.first = number(result)
        self.size = _narrowest(*params.values(), np.asarray(result))  # bytes of the dtype that f is computed in
        with np.errstate(all="ignore"):
            largest = max(float(abs(grad).max()) for grad in self.grads.values())
        eps = float(np.finfo(f"f{_narrowest(*params.values(), *self.grads.values())}").eps)
        self.residue = _TERMS * eps * largest  # by so much may rounding move a derivative that should be 0

    def value(self) -> float:
        if self._draws:
            self._rewind()
        return number(self._f())

    def readings(self) -> Iterator["Problem"]:
        """The functions that f may stand for. The gradient must be that of one of them."""
        yield self

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Restore the parameters and NumPy's generator to the last bit, even after an error."""
        saved = {name: param.copy() for name, param in self.params.items()}
        try:
            yield
            for name, param in self.params.items():
                if param.tobytes() != saved[name].tobytes():
                    raise ValueError(f"neither f nor its gradient must change {name}")
        finally:
            for name, param in self.params.items():
                param[...] = saved[name]
            self._rewind()

    def _rewind(self) -> None:
        np.random.set_state(self._random)

    def _draw(self) -> float:
        """The next random number, which shows how many were drawn before. Rewinds the generator."""
        drawn = np.random.random()
        self._rewind()
        return drawn


def _narrowest(*arrays: Array) -> int:
    return min((array.dtype.itemsize for array in arrays if array.dtype.kind == "f"), default=8)


def _like(params: dict[Any, Array], grads: Any) -> dict[Any, Array]:
    """Copies of the gradients. Each has its parameter's shape or the transposed shape."""
    if not isinstance(grads, dict):
        raise TypeError(f"gradient must give a dict of arrays, got {type(grads).__name__}")
    if grads.keys() != params.keys():
        missing, unknown = [key for key in params if key not in grads], [key for key in grads if key not in params]
        raise ValueError(f"gradient must have the keys of params: missing are {missing}, unknown are {unknown}")
    copies = {name: real(f"the gradient of {name}", grads[name]).copy() for name in params}
    for name, param in params.items():
        if copies[name].shape not in (param.shape, param.shape[::-1]):
            raise ValueError(f"the gradient of {name} must have its shape, {param.shape}, got {copies[name].shape}")
    return copies


def real(name: str, value: Any) -> Array:
    result = as_array(name, value)
    if result.dtype.kind not in "biuf" or result.dtype.itemsize > 8:
        raise TypeError(f"{name} must be real numbers of up to 64 bits, got {value!r:.60} of {type(value).__name__}")
    return result


def perturbable(name: str, param: Any) -> Array:
    """A view of a parameter, so that f cannot change the shape."""
    param = _floats(name, param)
    if not param.flags.writeable:
        raise ValueError(f"{name} must be writable, for it is perturbed in place; it is read-only")
    return param.view()


def _floats(name: str, param: Any) -> Array:
    if not isinstance(param, np.ndarray) or param.dtype.kind != "f" or param.dtype.itemsize > 8:
        got = param.dtype if isinstance(param, np.ndarray) else type(param).__name__
        raise TypeError(f"{name} must be an array of floats of up to 64 bits, got {got}")
    if not param.size:
        raise ValueError(f"{name} must have entries, got shape {param.shape}")
    return as_array(name, param)


# ---- A function ----------------------------------------------------------------------------------


def function_problem(f: Callable[[Any], Any], x: Any, gradient: Any) -> Problem:
    """The problem of a function f of an array, or of a dict, list or tuple of arrays."""

    def claimed() -> Any:
        return gradient(x) if callable(gradient) else gradient

    if isinstance(x, dict):
        return Problem(_several(x), lambda: f(x), claimed)
    if isinstance(x, (list, tuple)) and x and all(isinstance(part, np.ndarray) for part in x):
        return Problem(_several(dict(enumerate(x))), lambda: f(x), lambda: _numbered(claimed(), len(x)))
    if not (isinstance(x, np.ndarray) and x.dtype.kind == "f"):
        x = real("x", plain("x", x)).astype(np.float64)
    return Problem({"x": perturbable("x", x)}, lambda: f(x), lambda: {"x": claimed()})


def _several(x: dict[Any, Any]) -> dict[Any, Array]:
    if not x:
        raise ValueError("x must hold arrays, got an empty dict")
    return {key: perturbable(f"x[{key!r}]", param) for key, param in x.items()}


def _numbered(grads: Any, count: int) -> dict[Any, Any]:
    if not isinstance(grads, (list, tuple)) or len(grads) != count:
        got = len(grads) if isinstance(grads, (list, tuple)) else type(grads).__name__
        raise ValueError(f"gradient must be a list of {count} arrays, as x is, got {got}")
    return dict(enumerate(grads))


# ---- A net ---------------------------------------------------------------------------------------


def is_net(net: Any) -> bool:
    net_like = all(hasattr(net, name) for name in ("params", "loss", "gradient"))
    if not net_like and not callable(net):
        raise TypeError(f"net_or_f must be callable, or have params, loss and gradient, got {type(net).__name__}")
    return net_like


def net_problem(net: Any, x: Any, t: Any) -> Problem:
    """The loss of a float64 copy of a net, or of the net itself if no copy behaves as it does."""
    if not isinstance(net.params, dict) or not net.params:
        raise TypeError(f"params must be a dict of arrays, got {net.params!r:.60}")
    params = {f"params[{name!r}]": param for name, param in net.params.items()}
    for name, param in params.items():
        _floats(name, param)
    if not share_memory(params.values()):  # copies would not share it
        with suppress(Exception):  # the net cannot be copied, or takes only float32, or refers to itself by name
            same, wide = deepcopy(net), _in_float64(net)
            problem = _NetProblem(same, x, t)
            precise = x.astype(np.float64) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x
            twin = _NetProblem(wide, precise, t)
            if twin.follows(problem):
                twin.judge(problem)
                return twin
    for name, param in params.items():
        perturbable(name, param)
    return _NetProblem(net, x, t)


class _NetProblem(Problem):
    """The loss of a net in training mode, whose gradient the net computes."""

    rtol = 1e-4  # stricter than for a function, since the 1e-7 in the log is known here

    def __init__(self, net: Any, x: Any, t: Any) -> None:
        self.net, self.x, self.t = net, x, t
        params = {name: np.asarray(param).view() for name, param in net.params.items()}
        loss = partial(net.loss, train_flg=True) if _takes(net.loss, "train_flg") else net.loss
        super().__init__(params, lambda: loss(x, t), lambda: net.gradient(x, t))
        self.batch = len(x) if isinstance(x, np.ndarray) and x.ndim > 1 else None

    def follows(self, other: Problem) -> bool:
        """Whether this problem has the other's loss, and depends on the parameters that matter to the other."""
        if not abs(self.first - other.first) <= 0.01 * max(abs(other.first), 1):
            return False
        matters = {name: float(abs(grad).max()) for name, grad in other.grads.items()}
        for name, param in self.params.items():
            here = param.copy()
            param += 0.01 * np.arange(1, param.size + 1).reshape(param.shape) / param.size
            moved = self.value()
            param[...] = here
            if moved == self.first and matters[name] > 1e-3 * max(matters.values()):
                return False
        return True

    def judge(self, other: Problem) -> None:
        """Take over the other's gradients, except where both agree to within rounding."""
        self.residue = other.residue
        with np.errstate(invalid="ignore"):
            for name, grad in other.grads.items():
                if not np.all(abs(self.grads[name] - grad) <= self.residue):
                    self.grads[name] = grad

    def readings(self) -> Iterator[Problem]:
        """The loss as it is, then the loss without the 1e-7, which the book's gradients leave out."""
        yield self
        give = self._probabilities()
        if give:
            exact = copy(self)
            exact._f = lambda: number(self._f()) + _by_the_1e_7(_of_labels(give(), self.t))
            yield exact

    def _probabilities(self) -> Callable[[], Any] | None:
        """A function for the probabilities in the loss: `y` of the net or its last layer, or its prediction."""
        holders = [self.net, *getattr(self.net, "__dict__", {}).values()]
        with suppress(TypeError, ValueError):  # loss is no function of Python's
            used = inspect.getclosurevars(self.net.loss)
            holders += [*used.globals.values(), *used.nonlocals.values()]  # a last layer that is none of its attributes
        gives: list[Callable[[], Any]] = [partial(getattr, holder, "y") for holder in holders]
        gives += [self._predicted, lambda: _softmax(self._predicted())]
        value = self.value()
        for give in gives:
            with suppress(Exception), np.errstate(all="ignore"):  # there is no such y
                y = give()
                loss = -np.log(_of_labels(y, self.t) + _ADDED).mean()
                sums = np.sum(np.atleast_2d(y), axis=1, dtype=np.float64)
                if abs(sums - 1).max() < 0.01 and loss <= value + 0.01 * max(abs(value), 1):
                    return give
        return None

    def _predicted(self) -> Any:
        return self.net.predict(self.x)


def _of_labels(y: Any, t: Any) -> Array:
    """The probability of each sample's label."""
    y, t = rows_and_targets(np.asarray(y), t)
    return np.asarray(y[np.arange(len(y)), t if t.ndim == 1 else t.argmax(axis=1)], np.float64)


def _softmax(scores: Any) -> Array:
    scores = np.asarray(scores, np.float64)
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return exp / exp.sum(axis=-1, keepdims=True)


@np.errstate(all="ignore")
def _by_the_1e_7(y: Array) -> float:
    """By how much the 1e-7 lowers the loss."""
    return float(np.log1p(_ADDED / y).mean())


def _takes(function: Callable[..., Any], name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _in_float64(net: Any) -> Any:
    """A copy whose parameters are float64, wherever the net holds them.

    The copy lacks views of parameters that the net holds. A layer that only caches a view makes a new one. If a layer
    computes with such a view, the first loss of the copy fails.
    """
    params = [*net.params.values()]
    memo: dict[int, Any] = {id(param): param.astype(np.float64) for param in params}
    for held in _held(net, set()):
        if id(held) not in memo and any(np.may_share_memory(held, param) for param in params):
            memo[id(held)] = object()
    return deepcopy(net, memo)


def _held(part: Any, seen: set[int]) -> Iterator[Array]:
    """The arrays in the attributes of a net and of its layers, and in lists and dicts there."""
    if isinstance(part, np.ndarray):
        yield part
    elif id(part) not in seen:
        seen.add(id(part))
        parts = part if isinstance(part, (dict, list, tuple)) else getattr(part, "__dict__", {})
        for inner in parts.values() if hasattr(parts, "values") else parts:
            yield from _held(inner, seen)
