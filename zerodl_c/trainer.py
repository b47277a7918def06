"""The loop that trains a net: it has no arithmetic of its own, and serves both engines."""

from __future__ import annotations  # np.random is loaded when it is used

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from importlib import import_module
from inspect import signature
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from ._checks import check_network, check_number, check_whole, generator, samples, shown
from ._fit import check_fit
from ._progress import bar, bars

__all__ = ["Trainer"]

_OPTIMIZERS = {name.lower(): name for name in ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam")}
OptimizerName = (
    Literal["SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam"]
    | Literal["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam"]
)
_MISPRINTS = {"rmsprpo": "rmsprop"}  # of the book's first printings
_PARAM = MappingProxyType({"lr": 0.01})


class HasUpdate(Protocol):
    """An optimizer: the engine's, or any that changes parameters in place."""

    def update(self, params: Any, grads: Any, /) -> Any: ...


class Trainer:
    """Train a net on random batches, and keep its losses and accuracies.

    Parameters
    ----------
    network : object
        A net with `params`, gradient(x, t), loss(x, t) and accuracy(x, t).
    x_train, t_train, x_test, t_test : (samples, ...) array_like
        Inputs, and labels or one-hot rows: those to learn from, and those to be examined by. A DataFrame will do.
    epochs : float
        How many times as many samples as there are to learn from are drawn.
    mini_batch_size : int
        Samples of a step, drawn with repetition.
    optimizer : str or object
        "SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop" or "Adam", in capitals or not; or an optimizer, which has
        update(params, grads).
    optimizer_param : mapping
        The keyword arguments of an optimizer that is given by its name.
    evaluate_sample_num_per_epoch : int, optional
        How many samples the accuracies of an epoch are taken from; by default all.
    verbose : bool
        Whether to print every loss and accuracy, in the book's lines.
    progress : bool
        Whether `train` shows a bar of tqdm, with the last loss and accuracy, in place of these lines.
    callback : callable, optional
        Called as callback(trainer) after each step of `train`, whose training ends early where it returns True or
        raises StopIteration.
    rng : numpy.random.Generator or seed, optional
        What draws the batches; by default NumPy's global generator, which the book seeds by `np.random.seed`. Initial
        weights and Dropout always draw from that.

    Attributes
    ----------
    network, epochs, evaluate_sample_num_per_epoch, verbose, progress, callback : as given
    x_train, t_train, x_test, t_test : ndarray
    batch_size, train_size, max_iter : int
        Samples of a step, samples to learn from, and steps that `train` takes.
    iter_per_epoch : float
        Steps of an epoch.
    current_iter, current_epoch : int
        Steps taken, epochs begun.
    optimizer : object
        The optimizer itself.
    rng : numpy.random.Generator, or None for the global one
    train_loss_list : list
        The loss of each step, after it and on its batch.
    train_acc_list, test_acc_list : list
        The accuracies after the first step of each epoch.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above: a name is not known, a number is negative, inputs and labels are not as many,
        labels are strings; or if inputs or labels do not fit the net, where that is one of the engine's own.
    ImportError
        If progress is True and tqdm is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from zerodl_c import Adam, TwoLayerNet
    >>> np.random.seed(0)
    >>> x, t = np.array([[1.0, 0.0], [0.0, 1.0]] * 50), np.array([0, 1] * 50)
    >>> net = TwoLayerNet(2, 5, 2)
    >>> trainer = Trainer(net, x, t, x, t, mini_batch_size=10, optimizer_param={"lr": 1.0}, verbose=False)
    >>> trainer.train()
    >>> print(len(trainer.train_loss_list), len(trainer.test_acc_list), net.accuracy(x, t))
    200 20 1.0

    It stops as soon as the net knows all:

    >>> def knows_all(trainer):
    ...     return trainer.history["test_acc"][-1] == 1
    >>> trainer = Trainer(TwoLayerNet(2, 5, 2), x, t, x, t, optimizer=Adam(0.1), verbose=False, callback=knows_all)
    >>> trainer.train()
    >>> trainer.current_iter < trainer.max_iter, float(trainer.history["test_acc"][-1])
    (True, 1.0)
    """

    _engine: ClassVar[str] = "zerodl_c"  # whose optimizers they are
    # What an __init__ of a script's own, after the book's, does not set.
    progress = False
    callback: Callable[[Trainer], Any] | None = None
    rng: np.random.Generator | None = None
    _evaluated: tuple[int, ...] = ()  # the steps after which accuracies were taken

    def __init__(
        self,
        network: Any,
        x_train: Any,
        t_train: Any,
        x_test: Any,
        t_test: Any,
        epochs: float = 20,
        mini_batch_size: int = 100,
        optimizer: OptimizerName | HasUpdate = "SGD",
        optimizer_param: Mapping[str, Any] = _PARAM,
        evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
        *,
        progress: bool = False,
        callback: Callable[[Trainer], Any] | None = None,
        rng: Any = None,
    ) -> None:
        check_number("epochs", epochs)
        check_whole("mini_batch_size", mini_batch_size)
        if evaluate_sample_num_per_epoch is not None:
            check_whole("evaluate_sample_num_per_epoch", evaluate_sample_num_per_epoch)
        if not (callback is None or callable(callback)):
            raise TypeError(f"callback must be callable, got {shown(callback)}")
        if progress:
            bars()
        check_network(network)
        self.network = network
        self.x_train, self.t_train = samples("train", x_train, t_train)
        self.x_test, self.t_test = samples("test", x_test, t_test)
        check_fit("train", network, self.x_train, self.t_train)
        check_fit("test", network, self.x_test, self.t_test)
        self.epochs = epochs
        self.batch_size = mini_batch_size
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.verbose, self.progress, self.callback = verbose, progress, callback
        self.optimizer = self._optimizer(optimizer, optimizer_param)
        self.rng = None if rng is None else generator(rng)

        self.train_size = len(self.x_train)
        self.iter_per_epoch = max(self.train_size / mini_batch_size, 1)
        self.max_iter = int(epochs * self.iter_per_epoch)
        self.current_iter = self.current_epoch = 0
        self.train_loss_list: list[float] = []
        self.train_acc_list: list[float] = []
        self.test_acc_list: list[float] = []

    @property
    def history(self) -> dict[str, list[float]]:
        """The lists by the names that a plot has: "loss" is that of each step.

        "train_acc" and "test_acc" are the accuracies of each epoch, and "iteration" is after which step, counted
        from 0, they were taken.
        """
        return {
            "loss": self.train_loss_list,
            "train_acc": self.train_acc_list,
            "test_acc": self.test_acc_list,
            "iteration": [*self._evaluated],
        }

    def train_step(self) -> None:
        """Take one step on a batch; every iter_per_epoch of them, begin an epoch: take the accuracies."""
        batch = (self.rng or np.random).choice(self.train_size, self.batch_size)
        x, t = self.x_train[batch], self.t_train[batch]
        self.optimizer.update(self.network.params, self.network.gradient(x, t))
        loss = self.network.loss(x, t)
        self.train_loss_list.append(loss)
        self._tell(f"train loss:{loss}")
        if self.current_iter % self.iter_per_epoch == 0:
            self.current_epoch += 1
            self._evaluate()
        self.current_iter += 1

    def train(self) -> None:
        """Take max_iter steps, or fewer if the callback ends it, and tell the accuracy on all of the test samples."""
        with bar(self.max_iter if self.progress else None) as show:
            for _ in range(self.max_iter):
                self.train_step()
                show({"loss": self.train_loss_list, "test acc": self.test_acc_list})
                if self._is_to_stop():
                    break
        accuracy = self.network.accuracy(self.x_test, self.t_test)  # a net may notice: so, verbose or not
        self._tell(f"=============== Final Test Accuracy ===============\ntest acc:{accuracy}")

    def __repr__(self) -> str:
        with suppress(AttributeError):  # a subclass in a script may lack what its base class has
            of = f"{self.network!r}, {self.optimizer!r}, {self.train_size:,} samples"
            return f"{type(self).__name__}({of}, step {self.current_iter:,} of {self.max_iter:,})"
        return object.__repr__(self)

    def _evaluate(self) -> None:
        sample = slice(self.evaluate_sample_num_per_epoch)
        train_acc = self.network.accuracy(self.x_train[sample], self.t_train[sample])
        test_acc = self.network.accuracy(self.x_test[sample], self.t_test[sample])
        self.train_acc_list.append(train_acc)
        self.test_acc_list.append(test_acc)
        self._evaluated += (self.current_iter,)
        self._tell(f"=== epoch:{self.current_epoch}, train acc:{train_acc}, test acc:{test_acc} ===")

    def _tell(self, line: str) -> None:
        if self.verbose and not self.progress:
            print(line)

    def _is_to_stop(self) -> bool:
        if self.callback is None:
            return False
        try:
            answer = self.callback(self)
        except StopIteration:
            return True
        return isinstance(answer, (bool, np.bool_)) and bool(answer)

    def _optimizer(self, optimizer: Any, param: Any) -> Any:
        """The optimizer itself, or the engine's of that name."""
        if not isinstance(optimizer, str):
            # A class, or a dict of arguments, whose `update` is another.
            if isinstance(optimizer, (type, Collection)) or not callable(getattr(optimizer, "update", None)):
                raise TypeError(f"optimizer must be a name, or have update(params, grads), got {shown(optimizer)}")
            if param is not _PARAM:
                raise ValueError(f"optimizer_param goes with the name of an optimizer, not with {optimizer!r}")
            return optimizer
        name = _MISPRINTS.get(optimizer.lower(), optimizer.lower())
        if name not in _OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(_OPTIMIZERS.values())}, got {optimizer!r}")
        kind = getattr(import_module(f"{self._engine}.optimizer"), _OPTIMIZERS[name])
        known = [*signature(kind).parameters]
        if not isinstance(param, Mapping) or not {*param} <= {*known}:
            raise TypeError(f"optimizer_param must be a dict of {', '.join(known)}, got {shown(param)}")
        return kind(**param)
