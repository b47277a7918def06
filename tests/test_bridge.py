"""What goes into C and what comes out: dtypes, array-likes, wrong input, arrays that C reads itself, and memory."""

import array
import re
import sys
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from api import BACKWARD, FUNCTIONS, GRADIENT, LABELLED, MATRIX, SOFTMAX, SQUARES, UNARY
from arrays import DTYPES, LAYOUTS, LENGTHS, normal, specials
from tolerances import assert_close, assert_identical

import zerodl_c
from zerodl_c import _bridge as bridge
from zerodl_c import _config, _network, reference
from zerodl_c._bridge import ffi, lib

pytestmark = [
    pytest.mark.filterwarnings("error"),
    pytest.mark.filterwarnings("ignore:invalid value encountered in cast"),  # layouts fill gaps with nan
]

HALVES = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125]]  # exact in every float
COLUMN = [[1.0], [2.0], [4.0]]
TARGETS = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0]]

# Small arguments for every function. LABELS are never converted.
ARGUMENTS = {
    **{name: {"x": HALVES} for name in UNARY + SOFTMAX},
    **{name: {"dout": HALVES, "y": HALVES} for name in BACKWARD},
    **{name: {"y": HALVES, "t": TARGETS} for name in [*SQUARES, GRADIENT]},
    **{name: {"x": HALVES, "LABELS": [2, 0]} for name in LABELLED},
    "cross_entropy_error": {"y": HALVES, "LABELS": [2, 0]},
    "matmul": {"a": HALVES, "b": COLUMN},
    "dot": {"a": HALVES, "b": [1.0, 2.0, 4.0]},
    "matmul_backward": {"dout": [[1.0], [2.0]], "a": HALVES, "b": COLUMN},
    "affine": {"x": HALVES, "W": [[1.0, 0.0], [2.0, 1.0], [4.0, 8.0]], "b": [0.5, -0.5]},
    "affine_backward": {"dout": [[1.0], [2.0]], "x": HALVES, "W": COLUMN},
}
OPERANDS = [(name, key) for name, arguments in ARGUMENTS.items() for key in arguments if key != "LABELS"]

every_name = pytest.mark.parametrize("name", ARGUMENTS)
every_operand = pytest.mark.parametrize(("name", "key"), OPERANDS, ids="-".join)


def call(engine, name, convert=np.asarray, **changed):
    """The function with its small arguments, converted, as a tuple of results."""
    arguments = {
        **{key: x if key == "LABELS" else convert(x) for key, x in ARGUMENTS[name].items()},
        **changed,
    }
    results = getattr(engine, name)(*arguments.values())
    return results if isinstance(results, tuple) else (results,)


def assert_as_reference(name, convert=np.asarray, **changed):
    got, expected = (call(engine, name, convert, **changed) for engine in (zerodl_c, reference))
    for pair in zip(got, expected, strict=True):
        if name == "step_function":
            assert_identical(*pair)
        else:
            assert_close(*pair, terms=6, scale=1, label=name)


def test_every_function_is_here():
    assert set(ARGUMENTS) == set(FUNCTIONS)


# --- Dtypes ---------------------------------------------------------------------------------------

FLOATS = [np.float16, np.float32, np.float64]
INTEGERS = [bool, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]


@every_name
def test_the_dtype_of_the_result(name):
    """That of float operands; float64 for integers and bools."""
    for dtype in (*FLOATS, *INTEGERS):

        def convert(x, dtype=dtype):
            return (np.asarray(x) * (1 if dtype in FLOATS else 8)).astype(dtype)

        results = call(zerodl_c, name, convert)
        expected = {"step_function": np.int64}.get(name, dtype if dtype in FLOATS else np.float64)
        assert [result.dtype for result in results] == [expected] * len(results), dtype
        assert_as_reference(name, convert)


@pytest.mark.parametrize("name", [*BACKWARD, *SQUARES, GRADIENT, *MATRIX])
def test_operands_promote_as_in_numpy(name):
    for dtypes in product([np.float16, np.float32, np.float64, np.int64, np.uint8], repeat=2):
        operands = zip(ARGUMENTS[name].items(), (*dtypes, np.float16), strict=False)
        changed = {key: np.asarray(x).astype(dtype) for (key, x), dtype in operands}
        promoted = np.result_type(*changed.values())
        if name == GRADIENT and np.dtype(dtypes[1]).kind in "iu":  # such a t does not widen y
            promoted = np.dtype(dtypes[0])
        expected = promoted if promoted.kind == "f" else np.dtype(np.float64)
        assert {result.dtype for result in call(zerodl_c, name, **changed)} == {expected}, dtypes
        assert_as_reference(name, **changed)


def test_python_numbers_do_not_widen():
    y = np.ones(3, np.float32)
    for t in (1, 1.0, True):
        assert zerodl_c.sum_squared_error(y, t).dtype == np.float32
        assert zerodl_c.sum_squared_error(t, y).dtype == np.float32
        assert zerodl_c.dot(y, t).dtype == np.float32
    assert zerodl_c.sum_squared_error(y, np.float64(1)).dtype == np.float64


@every_name
def test_float16_is_computed_in_float32(name):
    """The result is the float32 result, rounded once."""
    narrow, wide = (call(zerodl_c, name, lambda x, dtype=dtype: np.asarray(x, dtype)) for dtype in FLOATS[:2])
    for got, expected in zip(narrow, wide, strict=True):
        np.testing.assert_array_equal(got, expected.astype(got.dtype))


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu", "softmax", "log_softmax", "relu_grad"])
def test_float16_specials(name):
    x = specials(np.float16) if "softmax" not in name else specials(np.float16)[:14]
    with np.errstate(all="ignore"):
        expected = getattr(reference, name)(x)
    assert_close(getattr(zerodl_c, name)(x), expected, terms=x.size, scale=1)


def test_float16_overflows_to_inf_and_says_nothing():
    x = np.full((4, 400), 200, np.float16)
    out = np.empty((4, 4), np.float16)
    assert (zerodl_c.matmul(x, x.T) == np.inf).all()
    assert (zerodl_c.matmul(x, x.T, out=out) == np.inf).all()
    assert (zerodl_c.affine(x, x.T, x[:, 0]) == np.inf).all()
    assert (zerodl_c.sigmoid_backward(x * 300, x) == -np.inf).all()


# --- What may stand for an array ------------------------------------------------------------------


class Arraylike:
    def __array__(self, dtype=None, copy=None):
        return np.array(HALVES, dtype)


LIKES = {
    "list": lambda x: np.asarray(x).tolist(),
    "tuples": lambda x: tuple(map(tuple, x)) if np.ndim(x) > 1 else tuple(x),
    "list of arrays": lambda x: list(map(np.asarray, x)),
    "matrix subclass": lambda x: np.asarray(x).view(type("Sub", (np.ndarray,), {})),
    "memoryview": lambda x: memoryview(np.ascontiguousarray(x, np.float64)),
    "masked array": lambda x: np.ma.masked_array(x),
}


@every_name
def test_array_likes(name):
    expected = call(zerodl_c, name)
    for like, convert in LIKES.items():
        for pair in zip(call(zerodl_c, name, convert), expected, strict=True):
            assert type(pair[0]) is type(pair[1]), like
            np.testing.assert_array_equal(*pair, err_msg=like)


def test_other_sources_of_numbers():
    expected = zerodl_c.sigmoid(np.array(HALVES))
    np.testing.assert_array_equal(zerodl_c.sigmoid(Arraylike()), expected)
    np.testing.assert_array_equal(zerodl_c.sigmoid(array.array("d", HALVES[0])), expected[0])
    np.testing.assert_array_equal(zerodl_c.sigmoid(range(3)), zerodl_c.sigmoid([0.0, 1.0, 2.0]))
    record = np.zeros(3, [("a", "i1"), ("x", "f8"), ("y", "f4")])  # packed: strides of 13 bytes
    record["x"], record["y"] = HALVES[0], HALVES[1]
    np.testing.assert_array_equal(zerodl_c.sigmoid(record["x"]), expected[0])
    np.testing.assert_array_equal(zerodl_c.dot(record["x"], record["y"]), np.dot(*HALVES))


@pytest.mark.parametrize(
    "value",
    [1, 1.5, True, np.float32(1.5), np.float64(1.5), np.int8(1), np.array(1.5, "f4")],
    ids=repr,
)
def test_numbers_give_numpy_scalars(value):
    kind = np.asarray(value).dtype
    expected = kind if kind.kind == "f" else np.dtype(float)
    for name in ("sigmoid", "sigmoid_grad", "tanh", "relu", "relu_grad", "softmax", "log_softmax"):
        got = getattr(zerodl_c, name)(value)
        assert type(got) is expected.type, name
        assert_close(got, expected.type(getattr(reference, name)(value)), scale=1)
    for name in ("sigmoid_backward", "tanh_backward", "relu_backward", "softmax_backward", "dot"):
        assert type(getattr(zerodl_c, name)(value, value)) is expected.type, name
    assert type(zerodl_c.step_function(value)) is np.int64


def test_large_integers():
    assert zerodl_c.sigmoid(10**30) == 1.0
    assert zerodl_c.relu(2**63) == 2.0**63
    assert zerodl_c.relu(np.array([2**64 - 1], np.uint64))[0] == 2.0**64


# --- Wrong input ----------------------------------------------------------------------------------

WRONG_DTYPES = [
    lambda x: np.asarray(x, complex),
    lambda x: np.asarray(x, np.complex64),
    lambda x: np.asarray(x, object),
    lambda x: np.asarray(x).astype(str),
    lambda x: np.asarray(x).astype("S"),
    lambda x: np.asarray(x).astype("M8[s]"),
    lambda x: np.asarray(x).astype("m8[s]"),
    lambda x: np.zeros(np.shape(x), [("x", float)]),
]
if np.dtype(np.longdouble).itemsize > 8:
    WRONG_DTYPES.append(lambda x: np.asarray(x, np.longdouble))


@every_operand
def test_a_wrong_dtype_is_a_typeerror_that_names_the_argument_and_the_dtype(name, key):
    for convert in WRONG_DTYPES:
        wrong = convert(ARGUMENTS[name][key])
        with pytest.raises(TypeError, match=f"^{key} must .*{re.escape(str(wrong.dtype))}"):
            call(zerodl_c, name, **{key: wrong})


@every_operand
def test_what_is_no_number_is_a_typeerror_that_names_the_argument(name, key):
    for value in (None, {}, {1, 2}, slice(1), "abc", 1j, [None], [[1, "a"]]):
        with pytest.raises(TypeError, match=f"^{key} must"):
            call(zerodl_c, name, **{key: value})


class GivesText:
    def __array__(self, *args, **kwargs):
        return "abc"


ENDLESS = []
ENDLESS.append(ENDLESS)


@every_operand
def test_what_numpy_refuses_is_reported_with_the_name(engine, name, key):
    for value in ([[1.0], [2.0, 3.0]], GivesText(), ENDLESS):
        with pytest.raises(ValueError, match=f"^{key} must be array_like, got {type(value).__name__}: ") as caught:
            call(engine, name, **{key: value})
        assert caught.value.__cause__ is not None


@every_operand
def test_masked_entries_are_refused(engine, name, key):
    value = np.asarray(ARGUMENTS[name][key])
    with pytest.raises(TypeError, match=f"^{key} must have no masked entries"):
        call(engine, name, **{key: np.ma.masked_array(value, np.arange(value.size).reshape(value.shape) == 0)})
    np.testing.assert_equal(call(engine, name, **{key: np.ma.masked_array(value)}), call(engine, name))


def test_what_changes_during_a_call_is_named():
    """No more than C can tell: that arrays which were prepared for it are so no longer."""
    with pytest.raises(RuntimeError, match="the shape or dtype of an array changed during the call"):
        bridge.check(bridge.lib.NP_NOT_PLAIN)


@pytest.mark.parametrize("dims", [32, 33, 40, 64])
def test_as_many_dimensions_as_numpy_has(dims):
    x, y = np.arange(6.0).reshape((1,) * (dims - 2) + (2, 3)), np.arange(3.0)
    both = {name: [getattr(engine, name) for engine in (zerodl_c, reference)] for name in zerodl_c.functions.__all__}
    for name in ("sigmoid", "relu", "tanh", "step_function", "softmax", "log_softmax"):
        np.testing.assert_allclose(*(f(x) for f in both[name]))
    for name in ("sigmoid_backward", "relu_backward", "tanh_backward", "softmax_backward", "mean_squared_error"):
        np.testing.assert_allclose(*(f(x, x) for f in both[name]))
        np.testing.assert_allclose(*(f(x, y) for f in both[name]))
    np.testing.assert_allclose(*(f(x, x.swapaxes(-1, -2)) for f in both["matmul"]))
    np.testing.assert_allclose(*(f(x[..., 0], np.ones((3, 2, 4))) for f in both["matmul"]))
    np.testing.assert_allclose(zerodl_c.dot(x, np.ones((3, 2))), x @ np.ones((3, 2)))
    for a, b in zip(*(f(x @ np.ones((3, 2)), x, np.ones((3, 2))) for f in both["matmul_backward"]), strict=True):
        np.testing.assert_allclose(a, b)


# --- Arrays that C takes as they are, and those that it leaves to Python ---------------------------

ROWS, COLS, DEPTH = 3, 4, 5
EACH, SCALAR, LABELS, STEPS, OFFSETS, MASK = "of one shape", "scalar", "labels", "steps", "offsets", "mask"


def strided(*shape):
    return "strided", shape


def dense(*shape):
    return "dense", shape


ONE_INPUT, TWO_INPUTS = [EACH] * 2, [EACH] * 3
SIGNATURES = {  # of each np_ function: outputs, then inputs
    **dict.fromkeys(("sigmoid", "sigmoid_grad", "relu", "relu_grad", "tanh", "softmax", "log_softmax"), ONE_INPUT),
    **dict.fromkeys(("sigmoid_backward", "relu_backward", "tanh_backward", "softmax_backward"), TWO_INPUTS),
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
CASES = [(name, i) for name, kinds in SIGNATURES.items() for i in range(len(kinds))]


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


def plain_arrays(name, dtype):
    return [argument(kind, dtype) for kind in SIGNATURES[name]]


def call_c(name, arrays):
    """The status, for arrays that live at least as long as the call."""
    return getattr(lib, f"np_{name}")(*map(id, arrays), *[0.5] * RATES.get(name, 0))


class Subclass(np.ndarray):
    pass


def aside(x):
    """Of the other float type, or of a narrower integer."""
    return x.astype({"f": "d", "d": "f"}.get(x.dtype.char, np.int16))


ALTERED = {  # an array of the same values, that C must not read as if it were the array itself
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
    kind = SIGNATURES[name][i]
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


def test_every_function_of_c_is_here():
    declared = {name[3:] for name in dir(lib) if name.startswith("np_")}
    networks = {f"network_{method}" for method in ("predict", "forward", "gradient", "numerical_gradient")}
    images = {"convolution", "convolution_backward", "pooling", "pooling_backward", "im2col", "col2im"}
    assert declared - networks - images - {"status", "set_array_type"} == set(SIGNATURES)


@pytest.mark.parametrize("name", SIGNATURES)
def test_arrays_of_one_dtype_that_fit_are_taken(name):
    for dtype in DTYPES:
        assert call_c(name, plain_arrays(name, dtype)) == lib.NP_OK, dtype


@pytest.mark.parametrize(("name", "i"), CASES)
def test_what_is_not_plain_is_refused_and_nothing_is_written(name, i):
    for (how, alter), dtype in product({**ALTERED, **SPARSE}.items(), DTYPES):
        arrays = plain_arrays(name, dtype)
        arrays[i] = alter(arrays[i])
        contiguous = isinstance(arrays[i], np.ndarray) and arrays[i].flags.c_contiguous
        if fits(name, i, how) or (how in SPARSE and (contiguous or SIGNATURES[name][i][0] == "strided")):
            continue
        before = [np.array(x) for x in arrays]
        assert call_c(name, arrays) == lib.NP_NOT_PLAIN, (how, dtype)
        for x, expected in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(x, expected, err_msg=how)


@pytest.mark.parametrize("layout", ["fortran", "backwards", "stepped", "offset", "repeated", "read-only"])
@pytest.mark.parametrize("name", ["matmul", "affine", "affine_backward"])
def test_matrices_are_taken_in_any_strides(name, layout):
    arrays, expected = plain_arrays(name, np.float64), plain_arrays(name, np.float64)
    assert call_c(name, expected) == lib.NP_OK
    for i, kind in enumerate(SIGNATURES[name]):
        if kind[0] == "strided":
            arrays[i] = LAYOUTS[layout](arrays[i])
    assert call_c(name, arrays) == lib.NP_OK
    for got, one in zip(arrays, expected, strict=True):
        np.testing.assert_array_equal(got, one)


@pytest.mark.parametrize("name", [name for name, kinds in SIGNATURES.items() if LABELS in kinds])
def test_a_label_out_of_range_is_refused(name):
    for place, label in product(range(ROWS), [-1, COLS, np.iinfo(np.int64).min, np.iinfo(np.int64).max]):
        arrays = plain_arrays(name, np.float64)
        arrays[-1][place] = label
        before = [x.copy() for x in arrays]
        assert call_c(name, arrays) == lib.NP_NOT_PLAIN, (place, label)
        for x, expected in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(x, expected)


def test_one_class_is_left_to_python_where_labels_may_mean_probabilities():
    y, t = np.ones((3, 1)), np.zeros(3, np.int64)
    assert lib.np_softmax_cross_entropy_backward(id(y.copy()), id(y), id(t)) == lib.NP_NOT_PLAIN
    assert lib.np_softmax_cross_entropy_gradient(id(np.zeros(())), id(y.copy()), id(y), id(t)) == lib.NP_NOT_PLAIN


@pytest.mark.parametrize("name", ["batch_norm", "batch_norm_backward"])
def test_a_batch_has_rows(name):
    """A number of no dimensions is as large as a batch of one row and one feature."""
    alone = [np.full((1, 1) if kind == EACH else 1, 7.0) for kind in SIGNATURES[name]]
    batches = [i for i, kind in enumerate(SIGNATURES[name]) if kind == EACH]
    assert call_c(name, alone) == lib.NP_OK
    for which in (*([i] for i in batches), batches):
        arrays = [np.full((), 7.0) if i in which else x for i, x in enumerate(alone)]
        assert call_c(name, arrays) == lib.NP_NOT_PLAIN


def test_relu_refuses_to_edit_what_is_read_only():
    dout, mask = plain_arrays("relu_mask_backward", np.float64)
    dout.flags.writeable = False
    assert call_c("relu_mask_backward", [dout, mask]) == lib.NP_NOT_PLAIN
    assert (dout == 7).all()


@pytest.mark.parametrize("name", RATES)
def test_an_optimizer_refuses_what_it_may_not_write(name):
    """It writes all but the gradient, which comes last."""
    for i in range(len(SIGNATURES[name])):
        arrays = plain_arrays(name, np.float64)
        arrays[i].flags.writeable = False
        writes = i < len(arrays) - 1
        assert call_c(name, arrays) == (lib.NP_NOT_PLAIN if writes else lib.NP_OK)
        assert all((x == 7).all() for x in arrays if writes)


@pytest.mark.parametrize("name", RATES)
def test_an_optimizer_refuses_arrays_that_overlap(name):
    for (i, j), shift in product(combinations(range(len(SIGNATURES[name])), 2), [-8, -7, -1, 0, 1, 7, 8]):
        memory = np.arange(24.0)
        arrays = [np.ones(8) for _ in SIGNATURES[name]]
        arrays[i], arrays[j] = memory[8:16], memory[8 + shift : 16 + shift]
        assert call_c(name, arrays) == (lib.NP_OK if abs(shift) == 8 else lib.NP_NOT_PLAIN), (i, j, shift)


# --- Networks in C --------------------------------------------------------------------------------

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


@pytest.mark.parametrize("method", METHODS)
def test_a_net_with_one_unfit_array_is_refused_and_nothing_is_written(method):
    for (how, change), dtype in product({**ALTERED, **SPARSE}.items(), DTYPES):
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
            assert net_call(arrays, method) == lib.NP_NOT_PLAIN, (how, key, i)
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


# --- The public functions, on arrays that C takes and on others ------------------------------------


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
def test_labels_of_any_integer_type_and_layout(name):
    y, labels = abs(normal((6, 5), np.float64)) / 9, np.array([4, 0, 3, 3, 1, 2])
    expected = getattr(zerodl_c, name)(y, labels)
    dtypes = (np.int8, np.uint8, np.int32, np.uint64, np.longlong, np.ulonglong, ">i8")
    layouts = ("contiguous", "backwards", "stepped", "misaligned", "byte-swapped", "read-only")
    for dtype, layout in product(dtypes, layouts):
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


# --- Memory ---------------------------------------------------------------------------------------


@every_name
def test_nothing_is_kept_of_an_argument(name):
    arguments = {key: x if key == "LABELS" else np.array(x) for key, x in ARGUMENTS[name].items()}
    before = [sys.getrefcount(x) for x in arguments.values()]
    for _ in range(10):
        results = getattr(zerodl_c, name)(*arguments.values())
    del results
    assert [sys.getrefcount(x) for x in arguments.values()] == before


@pytest.mark.parametrize("layout", LAYOUTS)
def test_temporaries_live_as_long_as_c_reads_them(layout):
    """Copies that only the call holds, of a size that the allocator would hand out again."""
    x = normal((64, 2048), np.float64)
    expected = zerodl_c.sigmoid(x), zerodl_c.matmul(x, x.T)
    for _ in range(5):
        if layout != "repeated":
            np.testing.assert_array_equal(zerodl_c.sigmoid(LAYOUTS[layout](x)), expected[0])
            np.testing.assert_array_equal(zerodl_c.matmul(LAYOUTS[layout](x), LAYOUTS[layout](x.T)), expected[1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc; a new process takes over ru_maxrss from pytest's")
def test_workspaces_are_freed(python):
    """200 products that pack 4 MB, some of them three times over."""
    done = python("""
import numpy as np, zerodl_c
def pages():
    return int(open("/proc/self/statm").read().split()[0])
a, b = np.ones((1, 256)), np.ones((2048, 256)).T
stack = np.ones((3, 1, 256))
zerodl_c.set_num_threads(1)
for i in range(200):
    zerodl_c.matmul(a, b)
    zerodl_c.matmul(stack, b)
    zerodl_c.affine_backward(a[:, :1], a, b.T[:1].T)
    if i == 10:
        before = pages()
print((pages() - before) * 4 // 1024)
""")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 50


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_a_workspace_that_cannot_be_had_is_a_memoryerror(python):
    """The output is there already; what lacks is room to pack b, which is 4 MB."""
    done = python("""
import resource, numpy as np, zerodl_c
zerodl_c.set_num_threads(1)
a, b, out = np.ones((2, 512)), np.ones((1024, 512)).T, np.zeros((2, 1024))
stack, stacked = np.ones((3, 2, 512)), np.zeros((3, 2, 1024))
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**21, resource.RLIM_INFINITY))
for x, y in ((a, out), (stack, stacked)):
    try:
        zerodl_c.matmul(x, b, out=y)
    except MemoryError as error:
        print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(zerodl_c.matmul(a, b, out=out)[0, 0])
""")
    assert done.stdout.splitlines() == ["not enough memory for the workspace of the call"] * 2 + ["512.0"], done.stderr


def test_sizes_that_no_memory_holds():
    one = np.float32(1)
    with pytest.raises(MemoryError):
        zerodl_c.sigmoid(np.broadcast_to(one, 2**60))
    with pytest.raises(MemoryError):
        zerodl_c.matmul(np.broadcast_to(one, (2**30, 1)), np.broadcast_to(one, (1, 2**30)))


@pytest.mark.parametrize("level", _config.isa_levels())
def test_the_processor_is_left_as_it_was(python, level):
    """MMX without emms would break long double; and subnormals must not be flushed."""
    names = f"UNARY, BINARY, LABELLED = {UNARY + SOFTMAX, BACKWARD + SQUARES, [*LABELLED, GRADIENT]}"
    done = python(
        names
        + """
import numpy as np, zerodl_c
for dtype in (np.float32, np.float64):
    x = np.linspace(-3, 3, 45).astype(dtype).reshape(9, 5)
    calls = {name: (x,) for name in UNARY}
    calls |= {name: (x, x) for name in BINARY}
    calls |= {name: (x, [0] * 9) for name in LABELLED}
    calls |= {"matmul": (x, x.T), "affine": (x, x[:5], x[0]), "affine_backward": (x, x, x[:5])}
    for name, arguments in calls.items():
        for _ in range(9):
            getattr(zerodl_c, name)(*arguments)
        third = np.ones(8, np.longdouble) / 3
        tiny = np.array(np.finfo(dtype).tiny)
        if not np.isfinite(third).all() or abs(third[0] * 3 - 1) > 1e-15 or tiny / 2 * 2 != tiny:
            print(name, dtype.__name__)
""",
        ZERODL_ISA=level,
    )
    assert (done.stdout, done.returncode) == ("", 0), done.stderr


@pytest.mark.parametrize("dtype", DTYPES)
def test_kernels_write_nothing_beside_their_output(dtype, isa):
    """A rim of ones around the output stays, for every length, at every alignment."""
    suffix, ctype = ("f32", "float[]") if dtype == np.float32 else ("f64", "double[]")

    def at(x):
        return ffi.from_buffer(ctype, x)

    for n, start in product([*range(0, 36), 64, 65], range(4)):
        x = normal((n,), dtype)
        memory = np.ones(start + n + 20, dtype)
        for name in ("exp", "log", "tanh", "sigmoid", "relu"):
            memory[:] = 1
            getattr(lib, f"zdl_{name}_{suffix}")(at(memory[start:]), at(np.append(x, 0).astype(dtype)), n)
            assert (memory[:start] == 1).all() and (memory[start + n :] == 1).all(), (name, n)
        for name in ("softmax", "log_softmax"):
            memory[:] = 1
            getattr(lib, f"zdl_{name}_{suffix}")(at(memory[start:]), at(np.append(x, 0).astype(dtype)), 1, n)
            assert (memory[:start] == 1).all() and (memory[start + n :] == 1).all(), (name, n)
        memory[:] = 1
        column = np.ones(max(n, 1), dtype)
        getattr(lib, f"zdl_matmul_{suffix}")(at(memory[start:]), n, at(column), 1, 1, at(column), n, 1, 1, 1, n)
        assert (memory[:start] == 1).all() and (memory[start + n :] == 1).all(), ("matmul", n)
