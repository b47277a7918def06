"""MultiLayerNet and MultiLayerNetExtend: their draws, their gradients, and what scripts rely on."""

import copy
import pickle

import numpy as np
import pytest
from arrays import normal

import zerodl_c
from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")


NETS = {
    "MultiLayerNet": {},
    "MultiLayerNet, sigmoid": {"activation": "sigmoid", "weight_init_std": "xavier"},
    "MultiLayerNet, weight decay": {"weight_decay_lambda": 0.3},
    "MultiLayerNetExtend": {},
    "MultiLayerNetExtend, batch normalization": {"use_batchnorm": True},
    "MultiLayerNetExtend, dropout": {"use_dropout": True, "dropout_ration": 0.2},
    "MultiLayerNetExtend, all": {
        "activation": "sigmoid",
        "weight_decay_lambda": 0.3,
        "use_batchnorm": True,
        "use_dropout": True,
    },
}
every_net = pytest.mark.parametrize("name", NETS)
both_classes = pytest.mark.parametrize("cls", ["MultiLayerNet", "MultiLayerNetExtend"])


def net_of(engine, name, hidden=(5, 4), seed=3, **options):
    """A net with 6 inputs and 3 classes, whose biases are not 0."""
    np.random.seed(seed)
    net = getattr(engine, name.split(",")[0])(6, list(hidden), 3, **{**NETS[name], **options})
    for i, (key, param) in enumerate(net.params.items()):
        if key[0] != "W":
            param += normal(param.shape, np.float64, i) / 10
    return net


def batch(size=7):
    return normal((size, 6), np.float64, 5) / 3, np.arange(size) % 3


def training_loss(net, x, t):
    """What `gradient` is the gradient of."""
    return net.loss(x, t, train_flg=True) if type(net).__name__ == "MultiLayerNetExtend" else net.loss(x, t)


# --- How nets begin --------------------------------------------------------------------------------


@both_classes
@pytest.mark.parametrize(
    ("weight_init_std", "scales"),
    [
        (0.01, [0.01, 0.01, 0.01]),
        (np.float64(2), [2, 2, 2]),
        ("relu", np.sqrt([2 / 6, 2 / 5, 2 / 4])),
        ("He", np.sqrt([2 / 6, 2 / 5, 2 / 4])),
        ("sigmoid", np.sqrt([1 / 6, 1 / 5, 1 / 4])),
        ("Xavier", np.sqrt([1 / 6, 1 / 5, 1 / 4])),
    ],
)
def test_weights_are_drawn_from_the_first_layer_to_the_last(engine, cls, weight_init_std, scales):
    np.random.seed(0)
    weights = [std * np.random.randn(*shape) for std, shape in zip(scales, [(6, 5), (5, 4), (4, 3)], strict=True)]
    after = np.random.rand()
    np.random.seed(0)
    net = getattr(engine, cls)(6, [5, 4], 3, weight_init_std=weight_init_std)
    assert np.random.rand() == after
    assert list(net.params) == ["W1", "b1", "W2", "b2", "W3", "b3"]
    for i, W in enumerate(weights, 1):
        np.testing.assert_array_equal(net.params[f"W{i}"], W)
        np.testing.assert_array_equal(net.params[f"b{i}"], np.zeros(W.shape[1]))


@both_classes
def test_by_default_weights_are_for_relu(engine, cls):
    np.random.seed(0)
    W1 = np.sqrt(2 / 6) * np.random.randn(6, 5)
    np.random.seed(0)
    net = getattr(engine, cls)(6, [5], 3)
    np.testing.assert_array_equal(net.params["W1"], W1)
    assert type(net.layers["Activation_function1"]).__name__ == "Relu"
    assert net.weight_decay_lambda == 0


def test_layers_and_parameters_have_the_names_of_the_book(engine):
    net = net_of(engine, "MultiLayerNet")
    assert list(net.layers) == ["Affine1", "Activation_function1", "Affine2", "Activation_function2", "Affine3"]
    assert (net.input_size, net.hidden_size_list, net.output_size, net.hidden_layer_num) == (6, [5, 4], 3, 2)
    net = net_of(engine, "MultiLayerNetExtend, all", hidden=(5,))
    assert list(net.layers) == ["Affine1", "BatchNorm1", "Activation_function1", "Dropout1", "Affine2"]
    assert (net.use_batchnorm, net.use_dropout, net.weight_decay_lambda) == (True, True, 0.3)
    assert net.layers["Dropout1"].dropout_ratio == 0.5
    net = net_of(engine, "MultiLayerNetExtend, all")
    assert list(net.params) == ["W1", "b1", "W2", "b2", "W3", "b3", "gamma1", "beta1", "gamma2", "beta2"]
    assert type(net.last_layer).__name__ == "SoftmaxWithLoss"


def test_batch_normalization_starts_at_1_and_0(engine):
    net = engine.MultiLayerNetExtend(6, [5], 3, use_batchnorm=True)
    np.testing.assert_array_equal([net.params["gamma1"], net.params["beta1"]], [[1] * 5, [0] * 5])


@every_net
def test_the_layers_hold_the_parameters_themselves(engine, name):
    """Optimizers change `params` in place, and the layers must see it."""
    net = net_of(engine, name)
    owners = {"W": "Affine", "b": "Affine", "gamma": "BatchNorm", "beta": "BatchNorm"}
    for key, param in net.params.items():
        assert getattr(net.layers[owners[key[:-1]] + key[-1]], key[:-1]) is param


@both_classes
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "gelu"}, "activation must be one of relu, sigmoid, tanh, got 'gelu'"),
        ({"weight_init_std": "kaiming"}, "weight_init_std must be a number, relu, he, .* got 'kaiming'"),
    ],
)
def test_words_that_are_not_known(engine, cls, options, message):
    with pytest.raises(ValueError, match=message):
        getattr(engine, cls)(6, [5], 3, **options)


@both_classes
@pytest.mark.parametrize("hidden", [[], (5,), np.array([5, 4])], ids=str)
def test_hidden_layers_in_any_sequence(engine, cls, hidden):
    net, (x, labels) = getattr(engine, cls)(6, hidden, 3), batch()
    assert net.predict(x).shape == (7, 3)
    assert len(net.gradient(x, labels)) == 2 * len(hidden) + 2


# --- What nets compute -----------------------------------------------------------------------------


@every_net
def test_predict_passes_through_all_layers(engine, name):
    net, (x, _) = net_of(engine, name), batch()
    net.loss(x, [0] * 7)
    out, p = x, net.params
    for i in (1, 2):
        out = out @ p[f"W{i}"] + p[f"b{i}"]
        if f"gamma{i}" in p:  # nothing learned yet: the running mean and variance are 0
            out = 1000 * p[f"gamma{i}"] * out + p[f"beta{i}"]
        sigmoid = NETS[name].get("activation") == "sigmoid"
        out = reference.sigmoid(out) if sigmoid else np.maximum(out, 0)
        if NETS[name].get("use_dropout"):
            out = out * (1 - NETS[name].get("dropout_ration", 0.5))
    np.testing.assert_allclose(net.predict(x), out @ p["W3"] + p["b3"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("t", [np.arange(7) % 3, np.eye(3)[np.arange(7) % 3]], ids=["labels", "one-hot"])
@every_net
def test_loss_is_cross_entropy_and_weight_decay(engine, name, t):
    net, (x, labels) = net_of(engine, name), batch()
    y = reference.softmax(net.predict(x))
    decay = net.weight_decay_lambda / 2 * sum(np.sum(net.params[key] ** 2) for key in ("W1", "W2", "W3"))
    expected = -np.mean(np.log(y[np.arange(7), labels] + 1e-7)) + decay
    np.testing.assert_allclose(net.loss(x, t), expected, rtol=1e-12)
    np.testing.assert_allclose(net.last_layer.y, y, rtol=1e-12)


@every_net
def test_accuracy(engine, name):
    net, (x, _) = net_of(engine, name), batch()
    right = net.predict(x).argmax(axis=1)
    half = np.where(np.arange(7) < 3, right, (right + 1) % 3)
    for form in (np.asarray, np.uint8, lambda labels: np.eye(3)[labels]):
        assert net.accuracy(x, form(right)) == 1.0
        assert net.accuracy(x, form(half)) == 3 / 7
    assert type(net.accuracy(x, right)) is np.float64


@pytest.mark.parametrize("t", [np.arange(7) % 3, np.eye(3)[np.arange(7) % 3]], ids=["labels", "one-hot"])
@every_net
def test_gradient_is_that_of_the_loss(engine, name, t):
    net, (x, _) = net_of(engine, name), batch()
    np.random.seed(1)
    gradient = net.gradient(x, t)
    assert gradient.keys() == net.params.keys()

    def loss(_):
        np.random.seed(1)  # the same masks
        value, y = training_loss(net, x, t), net.last_layer.y[np.arange(7), np.arange(7) % 3]
        return value + np.mean(np.log(y + 1e-7) - np.log(y))  # the gradient leaves out the 1e-7

    for key, param in net.params.items():
        numerical = reference.numerical_gradient(loss, param, h=1e-5)
        assert gradient[key].shape == param.shape
        np.testing.assert_allclose(gradient[key], numerical, rtol=0, atol=2e-8, err_msg=key)


@pytest.mark.parametrize("name", [name for name in NETS if not NETS[name].get("use_dropout")])
def test_numerical_gradient_takes_the_steps_of_the_book(engine, name):
    net, (x, t) = net_of(engine, name), batch()
    numerical = net.numerical_gradient(x, t)
    assert numerical.keys() == net.params.keys()
    for key, param in net.params.items():
        expected = reference.numerical_gradient(lambda _: training_loss(net, x, t), param, h=1e-4)
        np.testing.assert_allclose(numerical[key], expected, rtol=0, atol=1e-9, err_msg=key)


def test_gradients_come_in_the_order_of_the_layers(engine):
    """As scripts print them."""
    net, (x, t) = net_of(engine, "MultiLayerNetExtend, batch normalization"), batch()
    keys = ["W1", "b1", "gamma1", "beta1", "W2", "b2", "gamma2", "beta2", "W3", "b3"]
    assert list(net.gradient(x, t)) == list(net.numerical_gradient(x, t)) == keys


@both_classes
def test_weight_decay_with_lambda_0_is_nan_where_weights_are_infinite(engine, cls):
    net, (x, t) = net_of(engine, cls), batch()
    x = np.abs(x)
    net.params["W1"][0, 0] = -np.inf  # relu makes 0 of it: the scores do not show it
    assert np.isfinite(net.predict(x)).all()
    with np.errstate(invalid="ignore"):
        assert np.isnan(net.loss(x, t))
        gradient = net.gradient(x, t)
    np.testing.assert_array_equal(np.argwhere(np.isnan(gradient["W1"])), [[0, 0]])
    assert all(np.isfinite(gradient[key]).all() for key in gradient if key != "W1")


@both_classes
def test_weights_may_be_assigned_to_layers(engine, cls):
    """As load_params of the book's nets does."""
    net, other, (x, t) = net_of(engine, cls), net_of(engine, cls, seed=9), batch()
    net.gradient(x, t)
    for key, param in other.params.items():
        net.params[key] = param
        setattr(net.layers[f"Affine{key[1:]}"], key[0], param)
    np.testing.assert_array_equal(net.predict(x), other.predict(x))
    gradient, expected = net.gradient(x, t), other.gradient(x, t)
    for key in expected:
        np.testing.assert_array_equal(gradient[key], expected[key])


@every_net
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_narrow_inputs_and_float64_weights_give_float64(engine, name, dtype):
    net, (x, t) = net_of(engine, name), batch()
    assert net.predict(x.astype(dtype)).dtype == np.float64
    assert {grad.dtype for grad in net.gradient(x.astype(dtype), t).values()} == {np.dtype(np.float64)}


@every_net
def test_float32_alone_stays_float32(engine, name):
    net, (x, t) = net_of(engine, name), batch()
    for layer in net.layers.values():
        for key in ("W", "b", "gamma", "beta"):
            if hasattr(layer, key):
                setattr(layer, key, getattr(layer, key).astype(np.float32))
    net.params = {key: getattr(layer, name) for key, name, layer in net._parameters()}
    x = x.astype(np.float32)
    assert net.predict(x).dtype == net.loss(x, t).dtype == np.float32
    assert {grad.dtype for grad in net.gradient(x, t).values()} == {np.dtype(np.float32)}


@every_net
def test_training_reduces_the_loss(engine, name):
    net, (x, _) = net_of(engine, name), batch(30)
    t, optimizer = x[:, :3].argmax(axis=1), engine.SGD(0.5)
    before = net.loss(x, t)
    for _ in range(100):
        optimizer.update(net.params, net.gradient(x, t))
    assert net.loss(x, t) < 0.8 * before


# --- Nets that behave in one way while they learn, and in another when they have -------------------


@pytest.mark.parametrize("name", [name for name in NETS if name.startswith("MultiLayerNetExtend,")])
def test_train_flg_reaches_the_layers(engine, name):
    """Off in predict, loss and accuracy, on in the gradients."""
    net, (x, t) = net_of(engine, name), batch()
    layers = [layer for key, layer in net.layers.items() if key.startswith(("BatchNorm", "Dropout"))]
    seen = []
    for layer in layers:
        layer.forward = lambda x, train_flg=True, forward=layer.forward: seen.append(train_flg) or forward(x, train_flg)
    for call, flag in [
        (lambda: net.predict(x), False),
        (lambda: net.loss(x, t), False),
        (lambda: net.accuracy(x, t), False),
        (lambda: net.predict(x, train_flg=True), True),
        (lambda: net.loss(x, t, train_flg=True), True),
        (lambda: net.gradient(x, t), True),
    ]:
        seen.clear()
        call()
        assert seen == [flag] * len(layers)


def test_numerical_gradient_learns_too(engine):
    """Each of its losses draws the masks anew, and moves the running statistics."""
    net, (x, t) = net_of(engine, "MultiLayerNetExtend, all", hidden=(2,)), batch()
    entries = sum(param.size for param in net.params.values())
    np.random.seed(4)
    for _ in range(2 * entries):
        np.random.rand(7, 2)
    after = np.random.rand()
    np.random.seed(4)
    net.numerical_gradient(x, t)
    assert np.random.rand() == after
    share = 1 - 0.9 ** (2 * entries)
    mean = (x @ net.params["W1"] + net.params["b1"]).mean(axis=0)
    np.testing.assert_allclose(net.layers["BatchNorm1"].running_mean, share * mean, rtol=1e-3)


@both_classes
def test_dropout_and_batch_normalization_of_your_own(engine, cls):
    """What stands under their names is called as they are, whatever it is."""
    net, (x, _) = net_of(engine, cls), batch()

    class Flag:
        def forward(self, x, train_flg="not told"):
            self.train_flg = train_flg
            return x

    net.layers["Dropout1"] = net.layers["Affine9"] = Flag()
    net.layers["Dropout1"] = Flag()
    net.predict(x)
    assert net.layers["Affine9"].train_flg == "not told"
    assert net.layers["Dropout1"].train_flg == ("not told" if cls == "MultiLayerNet" else False)


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("hidden", [[], [5], [6, 5], [4, 3, 5]], ids=str)
@pytest.mark.parametrize("decay", [0, 0.2])
def test_the_structured_numerical_gradient_is_the_plain_one(activation, hidden, decay):
    np.random.seed(3)
    net = zerodl_c.MultiLayerNet(4, hidden, 3, activation, weight_decay_lambda=decay)
    x, t = np.random.rand(6, 2, 2), np.arange(6) % 3
    assert net._is_as_made()
    got, expected = net.numerical_gradient(x, t), reference.MultiLayerNet.numerical_gradient(net, x, t)
    assert list(got) == list(expected)
    for key in got:
        np.testing.assert_allclose(got[key], expected[key], rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in NETS if not name.startswith("MultiLayerNetExtend,")])
@pytest.mark.parametrize("hidden", [[], [5], [6, 5]], ids=str)
@pytest.mark.parametrize("shape", [(7, 6), (7, 2, 3)], ids=str)
@pytest.mark.parametrize("dtypes", [("f8", "f8"), ("f4", "f4"), ("f4", "f8"), ("f2", "f4"), ("u1", "f8")], ids=str)
def test_after_a_gradient_the_layers_hold_what_they_would_have_kept(name, hidden, shape, dtypes):
    """The gradient is one call of C, which knows no layers."""
    nets = [net_of(engine, name, hidden) for engine in (zerodl_c, reference)]
    x, t = (3 * batch()[0]).reshape(shape).astype(dtypes[0]), np.arange(7) % 3
    for net in nets:
        for key, attribute, layer in net._parameters():
            net.params[key] = net.params[key].astype(dtypes[1])
            setattr(layer, attribute, net.params[key])
        net.gradient(x, t)
    tolerance = 1e-13 if "f8" in dtypes else 1e-5
    for ours, theirs in zip(*([*net.layers.values(), net.last_layer] for net in nets), strict=True):
        assert vars(ours).keys() == vars(theirs).keys()
        for key, value in vars(theirs).items():
            got = getattr(ours, key)
            assert np.shape(got) == np.shape(value), key
            np.testing.assert_allclose(np.asarray(got, float), np.asarray(value, float), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtypes", [("f4", "f8"), ("f4", "f4"), ("f8", "f4")], ids=str)
def test_targets_that_are_wider_than_the_net(dtypes):
    """The way there is in the net's dtype, the way back in that of y - t."""
    nets = [net_of(engine, "MultiLayerNet") for engine in (zerodl_c, reference)]
    x, t = batch()[0].astype(dtypes[0]), np.eye(3)[batch()[1]].astype(dtypes[1])
    for net in nets:
        for key, attribute, layer in net._parameters():
            net.params[key] = net.params[key].astype("f4")
            setattr(layer, attribute, net.params[key])
    grads, expected = (net.gradient(x, t) for net in nets)
    for key, grad in expected.items():
        assert grads[key].dtype == grad.dtype
        np.testing.assert_allclose(grads[key], grad, rtol=1e-5, atol=1e-6)
    assert nets[0].last_layer.y.dtype == nets[1].last_layer.y.dtype


@pytest.mark.filterwarnings("ignore:params hold other arrays")
def test_a_net_that_was_changed_is_differentiated_as_it_is():
    class Doubled(zerodl_c.Affine):
        def forward(self, x):
            return 2 * super().forward(x)

        def backward(self, dout):
            return super().backward(2 * dout)

    class Bounded(zerodl_c.MultiLayerNet):
        def predict(self, x):
            return np.tanh(super().predict(x))

    def replaced(net):
        net.layers["Affine2"].W = net.params["W2"].copy()

    def other_activation(net):
        net.layers["Activation_function1"] = zerodl_c.Tanh()

    def other_affine(net):
        net.layers["Affine2"] = Doubled(net.params["W2"], net.params["b2"])

    def other_order(net):
        keys = "Affine2", "Activation_function1", "Affine1", "Activation_function2", "Affine3"
        net.layers = {key: net.layers[key] for key in keys}

    def own_method(net):
        layer = net.layers["Affine2"]
        layer.forward = lambda x: 2 * zerodl_c.Affine.forward(layer, x)
        layer.backward = lambda dout: zerodl_c.Affine.backward(layer, 2 * dout)

    def own_first_backward(net):
        layer = net.layers["Affine1"]
        layer.forward = lambda x: 2 * zerodl_c.Affine.forward(layer, x)
        layer.backward = lambda dout: zerodl_c.Affine.backward(layer, 2 * dout)

    def own_predict(net):
        net.predict = lambda x: 1.0 * zerodl_c.MultiLayerNet.predict(net, x)

    def without(net):
        del net.layers["Activation_function2"]

    x, t = np.random.default_rng(0).random((6, 4)), np.arange(6) % 3
    for kind, change in (
        (Bounded, lambda net: None),
        (zerodl_c.MultiLayerNet, replaced),
        (zerodl_c.MultiLayerNet, other_activation),
        (zerodl_c.MultiLayerNet, other_affine),
        (zerodl_c.MultiLayerNet, other_order),
        (zerodl_c.MultiLayerNet, own_method),
        (zerodl_c.MultiLayerNet, own_first_backward),
        (zerodl_c.MultiLayerNet, own_predict),
        (zerodl_c.MultiLayerNet, without),
    ):
        np.random.seed(4)
        net = kind(4, [4, 4], 3, weight_decay_lambda=0.1)
        change(net)
        assert not net._is_as_made()
        got, expected = net.numerical_gradient(x, t), reference.MultiLayerNet.numerical_gradient(net, x, t)
        grads = net.gradient(x, t)
        for key in got:
            np.testing.assert_array_equal(got[key], expected[key])
            # Backpropagation knows nothing of a net's own tanh, and differences nothing of a W that `params` has not.
            if kind is not Bounded and change is not replaced:
                np.testing.assert_allclose(grads[key], expected[key], rtol=1e-4, atol=1e-5)  # of 1e-7 / y


# --- What a program puts in the place of a method, a layer, or a parameter ---------------------------


def leaky(self, x):
    self.mask = np.asarray(x) <= 0
    return np.where(self.mask, 0.1 * np.asarray(x), x)


def leaky_backward(self, dout):
    return np.where(self.mask, 0.1 * dout, dout)


def test_a_layers_methods_may_be_replaced_in_its_class(engine, monkeypatch):
    x, t = batch()
    plain, net = net_of(engine, "MultiLayerNet"), net_of(engine, "MultiLayerNet")
    monkeypatch.setattr(engine.layers.Relu, "forward", leaky)
    monkeypatch.setattr(engine.layers.Relu, "backward", leaky_backward)
    loss, grads, differences = net.loss(x, t), net.gradient(x, t), net.numerical_gradient(x, t)
    monkeypatch.undo()
    assert loss != plain.loss(x, t)
    for key, grad in grads.items():
        np.testing.assert_allclose(grad, differences[key], rtol=1e-4, atol=1e-6)
        assert not np.allclose(grad, plain.gradient(x, t)[key])


@pytest.mark.parametrize("where", ["object", "class"])
def test_a_nets_loss_may_be_replaced(engine, where, monkeypatch):
    x, t = batch()
    net, original = net_of(engine, "MultiLayerNet"), engine.MultiLayerNet.loss
    expected = net.numerical_gradient(x, t)

    def loss(self, x, t):
        return 3 * original(self, x, t)

    if where == "object":
        net.loss = loss.__get__(net)
    else:
        monkeypatch.setattr(engine.MultiLayerNet, "loss", loss)
    for key, grad in net.numerical_gradient(x, t).items():
        np.testing.assert_allclose(grad, 3 * expected[key], rtol=1e-6, atol=1e-9)


def test_a_function_of_the_layers_may_be_replaced(engine, monkeypatch):
    x, t = batch()
    net = net_of(engine, "MultiLayerNet, sigmoid")
    monkeypatch.setattr(engine.functions, "sigmoid", lambda x: 0.5 * np.tanh(x))
    monkeypatch.setattr(engine.functions, "sigmoid_backward", lambda dout, y: dout * (0.5 - 2 * y**2))
    grads, differences = net.gradient(x, t), net.numerical_gradient(x, t)
    for key, grad in grads.items():
        np.testing.assert_allclose(grad, differences[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tied", [False, True], ids=["layers", "layers and parameters"])
@pytest.mark.parametrize("name", ["MultiLayerNet", "MultiLayerNet, sigmoid", "MultiLayerNet, weight decay"])
def test_a_layer_in_two_places_has_the_sum_of_both(engine, name, tied):
    """Its weight changes the loss in both: so central differences say, and so it is."""
    net, (x, t) = net_of(engine, name, hidden=(5, 5, 5)), batch()
    net.layers["Affine3"] = net.layers["Affine2"]
    net.layers["Activation_function3"] = net.layers["Activation_function1"]
    if tied:
        net.params["W3"], net.params["b3"] = net.params["W2"], net.params["b2"]
    differences = net.numerical_gradient(x, t)
    grads = net.gradient(x, t)
    for key in ("W1", "b1", "W2", "b2", "W4", "b4") + (("W3", "b3") if tied else ()):
        np.testing.assert_allclose(grads[key], differences[key], rtol=1e-5, atol=1e-6, err_msg=key)
    np.testing.assert_array_equal(grads["b3"], grads["b2"])
    assert net.gradient(x, t)["W2"].tobytes() == grads["W2"].tobytes()


def test_a_layer_in_a_place_of_another_name(engine):
    net, (x, t) = net_of(engine, "MultiLayerNet", hidden=(5, 5)), batch()
    net.layers.update(Again=net.layers["Affine2"], Affine3=net.layers.pop("Affine3"))
    differences = net.numerical_gradient(x, t)
    for key, grad in net.gradient(x, t).items():
        np.testing.assert_allclose(grad, differences[key], rtol=1e-5, atol=1e-6, err_msg=key)


def test_a_batch_normalization_in_two_places(engine):
    net, (x, t) = net_of(engine, "MultiLayerNetExtend, batch normalization", hidden=(5, 5)), batch()
    net.layers["BatchNorm2"] = net.layers["BatchNorm1"]
    net.params["gamma2"], net.params["beta2"] = net.params["gamma1"], net.params["beta1"]
    grads, differences = net.gradient(x, t), net.numerical_gradient(x, t)
    for key, grad in grads.items():
        np.testing.assert_allclose(grad, differences[key], rtol=1e-5, atol=1e-6, err_msg=key)
    assert net.layers["BatchNorm1"].running_mean is not None


USES = {
    "predict": lambda net, x, t: net.predict(x),
    "loss": lambda net, x, t: net.loss(x, t),
    "accuracy": lambda net, x, t: net.accuracy(x, t),
    "gradient": lambda net, x, t: net.gradient(x, t),
    "numerical_gradient": lambda net, x, t: net.numerical_gradient(x, t),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("change", ["one", "all", "another shape"])
@both_classes
def test_params_that_the_layers_do_not_use_are_warned_of_once(engine, cls, change, use):
    net, (x, t) = net_of(engine, cls), batch()
    expected = net.predict(x)
    if change == "all":
        net.params = {key: param.copy() for key, param in net.params.items()}
    else:
        net.params["W2"] = np.ones((5, 4) if change == "one" else (1, 4))
    with pytest.warns(UserWarning, match=r'than the layers: .*W2.*net\.params\["W\d"\]\[\.\.\.\] = ') as seen:
        USES[use](net, x, t)
    assert len(seen) == 1
    np.testing.assert_array_equal(net.predict(x), expected)  # the layers do not follow, as in the book
    for other in USES.values():
        other(net, x, t)  # without another warning, which would be an error
    net.params["W1"] = net.params["W1"].copy()
    net.gradient(x, t)


def test_which_weight_decays_where_params_hold_another(engine):
    """As in the book: that of the layer in MultiLayerNet, that of `params` in MultiLayerNetExtend."""
    x, t = batch()
    for cls, decayed in (("MultiLayerNet", 0), ("MultiLayerNetExtend", 1)):
        net = net_of(engine, cls)
        dW = net.gradient(x, t)["W2"]
        net.params["W2"], net.weight_decay_lambda = net.params["W2"] + 1, 0.5
        weights = net.layers["Affine2"].W, net.params["W2"]
        with pytest.warns(UserWarning, match="params hold other arrays"):
            grad = net.gradient(x, t)["W2"]
        np.testing.assert_allclose(grad, dW + 0.5 * weights[decayed], rtol=1e-13)


def test_neither_net_is_the_others_subclass(engine, monkeypatch):
    """As in the book: a script may tell them apart by isinstance, or replace a method in one of them."""
    net, (x, t) = net_of(engine, "MultiLayerNetExtend"), batch()
    accuracy, grads = net.accuracy(x, t), net.gradient(x, t)
    for name in ("predict", "loss", "accuracy", "gradient", "numerical_gradient"):
        monkeypatch.setattr(engine.MultiLayerNet, name, lambda *_: 42)
    assert net.accuracy(x, t) == accuracy
    assert {key: grad.tobytes() for key, grad in net.gradient(x, t).items()} == {
        key: grad.tobytes() for key, grad in grads.items()
    }
    assert not isinstance(net, engine.MultiLayerNet)
    assert not isinstance(net_of(engine, "MultiLayerNet"), engine.MultiLayerNetExtend)


@every_net
def test_changes_that_reach_the_layers_are_not_warned_of(engine, name):
    net, (x, t) = net_of(engine, name), batch()
    before = net.predict(x)
    net.params["W1"][...] *= 2
    net.params["b2"] += 1
    assert not np.array_equal(net.predict(x), before)
    for layer in (net.layers["Affine1"], net.layers["Affine3"]):
        layer.W = layer.W / 3
    net.gradient(x, t)
    net.params["W1"] = net.layers["Affine1"].W
    net.params["W3"] = net.layers["Affine3"].W = np.ones((4, 3))
    for use in USES.values():
        use(net, x, t)
    again = pickle.loads(pickle.dumps(net))
    for use in USES.values():
        use(again, x, t)
        use(copy.deepcopy(net), x, t)


# --- What scripts do with a net's layers -------------------------------------------------------------


def test_layers_keep_an_order_that_scripts_may_change(engine):
    np.random.seed(0)
    x, t = normal((5, 3), np.float64), np.array([0, 1, 1, 0, 1])
    net = engine.MultiLayerNet(3, [4, 4], 2)
    net.layers.move_to_end("Activation_function1", last=False)
    W1, b1, W2, b2, W3, b3 = net.params.values()
    b1 += 0.1, 0.2, 0.3, 0.4  # else the second relu gets 0 itself, where it has no slope
    hidden = reference.relu((reference.relu(x) @ W1 + b1) @ W2 + b2)
    np.testing.assert_allclose(net.predict(x), hidden @ W3 + b3, rtol=1e-12)
    grads, expected = net.gradient(x, t), net.numerical_gradient(x, t)
    for key, grad in grads.items():
        np.testing.assert_allclose(grad, expected[key], rtol=1e-4, atol=1e-6, err_msg=key)
    assert net.layers.popitem()[0] == "Affine3"
    np.testing.assert_allclose(net.predict(x), hidden, rtol=1e-12)


def test_a_layer_with_dropout_in_its_name_learns(engine):
    """As in the book, which looks for the word anywhere in a layer's name."""
    np.random.seed(0)
    net, x = engine.MultiLayerNetExtend(3, [4], 2), normal((5, 3), np.float64)
    net.layers["MyDropout"] = engine.Dropout(0.5)
    assert (net.predict(x, train_flg=True) == 0).any()
    scores = net.predict(x)
    del net.layers["MyDropout"]
    np.testing.assert_array_equal(scores, 0.5 * net.predict(x))


def test_one_array_in_two_layers_changes_both(engine):
    np.random.seed(0)
    net, x, t = engine.MultiLayerNet(4, [4], 4), normal((6, 4), np.float64), np.array([0, 1, 2, 3, 0, 1])
    net.params["W2"] = net.layers["Affine2"].W = net.params["W1"]
    W, shared = net.params["W1"], []
    for h in (1e-4, -1e-4):
        W[0, 0] += h
        shared.append(net.loss(x, t))
        W[0, 0] -= h
    grads = net.numerical_gradient(x, t)
    for key in ("W1", "W2"):
        np.testing.assert_allclose(grads[key][0, 0], (shared[0] - shared[1]) / 2e-4, rtol=1e-8)


@pytest.mark.parametrize("method", ["loss", "predict"])
def test_a_layer_in_two_places_of_a_net_that_knows_itself_by_name(engine, method):
    np.random.seed(0)
    net, x, t = engine.MultiLayerNet(4, [4, 4], 3), normal((6, 4), np.float64), np.array([0, 1, 2, 0, 1, 2])
    net.layers["Activation_function2"] = net.layers["Activation_function1"]
    expected, original = net.gradient(x, t), getattr(type(net), method)
    setattr(net, method, lambda *arguments: original(net, *arguments))
    for key, grad in net.gradient(x, t).items():
        np.testing.assert_array_equal(grad, expected[key], err_msg=key)


def test_to_a_predict_of_its_own_a_layer_in_two_places_is_that_layer(engine):
    class Own(engine.MultiLayerNet):
        def predict(self, x):
            for layer in self.layers.values():
                x = layer.forward(x)
                if isinstance(layer, engine.Affine):
                    x = x + 0.1 * np.abs(layer.W).max()
            return x

    np.random.seed(0)
    net, x, t = Own(4, [4, 4], 3), normal((6, 4), np.float64), np.array([0, 1, 2, 0, 1, 2])
    losses = [net.loss(x, t)]
    net.layers["Activation_function2"] = net.layers["Activation_function1"]
    net.gradient(x, t)
    losses.append(net.last_layer.loss)
    assert losses[0] == losses[1]


@pytest.mark.parametrize("method", ["loss", "gradient", "numerical_gradient", "accuracy"])
def test_the_warning_of_params_names_the_scripts_line(engine, method):
    net = engine.MultiLayerNet(4, [3], 3)
    net.params["W1"] = np.ones((4, 3))
    with pytest.warns(UserWarning, match="other arrays than the layers") as record:
        getattr(net, method)(np.ones((2, 4)), np.array([0, 1]))
    assert [warning.filename for warning in record] == [__file__]
