"""Nets that are kept in files: what is in one, what comes back, and files that hold no net."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
from arrays import normal

import zerodl_c
from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")
CONV = {"filter_num": 3, "filter_size": 3, "pad": 1, "stride": 2}


def sequential(engine):
    layers = [
        engine.Convolution(normal((2, 1, 3, 3), np.float32), normal((2,), np.float32, 1), stride=2, pad=1),
        engine.BatchNormalization(normal((32,), "f4"), normal((32,), "f4", 2), momentum=0.75),
        engine.Tanh(),
        engine.Pooling(2, 3, stride=1, pad=1),
        engine.Dropout(0.25),
        engine.Affine(normal((40, 5), "f4", 3), normal((5,), "f4", 4)),
        engine.Sigmoid(),
        engine.Affine(normal((5, 3), "f8", 5), normal((3,), "f8", 6)),
    ]
    return engine.Sequential(layers)


NETS = {
    "SimpleNet": lambda engine: engine.SimpleNet(),
    "TwoLayerNet": lambda engine: engine.TwoLayerNet(64, 5, 3, 0.5),
    "TwoLayerNet, float32": lambda engine: engine.TwoLayerNet(64, 5, 3, 0.5, dtype=np.float32),
    "MultiLayerNet": lambda engine: engine.MultiLayerNet(64, [5, 4], 3, "tanh", 0.3, np.float64(0.1)),
    "MultiLayerNet, no hidden layer": lambda engine: engine.MultiLayerNet(64, (), 3),
    "MultiLayerNetExtend": lambda engine: engine.MultiLayerNetExtend(
        64, np.array([5, 4]), 3, use_batchnorm=True, use_dropout=True, dropout_ration=0.2, weight_decay_lambda=0.1
    ),
    "SimpleConvNet": lambda engine: engine.SimpleConvNet((1, 8, 8), CONV, np.int64(5), 3, 0.5),
    "Sequential": sequential,
}
every_net = pytest.mark.parametrize("name", NETS)


def net_of(engine, name):
    """A net that has learned a little: its biases and running statistics are no longer what they were."""
    np.random.seed(1)
    net, (x, t) = NETS[name](engine), batch(name)
    if name != "SimpleNet":
        for _ in range(3):
            engine.SGD(0.1).update(net.params, net.gradient(x, t))
    return net


def batch(name):
    shape = (7, 2) if name == "SimpleNet" else (7, 1, 8, 8) if name in ("SimpleConvNet", "Sequential") else (7, 64)
    return normal(shape, np.float64, 9), np.arange(7) % 3


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.npz"


# --- What comes back -------------------------------------------------------------------------------


@every_net
def test_a_net_predicts_what_it_did_to_the_bit(engine, name, path):
    net, (x, t) = net_of(engine, name), batch(name)
    net.save(path)
    loaded = engine.load(path)
    assert type(loaded) is type(net)
    for method, arguments in {"predict": (x,), "predict_proba": (x,), "loss": (x, t)}.items():
        expected, got = (np.asarray(getattr(of, method)(*arguments)) for of in (net, loaded))
        assert got.dtype == expected.dtype
        assert got.tobytes() == expected.tobytes(), method
    assert repr(loaded) == repr(net)


@pytest.mark.parametrize("name", [name for name in NETS if name != "SimpleNet"])
def test_a_net_goes_on_learning_as_it_would_have(engine, name, path):
    net, (x, t) = net_of(engine, name), batch(name)
    net.save(path)
    loaded = engine.load(str(path))
    for of in (net, loaded):
        np.random.seed(3)  # for Dropout
        for _ in range(2):
            engine.SGD(0.1).update(of.params, of.gradient(x, t))
    assert [*loaded.params] == [*net.params]
    for key, param in net.params.items():
        assert loaded.params[key].tobytes() == param.tobytes(), key
        assert loaded.params[key].dtype == param.dtype
    assert loaded.predict(x).tobytes() == net.predict(x).tobytes()  # by running statistics that have moved


@pytest.mark.parametrize("name", ["MultiLayerNetExtend", "Sequential"])
def test_settings_and_running_statistics(engine, name, path):
    net = net_of(engine, name)
    net.save(path)
    loaded = engine.load(path)
    assert [*loaded.layers] == [*net.layers]
    for key, layer in net.layers.items():
        other = loaded.layers[key]
        assert type(other) is type(layer)
        for setting in ("dropout_ratio", "momentum", "stride", "pad", "pool_h", "pool_w"):
            assert getattr(other, setting, None) == getattr(layer, setting, None), (key, setting)
        if "BatchNorm" in key:
            assert other.running_mean.any()
            np.testing.assert_array_equal(other.running_mean, layer.running_mean)
            np.testing.assert_array_equal(other.running_var, layer.running_var)
    if name == "MultiLayerNetExtend":
        for attribute in ("input_size", "output_size", "hidden_layer_num", "weight_decay_lambda", "use_dropout"):
            assert getattr(loaded, attribute) == getattr(net, attribute)
        assert [*loaded.hidden_size_list] == [5, 4]


@every_net
def test_a_file_serves_both_engines(name, path):
    net, (x, _) = net_of(zerodl_c, name), batch(name)
    net.save(path)
    other = reference.load(path)
    assert type(other) is getattr(reference, type(net).__name__)
    np.testing.assert_allclose(other.predict(x), net.predict(x), rtol=1e-5, atol=1e-6)
    other.save(path)
    assert type(zerodl_c.load(path)) is type(net)


@every_net
def test_no_random_numbers_are_drawn(engine, name, path):
    net_of(engine, name).save(path)
    np.random.seed(0)
    after = np.random.rand()
    np.random.seed(0)
    engine.load(path)
    assert np.random.rand() == after


def test_batch_normalization_that_has_seen_nothing(engine, path):
    net = engine.MultiLayerNetExtend(4, [3], 2, use_batchnorm=True)
    net.save(path)
    assert engine.load(path).layers["BatchNorm1"].running_mean is None


def test_parameters_that_were_reordered_by_rows_or_columns(engine, path):
    net = engine.TwoLayerNet(64, 5, 3, 0.5)
    net.params["W1"] = np.asfortranarray(net.params["W1"])
    net.params["W2"] = np.repeat(net.params["W2"], 2, axis=1)[:, ::2]
    x, _ = batch("TwoLayerNet")
    net.save(path)
    assert engine.load(path).predict(x).tobytes() == net.predict(x).tobytes()


# --- The file --------------------------------------------------------------------------------------


def test_numpy_reads_the_parameters_without_pickle(path):
    net = net_of(zerodl_c, "MultiLayerNetExtend")
    net.save(path)
    with np.load(path, allow_pickle=False) as file:
        for key, param in net.params.items():
            np.testing.assert_array_equal(file[key], param)
        header = json.loads(file["zerodl_c"].item())
    assert (header["format"], header["net"]) == (1, "MultiLayerNetExtend")


def test_the_file_has_the_name_that_it_was_given(tmp_path):
    zerodl_c.SimpleNet().save(tmp_path / "net")
    assert os.listdir(tmp_path) == ["net"]
    assert zerodl_c.load(tmp_path / "net").W.shape == (2, 3)


def test_a_file_is_written_whole_or_not_at_all(path, monkeypatch):
    zerodl_c.SimpleNet().save(path)
    before = path.read_bytes()

    def fails(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fails)
    with pytest.raises(OSError, match="No space left"):
        zerodl_c.TwoLayerNet(2, 3, 3).save(path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_device():
    """It is no file in which zipfile could go back."""
    zerodl_c.SimpleNet().save(os.devnull)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe(path, tmp_path):
    net, pipe = zerodl_c.SimpleNet(), tmp_path / "pipe"
    os.mkfifo(pipe)
    end = os.open(pipe, os.O_RDWR)  # which waits for nobody
    try:
        net.save(pipe)
        path.write_bytes(os.read(end, 1 << 16))
    finally:
        os.close(end)
    assert zerodl_c.load(path).W.tobytes() == net.W.tobytes()
    assert pipe.is_fifo()


# --- What cannot be saved --------------------------------------------------------------------------


class Own(zerodl_c.TwoLayerNet):
    """A class of a script."""


class OwnLayer(zerodl_c.Relu):
    """Another."""


def refuses(net, path, error, message):
    with pytest.raises(error, match=message):
        net.save(path)
    assert not path.exists()


def test_classes_that_load_does_not_know(path):
    refuses(Own(2, 3, 3), path, TypeError, "only nets of zerodl_c's own classes can be saved, got one of Own")
    net = zerodl_c.MultiLayerNet(2, [3], 3)
    net.layers["Activation_function1"] = OwnLayer()
    message = "only layers of the engine's own classes can be saved, got Activation_function1 of OwnLayer"
    refuses(net, path, TypeError, message)


def test_params_that_are_not_those_of_the_layers(engine, path):
    net = engine.MultiLayerNet(2, [3], 3)
    net.params["W1"] = np.ones((2, 3))
    refuses(net, path, ValueError, "params hold another array than Affine1, whose W is none of them")
    net = engine.MultiLayerNet(2, [3], 3)
    net.params["W9"] = np.ones((2, 3))
    refuses(net, path, ValueError, "params hold an array that no layer has: W9")


@pytest.mark.parametrize("name", ["file", "zerodl_c", "W3", 3])
def test_params_that_a_net_without_layers_does_not_have(engine, path, name):
    """np.savez has an argument `file`, and the file a text `zerodl_c`."""
    net = engine.TwoLayerNet(2, 3, 3)
    net.params[name] = np.ones(3)
    refuses(net, path, ValueError, f"params must be W1, W2, b1, b2, got W1, b1, W2, b2, {name}")
    del net.params[name], net.params["W2"]
    refuses(net, path, ValueError, "params must be W1, W2, b1, b2, got W1, b1, b2")


def test_what_is_saved_can_be_loaded(engine, path):
    """A weight decay that climbs is a number, and words are none."""
    net = engine.MultiLayerNet(2, [3], 3)
    net.weight_decay_lambda = -0.5
    net.save(path)
    assert engine.load(path).weight_decay_lambda == -0.5
    path.unlink()
    net.weight_decay_lambda = "0.5"
    refuses(net, path, TypeError, "weight_decay_lambda must be a number, got '0.5'")
    net = engine.TwoLayerNet(2, 3, 3)
    net.params["W1"] = np.ma.masked_less(np.arange(6.0).reshape(2, 3), 3)
    refuses(net, path, TypeError, "W1 must have no masked entries")


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("name", "change", "error"),
    [
        ("Dropout1", {"dropout_ratio": 1.5}, ValueError),
        ("Dropout1", {"dropout_ratio": [0.5, 0.5]}, TypeError),
        ("BatchNorm1", {"momentum": np.nan}, ValueError),
        ("Conv1", {"stride": 2.0}, TypeError),
        ("Pool1", {"pad": -1}, ValueError),
    ],
)
def test_what_load_would_not_take_is_not_saved(engine, path, name, change, error, swapped):
    """While the swap is in place a layer may be made so, too."""
    if swapped:
        zerodl_c.install()
    try:
        net = net_of(engine, "Sequential")
        vars(net.layers[name]).update(change)
        refuses(net, path, error, f"{next(iter(change))} of {name} must be .*, got .")
    finally:
        zerodl_c.uninstall()


def test_a_parameter_that_is_a_list(engine, path):
    net, (x, _) = engine.TwoLayerNet(64, 5, 3), batch("TwoLayerNet")
    net.params["W1"] = net.params["W1"].tolist()
    net.save(path)
    assert engine.load(path).predict(x).tobytes() == net.predict(x).tobytes()


def test_a_layer_in_two_places(engine, path):
    affine, normalization = (
        engine.Affine(normal((3, 3), "f8"), np.zeros(3)),
        engine.BatchNormalization(np.ones(3), np.zeros(3)),
    )
    net = engine.Sequential([affine, normalization, affine, normalization])
    x, t = normal((4, 3), "f8", 1), np.arange(4) % 3
    engine.SGD(0.1).update(net.params, net.gradient(x, t))
    net.save(path)
    loaded = engine.load(path)
    assert loaded.layers["Affine2"] is loaded.layers["Affine1"]
    for of in (net, loaded):
        engine.SGD(0.1).update(of.params, of.gradient(x, t))
    assert loaded.predict(x).tobytes() == net.predict(x).tobytes()


def test_an_array_by_two_names(engine, path):
    """A file would make two of it."""
    net = engine.MultiLayerNet(3, [3], 3)
    net.params["W2"] = net.layers["Affine2"].W = net.params["W1"]
    refuses(net, path, ValueError, "params must hold each array once, got that of W1 as W2, too")


def test_parameters_that_do_not_fit(engine, path):
    net = engine.TwoLayerNet(2, 3, 3)
    net.params["W2"] = np.ones((4, 3))
    refuses(net, path, ValueError, r"W2, of shape \(4, 3\), does not fit")
    net.params["W2"] = np.array([["a"] * 3] * 3)
    refuses(net, path, TypeError, "W2 must hold numbers")


def test_paths(path, tmp_path):
    net = zerodl_c.SimpleNet()
    for wrong in (5, None, b"net.npz"):
        with pytest.raises(TypeError, match="path must be a path, got"):
            net.save(wrong)
        with pytest.raises(TypeError, match="path must be a path, got"):
            zerodl_c.load(wrong)
    with pytest.raises(FileNotFoundError, match=r"missing.npz"):
        zerodl_c.load(tmp_path / "missing.npz")
    with pytest.raises(FileNotFoundError, match=r"missing"):
        net.save(tmp_path / "missing" / "net.npz")
    for use in (net.save, zerodl_c.load):
        with pytest.raises(OSError, match=tmp_path.name):
            use(tmp_path)


# --- What is no net --------------------------------------------------------------------------------


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(**changes):
    return np.array(json.dumps({"format": 1, "net": "SimpleNet", "params": ["W"], **changes}))


def zipped(name, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, content)
    return file.getvalue()


FOREIGN = {
    "empty": b"",
    "text": b"W1,b1\n1,2\n",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a pickle": pickle.dumps({"W1": [1.0]}),
    "an array": npy(np.ones(3)),
    "an npz of others": npz(W1=np.ones((2, 3)), b1=np.ones(3)),
    "another zip": zipped("word/document.xml", "<xml/>"),
    "a pickled header": npz(zerodl_c=np.array({"format": 1}, object), W=np.ones((2, 3))),
    "a pickled parameter": npz(zerodl_c=header(), W=np.array([[None]])),
    "no JSON": npz(zerodl_c=np.array("{"), W=np.ones((2, 3))),
    "a list": npz(zerodl_c=np.array("[]"), W=np.ones((2, 3))),
    "a header of numbers": npz(zerodl_c=np.ones(3), W=np.ones((2, 3))),
    "another format": npz(zerodl_c=header(format=2), W=np.ones((2, 3))),
    "another class": npz(zerodl_c=header(net="os.system"), W=np.ones((2, 3))),
    "no parameter": npz(zerodl_c=header()),
    "strings": npz(zerodl_c=header(), W=np.array([["a", "b"]])),
    "3 dimensions": npz(zerodl_c=header(), W=np.ones((2, 3, 4))),
    "no layers": npz(zerodl_c=header(net="MultiLayerNet"), W=np.ones((2, 3))),
    "a layer of another class": npz(
        zerodl_c=header(net="Sequential", settings={}, layers={"Own1": {"kind": "Own"}}), W=np.ones((2, 3))
    ),
    "a layer of other arguments": npz(
        zerodl_c=header(net="Sequential", settings={}, layers={"Affine1": {"kind": "Affine", "V": "W"}}),
        W=np.ones((2, 3)),
    ),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_foreign_files(engine, path, case):
    path.write_bytes(FOREIGN[case])
    with pytest.raises(ValueError, match=r"net\.npz' is damaged, or no net that save has written: .") as caught:
        engine.load(path)
    assert "\n" not in str(caught.value)


def test_a_small_file_that_would_fill_the_memory(engine, path):
    file = io.BytesIO()
    np.savez_compressed(file, zerodl_c=header(), W=np.ones((2, 3)), more=np.zeros(10**6))
    path.write_bytes(file.getvalue())
    with pytest.raises(ValueError, match="it says that it holds more than its own size"):
        engine.load(path)


def test_a_shape_beyond_what_the_file_holds(engine, path):
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f8", "fortran_order": False, "shape": (10**6, 10**6)})
    path.write_bytes(zipped("W.npy", array.getvalue()))
    with pytest.raises(
        ValueError, match=r"it has an array of shape \(1000000, 1000000\) and dtype float64 in 128 bytes"
    ):
        engine.load(path)


def altered(path, arrays=None, settings=None, layers=None):
    """Write a net with others of its arrays, settings and arguments of layers."""
    net_of(zerodl_c, "MultiLayerNetExtend").save(path)
    with np.load(path) as file:
        content = {**file, **(arrays or {})}
    text = json.loads(content["zerodl_c"].item())
    text["settings"].update(settings or {})
    for name, arguments in (layers or {}).items():
        text["layers"][name].update(arguments)
    path.write_bytes(npz(**{**content, "zerodl_c": np.array(json.dumps(text))}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {"hidden_layer_num": 10**12}}, r"hidden_layer_num is 10+, and hidden_size_list \[5, 4\]"),
        (
            {"settings": {"hidden_layer_num": 1, "hidden_size_list": [5]}},
            "params hold arrays that no layer has: W3, b3",
        ),
        ({"settings": {"hidden_layer_num": 3, "hidden_size_list": [5, 4, 3]}}, "params must hold .*, got no W4"),
        ({"settings": {"hidden_size_list": "54"}}, "hidden_size_list must be a sequence of sizes, .*, got '54'"),
        ({"settings": {"output_size": None}}, "output_size must be an integer, got None"),
        ({"settings": {"weight_decay_lambda": "0"}}, "weight_decay_lambda must be a number, got '0'"),
        ({"layers": {"Dropout1": {"dropout_ratio": [0.5]}}}, r"dropout_ratio of Dropout must be a number, got \[0.5\]"),
        ({"layers": {"BatchNorm1": {"gamma": None}}}, "gamma of BatchNormalization must be a number, got None"),
        ({"layers": {"BatchNorm1": {"running_var": None}}}, "does not fit its running statistics or the layer before"),
        ({"arrays": {"gamma1": np.ones(7)}}, "does not fit its running statistics or the layer before"),
        (
            {"arrays": {"BatchNorm1.running_mean": np.ones(9)}},
            "does not fit its running statistics or the layer before",
        ),
        ({"arrays": {"BatchNorm1.running_mean": np.array(["a"] * 5)}}, "running_mean must hold numbers, got dtype <U1"),
    ],
)
def test_what_is_no_whole_net(engine, path, changes, message):
    """It is found out when it is loaded, and not by the first prediction."""
    altered(path, **changes)
    with pytest.raises(ValueError, match=f"is damaged, or no net that save has written: .*{message}"):
        engine.load(path)


def test_another_format_is_named(path):
    path.write_bytes(FOREIGN["another format"])
    with pytest.raises(ValueError, match="its format is 2, and this version of zerodl_c knows 1"):
        zerodl_c.load(path)


def test_truncated_files(path):
    net_of(zerodl_c, "MultiLayerNetExtend").save(path)
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 97), len(whole) - 1}:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is damaged, or no net"):
            zerodl_c.load(path)


def test_flipped_bits(path):
    """No bit of the file makes another net: it is noticed, or no net is made of it, as of dates in the zip."""
    net = net_of(zerodl_c, "MultiLayerNetExtend")
    net.save(path)
    whole, (x, _) = path.read_bytes(), batch("MultiLayerNetExtend")
    expected, refused = net.predict(x).tobytes(), 0
    for i in range(0, len(whole), 13):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :])
        try:
            loaded = zerodl_c.load(path)
        except ValueError as error:
            assert "is damaged, or no net" in str(error)
            refused += 1
        else:
            assert loaded.predict(x).tobytes() == expected
    assert refused > 0.8 * len(range(0, len(whole), 13))
