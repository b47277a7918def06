"""Activations, softmax and losses: C against the reference, `out`, and wrong input."""

import tracemalloc
from typing import NamedTuple

import numpy as np
import pytest
from api import GRADIENT, LABELLED, PAIRS
from arrays import DTYPES, EMPTY, LAYOUTS, LENGTHS, arrays, normal, special_arrays
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tolerances import assert_close, assert_identical

import zerodl_c
from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")

# --- How much of each formula cancels: (terms of a sum, size of what cancels) -------------------


def relative(*operands, **keywords):
    return 0, 0.0


def sigmoid_grad_scale(x):
    """1 - s loses eps: relative to s, not to the result."""
    return 0, reference.sigmoid(x)


def terms_along(x, axis):
    return x.size if axis is None or not x.ndim else x.shape[axis]


def softmax_scale(x, axis=-1):
    """The rounding of x - max counts |x - max| times in exp(x - max)."""
    depth = np.nan_to_num(x.max(axis=axis, keepdims=True, initial=-np.inf) - x)
    return terms_along(x, axis), reference.softmax(x, axis) * (1 + np.minimum(depth, 800))


def log_softmax_scale(x, axis=-1):
    return terms_along(x, axis), 1 + np.abs(reference.log_softmax(x, axis))


def tanh_backward_scale(dout, y):
    """1 - y^2 loses eps: relative to its terms, not to the result."""
    return 0, np.abs(dout) * (1 + y * y)


def softmax_backward_scale(dout, y, axis=-1):
    terms = np.abs(dout * y).sum(axis=axis, keepdims=True)
    return terms_along(y, axis), np.abs(y) * (np.abs(dout) + terms)


class Call(NamedTuple):
    """A function with the keywords to call it with; scale is None where results are exact."""

    name: str
    operands: int
    scale: object
    keywords: dict = {}  # noqa: RUF012  (read only)

    def __call__(self, engine, *operands, **more):
        return getattr(engine, self.name)(*operands, **self.keywords, **more)

    def __repr__(self):
        return " ".join([self.name, *(f"{key}={value}" for key, value in self.keywords.items())])


CALLS = [
    Call("step_function", 1, None),
    Call("relu", 1, None),
    Call("relu_grad", 1, None),
    Call("relu_backward", 2, None),
    Call("sigmoid", 1, relative),
    Call("sigmoid_grad", 1, sigmoid_grad_scale),
    Call("sigmoid_backward", 2, relative),
    Call("tanh", 1, relative),
    Call("tanh_backward", 2, tanh_backward_scale),
    Call("sum_squared_error", 2, relative),
    Call("mean_squared_error", 2, relative),
    *(Call("softmax", 1, softmax_scale, {"axis": axis}) for axis in (-1, 0, None)),
    *(Call("log_softmax", 1, log_softmax_scale, {"axis": axis}) for axis in (-1, 0, None)),
    *(Call("softmax_backward", 2, softmax_backward_scale, {"axis": axis}) for axis in (-1, 0, None)),
]
WITH_OUT = [call for call in CALLS if call.name in {"relu", "sigmoid", "tanh", "softmax"}]

every_call = pytest.mark.parametrize("call", CALLS, ids=repr)
every_out = pytest.mark.parametrize("call", WITH_OUT, ids=repr)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def assert_as_reference(call, operands, label=""):
    """C gives what the reference gives, in a new array, and leaves its inputs alone."""
    before = [x.tobytes() for x in operands]
    got = call(zerodl_c, *operands)
    assert [x.tobytes() for x in operands] == before, f"{label}: an input was changed"
    assert not any(np.may_share_memory(got, x) for x in operands), label
    with np.errstate(all="ignore"):
        expected = call(reference, *operands)
        if call.scale is None:
            assert_identical(got, expected, label)
        else:
            terms, scale = call.scale(*operands, **call.keywords)
            assert_close(got, expected, terms, scale, label)


# --- Against the reference ----------------------------------------------------------------------


@every_dtype
@every_call
def test_every_shape_in_every_layout(call, dtype):
    for label, operands in arrays(dtype, call.operands):
        assert_as_reference(call, operands, label)


@every_dtype
@every_call
def test_every_isa_level(call, dtype, isa):
    lengths = [(2, n) for n in (*LENGTHS, 64, 65, 100)]
    for seed, shape in enumerate(lengths):
        operands = [normal(shape, dtype, seed + 100 * k) for k in range(call.operands)]
        assert_as_reference(call, operands, f"{shape}")
        assert_as_reference(call, [LAYOUTS["offset"](x) for x in operands], f"offset {shape}")
    for label, (*first, last) in special_arrays(dtype, call.operands):
        if call.name.endswith("_backward"):  # y is an output of the forward function
            with np.errstate(all="ignore"):
                last = getattr(reference, call.name.removesuffix("_backward"))(last)
        assert_as_reference(call, [*first, last], label)


@every_dtype
@every_call
def test_any_number_of_threads(call, dtype, threads):
    for shape in ((1237, 211), (3, 87001), (260987,)):  # more than 7 times the largest grain
        operands = [normal(shape, dtype, seed) for seed in range(call.operands)]
        assert_as_reference(call, operands, f"{shape}")


def test_identity_function_gives_x_itself(engine):
    for x in (np.ones(3), 2, [1, 2], "anything"):
        assert engine.identity_function(x) is x


@every_dtype
def test_the_signs_of_zeros_and_the_fate_of_nan(dtype):
    zeros, nan = np.array([0.0, -0.0], dtype), np.array([np.nan], dtype)
    assert_identical(zerodl_c.tanh(zeros), zeros)
    assert_identical(zerodl_c.relu(zeros), np.zeros(2, dtype))
    assert_identical(zerodl_c.relu_grad(zeros), np.ones(2, dtype))
    assert_identical(zerodl_c.step_function(zeros), np.zeros(2, np.int64))
    for name in ("sigmoid", "sigmoid_grad", "tanh", "relu", "softmax", "log_softmax"):
        assert np.isnan(getattr(zerodl_c, name)(nan)).all(), name
    assert_identical(zerodl_c.relu_grad(nan), np.zeros(1, dtype))
    assert_identical(zerodl_c.step_function(nan), np.zeros(1, np.int64))
    assert_identical(zerodl_c.relu_backward(np.ones(1, dtype), nan), np.ones(1, dtype))


@every_dtype
def test_the_far_ends(dtype):
    far = np.array([-np.inf, -1000, 1000, np.inf], dtype)
    assert_identical(zerodl_c.sigmoid(far), np.array([0, 0, 1, 1], dtype))
    assert_identical(zerodl_c.sigmoid_grad(far), np.zeros(4, dtype))
    assert_identical(zerodl_c.tanh(far), np.array([-1, -1, 1, 1], dtype))
    assert_identical(zerodl_c.softmax(far[:3]), np.array([0, 0, 1], dtype))
    assert_identical(zerodl_c.log_softmax(far[:3]), np.array([-np.inf, -2000, 0], dtype))
    assert np.isnan(zerodl_c.softmax(far)).all() and np.isnan(zerodl_c.log_softmax(far)).all()


@every_dtype
@settings(deadline=None)
@given(data=st.data())
def test_softmax_of_any_finite_numbers_is_a_distribution(dtype, data):
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=20))
    finite = st.floats(allow_nan=False, allow_infinity=False, width=np.dtype(dtype).itemsize * 8)
    x = data.draw(hnp.arrays(dtype, shape, elements=finite))
    axis = data.draw(st.sampled_from([None, *range(-x.ndim, x.ndim)]))
    y = zerodl_c.softmax(x, axis)
    assert (y >= 0).all()
    np.testing.assert_allclose(y.sum(axis=axis), 1, rtol=terms_along(x, axis) * np.finfo(dtype).eps)
    assert_as_reference(Call("softmax", 1, softmax_scale, {"axis": axis}), [x])
    assert_as_reference(Call("log_softmax", 1, log_softmax_scale, {"axis": axis}), [x])


@every_dtype
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmax_backward"])
def test_every_axis(name, dtype):
    call = next(call for call in CALLS if call.name == name)
    x = [normal((2, 3, 4), dtype, seed) for seed in range(call.operands)]
    for axis in range(-3, 3):
        assert_as_reference(call._replace(keywords={"axis": axis}), x, f"axis {axis}")
        assert_as_reference(call._replace(keywords={"axis": np.int64(axis)}), x, f"axis {axis}")
    for axis in (0, -1):  # NumPy lets a 0-d array have these
        assert_as_reference(call._replace(keywords={"axis": axis}), [array[0, 0, 0] for array in x])


def test_operands_broadcast():
    for call in (call for call in CALLS if call.operands == 2):
        for shapes in (((3, 1), (1, 4)), ((2, 3), (3,)), ((), (4,)), ((2, 0), (1,))):
            operands = [normal(shape, np.float64, seed) for seed, shape in enumerate(shapes)]
            assert_as_reference(call, operands, f"{call} {shapes}")


# --- out= -----------------------------------------------------------------------------------------

OUT_LAYOUTS = [name for name in LAYOUTS if name not in {"byte-swapped", "read-only", "repeated"}]


@every_out
@pytest.mark.parametrize("layout", OUT_LAYOUTS)
@pytest.mark.parametrize("dtype", [*DTYPES, np.float16])
def test_out_takes_the_result_and_is_returned(call, layout, dtype):
    for shape in ((), (5,), (3, 17), (2, 3, 4), *EMPTY):
        x = normal(shape, dtype)
        out = LAYOUTS[layout](np.full(shape, -7, dtype))
        assert call(zerodl_c, x, out=out) is out
        np.testing.assert_array_equal(out, call(zerodl_c, x))


OVERLAPS = {
    "x itself": lambda memory: (memory[1:], memory[1:]),
    "another view of x": lambda memory: (memory[1:], memory[1:][...]),
    "one row ahead": lambda memory: (memory[:-1], memory[1:]),
    "one row behind": lambda memory: (memory[1:], memory[:-1]),
    "half a row ahead": lambda memory: (
        memory.ravel()[:80].reshape(8, 10),
        memory.ravel()[5:85].reshape(8, 10),
    ),
    "x reversed": lambda memory: (memory[1:], memory[:0:-1]),
    "x transposed": lambda memory: (memory[:, :9], memory[:, :9].T),
    "every other column": lambda memory: (memory[:, :5], memory[:, ::2]),
}


@every_out
@pytest.mark.parametrize("overlap", OVERLAPS.values(), ids=OVERLAPS)
@pytest.mark.parametrize("dtype", [*DTYPES, np.float16])
def test_out_may_overlap_x(call, overlap, dtype):
    x, out = overlap(normal((9, 10), dtype))
    expected = call(zerodl_c, x.copy())
    assert call(zerodl_c, x, out=out) is out
    np.testing.assert_array_equal(out, expected)


@every_out
def test_out_may_be_a_large_x_on_threads(call, threads):
    x = normal((1237, 211), np.float64)
    expected = call(zerodl_c, x)
    call(zerodl_c, x, out=x)
    np.testing.assert_array_equal(x, expected)


WRONG_OUTS = {
    "shape": (np.zeros((3, 2)), ValueError, r"out .*\(2, 3\).*\(3, 2\)"),
    "shape that would broadcast": (np.zeros((4, 2, 3)), ValueError, r"out .*\(4, 2, 3\)"),
    "narrow dtype": (np.zeros((2, 3), np.float32), TypeError, "out .*float64.*float32"),
    "integer dtype": (np.zeros((2, 3), int), TypeError, "out .*float64.*int64"),
    "complex dtype": (np.zeros((2, 3), complex), TypeError, "out .*float64.*complex128"),
    "byte order": (np.zeros((2, 3), np.dtype(float).newbyteorder()), TypeError, "out .*float64"),
    "read-only": (LAYOUTS["read-only"](np.zeros((2, 3))), ValueError, "out .*read-only"),
    "list": ([[0.0] * 3] * 2, TypeError, "out .*list"),
    "number": (0.0, TypeError, "out .*float"),
}


@every_out
@pytest.mark.parametrize(("out", "error", "message"), WRONG_OUTS.values(), ids=WRONG_OUTS)
def test_a_wrong_out_is_refused_and_untouched(call, engine, out, error, message):
    before = np.array(out)
    with pytest.raises(error, match=message):
        call(engine, np.ones((2, 3)), out=out)
    np.testing.assert_array_equal(out, before)


@every_out
def test_out_is_untouched_where_x_is_wrong(call):
    out = np.full((2, 3), 7.0)
    with pytest.raises(TypeError, match="x must be real"):
        call(zerodl_c, np.ones((2, 3), complex), out=out)
    with pytest.raises(ValueError, match="axis 2 is out of bounds"):
        zerodl_c.softmax(np.ones((2, 3)), axis=2, out=out)
    assert (out == 7).all()


# --- Losses with labels ---------------------------------------------------------------------------


def probabilities(batch, classes, dtype):
    return reference.softmax(normal((batch, classes), dtype))


def targets(batch, classes):
    """The same labels in every form that they may have: a label, and t."""
    labels = np.random.default_rng(batch).integers(0, classes, batch)
    one_hot = np.eye(classes, dtype=int)[labels]
    yield "labels", labels
    yield "column of labels", labels[:, None] if classes > 1 else one_hot
    yield "narrow labels", labels.astype(np.int8)
    yield "unsigned labels", labels.astype(np.uint64)
    yield "byte-swapped labels", labels.astype(labels.dtype.newbyteorder())
    yield "strided labels", np.repeat(labels, 2)[::2]
    yield "reversed labels", labels[::-1].copy()[::-1]
    yield "list of labels", labels.tolist()
    yield "one-hot", one_hot
    yield "float one-hot", one_hot.astype(np.float32)
    yield "transposed one-hot", np.asfortranarray(one_hot)
    yield "list of one-hot rows", one_hot.tolist()


@every_dtype
@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 1), (5, 2), (3, 17), (100, 10)], ids=str)
def test_losses_take_labels_in_any_form(name, shape, dtype, isa):
    y = probabilities(*shape, dtype)
    for label, t in targets(*shape):
        for layout in ("contiguous", "fortran", "backwards", "misaligned"):
            laid_out = LAYOUTS[layout](y)
            got = getattr(zerodl_c, name)(laid_out, t)
            expected = getattr(reference, name)(y, t)
            pairs = zip(got, expected, strict=True) if type(got) is tuple else [(got, expected)]
            for part in pairs:
                assert_close(*part, terms=y.size, scale=1, label=f"{label}, {layout}")
            np.testing.assert_array_equal(laid_out, y)


@every_dtype
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 1), (5, 2), (3, 17), (100, 10)], ids=str)
def test_the_gradient_takes_labels_in_any_form(shape, dtype, isa):
    y = probabilities(*shape, dtype)
    soft = LAYOUTS["fortran"](probabilities(*shape, dtype)[::-1])
    for label, t in (*targets(*shape), ("soft", soft)):
        for layout in ("contiguous", "fortran", "backwards", "misaligned"):
            got = zerodl_c.softmax_cross_entropy_backward(LAYOUTS[layout](y), t)
            expected = reference.softmax_cross_entropy_backward(y, t)
            assert_close(got, expected, scale=1 / shape[0], label=f"{label}, {layout}")


def test_labels_and_one_hot_rows_are_one_loss(engine):
    y, labels = probabilities(50, 7, np.float64), np.arange(50) % 7
    one_hot = np.eye(7)[labels]
    for name in ("cross_entropy_error", "softmax_loss", "softmax_cross_entropy", GRADIENT):
        loss = getattr(engine, name)
        np.testing.assert_equal(loss(y, labels), loss(y, one_hot))
    soft = 0.7 * one_hot + 0.3 / 7  # the label of a row is its argmax
    assert engine.cross_entropy_error(y, soft) == engine.cross_entropy_error(y, labels)


@every_dtype
def test_the_fused_loss_is_the_composition(engine, dtype):
    x, labels = normal((31, 10), dtype), np.arange(31) % 10
    loss, y = engine.softmax_cross_entropy(x, labels)
    assert_identical(y, engine.softmax(x))
    assert_identical(loss, engine.cross_entropy_error(y, labels))
    assert_identical(loss, engine.softmax_loss(x, labels))


@every_dtype
@pytest.mark.parametrize("shape", [(31, 10), (40, 700), (2, 20001)])
def test_the_loss_and_its_gradient_are_the_composition(engine, dtype, shape, isa, threads):
    x, labels = normal(shape, dtype), np.arange(shape[0]) * 7 % shape[1]
    one_hot = (np.arange(shape[1]) == labels[:, None]).astype(dtype)
    loss, y = engine.softmax_cross_entropy(x, labels)
    for t in (labels, one_hot):
        got = engine.softmax_cross_entropy_gradient(x, t)
        assert_identical(got[0], loss)
        np.testing.assert_array_max_ulp(got[1], engine.softmax_cross_entropy_backward(y, t), maxulp=4)


@every_dtype
@pytest.mark.parametrize("shape", [(1, 1), (1, 3), (4, 1), (5, 2), (3, 17), (100, 10)], ids=str)
def test_the_loss_and_its_gradient_take_targets_in_any_form(shape, dtype, isa):
    x, soft = normal(shape, dtype), LAYOUTS["fortran"](probabilities(*shape, dtype)[::-1])
    for label, t in (*targets(*shape), ("soft", soft), ("soft lists", soft.tolist())):
        for layout in ("contiguous", "fortran", "backwards", "misaligned", "byte-swapped"):
            got = zerodl_c.softmax_cross_entropy_gradient(LAYOUTS[layout](x), t)
            expected = reference.softmax_cross_entropy_gradient(x, t)
            assert_close(got[0], expected[0], terms=sum(shape), scale=1, label=f"{label}, {layout}")
            assert got[1].dtype == expected[1].dtype
            pair = (dx.astype(dtype) for dx in (got[1], expected[1]))  # float64 targets widen it, but not softmax(x)
            assert_close(*pair, terms=shape[1], scale=1 / shape[0], label=f"{label}, {layout}")


def test_one_row_has_a_loss_and_a_gradient_of_its_shape(engine):
    x = normal((5,), np.float64)
    loss, dx = engine.softmax_cross_entropy_gradient(x[None], [3])
    for t in (3, [3], np.array(3, np.uint8), [0, 0, 0, 1, 0], [[0.0, 0, 0, 1, 0]]):
        got = engine.softmax_cross_entropy_gradient(x, t)
        assert got[0] == loss
        assert_identical(got[1], dx[0])


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES, np.int64])
@pytest.mark.parametrize("t_dtype", [np.float16, *DTYPES, np.int8, bool])
def test_targets_that_are_floats_widen_the_gradient_and_not_the_loss(dtype, t_dtype):
    x, t = np.array([[1, 2, 0], [0, 4, 1]], dtype), np.eye(3)[[2, 1]].astype(t_dtype)
    got, expected = (engine.softmax_cross_entropy_gradient(x, t) for engine in (zerodl_c, reference))
    assert [y.dtype for y in got] == [y.dtype for y in expected]
    for pair in zip(got, expected, strict=True):
        assert_close(*(y.astype(got[0].dtype) for y in pair), terms=6, scale=1)


def test_soft_targets_are_subtracted_as_they_are(engine):
    x, t = normal((4, 3), np.float64), normal((4, 3), np.float64, 1)
    dx = engine.softmax_cross_entropy_gradient(x, t)[1]
    np.testing.assert_allclose(dx, (reference.softmax(x) - t) / 4, rtol=0, atol=1e-15)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_loss_and_gradient_of_special_values_are_the_references(value):
    for shape in ((5, 4), (3, 200)):
        x, labels = normal(shape, np.float64), np.arange(shape[0]) % shape[1]
        x[1, 2] = value
        with np.errstate(all="ignore"):
            expected = reference.softmax_cross_entropy_gradient(x, labels)
        for pair in zip(zerodl_c.softmax_cross_entropy_gradient(x, labels), expected, strict=True):
            assert_close(*pair, terms=200, scale=1)


@every_dtype
def test_the_gradient_of_special_values(dtype, isa):
    y = np.array([[-0.0, np.inf, 0.5], [np.nan, -np.inf, 0.0], [np.finfo(dtype).tiny, 1.0, 0.25]], dtype)
    got = zerodl_c.softmax_cross_entropy_backward(y, [2, 2, 2])
    assert_identical(got, reference.softmax_cross_entropy_backward(y, [2, 2, 2]))


@every_dtype
def test_one_row_is_a_batch_of_one(engine, dtype):
    y = probabilities(1, 5, dtype)
    for t in (3, [3], [0, 0, 0, 1, 0], [[0, 0, 0, 1, 0]]):
        for name in (*LABELLED, GRADIENT):
            got, expected = (getattr(engine, name)(y, t) for y in (y[0], y))
            if name in PAIRS:
                assert got[1].shape == (5,)
                np.testing.assert_array_equal(got[1], expected[1][0])
                got, expected = got[0], expected[0]
            assert got.shape in ((), (5,))
            np.testing.assert_array_equal(got, np.reshape(expected, got.shape))


@every_dtype
def test_cross_entropy_of_what_is_no_probability(dtype, isa):
    y = np.array([[0], [1], [np.inf], [np.nan], [-1], [np.finfo(dtype).tiny]], dtype)
    for row in y:
        with np.errstate(all="ignore"):
            expected = reference.cross_entropy_error(row, [0])
        assert_close(zerodl_c.cross_entropy_error(row, [0]), expected, scale=1)


@every_dtype
def test_large_batches_on_threads(dtype, threads):
    x, labels = normal((30011, 17), dtype), np.arange(30011) % 17
    loss, y = zerodl_c.softmax_cross_entropy(x, labels)
    with np.errstate(all="ignore"):
        terms, scale = softmax_scale(x)
        assert_close(y, reference.softmax(x), terms, scale)
        assert_close(loss, reference.softmax_loss(x, labels), terms=17, scale=1)
    for t in (labels, np.eye(17, dtype=dtype)[labels]):
        got = zerodl_c.softmax_cross_entropy_backward(y, t)
        assert_close(got, reference.softmax_cross_entropy_backward(y, t), scale=1 / 30011)


def test_losses_of_nothing():
    nothing = np.ones((0, 3), np.float32)
    assert_identical(zerodl_c.sum_squared_error(nothing, nothing), np.float32(0))
    assert_identical(zerodl_c.mean_squared_error(nothing, nothing), np.float32(np.nan))


@pytest.mark.parametrize(("dtype", "large"), [(np.float16, 200), (np.float32, 1e19)])
def test_a_mean_overflows_only_where_it_must(dtype, large):
    y = np.full(100, large, dtype)  # a square is below the largest number, their sum is not
    expected = reference.mean_squared_error(y, 0)
    assert np.isfinite(expected)
    assert_close(zerodl_c.mean_squared_error(y, 0), expected)


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
def test_a_loss_that_overflows_is_inf_and_says_nothing(dtype):
    y = np.full(100, np.finfo(dtype).max)
    assert_identical(zerodl_c.sum_squared_error(y, 0), dtype(np.inf))
    assert_identical(zerodl_c.mean_squared_error(y, -y), dtype(np.inf))


# --- Wrong input ----------------------------------------------------------------------------------

WRONG_LABELS = {
    "too few": ([0], ValueError, r"t must hold 2 labels.*\(2, 3\).*\(1,\)"),
    "too many": ([0, 1, 2], ValueError, r"t must hold 2 labels.*\(3,\)"),
    "none": ([], ValueError, "t must hold 2 labels"),
    "flat one-hot": ([0, 0, 1, 0, 1, 0], ValueError, "t must hold 2 labels"),
    "transposed one-hot": (np.eye(3)[:, :2], ValueError, "t must hold 2 labels"),
    "too large": ([0, 3], IndexError, "t must hold labels from 0 to 2, got 0 to 3"),
    "negative": ([-1, 0], IndexError, "t must hold labels from 0 to 2, got -1 to 0"),
    "beyond int64": (np.array([0, 2**64 - 1], np.uint64), IndexError, "t must hold labels"),
    "floats": ([0.0, 1.0], TypeError, "t must .*float64"),
    "complex": (np.zeros(2, complex), TypeError, "t must .*complex128"),
    "strings": (np.array(["0", "1"]), TypeError, "t must .*<U1"),
    "objects": (np.array([0, 1], object), TypeError, "t must .*object"),
    "None": (None, (TypeError, ValueError), "t must"),
    "complex one-hot": (np.eye(3, dtype=complex)[:2], TypeError, "t must .*complex128"),
    "string one-hot": (np.eye(3)[:2].astype(str), TypeError, "t must .*<U"),
    "object one-hot": (np.eye(3, dtype=object)[:2], TypeError, "t must .*object"),
    "dates": (np.zeros((2, 3), "M8[s]"), TypeError, "t must .*datetime64"),
    "ragged": ([[0, 1, 0], [1]], ValueError, "inhomogeneous"),
}


@pytest.mark.parametrize("name", [*LABELLED, GRADIENT])
@pytest.mark.parametrize(("t", "error", "message"), WRONG_LABELS.values(), ids=WRONG_LABELS)
def test_wrong_labels(name, t, error, message):
    with pytest.raises(error, match=message):
        getattr(zerodl_c, name)(np.full((2, 3), 1 / 3), t)


@pytest.mark.parametrize(("t", "error", "message"), WRONG_LABELS.values(), ids=WRONG_LABELS)
@pytest.mark.parametrize("shape", [(2, 3), (3,), (2, 1)], ids=str)
def test_errors_of_the_loss_and_its_gradient_are_those_of_the_gradient(shape, t, error, message):
    y, raised = np.full(shape, 0.5), []
    for engine, name in ((zerodl_c, "gradient"), (zerodl_c, "backward"), (reference, "gradient")):
        try:
            getattr(engine, f"softmax_cross_entropy_{name}")(y, t)
            raised.append(None)
        except Exception as caught:
            raised.append(type(caught))
    assert raised == raised[:1] * 3


@pytest.mark.parametrize("name", [*LABELLED, GRADIENT])
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (3, 0), (2, 3, 4)], ids=str)
def test_labelled_losses_want_a_matrix_with_something_in_it(engine, name, shape):
    with pytest.raises(ValueError, match="y must be 1-D or 2-D and not empty"):
        getattr(engine, name)(np.ones(shape), np.zeros(shape[:1], int))


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmax_backward"])
@pytest.mark.parametrize(
    ("axis", "error"),
    [(2, ValueError), (-3, ValueError), (1.0, TypeError), ("1", TypeError), ([1], TypeError)],
    ids=str,
)
def test_wrong_axes(engine, name, axis, error):
    operands = [np.ones((2, 3))] * (1 + (name == "softmax_backward"))
    with pytest.raises(error):
        getattr(engine, name)(*operands, axis=axis)


@pytest.mark.parametrize("axis", [1, -2, 5])
def test_a_0d_array_has_no_other_axes(engine, axis):
    with pytest.raises(ValueError, match=f"axis {axis} is out of bounds"):
        engine.softmax(1.0, axis)


@pytest.mark.parametrize("call", [call for call in CALLS if call.operands == 2], ids=repr)
def test_shapes_that_do_not_broadcast(engine, call):
    with pytest.raises(ValueError, match=r"(?=.*\(2, ?3\))(?=.*\(4, ?3\))"):
        call(engine, np.ones((2, 3)), np.ones((4, 3)))


# --- Backward passes against central differences --------------------------------------------------


def assert_gradient(dx, loss, *operands, tolerance=1e-8):
    """dx holds the derivatives of loss(*operands) with respect to the first operand."""
    x = operands[0].copy()
    expected = reference.numerical_gradient(lambda x: loss(x, *operands[1:]), x, h=1e-5)
    assert dx.shape == x.shape
    np.testing.assert_allclose(dx, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "relu"])
def test_backward_of_activations(engine, name):
    forward, backward = getattr(engine, name), getattr(engine, f"{name}_backward")
    x, dout = normal((5, 7), np.float64, 1), normal((5, 7), np.float64, 2)
    assert np.abs(x).min() > 1e-3  # away from relu's kink
    dx = backward(dout, forward(x))
    assert_gradient(dx, lambda x: np.sum(dout * forward(x)), x)
    if name != "tanh":
        np.testing.assert_allclose(dx, dout * getattr(engine, f"{name}_grad")(x), rtol=1e-13)


@pytest.mark.parametrize("axis", [-1, 0, 1, None])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)], ids=str)
def test_backward_of_softmax(engine, axis, shape):
    if axis == 1 and len(shape) == 1:
        axis = 0
    x, dout = normal(shape, np.float64, 1), normal(shape, np.float64, 2)
    dx = engine.softmax_backward(dout, engine.softmax(x, axis), axis)
    assert_gradient(dx, lambda x: np.sum(dout * engine.softmax(x, axis)), x)


def cross_entropy_of(engine, x, t):
    """With soft targets, and without the 1e-7 of cross_entropy_error."""
    return -np.sum(t * engine.log_softmax(x)) / len(x)


@pytest.mark.parametrize("kind", ["labels", "one-hot", "soft"])
def test_backward_of_the_loss(engine, kind):
    x, labels = normal((6, 5), np.float64), np.array([0, 4, 2, 2, 1, 3])
    t = probabilities(6, 5, np.float64)[:, ::-1] if kind == "soft" else np.eye(5)[labels]
    y = engine.softmax_cross_entropy(x, labels)[1]
    dx = engine.softmax_cross_entropy_backward(y, labels if kind == "labels" else t)
    assert_gradient(dx, lambda x: cross_entropy_of(engine, x, t), x)
    if kind != "soft":  # the 1e-7 in the logarithm moves the gradient by as much
        assert_gradient(dx, lambda x: engine.softmax_loss(x, labels), x, tolerance=1e-7 / y.min())


def test_backward_of_squares_is_the_difference(engine):
    y, t = normal((3, 4), np.float64, 1), normal((3, 4), np.float64, 2)
    assert_gradient(y - t, lambda y: engine.sum_squared_error(y, t), y)
    assert_gradient((y - t) / 6, lambda y: engine.mean_squared_error(y, t), y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 3, 300])
def test_the_class_of_a_row_is_that_of_its_largest_entry(dtype, rows):
    """The first of equals, and the first nan, as by NumPy's argmax."""
    t = normal((rows, 7), dtype).round(1)
    t[::3, 4] = t[::3].max(axis=1)
    t[1::4, 5] = np.nan
    t[1::8, 2] = np.nan
    t[2::4] = -np.inf
    x, labels = normal((rows, 7), dtype, 1), t.argmax(axis=1)
    for function in (zerodl_c.softmax_cross_entropy, lambda x, t: [zerodl_c.cross_entropy_error(abs(x) + 1, t)]):
        for got, expected in zip(function(x, t), function(x, labels), strict=True):
            np.testing.assert_array_equal(got, expected)


# --- Large inputs of another dtype ----------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float32, np.uint8, np.int64])
def test_a_large_x_of_another_dtype_is_converted_a_piece_at_a_time(kind, threads):
    """As 60,000 images of float32 are by weights of float64: the same to the bit, without a copy of all of x."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 4, (9000, 101)).astype(kind)
    net = zerodl_c.TwoLayerNet(101, 5, 3)
    W, b = net.params["W1"], net.params["b1"]
    for f in (lambda x: zerodl_c.affine(x, W, b), net.predict):
        tracemalloc.start()
        got = f(x)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert_identical(got, f(x.astype(np.float64)))
        assert peak < x.size * 8 / 2


def test_a_large_x_that_does_not_fit_is_refused_as_a_whole():
    with pytest.raises(ValueError, match=r"got \(9000, 101\), \(100, 5\)"):
        zerodl_c.affine(np.ones((9000, 101), np.float32), np.ones((100, 5)), np.ones(5))
