"""SimpleConvNet of the layers in C."""

from .reference import simple_conv_net as reference
from .sequential import Sequential

__all__ = ["SimpleConvNet"]


class SimpleConvNet(reference.SimpleConvNet, Sequential):
    __doc__ = reference.SimpleConvNet.__doc__
