"""numerical_gradient: orders, error estimates and "auto" steps, on functions whose gradients are known."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

EPS = float(np.finfo(np.float64).eps)


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_gradient(x):
    grad = np.zeros_like(x)
    grad[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    grad[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return grad


FUNCTIONS = {
    "cubes": (lambda x: np.sum(x**3), lambda x: 3 * x**2),
    "fifth powers": (lambda x: np.sum(x**5), lambda x: 5 * x**4),
    "exp": (lambda x: np.sum(np.exp(x)), np.exp),
    "sin": (lambda x: np.sum(np.sin(x)), np.cos),
    "Rosenbrock": (rosenbrock, rosenbrock_gradient),
    "softplus of the sum": (lambda x: np.log1p(np.exp(x.sum())), lambda x: 1 / (1 + np.exp(-x.sum())) + 0 * x),
}
every_function = pytest.mark.parametrize(("f", "derivative"), FUNCTIONS.values(), ids=FUNCTIONS.keys())


def points(n, seed=0):
    return np.random.default_rng(seed).uniform(0.3, 2, n)


def error(grad, truth):
    return float(np.max(abs(grad - truth)) / np.max(abs(truth)))


# --- Orders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [2, 4])
def test_the_error_falls_with_the_order_of_the_step(engine, order):
    """Half the step, 2^order times less."""
    x = points(5)
    coarse, fine = (
        error(engine.numerical_gradient(FUNCTIONS["exp"][0], x, h, order=order), np.exp(x)) for h in (0.1, 0.05)
    )
    assert coarse / fine == pytest.approx(2**order, rel=0.05)


def test_order_4_is_exact_for_fourth_powers(engine):
    x = np.array([1.0, -2.0, 3.0])
    assert_allclose(engine.numerical_gradient(lambda x: np.sum(x**4), x, 0.5, order=4), 4 * x**3, rtol=1e-14)
    assert error(engine.numerical_gradient(lambda x: np.sum(x**4), x, 0.5), 4 * x**3) > 0.01


def test_where_f_is_evaluated(engine):
    for options, steps in (
        ({}, [1, -1]),
        ({"full_output": True}, [1, -1, 2, -2]),
        ({"order": 4}, [1, -1, 2, -2]),
        ({"order": 4, "full_output": True}, [1, -1, 2, -2, 4, -4]),
    ):
        x, seen = np.array([1.0, 2.0]), []
        engine.numerical_gradient(lambda x, seen=seen: seen.append(x.tolist()) or 0.0, x, 0.25, **options)
        assert seen == [[1 + 0.25 * step, 2] for step in steps] + [[1, 2 + 0.25 * step] for step in steps]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_default_steps_of_narrow_floats_follow_the_order(engine, dtype):
    x = np.array([1.0, -50.0], dtype)
    for order in (2, 4):
        _, info = engine.numerical_gradient(lambda x: 0.0, x, order=order, full_output=True)
        expected = float(np.finfo(dtype).eps) ** (1 / (order + 1)) * np.abs(x.astype(float))
        assert_allclose(info.step, expected, rtol=0.05)


# --- Estimates of the error -----------------------------------------------------------------------


@every_function
@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("h", [None, "auto", 1e-2, 1e-7])
def test_the_error_is_estimated(engine, f, derivative, order, h):
    """Where the formula errs as where rounding does; the estimate is an estimate."""
    x = points(30)
    grad, info = engine.numerical_gradient(f, x, h, order=order, full_output=True)
    true = abs(grad - derivative(x))
    assert (true <= 3 * info.error + 1e-15).all()
    assert info.error.max() <= 1000 * true.max()


@pytest.mark.parametrize("options", [{}, {"vectorized": True}, {"workers": 2}], ids=repr)
def test_info(engine, options):
    calls, x = [], np.array([[1.0, 2.0, 3.0]])

    def f(x):
        axes = tuple(range(1, x.ndim)) if options.get("vectorized") else None
        calls.extend(x if options.get("vectorized") else [x])
        return np.sum(x**2, axis=axes)

    for order, h in ((2, None), (4, 1e-3), (2, "auto"), (4, "auto")):
        calls.clear()
        grad, info = engine.numerical_gradient(f, x, h, order=order, full_output=True, **options)
        assert len(calls) == info.evaluations
        assert grad.shape == info.error.shape == info.step.shape == x.shape
        assert info.error.dtype == info.step.dtype == np.float64
        assert_array_equal(grad, engine.numerical_gradient(f, x, h, order=order, **options))
        if h != "auto":
            assert_array_equal(info.step, np.full(x.shape, h or 1e-4))
    grad, info = engine.numerical_gradient(np.square, 3.0, full_output=True)
    assert isinstance(grad, np.float64) and isinstance(info.error, np.float64) and isinstance(info.step, np.float64)


def test_info_of_nothing(engine):
    for h in (None, "auto"):
        grad, info = engine.numerical_gradient(np.sum, np.empty((0, 3)), h, full_output=True)
        assert grad.shape == info.error.shape == info.step.shape == (0, 3)


# --- h = "auto" -----------------------------------------------------------------------------------


@every_function
@pytest.mark.parametrize("n", [1, 2, 30])
def test_auto_finds_a_good_step(engine, f, derivative, n):
    """Near the best that rounding allows, and better than the book's."""
    if n == 1 and f is rosenbrock:
        n = 3
    for seed in range(5):
        x = points(n, seed)
        truth, noise = derivative(x), EPS * abs(f(x)) / abs(derivative(x)).max()
        for order in (2, 4):
            got = error(engine.numerical_gradient(f, x, "auto", order=order), truth)
            assert got <= 100 * noise ** (order / (order + 1))


@pytest.mark.parametrize("shape", [lambda u: u**3, np.exp, np.sin], ids=["cubes", "exp", "sin"])
def test_auto_of_badly_scaled_entries(engine, shape):
    """f changes with each entry over a length of its own, from 1e-8 to 1e8: there, the error is as if it were 1."""
    scale = np.repeat(10.0 ** np.arange(-8, 9), 3)
    x = scale * np.random.default_rng(0).uniform(1, 2, scale.size)
    derivative = {np.exp: np.exp, np.sin: np.cos}.get(shape, lambda u: 3 * u**2)
    before = x.copy()
    for order, limit in ((2, 1e-7), (4, 1e-9)):
        grad = engine.numerical_gradient(lambda x: np.sum(shape(x / scale)), x, "auto", order=order)
        assert error(grad * scale, derivative(x / scale)) < limit
    assert_array_equal(x, before)


@pytest.mark.parametrize("at", [0.0, 1e-8, -1e-3, 1e4])
def test_auto_sees_the_length_of_f_where_x_does_not_tell(engine, at):
    """exp(sin(x)) bends over a length of 1, wherever x is."""
    x = np.full(20, at) * np.linspace(1, 1.5, 20)
    grad, info = engine.numerical_gradient(lambda x: np.sum(np.exp(np.sin(x))), x, "auto", full_output=True)
    assert error(grad, np.cos(x) * np.exp(np.sin(x))) < 1e-8
    assert (info.step > 1e-6).all() and (info.step < 1e-3).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_auto_sees_that_f_is_rounded_to_float32(engine, dtype):
    """The noise is float32's even where x is float64, so steps are longer."""
    x = points(10).astype(dtype)

    def f(x):
        return np.sum(np.exp(np.asarray(x, np.float32)))

    grad, info = engine.numerical_gradient(f, x, "auto", full_output=True)
    assert (info.step > 1e-3).all()
    assert error(grad, np.exp(x.astype(float))) < 1e-3


def test_auto_of_float32_with_an_f_in_float64(engine):
    """There the noise is float64's, and steps are shorter; what is left is the rounding of the gradient."""
    x = points(10).astype(np.float32)
    grad, info = engine.numerical_gradient(lambda x: np.sum(np.exp(x.astype(float))), x, "auto", full_output=True)
    assert grad.dtype == np.float32
    assert_allclose(grad, np.exp(x.astype(float)), rtol=2e-7)
    assert (info.step < 1e-3).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("at", [0.0, 1e-3, 1.0, 100.0])
def test_auto_never_loses_its_step(engine, dtype, at):
    x = np.full(3, at, dtype)
    grad = engine.numerical_gradient(lambda x: 0.7 * float(x[0]), x, "auto")
    assert_allclose(grad, [0.7, 0, 0], rtol=1e-3 if dtype == np.float16 else 1e-6)


@pytest.mark.parametrize("order", [2, 4])
def test_auto_of_entries_that_turn_many_times_within_the_first_step(engine, order):
    """There the points that are looked at must be as far apart as they should, though x + h is rounded to 1e-8."""
    x = 1e8 * np.random.default_rng(0).uniform(0.5, 2, 30)
    grad = engine.numerical_gradient(lambda x: np.sum(np.sin(x)), x, "auto", order=order)
    assert error(grad, np.cos(x)) < 2e-10


def test_auto_of_a_float32_that_bends_within_some_ulps(engine):
    x = np.ones(2, np.float32)
    grad = engine.numerical_gradient(lambda x: float(np.sum(np.exp(1e5 * (x.astype(float) - 1)))), x, "auto")
    assert_allclose(grad, 1e5, rtol=0.1)


def test_auto_where_f_ends(engine):
    """Steps that leave f's domain are not taken: log raises, NumPy's is nan."""
    for sqrt in (math.sqrt, np.sqrt):
        x = np.zeros(2)
        with np.errstate(invalid="raise"):
            grad = engine.numerical_gradient(lambda x, sqrt=sqrt: sum(v + sqrt(1e-12 - v * v) for v in x), x, "auto")
        assert_allclose(grad, 1, rtol=1e-6)
    x = np.array([1e-8, 1e-3, 1.0])
    assert_allclose(engine.numerical_gradient(lambda x: sum(map(math.log, x)), x, "auto"), 1 / x, rtol=1e-7)


def test_auto_of_a_noise_that_does_not_show_near_x(engine):
    """f is computed in float32, or rounded to multiples of 1e-9, and constant within many ulps of x."""
    for n in (3, 10, 30):
        x = points(n)
        grad = engine.numerical_gradient(lambda x: np.round(np.sum(np.exp(x)), 9), x, "auto")
        assert error(grad, np.exp(x)) < 1e-5
        grad = engine.numerical_gradient(lambda x: 1.1 * float(np.sum(np.exp(np.float32(x)))), x, "auto")
        assert error(grad, 1.1 * np.exp(x)) < 1e-3


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf])
def test_auto_of_constants(engine, value):
    for x in (np.zeros(3), np.array([1e-8, 1.0, 1e8]), np.array([[1, 2]])):
        grad = engine.numerical_gradient(lambda x: value, x, "auto")
        assert_array_equal(grad, np.full(x.shape, 0.0 if np.isfinite(value) else np.nan))


def test_auto_with_entries_that_are_not_finite(engine):
    x = np.array([1.0, np.inf, 2e20])
    grad = engine.numerical_gradient(lambda x: x[0] ** 3 + np.exp(x[2] / 1e20), x, "auto")
    assert_allclose(grad[[0, 2]], [3, np.exp(2) / 1e20], rtol=1e-7)
    assert np.isnan(grad[1])


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_auto_restores_x_whatever_f_raises(engine, error):
    for call in range(40):
        x, calls = np.array([0.1, 0.2, 30.0]), []

        def f(x, call=call, calls=calls):
            if len(calls) == call:
                raise error
            calls.append(None)
            return np.sum(x**3)

        with pytest.raises(error):
            engine.numerical_gradient(f, x, "auto", order=4, full_output=True)
        assert x.tolist() == [0.1, 0.2, 30.0]


def test_auto_is_repeatable_and_takes_few_evaluations(engine):
    x = points(1000)
    grad, info = engine.numerical_gradient(FUNCTIONS["exp"][0], x, "auto", full_output=True)
    assert_array_equal(engine.numerical_gradient(FUNCTIONS["exp"][0], x, "auto"), grad)
    assert 4000 < info.evaluations < 4100
