"""Batch normalization in C: against the truth and the reference, for every size and instruction set."""

from math import prod

import numpy as np
import pytest
from arrays import DTYPES, LENGTHS, normal, specials
from tolerances import assert_close, assert_identical

import zerodl_c
from zerodl_c import reference

KEPT = ("xn", "std", "running_mean", "running_var", "dgamma", "dbeta")
WIDE = (1, *LENGTHS, 63, 64, 65, 127, 129, 200)  # features, around vectors and blocks of them


def passes(engine, x, gamma, beta, dout):
    """All that a forward and a backward pass give and keep; the running statistics are those of this batch."""
    zeros = np.zeros(prod(x.shape[1:]), x.dtype)
    layer = engine.BatchNormalization(gamma, beta, 0.0, zeros, zeros)
    out = layer.forward(x)
    dx = layer.backward(dout)
    return {"out": out, "dx": dx, **{name: getattr(layer, name) for name in KEPT}}


def operands(rows, features, dtype, seed=0):
    """x, gamma, beta, dout."""
    shapes = (rows, features), (features,), (features,), (rows, features)
    return [normal(shape, dtype, seed + i) for i, shape in enumerate(shapes)]


def truth(x, gamma, beta, dout):
    """Both passes by their definition, in long double; the statistics are those that the dtype can hold."""
    dtype, (x, gamma, beta, dout) = x.dtype, (np.asarray(a, np.longdouble) for a in (x, gamma, beta, dout))
    mean = x.mean(axis=0).astype(dtype)
    variance = ((x - mean) ** 2).mean(axis=0)
    std = np.sqrt(variance + 1e-6)
    xn = (x - mean) / std
    dgamma, dbeta = (dout * xn).sum(axis=0), dout.sum(axis=0)
    dx = gamma / std * (dout - (dbeta + xn * dgamma) / len(x))
    kept = dict(zip(KEPT, (xn, std, mean, variance, dgamma, dbeta), strict=True))
    return {name: value.astype(dtype) for name, value in {"out": gamma * xn + beta, "dx": dx, **kept}.items()}


def scales(x, gamma, beta, dout):
    """What cancels in each result, roughly."""
    largest, steepest = np.abs(x).max(axis=0), np.abs(dout).sum(axis=0)
    std = np.sqrt(x.var(axis=0) + 1e-6)
    xn = 2 * largest / std
    of_out, of_dx = np.abs(gamma) * xn + np.abs(beta), np.abs(gamma) / std * (np.abs(dout) + steepest * (1 + xn**2))
    statistics = {"std": largest, "running_mean": 0, "running_var": largest * std}
    return {"out": of_out, "dx": of_dx, "xn": xn, "dgamma": steepest * xn, "dbeta": 0, **statistics}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [1, 2, 3, 50])
def test_values_are_the_truth(isa, dtype, rows):
    for features in WIDE:
        arrays = operands(rows, features, dtype)
        got, expected, scale = passes(zerodl_c, *arrays), truth(*arrays), scales(*arrays)
        for name, value in expected.items():
            assert_close(got[name], value, scale=scale[name], label=f"{name} of {features}")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rows", [4095, 4096, 4097, 30_000])
def test_sums_of_many_rows_are_right_to_the_last_bits(isa, dtype, rows):
    """The mean is a hundred times the deviation: plain sums would be off by far more."""
    x, gamma, beta, dout = operands(rows, 9, dtype)
    x, dout = 300 + x, 100 + dout
    got, expected = passes(zerodl_c, x, gamma, beta, dout), truth(x, gamma, beta, dout)
    eps = np.finfo(dtype).eps
    for name in ("running_mean", "running_var", "std", "dbeta"):
        np.testing.assert_allclose(got[name], expected[name], rtol=2 * eps, err_msg=name)
    np.testing.assert_allclose(got["xn"], expected["xn"], rtol=4 * eps, atol=eps)


def test_sums_of_ten_million_float32():
    """What rounding drops in each sum is a sum, too, and rounded."""
    x, one, zero = np.full((10_000_000, 1), 0.1, np.float32), np.float32(1), np.float32(0)
    layer = zerodl_c.BatchNormalization(one, zero, 0.0)
    assert not layer.forward(x).any()
    assert layer.running_mean == x[0]
    layer.xn[...] = x
    layer.backward(x)
    total, squares = 1e7 * np.float64(x[0]), 1e7 * np.float64(x[0] * x[0])
    np.testing.assert_array_equal([layer.dbeta, layer.dgamma], np.float32([total, squares]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.1, 100.1, -1e6])
def test_a_constant_feature_is_centred_to_zero(isa, dtype, value):
    """An error in the last bit of the mean would be scaled by 1000."""
    x = np.full((1000, 19), value, dtype)
    np.testing.assert_array_equal(zerodl_c.BatchNormalization(np.ones(19, dtype), np.zeros(19, dtype)).forward(x), 0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("where", ["x", "dout", "gamma", "beta"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy
def test_special_values(isa, dtype, where):
    """Each in one place of a feature of its own, in every feature's neighbourhood."""
    values = specials(dtype)
    arrays = operands(5, values.size, dtype)
    place = arrays[["x", "gamma", "beta", "dout"].index(where)]
    place[..., :] = np.where(np.arange(len(place))[:, None] == 2, values, place) if place.ndim == 2 else values
    got, expected = (passes(engine, *arrays) for engine in (zerodl_c, reference))
    x, gamma, beta, dout = (np.nan_to_num(a, nan=0, posinf=0, neginf=0).astype(np.longdouble) for a in arrays)
    scale = scales(x, gamma, beta, dout) | {"dbeta": np.abs(dout).sum(axis=0)}  # the reference's is a plain sum
    for name, value in expected.items():
        assert_close(got[name], value, terms=5, scale=scale[name], label=name)


@pytest.mark.parametrize("sign", [1, -1])
def test_float32_does_not_overflow_in_a_sum_that_float64_can_hold(isa, sign):
    x = np.full((6, 3), sign * np.finfo(np.float32).max, np.float32)
    layer = zerodl_c.BatchNormalization(np.ones(3, np.float32), np.zeros(3, np.float32), 0.0)
    np.testing.assert_array_equal(layer.forward(x), 0)
    np.testing.assert_array_equal(layer.running_mean, x[0])
    squares = np.array([[1.8e19], [-1.8e19]] * 3, np.float32)  # each square is nearly the largest number
    layer = zerodl_c.BatchNormalization(np.float32(1), np.float32(0), 0.0)
    np.testing.assert_allclose(layer.forward(squares), np.sign(squares), rtol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_mean_of_small_numbers_is_right(isa, dtype):
    """A sum that is scaled so as not to overflow makes them subnormal. That of a large feature does not change them."""
    tiny = np.finfo(dtype).tiny
    x = np.full((4096, 3), [tiny, 1.1 * tiny, np.finfo(dtype).max], dtype)
    for features in (x[:, :2], x):
        layer = zerodl_c.BatchNormalization(np.ones(features.shape[1], dtype), np.zeros(features.shape[1], dtype), 0.0)
        layer.forward(features)
        np.testing.assert_array_equal(layer.running_mean[:2], x[0, :2])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(100, 700), (3, 40_000), (40_000, 3), (2, 65, 20, 30)], ids=str)
def test_any_number_of_threads_gives_the_same_bits(threads, dtype, shape):
    x, dout = normal(shape, dtype), normal(shape, dtype, 3)
    gamma, beta = normal(x[0].size, dtype, 1), normal(x[0].size, dtype, 2)
    got = passes(zerodl_c, x, gamma, beta, dout)
    zerodl_c.set_num_threads(1)
    for name, value in passes(zerodl_c, x, gamma, beta, dout).items():
        assert_identical(got[name], value, name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_feature_does_not_depend_on_its_neighbours(isa, dtype):
    """In a block of vectors, alone in a vector, or in a part of one."""
    x, gamma, beta, dout = operands(20, 150, dtype)
    whole = passes(zerodl_c, x, gamma, beta, dout)
    for j in (0, 7, 63, 64, 128, 149):
        one = [np.ascontiguousarray(a[..., j : j + 1]) for a in (x, gamma, beta, dout)]
        for name, value in passes(zerodl_c, *one).items():
            assert_identical(value, np.ascontiguousarray(whole[name][..., j : j + 1]), f"{name} {j}")


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
@pytest.mark.parametrize("start", [None, np.float16, np.float32, np.float64, list])
def test_running_statistics_have_the_references_dtype(dtype, start):
    x, gamma, beta, _ = operands(6, 5, dtype)
    given = {None: None, list: [1.0] * 5}.get(start, np.ones(5, start if start in (np.float16, np.float32) else None))
    layers = [engine.BatchNormalization(gamma, beta, 0.7, given, given) for engine in (zerodl_c, reference)]
    for layer in layers:
        layer.forward(x)
    got, expected = layers
    for name in ("std", "xn"):
        assert_close(getattr(got, name), getattr(expected, name), terms=6, scale=9, label=name)
    # Averages, in whatever dtype, of statistics that were rounded to float32 where x is no float64.
    eps = np.finfo(np.float64 if dtype == np.float64 else np.float32).eps
    for name in ("running_mean", "running_var"):
        assert getattr(got, name).dtype == getattr(expected, name).dtype, name
        values = getattr(got, name), getattr(expected, name)
        np.testing.assert_allclose(*values, rtol=6 * eps, atol=6 * eps, err_msg=name)


# gamma, beta of 5 features: what works in NumPy works here, and what fails there fails alike
PARAMETERS = {
    "numbers": (2.0, 0),
    "0-d": (np.array(2.0), np.array(0.5)),
    "of one": (np.ones(1), np.zeros(1)),
    "a row": (np.ones((1, 5)), np.zeros((1, 5))),
    "lists": ([1.0] * 5, [0.5] * 5),
    "integers": (np.arange(5), np.ones(5, np.uint8)),
    "float32": (np.ones(5, np.float32), np.zeros(5, np.float32)),
    "stepped": (np.arange(10.0)[::2], np.arange(5.0)[::-1]),
    "too many": (np.ones(6), np.zeros(6)),
}


@pytest.mark.parametrize("name", PARAMETERS)
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1, 1), (1, 5), (0, 5)], ids=str)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of NumPy, for a batch of none
def test_parameters_of_any_kind(name, shape):
    x, dout = normal(shape, np.float64), normal(shape, np.float64, 1)
    if name == "too many":
        for engine in (zerodl_c, reference):
            with pytest.raises(ValueError, match="broadcast"):
                passes(engine, x, *PARAMETERS[name], dout)
        return
    results = []
    for engine in (zerodl_c, reference):
        layer = engine.BatchNormalization(*PARAMETERS[name])
        results.append([layer.forward(x), layer.backward(dout), *(getattr(layer, kept) for kept in KEPT)])
    for got, expected in zip(*results, strict=True):
        assert_close(got, expected, terms=4, scale=100)


@pytest.mark.parametrize("x", [1.0, "a", [[1j]], [["a"]]], ids=str)
def test_what_is_no_batch_is_refused(x):
    with pytest.raises(TypeError, match=r"x must be real|unsized"):
        zerodl_c.BatchNormalization(np.ones(1), np.zeros(1)).forward(x)
