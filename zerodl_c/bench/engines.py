"""The engines that are timed: the C engine, its reference in NumPy, and the installed peers.

An engine has a method for each kind of case that it can run. The method takes the case's inputs and returns a callable,
which does the work once, as a user of that library would, and returns the result. Preparations, such as making tensors
from arrays, are done before the callable is made.
"""

from __future__ import annotations

import os
import runpy
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from threadpoolctl import threadpool_limits

import zerodl_c
from zerodl_c import reference

from .nets import Array, Net, NetOfLayers

Params = Mapping[str, Array]
Work = Callable[[], Any]

RATE = 0.1  # the learning rate
NO_PEERS = "no peers: for PyTorch, SciPy and others give --peers benchmarks/peers.py, which zerodl_c's repository has"


class BenchError(Exception):
    """An error that the user can fix, or must know about. Its message is one line."""


class Engine:
    """A library, imported when its engine is made."""

    name: ClassVar[str]
    packages: ClassVar[Mapping[str, str]] = {}  # required packages: pip's name and the module's

    @classmethod
    def missing(cls) -> list[str]:
        """The required packages that are not installed."""
        return [package for package, module in cls.packages.items() if find_spec(module) is None]

    def version(self) -> str:
        return ", ".join(f"{package} {metadata.version(package)}" for package in self.packages)

    def isa(self) -> str:
        """The instruction sets that it computes with, if it tells."""
        return ""

    def set_threads(self, n: int) -> None:
        """Use n threads, for a library that threadpoolctl does not control."""

    def work(self, kind: str, inputs: tuple[Any, ...]) -> Work | None:
        """A callable that does a case's work once, or None if this engine cannot do it."""
        method = getattr(self, kind, None)
        return method(*inputs) if method else None

    def other_work(self, kind: str, inputs: tuple[Any, ...]) -> Work | None:
        """The same work by another function of this library: the faster of the two counts."""
        return self.work(f"other_{kind}", inputs)


class C(Engine):
    """The C engine. Its reference has the same interface."""

    name = "c"
    module: ModuleType = zerodl_c
    estimators = "zerodl_c.sklearn"

    def version(self) -> str:
        return f"zerodl_c {zerodl_c.__version__}"

    def set_threads(self, n: int) -> None:
        zerodl_c.set_num_threads(n)

    def sigmoid(self, x: Array) -> Work:
        return partial(self.module.sigmoid, x)

    def softmax(self, x: Array) -> Work:
        return partial(self.module.softmax, x)

    def log_softmax(self, x: Array) -> Work:
        return partial(self.module.log_softmax, x)

    def loss_and_gradient(self, x: Array, t: Array) -> Work:
        return partial(self.module.softmax_cross_entropy_gradient, x, t)

    def matmul(self, a: Array, b: Array) -> Work:
        return partial(self.module.matmul, a, b)

    def update(self, optimizer: str, param: Array, grad: Array) -> Work:
        params, grads = {"W": param.copy()}, {"W": grad}
        update = getattr(self.module, optimizer)().update

        def work() -> Array:
            update(params, grads)
            return params["W"]

        return work

    def batch_normalization(self, x: Array, gamma: Array, beta: Array, dout: Array) -> Work:
        layer = self.module.BatchNormalization(gamma, beta)
        return lambda: (layer.forward(x), layer.backward(dout), layer.dgamma, layer.dbeta)

    def convolution(self, x: Array, W: Array, b: Array, dout: Array) -> Work:
        layer = self.module.Convolution(W, b)
        return lambda: (layer.forward(x), layer.backward(dout), layer.dW, layer.db)

    def layers_loss(self, plan: Net, params: Params, x: Array, t: Array) -> Work:
        return partial(NetOfLayers(plan, self.module, dict(params)).loss, x, t)

    def pooling(self, x: Array, dout: Array) -> Work:
        layer = self.module.Pooling(2, 2)
        return lambda: (layer.forward(x), layer.backward(dout))

    def im2col(self, x: Array, size: int, pad: int) -> Work:
        return partial(self.module.im2col, x, size, size, 1, pad)

    def col2im(self, col: Array, shape: tuple[int, ...], size: int, pad: int) -> Work:
        return partial(self.module.col2im, col, shape, size, size, 1, pad)

    def net_step(self, plan: Net, optimizer: str, lr: float, params: Params, x: Array, t: Array) -> Work:
        """The result is the parameters, and the gradients that may be small beside them.

        A bias before a batch normalization has none, save for rounding: those of biases are left out.
        """
        net = plan.made_of(self.module, {key: param.copy() for key, param in params.items()})
        update = getattr(self.module, optimizer)(lr).update

        def work() -> list[Array]:
            grads = net.gradient(x, t)
            update(net.params, grads)
            return [*net.params.values(), *(grads[key] for key in net.params if key.startswith(("W", "gamma")))]

        return work

    def training_step(self, params: Params, x: Array, t: Array) -> Work:
        net, optimizer = self.net(params), self.module.SGD(lr=RATE)

        def work() -> list[Array]:
            optimizer.update(net.params, net.gradient(x, t))
            return list(net.params.values())

        return work

    def predict(self, params: Params, x: Array) -> Work:
        return partial(self.net(params).predict, x)

    def accuracy(self, params: Params, x: Array, t: Array) -> Work:
        return partial(self.net(params).accuracy, x, t)

    def fit(self, hidden: int, epochs: int, x: Array, t: Array) -> Work:
        """The result is the loss of each epoch."""
        estimator = import_module(self.estimators).MLPClassifier(
            (hidden,), batch_size=200, max_iter=epochs, n_iter_no_change=epochs, random_state=0
        )

        def work() -> Array:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that it has not converged
                return np.asarray(estimator.fit(x, t).loss_curve_, x.dtype)

        return work

    def net(self, params: Params) -> Any:
        """The book's net, with its own copy of these params."""
        net = self.module.TwoLayerNet(*params["W1"].shape, params["b2"].size)
        net.params = {key: param.copy() for key, param in params.items()}
        return net


class NumPy(C):
    """The reference; for a matrix product NumPy itself, whose BLAS is what there is to beat: by `@`, and by np.dot."""

    name = "numpy"
    module = reference
    estimators = "sklearn.neural_network"  # scikit-learn's arithmetic is NumPy's

    def version(self) -> str:
        return f"numpy {np.__version__}"

    def isa(self) -> str:
        simd = np.show_config(mode="dicts")["SIMD Extensions"]
        return " ".join([*simd.get("baseline", []), *simd.get("found", [])])

    def set_threads(self, n: int) -> None:
        """threadpoolctl sees to it."""

    def matmul(self, a: Array, b: Array) -> Work:
        return partial(np.matmul, a, b)

    def other_matmul(self, a: Array, b: Array) -> Work:
        return partial(np.dot, a, b)


ENGINES: dict[str, type[Engine]] = {engine.name: engine for engine in (C, NumPy)}

Peers = Mapping[str, type[Engine]]


def load_peers(path: Path | None = None) -> Peers:
    """The peers in a Python file's `PEERS`, by name: by default in the checkout's, and none where there is no checkout.

    BenchError if the file cannot be run or has no engines there; OSError if it cannot be read.
    """
    path = path or _peers_of_checkout()
    if path is None:
        return {}
    try:
        peers = runpy.run_path(os.fspath(path)).get("PEERS", ())
    except OSError:
        raise
    except Exception as error:
        raise BenchError(f"{path} cannot be run: {type(error).__name__}: {error}") from None
    if not isinstance(peers, (tuple, list)) or not peers or not all(map(_is_engine, peers)):
        raise BenchError(f"{path} has no PEERS: a tuple of subclasses of zerodl_c.bench.engines.Engine")
    return {peer.name: peer for peer in peers}


def _is_engine(peer: Any) -> bool:
    return isinstance(peer, type) and issubclass(peer, Engine)


def _peers_of_checkout() -> Path | None:
    """The file in the checkout from which zerodl_c is imported, or in which the command is started."""
    for folder in (Path(zerodl_c.__file__).parents[1], Path()):
        path = folder / "benchmarks" / "peers.py"
        if (folder / "csrc" / "zerodl.h").is_file() and path.is_file():
            return path
    return None


def chosen(peers: Peers, names: Sequence[str] | None) -> tuple[list[Engine], list[str]]:
    """The engines of these names (by default of all that are installed), and a line for each that is left out.

    The C engine and NumPy are always among them.
    """
    engines: list[Engine] = []
    left_out = [] if peers or names else [NO_PEERS]
    for name, engine in (ENGINES | dict(peers)).items():
        if names and name not in (*names, "c", "numpy"):
            continue
        missing = engine.missing()
        try:
            if not missing:
                engines.append(engine())
                continue
            reason = f"needs: pip install {' '.join(missing)}"
        except ImportError as error:
            reason = f"cannot be imported: {error}"
        if names:
            raise BenchError(f"engine {name} {reason}")
        if len(missing) < len(engine.packages):  # it is here, but something that it needs is not
            left_out.append(f"left out: {name}, which {reason}")
    return engines, left_out


@contextmanager
def equal_threads(engines: Sequence[Engine], n: int) -> Iterator[None]:
    """Give all engines the same number of threads."""
    before = zerodl_c.get_num_threads()
    try:
        with threadpool_limits(n):
            for engine in engines:
                engine.set_threads(n)
            if zerodl_c.get_num_threads() != n:
                raise BenchError(f"this build of zerodl_c has no threads and cannot use {n} threads")
            yield
    finally:
        zerodl_c.set_num_threads(before)
