"""Matrix products: C against NumPy, over the edges of tiles and blocks, in every layout."""

from itertools import product

import numpy as np
import pytest
from arrays import DTYPES, LAYOUTS, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from tolerances import assert_close, assert_identical

import zerodl_c
from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)

# The edges of a tile (6 or 8 rows; 2 or 3 vectors of 2 ... 16 columns), and of the blocks around it.
ROWS = [0, 1, 2, 5, 6, 7, 8, 9, 11, 12, 13, 17]
COLS = [0, 1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49]
DEPTHS = [0, 1, 2, 7]
BLOCKS = {
    "depth - 1": (7, 511, 9),
    "depth": (7, 512, 9),
    "depth + 1": (13, 513, 33),
    "two depths + 1": (13, 1025, 17),
    "rows - 1": (95, 513, 17),
    "rows": (96, 513, 17),
    "rows + 1": (97, 1025, 33),
    "columns - 1": (3, 2, 1031),
    "columns": (3, 2, 1032),
    "columns + 1": (13, 3, 1033),
    "float32's columns + 1": (9, 3, 2065),
    "columns + 1, two depths": (2, 513, 1033),
    "all + 1": (193, 1025, 1033),
    "a's rows pages apart": (29, 1030, 1031),  # each block of a is packed
    "b's rows a quarter of a page apart": (257, 33, 256),  # b is packed
}


def operands(m, k, n, dtype):
    return normal((m, k), dtype, 1), normal((k, n), dtype, 2)


def assert_product(got, a, b, label=""):
    """got = a @ b, in a new array, as NumPy says; a sum of k terms that may cancel."""
    assert not np.may_share_memory(got, a) and not np.may_share_memory(got, b), label
    with np.errstate(all="ignore"):
        expected, scale = np.matmul(a, b), np.matmul(np.abs(a), np.abs(b))
    assert_close(got, expected.astype(got.dtype), terms=a.shape[-1], scale=scale, label=label)


# --- Shapes and layouts ---------------------------------------------------------------------------


@every_dtype
def test_the_edges_of_tiles(dtype, isa):
    for m, k, n in product(ROWS, DEPTHS, COLS):
        a, b = operands(m, k, n, dtype)
        assert_product(zerodl_c.matmul(a, b), a, b, f"({m}, {k}) @ ({k}, {n})")


@every_dtype
def test_a_few_rows_of_every_width(dtype, isa):
    """They have kernels of their own, which give what the rows are among many."""
    a, b = normal((9, 37), dtype, 1), normal((37, 131), dtype, 2)
    for n in range(1, 132):
        many = zerodl_c.matmul(a, b[:, :n])
        for m in (1, 2, 3):
            assert_identical(zerodl_c.matmul(a[:m], b[:, :n]), many[:m], f"{m} x {n}")


@every_dtype
@pytest.mark.parametrize("shape", BLOCKS.values(), ids=BLOCKS)
def test_the_edges_of_blocks(shape, dtype, isa):
    a, b = operands(*shape, dtype)
    for name, x, y in (
        ("a @ b", a, b),
        ("transposed a", LAYOUTS["fortran"](a), b),
        ("transposed b", a, LAYOUTS["fortran"](b)),
    ):
        assert_product(zerodl_c.matmul(x, y), x, y, name)


@every_dtype
@pytest.mark.parametrize("a_layout", LAYOUTS)
@pytest.mark.parametrize("b_layout", LAYOUTS)
@pytest.mark.parametrize("shape", [(13, 7, 33), (61, 37, 101)], ids=str)
def test_every_layout_of_both_operands(a_layout, b_layout, shape, dtype):
    a, b = operands(*shape, dtype)
    a, b = LAYOUTS[a_layout](a), LAYOUTS[b_layout](b)
    before = a.tobytes(), b.tobytes()
    assert_product(zerodl_c.matmul(a, b), a, b)
    assert (a.tobytes(), b.tobytes()) == before


@every_dtype
def test_rows_columns_and_both_repeated(dtype, isa):
    """Zero strides along one axis; and rows a page apart, which are packed."""
    row, column = normal((1, 40), dtype), normal((40, 1), dtype, 1)
    wide = normal((40, 2100), dtype, 2)
    for a, b in product((np.broadcast_to(row, (40, 40)), np.broadcast_to(column, (40, 40))), repeat=2):
        assert_product(zerodl_c.matmul(a, b), a, b)
    for b in (wide[:, 1:41], wide[::-1, 7:40], wide[:, 40:0:-1], wide[:, ::60]):
        a = normal((60, 40), dtype, 3)
        assert_product(zerodl_c.matmul(a, b), a, b)
        assert_product(zerodl_c.matmul(b.T, a.T), b.T, a.T)


@every_dtype
@settings(deadline=None)
@given(data=st.data())
def test_any_slices_of_any_matrices(dtype, data):
    def sliced(rows, cols):
        """A (rows, cols) view into some larger array, and its own strides."""
        steps = [data.draw(st.sampled_from([1, 1, 2, 3, -1, -2])) for _ in range(2)]
        starts = [data.draw(st.integers(0, 3)) for _ in range(2)]
        sizes = [start + abs(step) * n for start, step, n in zip(starts, steps, (rows, cols), strict=True)]
        memory = normal(tuple(sizes), dtype, data.draw(st.integers(0, 9)))
        view = memory[starts[0] :, starts[1] :][:: steps[0], :: steps[1]]
        assert view.shape == (rows, cols)
        return view

    m, k, n = (data.draw(st.integers(0, 70)) for _ in range(3))
    a = sliced(m, k) if data.draw(st.booleans()) else sliced(k, m).T
    b = sliced(k, n) if data.draw(st.booleans()) else sliced(n, k).T
    assert_product(zerodl_c.matmul(a, b), a, b, f"{a.strides}, {b.strides}")


@every_dtype
def test_nan_and_inf_stay_in_their_rows_and_columns(dtype, isa):
    """Padding at the edges must not mix with them: 0 * inf is nan."""
    for m, k, n in ((7, 9, 17), (13, 5, 3), (1, 1, 1)):
        for value, i in product((np.nan, np.inf, -np.inf), (0, -1)):
            a, b = (np.abs(x) for x in operands(m, k, n, dtype))
            a[i, i] = value
            assert_product(zerodl_c.matmul(a, b), a, b)
            a[i, i], b[i, i] = 1, value
            assert_product(zerodl_c.matmul(a, b), a, b)
            a[i, i] = 0
            assert_product(zerodl_c.matmul(a, b), a, b)


@every_dtype
def test_subnormals_and_overflow(dtype, isa):
    info = np.finfo(dtype)
    a, b = (np.abs(x) for x in operands(7, 3, 17, dtype))
    for scale in (info.smallest_subnormal, info.tiny, info.max / 16):
        x = a * scale
        assert_product(zerodl_c.matmul(x, b), x, b)


@every_dtype
def test_large_products_on_threads(dtype, threads):
    """2 m k n is more than 7 times the grain, whichever way the output is cut."""
    for m, k, n in (
        (131, 117, 127),
        (2, 1501, 700),
        (1501, 600, 3),
        (1, 1301, 1601),
        (1201, 1601, 1),
    ):
        a, b = operands(m, k, n, dtype)
        assert_product(zerodl_c.matmul(a, b), a, b, f"({m}, {k}) @ ({k}, {n})")


# --- Ranks and stacks -----------------------------------------------------------------------------

RANKS = {
    "vector @ vector": ((7,), (7,)),
    "vector @ matrix": ((7,), (7, 5)),
    "matrix @ vector": ((5, 7), (7,)),
    "empty vectors": ((0,), (0,)),
    "vector @ empty matrix": ((0,), (0, 5)),
    "stack @ vector": ((3, 5, 7), (7,)),
    "vector @ stack": ((7,), (3, 7, 5)),
    "stack @ matrix": ((3, 5, 7), (7, 2)),
    "matrix @ stack": ((5, 7), (3, 7, 2)),
    "stack @ stack": ((3, 5, 7), (3, 7, 2)),
    "stack of one @ stack": ((1, 5, 7), (3, 7, 2)),
    "stacks that broadcast": ((2, 1, 5, 7), (3, 7, 2)),
    "stacks that broadcast crosswise": ((4, 1, 5, 7), (1, 3, 7, 2)),
    "empty stack": ((0, 5, 7), (7, 2)),
    "empty stack that broadcasts": ((0, 1, 5, 7), (3, 7, 2)),
    "stack of empty matrices": ((3, 0, 7), (3, 7, 2)),
    "stack with empty sums": ((3, 5, 0), (3, 0, 2)),
}
STACK_LAYOUTS = {
    **LAYOUTS,
    "axes reversed": lambda x: x.T.copy().T,
    "stack innermost": lambda x: np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0),
}


@every_dtype
@pytest.mark.parametrize("shapes", RANKS.values(), ids=RANKS)
def test_every_rank(shapes, dtype, isa):
    for a_layout, b_layout in product(STACK_LAYOUTS, repeat=2):
        a = STACK_LAYOUTS[a_layout](normal(shapes[0], dtype, 1))
        b = STACK_LAYOUTS[b_layout](normal(shapes[1], dtype, 2))
        got, label = zerodl_c.matmul(a, b), f"{a_layout} @ {b_layout}"
        assert not np.may_share_memory(got, a) and not np.may_share_memory(got, b)
        scale = np.matmul(np.abs(a), np.abs(b))
        assert_close(got, reference.matmul(a, b), a.shape[-1], scale, label)


@every_dtype
def test_large_stacks_on_threads(dtype, threads):
    a, b = normal((31, 1, 33, 65), dtype, 1), normal((5, 65, 17), dtype, 2)
    assert_product(zerodl_c.matmul(a, b), a, b)
    assert_product(zerodl_c.matmul(a, b[::-1]), a, b[::-1])


DOTS = {
    **{name: shapes for name, shapes in RANKS.items() if "broadcast" not in name and "stack" not in name},
    "scalar . scalar": ((), ()),
    "scalar . matrix": ((), (3, 4)),
    "matrix . scalar": ((3, 4), ()),
    "matrix . matrix": ((5, 7), (7, 3)),
    "stack . vector": ((2, 3, 7), (7,)),
    "stack . matrix": ((2, 3, 7), (7, 4)),
    "vector . stack": ((7,), (2, 7, 4)),
    "matrix . stack": ((5, 7), (2, 7, 4)),
    "stack . stack": ((2, 3, 7), (4, 7, 5)),
    "4-D . 3-D": ((2, 3, 2, 7), (2, 7, 3)),
    "empty sums": ((2, 3, 0), (0, 4)),
    "empty sums of stacks": ((2, 3, 0), (4, 0, 5)),
    "empty stack . matrix": ((0, 3, 7), (7, 4)),
}


@every_dtype
@pytest.mark.parametrize("shapes", DOTS.values(), ids=DOTS)
def test_dot_of_every_rank(shapes, dtype):
    a, b = (normal(shape, dtype, seed) for seed, shape in enumerate(shapes))
    k = a.shape[-1] if a.ndim and b.ndim else 1
    for layout in ("contiguous", "fortran", "backwards", "rolled"):
        got = zerodl_c.dot(LAYOUTS[layout](a), LAYOUTS[layout](b))
        scale = np.dot(np.abs(a), np.abs(b))
        assert_close(got, reference.dot(a, b), k, scale, layout)


def test_dot_of_numbers_says_nothing():
    assert zerodl_c.dot(2, 3.5) == 7.0
    assert zerodl_c.dot(1e308, 1e308) == np.inf
    assert np.isnan(zerodl_c.dot(np.inf, 0.0))


# --- out= -----------------------------------------------------------------------------------------

OUT_LAYOUTS = [name for name in LAYOUTS if name not in {"byte-swapped", "read-only", "repeated"}]


@pytest.mark.parametrize("dtype", [*DTYPES, np.float16])
@pytest.mark.parametrize("layout", OUT_LAYOUTS)
def test_out_takes_the_result_and_is_returned(layout, dtype):
    for shapes in (
        ((5, 7), (7, 17)),
        ((7,), (7, 5)),
        ((7,), (7,)),
        ((3, 5, 7), (7, 2)),
        ((2, 0), (0, 3)),
    ):
        a, b = (normal(shape, dtype, seed) for seed, shape in enumerate(shapes))
        expected = zerodl_c.matmul(a, b)
        out = LAYOUTS[layout](np.full(expected.shape, -7, dtype))
        assert zerodl_c.matmul(a, b, out=out) is out
        np.testing.assert_array_equal(out, expected)


OVERLAPS = {
    "a": lambda a, b: a,
    "b": lambda a, b: b,
    "a transposed": lambda a, b: a.T,
    "b reversed": lambda a, b: b[::-1],
    "a view of b": lambda a, b: b[...],
    "between a and b": lambda a, b: a.base[10:30],
}


@pytest.mark.parametrize("dtype", [*DTYPES, np.float16])
@pytest.mark.parametrize("overlap", OVERLAPS.values(), ids=OVERLAPS)
def test_out_may_overlap_an_operand(overlap, dtype):
    memory = normal((40, 20), dtype)
    a, b = memory[:20], memory[20:]
    out = overlap(a, b)
    expected = zerodl_c.matmul(a.copy(), b.copy())
    assert zerodl_c.matmul(a, b, out=out) is out
    np.testing.assert_array_equal(out, expected)


def test_out_may_be_an_operand_of_a_stack():
    a, b = normal((3, 5, 5), np.float64, 1), normal((5, 5), np.float64, 2)
    expected = zerodl_c.matmul(a, b)
    zerodl_c.matmul(a, b, out=a)
    np.testing.assert_array_equal(a, expected)


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        pytest.param(np.zeros((4, 2)), ValueError, r"out .*\(2, 4\).*\(4, 2\)", id="shape"),
        pytest.param(np.zeros((1, 2, 4)), ValueError, "out .*", id="shape that would broadcast"),
        pytest.param(np.zeros((2, 4), np.float32), TypeError, "out .*float64.*float32", id="dtype"),
        pytest.param(np.zeros((2, 4), int), TypeError, "out .*float64.*int64", id="integers"),
        pytest.param(LAYOUTS["read-only"](np.zeros((2, 4))), ValueError, "out .*read-only", id="read-only"),
        pytest.param([[0.0] * 4] * 2, TypeError, "out .*list", id="list"),
    ],
)
def test_a_wrong_out_is_refused_and_untouched(engine, out, error, message):
    before = np.array(out)
    with pytest.raises(error, match=message):
        engine.matmul(np.ones((2, 3)), np.ones((3, 4)), out=out)
    np.testing.assert_array_equal(out, before)


def test_out_is_untouched_where_operands_are_wrong():
    out = np.full((2, 4), 7.0)
    for a, b in ((np.ones((2, 2)), np.ones((3, 4))), (np.ones((2, 3), complex), np.ones((3, 4)))):
        with pytest.raises((ValueError, TypeError)):
            zerodl_c.matmul(a, b, out=out)
    assert (out == 7).all()


# --- Wrong shapes ---------------------------------------------------------------------------------


def both(first, second):
    """A message that shows both shapes, in either order."""
    return "".join(rf"(?=.*\({', ?'.join(map(str, shape))},?\))" for shape in (first, second))


@pytest.mark.parametrize("name", ["matmul", "dot"])
@pytest.mark.parametrize(
    ("a", "b"),
    [((2, 3), (4, 5)), ((3,), (4,)), ((3,), (4, 5)), ((2, 3), (4,)), ((2, 2, 3), (2, 4, 5))],
    ids=str,
)
def test_products_that_do_not_fit(name, a, b):
    with pytest.raises(ValueError, match=both(a, b)):
        getattr(zerodl_c, name)(np.ones(a), np.ones(b))


def test_stacks_that_do_not_broadcast():
    with pytest.raises(ValueError, match=both((2,), (3,))):
        zerodl_c.matmul(np.ones((2, 4, 5)), np.ones((3, 5, 6)))


@pytest.mark.parametrize(("a", "b"), [((), (3,)), ((3,), ()), ((), ())], ids=str)
def test_matmul_takes_no_scalars(engine, a, b):
    with pytest.raises(ValueError, match="matmul"):
        engine.matmul(np.ones(a), np.ones(b))


@pytest.mark.parametrize(
    ("dout", "a", "b"),
    [((2, 5), (2, 3), (4, 5)), ((0, 5), (0, 3), (4, 5)), ((2, 2, 5), (2, 2, 3), (4, 5))],
    ids=str,
)
def test_matmul_backward_of_operands_that_do_not_fit(engine, dout, a, b):
    with pytest.raises(ValueError, match=both(a, b)):
        engine.matmul_backward(np.ones(dout), np.ones(a), np.ones(b))


@pytest.mark.parametrize("dout", [(2, 4), (2,), (3, 2, 5), (1, 5), ()], ids=str)
def test_matmul_backward_wants_dout_of_the_shape_of_the_product(engine, dout):
    with pytest.raises(ValueError, match=r"dout .*\(2, 5\)"):
        engine.matmul_backward(np.ones(dout), np.ones((2, 3)), np.ones((3, 5)))


@pytest.mark.parametrize(("a", "b"), [(1.0, [1.0]), ([1.0], 1.0)], ids=str)
def test_matmul_backward_takes_no_scalars(engine, a, b):
    with pytest.raises(ValueError, match="a and b"):
        engine.matmul_backward(1.0, a, b)


# --- Affine ---------------------------------------------------------------------------------------

BATCHES = [(), (1,), (7,), (0,), (2, 3), (2, 0)]


@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
def test_affine(layout, dtype, isa):
    for batch, k, n in product(BATCHES, (1, 9), (0, 1, 17)):
        x, W, b = (LAYOUTS[layout](normal(shape, dtype, 1)) for shape in ((*batch, k), (k, n), (n,)))
        scale = np.abs(x) @ np.abs(W) + np.abs(b)
        label = f"{x.shape} @ {W.shape}"
        assert_close(zerodl_c.affine(x, W, b), reference.affine(x, W, b), k + 1, scale, label)


@every_dtype
@pytest.mark.parametrize("shape", BLOCKS.values(), ids=BLOCKS)
def test_affine_over_the_edges_of_blocks(shape, dtype, isa):
    (x, W), b = operands(*shape, dtype), normal(shape[2:], dtype, 3)
    scale = np.abs(x) @ np.abs(W) + np.abs(b)
    for w in (W, LAYOUTS["fortran"](W)):
        assert_close(zerodl_c.affine(x, w, b), reference.affine(x, w, b), shape[1] + 1, scale)


@pytest.mark.parametrize("batch", BATCHES, ids=str)
def test_affine_of_no_inputs_is_the_bias(batch):
    b = normal((17,), np.float64)
    got = zerodl_c.affine(np.ones((*batch, 0)), np.ones((0, 17)), b)
    assert_close(got, np.broadcast_to(b, (*batch, 17)).copy())


@pytest.mark.parametrize("shape", [(), (1,), (1, 4), (3, 1), (3, 4), (2, 3, 4)], ids=str)
def test_the_bias_broadcasts_on_both_engines_or_on_none(shape):
    x, W, b = normal((3, 2), float, 1), normal((2, 4), float, 2), normal(shape, float, 3)
    try:
        expected = reference.affine(x, W, b)
    except ValueError:
        with pytest.raises(ValueError, match=r"\bb\b"):
            zerodl_c.affine(x, W, b)
    else:
        scale = np.abs(x) @ np.abs(W) + np.abs(b)
        assert_close(zerodl_c.affine(x, W, b), expected, 3, scale)


@pytest.mark.parametrize(
    ("x", "W", "b", "message"),
    [
        ((2, 3), (4, 5), (5,), both((2, 3), (4, 5))),
        ((2, 3), (3, 5), (4,), r"\bb\b.*\(4,\)"),
        ((2, 3), (3, 1), (4,), r"\bb\b.*\(4,\)"),
        ((2, 3), (4,), (1,), r"\(4,\)"),
        ((), (3, 5), (5,), r"x.*\(\)"),
    ],
    ids=str,
)
def test_affine_of_what_does_not_fit(x, W, b, message):
    with pytest.raises(ValueError, match=message):
        zerodl_c.affine(np.ones(x), np.ones(W), np.ones(b))


@every_dtype
@pytest.mark.parametrize("layout", LAYOUTS)
def test_affine_backward(layout, dtype, isa):
    for m, k, n in product((0, 1, 33), (0, 1, 9), (0, 1, 17)):
        shapes = ((m, n), (m, k), (k, n))
        dout, x, W = (LAYOUTS[layout](normal(shape, dtype, i)) for i, shape in enumerate(shapes))
        got, expected = (engine.affine_backward(dout, x, W) for engine in (zerodl_c, reference))
        sizes = reference.affine_backward(np.abs(dout), np.abs(x), np.abs(W))
        for name, *pair, terms, scale in zip(("dx", "dW", "db"), got, expected, (n, m, m), sizes, strict=True):
            assert_close(*pair, terms, scale, f"{name} of {shapes}")


@every_dtype
def test_large_affine_layers_on_threads(dtype, threads):
    x, W, b = normal((301, 117), dtype, 1), normal((117, 227), dtype, 2), normal((227,), dtype, 3)
    y = zerodl_c.affine(x, W, b)
    assert_close(y, reference.affine(x, W, b), 118, np.abs(x) @ np.abs(W) + np.abs(b))
    got, expected = (engine.affine_backward(y, x, W) for engine in (zerodl_c, reference))
    sizes = reference.affine_backward(np.abs(y), np.abs(x), np.abs(W))
    for pair in zip(got, expected, (227, 301, 301), sizes, strict=True):
        assert_close(*pair)
    tall = normal((1001, 301), dtype)
    db = zerodl_c.affine_backward(tall, tall[:, :1], tall[:1].T.copy().T)[2]
    assert_close(db, tall.sum(axis=0), 1001, np.abs(tall).sum(axis=0))


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 5), (2, 3), (4, 5)),
        ((3, 5), (2, 3), (3, 5)),
        ((2, 4), (2, 3), (3, 5)),
        ((5,), (3,), (3, 5)),
    ],
    ids=str,
)
def test_affine_backward_of_what_does_not_fit(engine, shapes):
    with pytest.raises(ValueError):
        engine.affine_backward(*map(np.ones, shapes))


# --- Backward passes against central differences --------------------------------------------------


def assert_gradients(gradients, forward, dout, operands):
    """The gradients of sum(dout * forward(*operands)), which is linear in each operand."""
    for gradient, x in zip(gradients, operands, strict=True):
        expected = reference.numerical_gradient(lambda _: np.sum(dout * forward(*operands)), x, h=1e-3)
        assert gradient.shape == x.shape and gradient.flags.c_contiguous
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shapes", RANKS.values(), ids=RANKS)
def test_backward_of_matmul(engine, shapes):
    a, b = (normal(shape, np.float64, seed) for seed, shape in enumerate(shapes))
    dout = normal(np.shape(np.matmul(a, b)), np.float64, 5)
    assert_gradients(engine.matmul_backward(dout, a, b), engine.matmul, dout, (a, b))


def test_backward_of_affine(engine):
    x, W, b, dout = (normal(s, np.float64, i) for i, s in enumerate(((4, 3), (3, 5), (5,), (4, 5))))
    assert_gradients(engine.affine_backward(dout, x, W), engine.affine, dout, (x, W, b))


@every_dtype
@pytest.mark.parametrize("shapes", RANKS.values(), ids=RANKS)
def test_backward_of_matmul_is_the_reference(shapes, dtype, isa):
    a, b = (normal(shape, dtype, seed) for seed, shape in enumerate(shapes))
    dout = np.asarray(np.matmul(a, b) + 1)
    got, expected = (engine.matmul_backward(dout, a, b) for engine in (zerodl_c, reference))
    sizes = reference.matmul_backward(np.abs(dout), np.abs(a), np.abs(b))
    for pair in zip(got, expected, sizes, strict=True):
        assert_close(*pair[:2], dout.size, pair[2])


# --- Zeros, as in pictures of digits, are left out -------------------------------------------------


def digits(rows, pixels, dtype, zeros=0.8):
    """Rows of which this share are zeros, of both signs, as in pictures: in runs, and all of some columns."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((rows, pixels)).astype(dtype)
    x[np.repeat(rng.random((rows, -(-pixels // 7))) < zeros, 7, axis=1)[:, :pixels]] = 0
    x[:, : pixels // 9] = 0
    x[:, pixels // 2] = -0.0
    return x


def in_narrow_parts(x, W):
    """x @ W, a few columns at a time: for so few no zeros are left out."""
    return np.hstack([zerodl_c.matmul(x, W[:, j : j + 2].copy()) for j in range(0, W.shape[1], 2)])


@every_dtype
@pytest.mark.parametrize(("rows", "pixels", "cols"), [(100, 784, 50), (100, 784, 100), (300, 1100, 70), (9, 3000, 51)])
def test_without_zeros_every_bit_is_the_same(rows, pixels, cols, dtype, isa, threads):
    x, W, dout = digits(rows, pixels, dtype), normal((pixels, cols), dtype, 1), normal((rows, cols), dtype, 2)
    assert_identical(zerodl_c.matmul(x, W), in_narrow_parts(x, W))
    assert_identical(zerodl_c.matmul(x.T, dout), in_narrow_parts(x.T, dout))
    wide = np.zeros((rows, 2 * pixels), dtype)
    wide[:, :pixels] = x
    assert_identical(zerodl_c.matmul(wide[:, :pixels], W), zerodl_c.matmul(x, W))


@every_dtype
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_zeros_times_what_is_not_finite(value, dtype, isa):
    x, W = digits(60, 500, dtype), normal((500, 64), dtype)
    W[400, 3] = value  # in a row that some samples meet with 0
    got, expected = zerodl_c.matmul(x, W), in_narrow_parts(x, W)
    with np.errstate(invalid="ignore"):
        np.testing.assert_array_equal(np.isnan(got), np.isnan(x @ W))
    assert_identical(got, expected)
    x[7, 20] = value  # and an input that is not
    assert_identical(zerodl_c.matmul(x, W), in_narrow_parts(x, W))


@every_dtype
def test_affine_and_nets_leave_zeros_out(dtype, isa):
    x, W, b = digits(100, 784, dtype), normal((784, 50), dtype, 1), normal(50, dtype, 2)
    assert_identical(zerodl_c.affine(x, W, b), in_narrow_parts(x, W) + b)
    dout = normal((100, 50), dtype, 3)
    dx, dW, db = zerodl_c.affine_backward(dout, x, W)
    expected = reference.affine_backward(dout.astype("d"), x.astype("d"), W.astype("d"))
    eps = np.finfo(dtype).eps
    for got, truth in zip((dx, dW, db), expected, strict=True):
        np.testing.assert_allclose(got, truth, rtol=0, atol=100 * eps * np.abs(truth).max())


@pytest.mark.parametrize("rows", range(2, 13))
def test_few_rows(rows, isa):
    """As many at a time as registers hold; the sums run as in one row."""
    for dtype, k, n in product(DTYPES, (1, 100, 784), (1, 15, 50, 64, 100, 131)):
        a, b = normal((rows, k), dtype), normal((k, n), dtype, 1)
        assert_identical(zerodl_c.matmul(a, b), np.vstack([zerodl_c.matmul(row[None], b) for row in a]))
