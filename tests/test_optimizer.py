"""SGD: both engines take the same step, in place, whatever the arrays are."""

import numpy as np
import pytest
from arrays import DTYPES, LAYOUTS, LENGTHS, normal
from tolerances import assert_close

import zerodl_c
from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def step(engine, param, grad, lr=0.1):
    params = {"W": param}
    assert engine.SGD(lr).update(params, {"W": grad}) is None
    return params["W"]


def assert_step_as_reference(param, grad, lr=0.1, label=""):
    twin, before = param.copy(), grad.tobytes()
    expected = step(reference, twin, grad.copy(), lr)
    got = step(zerodl_c, param, grad, lr)
    assert got is param, label
    assert grad.tobytes() == before, f"{label}: the gradient was changed"
    scale = np.abs(lr * grad)
    native = param.dtype.newbyteorder("=")
    assert_close(np.array(got, native, order="C"), np.array(expected, native, order="C"), 0, scale, label)


@every_dtype
def test_every_length(dtype, isa):
    for n in (0, *LENGTHS, 100, 1000):
        assert_step_as_reference(normal((n,), dtype, 1), normal((n,), dtype, 2), label=f"{n}")


@every_dtype
@pytest.mark.parametrize("param_layout", [name for name in LAYOUTS if name not in {"read-only", "repeated"}])
@pytest.mark.parametrize("grad_layout", LAYOUTS)
def test_every_layout(param_layout, grad_layout, dtype):
    for shape in ((), (5,), (3, 17), (2, 3, 4), (0, 3)):
        param, grad = (
            LAYOUTS[param_layout](normal(shape, dtype, 1)),
            LAYOUTS[grad_layout](normal(shape, dtype, 2)),
        )
        assert_step_as_reference(param, grad, label=f"{shape}")


@every_dtype
def test_large_parameters_on_threads(dtype, threads):
    assert_step_as_reference(normal((1237, 211), dtype, 1), normal((1237, 211), dtype, 2))


def test_every_parameter_of_a_dict(engine):
    params = {
        "W": np.array([1.0, 2.0]),
        "b": 3.0,
        "c": np.float32(1),
        "unused in grads": np.zeros(1),
    }
    W = params["W"]
    grads = {
        "W": np.array([10.0, -10.0]),
        "b": 5.0,
        "c": np.float32(2),
        "unused in grads": np.ones(1),
        "more": 1,
    }
    engine.SGD(lr=0.5).update(params, grads)
    assert params["W"] is W and W.tolist() == [-4, 7]
    assert params["b"] == 0.5 and params["c"] == 0 and params["unused in grads"] == -0.5


def test_the_learning_rate_may_change_and_is_001_at_first(engine):
    optimizer, params = engine.SGD(), {"W": np.zeros(2)}
    assert optimizer.lr == 0.01
    optimizer.update(params, {"W": np.ones(2)})
    optimizer.lr = np.float64(2)
    optimizer.update(params, {"W": np.ones(2)})
    np.testing.assert_allclose(params["W"], -2.01, rtol=1e-15)


@pytest.mark.parametrize("lr", [0, 1, 0.1, np.float32(0.1), np.float64(0.1), np.array(0.1), -0.1, np.inf], ids=repr)
def test_any_number_is_a_learning_rate(lr):
    param = np.array([1.0, 2.0, 3.0])
    with np.errstate(all="ignore"):
        expected = step(reference, param.copy(), np.ones(3), lr)
    np.testing.assert_allclose(step(zerodl_c, param, np.ones(3), lr), expected, rtol=1e-15)


def test_gradients_broadcast_and_convert_as_in_numpy(engine):
    W = np.zeros((2, 3))
    for grad in (
        1.0,
        [1.0, 1.0, 1.0] * np.ones(1),
        np.ones((2, 1), np.float32),
        np.ones((2, 3), int),
    ):
        assert step(engine, W, grad) is W
    np.testing.assert_allclose(W, -0.4, rtol=1e-7)
    half = np.zeros(3, np.float16)
    assert step(engine, half, np.ones(3, np.float16)) is half
    np.testing.assert_allclose(half, -0.1, rtol=1e-3)


@every_dtype
def test_a_gradient_that_overlaps_its_parameter(dtype):
    """As if the gradient were read before anything is written."""
    for shift in (1, 3, 16):
        memory = normal((100,), dtype)
        for param, grad in (
            (slice(shift, None), slice(None, -shift)),
            (slice(None, -shift), slice(shift, None)),
        ):
            expected, got = memory.copy(), memory.copy()
            expected[param] -= 0.1 * memory[grad]
            step(zerodl_c, got[param], got[grad])
            np.testing.assert_allclose(got, expected, rtol=1e-5, err_msg=f"shifted by {shift}")
    same = np.ones(9, dtype)
    np.testing.assert_allclose(step(zerodl_c, same, same, 0.25), 0.75)


def test_wrong_parameters(engine):
    with pytest.raises(KeyError, match="W"):
        engine.SGD().update({"W": np.ones(2)}, {})
    with pytest.raises(ValueError, match="read-only"):
        step(engine, LAYOUTS["read-only"](np.ones(2)), np.ones(2))
    with pytest.raises(ValueError, match="broadcast"):
        step(engine, np.ones(2), np.ones(3))
    with pytest.raises(TypeError):
        step(engine, np.ones(2), np.ones(2), lr="fast")
    with pytest.raises(TypeError):  # integers cannot hold the step
        step(engine, np.ones(2, int), np.ones(2))


def test_special_values():
    param, grad = np.array([np.inf, np.nan, 1, 1, -0.0]), np.array([1, 1, np.inf, np.nan, 0])
    with np.errstate(all="ignore"):
        expected = step(reference, param.copy(), grad)
    np.testing.assert_array_equal(step(zerodl_c, param, grad), expected)
