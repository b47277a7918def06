"""Subclasses of the layers: own methods beside inherited ones, and the book's attributes."""

import numpy as np
import pytest
from arrays import normal
from test_layers import LAYERS, forward, parameter

import zerodl_c
from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")
every_layer = pytest.mark.parametrize("name", LAYERS)

# What the book's __init__ of each class sets, besides its arguments.
OF_THE_BOOK = {
    "Relu": ["mask"],
    "Sigmoid": ["out"],
    "Tanh": ["out"],
    "Affine": ["x", "original_x_shape", "dW", "db"],
    "Dropout": ["mask"],
    "BatchNormalization": ["input_shape", "batch_size", "xc", "std", "dgamma", "dbeta"],
    "Convolution": ["x", "col", "col_W", "dW", "db"],
    "Pooling": ["x", "arg_max"],
}
ARGUMENTS = ["W", "b", "dropout_ratio", "gamma", "beta", "momentum", "running_mean", "running_var"]
ARGUMENTS += ["stride", "pad", "pool_h", "pool_w"]


def same(got, expected, label=""):
    np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-13, err_msg=label)


def both_passes(name, *, of_init=True, own_forward=None, own_backward=None):
    """Output, dx and gradients of a layer of C's class, of which the parts that are given are a subclass's own."""
    make, shape, _ = LAYERS[name]
    made = make(zerodl_c)
    kind = type(made)

    class Own(kind):
        pass

    if own_forward:
        Own.forward = own_forward
    if own_backward:
        Own.backward = own_backward
    layer = Own.__new__(Own)
    if of_init:
        layer.__dict__.update(vars(made))
    else:
        for key in ARGUMENTS:
            if hasattr(made, key):
                setattr(layer, key, getattr(made, key))
        for key in OF_THE_BOOK[kind.__name__]:
            setattr(layer, key, None)
    out = forward(layer, normal(shape, np.float64)).copy()
    dx = layer.backward(normal(out.shape, np.float64, 8))
    kept = {key: getattr(layer, key) for key in OF_THE_BOOK[kind.__name__] if key not in ("original_x_shape", "x")}
    return {"out": out, "dx": dx, **kept}


def expected_passes(name):
    make, shape, _ = LAYERS[name]
    layer = make(reference)
    out = forward(layer, normal(shape, np.float64)).copy()
    dx = layer.backward(normal(out.shape, np.float64, 8))
    return {"out": out, "dx": dx, **vars(layer)}


@every_layer
def test_an_init_of_its_own(name):
    expected = expected_passes(name)
    for key, value in both_passes(name, of_init=False).items():
        same(value, expected[key], key)


@every_layer
def test_a_forward_of_its_own(name):
    """It sets what the book's does, and what is inherited computes from that alone."""
    kind, expected = type(LAYERS[name][0](reference)), expected_passes(name)
    for key, value in both_passes(name, own_forward=kind.forward).items():
        same(value, expected[key], key)


@every_layer
def test_a_backward_of_its_own(name):
    """It finds what the book's forward keeps."""
    kind, expected = type(LAYERS[name][0](reference)), expected_passes(name)
    for key, value in both_passes(name, own_backward=kind.backward).items():
        same(value, expected[key], key)


def test_a_layer_without_a_pass_has_the_books_attributes(engine):
    for make, _, _ in LAYERS.values():
        layer = make(engine)
        for key in OF_THE_BOOK[type(layer).__name__]:
            assert getattr(layer, key) is None, key


# --- Batch normalization ---------------------------------------------------------------------------


def dx_of_the_chain_rule(xc, xn, std, gamma, dout):
    """Back from gamma * xn + beta, one step of the computation after the other."""
    count = len(dout)
    d_xn = gamma * dout
    d_std = -(d_xn * xc).sum(axis=0) / std**2
    d_variance = d_std / (2 * std)
    d_xc = d_xn / std + d_variance * 2 * xc / count
    return d_xc - d_xc.mean(axis=0)


class AroundTheMedian:
    """Mixed into BatchNormalization: what is subtracted is the median, so that xc is not of mean 0."""

    def forward(self, x, train_flg=True):
        self.input_shape, self.batch_size = x.shape, len(x)
        self.xc = x - np.median(x, axis=0)
        self.std = np.sqrt((self.xc**2).mean(axis=0) + 1e-6)
        self.xn = self.xc / self.std
        return self.gamma * self.xn + self.beta


@pytest.mark.parametrize("passes_before", [0, 1])
def test_batch_normalization_of_another_centre(engine, passes_before):
    class Median(AroundTheMedian, engine.BatchNormalization):
        pass

    layer, x, dout = Median(parameter(5), parameter(5)), normal((9, 5), np.float64), normal((9, 5), np.float64, 3)
    for _ in range(passes_before):
        engine.BatchNormalization.forward(layer, 2 * x)
    layer.forward(x)
    assert np.abs(layer.xc.mean(axis=0)).min() > 0.01
    same(layer.backward(dout), dx_of_the_chain_rule(layer.xc, layer.xn, layer.std, layer.gamma, dout))
    same(layer.dgamma, (dout * layer.xn).sum(axis=0))
    engine.BatchNormalization.forward(layer, x)  # and back to the class's own
    same(layer.xc, x - x.mean(axis=0))
    same(layer.backward(dout), dx_of_the_chain_rule(layer.xc, layer.xn, layer.std, layer.gamma, dout))


@pytest.mark.parametrize("name", ["xc", "xn", "std"])
def test_batch_normalization_computes_from_what_is_set(engine, name):
    layer, x, dout = engine.BatchNormalization(parameter(5), 0.0), normal((9, 5), np.float64), normal((9, 5), "f8", 3)
    layer.forward(x)
    kept = {key: np.array(getattr(layer, key)) for key in ("xc", "xn", "std")}
    kept[name] = kept[name] + 0.5
    setattr(layer, name, kept[name])
    same(layer.backward(dout), dx_of_the_chain_rule(**kept, gamma=layer.gamma, dout=dout))
    same(layer.dgamma, (dout * kept["xn"]).sum(axis=0))


# --- Convolution -----------------------------------------------------------------------------------


def convolution(engine):
    layer = engine.Convolution(parameter(4, 3, 2, 2), parameter(4))
    out = layer.forward(normal((2, 3, 5, 6), np.float64))
    return layer, normal(out.shape, np.float64, 8)


def test_convolution_computes_from_a_col_that_is_set(engine):
    layer, dout = convolution(engine)
    layer.backward(dout)
    dW = layer.dW
    layer.col = 2 * layer.col
    same(layer.backward(dout), convolution(engine)[0].backward(dout))
    same(layer.dW, 2 * dW)


def test_convolution_computes_from_a_col_W_that_is_set(engine):
    layer, dout = convolution(engine)
    dx = layer.backward(dout)
    layer.col_W = 2 * layer.col_W
    same(layer.backward(dout), 2 * dx)
    layer.forward(layer.x)
    same(layer.backward(dout), dx)


def test_convolution_goes_back_through_the_W_of_the_last_forward(engine):
    """As in the book, which keeps it: another W counts from the next pass on, a change in place at once."""
    layer, dout = convolution(engine)
    dx = layer.backward(dout)
    layer.W = 3 * layer.W
    same(layer.backward(dout), dx)
    layer.forward(layer.x)
    same(layer.backward(dout), 3 * dx)
    layer.W *= 2
    same(layer.backward(dout), 6 * dx)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_convolution_goes_back_through_x_as_it_was(engine, dtype):
    """As in the book, which keeps its im2col: a script may add to x in place, for a way around the layer."""
    layer, x = engine.Convolution(parameter(3, 3, 3, 3), parameter(3), pad=1), normal((2, 3, 5, 6), dtype)
    dout = normal(layer.forward(x).shape, np.float64, 8)
    dx, dW, col = layer.backward(dout), layer.dW, layer.col
    assert layer.x is x
    x += 1
    same(layer.backward(dout), dx)
    same(layer.dW, dW)
    same(layer.col, col)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (1, 4), (1, 1), (1, 1, 4), (40, 1), (40, 4)])
def test_a_bias_that_broadcasts(engine, shape):
    """As in the book, where b is added to (batch * out_h * out_w, filters)."""
    layer, x = engine.Convolution(parameter(4, 3, 2, 2), normal(shape, np.float64, 4)), normal((2, 3, 5, 6), np.float64)
    out = layer.forward(x)
    plain = engine.Convolution(layer.W, np.zeros(4)).forward(x)
    places = np.broadcast_to(layer.b, (1, 40, 4) if len(shape) > 2 else (40, 4)).reshape(2, 4, 5, 4)
    same(out, plain + places.transpose(0, 3, 1, 2))
    layer.backward(np.ones_like(out))
    same(layer.db, np.full(4, 40.0))


# --- Affine ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("b", [0.5, np.arange(4.0), np.array([2.0])])
def test_affine_of_a_vector(engine, b):
    x, W = normal((4, 3), np.float64), normal(3, np.float64, 2)
    same(engine.Affine(W, b).forward(x), [row @ W + np.broadcast_to(b, 4)[i] for i, row in enumerate(x)])
    same(engine.affine(x, W, b), engine.Affine(W, b).forward(x))
