"""The loop that trains a net: it has no arithmetic of its own, and serves both engines."""

from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar

import numpy as np

from . import optimizer as optimizers

_OPTIMIZERS = {name.lower(): name for name in ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam")}
_MISPRINTS = {"rmsprpo": "rmsprop"}  # of the book's first printings


class Trainer:
    """Train a net on random batches, and keep its losses and accuracies.

    Parameters
    ----------
    network : object
        A net with `params`, gradient(x, t), loss(x, t) and accuracy(x, t).
    x_train, t_train, x_test, t_test : (samples, ...) ndarray
        Inputs, and labels or one-hot rows: those to learn from, and those to be examined by.
    epochs : int
        How many times as many samples as there are to learn from are drawn.
    mini_batch_size : int
        Samples of a step, drawn from NumPy's global generator, with repetition.
    optimizer : str
        "SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop" or "Adam", in capitals or not.
    optimizer_param : mapping
        Its keyword arguments.
    evaluate_sample_num_per_epoch : int, optional
        How many samples the accuracies of an epoch are taken from; by default all.
    verbose : bool
        Whether to print every loss and accuracy.

    Attributes
    ----------
    network, x_train, t_train, x_test, t_test, epochs, evaluate_sample_num_per_epoch, verbose : as given
    batch_size, train_size, max_iter : int
        Samples of a step, samples to learn from, and steps that `train` takes.
    iter_per_epoch : float
        Steps of an epoch.
    current_iter, current_epoch : int
        Steps taken, epochs begun.
    optimizer : object
        The optimizer itself.
    train_loss_list : list
        The loss of each step, after it and on its batch.
    train_acc_list, test_acc_list : list
        The accuracies after the first step of each epoch.

    Raises
    ------
    ValueError
        If optimizer is none of these names, or mini_batch_size is less than 1.

    Examples
    --------
    >>> import numpy as np
    >>> from zerodl_c import TwoLayerNet
    >>> np.random.seed(0)
    >>> x, t = np.array([[1.0, 0.0], [0.0, 1.0]] * 50), np.array([0, 1] * 50)
    >>> net = TwoLayerNet(2, 5, 2)
    >>> trainer = Trainer(net, x, t, x, t, mini_batch_size=10, optimizer_param={"lr": 1.0}, verbose=False)
    >>> trainer.train()
    >>> print(len(trainer.train_loss_list), len(trainer.test_acc_list), net.accuracy(x, t))
    200 20 1.0
    """

    _optimizers: ClassVar[ModuleType] = optimizers  # those of the engine

    def __init__(
        self,
        network: Any,
        x_train: Any,
        t_train: Any,
        x_test: Any,
        t_test: Any,
        epochs: int = 20,
        mini_batch_size: int = 100,
        optimizer: str = "SGD",
        optimizer_param: Mapping[str, Any] = MappingProxyType({"lr": 0.01}),
        evaluate_sample_num_per_epoch: int | None = None,
        verbose: bool = True,
    ) -> None:
        kind = _MISPRINTS.get(optimizer.lower(), optimizer.lower())
        if kind not in _OPTIMIZERS:
            raise ValueError(f"optimizer must be one of {', '.join(_OPTIMIZERS.values())}, got {optimizer!r}")
        if mini_batch_size < 1:
            raise ValueError(f"mini_batch_size must be 1 or more, got {mini_batch_size}")
        self.network = network
        self.x_train, self.t_train = x_train, t_train
        self.x_test, self.t_test = x_test, t_test
        self.epochs = epochs
        self.batch_size = mini_batch_size
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        self.verbose = verbose
        self.optimizer = getattr(self._optimizers, _OPTIMIZERS[kind])(**optimizer_param)

        self.train_size = len(x_train)
        self.iter_per_epoch = max(self.train_size / mini_batch_size, 1)
        self.max_iter = int(epochs * self.iter_per_epoch)
        self.current_iter = self.current_epoch = 0
        self.train_loss_list: list[Any] = []
        self.train_acc_list: list[Any] = []
        self.test_acc_list: list[Any] = []

    def train_step(self) -> None:
        """Take one step on a batch; every iter_per_epoch of them, begin an epoch: take the accuracies."""
        batch = np.random.choice(self.train_size, self.batch_size)
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
        """Take max_iter steps, and tell the accuracy on all of the test samples."""
        for _ in range(self.max_iter):
            self.train_step()
        accuracy = self.network.accuracy(self.x_test, self.t_test)  # a net may notice: so, verbose or not
        self._tell(f"=============== Final Test Accuracy ===============\ntest acc:{accuracy}")

    def _evaluate(self) -> None:
        sample = slice(self.evaluate_sample_num_per_epoch)
        train_acc = self.network.accuracy(self.x_train[sample], self.t_train[sample])
        test_acc = self.network.accuracy(self.x_test[sample], self.t_test[sample])
        self.train_acc_list.append(train_acc)
        self.test_acc_list.append(test_acc)
        self._tell(f"=== epoch:{self.current_epoch}, train acc:{train_acc}, test acc:{test_acc} ===")

    def _tell(self, line: str) -> None:
        if self.verbose:
            print(line)
