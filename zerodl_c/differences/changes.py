"""What the entries of one parameter change in a chain of layers, many entries at a time.

An entry changes one unit of its layer, a column of an affine layer or a channel of a convolution, by so many times what
goes into the layer. Only what changes is computed anew: the unit alone while the layers that follow keep the units
apart, and everything from the first layer on that mixes them.

Many entries are computed in one call of each layer. They are a stack of shape (batch, variants, units, ...): a variant
is the net with one entry at one of its points. All is float64.
"""

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .engine import Engine

Array = NDArray[Any]

_STACK = 1 << 17  # numbers in a stack: about what the cache of a core holds


class Layer:
    """A layer with constant settings, which are what the engine's layer `name` is made of."""

    mixes = False  # its units

    def __init__(self, engine: Engine, name: str, settings: tuple[Any, ...]) -> None:
        self.engine, self.make, self.settings = engine, getattr(engine.layers, name), settings

    def __call__(self, x: Array) -> Array:
        """What the layer gives for x, to the bit."""
        out: Array = self.make(*self.settings).forward(x)
        return out

    def of_stack(self, stack: Array, units: slice) -> Array:
        """What it gives for a stack that holds all units or, where it keeps units apart, these."""
        return _by_samples(self, stack)

    def of_change(self, change: Array, units: slice) -> Array:
        """What a stack of changes of these units adds to the output of a layer that mixes units."""
        raise NotImplementedError

    def directions(self, x: Array, place: int) -> Array:
        """What 1 more in an entry of settings[place] adds to its unit: (batch, entries, 1 or units, ...).

        With 1, it is the same for each unit. In between it is linear.
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
        """A feature of each variant is a feature by itself, with its own statistics."""
        features, variants = prod(stack.shape[2:]), stack.shape[1]
        settings = (
            value if value is None else np.tile(value[units] if np.ndim(value) else np.full(features, value), variants)
            for value in self.settings[:4]
        )
        return self._normalized(stack.reshape(len(stack), features * variants), *settings).reshape(stack.shape)

    def directions(self, x: Array, place: int) -> Array:
        return np.ones((len(x), 1, 1)) if place else self._normalized(x, 1.0, 0.0, *self.settings[2:4])[:, np.newaxis]

    def _normalized(self, x: Array, gamma: Any, beta: Any, mean: Any, variance: Any) -> Array:
        """By the statistics of x if there is no mean."""
        layer = self.make(gamma, beta, running_mean=mean, running_var=variance)
        out: Array = layer.forward(x, train_flg=mean is None)
        return out


def _by_samples(layer: Any, stack: Array) -> Array:
    """layer(stack) for a layer that computes each sample by itself: each variant of one is a sample."""
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
    """The layer that notes call by this name."""
    kind, of_engine = _KINDS[name]
    return kind(engine, of_engine, settings)


class Changes:
    """How the loss changes with the entries of settings[place] of the first layer.

    Parameters
    ----------
    engine : Engine
    chain : list of Layer
        In float64. They end with the scores of the classes.
    place : int
    x : (batch, ...) ndarray
        What goes into the first layer.
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
        self.entries = entries.T if self.parameter.ndim == 2 else entries  # of each unit: affine's W has columns

    def fill(self, values: Array, points: Array) -> Iterator[int]:
        """Write how the loss changes at points[i, j] of entry i into values[i, j]; yields how many are done."""
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
        """How the loss changes with each variant of the change of a unit."""
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
        """A unit of the output of layer i, as it is, to be added to stacks."""
        return self.outputs[i][:, np.newaxis, unit : unit + 1]

    def _places(self, i: int, unit: int) -> slice:
        """Where a unit of that output is, if the output of each sample is one row."""
        pixels = prod(self.outputs[i].shape[2:])
        return slice(unit * pixels, (unit + 1) * pixels)

    def _mixed(self, i: int, change: Array, unit: int) -> Array:
        """A stack of all units that follow from the change of one in the output of layer i."""
        if i < len(self.layers):
            return self.outputs[i + 1][:, np.newaxis] + self.layers[i].of_change(change, self._places(i, unit))
        scores = np.repeat(self.outputs[i][:, np.newaxis], change.shape[1], axis=1)
        scores[:, :, unit : unit + 1] += change
        return scores

    def _loss_changes(self, scores: Array) -> Array:
        """How far the loss of each variant of (batch, variants, classes) is from that at x: mean log(before / now)."""
        ratio = (self._picked(scores) - self.picked) / (self.picked + 1e-7)
        changes: Array = -np.log1p(ratio).mean(axis=0)
        return changes

    def _picked(self, scores: Array) -> Array:
        """The probabilities of the labels, (batch, variants)."""
        y = self.softmax(scores.reshape(-1, scores.shape[2])).reshape(scores.shape)
        picked: Array = np.take_along_axis(y, self.labels[:, np.newaxis, np.newaxis], axis=2)
        return picked[:, :, 0]


def _that_change(change: Array) -> Array:
    """Which variants of a stack of changes are not 0."""
    return np.flatnonzero(change.any(axis=(0, *range(2, change.ndim))))
