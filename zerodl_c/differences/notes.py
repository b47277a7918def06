"""Records one evaluation of a function: the arguments and results of the engine's layers and functions.

Python calls a profiler for each call that a thread makes. While a function is watched, and only then, our profiler
looks for the code of the engine's layers and functions, so it finds them under any name. Other calls are not slowed,
and other threads are neither watched nor slowed.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

_MOST = 1000  # the most notes; one evaluation of a net has far fewer


class Note(NamedTuple):
    """One call. Layers and functions that compute the same have the same name."""

    name: str
    x: Any
    """The input of the layer."""
    settings: tuple[Any, ...]
    """Its parameters, and everything else that its output depends on."""
    output: Any


Reader = Callable[[dict[str, Any]], tuple[Any, ...] | None]  # gets x and the settings from the named arguments


def _of_layer(*names: str) -> Reader:
    def read(given: dict[str, Any]) -> tuple[Any, ...]:
        return (given["x"], *(getattr(given["self"], name) for name in names))

    return read


def _batch_normalization(given: dict[str, Any]) -> tuple[Any, ...]:
    layer = given["self"]
    if given["train_flg"]:
        return given["x"], layer.gamma, layer.beta, None, None, layer.momentum
    return given["x"], layer.gamma, layer.beta, layer.running_mean, layer.running_var, None


def _dropout(given: dict[str, Any]) -> tuple[Any, ...] | None:
    return None if given["train_flg"] else (given["x"], given["self"].dropout_ratio)


def _function(given: dict[str, Any]) -> tuple[Any, ...] | None:
    return (given["x"],) if given["out"] is None and given.get("axis", -1) == -1 else None


Readers = dict[int, tuple[CodeType, str, Reader]]  # by the id of the code, which is quicker to look up than the code


def readers_of(functions: ModuleType, layers: ModuleType) -> Readers:
    """The readers of an engine's functions, and of its layers' `forward`."""
    read = (
        ("affine", layers.Affine.forward, _of_layer("W", "b")),
        ("affine", functions.affine, lambda given: (given["x"], given["W"], given["b"])),
        ("relu", layers.Relu.forward, _of_layer()),
        ("relu", functions.relu, _function),
        ("sigmoid", layers.Sigmoid.forward, _of_layer()),
        ("sigmoid", functions.sigmoid, _function),
        ("tanh", layers.Tanh.forward, _of_layer()),
        ("tanh", functions.tanh, _function),
        ("dropout", layers.Dropout.forward, _dropout),
        ("batch normalization", layers.BatchNormalization.forward, _batch_normalization),
        ("convolution", layers.Convolution.forward, _of_layer("W", "b", "stride", "pad")),
        ("pooling", layers.Pooling.forward, _of_layer("pool_h", "pool_w", "stride", "pad")),
        ("softmax", functions.softmax, _function),
        ("cross-entropy", functions.cross_entropy_error, lambda given: (given["y"], given["t"])),
        ("softmax loss", layers.SoftmaxWithLoss.forward, lambda given: (given["x"], given["t"])),
        ("softmax loss", functions.softmax_loss, lambda given: (given["X"], given["t"])),
    )
    return {id(function.__code__): (function.__code__, name, reader) for name, function, reader in read}


class _Watcher:
    """The profiler. Calls that a layer makes are a part of the layer, and get no notes."""

    def __init__(self, readers: Readers) -> None:
        self.readers = readers
        self.notes: list[Note] = []
        self.frame: FrameType | None = None  # the frame of the call that is being watched
        self.name = ""
        self.given: tuple[Any, ...] = ()

    def __call__(self, frame: FrameType, event: str, value: Any) -> None:
        if event == "call":
            if self.frame is None and id(frame.f_code) in self.readers and len(self.notes) < _MOST:
                self._begin(frame)
        elif event == "return" and frame is self.frame:
            x, *settings = self.given
            self.notes.append(Note(self.name, x, tuple(settings), value))
            self.frame, self.given = None, ()

    def _begin(self, frame: FrameType) -> None:
        _, name, read = self.readers[id(frame.f_code)]
        try:
            given = read(frame.f_locals)
        except Exception:  # a layer without its attributes will raise its own error, which f may expect
            return
        if given is not None:
            self.frame, self.name, self.given = frame, name, given


def may_watch() -> bool:
    """Whether this thread has no profiler, or one of ours, since a watched function may itself watch another."""
    return isinstance(sys.getprofile(), _Watcher | None)


@contextmanager
def watching(readers: Readers) -> Iterator[list[Note]]:
    """The notes of the calls that this thread makes inside the block."""
    watcher, before = _Watcher(readers), sys.getprofile()
    sys.setprofile(watcher)
    try:
        yield watcher.notes
    finally:
        if sys.getprofile() is watcher:  # f may have set another
            sys.setprofile(before)
