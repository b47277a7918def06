"""The loop that trains a net, with the optimizers in NumPy."""

from .. import trainer


class Trainer(trainer.Trainer):
    __doc__ = trainer.Trainer.__doc__

    _engine = "zerodl_c.reference"
