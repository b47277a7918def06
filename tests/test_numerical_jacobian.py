"""numerical_jacobian, and the args of numerical_gradient."""

import functools
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

A = np.random.default_rng(0).integers(-8, 9, (4, 6)).astype(float)


def product(x):
    return A @ x.ravel()


def products(stack):
    return stack.reshape(len(stack), -1) @ A.T


def power(x, exponent, factor=1.0):
    return factor * x**exponent


def never(*args):
    pytest.fail("f must not be called")


WAYS = {
    "in place": {},
    "vectorized": {"vectorized": True},
    "threads": {"workers": 3},
    "map": {"workers": map},
    "vectorized in threads": {"vectorized": True, "workers": 3},
}
ways = pytest.mark.parametrize("options", WAYS.values(), ids=WAYS.keys())


def fitting(f, options):
    """f, or f of a stack."""
    return (lambda stack, *args: np.array([f(x, *args) for x in stack])) if options.get("vectorized") else f


# --- Known Jacobians ------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("shape", [(6,), (2, 3), (3, 1, 2)])
def test_of_a_linear_map_it_is_the_matrix(engine, options, order, shape):
    x = np.zeros(shape)
    jacobian = engine.numerical_jacobian(products if options.get("vectorized") else product, x, order=order, **options)
    assert jacobian.shape == (4, *shape) and jacobian.dtype == np.float64 and jacobian.flags.c_contiguous
    assert_allclose(jacobian.reshape(A.shape), A, rtol=1e-12)
    assert not x.any()


@ways
def test_of_an_elementwise_function_it_is_diagonal(engine, options):
    x = np.random.default_rng(1).uniform(-1, 1, (2, 3))
    before = x.copy()
    jacobian = engine.numerical_jacobian(fitting(np.exp, options), x, **options)
    assert jacobian.shape == (2, 3, 2, 3)
    assert_allclose(jacobian.reshape(6, 6), np.diag(np.exp(before).ravel()), rtol=1e-7, atol=1e-9)
    assert_array_equal(x, before, strict=True)


def test_of_softmax(engine):
    x = np.random.default_rng(2).standard_normal(5)
    y = engine.softmax(x)
    for options in ({}, {"order": 4}, {"h": "auto"}, {"h": 1e-3}):
        jacobian = engine.numerical_jacobian(engine.softmax, x, **options)
        assert_allclose(jacobian, np.diag(y) - np.outer(y, y), atol=1e-7)


@ways
def test_each_row_is_the_gradient_of_one_output(engine, options):
    x = np.random.default_rng(3).standard_normal(3)

    def f(v):
        return np.array([np.sin(v).sum(), v.prod(), v @ v])

    jacobian, info = engine.numerical_jacobian(fitting(f, options), x, full_output=True, **options)
    for i, row in enumerate(jacobian):
        expected, row_info = engine.numerical_gradient(lambda v, i=i: f(v)[i], x.copy(), full_output=True)
        assert_array_equal(row, expected)
        assert_array_equal(info.step, row_info.step)
    assert info.error.shape == jacobian.shape and info.evaluations > 4 * 3
    assert (abs(jacobian - [np.cos(x), x.prod() / x, 2 * x]) <= 10 * info.error).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f8", int])
def test_dtypes(engine, dtype):
    x = np.array([1, 2, 3]).astype(dtype)
    jacobian = engine.numerical_jacobian(lambda v: v**2, x)
    gradient = engine.numerical_gradient(lambda v: np.sum(v**2), x)
    assert jacobian.dtype == gradient.dtype
    eps = np.finfo(jacobian.dtype).eps
    assert_allclose(jacobian, np.diag([2.0, 4.0, 6.0]), atol=100 * eps ** (2 / 3))


@pytest.mark.parametrize("x", [np.arange(6.0).reshape(2, 3).T, np.arange(12.0)[::-2]], ids=["F", "strided"])
def test_layouts(engine, x):
    jacobian = engine.numerical_jacobian(lambda v: v.ravel() ** 2, x)
    assert_allclose(jacobian.reshape(6, 6), np.diag(2 * x.ravel()), atol=1e-9)


def test_a_step_is_found_for_each_entry(engine):
    x = np.array([1e-6, 1.0, 1e6])
    jacobian = engine.numerical_jacobian(np.log, x, h="auto", order=4)
    assert_allclose(np.diag(jacobian), 1 / x, rtol=1e-8)


# --- Shapes ---------------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize("of_f", [(), (1,), (2,), (0,), (2, 0), (2, 3)])
@pytest.mark.parametrize("of_x", [(), (1,), (3,), (0,), (3, 0), (2, 2)])
def test_the_shape_is_that_of_f_and_then_that_of_x(engine, options, of_f, of_x):
    f = fitting(lambda v: np.full(of_f, v.sum()), options)
    jacobian, info = engine.numerical_jacobian(f, np.ones(of_x), full_output=True, **options)
    assert jacobian.shape == info.error.shape == of_f + of_x and info.step.shape == of_x
    assert_allclose(jacobian, np.ones(of_f + of_x), atol=1e-9)


def test_of_a_scalar_function_it_is_the_gradient(engine):
    x = np.random.default_rng(4).standard_normal((2, 3))
    f = np.linalg.norm
    assert_array_equal(engine.numerical_jacobian(f, x), engine.numerical_gradient(f, x), strict=True)


@ways
def test_an_f_whose_shape_changes_is_refused(engine, options):
    x = np.ones(3)

    def f(v):
        return np.ones(3 if (v[..., 2] > 1).any() else 2) * v.sum()

    if options.get("vectorized"):
        f = functools.partial(lambda f, stack: np.array([f(stack)] * len(stack)), f)
    with pytest.raises(ValueError, match="f must always give the same shape"):
        engine.numerical_jacobian(f, x, **options)
    assert (x == 1).all()


def test_a_number_in_place_of_an_array_is_refused(engine):
    with pytest.raises(ValueError, match=r"f must always give the same shape, got \(\) after \(3,\)"):
        engine.numerical_jacobian(lambda v: v if v[2] <= 1 else 0.0, np.ones(3))


def test_a_stack_of_another_length_is_refused(engine):
    with pytest.raises(ValueError, match="f must give 1 results, one for each of the stack, got shape"):
        engine.numerical_jacobian(lambda stack: stack[0], np.ones(3), vectorized=True)


# --- What f does ----------------------------------------------------------------------------------


def test_f_may_read_x_through_a_closure(engine):
    x = np.array([3.0, 4.0])
    assert_allclose(engine.numerical_jacobian(lambda _: x**2, x), np.diag([6, 8]), atol=1e-9)


@pytest.mark.parametrize("options", [{"workers": 2}, {"workers": map}])
def test_an_f_that_reads_x_itself_is_not_given_copies(engine, options):
    x = np.array([3.0, 4.0])
    with pytest.raises(ValueError, match="f must read x through its argument alone"):
        engine.numerical_jacobian(lambda _: x**2, x, **options)
    with pytest.raises(ValueError, match="f must read its argument"):
        engine.numerical_jacobian(lambda _: x**2, [3.0, 4.0], **options)
    assert x.tolist() == [3.0, 4.0]


def test_a_read_only_x_is_copied(engine):
    x = np.array([3.0, 4.0])
    x.flags.writeable = False
    assert_allclose(engine.numerical_jacobian(np.square, x), np.diag([6, 8]), atol=1e-9)


def test_f_may_give_one_buffer_again_and_again_or_its_argument(engine):
    buffer = np.empty(2)
    assert_allclose(engine.numerical_jacobian(lambda v: np.square(v, out=buffer), [3.0, 4.0]), np.diag([6, 8]))
    assert_allclose(engine.numerical_jacobian(lambda v: v, np.ones(2)), np.eye(2))


@ways
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_f_raises_propagates(engine, options, error):
    x = np.array([0.1, 0.2, 0.3])
    before = x.copy()

    def f(v):
        if v[1] != 0.2:
            raise error
        return v * 2

    with pytest.raises(error):
        engine.numerical_jacobian(fitting(f, options), x, **options)
    assert_array_equal(x, before, strict=True)


@pytest.mark.parametrize("result", [None, "3", [1j], np.array([object()])], ids=["None", "text", "complex", "object"])
def test_f_must_give_real_numbers(engine, result):
    with pytest.raises(TypeError, match=r"f must give real numbers|f\(x\)"):
        engine.numerical_jacobian(lambda _: result, np.ones(2))


@pytest.mark.parametrize("workers", [1, 2])
def test_an_f_that_changes_its_argument_is_refused(engine, workers):
    def f(v):
        v += 1
        return v.copy()

    x = np.ones(2)
    with pytest.raises(ValueError, match="f must not change its argument"):
        engine.numerical_jacobian(f, x, workers=workers)
    assert (x == 1).all()


def test_nan_passes_through(engine):
    jacobian = engine.numerical_jacobian(lambda v: np.array([v[0], np.nan]), np.ones(2))
    assert_allclose(jacobian, [[1, 0], [np.nan, np.nan]])


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"workers": 0}, ValueError, "workers must be 1 or more"),
        ({"progress": 1}, TypeError, "progress must be a bool or callable"),
        ({"order": 3}, ValueError, "order must be 2 or 4, got 3"),
        ({"h": "automatic"}, TypeError, "h must be a real number or 'auto'"),
        ({"h": 0}, ValueError, "h must be positive and finite"),
        ({"h": 1e-20}, ValueError, "h = 1e-20 is lost"),
    ],
    ids=repr,
)
def test_options_are_checked_before_f_is_called(engine, options, error, match):
    for x in (np.ones(2), [1, 2]):
        with pytest.raises(error, match=match):
            engine.numerical_jacobian(never, x, **options)


def test_f_must_be_a_python_function(engine):
    import ctypes

    c = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p)
    with pytest.raises(TypeError, match="use numerical_gradient"):
        engine.numerical_jacobian(c(never), np.ones(2))
    with pytest.raises(TypeError, match="f must be callable, got int"):
        engine.numerical_jacobian(3, np.ones(2))


@ways
def test_progress_counts_evaluations(engine, options):
    seen, f = [], fitting(np.square, options)
    engine.numerical_jacobian(f, np.ones(300), progress=lambda *at: seen.append(at), **options)
    assert seen[-1] == (600, 600) and [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_pools(engine):
    x = np.array([1.0, 2.0, 3.0])
    with ThreadPoolExecutor(2) as threads, ProcessPoolExecutor(2, mp_context=get_context("spawn")) as processes:
        for pool in (threads, processes):
            jacobian = engine.numerical_jacobian(np.power, x, args=(2,), workers=pool.map)
            assert_allclose(jacobian, np.diag(2 * x), atol=1e-9)
            gradient = engine.numerical_gradient(np.linalg.norm, x, args=(1,), workers=pool.map)
            assert_allclose(gradient, np.ones(3), atol=1e-9)


# --- args -----------------------------------------------------------------------------------------


@ways
@pytest.mark.parametrize(("args", "expected"), [((2,), 2), (2, 2), ((2, 3.0), 6), ((1,), 1)])
def test_args_follow_x(engine, options, args, expected):
    """SciPy's convention: what is no tuple is one argument."""
    x = np.ones(3)
    f = fitting(lambda v, *args: power(v, *args).sum(), options)
    assert_allclose(engine.numerical_gradient(f, x, args=args, **options), np.full(3, expected), atol=1e-7)
    f = fitting(power, options)
    assert_allclose(engine.numerical_jacobian(f, x, args=args, **options), expected * np.eye(3), atol=1e-7)


def test_an_array_is_one_argument(engine):
    w = np.array([1.0, 2.0])
    assert_allclose(engine.numerical_gradient(np.dot, np.ones(2), args=w), w, atol=1e-9)
    assert_allclose(engine.numerical_gradient(np.dot, np.ones(2), args=w, h="auto", order=4), w, atol=1e-9)


def test_a_c_function_takes_no_args(engine):
    import ctypes

    c = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p)
    with pytest.raises(ValueError, match=r"args must be \(\) for a C function"):
        engine.numerical_gradient(c(never), np.ones(2), args=(1,))


def test_args_leave_plans_as_they_are(engine):
    """Of a chain of layers the gradient is computed by a plan, whether x and t come by args or by a closure."""
    rng = np.random.default_rng(5)
    W, b = rng.standard_normal((6, 8)), rng.standard_normal(8)
    affine, last = engine.Affine(W, b), engine.SoftmaxWithLoss()
    x, t = rng.standard_normal((3, 6)), np.array([1, 0, 7])

    def loss(_, x, t):
        return last.forward(affine.forward(x), t)

    gradient, info = engine.numerical_gradient(loss, W, args=(x, t), full_output=True)
    expected, by_closure = engine.numerical_gradient(lambda W: loss(W, x, t), W, full_output=True)
    assert_array_equal(gradient, expected)
    assert info.way == by_closure.way and info.evaluations == by_closure.evaluations
    if engine.__name__ == "zerodl_c":
        assert info.way.startswith("a plan")
