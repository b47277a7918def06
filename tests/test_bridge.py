"""What goes into C and what comes out: dtypes, array-likes, wrong input, and memory."""

import array
import sys
from itertools import product

import numpy as np
import pytest
from api import BACKWARD, FUNCTIONS, GRADIENT, LABELLED, MATRIX, SOFTMAX, SQUARES, UNARY
from arrays import DTYPES, LAYOUTS, normal, specials
from tolerances import assert_close, assert_identical

import zerodl_c
from zerodl_c import _bridge as bridge
from zerodl_c import _config, reference
from zerodl_c._bridge import ffi, lib

pytestmark = pytest.mark.filterwarnings("error")

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
@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS], ids=lambda dtype: np.dtype(dtype).name)
def test_the_dtype_of_the_result(name, dtype):
    """That of float operands; float64 for integers and bools."""

    def convert(x):
        return (np.asarray(x) * (1 if dtype in FLOATS else 8)).astype(dtype)

    results = call(zerodl_c, name, convert)
    expected = {"step_function": np.int64}.get(name, dtype if dtype in FLOATS else np.float64)
    assert [result.dtype for result in results] == [expected] * len(results)
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
@pytest.mark.parametrize("like", LIKES.values(), ids=LIKES)
def test_array_likes(name, like):
    got, expected = call(zerodl_c, name, like), call(zerodl_c, name)
    for pair in zip(got, expected, strict=True):
        assert type(pair[0]) is type(pair[1])
        np.testing.assert_array_equal(*pair)


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

WRONG_DTYPES = {
    "complex": lambda x: np.asarray(x, complex),
    "complex64": lambda x: np.asarray(x, np.complex64),
    "object": lambda x: np.asarray(x, object),
    "string": lambda x: np.asarray(x).astype(str),
    "bytes": lambda x: np.asarray(x).astype("S"),
    "datetime": lambda x: np.asarray(x).astype("M8[s]"),
    "timedelta": lambda x: np.asarray(x).astype("m8[s]"),
    "structured": lambda x: np.zeros(np.shape(x), [("x", float)]),
}
if np.dtype(np.longdouble).itemsize > 8:
    WRONG_DTYPES["longdouble"] = lambda x: np.asarray(x, np.longdouble)


@every_operand
@pytest.mark.parametrize("kind", WRONG_DTYPES)
def test_a_wrong_dtype_is_a_typeerror_that_names_the_argument_and_the_dtype(name, key, kind):
    wrong = WRONG_DTYPES[kind](ARGUMENTS[name][key])
    with pytest.raises(TypeError, match=rf"^{key} must .*") as caught:
        call(zerodl_c, name, **{key: wrong})
    assert str(wrong.dtype) in str(caught.value)


@every_operand
@pytest.mark.parametrize("value", [None, {}, {1, 2}, slice(1), "abc", 1j, [None], [[1, "a"]]], ids=str)
def test_what_is_no_number_is_a_typeerror_that_names_the_argument(name, key, value):
    with pytest.raises(TypeError, match=f"^{key} must"):
        call(zerodl_c, name, **{key: value})


class GivesText:
    def __array__(self, *args, **kwargs):
        return "abc"


ENDLESS = []
ENDLESS.append(ENDLESS)


@every_operand
@pytest.mark.parametrize("value", [[[1.0], [2.0, 3.0]], GivesText(), ENDLESS], ids=["ragged", "__array__", "endless"])
def test_what_numpy_refuses_is_reported_with_the_name(engine, name, key, value):
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
    with pytest.raises(RuntimeError, match="an array has got another shape or dtype during the call"):
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
    assert done.stdout.splitlines() == ["no memory for the workspace of the call"] * 2 + ["512.0"], done.stderr


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
