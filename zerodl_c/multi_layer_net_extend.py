"""MultiLayerNetExtend of the layers in C."""

from .multi_layer_net import _Net
from .reference import multi_layer_net_extend as reference

__all__ = ["MultiLayerNetExtend"]


class MultiLayerNetExtend(reference.MultiLayerNetExtend, _Net):
    __doc__ = reference.MultiLayerNetExtend.__doc__
