"""Sequential on the C engine: what it is is said in the reference, once."""

from .multi_layer_net import _Net
from .reference import sequential as reference

__all__ = ["Sequential"]


class Sequential(reference.Sequential, _Net):
    __doc__ = reference.Sequential.__doc__
