"""A user's script: what mypy and pyright know of the package. `test_types.py` hands it to them; it is never run."""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import zerodl_c as z

if TYPE_CHECKING:
    from typing_extensions import assert_type

    from zerodl_c.differences.formula import GradientInfo


def f(x: NDArray[np.float64], power: int = 2) -> np.float64:
    return np.sum(x**power)


def known(x: NDArray[np.float64], t: NDArray[np.int64], is_full: bool) -> None:
    assert_type(z.softmax(x), NDArray[Any])
    assert_type(z.reference.softmax(x), NDArray[Any])
    assert_type(z.cross_entropy_error(x, t), float)
    assert_type(z.reference.softmax_cross_entropy(x, t), tuple[float, NDArray[Any]])

    assert_type(z.numerical_gradient(f, x), NDArray[Any])
    assert_type(z.numerical_gradient(f, [3.0, 4.0], 1e-3, args=(3,), order=4), NDArray[Any])
    assert_type(z.numerical_gradient(f, x, h="auto", full_output=True), tuple[NDArray[Any], GradientInfo])
    assert_type(
        z.reference.numerical_gradient(f, x, full_output=is_full),
        NDArray[Any] | tuple[NDArray[Any], GradientInfo],
    )
    assert_type(z.numerical_jacobian(z.softmax, x, workers=2), NDArray[Any])
    assert_type(z.reference.numerical_jacobian(np.exp, x, full_output=True), tuple[NDArray[Any], GradientInfo])
    assert_type(z.numerical_gradient(f, x, full_output=True)[1].evaluations, int)
    assert_type(z.gradient_descent(f, x, lr=0.1), NDArray[Any])
    assert_type(z.numerical_diff(np.sin, x), NDArray[Any])

    for net in (z.MultiLayerNet(2, [5], 3, activation="tanh"), z.reference.MultiLayerNetExtend(2, [5], 3)):
        assert_type(net.params, dict[str, NDArray[Any]])
        assert_type(net.predict(x), NDArray[Any])
        assert_type(net.predict_proba(x), NDArray[Any])
        assert_type(net.loss(x, t), float)
        assert_type(net.accuracy(x, t), float)
        assert_type(net.gradient(x, t), dict[str, NDArray[Any]])
        assert_type(net.numerical_gradient(x, t), dict[str, NDArray[Any]])
    two_layers = z.TwoLayerNet(2, 5, 3)
    assert_type(two_layers.loss(x, t), float)
    assert_type(two_layers.gradient(x, t), dict[str, NDArray[Any]])
    for saved in (z.load("net.npz"), z.reference.load("net.npz")):
        assert_type(saved.params, dict[str, NDArray[Any]])
        assert_type(saved.predict(x), NDArray[Any])
        assert_type(saved.accuracy(x, t), float)
        assert_type(saved.gradient(x, t), dict[str, NDArray[Any]])
        z.Trainer(saved, x, t, x, t)
        if isinstance(saved, z.MultiLayerNet):
            assert_type(saved.hidden_layer_num, int)
    saved = z.TwoLayerNet(2, 5, 3)
    saved = z.MultiLayerNetExtend(2, [5], 3)
    saved = z.reference.SimpleConvNet()
    layer = z.Affine(x, x[0])
    assert_type(layer.forward(x), NDArray[Any])
    assert_type(z.SoftmaxWithLoss().forward(x, t), float)
    assert_type(bool(z.gradient_check(two_layers, x, t)), bool)

    trainer = z.Trainer(two_layers, x, t, x, t, optimizer="Adam", optimizer_param={"lr": 0.01})
    assert_type(trainer.history["loss"], list[float])
    z.Trainer(two_layers, x, t, x, t, optimizer=z.reference.Momentum(0.1))


def refused(x: NDArray[np.float64], t: NDArray[np.int64]) -> None:
    """What is wrong is seen before it is run."""
    z.numerical_gradient(f, x, order=3)  # type: ignore
    z.numerical_gradient(f, x, h="automatic")  # type: ignore
    z.numerical_gradient(f, x, orders=4)  # type: ignore
    z.reference.numerical_jacobian(f, x, plain_loop=True)  # type: ignore
    z.MultiLayerNet(2, [5], 3, activation="gelu")  # type: ignore
    z.reference.MultiLayerNetExtend(2, [5], 3, activation="gelu")  # type: ignore
    z.Trainer(None, x, t, x, t, optimizer="lion")  # type: ignore
    z.load(5)  # type: ignore
    z.load("net.npz").predikt(x)  # type: ignore
    z.reference.sofmax(x)  # type: ignore
