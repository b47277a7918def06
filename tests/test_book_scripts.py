"""The book's scripts: what they rely on in every layer and net, though nobody wrote it down, and whole scripts.

More of what they rely on is where it belongs: strided `dout` and the dtypes of layers in test_layers, weight decay with
lambda 0 in test_multi_layer_net, plain floats in test_optimizer, what `import *` brings in test_swap.
"""

import copy
import functools
import importlib
import inspect
import os
import pickle
import subprocess
import sys
import types
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest

import zerodl_c
from zerodl_c import reference

NETS = {
    "TwoLayerNet": ("TwoLayerNet", {"hidden_size": 5}),
    "MultiLayerNet": ("MultiLayerNet", {"hidden_size_list": [5, 4], "weight_decay_lambda": 0.1}),
    "sigmoid": ("MultiLayerNet", {"hidden_size_list": [5], "activation": "sigmoid"}),
    "no hidden layer": ("MultiLayerNet", {"hidden_size_list": []}),
    "batch normalization": ("MultiLayerNetExtend", {"hidden_size_list": [5, 4], "use_batchnorm": True}),
    "dropout": ("MultiLayerNetExtend", {"hidden_size_list": [5, 4], "use_dropout": True, "dropout_ration": 0.3}),
}
LAYER_OF = {"W": "Affine", "b": "Affine", "gamma": "BatchNorm", "beta": "BatchNorm"}
every_net = pytest.mark.parametrize("name", NETS)

X = np.random.RandomState(0).randn(7, 6)
T = np.arange(7) % 3

# A layer with its parameters' names, and the shape of its input.
LAYERS = {
    "Relu": (lambda of: of.Relu(), (), (4, 3)),
    "Sigmoid": (lambda of: of.Sigmoid(), (), (4, 3)),
    "Tanh": (lambda of: of.Tanh(), (), (4, 3)),
    "Affine": (lambda of: of.Affine(np.ones((3, 2)), np.ones(2)), ("W", "b"), (4, 3)),
    "Dropout": (lambda of: of.Dropout(0.3), (), (4, 3)),
    "BatchNormalization": (lambda of: of.BatchNormalization(np.ones(3), np.ones(3)), ("gamma", "beta"), (4, 3)),
    "Convolution": (lambda of: of.Convolution(np.ones((2, 3, 2, 2)), np.ones(2), 1, 1), ("W", "b"), (2, 3, 5, 5)),
    "Pooling": (lambda of: of.Pooling(2, 2), (), (2, 3, 4, 4)),
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def net_of(engine, name, seed=1):
    kind, options = NETS[name]
    np.random.seed(seed)
    net = getattr(engine, kind)(input_size=6, output_size=3, weight_init_std=0.5, **options)
    for param in net.params.values():
        param += 0.1 * np.random.randn(*param.shape)
    return net


def layer_of(engine, name, seed=1):
    make, names, shape = LAYERS[name]
    layer, random = make(engine), np.random.RandomState(seed)
    for key in names:
        setattr(layer, key, random.randn(*getattr(layer, key).shape))
    return layer, random.randn(*shape)


def results(net, x=X, t=T):
    """What a net computes, as a script asks for it, from one seed."""
    np.random.seed(9)
    found = {"predict": net.predict(x), "loss": net.loss(x, t), "accuracy": net.accuracy(x, t)}
    found |= {f"gradient {key}": grad for key, grad in net.gradient(x, t).items()}
    np.random.seed(9)
    return found | {f"numerical {key}": grad for key, grad in net.numerical_gradient(x[:2], t[:2]).items()}


def passes(layer, x, names=()):
    """What a layer computes, forward and back, from one seed; its parameters' gradients, too."""
    np.random.seed(9)
    out = layer.forward(x)
    dx = layer.backward(np.cos(np.arange(float(out.size))).reshape(out.shape).astype(out.dtype))
    return {"out": out, "dx": dx, **{key: getattr(layer, f"d{key}") for key in names}}


def assert_same(got, expected, rtol=0.0, atol=0.0):
    assert got.keys() == expected.keys()
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=rtol, atol=atol, err_msg=key)


def set_parameters(net, values, how):
    """Change a net's parameters, as optimizers do or as load_params does."""
    for key, value in values.items():
        if how == "in place":
            net.params[key][...] = value
            continue
        net.params[key] = value.copy()
        if hasattr(net, "layers"):
            setattr(net.layers[f"{LAYER_OF[key[:-1]]}{key[-1]}"], key[:-1], net.params[key])


# --- Parameters change in place, and by assignment -------------------------------------------------


@every_net
@pytest.mark.parametrize("how", ["in place", "assigned"])
@pytest.mark.parametrize("call", ["nothing", "predict", "loss", "accuracy", "gradient", "numerical_gradient"])
def test_nets_compute_with_the_parameters_of_now_after_every_call(engine, name, how, call):
    net, other, twin = net_of(engine, name), net_of(engine, name, seed=2), net_of(reference, name)
    if call != "nothing":
        getattr(net, call)(*[X, T][: 1 if call == "predict" else 2])
    set_parameters(net, other.params, how)
    set_parameters(twin, other.params, "assigned")
    for key, layer in getattr(net, "layers", {}).items():
        if key.startswith("BatchNorm"):  # the call moved them
            twin.layers[key].running_mean, twin.layers[key].running_var = layer.running_mean, layer.running_var
    got, expected = results(net), results(twin)
    assert_same(got, expected, rtol=1e-9, atol=1e-9)


@every_net
def test_nets_compute_with_what_an_optimizer_left(engine, name):
    net, twin = net_of(engine, name), net_of(reference, name)
    for of, optimizer in ((net, engine.Adam(0.1)), (twin, reference.Adam(0.1))):
        np.random.seed(3)
        for _ in range(3):
            optimizer.update(of.params, of.gradient(X, T))
            of.predict(X)
    assert_same(results(net), results(twin), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", [name for name in LAYERS if LAYERS[name][1]])
def test_layers_go_back_by_the_parameters_of_now(engine, name):
    """Changed between forward and backward: nothing of a weight is kept from the one for the other."""
    layer, x = layer_of(engine, name)
    twin, _ = layer_of(reference, name)
    for of in (layer, twin):
        of.forward(x)
        for key in LAYERS[name][1]:
            getattr(of, key)[...] *= -2
    out = twin.forward(x) if name != "BatchNormalization" else None  # whose statistics would move
    dout = np.ones(x.shape if out is None else out.shape)
    np.testing.assert_allclose(layer.backward(dout.copy()), twin.backward(dout.copy()), rtol=1e-12, atol=1e-12)


# --- Dtypes ----------------------------------------------------------------------------------------


@every_net
def test_half_precision_values_in_float64_parameters(engine, name):
    """As ch08 does: param[...] = param.astype(np.float16), and x itself in float16."""
    net = net_of(engine, name)
    net.gradient(X, T)
    for param in net.params.values():
        param[...] = param.astype(np.float16)
    half = X.astype(np.float16)
    got, expected = results(copy.deepcopy(net), half), results(net, half.astype(np.float64))
    assert_same(got, expected, rtol=1e-9, atol=1e-9)
    assert {np.asarray(value).dtype for value in got.values()} == {np.dtype(np.float64)}


@every_net
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_whole_nets_in_another_dtype(engine, name, dtype):
    net = net_of(engine, name)
    net.gradient(X, T)
    narrow = copy.deepcopy(net)
    set_parameters(narrow, {key: param.astype(dtype) for key, param in net.params.items()}, "assigned")
    set_parameters(net, {key: param.astype(dtype).astype(np.float64) for key, param in net.params.items()}, "in place")
    x = X.astype(dtype)
    for call in ("predict", "loss", "gradient"):
        np.random.seed(9)
        got = getattr(narrow, call)(*[x, T][: 1 if call == "predict" else 2])
        np.random.seed(9)
        expected = getattr(net, call)(*[x.astype(np.float64), T][: 1 if call == "predict" else 2])
        for key in expected if call == "gradient" else [...]:
            assert got[key].dtype == dtype, (call, key)
            tolerance = 30 * np.finfo(dtype).eps
            np.testing.assert_allclose(got[key], expected[key], rtol=tolerance, atol=tolerance)


def test_float32_weights_from_a_pickle_keep_scripts_in_float32(engine, tmp_path):
    """As ch03's sample_weight.pkl, of one image and of a batch; np.dot is the script's own."""
    random = np.random.RandomState(0)
    weights = {"W1": random.randn(6, 5), "b1": random.randn(5), "W2": random.randn(5, 3), "b2": random.randn(3)}
    weights = {key: value.astype(np.float32) for key, value in weights.items()}
    (tmp_path / "weights.pkl").write_bytes(pickle.dumps(weights))
    w = pickle.loads((tmp_path / "weights.pkl").read_bytes())
    for x in (X[0].astype(np.float32), X.astype(np.float32)):
        y = engine.softmax(np.dot(engine.sigmoid(np.dot(x, w["W1"]) + w["b1"]), w["W2"]) + w["b2"])
        assert y.dtype == np.float32 and y.shape == (*x.shape[:-1], 3)
        exact = {key: value.astype(np.float64) for key, value in w.items()}
        z = 1 / (1 + np.exp(-(x.astype(np.float64) @ exact["W1"] + exact["b1"])))
        scores = np.exp(z @ exact["W2"] + exact["b2"])
        np.testing.assert_allclose(y, scores / scores.sum(axis=-1, keepdims=True), rtol=1e-5)


# --- Random draws ----------------------------------------------------------------------------------


def state():
    return np.random.get_state()[1:3]


@pytest.mark.parametrize("cls", ["MultiLayerNet", "MultiLayerNetExtend"])
def test_a_net_draws_its_weights_and_then_the_masks_of_dropout(engine, cls):
    options = {"use_dropout": True, "use_batchnorm": True} if cls == "MultiLayerNetExtend" else {}
    np.random.seed(5)
    net = getattr(engine, cls)(6, [5, 4], 3, **options)
    net.predict(X), net.loss(X, T), net.accuracy(X, T), net.gradient(X, T)
    after = state()
    np.random.seed(5)
    for shape in ((6, 5), (5, 4), (4, 3)):
        np.random.randn(*shape)
    if options:  # one pass to learn from: that of the gradient
        masks = [np.random.rand(7, width) > 0.5 for width in (5, 4)]
        for i, mask in enumerate(masks, 1):
            np.testing.assert_array_equal(net.layers[f"Dropout{i}"].mask, mask)
    np.testing.assert_array_equal(after[0], state()[0])
    assert after[1] == state()[1]


@every_layer
def test_only_dropout_draws(engine, name):
    layer, x = layer_of(engine, name)
    np.random.seed(5)
    passes(layer, x)  # seeds 9
    after = state()
    np.random.seed(9)
    if name == "Dropout":
        np.random.rand(*x.shape)
    np.testing.assert_array_equal(after[0], state()[0])
    assert after[1] == state()[1]


def test_a_trainer_draws_a_batch_for_each_step(engine):
    net = net_of(engine, "MultiLayerNet")
    np.random.seed(5)
    engine.Trainer(net, X, T, X, T, epochs=2, mini_batch_size=3, verbose=False).train()
    after = state()
    np.random.seed(5)
    for _ in range(4):  # 2 epochs of 7 / 3 steps
        np.random.choice(7, 3)
    np.testing.assert_array_equal(after[0], state()[0])
    assert after[1] == state()[1]


# --- Nan, labels, names ----------------------------------------------------------------------------


@every_net
def test_nan_goes_through(engine, name):
    net, x = net_of(engine, name), X.copy()
    x[1, 2] = np.nan
    assert np.isnan(net.predict(x)[1]).all() and np.isnan(net.loss(x, T))
    np.random.seed(9)
    gradient = net.gradient(x, T)
    rows = np.isnan(gradient["W1"]).any(axis=1)
    assert rows[2] and np.isnan(gradient["b1"]).any()
    net.params["W1"][0, 0] = np.nan
    assert np.isnan(net.loss(X, T))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_nan_goes_through_relu_and_back(engine, dtype):
    """Its mask is x <= 0, and not what is left of x > 0."""
    layer = engine.Relu()
    np.testing.assert_array_equal(layer.forward(np.array([-1, 0, np.nan, 2], dtype)), [0, 0, np.nan, 2])
    np.testing.assert_array_equal(layer.mask, [True, True, False, False])
    np.testing.assert_array_equal(layer.backward(np.ones(4, dtype)), [0, 0, 1, 1])


@every_net
@pytest.mark.parametrize("form", [np.uint8, np.int32, np.eye(3)[T].astype(bool), np.eye(3, dtype=np.uint8)[T]], ids=str)
def test_labels_of_every_form(engine, name, form):
    t = form if isinstance(form, np.ndarray) else T.astype(form)
    before = t.copy()
    got, expected = results(net_of(engine, name), t=t), results(net_of(engine, name))
    assert_same(got, expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(t, before)


@pytest.mark.parametrize("name", [name for name in NETS if name != "TwoLayerNet"])  # the book's takes no such t
def test_one_label_of_shape_1_by_1(engine, name):
    """As ch07/gradient_check has it."""
    got, expected = ({}, {})
    for found, t in ((got, np.array([[1]])), (expected, np.array([1]))):
        net = net_of(engine, name)
        np.random.seed(9)
        found["loss"] = net.loss(X[:1], t)
        found |= net.gradient(X[:1], t)
        np.random.seed(9)
        found |= {f"numerical {key}": grad for key, grad in net.numerical_gradient(X[:1], t).items()}
    assert_same(got, expected)


@pytest.mark.parametrize("labels", [np.array([[1]]), np.array([1], np.uint8), np.array([[0, 1, 0]])], ids=str)
def test_cross_entropy_of_one_sample(engine, labels):
    y = np.array([[0.2, 0.5, 0.3]])
    assert engine.cross_entropy_error(y, labels) == pytest.approx(-np.log(0.5 + 1e-7), rel=1e-15)
    assert engine.softmax_loss(np.log(y), labels) == pytest.approx(-np.log(0.5 + 1e-7), rel=1e-14)


# The parameters of what the book has, by their names and in their sequence; ours may have more.
PARAMETERS = {
    "sigmoid": "x", "relu": "x", "softmax": "x", "sum_squared_error": "y t", "cross_entropy_error": "y t",
    "softmax_loss": "X t", "numerical_gradient": "f x", "numerical_gradient_2d": "f X",
    "Affine": "W b", "Affine.forward": "self x", "Affine.backward": "self dout",
    "Dropout": "dropout_ratio", "Dropout.forward": "self x train_flg", "SoftmaxWithLoss.forward": "self x t",
    "SoftmaxWithLoss.backward": "self dout", "Convolution": "W b stride pad", "Pooling": "pool_h pool_w stride pad",
    "BatchNormalization": "gamma beta momentum running_mean running_var",
    "BatchNormalization.forward": "self x train_flg",
    "SGD": "lr", "Momentum": "lr momentum", "Nesterov": "lr momentum", "AdaGrad": "lr", "RMSprop": "lr decay_rate",
    "Adam": "lr beta1 beta2", "Adam.update": "self params grads",
    "MultiLayerNet": "input_size hidden_size_list output_size activation weight_init_std weight_decay_lambda",
    "MultiLayerNet.loss": "self x t", "MultiLayerNet.gradient": "self x t",
    "MultiLayerNetExtend": "input_size hidden_size_list output_size activation weight_init_std weight_decay_lambda "
    "use_dropout dropout_ration use_batchnorm",
    "MultiLayerNetExtend.predict": "self x train_flg", "MultiLayerNetExtend.loss": "self x t train_flg",
    "MultiLayerNetExtend.accuracy": "self x t", "MultiLayerNetExtend.gradient": "self x t",
    "Trainer": "network x_train t_train x_test t_test epochs mini_batch_size optimizer optimizer_param "
    "evaluate_sample_num_per_epoch verbose",
    "im2col": "input_data filter_h filter_w stride pad", "col2im": "col input_shape filter_h filter_w stride pad",
    "conv_output_size": "input_size filter_size stride pad", "smooth_curve": "x", "shuffle_dataset": "x t",
}  # fmt: skip


@pytest.mark.parametrize("name", PARAMETERS)
def test_arguments_go_by_the_books_names(engine, name):
    expected = PARAMETERS[name].split()
    parameters = inspect.signature(functools.reduce(getattr, name.split("."), engine)).parameters
    assert list(parameters)[: len(expected)] == expected
    assert all(p.default is not p.empty for p in list(parameters.values())[len(expected) :])


# --- Copies and pickles ----------------------------------------------------------------------------

DUPLICATES = {"deepcopy": copy.deepcopy, "pickle": lambda value: pickle.loads(pickle.dumps(value))}
every_duplicate = pytest.mark.parametrize("duplicate", DUPLICATES.values(), ids=DUPLICATES)


@every_duplicate
@every_net
def test_a_copy_of_a_net_is_a_net_of_its_own(engine, name, duplicate):
    net = net_of(engine, name)
    np.random.seed(9)
    net.gradient(X, T)
    twin, before = duplicate(net), {key: param.copy() for key, param in net.params.items()}
    assert type(twin) is type(net)
    engine.SGD(0.1).update(twin.params, twin.gradient(X, T))  # what the layers of the copy see
    assert_same(net.params, before)
    for key, param in twin.params.items():
        if hasattr(net, "layers"):
            assert getattr(twin.layers[f"{LAYER_OF[key[:-1]]}{key[-1]}"], key[:-1]) is param
    assert_same(results(duplicate(net)), results(net))


@every_duplicate
@every_layer
def test_a_copy_of_a_layer_goes_on_as_the_original_does(engine, name, duplicate):
    layer, x = layer_of(engine, name)
    names = LAYERS[name][1]
    out = layer.forward(x)
    twin, dout = duplicate(layer), np.ones(out.shape)
    np.testing.assert_array_equal(twin.backward(dout.copy()), layer.backward(dout.copy()))
    assert_same(passes(twin, x, names), passes(layer, x, names))
    for key in names:
        assert not np.shares_memory(getattr(twin, key), getattr(layer, key))


# What the book's objects hold: pickles of them hold these, under the names of the book's modules.
BOOKS = {
    "Relu": {"mask": None},
    "Sigmoid": {"out": None},
    "Affine": {"W": None, "b": None, "x": None, "original_x_shape": None, "dW": None, "db": None},
    "SoftmaxWithLoss": {"loss": None, "y": None, "t": None},
    "Dropout": {"dropout_ratio": 0.3, "mask": None},
    "BatchNormalization": {
        "gamma": None, "beta": None, "momentum": 0.9, "input_shape": None, "running_mean": None, "running_var": None,
        "batch_size": None, "xc": None, "std": None, "dgamma": None, "dbeta": None,
    },
    "Convolution": {
        "W": None, "b": None, "stride": 1, "pad": 1, "x": None, "col": None, "col_W": None, "dW": None, "db": None
    },
    "Pooling": {"pool_h": 2, "pool_w": 2, "stride": 2, "pad": 0, "x": None, "arg_max": None},
}  # fmt: skip


@pytest.fixture
def books(monkeypatch):
    """Pickles as scripts made them with the book's `common`: books(module, class name, attributes)."""

    def pickled(module, name, attributes):
        fullname = f"common.{module}"
        with monkeypatch.context() as patch:
            common, submodule = types.ModuleType("common"), types.ModuleType(fullname)
            patch.setitem(sys.modules, "common", common)
            patch.setitem(sys.modules, fullname, submodule)
            cls = type(name, (), {"__module__": fullname})
            setattr(submodule, name, cls)
            value = cls()
            vars(value).update(attributes)
            return pickle.dumps(value)

    yield pickled
    zerodl_c.uninstall()


@pytest.mark.parametrize("engine_name", ["c", "numpy"])
@pytest.mark.parametrize("name", BOOKS)
def test_layers_pickled_under_the_books_common_load_under_the_swap(books, name, engine_name):
    engine = {"c": zerodl_c, "numpy": reference}[engine_name]
    if name == "SoftmaxWithLoss":
        layer, x, names = engine.SoftmaxWithLoss(), X, ()
    else:
        (layer, x), names = layer_of(engine, name), LAYERS[name][1]
    data = books("layers", name, {**BOOKS[name], **{key: getattr(layer, key) for key in names}})
    zerodl_c.install(engine_name)
    loaded = pickle.loads(data)
    assert type(loaded) is getattr(engine, name)
    if name == "SoftmaxWithLoss":
        assert loaded.forward(x, T) == layer.forward(x, T)
        np.testing.assert_array_equal(loaded.backward(), layer.backward())
    else:
        assert_same(passes(loaded, x, names), passes(layer, x, names))


@pytest.mark.parametrize("engine_name", ["c", "numpy"])
def test_optimizers_pickled_under_the_books_common_go_on_under_the_swap(books, engine_name):
    m, v = {"W": np.full(3, 0.1)}, {"W": np.full(3, 0.2)}
    data = books("optimizer", "Adam", {"lr": 0.1, "beta1": 0.9, "beta2": 0.999, "iter": 3, "m": m, "v": v})
    zerodl_c.install(engine_name)
    optimizer, expected = pickle.loads(data), reference.Adam(0.1)
    expected.iter, expected.m, expected.v = 3, m, v
    params, twin = {"W": np.ones(3)}, {"W": np.ones(3)}
    optimizer.update(params, {"W": np.arange(3.0)})
    expected.update(twin, {"W": np.arange(3.0)})
    np.testing.assert_allclose(params["W"], twin["W"], rtol=1e-14)


@pytest.mark.parametrize("engine_name", ["c", "numpy"])
def test_what_was_pickled_under_the_swap_loads_without_it(engine_name):
    zerodl_c.install(engine_name)
    try:
        layers, nets = (importlib.import_module(f"common.{name}") for name in ("layers", "multi_layer_net_extend"))
        np.random.seed(0)
        net = nets.MultiLayerNetExtend(6, [5], 3, use_batchnorm=True)
        chain = OrderedDict(Affine1=layers.Affine(X.T[:, :2], np.zeros(2)), Relu1=layers.Relu())
        data = pickle.dumps((net, chain))
    finally:
        zerodl_c.uninstall()
    again, layers = pickle.loads(data)
    assert again.loss(X, T) == net.loss(X, T)
    for key, layer in layers.items():
        np.testing.assert_array_equal(layer.forward(X), chain[key].forward(X))


# --- Whole scripts ---------------------------------------------------------------------------------

# `scripts/chapter/*.py` are in the manner of the book's, and share `conv_net.py`. Each prints lines of losses, what
# came of them, and at the end the module of something of `common`. They run by `run`, by `install`, and by the hook.

CHAPTER = Path(__file__).parent / "scripts" / "chapter"
SCRIPTS = sorted(path.name for path in CHAPTER.glob("*.py") if path.name != "conv_net.py")
PATH = os.pathsep.join(map(os.path.abspath, filter(os.path.isdir, sys.path)))
BY_INSTALL = """
import runpy, sys, zerodl_c
zerodl_c.install(sys.argv[2])
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def started(elsewhere):
    """What a script prints: started(script, "run" or "install", engine)."""

    @functools.cache
    def start(script, way, engine):
        arguments = {
            "run": ["-m", "zerodl_c", "run", "--engine", engine, CHAPTER / script],
            "install": ["-c", BY_INSTALL, CHAPTER / script, engine],
        }
        folders = {"run": [], "install": [CHAPTER, CHAPTER.parent]}  # which `run` finds itself
        path = os.pathsep.join([*map(str, folders[way]), PATH])
        return printed([sys.executable, *arguments[way]], cwd=elsewhere, env={**os.environ, "PYTHONPATH": path})

    return start


def printed(command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_both_engines_print_the_same_losses(started, script):
    in_c, in_numpy = (started(script, "run", engine).splitlines() for engine in ("c", "numpy"))
    assert in_numpy[-1] == in_c[-1].replace("zerodl_c.", "zerodl_c.reference.") and "reference" not in in_c[-1]
    assert in_c[0].startswith("losses ") and len(in_c[0].split()) == 51
    assert len(in_c) == len(in_numpy)
    for line, expected in zip(in_c[:-1], in_numpy[:-1], strict=True):
        if line.startswith("losses "):
            values, wanted = (np.array(text.split()[1:], float) for text in (line, expected))
            assert np.isfinite(wanted).all()
            np.testing.assert_allclose(values, wanted, rtol=1e-10)
        else:
            assert line == expected


@pytest.mark.parametrize("engine", ["c", "numpy"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_install_gives_what_run_gives(started, script, engine):
    assert started(script, "install", engine) == started(script, "run", engine)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_variable_gives_what_run_gives(started, hooked, script):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = printed([hooked, script], cwd=CHAPTER, env={**environment, "ZERODL_SWAP": "1"})
    assert done == started(script, "run", "c")
