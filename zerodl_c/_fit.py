"""Whether samples fit a net, before it is trained on them."""

from copy import copy
from typing import Any

import numpy as np

from . import _checks
from ._arrays import rows_and_targets
from ._net import Net


def check_fit(of: str, network: Any, x: Any, t: Any) -> None:
    """Raise unless an engine's net takes the samples x, and has a class for each of t. Other nets are not looked at."""
    if not (_checks.strict and isinstance(network, Net) and _is_as_made(network)):
        return
    try:
        y = _scores_of_zeros(network, x.shape)
        if y.ndim != 2:
            raise ValueError(f"two samples have scores of shape {y.shape}")
    except ValueError as error:
        shape = _input_shape(network)
        if shape == f"(samples, {', '.join(map(str, x.shape[1:]))})":
            raise  # the net's layers do not fit each other
        raise ValueError(f"x_{of} must have shape {shape} for {network!r}, got {x.shape}: {error}") from None
    try:
        rows_and_targets(np.broadcast_to(y[0], (len(t), y.shape[1])), t)
    except (TypeError, ValueError, IndexError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"t_{of} must fit the {y.shape[1]} classes of {network!r}: {error}") from None


def _is_as_made(network: Any) -> bool:
    """Whether the net's methods and layers are the engines' own."""
    if not _are_own(network, "predict", "loss", "gradient", "accuracy"):
        return False
    layers = getattr(network, "layers", {})
    return isinstance(layers, dict) and all(_are_own(layer, "forward") for layer in layers.values())


def _are_own(thing: Any, *methods: str) -> bool:
    modules = (str(getattr(getattr(type(thing), name, None), "__module__", "")) for name in methods)
    return all(module.startswith("zerodl_c.") for module in modules) and vars(thing).keys().isdisjoint(methods)


def _input_shape(network: Any) -> str:
    """What the first layer takes, in words."""
    first = next(iter(getattr(network, "layers", ("W1",))))
    shapes = {name: np.shape(W) for name, W, _ in network._products()}
    match shapes.get(first):
        case inputs, _:
            return f"(samples, {inputs})"
        case _, channels, _, _:
            return f"(samples, {channels}, height, width)"
    return "(samples, ...)"


def _scores_of_zeros(network: Any, shape: tuple[int, ...]) -> Any:
    """What a copy of the net gives for two samples, so that its own layers keep what they have kept."""
    net = copy(network)
    net._warned = True  # of arrays that no layer uses: the net itself will warn
    if hasattr(net, "layers"):
        net.layers = {name: copy(layer) for name, layer in net.layers.items()}
    with np.errstate(all="ignore"):
        return net.predict(np.zeros((2, *shape[1:])))
