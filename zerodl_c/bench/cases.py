"""What is timed: shapes from the book's nets, from its users' scripts, and sizes around the steps of the caches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .engines import Array, BenchError, Engine, Work

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
)
NET = (784, 50, 10)
# (name, arrays that an update reads, and arrays that it writes)
OPTIMIZERS = (
    ("SGD", 2, 1),
    ("Momentum", 3, 2),
    ("Nesterov", 3, 2),
    ("AdaGrad", 3, 2),
    ("RMSprop", 3, 2),
    ("Adam", 4, 3),
)


@dataclass(frozen=True)
class Case:
    """One kind of work on given inputs, and how much it is: flops, or elements that are read and written."""

    group: str
    name: str
    kind: str  # the method of an Engine
    make: Callable[[np.random.Generator], tuple[Any, ...]]
    flops: int = 0
    elements: int = 0
    passes: float = 1  # over these elements: each is read once and written once

    def inputs(self, dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """The inputs, of this dtype where they are floats: the same in each run."""
        return tuple(_cast(x, dtype) for x in self.make(np.random.default_rng(0)))


def _cast(x: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(x, dict):
        return {key: _cast(value, dtype) for key, value in x.items()}
    return x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def chosen_cases(text: str = "") -> list[Case]:
    """The cases whose name contains `text`; BenchError if none does."""
    found = [case for case in _cases() if text in case.name]
    if not found:
        raise BenchError(f"no case has {text!r} in its name; among them are: {', '.join(_FAMILIES)}")
    return found


_FAMILIES = ("sigmoid", "softmax", "log_softmax", "loss and gradient", "matmul", "update", "TwoLayerNet")


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
    for optimizer, read, written in OPTIMIZERS:
        yield _update(optimizer, (read + written) / 2, 1_000_000)
    yield _training_step(100)
    yield _predict(1)


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


def _training_step(batch: int) -> Case:
    inputs, hidden, outputs = NET

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return _params(rng), rng.normal(size=(batch, inputs)), rng.integers(0, outputs, batch)

    # x needs no gradient: the first layer has one product less to do on the way back
    flops = 2 * batch * (2 * inputs * hidden + 3 * hidden * outputs)
    return Case("net", f"TwoLayerNet{NET} step of {batch}", "training_step", make, flops=flops)


def _predict(batch: int) -> Case:
    inputs, hidden, outputs = NET

    def make(rng: np.random.Generator) -> tuple[Any, ...]:
        return _params(rng), rng.normal(size=(batch, inputs))

    flops = 2 * batch * (inputs * hidden + hidden * outputs)
    return Case("net", f"TwoLayerNet{NET} predict {batch}", "predict", make, flops=flops)


def _params(rng: np.random.Generator) -> dict[str, Array]:
    inputs, hidden, outputs = NET
    shapes = {"W1": (inputs, hidden), "b1": (hidden,), "W2": (hidden, outputs), "b2": (outputs,)}
    return {key: rng.normal(scale=0.01, size=shape) for key, shape in shapes.items()}


def works_of(case: Case, dtype: np.dtype[Any], engines: Sequence[Engine]) -> dict[str, Work]:
    """What does the case's work, by the engine's name; BenchError unless every engine gives NumPy's result."""
    inputs = case.inputs(dtype)
    works = {engine.name: work for engine in engines if (work := engine.work(case.kind, inputs))}
    expected = _arrays(works["numpy"]())
    for name, work in works.items():
        if name != "numpy" and not _agree(_arrays(work()), expected):
            raise BenchError(f"{case.name}, {dtype}: the result of engine {name} is not that of numpy")
    return works


def _arrays(result: Any) -> list[Array]:
    return [np.asarray(x) for x in (result if isinstance(result, (list, tuple)) else [result])]


def _agree(got: Sequence[Array], expected: Sequence[Array]) -> bool:
    """Of one dtype and shape, and close: the book's loss of probabilities p is of p + 1e-7, that of others is not."""
    return len(got) == len(expected) and all(
        (x.dtype, x.shape) == (y.dtype, y.shape) and np.allclose(x, y, rtol=0, atol=1e-3 * np.abs(y).max())
        for x, y in zip(got, expected, strict=True)
    )
