"""The names in the modules of the book's `common`, and the engine's functions and classes for them."""

import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any, Literal, NamedTuple

import numpy as np

EngineName = Literal["c", "numpy"]
ENGINES = {"c": "zerodl_c", "numpy": "zerodl_c.reference"}

_FUNCTIONS = {
    "functions": (
        "identity_function step_function sigmoid sigmoid_grad relu relu_grad softmax sum_squared_error "
        "cross_entropy_error softmax_loss"
    )
}
_OPTIMIZERS = {"optimizer": "SGD Momentum Nesterov AdaGrad RMSprop Adam"}
_LAYERS = {
    **_FUNCTIONS,
    "util": "im2col col2im",
    "layers": "Relu Sigmoid Affine SoftmaxWithLoss Dropout BatchNormalization Convolution Pooling",
}
# For each module of the book: the names that `import *` brings, by the engine's module that defines them.
BOOK = {
    "functions": _FUNCTIONS,
    "gradient": {"gradient": "_numerical_gradient_1d numerical_gradient_2d numerical_gradient"},
    "layers": _LAYERS,
    "multi_layer_net": {**_LAYERS, "gradient": "numerical_gradient", "multi_layer_net": "MultiLayerNet"},
    "multi_layer_net_extend": {
        **_LAYERS,
        "gradient": "numerical_gradient",
        "multi_layer_net_extend": "MultiLayerNetExtend",
    },
    "optimizer": _OPTIMIZERS,
    "trainer": {**_OPTIMIZERS, "trainer": "Trainer"},
    "util": {"util": "smooth_curve shuffle_dataset conv_output_size im2col col2im"},
}
_NET_LIBRARY = {"np": np, "os": os, "sys": sys, "OrderedDict": OrderedDict}
_LIBRARY: dict[str, dict[str, Any]] = {
    "multi_layer_net": _NET_LIBRARY,
    "multi_layer_net_extend": _NET_LIBRARY,
    "trainer": {"np": np, "os": os, "sys": sys},
}
library = {"np": np, "OrderedDict": OrderedDict}  # names of other packages that the book's definitions use
# "layers.Affine" for Affine, and so on.
PLACES = {name: f"{module}.{name}" for module, of in BOOK.items() for name in of[module].split()}
ALL_PLACES = {**PLACES, "mean_squared_error": PLACES["sum_squared_error"]}  # its name in the first printings


class Edition(NamedTuple):
    """A definition of the book, in the wording of some of its editions."""

    place: str  # "layers.Pooling": its module and name
    served: str  # the same; or the function of `editions` that makes an older version; or "" if it is not replaced
    needs: str  # the global and builtin names that it uses
    editions: str  # which editions, with their dates


def of_engine(engine: str, place: str) -> Any:
    """The engine's function or class for one of the book's."""
    module, name = place.split(".")
    return getattr(import_module(f"{ENGINES[engine]}.{module}"), name)


def served(engine: str, edition: Edition) -> Any:
    """The engine's replacement for a definition of the book; None if it is not replaced."""
    if edition.served in ("", edition.place):
        return of_engine(engine, edition.place) if edition.served else None
    return _older(engine, edition.served, edition.place)


def is_served(engine: str, place: str, value: Any) -> bool:
    """Whether a value is the engine's replacement for this definition of the book, in any edition."""
    return value is of_engine(engine, place) or any(
        value is made for of, at, made in _made if (of, at) == (engine, place)
    )


def is_made(value: Any) -> bool:
    """Whether a value is the replacement for a definition of an older edition."""
    return any(value is made for _, _, made in _made)


@cache
def _older(engine: str, maker: str, place: str) -> Any:
    made = getattr(import_module(f"{__package__}.editions"), maker)(of_engine(engine, place))
    made.__module__ = f"common.{place.partition('.')[0]}"  # where pickle finds it while the swap is installed
    made.__name__ = made.__qualname__ = place.partition(".")[2]
    for do in on_made:
        made = do(place, made)
    _made.append((engine, place, made))
    return made


on_made: list[Callable[[str, Any], Any]] = []  # functions that are applied to each replacement for an older edition
_made: list[tuple[str, str, Any]] = []  # engine, place and replacement for each


def namesake(engine: str, module: str) -> dict[str, Any]:
    """The contents of a module of `common` for a script that has none: the names of every edition."""
    found: dict[str, Any] = dict(_LIBRARY.get(module, {"np": np}))
    found |= {name: of_engine(engine, f"{of}.{name}") for of, names in BOOK[module].items() for name in names.split()}
    if "sum_squared_error" in found:  # its name in the first printings
        found["mean_squared_error"] = found["sum_squared_error"]
    return found
