"""Sequential and SimpleConvNet: their parameters, gradients and accuracies, and what they refuse."""

import inspect

import numpy as np
import pytest
from arrays import normal
from tolerances import assert_close

import zerodl_c
from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")
CONV = {"filter_num": 3, "filter_size": 3, "pad": 0, "stride": 1}


def affine(engine, inputs, outputs, seed=0):
    return engine.Affine(normal((inputs, outputs), np.float64, seed), normal((outputs,), np.float64, seed + 1))


def learning_net(engine, *more):
    """With two layers that do something else while the net learns."""
    first, second = affine(engine, 6, 5), affine(engine, 5, 3, 7)
    normalization = engine.BatchNormalization(normal((5,), np.float64, 3), normal((5,), np.float64, 4))
    return engine.Sequential([first, normalization, engine.Tanh(), *more, second])


def conv_net(engine, **options):
    np.random.seed(2)
    return engine.SimpleConvNet((2, 8, 8), CONV, hidden_size=6, output_size=3, weight_init_std=0.4, **options)


def images():
    return normal((7, 2, 8, 8), np.float64, 5), np.arange(7) % 3


def rows():
    return normal((7, 6), np.float64, 5), np.arange(7) % 3


# --- Sequential ------------------------------------------------------------------------------------


def test_layers_and_parameters_are_numbered(engine):
    net = learning_net(engine, engine.Dropout(0.3))
    assert [*net.layers] == ["Affine1", "BatchNorm1", "Tanh1", "Dropout1", "Affine2"]
    assert [*net.params] == ["W1", "b1", "gamma1", "beta1", "W2", "b2"]
    assert net.params["W2"] is net.layers["Affine2"].W
    assert net.params["gamma1"] is net.layers["BatchNorm1"].gamma
    assert [*conv_net(engine).layers] == ["Conv1", "Relu1", "Pool1", "Affine1", "Relu2", "Affine2"]


def test_predict_and_loss(engine):
    net, (x, t) = learning_net(engine), rows()
    p = net.params
    net.loss(x, t, train_flg=True)
    hidden = x @ p["W1"] + p["b1"]
    normed = p["gamma1"] * (hidden - 0.1 * hidden.mean(0)) / np.sqrt(0.1 * hidden.var(0) + 1e-6) + p["beta1"]
    scores = np.tanh(normed) @ p["W2"] + p["b2"]
    np.testing.assert_allclose(net.predict(x), scores, rtol=1e-9)
    y = reference.softmax(scores)
    np.testing.assert_allclose(net.predict_proba(x), y, rtol=1e-9)
    np.testing.assert_allclose(net.loss(x, t), -np.log(y[np.arange(7), t] + 1e-7).mean(), rtol=1e-9)
    assert net.accuracy(x, t) == np.mean(scores.argmax(axis=1) == t)


def test_dropout_is_on_while_the_net_learns_alone(engine):
    net, (x, t) = engine.Sequential([engine.Dropout(0.5), affine(engine, 6, 3)]), rows()
    assert net.predict(x).tobytes() == net.predict(x).tobytes()
    np.random.seed(0)
    mask = np.random.rand(7, 6) > 0.5
    np.random.seed(0)
    grads = net.gradient(x, t)
    dy = (reference.softmax((x * mask) @ net.params["W1"] + net.params["b1"]) - np.eye(3)[t]) / 7
    np.testing.assert_allclose(grads["W1"], (x * mask).T @ dy, rtol=1e-9)


@pytest.mark.parametrize("net_of", [learning_net, conv_net])
def test_gradients_are_those_of_the_loss(engine, net_of):
    net, (x, t) = net_of(engine), images() if net_of is conv_net else rows()
    assert zerodl_c.gradient_check(net, x, t)
    gradient, numerical = net.gradient(x, t), net.numerical_gradient(x, t)
    assert gradient.keys() == numerical.keys() == net.params.keys()


@pytest.mark.parametrize("net_of", [learning_net, conv_net])
def test_numerical_gradients_are_the_references(net_of):
    x, t = images() if net_of is conv_net else rows()
    got, expected = (net_of(engine).numerical_gradient(x, t) for engine in (zerodl_c, reference))
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=0, atol=1e-9, err_msg=key)


def wide_net(engine):
    normalization = engine.BatchNormalization(np.ones(30), np.zeros(30))
    return engine.Sequential([affine(engine, 64, 30), normalization, engine.Tanh(), affine(engine, 30, 3, 7)])


@pytest.mark.parametrize("net_of", [wide_net, conv_net])
def test_numerical_gradients_take_few_losses(net_of, monkeypatch):
    """By plans: the loss is computed for their proof, and not for each entry."""
    net, (x, t) = net_of(zerodl_c), images() if net_of is conv_net else (normal((7, 64), np.float64), np.arange(7) % 3)
    calls, loss = [], net.loss

    def counted(*args, **options):
        calls.append(1)
        return loss(*args, **options)

    monkeypatch.setattr(net, "loss", counted)
    net.numerical_gradient(x, t)
    assert len(calls) < sum(param.size for param in net.params.values())  # where the plain loop takes 2 for each


def test_a_layer_of_a_script(engine):
    class Scale:
        def __init__(self, W):
            self.W = W

        def forward(self, x):
            self.x = x
            return x * self.W

        def backward(self, dout):
            self.dW = (dout * self.x).sum(axis=0)
            return dout * self.W

    net, (x, t) = engine.Sequential([Scale(np.ones(6)), affine(engine, 6, 3)]), rows()
    assert ([*net.layers], [*net.params]) == (["Scale1", "Affine1"], ["W1", "W2", "b1"])
    assert zerodl_c.gradient_check(net, x, t)


def test_a_layer_in_two_places_has_the_sum_of_both(engine):
    twice = [affine(engine, 6, 6), engine.BatchNormalization(np.ones(6), np.zeros(6)), engine.Tanh()]
    net, (x, t) = engine.Sequential([*twice, *twice, affine(engine, 6, 3, 7)]), rows()
    assert [*net.layers] == ["Affine1", "BatchNorm1", "Tanh1", "Affine2", "BatchNorm2", "Tanh2", "Affine3"]
    assert [*net.params] == ["W1", "b1", "gamma1", "beta1", "W2", "b2"]
    assert net.params["W2"] is net.layers["Affine3"].W
    assert zerodl_c.gradient_check(net, x, t)
    twice = [affine(engine, 6, 6), engine.Tanh()]
    net = engine.Sequential([*twice, *twice, affine(engine, 6, 3, 7)])
    gradient, numerical = net.gradient(x, t), net.numerical_gradient(x, t)
    assert gradient.keys() == numerical.keys() == net.params.keys()
    for key, value in gradient.items():
        np.testing.assert_allclose(numerical[key], value, rtol=0, atol=1e-3, err_msg=key)  # the book's 1e-7


def test_a_relu_in_two_places(engine):
    relu, layers = engine.Relu(), [affine(engine, 6, 5), affine(engine, 5, 4, 3), affine(engine, 4, 3, 7)]
    one = engine.Sequential([layers[0], relu, layers[1], relu, layers[2]])
    two = engine.Sequential([layers[0], engine.Relu(), layers[1], engine.Relu(), layers[2]])
    (x, t), expected = rows(), two.gradient(*rows())
    for key, value in one.gradient(x, t).items():
        np.testing.assert_array_equal(value, expected[key])


def test_parameters_that_share_memory(engine):
    """Each would have only a part of the gradient."""
    W, b = normal((4, 4), np.float64), np.zeros((3, 4))
    layers = {
        "W of Affine2 .* that of W of Affine1": [engine.Affine(W, b[0]), engine.Affine(W.T, b[1])],
        "b of Affine2 .* that of b of Affine1": [engine.Affine(W, b[0]), engine.Affine(W.copy(), b[0])],
        "beta of BatchNorm1 .* that of gamma of BatchNorm1": [engine.BatchNormalization(b[0], b[0])],
    }
    for message, given in layers.items():
        with pytest.raises(ValueError, match=message.replace(".*", "must have memory of its own, got")):
            engine.Sequential(given)
    engine.Sequential([engine.Affine(W[:, :2], b[0, :2]), engine.Affine(W[:2, 2:], b[0, 2:])])  # parts of one array


def test_a_trainer_trains_it(engine):
    np.random.seed(1)
    x = normal((60, 6), np.float64)
    t = (x[:, 0] > 0).astype(int)
    net = engine.Sequential([affine(engine, 6, 8), engine.Relu(), affine(engine, 8, 2, 5)])
    trainer = engine.Trainer(net, x, t, x, t, mini_batch_size=20, optimizer=engine.Adam(0.05), verbose=False)
    trainer.train()
    assert trainer.train_loss_list[-1] < 0.5 * trainer.train_loss_list[0]


def test_arrays_put_into_params_are_warned_of(engine):
    net, (x, _) = learning_net(engine), rows()
    net.params["W2"] = np.zeros((5, 3))
    with pytest.warns(UserWarning, match="params hold other arrays than the layers: W2"):
        net.predict(x)


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        (5, TypeError, "layers must be a list of layers, got 5"),
        ([], ValueError, "layers must hold one layer or more, got none"),
        ([zerodl_c.Relu], TypeError, "layers must have the methods forward and backward, got <class"),
        (["relu"], TypeError, "layers must have the methods forward and backward, got 'relu'"),
        ([zerodl_c.SoftmaxWithLoss()], ValueError, "layers must end before SoftmaxWithLoss"),
        ([zerodl_c.Affine(np.ones((2, 2)), 0)], TypeError, "b of Affine must be an array of floats, .* got 0"),
        ([zerodl_c.Affine(np.eye(2, dtype=int), np.zeros(2))], TypeError, "W of Affine must be an array of floats"),
    ],
)
def test_what_is_no_list_of_layers(engine, layers, error, message):
    with pytest.raises(error, match=message):
        engine.Sequential(layers)


# --- SimpleConvNet ---------------------------------------------------------------------------------


def test_the_defaults_of_the_book(engine):
    defaults = [p.default for p in inspect.signature(engine.SimpleConvNet).parameters.values()]
    conv_param = {"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1}
    assert defaults == [(1, 28, 28), conv_param, 100, 10, 0.01]
    assert [*inspect.signature(engine.SimpleConvNet).parameters] == [
        "input_dim",
        "conv_param",
        "hidden_size",
        "output_size",
        "weight_init_std",
    ]


def test_weights_are_drawn_in_the_books_order(engine):
    np.random.seed(2)
    shapes = (3, 2, 3, 3), (27, 6), (6, 3)
    weights = [0.4 * np.random.randn(*shape) for shape in shapes]
    net = conv_net(engine)
    for i, W in enumerate(weights, 1):
        np.testing.assert_array_equal(net.params[f"W{i}"], W)
        np.testing.assert_array_equal(net.params[f"b{i}"], np.zeros(W.shape[0] if i == 1 else W.shape[1]))


@pytest.mark.parametrize(
    ("input_dim", "conv_param", "inputs"),
    [
        ((1, 28, 28), {"filter_num": 30, "filter_size": 5, "pad": 0, "stride": 1}, 4320),
        ((3, 9, 9), {"filter_num": 2, "filter_size": 3, "pad": 1, "stride": 2}, 8),  # 5 x 5: the last is not pooled
        (np.array([1, 6, 10]), {"filter_num": np.int64(2), "filter_size": 3, "pad": 0, "stride": 1}, 16),
    ],
)
def test_sizes_follow_from_the_images(engine, input_dim, conv_param, inputs):
    net = engine.SimpleConvNet(input_dim, conv_param, 4, 3)
    assert net.params["W2"].shape == (inputs, 4)
    assert net.predict(np.zeros((2, *input_dim))).shape == (2, 3)


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
def test_accuracy_counts_all_images(engine, batch_size):
    net, (x, _) = conv_net(engine), images()
    right = net.predict(x).argmax(axis=1)
    t = np.where(np.arange(7) < 6, right, (right + 1) % 3)
    for labels in (t, np.eye(3)[t]):
        assert net.accuracy(x, labels, batch_size) == 6 / 7
    assert net.accuracy(x, t) == 6 / 7


def test_accuracy_of_no_images_is_refused(engine):
    with pytest.raises(ValueError, match=r"y must be .* and not empty"):
        conv_net(engine).accuracy(images()[0][:0], [])


def test_both_engines_compute_the_same():
    x, t = images()
    ours, theirs = conv_net(zerodl_c), conv_net(reference)
    assert_close(ours.predict(x), theirs.predict(x), scale=100)
    for key, value in theirs.gradient(x, t).items():
        np.testing.assert_allclose(ours.gradient(x, t)[key], value, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"input_dim": 784}, TypeError, "input_dim must be a sequence of sizes"),
        ({"input_dim": (28, 28)}, ValueError, r"input_dim must be \(channels, height, width\)"),
        ({"input_dim": (1, 0, 28)}, ValueError, r"input_dim\[1\] must be 1 or more, got 0"),
        ({"conv_param": {"filter_num": 3}}, ValueError, "conv_param must be a dict of filter_num, filter_size, pad"),
        ({"conv_param": {**CONV, "stride": 0}}, ValueError, r"conv_param\['stride'\] must be 1 or more, got 0"),
        ({"conv_param": {**CONV, "pad": -1}}, ValueError, r"conv_param\['pad'\] must be 0 or more, got -1"),
        ({"conv_param": {**CONV, "filter_size": 2.5}}, TypeError, r"conv_param\['filter_size'\] must be an integer"),
        ({"conv_param": {**CONV, "filter_size": 40}}, ValueError, r"input_dim must .*, got \(1, 28, 28\) .*40"),
        ({"input_dim": (1, 5, 5)}, ValueError, r"input_dim must have room .*, got \(1, 5, 5\) .* 2 x 2, got 1 x 1"),
        ({"hidden_size": -1}, ValueError, "hidden_size must be 1 or more, got -1"),
        ({"output_size": "ten"}, TypeError, "output_size must be an integer, got 'ten'"),
        ({"weight_init_std": "he"}, TypeError, "weight_init_std must be a number, got 'he'"),
    ],
)
def test_wrong_arguments(engine, options, error, message):
    np.random.seed(0)
    after = np.random.rand()
    np.random.seed(0)
    with pytest.raises(error, match=message):
        engine.SimpleConvNet(**options)
    assert np.random.rand() == after
