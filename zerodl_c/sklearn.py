"""scikit-learn's `MLPClassifier` and `MLPRegressor`, with the arithmetic of this engine.

They are subclasses that replace how a pass through the net and a step of the optimizer are
computed. All else is scikit-learn's own: parameters, checks, batches, early stopping, seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np

from ._bridge import Array, add_scaled
from ._extras import MissingExtra, need
from .functions import (
    _affine_parameters_backward,
    affine,
    affine_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    softmax,
    tanh,
    tanh_backward,
)
from .optimizer import Adam, Momentum, Nesterov

need("sklearn", "sklearn")
_version = version("scikit-learn")
if [int(part) for part in _version.split(".")[:2]] < [1, 7]:
    raise MissingExtra(f"scikit-learn must be 1.7 or later, not {_version}: pip install 'zerodl_c[sklearn]'")

from scipy.sparse import issparse  # noqa: E402
from sklearn import neural_network  # noqa: E402
from sklearn.neural_network._base import LOSS_FUNCTIONS  # noqa: E402
from sklearn.neural_network._stochastic_optimizers import AdamOptimizer, SGDOptimizer  # noqa: E402
from sklearn.utils.validation import validate_data  # noqa: E402

__all__ = ["MLPClassifier", "MLPRegressor"]

_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "logistic": sigmoid,
    "tanh": tanh,
    "relu": relu,
    "softmax": softmax,
    "exp": np.exp,
}
_BACKWARD = {"logistic": sigmoid_backward, "tanh": tanh_backward, "relu": relu_backward}


class _Rows(np.ndarray):
    """The rows that batches are taken from.

    At each batch scikit-learn asks whether they are one of several kinds of dataframe, which takes longer than a pass
    through a small net. An `iloc` is answer enough, and then it calls their `take`.
    """

    iloc = None


class _OnThisEngine:
    """What both estimators replace of scikit-learn's."""

    def _fit_stochastic(self: Any, X: Any, *args: Any) -> None:
        super()._fit_stochastic(X if issparse(X) else X.view(_Rows), *args)

    def _forward_pass(self: Any, activations: list[Any]) -> list[Any]:
        """Fill activations[1:] with each layer's output, (rows, units), for the rows activations[0]."""
        if issparse(activations[0]):
            return super()._forward_pass(activations)
        last = self.n_layers_ - 2
        for i, (W, b) in enumerate(zip(self.coefs_, self.intercepts_, strict=True)):
            z = affine(activations[i], W, b)
            activate = _ACTIVATIONS.get(self.out_activation_ if i == last else self.activation)
            activations[i + 1] = activate(z, out=z) if activate else z
        return activations

    def _forward_pass_fast(self: Any, X: Any, check_input: bool = True) -> Array:
        """The net's outputs, (rows, outputs), for the rows X."""
        if check_input:
            X = validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)
        return self._forward_pass([X] + [None] * (self.n_layers_ - 1))[-1]

    def _backprop(
        self: Any,
        X: Any,
        y: Array,
        sample_weight: Array | None,
        activations: list[Any],
        deltas: list[Any],
        coef_grads: list[Any],
        intercept_grads: list[Any],
    ) -> tuple[float, list[Any], list[Any]]:
        """The loss with its penalty, and its gradients in each W and b, which the lists are filled with."""
        if issparse(X):
            return super()._backprop(X, y, sample_weight, activations, deltas, coef_grads, intercept_grads)
        X = activations[0] = np.asarray(X)
        output = self._forward_pass(activations)[-1]
        total = len(X) if sample_weight is None else sample_weight.sum()
        loss = self._mean_loss(y, output, sample_weight)
        loss += 0.5 * self.alpha / total * sum(np.vdot(W, W) for W in self.coefs_)

        # Each output's activation is the one whose derivative cancels against its loss's.
        delta = np.subtract(output, y, dtype=output.dtype)
        delta *= 1 / total if sample_weight is None else (sample_weight / total).reshape(-1, 1)
        backward = _BACKWARD.get(self.activation)
        for i in range(self.n_layers_ - 2, 0, -1):
            delta, coef_grads[i], intercept_grads[i] = affine_backward(delta, activations[i], self.coefs_[i])
            if backward:
                delta = backward(delta, activations[i])
        coef_grads[0], intercept_grads[0] = _affine_parameters_backward(delta, X, self.coefs_[0])
        for grad, W in zip(coef_grads, self.coefs_, strict=True):
            if not add_scaled(grad, float(self.alpha / total), W):
                grad += self.alpha / total * W
        return loss, coef_grads, intercept_grads

    def _mean_loss(self: Any, y: Array, output: Array, sample_weight: Array | None) -> float:
        if self.out_activation_ == "softmax" and sample_weight is None:
            # y is one-hot, so that only one logarithm of each row counts.
            least = np.finfo(output.dtype).eps
            return -np.log(output.take(np.flatnonzero(y)).clip(least, 1 - least)).sum() / len(y)
        name = "binary_log_loss" if self.out_activation_ == "logistic" else self.loss
        return LOSS_FUNCTIONS[name](y, output, sample_weight)

    @property
    def _optimizer(self) -> Any:
        try:
            return self.__dict__["_optimizer"]
        except KeyError:
            raise AttributeError("_optimizer") from None

    @_optimizer.setter
    def _optimizer(self, optimizer: Any) -> None:
        """Keep the optimizer that scikit-learn has made, with its steps taken by this engine."""
        if type(optimizer) is SGDOptimizer:
            optimizer.__class__ = _SGD
        # Beyond these the scaled squares of float32 gradients could leave float32's range.
        elif type(optimizer) is AdamOptimizer and 1e-15 <= optimizer.epsilon <= 1e3:
            optimizer.__class__ = _Adam
        self.__dict__["_optimizer"] = optimizer


class _SGD(SGDOptimizer):
    """scikit-learn's schedule of rates; the steps are this engine's."""

    def update_params(self, params: list[Array], grads: list[Array]) -> None:
        if not hasattr(self, "_steps"):
            kind = Nesterov if self.nesterov else Momentum
            self._steps = kind(momentum=self.momentum)
        self._steps.lr = self.learning_rate
        self._steps.update(dict(enumerate(params)), dict(enumerate(grads)))


class _Adam(AdamOptimizer):
    """scikit-learn's Adam, whose epsilon can be chosen, by this engine's, whose is 1e-7.

    Gradients c times as large make m and sqrt(v) c times as large, and so the step what it is with epsilon = 1e-7 / c.
    """

    def update_params(self, params: list[Array], grads: list[Array]) -> None:
        if not hasattr(self, "_steps"):
            self._steps = Adam(self.learning_rate_init, self.beta_1, self.beta_2)
        for grad in grads:
            grad *= 1e-7 / self.epsilon
        self._steps.update(dict(enumerate(params)), dict(enumerate(grads)))


class MLPClassifier(_OnThisEngine, neural_network.MLPClassifier):
    """scikit-learn's `MLPClassifier`, computed by this engine.

    Parameters, attributes, methods and errors are those of `sklearn.neural_network.MLPClassifier`, and so are results,
    up to rounding. Sparse X is computed by scikit-learn.

    Examples
    --------
    >>> from zerodl_c.sklearn import MLPClassifier
    >>> X, y = [[0, 0], [0, 1], [1, 0], [1, 1]] * 10, ["same", "other", "other", "same"] * 10
    >>> net = MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
    >>> net.predict([[0, 1], [1, 1]])
    array(['other', 'same'], dtype='<U5')
    """


class MLPRegressor(_OnThisEngine, neural_network.MLPRegressor):
    """scikit-learn's `MLPRegressor`, computed by this engine.

    Parameters, attributes, methods and errors are those of `sklearn.neural_network.MLPRegressor`, and so are results,
    up to rounding. Sparse X is computed by scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from zerodl_c.sklearn import MLPRegressor
    >>> X = np.linspace(-1, 1, 50).reshape(-1, 1)
    >>> net = MLPRegressor(activation="tanh", solver="lbfgs", random_state=0).fit(X, X[:, 0] ** 2)
    >>> bool(abs(net.predict([[0.5]])[0] - 0.25) < 0.05)
    True
    """
