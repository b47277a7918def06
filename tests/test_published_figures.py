"""Figures that pages about the book print, or that calculus gives, on both engines."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

DATA = np.array([0.0, 1.0, 2.0]), np.array([-2.0, 1.0, 4.0])  # of the line: x and y


def parabola(x):
    return 0.01 * x**2 + 0.1 * x


def bowl(x):
    return x[0] ** 2 + x[1] ** 2


def test_numerical_diff_shows_the_figures_of_the_book(engine):
    assert engine.numerical_diff(parabola, 5) == 0.1999999999990898
    assert engine.numerical_diff(parabola, 10) == 0.2999999999986347


def test_partial_derivatives_hold_one_variable_fixed(engine):
    assert_allclose(engine.numerical_diff(lambda x0: bowl((x0, 4.0)), 3.0), 2 * 3.0, atol=1e-8)
    assert_allclose(engine.numerical_diff(lambda x1: bowl((3.0, x1)), 4.0), 2 * 4.0, atol=1e-8)


@pytest.mark.parametrize(("x", "shown"), [([3, 4], "[6. 8.]"), ([0, 2], "[0. 4.]"), ([3, 0], "[6. 0.]")])
@pytest.mark.parametrize("dtype", [float, int])
def test_gradient_of_a_vector(engine, x, shown, dtype):
    assert str(engine.numerical_gradient(bowl, np.array(x, dtype))) == shown


@pytest.mark.parametrize(
    ("lr", "shown"),
    [
        pytest.param(0.1, [-6.11110793e-10, 8.14814391e-10], id="good"),
        pytest.param(1e-10, [-2.99999994, 3.99999992], id="too small"),
        pytest.param(10, [-2.58983747e13, -1.29524862e12], id="too large"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_gradient_descent(engine, lr, shown):
    x = engine.gradient_descent(bowl, init_x=np.array([-3.0, 4.0]), lr=lr, step_num=100)
    assert_allclose(x, shown, rtol=1e-8)
    assert_array_equal(engine.gradient_descent(bowl, [-3, 4], lr, 100), x)


def test_gradient_of_a_net_with_one_weight(engine):
    net, x, t = engine.SimpleNet(), np.array([0.6, 0.9]), np.array([1, 0, 0])
    assert net.W.shape == (2, 3)
    net.W = np.array([[-0.22624047, -0.28113346, 2.70111015], [-1.41140083, -0.85504959, -1.22749767]])
    assert_allclose(net.predict(x), [-1.40600503, -0.93822471, 0.51591818], atol=5e-9)

    def f(W):
        return net.loss(x, t)

    dW = engine.numerical_gradient(f, net.W)
    assert dW.shape == net.W.shape
    assert_allclose(dW.sum(axis=1), 0, atol=1e-7)
    assert_array_equal(engine.numerical_gradient(lambda W: net.loss(x, t), net.W), dW)

    # The loss is -log(y + 1e-7) of the right class, which 1e-7 makes flatter by y / (y + 1e-7).
    y = engine.softmax(x @ net.W)
    assert_allclose(dW, np.outer(x, y - t) * y[0] / (y[0] + 1e-7), rtol=0, atol=1e-8)
    without = engine.numerical_gradient(lambda W: -engine.log_softmax(net.predict(x))[0], net.W)
    assert_allclose(without, np.outer(x, y - t), rtol=0, atol=1e-7)


def two_layer_net(engine):
    """A net of two layers, with its three samples, one of each class."""
    np.random.seed(1)
    net = engine.TwoLayerNet(2, 3, 3, weight_init_std=0.01)
    x = np.array([[0.1, 0.8], [0.5, 0.3], [0.9, 0.2]])
    return net, x, np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])


def test_backpropagation_equals_the_numerical_gradient(engine):
    net, x, t = two_layer_net(engine)
    assert_allclose(net.loss(x, t), np.log(3), atol=1e-3)
    net.backward(x, t)
    grads = net.grads
    shapes = {key: grad.shape for key, grad in grads.items()}
    assert shapes == {"W1": (2, 3), "b1": (3,), "W2": (3, 3), "b2": (3,)}
    assert_allclose(grads["W2"].sum(axis=1), 0, atol=1e-15)
    assert_allclose(grads["b2"].sum(), 0, atol=1e-15)
    numerical = net.numerical_gradient(x, t)
    assert numerical.keys() == grads.keys()
    for key, grad in grads.items():
        assert_allclose(grad, numerical[key], rtol=0, atol=1e-6)


def test_softmax_over_the_whole_array_gives_the_figures_of_the_page(engine):
    net, x, t = two_layer_net(engine)
    net.loss(x, t)
    y = engine.softmax(net.a2, axis=None)
    assert_allclose(engine.cross_entropy_error(y, t), 2.1972, atol=1e-3)  # log(9)
    assert_allclose(((y - t) / 3).sum(axis=0), -0.222, atol=1e-3)


def test_forward_keeps_what_the_formulas_of_backward_need(engine):
    net, x, t = two_layer_net(engine)
    W1, b1, W2, b2 = (net.params[key] for key in ("W1", "b1", "W2", "b2"))
    net.loss(x, t)
    assert_allclose(net.a1, x @ W1 + b1, rtol=1e-14)
    assert_allclose(net.z1, 1 / (1 + np.exp(-net.a1)), rtol=1e-14)
    assert_allclose(net.a2, net.z1 @ W2 + b2, rtol=1e-14)
    assert_allclose(net.y, np.exp(net.a2) / np.exp(net.a2).sum(1, keepdims=True), rtol=1e-14)

    dy = (net.y - t) / 3
    da1 = dy @ W2.T * net.z1 * (1 - net.z1)
    expected = {"W1": x.T @ da1, "b1": da1.sum(0), "W2": net.z1.T @ dy, "b2": dy.sum(0)}
    grads = net.backward(x, t)
    assert grads is net.grads
    for key, grad in expected.items():
        assert_allclose(grads[key], grad, rtol=1e-12, atol=1e-16)


def test_squared_error_of_a_line_and_its_derivative(engine):
    def error(P):  # at x = 0, y = -2
        return (P[0] * 0 + P[1] + 2) ** 2

    assert error([1, 1]) == 9
    assert_allclose(error([1, 1.001]), 9.006001, rtol=1e-15)
    assert_allclose(engine.numerical_gradient(error, np.array([1.0, 1.0])), [0, 6], atol=1e-8)


def test_descent_fits_the_line(engine):
    x, y = DATA

    def error(P):
        return 2 * engine.sum_squared_error(P[0] * x + P[1], y)

    P = engine.gradient_descent(error, [1.0, 1.0], lr=0.1, step_num=200)
    assert_allclose(P, [3, -2], atol=1e-8)


def test_central_difference_of_a_cubic(engine):
    assert engine.numerical_diff(lambda x: x**3 - 3 * x**2 + x, 4) == 25.000000010031442


def test_partial_derivatives_on_a_grid(engine):
    points = np.stack(np.meshgrid(np.linspace(-5, 5, 20), np.linspace(-5, 5, 20)), -1)
    points = points.reshape(-1, 2)
    grad = engine.numerical_gradient_2d(bowl, points.copy())
    assert_allclose(grad, 2 * points, rtol=0, atol=1e-8)


def test_linear_algebra(engine):
    A, B, C = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4), np.eye(4)[::-1] * 2
    matmul, dot = engine.matmul, engine.dot
    assert dot([1, 2, 3], [4, 5, 6]) == 32
    by_rows_and_columns = [[dot(row, column) for column in B.T] for row in A]
    assert_array_equal(matmul(A, B), by_rows_and_columns)
    assert_array_equal(matmul(A, B).T, matmul(B.T, A.T))
    assert_array_equal(matmul(matmul(A, B), C).T, matmul(C.T, matmul(B.T, A.T)))
    b = np.array([3.0, 4.0])
    assert_allclose(engine.numerical_gradient(lambda x: dot(b, x), np.ones(2)), b, atol=1e-10)
