"""The nets whose steps are timed, described layer by layer, so that every engine builds the same net."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Params = dict[str, Array]  # "W1", "b1", "gamma1", "beta1", "W2", ...: in the order of the layers


class Layer(NamedTuple):
    """A class of the book's `layers`, the shape of its W or gamma, and its arguments other than parameters."""

    kind: str
    shape: tuple[int, ...] = ()
    arguments: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Net:
    """The layers of a net. The last is affine, perhaps followed by dropout; softmax and its loss come after it."""

    name: str
    input_shape: tuple[int, ...]  # of one sample
    layers: tuple[Layer, ...]

    def shapes_of(self, kind: str) -> list[tuple[int, ...]]:
        return [layer.shape for layer in self.layers if layer.kind == kind]

    @property
    def outputs(self) -> int:
        return self.shapes_of("Affine")[-1][1]

    def without_chance(self) -> Net:
        """This net with dropout ratio 0, for comparing engines: each draws its own dropout masks."""
        layers = (layer._replace(arguments=(0.0,)) if layer.kind == "Dropout" else layer for layer in self.layers)
        return replace(self, layers=tuple(layers))

    def params(self, rng: np.random.Generator) -> Params:
        """Parameters: weights of He's size, which keep a signal's size, and biases that are not 0, to compare steps."""
        params: Params = {}
        for i, layer in self.numbered():
            if layer.kind == "BatchNormalization":
                params[f"gamma{i}"], params[f"beta{i}"] = np.ones(layer.shape), rng.normal(scale=0.01, size=layer.shape)
            elif layer.shape:
                outputs = layer.shape[0 if layer.kind == "Convolution" else 1]
                inputs = math.prod(layer.shape) // outputs
                params[f"W{i}"] = rng.normal(scale=math.sqrt(2 / inputs), size=layer.shape)
                params[f"b{i}"] = rng.normal(scale=0.01, size=outputs)
        return params

    def numbered(self) -> Iterator[tuple[int, Layer]]:
        """The layers with the number of their parameters, which grows by 1 at each layer with a W."""
        i = 0
        for layer in self.layers:
            i += layer.kind in ("Affine", "Convolution")
            yield i, layer

    def flops(self, batch: int) -> int:
        """The flops of a gradient's products, for out, dW and dx. The net's input needs no gradient."""
        height, total = self.input_shape[-1], 0
        for i, layer in self.numbered():
            places = 1
            if layer.kind == "Pooling":
                height //= layer.arguments[0]
            elif layer.kind == "Convolution":
                height += 2 * layer.arguments[1] - layer.shape[-1] + 1
                places = height**2
            if layer.kind in ("Affine", "Convolution"):
                total += (2 if i == 1 else 3) * 2 * batch * places * math.prod(layer.shape)
        return total

    def made_of(self, module: ModuleType, params: Params) -> Any:
        """This net on an engine with the book's interface. Training changes the arrays of `params`."""
        fully_connected = len(self.input_shape) == 1
        return _multi_layer_net(self, module, params) if fully_connected else NetOfLayers(self, module, params)


def _multi_layer_net(net: Net, module: ModuleType, params: Params) -> Any:
    """The book's class of this name, with these parameters in place of its own."""
    *hidden, _ = (shape[1] for shape in net.shapes_of("Affine"))
    made = getattr(module, net.name)(*net.input_shape, hidden, net.outputs, **_options(net))
    made.params = params
    for key, name, layer in made._parameters():
        setattr(layer, name, params[key])
    return made


def _options(net: Net) -> dict[str, Any]:
    """The options of MultiLayerNetExtend for this net."""
    ratios = [layer.arguments[0] for layer in net.layers if layer.kind == "Dropout"]
    return {"use_batchnorm": True, "use_dropout": True, "dropout_ration": ratios[0]} if ratios else {}


class NetOfLayers:
    """A net made of layers, as in the book's chapters on convolution, whose nets are not in `common`."""

    def __init__(self, net: Net, module: ModuleType, params: Params) -> None:
        self.params = params
        self.layers: list[Any] = []
        self.last_layer = module.SoftmaxWithLoss()
        for i, (kind, shape, arguments) in net.numbered():
            own = (params[f"W{i}"], params[f"b{i}"]) if shape else ()
            self.layers.append(getattr(module, kind)(*own, *arguments))

    def loss(self, x: Array, t: Array) -> Any:
        out: Any = x
        for layer in self.layers:
            out = layer.forward(out)
        return self.last_layer.forward(out, t)

    def gradient(self, x: Array, t: Array) -> Params:
        self.loss(x, t)
        dout = self.last_layer.backward(1)
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        learning = [layer for layer in self.layers if hasattr(layer, "W")]
        grads = {}
        for i, layer in enumerate(learning, 1):
            grads[f"W{i}"], grads[f"b{i}"] = layer.dW, layer.db
        return grads


def _convolution(filters: int, channels: int, size: int, pad: int) -> tuple[Layer, Layer]:
    return Layer("Convolution", (filters, channels, size, size), (1, pad)), RELU


def _affine(inputs: int, outputs: int) -> Layer:
    return Layer("Affine", (inputs, outputs))


def fully_connected(name: str, sizes: Sequence[int], *after: Layer) -> Net:
    """Affine layers of these sizes, each but the last followed by those of `after`."""
    *hidden, last = (_affine(*shape) for shape in pairwise(sizes))
    layers = (layer for affine in hidden for layer in (affine, *after))
    return Net(name, (sizes[0],), (*layers, last))


RELU = Layer("Relu")
POOLING = Layer("Pooling", (), (2, 2))
DROPOUT = Layer("Dropout", (), (0.5,))
SIZES = (784, 100, 100, 100, 100, 10)

NETS = (
    fully_connected("MultiLayerNet", SIZES, RELU),
    fully_connected("MultiLayerNetExtend", SIZES, Layer("BatchNormalization", (100,)), RELU, DROPOUT),
    Net(  # of chapter 7
        "SimpleConvNet",
        (1, 28, 28),
        (*_convolution(30, 1, 5, 0), POOLING, _affine(4320, 100), RELU, _affine(100, 10)),
    ),
    Net(  # of chapter 8
        "DeepConvNet",
        (1, 28, 28),
        (
            *(*_convolution(16, 1, 3, 1), *_convolution(16, 16, 3, 1), POOLING),
            *(*_convolution(32, 16, 3, 1), *_convolution(32, 32, 3, 2), POOLING),
            *(*_convolution(64, 32, 3, 1), *_convolution(64, 64, 3, 1), POOLING),
            *(_affine(1024, 50), RELU, DROPOUT, _affine(50, 10), DROPOUT),
        ),
    ),
)
