"""Wrong arguments of nets, layers and optimizers: what is said of them, before any work; and how things are shown."""

from fractions import Fraction

import numpy as np
import pytest
from arrays import normal

import zerodl_c
from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")
NAN = float("nan")


def conv(engine, **options):
    return engine.Convolution(np.ones((1, 1, 2, 2)), np.zeros(1), **options)


def normalization(engine, **options):
    return engine.BatchNormalization(np.ones(3), np.zeros(3), **options)


WRONG = [
    (lambda z: z.MultiLayerNet(5, 10, 2), TypeError, "hidden_size_list must be a sequence of sizes, .*, got 10"),
    (lambda z: z.MultiLayerNet(5, "10", 2), TypeError, "hidden_size_list must be a sequence of sizes, .*, got '10'"),
    (lambda z: z.MultiLayerNet(5, [10, -1], 2), ValueError, r"hidden_size_list\[1\] must be 1 or more, got -1"),
    (lambda z: z.MultiLayerNet(5, [10.0], 2), TypeError, r"hidden_size_list\[0\] must be an integer, got 10.0"),
    (lambda z: z.MultiLayerNet(-5, [10], 2), ValueError, "input_size must be 1 or more, got -5"),
    (lambda z: z.MultiLayerNet("5", [10], 2), TypeError, "input_size must be an integer, got '5'"),
    (lambda z: z.MultiLayerNet(5, [10], 0), ValueError, "output_size must be 1 or more, got 0"),
    (lambda z: z.MultiLayerNet(5, [10], 2.5), TypeError, "output_size must be an integer, got 2.5"),
    (lambda z: z.MultiLayerNet(5, [10], True), TypeError, "output_size must be an integer, got True"),
    (lambda z: z.MultiLayerNet(5, [10], 2, "gelu"), ValueError, "activation must be one of relu, .*, got 'gelu'"),
    (lambda z: z.MultiLayerNet(5, [10], 2, z.Relu), ValueError, "activation must be one of relu, .*, got <class"),
    (lambda z: z.MultiLayerNet(5, [10], 2, weight_init_std=-1), ValueError, "weight_init_std must be .* got -1"),
    (lambda z: z.MultiLayerNet(5, [10], 2, weight_init_std=None), TypeError, "weight_init_std must be a number, got N"),
    (lambda z: z.MultiLayerNet(5, [10], 2, weight_init_std="lecun"), ValueError, "weight_init_std must be .* 'lecun'"),
    (lambda z: z.MultiLayerNet(5, [10], 2, weight_decay_lambda=NAN), ValueError, "weight_decay_lambda must be .* nan"),
    (
        lambda z: z.MultiLayerNetExtend(5, [10], 2, use_dropout=True, dropout_ration=1.5),
        ValueError,
        "dropout_ration must be from 0 to 1, got 1.5",
    ),
    (lambda z: z.MultiLayerNetExtend(5, 10, 2), TypeError, "hidden_size_list must be a sequence of sizes"),
    (lambda z: z.MultiLayerNet(5, b"10", 2), TypeError, "hidden_size_list must be a sequence of sizes, .*, got b'10'"),
    (lambda z: z.MultiLayerNet(5, {10: 1}, 2), TypeError, "hidden_size_list must be .*, got {10: 1} of type dict"),
    (lambda z: z.MultiLayerNet(5, np.array(10), 2), TypeError, r"hidden_size_list must be a sequence .* array\(10\)"),
    (lambda z: z.MultiLayerNet(5, [3], 2, weight_init_std=[1, 2]), TypeError, "weight_init_std must be a number"),
    (lambda z: z.MultiLayerNet(5, [3], 2, weight_decay_lambda=[1, 2]), TypeError, "weight_decay_lambda must be a n"),
    (lambda z: z.TwoLayerNet(5, -10, 2), ValueError, "hidden_size must be 1 or more, got -10"),
    (lambda z: z.TwoLayerNet(5, [10], 2), TypeError, r"hidden_size must be an integer, got \[10\] of type list"),
    (lambda z: z.TwoLayerNet(5, 10, 2, "he"), TypeError, "weight_init_std must be a number, got 'he'"),
    (lambda z: z.TwoLayerNet(5, 10, 2, dtype=int), TypeError, "dtype must be one of floats, got int64"),
    (lambda z: z.TwoLayerNet(5, 10, 2, dtype="nonsense"), TypeError, "dtype must be one of floats, got 'nonsense'"),
    (lambda z: z.TwoLayerNet(5, 10, 2, dtype=5), TypeError, "dtype must be one of floats, got 5"),
    (lambda z: z.Dropout([0.5, 0.5]), TypeError, r"dropout_ratio must be a number, got \[0.5, 0.5\] of type list"),
    (lambda z: z.Dropout(1.5), ValueError, "dropout_ratio must be from 0 to 1, got 1.5"),
    (lambda z: z.Dropout(-0.1), ValueError, "dropout_ratio must be from 0 to 1, got -0.1"),
    (lambda z: z.Dropout(NAN), ValueError, "dropout_ratio must be from 0 to 1, got nan"),
    (lambda z: z.Dropout("half"), TypeError, "dropout_ratio must be a number, got 'half'"),
    (lambda z: normalization(z, momentum=1.1), ValueError, "momentum must be from 0 to 1, got 1.1"),
    (lambda z: conv(z, stride=0), ValueError, "stride must be 1 or more, got 0"),
    (lambda z: conv(z, stride=1.5), TypeError, "stride must be an integer, got 1.5"),
    (lambda z: conv(z, pad=-1), ValueError, "pad must be 0 or more, got -1"),
    (lambda z: z.Pooling(0, 2), ValueError, "pool_h must be 1 or more, got 0"),
    (lambda z: z.Pooling(2, -2), ValueError, "pool_w must be 1 or more, got -2"),
    (lambda z: z.Pooling(2, 2, stride=0), ValueError, "stride must be 1 or more, got 0"),
    (lambda z: z.Pooling(2, 2, pad="same"), TypeError, "pad must be an integer, got 'same'"),
    (lambda z: z.SGD(-0.1), ValueError, "lr must be 0 or more, and finite, got -0.1"),
    (lambda z: z.SGD(NAN), ValueError, "lr must be 0 or more, and finite, got nan"),
    (lambda z: z.Adam(float("inf")), ValueError, "lr must be 0 or more, and finite, got inf"),
    (lambda z: z.SGD("0.1"), TypeError, "lr must be a number, got '0.1'"),
    (lambda z: z.SGD(None), TypeError, "lr must be a number, got None"),
    (lambda z: z.AdaGrad(1j), TypeError, "lr must be a number, got 1j of type complex"),
    (lambda z: z.SGD(np.array([0.1, -0.1])), ValueError, "lr must be 0 or more, and finite"),
    (lambda z: z.SGD(10**400), TypeError, "lr must be a number, got 1000"),
    (lambda z: z.SGD(Fraction(1, 3)), TypeError, r"lr must be a number, got Fraction\(1, 3\)"),
    (lambda z: z.SGD([[1], [1, 2]]), ValueError, "lr must be array_like, got list"),
    (lambda z: z.Momentum(momentum=[0.5, 0.9]), TypeError, r"momentum must be a number, got \[0.5, 0.9\]"),
    (lambda z: z.Momentum(momentum=1.5), ValueError, "momentum must be from 0 to 1, got 1.5"),
    (lambda z: z.Nesterov(momentum=-0.5), ValueError, "momentum must be from 0 to 1, got -0.5"),
    (lambda z: z.RMSprop(decay_rate=2), ValueError, "decay_rate must be from 0 to 1, got 2"),
    (lambda z: z.Adam(beta1=1), ValueError, "beta1 must be 0 or more, and less than 1, got 1"),
    (lambda z: z.Adam(beta2="x"), TypeError, "beta2 must be a number, got 'x'"),
]


@pytest.mark.parametrize(("make", "error", "message"), WRONG)
def test_wrong_arguments(engine, make, error, message):
    np.random.seed(0)
    after = np.random.rand()
    np.random.seed(0)
    with pytest.raises(error, match=message):
        make(engine)
    assert np.random.rand() == after


RIGHT = [
    lambda z: z.MultiLayerNet(np.int64(5), (np.uint8(10),), 2, weight_init_std="HE"),
    lambda z: z.MultiLayerNet(5, [10], 2, weight_decay_lambda=np.float32(0.1)),
    lambda z: z.MultiLayerNet(5, np.array([10]), 2, weight_init_std=np.logspace(0, -4, num=16)[3]),
    lambda z: z.MultiLayerNetExtend(5, [10], 2, dropout_ration=7),  # which nothing reads
    lambda z: z.TwoLayerNet(5, 10, 2, 0, dtype="f4"),
    lambda z: [z.Dropout(0), z.Dropout(1), z.Dropout(np.float16(0.5))],
    lambda z: conv(z, stride=np.int8(3), pad=np.array(0)),
    lambda z: z.Pooling(np.int32(2), 3, 1, 2),
    lambda z: [z.SGD(0), z.SGD(np.float32(0.1)), z.SGD(np.array(0.1)), z.Momentum(1, 0), z.Momentum(1, 1)],
    lambda z: [z.Adam(beta1=0, beta2=0.0), z.SGD(np.array([0.1, 0.2])), z.SGD(10 ** np.random.uniform(-6, -2))],
]


@pytest.mark.parametrize("make", RIGHT)
def test_right_arguments(engine, make):
    make(engine)


def test_while_the_swap_is_in_place_wrong_use_is_the_books(engine):
    """A script computes what it computes with plain python: SGD(-0.1) climbs."""
    zerodl_c.install()
    try:
        params = {"W": np.ones(2)}
        engine.SGD(-0.5).update(params, {"W": np.ones(2)})
        np.testing.assert_array_equal(params["W"], [1.5, 1.5])
        np.testing.assert_array_equal(engine.Dropout(1.5).forward(np.ones(9)), np.zeros(9))
        with pytest.raises(ValueError, match="activation must be one of"):
            engine.MultiLayerNet(5, [10], 2, "gelu")
    finally:
        zerodl_c.uninstall()
    with pytest.raises(ValueError, match="lr must be"):
        engine.SGD(-0.5)


@pytest.mark.parametrize("use", ["loss", "accuracy", "gradient", "numerical_gradient"])
@pytest.mark.parametrize("kind", ["TwoLayerNet", "MultiLayerNet"])
def test_labels_of_strings(engine, kind, use):
    net = engine.TwoLayerNet(4, 3, 2) if kind == "TwoLayerNet" else engine.MultiLayerNet(4, [3], 2)
    with pytest.raises(TypeError, match=r"^t must .* got dtype <U3$"):
        getattr(net, use)(normal((2, 4), np.float64), np.array(["cat", "dog"]))


# --- Probabilities, and how things are shown -------------------------------------------------------


def sequential(engine):
    return engine.Sequential([engine.Affine(normal((4, 2), "f8"), np.zeros(2)), engine.Dropout(0.5)])


NETS = {
    "SimpleNet(2-3, 6 parameters)": lambda z: z.SimpleNet(),
    "TwoLayerNet(4-300-2, sigmoid, 2,102 parameters)": lambda z: z.TwoLayerNet(4, 300, 2),
    "MultiLayerNet(4-50-50-2, relu, 2,902 parameters)": lambda z: z.MultiLayerNet(4, [50, 50], 2),
    "MultiLayerNet(4-5-2, tanh, 37 parameters)": lambda z: z.MultiLayerNet(4, (np.int64(5),), 2, "tanh"),
    "MultiLayerNet(4-2, 10 parameters)": lambda z: z.MultiLayerNet(4, [], 2),
    "MultiLayerNetExtend(4-5-2, relu, batch normalization, dropout 0.3, 47 parameters)": (
        lambda z: z.MultiLayerNetExtend(4, [5], 2, use_batchnorm=True, use_dropout=True, dropout_ration=0.3)
    ),
    "Sequential(Affine 4-2, Dropout, 10 parameters)": sequential,
    "SimpleConvNet(Convolution 1-30 5x5, Relu, Pooling, Affine 4320-100, Relu, Affine 100-10, 433,890 parameters)": (
        lambda z: z.SimpleConvNet()
    ),
}


@pytest.mark.parametrize("text", NETS)
def test_nets_are_shown_by_their_sizes(engine, text):
    assert repr(NETS[text](engine)) == text


@pytest.mark.parametrize("text", NETS)
def test_probabilities_of_every_net(engine, text):
    net = NETS[text](engine)
    shape = (3, 2) if "SimpleNet" in text else (3, 1, 28, 28) if "Conv" in text else (3, 4)
    x = normal(shape, np.float64)
    y = net.predict_proba(x)
    expected = net.predict(x) if "TwoLayerNet" in text else reference.softmax(net.predict(x))
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-12)


def test_layers_and_optimizers_are_shown_as_they_are_made(engine):
    made = [
        (engine.Affine(np.ones((2, 3)), 0.5), "Affine(W=(2, 3), b=0.5)"),
        (engine.Relu(), "Relu()"),
        (engine.Dropout(np.float64(0.2)), "Dropout(dropout_ratio=0.2)"),
        (normalization(engine), "BatchNormalization(gamma=(3,), beta=(3,), momentum=0.9)"),
        (conv(engine, pad=1), "Convolution(W=(1, 1, 2, 2), b=(1,), stride=1, pad=1)"),
        (engine.Pooling(2, 3), "Pooling(pool_h=2, pool_w=3, stride=2, pad=0)"),
        (engine.SGD(0.1), "SGD(lr=0.1)"),
        (engine.Adam(), "Adam(lr=0.001, beta1=0.9, beta2=0.999)"),
    ]
    for thing, text in made:
        assert repr(thing) == text


def test_subclasses_that_lack_attributes_are_shown(engine):
    class Layer(engine.Convolution):
        def __init__(self, *args, size=1):
            pass

    class Net(engine.MultiLayerNet):
        def __init__(self):
            pass

    assert repr(Layer()) == "Layer()"
    assert "Net object at" in repr(Net())


@pytest.mark.parametrize("t", [np.arange(7) % 3, np.eye(3)[np.arange(7) % 3]], ids=["labels", "one-hot"])
def test_tanh_nets_have_the_references_gradients(t):
    x, nets = normal((7, 6), np.float64), []
    for engine in (zerodl_c, reference):
        np.random.seed(0)
        nets.append(engine.MultiLayerNet(6, [5, 4], 3, "tanh", "xavier", 0.1))
    ours, theirs = nets
    hidden = np.tanh(np.tanh(x @ ours.params["W1"]) @ ours.params["W2"])
    np.testing.assert_allclose(ours.predict(x), hidden @ ours.params["W3"], rtol=1e-12, atol=1e-14)
    for method in ("gradient", "numerical_gradient"):
        got, expected = getattr(ours, method)(x, t), getattr(theirs, method)(x, t)
        for key in expected:
            atol = 1e-15 if method == "gradient" else 1e-10
            np.testing.assert_allclose(got[key], expected[key], rtol=1e-11, atol=atol, err_msg=key)
    ours.gradient(x, t)
    assert ours.layers["Activation_function2"].out.shape == (7, 4)
    assert zerodl_c.gradient_check(ours, x, t)
