"""How the entries of one parameter change the loss of a chain of layers, for many entries at a time.

An entry affects one unit of its layer: a column of an affine layer, or a channel of a convolution. The change of that
unit is the change of the entry times an input of the layer. Only what changes is recomputed: this unit alone as long as
the following layers do not mix units, and all units from the first layer on that mixes them.

Each call of a layer computes many entries, as a stack of shape (batch, variants, units, ...). A variant is the net with
one entry at one of its points. All numbers are float64.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import Engine

Array = NDArray[Any]

_STACK = 1 << 17  # numbers in a stack: about as many as the cache of a core holds


class Layer:
    """A layer with constant settings: the arguments that the engine's class `name` is called with."""

    mixes = False  # whether each output depends on several units

    def __init__(self, engine: Engine, name: str, settings: tuple[Any, ...]) -> None:
        self.engine, self.make, self.settings = engine, getattr(engine.layers, name), settings

    def __call__(self, x: Array) -> Array:
        """The layer's output for x, bit for bit."""
        out: Array = self.make(*self.settings).forward(x)
        return out

    def of_stack(self, stack: Array, units: slice) -> Array:
        """The output for a stack that holds all units, or only `units` if the layer does not mix them."""
        return _by_samples(self, stack)

    def of_change(self, change: Array, units: slice) -> Array:
        """The change of the output that follows from a stack of changes of `units`, for a layer that mixes units."""
        raise NotImplementedError

    def directions(self, x: Array, place: int) -> Array:
        """The derivative of a unit by each of its entries in settings[place]: (batch, entries, 1 or units, ...).

        The third axis has length 1 if the derivative is the same for every unit. The unit is linear in its entries.
        """
        raise NotImplementedError


class _Affine(Layer):
    mixes = True

    def of_change(self, change: Array, units: slice) -> Array:
        W = self.settings[0][units]
        return _by_samples(lambda x: self.engine.functions.matmul(x.reshape(len(x), len(W)), W), change)

    def directions(self, x: Array, place: int) -> Array:
        return np.ones((len(x), 1, 1)) if place else x.reshape(len(x), -1, 1)


class _Convolution(Layer):
    mixes = True

    def of_change(self, change: Array, units: slice) -> Array:
        W, _, stride, pad = self.settings
        pixels = prod(change.shape[3:])
        channels = slice(units.start // pixels, units.stop // pixels)
        return _by_samples(self.make(W[:, channels], 0.0, stride, pad).forward, change)

    def directions(self, x: Array, place: int) -> Array:
        W, _, stride, pad = self.settings
        shape = self(x).shape
        if place:
            return np.ones((len(x), 1, 1, *shape[2:]))
        windows = self.engine.util.im2col(x, W.shape[2], W.shape[3], stride, pad).reshape(len(x), *shape[2:], -1)
        return np.ascontiguousarray(windows.transpose(0, 3, 1, 2))[:, :, np.newaxis]


class _Dropout(Layer):
    def __call__(self, x: Array) -> Array:
        out: Array = self.make(*self.settings).forward(x, train_flg=False)
        return out


class _BatchNormalization(Layer):
    def __call__(self, x: Array) -> Array:
        return self._normalized(x, *self.settings[:4])

    def of_stack(self, stack: Array, units: slice) -> Array:
        """The output for a stack, in which each feature of each variant has its own statistics."""
        features, variants = prod(stack.shape[2:]), stack.shape[1]
        settings = (
            value if value is None else np.tile(value[units] if np.ndim(value) else np.full(features, value), variants)
            for value in self.settings[:4]
        )
        return self._normalized(stack.reshape(len(stack), features * variants), *settings).reshape(stack.shape)

    def directions(self, x: Array, place: int) -> Array:
        return np.ones((len(x), 1, 1)) if place else self._normalized(x, 1.0, 0.0, *self.settings[2:4])[:, np.newaxis]

    def _normalized(self, x: Array, gamma: Any, beta: Any, mean: Any, variance: Any) -> Array:
        """Batch normalization with this mean and variance, or with the statistics of x if the mean is None."""
        layer = self.make(gamma, beta, running_mean=mean, running_var=variance)
        out: Array = layer.forward(x, train_flg=mean is None)
        return out


def _by_samples(layer: Any, stack: Array) -> Array:
    """layer(stack) for a layer that treats samples independently: each variant of a sample becomes a sample."""
    out: Array = layer(stack.reshape(-1, *stack.shape[2:]))
    return out.reshape(*stack.shape[:2], *out.shape[1:])


_KINDS: dict[str, tuple[type[Layer], str]] = {
    "affine": (_Affine, "Affine"),
    "batch normalization": (_BatchNormalization, "BatchNormalization"),
    "convolution": (_Convolution, "Convolution"),
    "dropout": (_Dropout, "Dropout"),
    "pooling": (Layer, "Pooling"),
    "relu": (Layer, "Relu"),
    "sigmoid": (Layer, "Sigmoid"),
    "tanh": (Layer, "Tanh"),
}


def layer_of(engine: Engine, name: str, settings: tuple[Any, ...]) -> Layer:
    """The layer for this name in a note."""
    kind, of_engine = _KINDS[name]
    return kind(engine, of_engine, settings)


class Changes:
    """How the loss changes with the entries of settings[place] of the first layer.

    Parameters
    ----------
    engine : Engine
    chain : list of Layer
        Float64 layers. The output of the last one is the scores of the classes.
    place : int
    x : (batch, ...) ndarray
        The input of the first layer.
    labels : (batch,) ndarray of int
    """

    def __init__(self, engine: Engine, chain: list[Layer], place: int, x: Array, labels: Array) -> None:
        self.softmax = engine.functions.softmax
        self.layers, self.labels = chain[1:], labels
        self.outputs = [chain[0](x)]
        for layer in self.layers:
            self.outputs.append(layer(self.outputs[-1]))
        self.picked = self._picked(self.outputs[-1][:, np.newaxis])
        self.parameter = chain[0].settings[place]
        self.directions = chain[0].directions(x, place)
        entries = np.arange(self.parameter.size).reshape(len(self.parameter), -1)
        # A row for each unit. A unit of an affine layer is a column of W.
        self.entries = entries.T if self.parameter.ndim == 2 else entries

    def fill(self, values: Array, points: Array) -> Iterator[int]:
        """Write the change of the loss at points[i, j] of entry i into values[i, j]; yield how many are done."""
        done, batch, per_entry = 0, len(self.labels), points.shape[1]
        widest = max(output.size for output in self.outputs[1:] or self.outputs)
        count = max(_STACK // (widest * per_entry), 1)
        steps = points.astype(np.float64) - self.parameter.reshape(-1, 1)
        for j, entries in enumerate(self.entries):
            directions = self.directions if self.directions.shape[2] == 1 else self.directions[:, :, j : j + 1]
            for begin in range(0, len(entries), count):
                some, along = entries[begin : begin + count], directions[:, begin : begin + count, np.newaxis]
                change = steps[some].reshape(1, *steps[some].shape, *(1,) * (along.ndim - 3)) * along
                stack = change.reshape(batch, -1, *change.shape[3:])
                values[some] = self._of_unit(stack, j).reshape(-1, per_entry)
                done += values[some].size
                yield done

    def _of_unit(self, change: Array, unit: int) -> Array:
        """The change of the loss for each variant of the change of a unit."""
        changes = np.zeros(change.shape[1])
        apart = next((i for i, layer in enumerate(self.layers) if layer.mixes), len(self.layers))
        live = _that_change(change)
        stack = self._unit(0, unit) + change[:, live]
        for i in range(apart):
            stack = self.layers[i].of_stack(stack, self._places(i, unit))
        change = stack - self._unit(apart, unit)
        still = _that_change(change)
        if still.size:
            stack = self._mixed(apart, change[:, still], unit)
            for layer in self.layers[apart + 1 :]:
                stack = layer.of_stack(stack, slice(None))
            changes[live[still]] = self._loss_changes(stack)
        return changes

    def _unit(self, i: int, unit: int) -> Array:
        """A unit of the unchanged output of layer i, in a shape that can be added to stacks."""
        return self.outputs[i][:, np.newaxis, unit : unit + 1]

    def _places(self, i: int, unit: int) -> slice:
        """The columns of a unit in the output of layer i, if each sample is one row."""
        pixels = prod(self.outputs[i].shape[2:])
        return slice(unit * pixels, (unit + 1) * pixels)

    def _mixed(self, i: int, change: Array, unit: int) -> Array:
        """A stack of all units of the layer that mixes them, given the change of one unit in outputs[i]."""
        if i < len(self.layers):
            return self.outputs[i + 1][:, np.newaxis] + self.layers[i].of_change(change, self._places(i, unit))
        scores = np.repeat(self.outputs[i][:, np.newaxis], change.shape[1], axis=1)
        scores[:, :, unit : unit + 1] += change
        return scores

    def _loss_changes(self, scores: Array) -> Array:
        """The loss of each variant in (batch, variants, classes), less the loss at x: mean log(before / now)."""
        ratio = (self._picked(scores) - self.picked) / (self.picked + 1e-7)
        changes: Array = -np.log1p(ratio).mean(axis=0)
        return changes

    def _picked(self, scores: Array) -> Array:
        """The probabilities of the labels, (batch, variants)."""
        y = self.softmax(scores.reshape(-1, scores.shape[2])).reshape(scores.shape)
        picked: Array = np.take_along_axis(y, self.labels[:, np.newaxis, np.newaxis], axis=2)
        return picked[:, :, 0]


def _that_change(change: Array) -> Array:
    """The indices of the variants whose change is not 0."""
    return np.flatnonzero(change.any(axis=(0, *range(2, change.ndim))))
