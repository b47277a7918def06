"""Makes a plan from the notes of one evaluation of f: f as a chain of the engine's layers, with x as a parameter.

A plan computes the loss at any x, as the layers do, and all central differences at once. It holds copies of everything
that it takes as constant. `proof` checks that the plan is equal to f.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import ceil, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._arrays import rows_and_targets
from .changes import Changes, Layer, layer_of
from .engine import Engine
from .notes import Note

Array = NDArray[Any]

_HIDDEN = {"relu", "sigmoid", "tanh"}
_ENDS = {"softmax loss", "cross-entropy"}
# For each parameter (these are the first settings): its number of dimensions, and that of the output.
_PARAMETERS = {"affine": ((2, 2), (1, 2)), "convolution": ((4, 4), (1, 4)), "batch normalization": ((1, 2), (1, 2))}


class Doubt(Exception):
    """The reason why there is no plan, and f is evaluated at every point."""


class Plan:
    """f(x) as the notes of one evaluation show it. Raises Doubt if they show no chain of layers."""

    def __init__(self, engine: Engine, notes: list[Note], x: Array) -> None:
        self.engine = engine
        chain, end = _layers_and_loss(notes, x)
        first = chain[0]
        self.end, self.names, self.result = end.name, [note.name for note in chain], end.output
        self.place = next(i for i, value in enumerate(first.settings) if value is x)
        given = [first.x, *end.settings, *(value for note in chain for value in note.settings if value is not x)]
        _check(x, given, [note.output for note in chain])
        if (x.ndim, first.output.ndim) != _PARAMETERS[first.name][self.place]:
            raise Doubt(f"x is a parameter of {first.name}, but does not have the usual number of dimensions")
        if not engine.is_in_place():
            raise Doubt("something of the engine has been replaced, which its kernels would not use")
        self.memory = _memory(notes)
        self.input, self.targets = _copy(first.x), _copy(end.settings[0])
        self.settings = [tuple(map(_copy, note.settings)) for note in chain]
        eps = np.finfo(np.asarray(self.result).dtype).eps
        self.rounding = float(eps * max(1, *(abs(note.output).max() for note in chain)))  # roughly that of f
        self.scores = chain[-1].output.shape

    def outputs(self, x: Array) -> list[Array]:
        """The outputs of the layers at x, bit for bit."""
        outputs = [self.input]
        for layer in self._layers(x):
            outputs.append(layer(outputs[-1]))
        return outputs[1:]

    def loss(self, scores: Array) -> float:
        """The value of f, bit for bit, if the last layer's output is these scores."""
        functions = self.engine.functions
        if self.end == "cross-entropy":
            return float(functions.cross_entropy_error(functions.softmax(scores), self.targets))
        return float(functions.softmax_loss(scores, self.targets))

    def fill(self, values: Array, points: Array, h: float | None) -> Iterator[int]:
        """Write the change of the loss at points[i, j] of entry i into values[i, j]; yield how many are done.

        The points are x + h, x - h, x + 2h, x - 2h, x + 4h, ... unless h is None.
        """
        labels = rows_and_targets(np.empty(self.scores), self.targets)[1]
        labels = np.asarray(labels if labels.ndim == 1 else labels.argmax(axis=1), np.int64)
        x = self.settings[0][self.place]
        hidden = self._hidden()
        if h is None or hidden is None or x.dtype != np.float64:
            chain = self._layers(x, np.float64)
            inputs = np.asarray(self.input, np.float64)
            return Changes(self.engine, chain, self.place, inputs, labels).fill(values, points)
        return self._fill_by_network(values, labels, hidden, h)

    def _fill_by_network(self, values: Array, labels: Array, hidden: str, h: float) -> Iterator[int]:
        """`fill` for a fully connected net, by the kernel that the package's own nets use."""
        arrays = [np.asarray(array, np.float64, order="C") for of in self.settings[::2] for array in of]
        x, pairs, done = np.asarray(self.input, np.float64), values.shape[1] // 2, 0
        for k in range(pairs):
            step = h * 2.0**k
            for slopes in self.engine.differences_of_first_layer(
                arrays, x.reshape(len(x), -1), labels, hidden, step, of_b=bool(self.place)
            ):
                values[: slopes.size, 2 * k], values[: slopes.size, 2 * k + 1] = slopes * step, -slopes * step
                yield done + 2 * slopes.size
            done += 2 * len(values)

    def _hidden(self) -> str | None:
        """The activation of a fully connected net if all hidden layers have the same one; otherwise None."""
        hidden = {*self.names[1::2]}
        if {*self.names[::2]} != {"affine"} or len(self.names) % 2 == 0 or len(hidden) > 1 or hidden - _HIDDEN:
            return None
        if any(np.shape(b) != np.shape(W)[1:] for W, b in self.settings[::2]):
            return None
        return hidden.pop() if hidden else "identity"

    def _layers(self, x: Array, dtype: Any = None) -> list[Layer]:
        """The layers with this x, in their own dtypes or in `dtype`."""
        first, *others = self.settings
        settings = [(*first[: self.place], x, *first[self.place + 1 :]), *others]
        return [
            layer_of(self.engine, name, tuple(value if dtype is None else _in_dtype(value, dtype) for value in of))
            for name, of in zip(self.names, settings, strict=True)
        ]

    def has_the_constants_of(self, other: "Plan") -> bool:
        """Whether both plans are the same, bit for bit, apart from x."""
        if (self.names, self.place, self.end) != (other.names, other.place, other.end):
            return False
        mine, theirs = self._constants(), other._constants()
        return len(mine) == len(theirs) and all(map(is_same, mine, theirs))

    def _constants(self) -> list[Any]:
        first, *others = self.settings
        return [self.input, self.targets, *first[: self.place], *first[self.place + 1 :], *sum(others, ())]


def _chain(notes: list[Note], x: Array) -> list[Note]:
    """The layers from the one with the parameter x to the loss. Each takes the output of the one before it."""
    users = _users(notes, x)
    if len(users) != 1:
        places = "none of the engine's layers" if not users else "several of the engine's layers"
        raise Doubt(f"x itself is a parameter of {places}")
    at = users[0]
    parameters = notes[at].settings[: len(_PARAMETERS.get(notes[at].name, ()))]
    if notes[at].x is x or not any(value is x for value in parameters):
        raise Doubt(f"x is not a parameter of a layer, but the input of {notes[at].name}")
    chain = [notes[at]]
    while chain[-1].name not in _ENDS:
        users = _users(notes, chain[-1].output)
        if len(users) != 1 or users[0] <= at or notes[users[0]].x is not chain[-1].output:
            raise Doubt(f"the output of {chain[-1].name} does not go into exactly one more layer of the engine")
        at = users[0]
        chain.append(notes[at])
    if any((note.name == "softmax") != (then.name == "cross-entropy") for note, then in pairwise(chain)):
        raise Doubt("softmax and the loss do not follow each other")
    return chain


def _layers_and_loss(notes: list[Note], x: Array) -> tuple[list[Note], Note]:
    """The chain without softmax, which a plan computes with the loss."""
    *chain, end = _chain(notes, x)
    return chain[:-1] if end.name == "cross-entropy" else chain, end


def outputs_of(notes: list[Note], x: Array) -> list[Array]:
    """The outputs of the layers of the chain, with changes that were made in place since."""
    return [note.output for note in _layers_and_loss(notes, x)[0]]


def _memory(notes: list[Note]) -> int:
    """The number of evaluations after which the earlier running statistics are lost in rounding."""
    momentum = max((abs(note.settings[-1] or 0) for note in notes if note.name == "batch normalization"), default=0)
    if momentum >= 1:
        raise Doubt("running statistics never forget what they were")
    return ceil(log(1e-17) / log(momentum)) if momentum else 0


def _users(notes: list[Note], value: Any) -> list[int]:
    return [i for i, note in enumerate(notes) if any(of is value for of in (note.x, *note.settings))]


def _check(x: Array, given: list[Any], outputs: list[Any]) -> None:
    if type(x) is not np.ndarray or any(type(output) is not np.ndarray for output in outputs):
        raise Doubt("x, or the output of a layer, is not a plain array")
    if any(np.may_share_memory(x, value) for value in given if isinstance(value, np.ndarray)):
        raise Doubt("x shares memory with another input or parameter of the layers")
    if any(output.ndim not in (2, 4) for output in outputs) or outputs[-1].ndim != 2:
        raise Doubt("the outputs of the layers are neither (batch, units) nor images")
    if x.ndim == 1 and len(x) != outputs[0].shape[1]:
        raise Doubt("x does not have one number for each unit of its layer")
    for value in (x, *given, *outputs):
        if np.asarray(value).dtype.kind == "f" and not np.isfinite(value).all():
            raise Doubt("not all inputs, parameters and outputs are finite")


def _copy(value: Any) -> Any:
    return np.array(value) if isinstance(value, (np.ndarray, list, tuple)) else value


def _in_dtype(value: Any, dtype: Any) -> Any:
    return np.asarray(value, dtype) if isinstance(value, np.ndarray) else value


def is_same(a: Any, b: Any) -> bool:
    if not isinstance(a, np.ndarray) or not isinstance(b, np.ndarray):
        return bool(a == b)
    return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
