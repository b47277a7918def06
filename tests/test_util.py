"""Images as matrices and back, and the helpers of the book's scripts."""

import numpy as np
import pytest
from arrays import LAYOUTS, normal
from numpy.testing import assert_array_equal

pytestmark = pytest.mark.filterwarnings("error")


# Shape of the images, filter_h, filter_w, stride, pad, and out_h and out_w, counted by hand.
WINDOWS = [
    ((1, 1, 1, 1), (1, 1, 1, 0), (1, 1)),
    ((2, 3, 5, 6), (1, 1, 1, 0), (5, 6)),
    ((2, 3, 5, 6), (5, 6, 1, 0), (1, 1)),
    ((2, 3, 5, 6), (3, 2, 1, 0), (3, 5)),
    ((2, 3, 5, 6), (3, 2, 2, 1), (3, 4)),
    ((2, 1, 6, 5), (2, 2, 2, 0), (3, 2)),  # the last column is not reached
    ((1, 2, 7, 7), (2, 3, 4, 0), (2, 2)),  # and some in between are not
    ((1, 2, 2, 3), (4, 3, 1, 2), (3, 5)),  # a filter larger than the image
    ((0, 2, 4, 4), (3, 3, 1, 0), (2, 2)),
]
every_window = pytest.mark.parametrize(("shape", "sizes", "out"), WINDOWS, ids=str)


def windows_one_by_one(x, filter_h, filter_w, stride, pad, out):
    """im2col by its definition."""
    padded = np.zeros((*x.shape[:2], x.shape[2] + 2 * pad, x.shape[3] + 2 * pad))
    padded[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]] = x
    rows = [
        padded[n, :, stride * i : stride * i + filter_h, stride * j : stride * j + filter_w].ravel()
        for n, i, j in np.ndindex(len(x), *out)
    ]
    return np.array(rows).reshape(len(rows), x.shape[1] * filter_h * filter_w)


@every_window
def test_im2col_lists_the_windows(engine, shape, sizes, out):
    x = normal(shape, np.float64)
    col = engine.im2col(x, *sizes)
    np.testing.assert_array_equal(col, windows_one_by_one(x, *sizes, out))
    assert col.shape == (shape[0] * out[0] * out[1], shape[1] * sizes[0] * sizes[1])


@every_window
def test_col2im_is_the_transpose_of_im2col(engine, shape, sizes, out):
    """<im2col(x), c> = <x, col2im(c)> for each x with a single 1: that is all of col2im."""
    c = normal((shape[0] * out[0] * out[1], shape[1] * sizes[0] * sizes[1]), np.float64)
    expected = np.zeros(shape)
    for i in np.ndindex(*shape):
        x = np.zeros(shape)
        x[i] = 1
        expected[i] = np.sum(engine.im2col(x, *sizes) * c)
    images = engine.col2im(c, shape, *sizes)
    assert images.shape == shape
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-13)


def test_stride_and_pad_are_1_and_0(engine):
    x = normal((1, 2, 4, 4), np.float64)
    col = engine.im2col(input_data=x, filter_h=3, filter_w=2)
    np.testing.assert_array_equal(col, engine.im2col(x, 3, 2, stride=1, pad=0))
    images = engine.col2im(col=col, input_shape=x.shape, filter_h=3, filter_w=2)
    np.testing.assert_array_equal(images, engine.col2im(col, x.shape, 3, 2, stride=1, pad=0))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(engine, layout):
    x = LAYOUTS[layout](normal((2, 3, 4, 5), np.float64))
    before = x.tobytes()
    col = engine.im2col(x, 2, 3, 2, 1)
    np.testing.assert_array_equal(col, engine.im2col(np.array(x, np.float64, order="C"), 2, 3, 2, 1))
    back = engine.col2im(LAYOUTS[layout](col), x.shape, 2, 3, 2, 1)
    same = LAYOUTS[layout](col).astype(np.float64)
    np.testing.assert_array_equal(back, engine.col2im(same, x.shape, 2, 3, 2, 1))
    assert x.tobytes() == before


@pytest.mark.parametrize(
    ("dtype", "result"),
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float16),
        (np.uint8, np.float64),
        (np.int64, np.float64),
        (bool, np.float64),
    ],
)
def test_dtypes(engine, dtype, result):
    x = (normal((1, 2, 4, 4), np.float64) > 0).astype(dtype)
    col = engine.im2col(x, 2, 2)
    assert col.dtype == engine.col2im(col.astype(dtype), x.shape, 2, 2).dtype == result
    np.testing.assert_array_equal(col, windows_one_by_one(x, 2, 2, 1, 0, (3, 3)))
    np.testing.assert_array_equal(engine.col2im(col.astype(dtype), x.shape, 2, 2)[0, 0, 1, 1], 4 * x[0, 0, 1, 1])


def test_float16_is_added_up_in_float32(engine):
    """A pixel under 3 x 3 windows: 2048 and eight ones, each of which float16 would lose."""
    col = np.ones((9, 9), np.float16)
    col[0, 8] = 2048
    assert engine.col2im(col, (1, 1, 5, 5), 3, 3)[0, 0, 2, 2] == 2056


@pytest.mark.parametrize("shape", [(1, 1, 1, 4), (1, 1, 4, 4), (2, 1, 1, 4)], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_im2col_gives_a_new_array_of_its_own(engine, shape, stride):
    """Windows of one pixel could be views."""
    x = np.ones(shape)
    col = engine.im2col(x, 1, 1, stride)
    assert col.flags.c_contiguous
    col[...] = 5
    assert (x == 1).all()


@pytest.mark.parametrize(
    ("shape", "sizes", "error", "message"),
    [
        ((4, 4), (2, 2), ValueError, r"\(batch, channels, height, width\), got shape \(4, 4\)"),
        ((1, 1, 4, 4), (0, 2), ValueError, "filter_h must be 1 or more, got 0"),
        ((1, 1, 4, 4), (2, -1), ValueError, "filter_w must be 1 or more, got -1"),
        ((1, 1, 4, 4), (2, 2, 0), ValueError, "stride must be 1 or more, got 0"),
        ((1, 1, 4, 4), (2, 2, 1, -1), ValueError, "pad must be 0 or more, got -1"),
        ((1, 1, 4, 4), (5, 2), ValueError, "must hold a window of 5 x 2, got 4 x 4"),
        ((1, 1, 4, 4), (2, 7, 1, 1), ValueError, "must hold a window of 2 x 7, got 6 x 6"),
        ((1, 1, 4, 4), (2.0, 2), TypeError, "integer"),
        ((1, 1, 4, 4), (2, 2, 1.5), TypeError, "integer"),
    ],
)
def test_windows_that_do_not_fit(engine, shape, sizes, error, message):
    with pytest.raises(error, match=message):
        engine.im2col(np.ones(shape), *sizes)
    with pytest.raises(error, match=message):
        engine.col2im(np.ones((9, 4)), shape, *sizes)


def test_col2im_wants_as_many_entries_as_im2col_gives(engine):
    with pytest.raises(ValueError, match=r"col must have 36 entries .* got shape \(8, 4\)"):
        engine.col2im(np.ones((8, 4)), (1, 1, 4, 4), 2, 2)


@pytest.mark.parametrize(
    ("arguments", "size"),
    [((28, 5), 24.0), ((28, 5, 1, 2), 28.0), ((28, 2, 2), 14.0), ((7, 2, 2), 3.5), ((4, 5), 0.0)],
)
def test_conv_output_size_is_a_float(engine, arguments, size):
    assert engine.conv_output_size(*arguments) == size
    assert type(engine.conv_output_size(*arguments)) is float


def test_conv_output_size_by_keywords(engine):
    assert engine.conv_output_size(input_size=10, filter_size=3, stride=2, pad=1) == 5.5


# --- smooth_curve, shuffle_dataset -----------------------------------------------------------------


def test_smooth_curve_averages_eleven_points(engine):
    x = normal((30,), np.float64)
    weights = np.kaiser(11, 2) / np.kaiser(11, 2).sum()
    smooth = engine.smooth_curve(x)
    assert smooth.shape == (30,)
    for i in range(5, 25):
        np.testing.assert_allclose(smooth[i], weights @ x[i - 5 : i + 6], rtol=1e-13, atol=1e-14)


def test_smooth_curve_reflects_the_ends(engine):
    """The first point is a mirror, and behind the last one is a mirror: as in the book."""
    x = normal((12,), np.float64)
    weights = np.kaiser(11, 2) / np.kaiser(11, 2).sum()
    smooth = engine.smooth_curve(x.tolist())
    np.testing.assert_allclose(smooth[0], weights @ x[[5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5]], rtol=1e-13)
    np.testing.assert_allclose(smooth[-1], weights @ x[[-6, -5, -4, -3, -2, -1, -1, -2, -3, -4, -5]], rtol=1e-13)


@pytest.mark.parametrize(("points", "result"), [(11, 11), (100, 100), (10, 9), (5, 0), (1, 0)])
def test_smooth_curve_of_few_points_is_shorter(engine, points, result):
    np.testing.assert_allclose(engine.smooth_curve(np.full(points, 7)), np.full(result, 7.0), rtol=1e-14)


@pytest.mark.parametrize("shape", [(0,), (), (20, 2)])
def test_smooth_curve_wants_a_curve(engine, shape):
    with pytest.raises(ValueError, match="x must be 1-D and not empty, got shape"):
        engine.smooth_curve(np.ones(shape))


@pytest.mark.parametrize("shape", [(7,), (7, 3), (7, 1, 2, 2), (0, 3)])
def test_shuffle_dataset_draws_one_permutation(engine, shape):
    x, t = normal(shape, np.float32), np.arange(shape[0], dtype=np.uint8)
    np.random.seed(4)
    order, after = np.random.permutation(shape[0]), np.random.rand()
    np.random.seed(4)
    shuffled_x, shuffled_t = engine.shuffle_dataset(x, t)
    assert np.random.rand() == after
    np.testing.assert_array_equal(shuffled_x, x[order])
    np.testing.assert_array_equal(shuffled_t, t[order])
    assert (shuffled_x.dtype, shuffled_t.dtype) == (np.float32, np.uint8)
    assert not np.shares_memory(shuffled_x, x)


def test_shuffle_dataset_leaves_out_what_belongs_to_no_x(engine):
    np.random.seed(4)
    x, t = engine.shuffle_dataset(np.arange(5), np.arange(8))
    np.testing.assert_array_equal(x, t)
    np.testing.assert_array_equal(np.sort(t), np.arange(5))


def test_shuffle_dataset_wants_pairs_before_it_draws(engine):
    np.random.seed(4)
    after = np.random.rand()
    np.random.seed(4)
    for x, t in (([1, 2, 3], [1, 2]), (1, [1]), ([1], 1)):
        with pytest.raises(ValueError, match="t must have a sample for each of x, got shapes"):
            engine.shuffle_dataset(x, t)
    assert np.random.rand() == after


# --- Sizes that wrap around, or are beyond what C can hold -------------------------------------------


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int16])
def test_sizes_of_few_bits_do_not_wrap_around(engine, kind):
    x = normal((1, 1, 3, 3), np.float64)
    pad = int(np.iinfo(kind).max) if kind is not np.int16 else 200
    col = engine.im2col(x, 2, 2, 1, pad)
    assert_array_equal(engine.im2col(x, kind(2), kind(2), kind(1), kind(pad)), col)
    image = engine.col2im(col, x.shape, kind(2), kind(2), kind(1), kind(pad))
    assert_array_equal(image, engine.col2im(col, x.shape, 2, 2, 1, pad))
    assert engine.conv_output_size(kind(100), kind(2), kind(1), kind(100)) == 299.0
    layer = engine.Pooling(kind(2), kind(2), kind(2), kind(100))
    assert layer.backward(layer.forward(x)).shape == x.shape
    layer = engine.Convolution(np.ones((1, 1, 2, 2)), np.zeros(1), kind(1), kind(100))
    assert layer.backward(layer.forward(x)).shape == x.shape


@pytest.mark.parametrize("stride", [2**62, 2**63, 2**64, 2**100])
def test_a_stride_beyond_every_image(engine, stride):
    x = normal((2, 1, 5, 5), np.float64)
    col = engine.im2col(x, 2, 2, stride)
    assert_array_equal(col, engine.im2col(x, 2, 2, 5))
    assert_array_equal(engine.col2im(col, x.shape, 2, 2, stride), engine.col2im(col, x.shape, 2, 2, 5))
    W, b, dout = np.ones((1, 1, 2, 2)), np.zeros(1), np.ones((2, 1, 1, 1))
    pooling = [engine.Pooling(2, 2, length) for length in (stride, 5)]
    convolution = [engine.Convolution(W, b, length) for length in (stride, 5)]
    for layers in (pooling, convolution):
        assert_array_equal(*(layer.forward(x) for layer in layers))
        assert_array_equal(*(layer.backward(dout) for layer in layers))


@pytest.mark.parametrize("pad", [2**30, 2**62, 2**100])
def test_padding_beyond_what_memory_can_hold(engine, pad):
    with pytest.raises(ValueError, match="padded images must have"):
        engine.im2col(np.ones((1, 1, 2, 2)), 2, 2, 1, pad)
