"""MultiLayerNet of the layers in C."""

from typing import ClassVar

from . import layers
from .reference import multi_layer_net as reference

__all__ = ["MultiLayerNet"]


class MultiLayerNet(reference.MultiLayerNet):
    __doc__ = reference.MultiLayerNet.__doc__

    _kinds: ClassVar = layers
