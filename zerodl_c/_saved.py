"""The file of a net: an .npz of its parameters, with one text that says what they belong to.

The text is the JSON of the net's class, its settings, the order of its parameters, and its layers. A layer is its
class and the arguments that it is made with: numbers as they are, and arrays by their names in the file. Of a layer
that has stood before, it is only the name that it had there.
"""

import json
import os
import zipfile
from collections import OrderedDict
from collections.abc import Iterable
from importlib import import_module
from inspect import signature
from io import BytesIO
from math import prod
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ._arrays import as_array
from ._checks import check_number, check_sizes, check_whole, shown
from ._files import replacing

if TYPE_CHECKING:
    from ._net import Net

FORMAT = 1
HEADER = "zerodl_c"  # the name of the text
NETS = ("SimpleNet", "TwoLayerNet", "MultiLayerNet", "MultiLayerNetExtend", "SimpleConvNet", "Sequential")
_PARAMS = {"SimpleNet": {"W"}, "TwoLayerNet": {"W1", "b1", "W2", "b2"}}  # of those that have no layers
LAYERS = (
    "Affine",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Pooling",
    "Relu",
    "Sigmoid",
    "Tanh",
)
_OF_LAYERS = ("W", "b", "gamma", "beta")  # what of a layer is a parameter of the net
_SHARES = ("dropout_ratio", "momentum")  # from 0 to 1
_WHOLE = {"stride": 1, "pad": 0, "pool_h": 1, "pool_w": 1}  # the least of each

Array = NDArray[Any]


def save(net: "Net", path: str | os.PathLike[str]) -> None:
    _check_path(path)
    with replacing(path) as file:
        write(net, file)


def write(net: "Net", file: BinaryIO) -> None:
    kind, params = _class_of(net), net._in_params()
    _check_names(kind, params)
    arrays = {name: _floats(name, param) for name, param in params.items()}
    header: dict[str, Any] = {"format": FORMAT, "net": kind, "params": [*arrays]}
    if hasattr(net, "layers"):
        _check_settings(net)
        header["settings"] = {name: _plain(getattr(net, name)) for name in net._settings}
        header["layers"] = {}
        for name, layer in net.layers.items():
            first = next(key for key, other in net.layers.items() if other is layer)
            header["layers"][name] = {"again": first} if first != name else _described(name, layer, net, arrays)
        used = {value for layer in header["layers"].values() for value in layer.values()}
        for name in header["params"]:
            if name not in used:
                twin = next((key for key in used if key in params and params[key] is params[name]), None)
                if twin:
                    raise ValueError(f"params must hold each array once, got that of {twin} as {name}, too")
                raise ValueError(f"params hold an array that no layer has: {name}")
    _check_fit(net)
    arrays[HEADER] = np.array(json.dumps(header))
    np.savez(file, **arrays)  # type: ignore[arg-type]  # its stub takes them for flags


def read(path: str | os.PathLike[str], engine: str) -> Any:
    """The net of a file, made of the classes of an engine."""
    _check_path(path)
    with open(path, "rb") as file:
        content = BytesIO(file.read())
    try:
        return _net(_arrays(content), engine)
    except MemoryError:
        raise
    except Exception as error:  # whatever zipfile, zlib, NumPy and json find in a file of another kind
        reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        line = reason.partition("\n")[0]
        raise ValueError(f"{os.fspath(path)!r} is damaged, or no net that save has written: {line}") from None


def _check_path(path: Any) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be a path, got {shown(path)}")


# ---- From a net ----------------------------------------------------------------------------------


def _class_of(net: Any) -> str:
    kind = type(net)
    if kind.__name__ not in NETS or kind not in (_of_engine(engine, kind.__name__) for engine in _ENGINES):
        raise TypeError(f"only nets of zerodl_c's own classes can be saved, got one of {kind.__qualname__}")
    return kind.__name__


_ENGINES = ("zerodl_c", "zerodl_c.reference")


def _of_engine(engine: str, name: str) -> Any:
    return getattr(import_module(engine), name)


def _described(name: str, layer: Any, net: Any, arrays: dict[str, Array]) -> dict[str, Any]:
    """A layer's class and arguments; what no parameter of the net holds is added to the arrays."""
    kind = type(layer)
    if kind.__name__ not in LAYERS or kind is not getattr(net._kinds, kind.__name__):
        raise TypeError(f"only layers of the engine's own classes can be saved, got {name} of {kind.__qualname__}")
    described: dict[str, Any] = {"kind": kind.__name__}
    for argument in signature(kind).parameters:
        value = getattr(layer, argument)
        if argument in _OF_LAYERS:
            keys = [key for key, param in net.params.items() if param is value]
            if not keys:
                raise ValueError(f"params hold another array than {name}, whose {argument} is none of them")
            described[argument] = keys[0]
            continue
        if argument in _SHARES:
            check_number(f"{argument} of {name}", value, most=1, always=True)
        if argument in _WHOLE:
            check_whole(f"{argument} of {name}", value, _WHOLE[argument], always=True)
        if value is None or not np.ndim(value):
            described[argument] = _plain(value)
        else:
            described[argument] = key = f"{name}.{argument}"
            arrays[key] = _floats(key, value)
    return described


def _floats(name: str, value: Any) -> Array:
    array = as_array(name, value)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold numbers, got dtype {array.dtype}")
    return array


def _plain(value: Any) -> Any:
    """A number, a sequence of them, or a dict, as JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(of) for key, of in value.items()}
    return np.asarray(value).tolist() if value is not None else None


# ---- From a file ---------------------------------------------------------------------------------


def _arrays(content: BytesIO) -> dict[str, Array]:
    with zipfile.ZipFile(content) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > len(content.getbuffer()):  # some fill any memory
            raise ValueError("it says that it holds more than its own size, and save does not compress")
        return {member.filename.removesuffix(".npy"): _array(archive.read(member)) for member in members}


def _array(content: bytes) -> Array:
    """The array of an .npy, whose header is compared with its size before NumPy makes room."""
    file = BytesIO(content)
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"it has an array of shape {shape} and dtype {dtype} in {len(content)} bytes")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _net(arrays: dict[str, Array], engine: str) -> Any:
    """Made without __init__, which would draw random numbers."""
    if HEADER not in arrays:
        raise ValueError(f"it has no array {HEADER!r}, which says what the others belong to")
    header = json.loads(arrays[HEADER].item())
    if header["format"] != FORMAT:
        raise ValueError(f"its format is {header['format']}, and this version of zerodl_c knows {FORMAT}")
    if header["net"] not in NETS:
        raise ValueError(f"it holds a {header['net']}, which this version of zerodl_c does not know")
    _check_names(header["net"], header["params"])
    kind = _of_engine(engine, header["net"])
    net = kind.__new__(kind)
    params = {name: _floats(name, arrays[name]) for name in header["params"]}
    if "layers" in header:
        for name in net._settings:
            setattr(net, name, header["settings"][name])
        net.layers = OrderedDict()
        for name, of in header["layers"].items():
            net.layers[name] = net.layers[of["again"]] if "again" in of else _layer(net, of, params, arrays)
        net.last_layer = net._kinds.SoftmaxWithLoss()
    net._take_params(params)
    if "layers" in header:
        _check_settings(net)
    _check_fit(net)
    return net


def _check_settings(net: Any) -> None:
    if net._settings:
        check_whole("input_size", net.input_size, always=True)
        check_sizes("hidden_size_list", net.hidden_size_list, always=True)
        check_whole("output_size", net.output_size, always=True)
        check_whole("hidden_layer_num", net.hidden_layer_num, least=0, always=True)
        if np.ndim(net.weight_decay_lambda) or not isinstance(_plain(net.weight_decay_lambda), (int, float)):
            raise TypeError(f"weight_decay_lambda must be a number, got {shown(net.weight_decay_lambda)}")
        if net.hidden_layer_num != len(net.hidden_size_list):
            raise ValueError(f"hidden_layer_num is {net.hidden_layer_num}, and hidden_size_list {net.hidden_size_list}")
        for i in range(1, net.hidden_layer_num + 2):
            if f"W{i}" not in net.params:
                raise ValueError(f"params must hold a weight for each layer, got no W{i}")


def _check_names(kind: str, names: Iterable[Any]) -> None:
    if kind in _PARAMS and {*names} != _PARAMS[kind]:
        raise ValueError(f"params must be {', '.join(sorted(_PARAMS[kind]))}, got {', '.join(map(str, names))}")


def _layer(net: Any, described: dict[str, Any], params: dict[str, Array], arrays: dict[str, Array]) -> Any:
    arguments = {**described}
    kind = arguments.pop("kind")
    if kind not in LAYERS:
        raise ValueError(f"it has a layer of class {kind}, which this version of zerodl_c does not know")
    held = {**arrays, **params}  # a parameter is one array, in `params` and in its layer
    for name, value in arguments.items():
        if isinstance(value, str):
            arguments[name] = _floats(value, held[value])
        elif not (isinstance(value, (int, float)) or (value is None and name.startswith("running_"))):
            raise TypeError(f"{name} of {kind} must be a number, got {shown(value)}")
    return getattr(net._kinds, kind)(**arguments)


def _check_fit(net: Any) -> None:
    """Raise ValueError unless each layer takes what the one before it gives, as far as the parameters tell."""
    before: Any = None
    for name, W, b in net._products():
        shape = np.shape(W)
        dims = len(shape)
        if dims not in (2, 4):
            raise ValueError(f"{name} must be 2-D, or 4-D of a convolution, got shape {shape}")
        inputs, outputs = shape if dims == 2 else shape[1::-1]
        follows = before is None or before[0] != dims or before[1] == inputs
        if not follows or np.shape(b) not in ((), (1,), (outputs,)):
            raise ValueError(f"{name}, of shape {shape}, does not fit its bias or the layer before it")
        before = dims, outputs
    if hasattr(net, "layers"):
        _check_features(net.layers.values())
        strange = {*net.params} - {key for key, _, _ in net._parameters()}
        if strange:
            raise ValueError(f"params hold arrays that no layer has: {', '.join(sorted(strange))}")


def _check_features(layers: Iterable[Any]) -> None:
    """Raise ValueError unless the arrays of a BatchNormalization have an entry for each feature."""
    features: Any = None
    for layer in layers:
        if hasattr(layer, "gamma"):
            running = layer.running_mean, layer.running_var
            of = {np.shape(array) for array in (layer.gamma, layer.beta, *running) if np.ndim(array)}
            if len(of) > 1 or (of and features and of != {features}) or (running[0] is None) != (running[1] is None):
                raise ValueError(f"{layer!r} does not fit its running statistics or the layer before it")
        elif hasattr(layer, "W"):
            features = np.shape(layer.W)[1:] if np.ndim(layer.W) == 2 else None
        elif hasattr(layer, "pool_h"):
            features = None
