"""Each layer: what it computes, its gradients against central differences, and what scripts rely on."""

import numpy as np
import pytest
from arrays import LAYOUTS, normal

from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")


def parameter(*shape, seed=1):
    return normal(shape, np.float64, seed) / 3


# Each layer by name: how to make it, x's shape, and its parameters.
LAYERS = {
    "Relu": (lambda engine: engine.Relu(), (4, 5), ""),
    "Relu of images": (lambda engine: engine.Relu(), (2, 3, 4, 5), ""),
    "Sigmoid": (lambda engine: engine.Sigmoid(), (4, 5), ""),
    "Tanh": (lambda engine: engine.Tanh(), (2, 3, 4), ""),
    "Affine": (lambda engine: engine.Affine(parameter(5, 3), parameter(3)), (4, 5), "Wb"),
    "Affine, one row": (lambda engine: engine.Affine(parameter(5, 3), parameter(3)), (1, 5), "Wb"),
    "Affine of images": (lambda engine: engine.Affine(parameter(24, 3), parameter(3)), (5, 2, 3, 4), "Wb"),
    "Dropout": (lambda engine: engine.Dropout(0.3), (4, 5), ""),
    "BatchNormalization": (
        lambda engine: engine.BatchNormalization(parameter(5), parameter(5, seed=2)),
        (4, 5),
        ("gamma", "beta"),
    ),
    "BatchNormalization of images": (
        lambda engine: engine.BatchNormalization(parameter(24), parameter(24, seed=2)),
        (5, 2, 3, 4),
        ("gamma", "beta"),
    ),
    "Convolution": (lambda engine: engine.Convolution(parameter(4, 3, 2, 3), parameter(4)), (2, 3, 5, 6), "Wb"),
    "Convolution, stride and pad": (
        lambda engine: engine.Convolution(parameter(4, 3, 3, 2), parameter(4), 2, 1),
        (2, 3, 5, 6),
        "Wb",
    ),
    "Convolution, 1 x 1": (lambda engine: engine.Convolution(parameter(2, 1, 1, 1), parameter(2)), (2, 1, 3, 3), "Wb"),
    "Pooling": (lambda engine: engine.Pooling(2, 2), (2, 3, 4, 6), ""),
    "Pooling, overlapping": (lambda engine: engine.Pooling(3, 2, 1), (2, 3, 5, 5), ""),
    "Pooling, padded": (lambda engine: engine.Pooling(2, 3, 2, 1), (2, 3, 4, 4), ""),
}


NOT_TO_EDIT = {"read-only", "repeated"}  # layouts that Relu.backward, which edits dout, has no use for


@pytest.fixture(params=LAYERS)
def case(request):
    """How to make a layer, x's shape, and the names of its parameters."""
    return LAYERS[request.param]


def forward(layer, x):
    np.random.seed(6)  # dropout draws the same mask each time
    return layer.forward(x)


def passes(layer, x, dout=None):
    """The output and all gradients; dout is drawn for the output's shape, unless it is given."""
    out = forward(layer, x)
    dx = layer.backward(normal(out.shape, out.dtype, 8) if dout is None else dout)
    gradients = {name: vars(layer)[name] for name in ("dW", "db", "dgamma", "dbeta") if name in vars(layer)}
    return {"out": out, "dx": dx, **gradients}


def with_parameters(layer, names, dtype):
    for name in names:
        setattr(layer, name, getattr(layer, name).astype(dtype))
    return layer


# --- All layers ------------------------------------------------------------------------------------


def test_backward_is_the_gradient(engine, case):
    make, shape, names = case
    layer, x = make(engine), normal(shape, np.float64)
    out = forward(layer, x)
    dout = normal(out.shape, np.float64, 8)
    dx = layer.backward(dout.copy())
    gradients = {"x": (dx, x), **{name: (getattr(layer, f"d{name}"), getattr(layer, name)) for name in names}}
    for name, (gradient, value) in gradients.items():
        expected = reference.numerical_gradient(lambda _: np.sum(forward(layer, x) * dout), value, h=1e-5)
        assert gradient.shape == value.shape
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-8, err_msg=name)


@pytest.mark.parametrize(
    ("name", "layout"),
    [(name, layout) for name in LAYERS for layout in LAYOUTS if name[:4] != "Relu" or layout not in NOT_TO_EDIT],
)
def test_inputs_and_dout_in_every_layout(engine, name, layout):
    """Pooling and convolution hand on views, and their neighbours take them."""
    make, shape, _ = LAYERS[name]
    x = LAYOUTS[layout](normal(shape, np.float64))
    dout = LAYOUTS[layout](normal(forward(make(engine), x).shape, np.float64, 8))
    before, plain = x.tobytes(), [np.array(array, np.float64, order="C") for array in (x, dout)]
    got, expected = passes(make(engine), x, dout), passes(make(engine), *plain)
    assert x.tobytes() == before
    for key, value in expected.items():
        np.testing.assert_allclose(got[key], value, rtol=1e-12, atol=1e-13, err_msg=key)


@pytest.mark.parametrize("name", [name for name in LAYERS if name[:4] != "Relu"])
def test_dout_stays_as_it_is(engine, name):
    make, shape, _ = LAYERS[name]
    layer = make(engine)
    dout = normal(forward(layer, normal(shape, np.float64)).shape, np.float64, 8)
    before = dout.tobytes()
    layer.backward(dout)
    assert dout.tobytes() == before


@pytest.mark.parametrize(
    ("x_dtype", "parameter_dtype"),
    [
        (np.float64, np.float64),
        (np.float32, np.float32),
        (np.float16, np.float16),
        (np.float32, np.float64),
        (np.float16, np.float64),
        (np.float64, np.float32),
        (np.uint8, np.float64),
        (np.int64, np.int64),
    ],
    ids=lambda dtype: np.dtype(dtype).name,
)
def test_dtypes(engine, case, x_dtype, parameter_dtype):
    """They promote as NumPy's do; what is left as integers is float64. float16 is computed in float32."""
    make, shape, names = case
    dtype = np.result_type(x_dtype, *[parameter_dtype] * bool(names))
    dtype = dtype if dtype.kind == "f" else np.dtype(np.float64)
    x = np.abs(normal(shape, np.float64)).astype(x_dtype)
    layer, exact = (with_parameters(make(engine), names, parameter_dtype) for _ in range(2))
    got = passes(layer, x)
    dout = normal(got["out"].shape, dtype, 8).astype(np.float64)
    expected = passes(with_parameters(exact, names, np.float64), x.astype(np.float64), dout)
    for key, value in expected.items():
        assert got[key].dtype == dtype, key
        allowed = 20 * np.finfo(dtype).eps * (1 + np.abs(value).max())
        np.testing.assert_allclose(got[key], value, rtol=0, atol=allowed, err_msg=key)


def test_the_layers_take_lists(engine, case):
    make, shape, _ = case
    x = normal(shape, np.float64)
    np.testing.assert_array_equal(forward(make(engine), x.tolist()), forward(make(engine), x))


@pytest.mark.parametrize("name", [name for name, (_, _, names) in LAYERS.items() if names])
@pytest.mark.parametrize("change", ["in place", "by assignment"])
def test_parameters_are_those_of_now(engine, name, change):
    """Optimizers change them in place, and load_params assigns others."""
    make, shape, names = LAYERS[name]
    x, layer, fresh = normal(shape, np.float64), make(engine), make(engine)
    passes(layer, x)
    for parameter_name in names:
        value = getattr(layer, parameter_name)
        new = normal(value.shape, np.float64, 12)
        setattr(fresh, parameter_name, new)
        if change == "in place":
            value[...] = new
        else:
            setattr(layer, parameter_name, new.copy())
    got, expected = passes(layer, x), passes(fresh, x)
    for key, value in expected.items():
        np.testing.assert_array_equal(got[key], value, err_msg=key)


@pytest.mark.parametrize("name", [name for name in LAYERS if name[:6] != "Affine"])
def test_a_wrong_dout_is_refused(engine, name):
    make, shape, _ = LAYERS[name]
    layer = make(engine)
    dout = np.ones((*forward(layer, normal(shape, np.float64)).shape[:-1], 7))
    with pytest.raises((ValueError, IndexError), match=r"dout must have the shape|broadcast|boolean index"):
        layer.backward(dout)


# --- Relu, Sigmoid, Tanh ---------------------------------------------------------------------------


def test_relu_edits_dout_in_place(engine):
    layer, x = engine.Relu(), np.array([[-1.0, 0.0, -0.0], [2.0, np.nan, np.inf]])
    out = layer.forward(x)
    np.testing.assert_array_equal(out, [[0, 0, 0], [2, np.nan, np.inf]])
    assert not np.signbit(out).any()
    np.testing.assert_array_equal(layer.mask, [[True, True, True], [False, False, False]])
    assert layer.mask.dtype == bool
    dout = np.arange(6.0).reshape(2, 3)
    dx = layer.backward(dout)
    assert dx is dout
    np.testing.assert_array_equal(dx, [[0, 0, 0], [3, 4, 5]])


@pytest.mark.parametrize("layout", [layout for layout in LAYOUTS if layout not in NOT_TO_EDIT])
def test_relu_edits_dout_in_every_layout(engine, layout):
    layer, x = engine.Relu(), normal((2, 3, 4, 5), np.float64)
    layer.forward(x)
    dout = LAYOUTS[layout](normal(x.shape, np.float64, 8))
    expected = np.where(x <= 0, 0, dout)
    assert layer.backward(dout) is dout
    np.testing.assert_array_equal(dout, expected)


def test_relu_gives_a_new_array(engine):
    x = np.array([1.0, 2.0])
    assert not np.shares_memory(engine.Relu().forward(x), x)


def test_relu_cannot_edit_what_is_read_only(engine):
    layer, dout = engine.Relu(), LAYOUTS["read-only"](np.ones(2))
    layer.forward([-1.0, 1.0])
    with pytest.raises(ValueError, match="read-only"):
        layer.backward(dout)


@pytest.mark.parametrize("name", ["Sigmoid", "Tanh"])
def test_activations_keep_their_output(engine, name):
    layer, x = getattr(engine, name)(), normal((3, 4), np.float64)
    out = layer.forward(x)
    assert layer.out is out
    np.testing.assert_allclose(out, {"Sigmoid": 1 / (1 + np.exp(-x)), "Tanh": np.tanh(x)}[name], rtol=1e-14)
    layer.out[...] = 0.5
    dout = np.ones((3, 4))
    np.testing.assert_array_equal(layer.backward(dout), np.full((3, 4), {"Sigmoid": 0.25, "Tanh": 0.75}[name]))
    assert (dout == 1).all()


def test_activations_of_large_numbers_are_silent(engine):
    np.testing.assert_array_equal(engine.Sigmoid().forward([-1000.0, 1000.0, np.nan]), [0, 1, np.nan])
    np.testing.assert_array_equal(engine.Tanh().forward([-1000.0, 1000.0, np.nan]), [-1, 1, np.nan])


# --- Affine ----------------------------------------------------------------------------------------


def test_affine_takes_each_sample_as_a_row(engine):
    W, b, x = parameter(6, 2), parameter(2), normal((4, 3, 2), np.float64)
    layer = engine.Affine(W, b)
    out = layer.forward(x)
    np.testing.assert_allclose(out, x.reshape(4, 6) @ W + b, rtol=1e-13)
    assert layer.W is W and layer.b is b
    np.testing.assert_array_equal(layer.x, x.reshape(4, 6))
    assert layer.original_x_shape == (4, 3, 2)
    assert layer.backward(np.ones((4, 2))).shape == (4, 3, 2)
    np.testing.assert_allclose(layer.db, [4, 4])


@pytest.mark.parametrize("b", [0, 1, 0.5])
def test_affine_with_one_number_as_bias(engine, b):
    x, W = normal((3, 4), np.float32), parameter(4, 2).astype(np.float32)
    layer = engine.Affine(W, b)
    out = layer.forward(x)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, x @ W + np.float32(b), rtol=1e-5)
    layer.backward(out)
    np.testing.assert_allclose(layer.db, out.sum(axis=0), rtol=1e-5)


def test_affine_of_an_empty_batch(engine):
    layer = engine.Affine(parameter(6, 2), parameter(2))
    assert layer.forward(np.ones((0, 3, 2))).shape == (0, 2)
    assert layer.backward(np.ones((0, 2))).shape == (0, 3, 2)
    np.testing.assert_array_equal(layer.dW, np.zeros((6, 2)))


def test_affine_of_sizes_that_do_not_fit(engine):
    layer = engine.Affine(np.ones((4, 2)), np.ones(2))
    with pytest.raises(ValueError, match="5"):
        layer.forward(np.ones((3, 5)))
    layer.forward(np.ones((3, 4)))
    with pytest.raises(ValueError, match="dout"):
        layer.backward(np.ones((3, 3)))


# --- SoftmaxWithLoss -------------------------------------------------------------------------------

LABELS = np.array([2, 0, 1, 2])
TARGETS = {
    "labels": LABELS,
    "uint8 labels": LABELS.astype(np.uint8),
    "a column of labels": LABELS[:, None],
    "one-hot": np.eye(3)[LABELS],
    "one-hot integers": np.eye(3, dtype=np.uint8)[LABELS],
}


@pytest.mark.parametrize("t", TARGETS.values(), ids=TARGETS)
def test_softmax_with_loss(engine, t):
    layer, x = engine.SoftmaxWithLoss(), normal((4, 3), np.float64)
    before = t.tobytes()
    loss = layer.forward(x, t)
    y = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loss, -np.mean(np.log(y[np.arange(4), LABELS] + 1e-7)), rtol=1e-14)
    np.testing.assert_allclose(layer.y, y, rtol=1e-14)
    assert layer.loss == loss and layer.t is t
    dx = layer.backward()
    np.testing.assert_allclose(dx, (y - np.eye(3)[LABELS]) / 4, rtol=1e-13, atol=1e-16)
    expected = reference.numerical_gradient(lambda _: engine.SoftmaxWithLoss().forward(x, t), x, h=1e-5)
    np.testing.assert_allclose(dx, expected, rtol=0, atol=1e-6)  # the loss adds 1e-7 within the logarithm
    assert t.tobytes() == before


def test_softmax_with_loss_of_one_sample_and_one_label(engine):
    """As ch07/gradient_check.py has it."""
    layer, x = engine.SoftmaxWithLoss(), normal((1, 10), np.float64)
    loss = layer.forward(x, np.array([1]).reshape((1, 1)))
    assert loss == engine.SoftmaxWithLoss().forward(x, [1])
    np.testing.assert_allclose(layer.backward(), layer.y - np.eye(10)[[1]], rtol=1e-14)


def test_softmax_with_loss_is_the_end_whatever_dout_is(engine):
    layer = engine.SoftmaxWithLoss()
    layer.forward(normal((4, 3), np.float64), LABELS)
    np.testing.assert_array_equal(layer.backward(5), layer.backward(1))
    np.testing.assert_array_equal(layer.backward(dout=1), layer.backward())


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_softmax_with_loss_keeps_the_dtype(engine, dtype):
    layer = engine.SoftmaxWithLoss()
    assert layer.forward(normal((4, 3), dtype), LABELS.astype(np.uint8)).dtype == dtype
    assert layer.y.dtype == layer.backward().dtype == dtype


def test_softmax_with_loss_refuses_labels_that_do_not_fit(engine):
    layer, x = engine.SoftmaxWithLoss(), normal((4, 3), np.float64)
    with pytest.raises(ValueError, match="t must hold 4 labels"):
        layer.forward(x, [0, 1])
    with pytest.raises(IndexError, match="t must hold labels from 0 to 2"):
        layer.forward(x, [0, 1, 2, 3])


# --- Dropout ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 5), (7,), (2, 3, 2, 2), (0, 3)])
def test_dropout_draws_its_mask_from_numpys_generator(engine, shape):
    np.random.seed(2)
    mask, after = np.random.rand(*shape) > 0.3, np.random.rand()
    np.random.seed(2)
    layer, x = engine.Dropout(dropout_ratio=0.3), normal(shape, np.float64)
    out = layer.forward(x)
    assert np.random.rand() == after
    assert layer.dropout_ratio == 0.3
    np.testing.assert_array_equal(layer.mask, mask)
    np.testing.assert_array_equal(out, x * mask)
    np.testing.assert_array_equal(layer.backward(x), x * mask)


def test_dropout_scales_once_the_net_has_learned(engine):
    layer, x = engine.Dropout(0.25), normal((4, 5), np.float64)
    layer.forward(x, train_flg=True)
    mask = layer.mask
    np.random.seed(2)
    after = np.random.rand()
    np.random.seed(2)
    np.testing.assert_array_equal(layer.forward(x, False), x * 0.75)
    assert np.random.rand() == after, "it drew"
    assert layer.mask is mask


def test_dropout_drops_half_unless_told(engine):
    assert engine.Dropout().dropout_ratio == 0.5


def test_dropout_lets_nan_through(engine):
    assert np.isnan(engine.Dropout(1.0).forward(np.array([np.nan]))).all()


# --- BatchNormalization ----------------------------------------------------------------------------


def test_batch_normalization_centres_and_scales_each_feature(engine):
    x = 100 + 7 * normal((50, 3), np.float64)
    layer = engine.BatchNormalization(1.0, 0)
    out = layer.forward(x)
    np.testing.assert_allclose(out.mean(axis=0), 0, atol=1e-13)
    np.testing.assert_allclose(out.var(axis=0), 1, rtol=1e-8)
    np.testing.assert_allclose(layer.xn, (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-6), rtol=1e-12)
    np.testing.assert_allclose(layer.std, np.sqrt(x.var(axis=0) + 1e-6), rtol=1e-13)
    gamma, beta = np.array([1.0, 2.0, -3.0]), np.array([0.5, 0.0, 1.0])
    layer = engine.BatchNormalization(gamma, beta)
    np.testing.assert_allclose(layer.forward(x), gamma * out + beta, rtol=1e-13)
    assert layer.gamma is gamma and layer.beta is beta and layer.momentum == 0.9


@pytest.mark.parametrize("start", [None, (np.array([1.0, 2.0]), np.array([3.0, 4.0])), ([1.0, 2.0], [3.0, 4.0])])
def test_batch_normalization_moves_its_running_statistics(engine, start):
    layer = engine.BatchNormalization(np.ones(2), np.zeros(2), 0.8, *(start or (None, None)))
    mean, var = (np.zeros(2), np.zeros(2)) if start is None else map(np.array, start)
    for seed in range(3):
        x = normal((6, 2), np.float64, seed)
        layer.forward(x)
        mean, var = 0.8 * mean + 0.2 * x.mean(axis=0), 0.8 * var + 0.2 * x.var(axis=0)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-13)
    np.testing.assert_allclose(layer.running_var, var, rtol=1e-13)


def test_batch_normalization_leaves_the_statistics_that_it_was_given(engine):
    mean, var = np.zeros(2), np.ones(2)
    engine.BatchNormalization(np.ones(2), np.zeros(2), running_mean=mean, running_var=var).forward(np.eye(2))
    np.testing.assert_array_equal([mean, var], [[0, 0], [1, 1]])


def test_batch_normalization_by_the_running_statistics(engine):
    mean, var = np.array([1.0, -2.0]), np.array([4.0, 0.25])
    layer = engine.BatchNormalization(np.array([2.0, 3.0]), np.array([0.5, 0.0]), 0.9, mean, var)
    x = normal((6, 2), np.float64)
    expected = [2, 3] * (x - mean) / np.sqrt(var + 1e-6) + [0.5, 0]
    np.testing.assert_allclose(layer.forward(x, train_flg=False), expected, rtol=1e-13)
    assert layer.running_mean is mean and layer.running_var is var and layer.xn is None


def test_batch_normalization_before_it_has_learned_anything(engine):
    layer = engine.BatchNormalization(np.ones(2), np.zeros(2))
    np.testing.assert_allclose(layer.forward(np.array([[1.0, 2.0]]), False), [[1000, 2000]])
    np.testing.assert_array_equal([layer.running_mean, layer.running_var], np.zeros((2, 2)))


def test_batch_normalization_of_one_sample(engine):
    """As ch06/batch_norm_gradient_check.py has it: nothing is left of x."""
    layer = engine.BatchNormalization(np.ones(3), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(layer.forward(normal((1, 3), np.float64)), [[1, 2, 3]])
    np.testing.assert_array_equal(layer.backward(np.ones((1, 3))), np.zeros((1, 3)))
    np.testing.assert_array_equal([layer.dgamma, layer.dbeta], [[0, 0, 0], [1, 1, 1]])


def test_batch_normalization_takes_every_pixel_as_a_feature(engine):
    x, gamma, beta = normal((5, 2, 3, 4), np.float64), parameter(24), parameter(24, seed=2)
    images, rows = (engine.BatchNormalization(gamma, beta) for _ in range(2))
    dout = normal(x.shape, np.float64, 3)
    np.testing.assert_array_equal(images.forward(x), rows.forward(x.reshape(5, 24)).reshape(x.shape))
    np.testing.assert_array_equal(images.backward(dout), rows.backward(dout.reshape(5, 24)).reshape(x.shape))
    assert images.dgamma.shape == images.running_mean.shape == (24,)
    assert (images.input_shape, rows.input_shape) == ((5, 2, 3, 4), (5, 24))
    np.testing.assert_array_equal(images.forward(x, False), rows.forward(x.reshape(5, 24), False).reshape(x.shape))


def test_batch_normalization_keeps_float32_with_and_without_learning(engine):
    layer = engine.BatchNormalization(np.ones(3, np.float32), np.zeros(3, np.float32))
    x = normal((5, 3), np.float32)
    assert layer.forward(x).dtype == layer.forward(x, False).dtype == np.float32


def test_batch_normalization_adds_up_its_statistics_in_float64(engine):
    """In float32, the mean of 300000 times 0.1 would be off in the third digit."""
    x = np.full((300_000, 2), 0.1, np.float32)
    layer = engine.BatchNormalization(np.float32(1), np.float32(0), momentum=0.0)
    layer.forward(x)
    np.testing.assert_allclose(layer.running_mean, np.float32(0.1), rtol=1e-7)


# --- Convolution -----------------------------------------------------------------------------------


def convolve(x, W, b, stride, pad):
    """Convolution by its definition."""
    x = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    height, width = ((x.shape[k] - W.shape[k]) // stride + 1 for k in (2, 3))
    out = np.empty((len(x), len(W), height, width))
    for n, f, i, j in np.ndindex(*out.shape):
        patch = x[n, :, stride * i : stride * i + W.shape[2], stride * j : stride * j + W.shape[3]]
        out[n, f, i, j] = np.sum(patch * W[f])
    return out + np.reshape(b, (-1, 1, 1))


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize(("shape", "filter_shape"), [((2, 3, 5, 6), (4, 3, 3, 2)), ((1, 1, 4, 4), (1, 1, 4, 4))])
def test_convolution_is_that_of_the_definition(engine, shape, filter_shape, stride, pad):
    x, W, b = normal(shape, np.float64), parameter(*filter_shape), parameter(filter_shape[0])
    layer = engine.Convolution(W, b, stride=stride, pad=pad)
    np.testing.assert_allclose(layer.forward(x), convolve(x, W, b, stride, pad), rtol=1e-12, atol=1e-13)
    assert layer.W is W and layer.b is b and (layer.stride, layer.pad) == (stride, pad)
    np.testing.assert_array_equal(layer.x, x)
    np.testing.assert_array_equal(layer.col, engine.im2col(x, *filter_shape[2:], stride, pad))


def test_convolution_with_one_filter_and_an_integer_bias(engine):
    """As ch07/apply_filter.py has it."""
    x, W = normal((1, 1, 6, 6), np.float32), parameter(1, 1, 3, 3)
    layer = engine.Convolution(W, 0)
    out = layer.forward(x)
    assert out.dtype == np.float64
    np.testing.assert_allclose(out, convolve(x, W, 0, 1, 0), rtol=1e-12, atol=1e-13)
    layer.backward(np.ones(out.shape))
    np.testing.assert_array_equal(layer.db, [16.0])


def test_convolution_of_an_empty_batch(engine):
    layer = engine.Convolution(parameter(4, 3, 2, 2), parameter(4))
    assert layer.forward(np.ones((0, 3, 5, 5))).shape == (0, 4, 4, 4)
    assert layer.backward(np.ones((0, 4, 4, 4))).shape == (0, 3, 5, 5)
    np.testing.assert_array_equal(layer.dW, np.zeros((4, 3, 2, 2)))


@pytest.mark.parametrize(
    ("shape", "filter_shape", "stride", "message"),
    [
        ((2, 3, 5, 5), (4, 2, 3, 3), 1, r"equal channels, got shapes \(2, 3, 5, 5\) and \(4, 2, 3, 3\)"),
        ((3, 5, 5), (4, 3, 3, 3), 1, r"x and W must be \(batch, channels"),
        ((2, 3, 5, 5), (3, 3), 1, r"x and W must be \(batch, channels"),
        ((2, 3, 5, 5), (4, 3, 6, 3), 1, "must hold a window of 6 x 3, got 5 x 5"),
        ((2, 3, 5, 5), (4, 3, 3, 3), 0, "stride must be 1 or more, got 0"),
    ],
)
def test_convolution_of_what_does_not_fit(engine, shape, filter_shape, stride, message):
    with pytest.raises(ValueError, match=message):
        engine.Convolution(np.ones(filter_shape), 0, stride).forward(np.ones(shape))


@pytest.mark.parametrize("layer", ["Convolution", "Pooling"])
def test_dout_of_images_has_the_shape_of_the_output(engine, layer):
    """As many entries in another order are not enough."""
    made = engine.Convolution(np.ones((3, 3, 2, 2)), 0, 2) if layer == "Convolution" else engine.Pooling(2, 2)
    made.forward(np.ones((2, 3, 4, 6)))
    with pytest.raises(ValueError, match=r"shape of the output, \(2, 3, 2, 3\), got \(2, 2, 3, 3\)"):
        made.backward(np.ones((2, 2, 3, 3)))


# --- Pooling ---------------------------------------------------------------------------------------


def pool(x, pool_h, pool_w, stride, pad):
    """Pooling by its definition: the maxima, and where they were taken from, as counts."""
    padded = np.pad(x, [(0, 0), (0, 0), (pad, pad), (pad, pad)])
    height, width = (padded.shape[2] - pool_h) // stride + 1, (padded.shape[3] - pool_w) // stride + 1
    out, taken = np.empty((*x.shape[:2], height, width)), np.zeros(padded.shape)
    for n, c, i, j in np.ndindex(*out.shape):
        window = (n, c, slice(stride * i, stride * i + pool_h), slice(stride * j, stride * j + pool_w))
        out[n, c, i, j] = padded[window].max()
        taken[window].flat[padded[window].argmax()] += 1
    return out, taken[:, :, pad : pad + x.shape[2], pad : pad + x.shape[3]]


@pytest.mark.parametrize("sizes", [(2, 2, 2, 0), (3, 2, 1, 0), (2, 3, 2, 1), (1, 1, 1, 0), (2, 2, 3, 0), (4, 5, 1, 0)])
@pytest.mark.parametrize("values", [lambda x: x, np.round, lambda x: -np.abs(x)], ids=["all", "ties", "negative"])
def test_pooling_is_that_of_the_definition(engine, sizes, values):
    x, layer = values(normal((2, 3, 4, 5), np.float64)), engine.Pooling(*sizes)
    out, taken = pool(x, *sizes)
    np.testing.assert_array_equal(layer.forward(x), out)
    np.testing.assert_array_equal(layer.backward(np.ones(out.shape)), taken)
    np.testing.assert_array_equal(layer.x, x)


def test_pooling_by_keywords_steps_by_2(engine):
    layer, x = engine.Pooling(pool_h=2, pool_w=2), normal((1, 1, 6, 6), np.float64)
    assert (layer.pool_h, layer.pool_w, layer.stride, layer.pad) == (2, 2, 2, 0)
    np.testing.assert_array_equal(layer.forward(x), engine.Pooling(2, 2, stride=2).forward(x))


def test_pooling_says_which_pixel_it_took(engine):
    """A window for each place, and at each place one for each channel."""
    layer = engine.Pooling(1, 2, 2)
    layer.forward([[[[1.0, 0.0, 1.0, 2.0]], [[0.0, 1.0, 3.0, 3.0]]]])
    np.testing.assert_array_equal(layer.arg_max, [0, 1, 1, 0])


def test_pooling_lets_nan_through(engine):
    layer, x = engine.Pooling(2, 2), np.arange(16.0).reshape(1, 1, 4, 4)
    x[0, 0, 1, 0] = np.nan
    np.testing.assert_array_equal(layer.forward(x), [[[[np.nan, 7], [13, 15]]]])
    assert layer.backward(np.ones((1, 1, 2, 2)))[0, 0, 1, 0] == 1


def test_pooling_of_an_empty_batch(engine):
    layer = engine.Pooling(2, 2)
    assert layer.forward(np.ones((0, 3, 4, 4))).shape == (0, 3, 2, 2)
    assert layer.backward(np.ones((0, 3, 2, 2))).shape == (0, 3, 4, 4)


def test_pooling_of_what_does_not_fit(engine):
    with pytest.raises(ValueError, match="must hold a window of 5 x 2, got 4 x 4"):
        engine.Pooling(5, 2).forward(np.ones((1, 1, 4, 4)))
    with pytest.raises(ValueError, match=r"\(batch, channels, height, width\), got shape \(4, 4\)"):
        engine.Pooling(2, 2).forward(np.ones((4, 4)))
