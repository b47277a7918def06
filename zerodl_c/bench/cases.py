"""The cases that are timed: shapes from the book's nets and its readers' scripts, and sizes around cache sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from .engines import Array, BenchError, Engine, Work
from .nets import NETS, RELU, Net, fully_connected

OTHER = ", otherwise"  # after an engine's name: the same work by another function of this engine
SQUARES = (16, 32, 64, 100, 128, 200, 256, 512, 1024, 2048)
# (m, k, n), and which operand is a transposed view: x.T @ dout for the weights, dout @ W.T for the inputs
PRODUCTS = (
    (1, 784, 50, ""),
    (100, 784, 50, ""),
    (784, 100, 50, "a"),
    (784, 100, 50, ""),
    (100, 50, 10, ""),
    (50, 100, 10, "a"),
    (50, 100, 10, ""),
    (100, 10, 50, "b"),
    (100, 10, 50, ""),
    (100, 784, 100, ""),
    (57600, 25, 30, ""),
    (25, 57600, 30, "a"),
    (25, 57600, 30, ""),
    (100, 4320, 100, ""),
    (4320, 100, 100, "a"),
    (4320, 100, 100, ""),
    *((n, n, n, "") for n in SQUARES),
    *((m, 784, 50, "") for m in (2, 3, 11)),
)
NET = (784, 50, 10)
FEW = (1, 3, 10)  # small batches, as in a gradient check or when a reader tries something
# (name, arrays that an update reads, arrays that it writes, a learning rate with which a net does not diverge)
OPTIMIZERS = (
    ("SGD", 2, 1, 0.01),
    ("Momentum", 3, 2, 0.01),
    ("Nesterov", 3, 2, 0.01),
    ("AdaGrad", 3, 2, 0.001),
    ("RMSprop", 3, 2, 0.001),
    ("Adam", 4, 3, 0.001),
)

# (shape, height and width of a window, pad): with one channel, and with many
IMAGES = (((100, 1, 28, 28), 5, 0), ((100, 30, 12, 12), 3, 1))

Make = Callable[[np.random.Generator], tuple[Any, ...]]
Digits = tuple[Array, Array]  # images (samples, 784), whose pixels are 80 % zeros, and their labels


@dataclass(frozen=True)
class Case:
    """One kind of work on given inputs, and its amount: flops, or elements that are read and written."""

    group: str
    name: str
    kind: str  # the name of a method of Engine
    make: Make
    flops: int = 0
    elements: int = 0
    passes: float = 1  # over these elements: each is read once and written once
    check: Make | None = None  # like make, but with inputs for which the result is not random

    def inputs(self, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """The inputs, the same in each run. Floats have this dtype."""
        return _inputs(self.make, dtype)

    def checked_inputs(self, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """Inputs for which every engine must give the same result."""
        return _inputs(self.check or self.make, dtype)


def _inputs(make: Make, dtype: np.dtype[Any]) -> tuple[Any, ...]:
    return tuple(_cast(x, dtype) for x in make(np.random.default_rng(0)))


def _cast(x: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(x, dict):
        return {key: _cast(value, dtype) for key, value in x.items()}
    return x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def chosen_cases(text: str = "", digits: Digits | None = None) -> list[Case]:
    """The cases whose name contains `text`, including cases on `digits` if given. BenchError if there are none."""
    cases = [*_cases(), *(_cases_on(digits) if digits else ())]
    found = [case for case in cases if text in case.name]
    if not found:
        raise BenchError(f"no case has {text!r} in its name; among them are: {', '.join(_FAMILIES)}")
    return found


_FAMILIES = (
    "sigmoid",
    "softmax",
    "log_softmax",
    "loss and gradient",
    "loss of layers",
    "matmul",
    "update",
    "BatchNormalization",
    "convolution",
    "pooling",
    "im2col",
    "col2im",
    "TwoLayerNet",
    "MultiLayerNet",
    "ConvNet",
    "fit",
)


def _cases() -> Iterator[Case]:
    yield _rows("tiny", "sigmoid", 3)
    yield _rows("tiny", "softmax", 3)
    yield _product("tiny", 2, 3, 2)
    for kind in ("sigmoid", "softmax", "log_softmax"):
        for shape in ((100, 10), (100, 50), (100, 1000), (1000, 1000)):
            if (kind, shape) != ("sigmoid", (100, 10)):
                yield _rows("activation", kind, *shape)
    for shape in ((100, 10), (1000, 1000)):
        yield _loss(*shape)
    for m, k, n, view in PRODUCTS:
        yield _product("matmul", m, k, n, view)
    for optimizer, read, written, _ in OPTIMIZERS:
        yield _update(optimizer, (read + written) / 2, 1_000_000)
    for shape in ((100, 100), (1000, 1000)):
        yield _batch_normalization(*shape)
    yield _convolution((100, 1, 28, 28), (30, 1, 5, 5))
    yield _pooling(100, 30, 24, 24)
    for images, size, pad in IMAGES:
        yield _im2col(images, size, pad)
        yield _col2im(images, size, pad)
    for batch in (*FEW, 100):
        yield _training_step(batch)
        yield _predict(batch)
    yield _layers_loss(3)
    for net in NETS:
        for optimizer, _, _, lr in OPTIMIZERS if net.name == "MultiLayerNet" else OPTIMIZERS[:1]:
            yield _net_step(net, 100, optimizer, lr)
    if find_spec("sklearn"):
        yield _fit((64, 100, 10), 1800, 20)
        yield _fit((20, 100, 2), 2000, 20)


def _cases_on(digits: Digits) -> Iterator[Case]:
    yield _training_step(100, digits)
    yield _predict(100, digits)
    yield _accuracy(digits)
    for net in NETS:
        if net.name != "MultiLayerNetExtend":
            yield _net_step(net, 100, "SGD", 0.01, digits)
    if find_spec("sklearn"):
        yield _fit((784, 100, 10), min(10_000, len(digits[0])), 3, digits)


def _rows(group: str, kind: str, *shape: int) -> Case:
    return Case(group, f"{kind} {shape}", kind, lambda rng: (rng.normal(size=shape),), elements=math.prod(shape))


def _loss(rows: int, cols: int) -> Case:
    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return rng.normal(size=(rows, cols)), rng.integers(0, cols, rows)

    name = f"loss and gradient {(rows, cols)}"
    return Case("loss", name, "loss_and_gradient", make, elements=rows * cols, passes=2)


def _product(group: str, m: int, k: int, n: int, view: str = "") -> Case:
    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        a = rng.normal(size=(k, m)).T if view == "a" else rng.normal(size=(m, k))
        return a, rng.normal(size=(n, k)).T if view == "b" else rng.normal(size=(k, n))

    mark = {operand: "ᵀ" if operand == view else "" for operand in "ab"}
    return Case(group, f"matmul ({m}x{k}{mark['a']})({k}x{n}{mark['b']})", "matmul", make, flops=2 * m * k * n)


def _update(optimizer: str, passes: float, n: int) -> Case:
    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return optimizer, rng.normal(size=n), rng.normal(size=n)

    return Case("optimizer", f"{optimizer} update ({n},)", "update", make, elements=n, passes=passes)


def _batch_normalization(rows: int, cols: int) -> Case:
    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        x, dout = rng.normal(size=(2, rows, cols))
        return x, rng.normal(size=cols), rng.normal(size=cols), dout

    # forward reads x, and writes xn and out; backward reads dout and xn, and writes dx
    name = f"BatchNormalization {(rows, cols)}"
    return Case("layer", name, "batch_normalization", make, elements=rows * cols, passes=3)


def _convolution(images: tuple[int, ...], filters: tuple[int, ...]) -> Case:
    out = (images[0], filters[0], images[2] - filters[2] + 1, images[3] - filters[3] + 1)

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return tuple(rng.normal(size=shape) for shape in (images, filters, filters[0], out))

    name = f"convolution {images} {'x'.join(map(str, (filters[0], *filters[2:])))}"
    flops = 3 * 2 * math.prod(out) * math.prod(filters[1:])  # out, dW and dx
    return Case("layer", name, "convolution", make, flops=flops)


def _pooling(*images: int) -> Case:
    out = (*images[:2], images[2] // 2, images[3] // 2)

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return rng.normal(size=images), rng.normal(size=out)

    # forward reads x and writes out, a quarter of it; backward reads dout and writes dx
    return Case("layer", f"pooling {images} 2x2", "pooling", make, elements=math.prod(images), passes=1.25)


def _im2col(images: tuple[int, ...], size: int, pad: int) -> Case:
    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return rng.normal(size=images), size, pad

    return Case("layer", _of_windows("im2col", images, size, pad), "im2col", make, **_traffic(images, size, pad))


def _col2im(images: tuple[int, ...], size: int, pad: int) -> Case:
    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return rng.normal(size=_columns(images, size, pad)), images, size, pad

    return Case("layer", _of_windows("col2im", images, size, pad), "col2im", make, **_traffic(images, size, pad))


def _of_windows(kind: str, images: tuple[int, ...], size: int, pad: int) -> str:
    return f"{kind} {images} {size}x{size}" + (f" pad {pad}" if pad else "")


def _traffic(images: tuple[int, ...], size: int, pad: int) -> dict[str, Any]:
    """The amount of work of im2col or col2im: one reads images and writes columns, the other the reverse."""
    elements = math.prod(_columns(images, size, pad))
    return {"elements": elements, "passes": (elements + math.prod(images)) / 2 / elements}


def _columns(images: tuple[int, ...], size: int, pad: int) -> tuple[int, int]:
    """The shape of im2col's result with stride 1."""
    batch, channels, height, width = images
    return batch * (height + 2 * pad - size + 1) * (width + 2 * pad - size + 1), channels * size**2


def _samples(rng: np.random.Generator, batch: int, shape: tuple[int, ...], digits: Digits | None) -> Digits:
    """Inputs and labels: digits if they are given, otherwise random ones."""
    if digits is None:
        return rng.normal(size=(batch, *shape)), rng.integers(0, NET[-1], batch)
    x, t = digits
    return x[:batch].reshape(-1, *shape), t[:batch]


def _name(of: str, digits: Digits | None) -> str:
    return f"{of}, digits" if digits else of


def _net_step(net: Net, batch: int, optimizer: str, lr: float, digits: Digits | None = None) -> Case:
    def make(rng: np.random.Generator, net: Net = net) -> tuple[Any, ...]:
        x, t = _samples(rng, batch, net.input_shape, digits)
        return net, optimizer, lr, net.params(rng), x, t

    check = partial(make, net=net.without_chance())
    name = _name(f"{net.name} step of {batch}, {optimizer}", digits)
    return Case("net", name, "net_step", make, flops=net.flops(batch), check=check)


def _layers_loss(batch: int) -> Case:
    """The loss that a numerical gradient in Python calls twice for each entry."""
    net = fully_connected("layers", NET, RELU)

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return net, net.params(rng), *_samples(rng, batch, net.input_shape, None)

    return Case("net", f"loss of layers {NET}, {batch}", "layers_loss", make, flops=_flops_forward(batch))


def _flops_forward(batch: int) -> int:
    inputs, hidden, outputs = NET
    return 2 * batch * (inputs * hidden + hidden * outputs)


def _training_step(batch: int, digits: Digits | None = None) -> Case:
    inputs, hidden, outputs = NET

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return _params(rng), *_samples(rng, batch, (inputs,), digits)

    # x needs no gradient, so the backward pass of the first layer has one product less
    flops = 2 * batch * (2 * inputs * hidden + 3 * hidden * outputs)
    return Case("net", _name(f"TwoLayerNet{NET} step of {batch}", digits), "training_step", make, flops=flops)


def _predict(batch: int, digits: Digits | None = None) -> Case:
    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return _params(rng), _samples(rng, batch, NET[:1], digits)[0]

    name = _name(f"TwoLayerNet{NET} predict {batch}", digits)
    return Case("net", name, "predict", make, flops=_flops_forward(batch))


def _accuracy(digits: Digits) -> Case:
    batch = len(digits[0])
    name = _name(f"TwoLayerNet{NET} accuracy {batch}", digits)
    return Case("net", name, "accuracy", lambda rng: (_params(rng), *digits), flops=_flops_forward(batch))


def _fit(widths: tuple[int, int, int], samples: int, epochs: int, digits: Digits | None = None) -> Case:
    """scikit-learn's estimator and ours: Adam, batches of 200."""
    inputs, hidden, outputs = widths

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        if digits:
            return hidden, epochs, digits[0][:samples].reshape(-1, inputs), digits[1][:samples]
        x = rng.uniform(size=(samples, inputs)) * rng.integers(0, 2, (samples, inputs))  # half of them are zeros
        return hidden, epochs, x, (x @ rng.normal(size=(inputs, outputs))).argmax(axis=1)

    flops = 2 * epochs * samples * (2 * inputs * hidden + 3 * hidden * outputs)
    name = _name(f"MLPClassifier{widths} fit {samples}", digits)
    return Case("estimator", name, "fit", make, flops=flops)


def _params(rng: np.random.Generator) -> dict[str, Array]:
    inputs, hidden, outputs = NET
    shapes = {"W1": (inputs, hidden), "b1": (hidden,), "W2": (hidden, outputs), "b2": (outputs,)}
    return {key: rng.normal(scale=0.01, size=shape) for key, shape in shapes.items()}


def works_of(case: Case, dtype: np.dtype[Any], engines: Sequence[Engine]) -> dict[str, Work]:
    """The work of the case for each engine, by name. BenchError unless every engine gives NumPy's result."""
    checked = _works(case, case.checked_inputs(dtype), engines)
    expected = _arrays(checked["numpy"]())
    for name, work in checked.items():
        if name != "numpy" and not _agree(_arrays(work()), expected):
            raise BenchError(f"{case.name}, {dtype}: the result of engine {name} is not that of numpy")
    return _works(case, case.inputs(dtype), engines) if case.check else checked


def _works(case: Case, inputs: tuple[Any, ...], engines: Sequence[Engine]) -> dict[str, Work]:
    works = {engine.name: work for engine in engines if (work := engine.work(case.kind, inputs))}
    others = {engine.name + OTHER: work for engine in engines if (work := engine.other_work(case.kind, inputs))}
    return works | others


def _arrays(result: Any) -> list[Array]:
    return [np.asarray(x) for x in (result if isinstance(result, (list, tuple)) else [result])]


def _agree(got: Sequence[Array], expected: Sequence[Array]) -> bool:
    """Whether dtypes and shapes are equal and values close. Only the book's loss adds 1e-7 to probabilities."""
    return len(got) == len(expected) and all(
        (x.dtype, x.shape) == (y.dtype, y.shape) and np.allclose(x, y, rtol=0, atol=1e-3 * np.abs(y).max())
        for x, y in zip(got, expected, strict=True)
    )
