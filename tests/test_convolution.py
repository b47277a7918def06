"""Convolution, pooling and images as matrices in C: every instruction set, any threads, and pieces of all sizes."""

import numpy as np
import pytest
from arrays import DTYPES, normal
from tolerances import assert_close, assert_identical

import zerodl_c
from zerodl_c import reference
from zerodl_c._bridge import ffi, lib

every_dtype = pytest.mark.parametrize("dtype", DTYPES)

# Images, filters, stride, pad. Some outputs are made in several pieces, some batches leave groups empty.
CASES = [
    ((1, 1, 1, 1), (1, 1, 1, 1), 1, 0),
    ((2, 3, 5, 6), (4, 3, 2, 3), 1, 0),
    ((2, 3, 5, 6), (4, 3, 3, 2), 2, 1),
    ((17, 2, 7, 4), (3, 2, 3, 3), 3, 2),
    ((33, 1, 9, 9), (5, 1, 5, 5), 1, 0),
    ((3, 8, 20, 21), (6, 8, 3, 3), 1, 1),
    ((1, 40, 9, 30), (7, 40, 5, 4), 1, 3),
    ((2, 1, 3, 3), (2, 1, 1, 1), 1, 4),  # most windows see nothing but the zeros around
    ((5, 4, 7, 6), (9, 4, 3, 3), 1, 1),
    ((2, 5, 45, 50), (4, 5, 3, 2), 1, 1),
    ((3, 6, 4, 9), (17, 6, 1, 5), 1, 0),
    ((2, 4, 6, 5), (3, 4, 3, 3), 1, 2),
    ((2, 3, 5, 6), (4, 3, 3, 3), 2**62, 1),  # one place
    ((2, 3, 12, 13), (4, 3, 9, 8), 2, 1),  # windows of more than 64 pixels
]
every_case = pytest.mark.parametrize(("shape", "filters", "stride", "pad"), CASES, ids=str)


def convolved(engine, shape, filters, stride, pad, dtype):
    """A convolution's output, then dx, dW and db."""
    x, W, b = normal(shape, dtype), normal(filters, dtype, 1), normal(filters[:1], dtype, 2)
    layer = engine.Convolution(W, b, stride, pad)
    out = layer.forward(x)
    dx = layer.backward(normal(out.shape, dtype, 3))
    return out, dx, layer.dW, layer.db


def pooled(engine, shape, filters, stride, pad, dtype):
    """A pooling's output, which pixels these are, and dx."""
    layer = engine.Pooling(*filters[2:], stride, pad)
    out = layer.forward(normal(shape, dtype))
    return out, layer.arg_max, layer.backward(normal(out.shape, dtype, 3))


def as_matrices(engine, shape, filters, stride, pad, dtype):
    """Images as a matrix, and back from another one."""
    window = *filters[2:], stride, pad
    col = engine.im2col(normal(shape, dtype), *window)
    return col, engine.col2im(normal(col.shape, dtype, 1), shape, *window)


@every_case
@every_dtype
def test_convolution_is_the_references(shape, filters, stride, pad, dtype, isa):
    got, expected = (convolved(engine, shape, filters, stride, pad, dtype) for engine in (zerodl_c, reference))
    windows = expected[0].size // filters[0]
    for name, y, other, terms in zip(
        ("out", "dx", "dW", "db"),
        got,
        expected,
        (np.prod(filters[1:]), np.prod(filters), windows, windows),
        strict=True,
    ):
        assert_close(y, np.ascontiguousarray(other), terms=int(terms), scale=3.0, label=name)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("of", ["x", "W", "b", "dout"])
def test_what_is_not_finite_reaches_what_it_reaches_in_the_reference(of, pad, value, dtype, isa):
    """And nothing else: zeros beside the images are no part of a gradient, and 0 * inf would be nan."""
    arrays = {"x": normal((20, 4, 6, 7), dtype), "W": normal((9, 4, 3, 3), dtype, 1), "b": normal((9,), dtype, 2)}
    results = []
    for engine in (zerodl_c, reference):
        given = {key: array.copy() for key, array in arrays.items()}
        given["dout"] = normal(engine.Convolution(given["W"], given["b"], 1, pad).forward(given["x"]).shape, dtype, 3)
        given[of].flat[[3, given[of].size // 2]] = value
        layer = engine.Convolution(given["W"], given["b"], 1, pad)
        with np.errstate(invalid="ignore"):
            out, dx = layer.forward(given["x"]), layer.backward(given["dout"])
        results.append((out, dx, layer.dW, layer.db))
    for name, got, expected in zip(("out", "dx", "dW", "db"), *results, strict=True):
        tolerance = 3 * 20 * 8 * 9 * float(np.finfo(dtype).eps)  # of sums over all places
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance, err_msg=name)


def test_what_is_not_finite_in_one_image_changes_no_other(isa):
    x, W, b = normal((40, 4, 6, 7), np.float64), normal((9, 4, 3, 3), np.float64, 1), normal((9,), np.float64, 2)
    layer = zerodl_c.Convolution(W, b, 1, 1)
    dout = normal(layer.forward(x).shape, np.float64, 3)
    expected = layer.backward(dout)
    x[3, 0, 0, 0] = np.inf
    out = layer.forward(x)
    np.testing.assert_array_equal(layer.backward(dout), expected)
    assert np.isfinite(out[np.arange(40) != 3]).all()


def test_no_channels_and_no_filters():
    layer = zerodl_c.Convolution(np.ones((0, 0, 3, 3)), np.ones(0))
    out = layer.forward(np.ones((2, 0, 5, 5)))
    assert (out.shape, layer.backward(out).shape, layer.dW.shape) == ((2, 0, 3, 3), (2, 0, 5, 5), (0, 0, 3, 3))


def test_groups_of_images_that_are_taken_in_pieces():
    """A group of two or three images, of which the cache holds one."""
    shape, filters = (33, 20, 50, 50), (3, 20, 2, 2)
    got, expected = (convolved(engine, shape, filters, 1, 1, np.float32) for engine in (zerodl_c, reference))
    for name, y, other, terms in zip(("out", "dx", "dW", "db"), got, expected, (80, 12, 85833, 85833), strict=True):
        assert_close(y, np.ascontiguousarray(other), terms=terms, scale=3.0, label=name)


@every_case
@every_dtype
def test_pooling_is_the_references(shape, filters, stride, pad, dtype, isa):
    got, expected = (pooled(engine, shape, filters, stride, pad, dtype) for engine in (zerodl_c, reference))
    assert_identical(got[0], np.ascontiguousarray(expected[0]))
    np.testing.assert_array_equal(got[1], expected[1])
    windows = int(np.prod(filters[2:]))
    assert_close(got[2], np.ascontiguousarray(expected[2]), terms=windows, scale=3.0)


@every_dtype
def test_pooling_of_rows_around_vectors(dtype, isa):
    for width in (2, 3, 4, 5, 7, 8, 9, 16, 17, 24, 32, 33, 35, 66, 67):
        for window in ((2, 2, 2, 0), (2, 2, 1, 0), (1, 3, 2, 1), (2, 2, 3, 0)):
            case = (2, 3, 5, width), (1, 3, *window[:2]), *window[2:], dtype
            if window[1] <= width + 2 * window[3]:
                got, expected = (pooled(engine, *case) for engine in (zerodl_c, reference))
                assert_identical(got[0], np.ascontiguousarray(expected[0]), f"{width} {window}")
                np.testing.assert_array_equal(got[1], expected[1], f"{width} {window}")
                assert_close(got[2], np.ascontiguousarray(expected[2]), terms=4, scale=3.0, label=f"{width} {window}")


@every_dtype
@pytest.mark.parametrize("bad", [4, -5, 2**62, -(2**62)])
def test_pooling_backward_refuses_what_is_no_place_in_a_window(engine, dtype, isa, bad):
    layer = engine.Pooling(2, 2)
    layer.forward(normal((1, 1, 4, 4), dtype))
    layer.arg_max = np.array([-1, 0, bad, 3])
    with pytest.raises(IndexError, match="arg_max must hold indices below 4"):
        layer.backward(np.ones((1, 1, 2, 2), dtype))


@every_dtype
@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int32, np.uint64, list])
def test_arg_max_may_be_integers_of_any_kind(engine, dtype, kind):
    layer = engine.Pooling(2, 2)
    dout = layer.forward(normal((2, 3, 4, 4), dtype))
    expected, arg_max = layer.backward(dout), layer.arg_max
    layer.arg_max = arg_max.tolist() if kind is list else arg_max.astype(kind)
    np.testing.assert_array_equal(layer.backward(dout), expected)
    layer.arg_max = arg_max - 4  # from the end, as NumPy's indices
    np.testing.assert_array_equal(layer.backward(dout), expected)


@pytest.mark.parametrize(
    ("arg_max", "error"),
    [([0.0] * 4, TypeError), ([True] * 4, TypeError), ([0] * 3, ValueError), (0, ValueError), ([[0]] * 4, ValueError)],
)
def test_arg_max_that_is_no_index_for_each_window_is_refused(engine, arg_max, error):
    layer = engine.Pooling(2, 2)
    dout = layer.forward(normal((1, 1, 4, 4), np.float64))
    layer.arg_max = arg_max
    with pytest.raises(error, match="arg_max must"):
        layer.backward(dout)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("W", np.ones((4, 1, 2, 2))),
        ("W", np.ones((3, 2, 2, 2))),
        ("W", np.ones((3, 1, 3, 3))),
        ("W", np.ones((3, 4))),
        ("stride", 2),
        ("pad", 2),
        ("pad", np.uint8(250)),
        ("x", np.ones((2, 1, 9, 9))),
        ("x", np.ones((2, 2, 6, 6))),
        ("x", None),
    ],
)
def test_what_is_replaced_between_forward_and_backward_must_fit(engine, name, value):
    layer = engine.Convolution(np.ones((3, 1, 2, 2)), np.zeros(3))
    dout = layer.forward(np.ones((2, 1, 6, 6)))
    setattr(layer, name, value)
    with pytest.raises(ValueError, match="must"):
        layer.backward(dout)
    assert layer.dW is None


@pytest.mark.parametrize(("name", "value"), [("pool_h", 3), ("stride", 3), ("pad", 1), ("x", np.ones((2, 1, 4, 4)))])
def test_windows_that_are_replaced_between_forward_and_backward_must_fit(engine, name, value):
    layer = engine.Pooling(2, 2)
    dout = layer.forward(np.ones((2, 1, 6, 6)))
    setattr(layer, name, value)
    with pytest.raises(ValueError, match="dout must have the shape of the output"):
        layer.backward(dout)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_first_of_equals_and_the_first_nan_is_the_largest(dtype, isa):
    x = np.random.default_rng(0).choice([np.nan, np.inf, -np.inf, 1.0, 2.0, -0.0, 0.0], (40, 2, 9, 9)).astype(dtype)
    for window in ((2, 2, 2, 0), (3, 3, 1, 1), (1, 4, 3, 0)):
        got, expected = (engine.Pooling(*window) for engine in (zerodl_c, reference))
        np.testing.assert_array_equal(got.forward(x), expected.forward(x))
        np.testing.assert_array_equal(got.arg_max, expected.arg_max)


@pytest.mark.parametrize("largest", [1.0, np.nan])
@pytest.mark.parametrize(("size", "pad"), [(5801, 2900), (4098, 4097)], ids=["in the middle", "last"])
def test_a_window_may_have_more_pixels_than_a_float32_counts(size, pad, largest, isa):
    """One pixel amid zeros, which take no memory."""
    place = pad * size + pad
    assert place > 2**24
    layer = zerodl_c.Pooling(size, size, 2**20, pad)
    layer.forward(np.full((1, 1, 1, 1), largest, np.float32))
    np.testing.assert_array_equal(layer.arg_max, place)
    np.testing.assert_array_equal(layer.backward(np.ones((1, 1, 1, 1), np.float32)), 1)


def test_images_without_entries_take_no_time(isa):
    """Though there be 2**42 places."""
    shape, pad = (1, 0, 4, 4), 2**20
    col = zerodl_c.im2col(np.zeros(shape), 1, 1, pad=pad)
    assert zerodl_c.col2im(col, shape, 1, 1, pad=pad).shape == shape
    pooling = zerodl_c.Pooling(1, 1, 1, pad)
    assert pooling.backward(pooling.forward(np.zeros(shape))).shape == shape


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(
    ("images", "filters", "pad"),
    [((1, 1, 4, 4), 0, 2**20), ((0, 1, 4, 4), 2, 2**20), ((0, 1, 2**20, 2**20), 2, 0)],
)
def test_a_convolution_without_entries_takes_neither_time_nor_memory(images, filters, pad, stride):
    layer = zerodl_c.Convolution(np.zeros((filters, 1, 1, 1)), np.zeros(filters), stride, pad)
    dx = layer.backward(layer.forward(np.zeros(images)))
    assert dx.shape == images and not dx.any()


# Images, height and width of a window, stride, pad: besides, segments around vectors and chunks, and steps beyond them.
WINDOWS = [
    *((shape, (*filters[2:], stride, pad)) for shape, filters, stride, pad in CASES),
    *(((3, 2, 3, 40), (2, width, 1, 0)) for width in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 40)),
    ((2, 1, 1, 1), (1, 1, 1, 0)),
    ((2, 2, 3, 2), (1, 2, 1, 0)),  # rows of the matrix that are shorter than a vector
    ((2, 3, 6, 60), (2, 3, 21, 0)),
    ((2, 2, 5, 9), (3, 20, 1, 11)),
    ((2, 2, 4, 4), (2, 2, 50, 100)),
]
every_window = pytest.mark.parametrize(("shape", "window"), WINDOWS, ids=str)


@every_window
@every_dtype
def test_images_as_matrices_are_the_references(shape, window, dtype, isa):
    x = normal(shape, dtype)
    col = zerodl_c.im2col(x, *window)
    assert_identical(col, reference.im2col(x, *window))
    other = normal(col.shape, dtype, 1)
    got, expected = (engine.col2im(other, shape, *window) for engine in (zerodl_c, reference))
    assert_close(got, np.ascontiguousarray(expected), terms=int(np.prod(window[:2])), scale=3.0)


@every_dtype
def test_what_is_not_finite_stays_in_its_pixels(dtype, isa):
    """Vectors reach beyond the segments, and what is there must not count."""
    rng = np.random.default_rng(0)
    for shape, window in WINDOWS:
        col = reference.im2col(normal(shape, dtype), *window)
        col[...] = rng.choice([np.nan, np.inf, 1, -0.0], col.shape, p=[0.02, 0.02, 0.48, 0.48])
        got, expected = (engine.col2im(col, shape, *window) for engine in (zerodl_c, reference))
        np.testing.assert_array_equal(got, expected, err_msg=f"{shape} {window}")


@every_case
def test_the_same_to_the_bit_whatever_the_threads(shape, filters, stride, pad, restore_threads):
    big = (40, *shape[1:])  # enough for threads to be started
    zerodl_c.set_num_threads(1)
    works = convolved, pooled, as_matrices
    expected = [f(zerodl_c, big, filters, stride, pad, np.float64) for f in works]
    for threads in (2, 3, 7):
        zerodl_c.set_num_threads(threads)
        for f, results in zip(works, expected, strict=True):
            for got, result in zip(f(zerodl_c, big, filters, stride, pad, np.float64), results, strict=True):
                np.testing.assert_array_equal(got, result)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_first_layer_may_do_without_dx(stride):
    x, W, b = (normal(shape, np.float64) for shape in ((4, 2, 6, 6), (3, 2, 3, 3), (3,)))
    layer = zerodl_c.Convolution(W, b, stride)
    dout = normal(layer.forward(x).shape, np.float64)
    layer.backward(dout)
    dW, db = np.empty_like(W), np.empty_like(b)
    windows = ffi.new("struct zdl_windows *", [4, 2, 6, 6, 3, 3, stride, 0])
    at = [ffi.from_buffer("double[]", array) for array in (dW, db, dout, x, W)]
    assert lib.zdl_convolution_backward_f64(ffi.NULL, *at, 3, windows) == lib.ZDL_OK
    np.testing.assert_array_equal(dW, layer.dW)
    np.testing.assert_array_equal(db, layer.db)


# What C takes for images of 2 x 3 x 5 x 6, 4 filters of 2 x 3, stride 1, no pad: outputs first.
X, W, B, OUT = np.zeros((2, 3, 5, 6)), np.zeros((4, 3, 2, 3)), np.zeros(4), np.zeros((2, 4, 4, 4))
POOLED, WHICH, COL = np.zeros((2, 3, 4, 4)), np.zeros((2, 3, 4, 4), np.int64), np.zeros((32, 18))
WINDOW = (2, 3, 1, 0)
PLAIN = {
    "convolution": ([OUT, X, W, B], (1, 0)),
    "convolution_backward": ([X, W, B, OUT, X, W], (1, 0)),
    "pooling": ([POOLED, WHICH, X], WINDOW),
    "pooling_backward": ([X, POOLED, WHICH], WINDOW),
    "im2col": ([COL, X], WINDOW),
    "col2im": ([X, COL], WINDOW),
}
UNFIT = {
    "one more row": lambda a: np.zeros((len(a) + 1, *a.shape[1:]), a.dtype),
    "one more channel": lambda a: np.concatenate([a, a[:, :1]], 1) if a.ndim > 1 else a[1:],
    "one more column": lambda a: np.concatenate([a, a[..., :1]], -1),
    "one more dimension": lambda a: a[None],
    "another dtype": lambda a: a.astype(np.float32),
    "strided": lambda a: np.zeros((2 * len(a), *a.shape[1:]), a.dtype)[::2],
    "an integer": lambda a: a.astype(np.int32),
}


@pytest.mark.parametrize("name", PLAIN)
def test_c_takes_only_what_fits(name):
    arrays, sizes = PLAIN[name]
    c = getattr(lib, f"np_{name}")
    copies = [array.copy() for array in arrays]
    assert c(*map(id, copies), *sizes) == lib.NP_OK
    for how, unfit in UNFIT.items():
        for i in range(len(arrays)):
            other = [np.full_like(array, 7) for array in arrays]
            other[i] = unfit(other[i])
            assert c(*map(id, other), *sizes) == lib.NP_NOT_PLAIN, f"{how}: argument {i}"
            assert all((array == 7).all() for j, array in enumerate(other) if j != i)


@pytest.mark.parametrize(
    "sizes",
    [(0, 3, 1, 0), (2, 0, 1, 0), (2, 3, 0, 0), (2, 3, 1, -1), (2, 3, 1, 2**62), (6, 3, 1, 0), (2, 7, 1, 0)],
)
def test_c_takes_only_windows_that_fit(sizes):
    assert lib.np_im2col(id(COL.copy()), id(X), *sizes) == lib.NP_NOT_PLAIN


@pytest.mark.parametrize(("stride", "width"), [(1, 31), (2, 63)])
def test_an_empty_batch_may_be_of_any_size(stride, width):
    """Here what the weights and the bias see in a row would take 2^64 numbers, of which a division by 0 once came."""
    places = 2**64 // (width + 1)
    x = np.empty((0, 1, 1, stride * (places - 1) + width), np.float32)
    layer = zerodl_c.Convolution(np.ones((1, 1, 1, width), np.float32), np.zeros(1, np.float32), stride)
    out = layer.forward(x)
    assert out.shape == (0, 1, 1, places)
    with pytest.raises(MemoryError):
        layer.backward(out)


def test_an_image_that_is_padded_beyond_all_memory(engine):
    """Though only four of its windows are asked for."""
    layer = engine.Convolution(np.ones((1, 1, 1, 1)), np.zeros(1), stride=2**29, pad=2**28)
    with pytest.raises(MemoryError):
        layer.forward(np.ones((1, 1, 1, 1)))
