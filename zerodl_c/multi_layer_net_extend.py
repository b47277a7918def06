"""MultiLayerNetExtend of the layers in C."""

from typing import ClassVar

from . import layers
from .reference import multi_layer_net_extend as reference

__all__ = ["MultiLayerNetExtend"]


class MultiLayerNetExtend(reference.MultiLayerNetExtend):
    __doc__ = reference.MultiLayerNetExtend.__doc__

    _kinds: ClassVar = layers
