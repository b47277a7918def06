"""The loop that trains a net, with the optimizers in C."""

from typing import ClassVar

from . import optimizer
from .reference import trainer as reference

__all__ = ["Trainer"]


class Trainer(reference.Trainer):
    __doc__ = reference.Trainer.__doc__

    _optimizers: ClassVar = optimizer
