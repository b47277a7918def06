"""The functions that take arrays by their objects: what they take as it is, and what they leave to Python."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from api import FUNCTIONS, GRADIENT, LABELLED
from arrays import DTYPES, LAYOUTS, LENGTHS, normal, specials
from tolerances import assert_close, assert_identical

import zerodl_c
from zerodl_c import _network, reference
from zerodl_c._bridge import lib

pytestmark = pytest.mark.filterwarnings("ignore:invalid value encountered in cast")  # layouts fill gaps with nan

ROWS, COLS, DEPTH = 3, 4, 5
EACH, SCALAR, LABELS, STEPS, OFFSETS, MASK = "of one shape", "scalar", "labels", "steps", "offsets", "mask"


def strided(*shape):
    return "strided", shape


def dense(*shape):
    return "dense", shape


UNARY, BINARY = [EACH] * 2, [EACH] * 3
ARGUMENTS = {  # outputs, then inputs
    **dict.fromkeys(("sigmoid", "sigmoid_grad", "relu", "relu_grad", "tanh", "softmax", "log_softmax"), UNARY),
    **dict.fromkeys(("sigmoid_backward", "relu_backward", "tanh_backward", "softmax_backward"), BINARY),
    "step": [STEPS, EACH],
    "relu_mask": [EACH, MASK, EACH],
    "relu_mask_backward": [EACH, MASK],
    "cross_entropy": [SCALAR, EACH, LABELS],
    "softmax_cross_entropy": [SCALAR, EACH, EACH, LABELS],
    "softmax_cross_entropy_gradient": [SCALAR, EACH, EACH, LABELS],
    "softmax_cross_entropy_backward": [EACH, EACH, LABELS],
    "sum_of_squares": [SCALAR, EACH, EACH],
    "matmul": [dense(ROWS, COLS), strided(ROWS, DEPTH), strided(DEPTH, COLS)],
    "matmul_stack": [dense(2, ROWS, COLS), strided(2, ROWS, DEPTH), OFFSETS, strided(2, DEPTH, COLS), OFFSETS],
    "affine": [dense(ROWS, COLS), strided(ROWS, DEPTH), strided(DEPTH, COLS), dense(COLS)],
    "affine_backward": [
        *(dense(ROWS, DEPTH), dense(DEPTH, COLS), dense(COLS)),
        *(dense(ROWS, COLS), strided(ROWS, DEPTH), strided(DEPTH, COLS)),
    ],
    "batch_norm": [EACH, EACH, *[dense(COLS)] * 3, EACH, *[dense(COLS)] * 2],
    "batch_norm_backward": [EACH, *[dense(COLS)] * 2, EACH, EACH, *[dense(COLS)] * 2],
    "sgd": [EACH] * 2,
    **dict.fromkeys(("momentum", "nesterov", "adagrad", "rmsprop"), [EACH] * 3),
    "adam": [EACH] * 4,
}
RATES = {"sgd": 1, "momentum": 2, "nesterov": 2, "adagrad": 1, "rmsprop": 2, "adam": 3}
CASES = [(name, i) for name, kinds in ARGUMENTS.items() for i in range(len(kinds))]


def argument(kind, dtype):
    if kind == SCALAR:
        return np.full((), 7, dtype)
    if kind == LABELS:
        return np.array([0, COLS - 1, 1])
    if kind == STEPS:
        return np.full((ROWS, COLS), 7, np.int64)
    if kind == OFFSETS:
        return np.zeros(2, np.int64)
    if kind == MASK:
        return np.ones((ROWS, COLS), bool)
    return np.full((ROWS, COLS) if kind == EACH else kind[1], 7, dtype)


def arguments(name, dtype):
    return [argument(kind, dtype) for kind in ARGUMENTS[name]]


def call(name, arrays):
    """The status, for arrays that live at least as long as the call."""
    return getattr(lib, f"np_{name}")(*map(id, arrays), *[0.5] * RATES.get(name, 0))


class Subclass(np.ndarray):
    pass


def aside(x):
    """Of the other float type, or of a narrower integer."""
    return x.astype({"f": "d", "d": "f"}.get(x.dtype.char, np.int32))


ALIKE = {  # an array of the same values, that C must not read as if it were the array itself
    "other dtype": aside,
    "other kind": lambda x: x.astype(np.int64 if x.dtype.kind == "f" else np.float64),
    "float16": lambda x: x.astype(np.float16),
    "complex": lambda x: x.astype(complex),
    "object": lambda x: x.astype(object),
    "byte-swapped": LAYOUTS["byte-swapped"],
    "misaligned": LAYOUTS["misaligned"],
    "subclass": lambda x: x.view(Subclass),
    "numbers": lambda x: (x.tolist(),),
    "scalar": lambda x: x.dtype.type(7),
    "one more dimension": lambda x: x[None],
    "one more row": lambda x: np.concatenate([x, x[:1]]) if x.ndim else np.array([x, x]),
    "one more column": lambda x: np.concatenate([x, x[..., :1]], -1) if x.ndim else np.array([x, x]),
    "larger": lambda x: np.ones([n + 1 for n in x.shape or (1,)], x.dtype),
    "flat": lambda x: x.reshape(-1) if x.ndim > 1 else x.reshape(-1, 1, 1),
    "empty": lambda x: np.empty(0, x.dtype),
}
SPARSE = {name: LAYOUTS[name] for name in ("fortran", "backwards", "stepped")}


def fits(name, i, how):
    """Whether C takes this too: a loss of either dtype and any shape, a stack whose leading shape the offsets tell, a
    class that no label names."""
    kind = ARGUMENTS[name][i]
    if kind == SCALAR:
        return how in ("other dtype", "one more dimension", "flat")
    if kind == MASK:
        return how in ("byte-swapped", "misaligned")  # of one byte, there is no other way
    if kind == OFFSETS:
        return how in ("one more dimension", "flat")
    if how == "one more column":
        return (name, i) == ("cross_entropy", 1)
    if how == "other dtype":
        only_one = ("step", 1), ("cross_entropy", 1), ("relu_mask_backward", 0)  # float array, beside a loss
        return (name, i) in only_one
    return name == "matmul_stack" and (how == "one more dimension" or (how == "one more row" and i in (1, 3)))


def test_every_function_is_here():
    declared = {name[3:] for name in dir(lib) if name.startswith("np_")}
    networks = {f"network_{method}" for method in ("predict", "forward", "gradient", "numerical_gradient")}
    images = {"convolution", "convolution_backward", "pooling", "pooling_backward", "im2col", "col2im"}
    assert declared - networks - images - {"status", "set_array_type"} == set(ARGUMENTS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_arrays_of_one_dtype_that_fit_are_taken(name, dtype):
    assert call(name, arguments(name, dtype)) == lib.NP_OK


@pytest.mark.parametrize("how", [*ALIKE, *SPARSE])
@pytest.mark.parametrize(("name", "i"), CASES)
def test_what_is_not_plain_is_refused_and_nothing_is_written(name, i, how):
    if fits(name, i, how):
        return
    for dtype in DTYPES:
        arrays = arguments(name, dtype)
        arrays[i] = {**ALIKE, **SPARSE}[how](arrays[i])
        contiguous = isinstance(arrays[i], np.ndarray) and arrays[i].flags.c_contiguous
        if how in SPARSE and (contiguous or ARGUMENTS[name][i][0] == "strided"):
            continue
        before = [np.array(x) for x in arrays]
        assert call(name, arrays) == lib.NP_NOT_PLAIN, dtype
        for x, expected in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(x, expected)


@pytest.mark.parametrize("layout", ["fortran", "backwards", "stepped", "offset", "repeated", "read-only"])
@pytest.mark.parametrize("name", ["matmul", "affine", "affine_backward"])
def test_matrices_are_taken_in_any_strides(name, layout):
    arrays, expected = arguments(name, np.float64), arguments(name, np.float64)
    assert call(name, expected) == lib.NP_OK
    for i, kind in enumerate(ARGUMENTS[name]):
        if kind[0] == "strided":
            arrays[i] = LAYOUTS[layout](arrays[i])
    assert call(name, arrays) == lib.NP_OK
    for got, one in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(got, one)


@pytest.mark.parametrize("label", [-1, COLS, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
@pytest.mark.parametrize("place", range(ROWS))
@pytest.mark.parametrize("name", [name for name, kinds in ARGUMENTS.items() if LABELS in kinds])
def test_a_label_out_of_range_is_refused(name, place, label):
    arrays = arguments(name, np.float64)
    arrays[-1][place] = label
    before = [x.copy() for x in arrays]
    assert call(name, arrays) == lib.NP_NOT_PLAIN
    for x, expected in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(x, expected)


def test_one_class_is_left_to_python_where_labels_may_mean_probabilities():
    y, t = np.ones((3, 1)), np.zeros(3, np.int64)
    assert lib.np_softmax_cross_entropy_backward(id(y.copy()), id(y), id(t)) == lib.NP_NOT_PLAIN
    assert lib.np_softmax_cross_entropy_gradient(id(np.zeros(())), id(y.copy()), id(y), id(t)) == lib.NP_NOT_PLAIN


@pytest.mark.parametrize("name", ["batch_norm", "batch_norm_backward"])
def test_a_batch_has_rows(name):
    """A number of no dimensions is as large as a batch of one row and one feature."""
    alone = [np.full((1, 1) if kind == EACH else 1, 7.0) for kind in ARGUMENTS[name]]
    batches = [i for i, kind in enumerate(ARGUMENTS[name]) if kind == EACH]
    assert call(name, alone) == lib.NP_OK
    for which in (*([i] for i in batches), batches):
        arrays = [np.full((), 7.0) if i in which else x for i, x in enumerate(alone)]
        assert call(name, arrays) == lib.NP_NOT_PLAIN


def test_relu_refuses_to_edit_what_is_read_only():
    dout, mask = arguments("relu_mask_backward", np.float64)
    dout.flags.writeable = False
    assert call("relu_mask_backward", [dout, mask]) == lib.NP_NOT_PLAIN
    assert (dout == 7).all()


@pytest.mark.parametrize("name", RATES)
def test_an_optimizer_refuses_what_it_may_not_write(name):
    """It writes all but the gradient, which comes last."""
    for i in range(len(ARGUMENTS[name])):
        arrays = arguments(name, np.float64)
        arrays[i].flags.writeable = False
        writes = i < len(arrays) - 1
        assert call(name, arrays) == (lib.NP_NOT_PLAIN if writes else lib.NP_OK)
        assert all((x == 7).all() for x in arrays if writes)


@pytest.mark.parametrize("shift", [-7, -1, 0, 1, 7, 8])
@pytest.mark.parametrize("name", RATES)
def test_an_optimizer_refuses_arrays_that_overlap(name, shift):
    for i, j in combinations(range(len(ARGUMENTS[name])), 2):
        memory = np.arange(24.0)
        arrays = [np.ones(8) for _ in ARGUMENTS[name]]
        arrays[i], arrays[j] = memory[8:16], memory[8 + shift : 16 + shift]
        assert call(name, arrays) == (lib.NP_OK if abs(shift) == 8 else lib.NP_NOT_PLAIN)


# --- Networks -------------------------------------------------------------------------------------

WIDTHS = (5, 7, 3)


def net_arrays(dtype=np.float64, widths=WIDTHS, batch=4):
    """grads, kept, x, t and params that fit."""
    params = [np.ones(shape, dtype) for k, n in pairwise(widths) for shape in ((k, n), (n,))]
    kept = [np.ones((batch, n), dtype) for n in widths[1:] for _ in range(2)]
    return {
        "grads": [param.copy() for param in params],
        "kept": kept,
        "x": np.ones((batch, widths[0]), dtype),
        "t": np.arange(batch) % widths[-1],
        "params": params,
    }


def net_call(arrays, method="gradient", depth=None):
    ids = {key: [*map(id, x)] if isinstance(x, list) else id(x) for key, x in arrays.items()}
    depth = len(arrays["params"]) // 2 if depth is None else depth
    net, grads, sums, numbers = (ids["params"], depth, lib.ZDL_SIGMOID), ids["grads"], True, (0.0, 1e-4, 0, 2)
    if method == "predict":
        return lib.np_network_predict(ids["kept"][-1], ids["x"], *net)
    if method == "forward":
        return lib.np_network_forward(ids["kept"], ids["x"], *net)
    if method == "gradient":
        return lib.np_network_gradient(grads, ids["kept"], sums, ids["x"], ids["t"], *net)
    return lib.np_network_numerical_gradient(grads, ids["x"], ids["t"], *net, *numbers)


METHODS = {  # what they take
    "predict": ["x", "params"],
    "forward": ["kept", "x", "params"],
    "gradient": ["grads", "kept", "x", "params", "t"],
    "numerical_gradient": ["grads", "x", "params", "t"],
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("method", METHODS)
def test_nets_that_fit_are_taken(method, dtype):
    if method == "numerical_gradient" and dtype == np.float32:
        assert net_call(net_arrays(dtype), method) == lib.NP_NOT_PLAIN
        return
    for widths, batch in ((WIDTHS, 4), ((2, 3), 1), ((1, 1, 1, 2), 2), ((2,) * 257, 3)):
        assert net_call(net_arrays(dtype, widths, batch), method) == lib.NP_OK
    arrays = net_arrays(dtype)
    for x in (LAYOUTS[name](arrays["x"]) for name in ("fortran", "backwards", "stepped", "repeated", "read-only")):
        assert net_call({**arrays, "x": x}, method) == lib.NP_OK
    assert net_call({**arrays, "t": np.ones((4, 3), dtype)}, method) == lib.NP_OK


@pytest.mark.parametrize("how", [*ALIKE, "fortran", "stepped"])
@pytest.mark.parametrize("method", METHODS)
def test_a_net_with_one_unfit_array_is_refused_and_nothing_is_written(method, how):
    change = {**ALIKE, **SPARSE}[how]
    for dtype in DTYPES:
        good = net_arrays(dtype)
        places = [(key, i) for key in METHODS[method] for i in (range(4) if isinstance(good[key], list) else [None])]
        places += [("kept", 3)] if method == "predict" else []
        for key, i in places:
            arrays = net_arrays(dtype)
            old = arrays[key] if i is None else arrays[key][i]
            new = change(old)
            if how in SPARSE and (key == "x" or new.flags.c_contiguous):
                continue
            if i is None:
                arrays[key] = new
            else:
                arrays[key][i] = new
            assert net_call(arrays, method) == lib.NP_NOT_PLAIN, (key, i)
            for name in ("grads", "kept"):
                assert all((np.asarray(x) == 1).all() for x in arrays[name] if x is not new)


@pytest.mark.parametrize("method", METHODS)
def test_a_layer_of_another_dtype_is_refused(method):
    """Both of its arrays: they agree with each other, and not with x."""
    for dtype, key in ((dtype, key) for dtype in DTYPES for key in METHODS[method] if key not in "xt"):
        for first in (0, 2):
            arrays = net_arrays(dtype)
            for i in (first, first + 1):
                arrays[key][i] = aside(arrays[key][i])
            assert net_call(arrays, method) == lib.NP_NOT_PLAIN, (key, first)


@pytest.mark.parametrize("t", [[0, 1, 2, 3], [0, -1, 2, 0], [0, 1, 2]], ids=str)
def test_labels_that_do_not_fit_a_net_are_refused(t):
    assert net_call({**net_arrays(), "t": np.array(t)}) == lib.NP_NOT_PLAIN
    assert net_call({**net_arrays(), "t": np.ones((4, 3), np.int64)}) == lib.NP_NOT_PLAIN
    assert net_call({**net_arrays(), "t": LAYOUTS["fortran"](np.ones((4, 3)))}) == lib.NP_NOT_PLAIN


@pytest.mark.parametrize("method", METHODS)
def test_a_net_has_any_number_of_layers_but_none(method):
    assert net_call(net_arrays(), method, depth=0) == lib.NP_NOT_PLAIN
    assert net_call(net_arrays(), method, depth=-1) == lib.NP_NOT_PLAIN
    for layers in (1, 7, 8, 9, 400, 3000):
        assert net_call(net_arrays(widths=(2,) * (layers + 1)), method) == lib.NP_OK


def test_the_gradient_of_an_empty_batch_is_left_to_python():
    assert net_call(net_arrays(batch=0)) == lib.NP_NOT_PLAIN
    assert net_call(net_arrays(batch=0), "numerical_gradient") == lib.NP_NOT_PLAIN
    assert net_call(net_arrays(batch=0), "forward") == lib.NP_OK


def test_nets_of_one_class_take_dense_targets_alone():
    arrays = net_arrays(widths=(5, 1))
    assert net_call(arrays) == lib.NP_NOT_PLAIN
    assert net_call({**arrays, "t": np.ones((4, 1))}) == lib.NP_OK


# --- What the public functions make of it ---------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [0, *LENGTHS, 70, 40_000])
def test_relu_and_its_mask_are_the_references(isa, threads, dtype, n):
    x, values = normal(n, dtype), specials(dtype)
    x[: values.size] = values[:n]
    douts = [normal(n, dtype, 1) for _ in range(2)]
    layers = [engine.Relu() for engine in (zerodl_c, reference)]
    assert_identical(*(layer.forward(x) for layer in layers))
    assert_identical(*(layer.mask for layer in layers))
    assert_identical(*(layer.backward(dout) for layer, dout in zip(layers, douts, strict=True)))


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64])
def test_relu_edits_a_dout_of_another_dtype(dtype):
    layer, dout = zerodl_c.Relu(), np.arange(1, 4).astype(dtype)
    layer.forward(np.array([1.0, -1.0, np.nan]))
    assert layer.backward(dout) is dout
    np.testing.assert_array_equal(dout, [1, 0, 3])


def records(shape, dtype):
    """Rows in a file of records: one byte, or more, between them. Of one row NumPy says that it is aligned."""
    itemsize, (rows, cols) = np.dtype(dtype).itemsize, shape
    step = cols * itemsize + 1
    view = np.ndarray(shape, dtype, bytearray(max(rows * step, 1)), strides=(step, itemsize))
    view[...] = normal(shape, dtype)
    return view


@pytest.mark.parametrize("dtype", [*DTYPES, np.float16, np.int64])
@pytest.mark.parametrize("shape", [(1, 4), (1, 1), (0, 4), (3, 0), (3, 4)], ids=str)
def test_rows_that_are_no_whole_elements_apart(shape, dtype):
    x, W, t = records(shape, dtype), normal((shape[1], 2), np.float64, 1), np.zeros(shape[0], int)
    calls = {name: (x,) for name in ("sigmoid", "relu", "tanh", "step_function", "softmax", "log_softmax")}
    calls |= {name: (x, x) for name in ("sigmoid_backward", "softmax_backward", "sum_squared_error")}
    calls |= {"matmul": (x, W), "affine": (x, W, W.sum(axis=0)), "affine_backward": (x @ W, x, W)}
    calls |= {"matmul_backward": (x @ W, x, W), "dot": (x, W)}
    if x.size:
        calls |= {name: (abs(x), t) for name in (*LABELLED, GRADIENT)}
    for name, operands in calls.items():
        got, expected = (getattr(engine, name)(*operands) for engine in (zerodl_c, reference))
        for pair in zip(*(y if isinstance(y, tuple) else (y,) for y in (got, expected)), strict=True):
            np.testing.assert_allclose(*pair, rtol=3e-3 if dtype == np.float16 else 1e-5, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_net_takes_rows_of_records(dtype):
    nets = [engine.TwoLayerNet(4, 3, 2, dtype=dtype) for engine in (zerodl_c, reference)]
    nets[1].params = nets[0].params
    for rows in (0, 1, 3):
        x = records((rows, 4), dtype)
        assert_close(*(net.predict(x) for net in nets), terms=9, scale=1)
        if rows:
            grads = [net.gradient(x, [0] * rows) for net in nets]
            for key, grad in grads[0].items():
                assert_close(grad, grads[1][key], terms=20, scale=1, label=key)


@pytest.mark.parametrize("name", [name for name in FUNCTIONS if name in (*LABELLED, GRADIENT)])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64, np.longlong, np.ulonglong, ">i8"])
def test_labels_of_any_integer_type_and_layout(name, dtype):
    y, labels = abs(normal((6, 5), np.float64)) / 9, np.array([4, 0, 3, 3, 1, 2])
    expected = getattr(zerodl_c, name)(y, labels)
    for layout in ("contiguous", "backwards", "stepped", "misaligned", "byte-swapped", "read-only"):
        np.testing.assert_equal(getattr(zerodl_c, name)(y, LAYOUTS[layout](labels.astype(dtype))), expected)


def test_a_file_mapped_to_memory(tmp_path):
    x = np.memmap(tmp_path / "x", np.float64, "w+", shape=(6, 5))
    x[...] = normal((6, 5), np.float64)
    net = zerodl_c.TwoLayerNet(5, 4, 3)
    for function in (zerodl_c.softmax, net.predict, lambda x: net.gradient(x, [0, 1, 2] * 2)["W1"]):
        y = function(x)
        assert type(y) is np.ndarray
        np.testing.assert_array_equal(y, function(np.array(x)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_net_of_300_layers(dtype):
    params = {f"{kind}{i}": normal((2,) * n, dtype, i) / 3 for i in range(300) for kind, n in (("W", 2), ("b", 1))}
    expected = x = normal((3, 2), dtype)
    for i in range(300):
        expected = reference.affine(expected, params[f"W{i}"], params[f"b{i}"])
        expected = reference.tanh(expected) if i < 299 else reference.softmax(expected)
    assert_close(_network.predict(params, x, lib.ZDL_TANH), expected, terms=100, scale=1)
    t = [0, 1, 0]
    given = {key: param[None].repeat(1, 0)[0].tolist() for key, param in params.items()}  # prepared first
    grads = [_network.gradient(each, x, t, lib.ZDL_TANH)[0] for each in (params, given)]
    for got, as_lists in zip(*(each.values() for each in grads), strict=True):
        np.testing.assert_allclose(got, as_lists, rtol=1e-4, atol=1e-6)
