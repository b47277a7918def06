"""Central differences: their values, what they leave untouched, and what they refuse."""

import contextlib
import math
import signal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

FLOATS = [np.float16, np.float32, np.float64]


def cubes(x):
    return np.sum(x**3)


def never(x):
    pytest.fail("f must not be called")


def order_of_error(dtype):
    """eps^(2/3): what a central difference can reach where f is rounded to dtype."""
    return float(np.finfo(dtype).eps) ** (2 / 3)


# --- numerical_gradient: values ---------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 2, 2), (0,), (3, 0)])
def test_any_shape(engine, shape):
    x = np.random.default_rng(1).standard_normal(shape)
    x = np.array(x)  # 0-d stays an array
    grad = engine.numerical_gradient(cubes, x)
    assert grad.shape == shape and grad.dtype == np.float64
    assert_allclose(grad, 3 * x**2, rtol=0, atol=2e-8)  # h^2, and rounding of f over h


def test_a_0d_array_gives_a_scalar(engine):
    x = np.array(2.0)
    grad = engine.numerical_gradient(lambda _: x**2, x)
    assert isinstance(grad, np.float64)
    assert_allclose(grad, 4, rtol=1e-9)


def unaligned(x):
    memory = np.zeros(x.nbytes + 1, np.uint8)[1:]
    view = memory.view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


LAYOUTS = {
    "fortran": np.asfortranarray,
    "transposed": lambda x: x.T,
    "every other": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "backwards": lambda x: x[::-1, ::-1],
    "offset": lambda x: np.pad(x, 1)[1:-1, 1:-1],
    "byte-swapped": lambda x: x.astype(x.dtype.newbyteorder()),
    "unaligned": unaligned,
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("dtype", FLOATS)
def test_any_layout_is_perturbed_in_place(engine, layout, dtype):
    x = layout(np.arange(1, 7, dtype=dtype).reshape(2, 3))
    before = x.copy()
    plain = np.array(x, dtype=dtype, order="C")
    grad = engine.numerical_gradient(lambda _: np.sum(x**2), x)
    assert grad.flags.c_contiguous and grad.dtype == x.dtype
    assert_array_equal(grad, engine.numerical_gradient(lambda _: np.sum(plain**2), plain))
    assert_allclose(grad, 2 * before, rtol=20 * order_of_error(dtype))
    assert_array_equal(x, before)


@pytest.mark.parametrize("dtype", FLOATS)
def test_f_is_handed_x_itself(engine, dtype):
    x, seen = np.ones(2, dtype), []
    engine.numerical_gradient(lambda argument: seen.append(argument is x) or 0.0, x)
    assert seen == [True] * 4


def test_float64_gives_the_figures_of_the_book_to_the_last_bit(engine):
    rng = np.random.default_rng(2)
    x = rng.standard_normal((3, 4)) * 10.0 ** rng.integers(-8, 14, (3, 4))
    expected = np.empty_like(x)
    for i in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[i], behind[i] = x[i] + 1e-4, x[i] - 1e-4
        expected[i] = (np.sin(ahead).sum() - np.sin(behind).sum()) / (2 * 1e-4)
    assert_array_equal(engine.numerical_gradient(lambda x: np.sin(x).sum(), x), expected)


def test_an_explicit_h_is_used_as_given(engine):
    x, seen = np.array([1.0, 2.0]), []
    engine.numerical_gradient(lambda x: seen.append(x.tolist()) or 0.0, x, h=0.25)
    assert seen == [[1.25, 2.0], [0.75, 2.0], [1.0, 2.25], [1.0, 1.75]]
    x = np.random.default_rng(3).standard_normal(5)
    default = engine.numerical_gradient(cubes, x)
    assert_array_equal(engine.numerical_gradient(cubes, x, h=1e-4), default)
    assert_array_equal(engine.numerical_gradient(cubes, x, h=np.float64(1e-4)), default)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("magnitude", [1e-3, 1.0, 30.0, 200.0, 1e4, 1e10])
def test_narrow_floats_step_far_enough_to_rise_above_rounding(engine, dtype, magnitude):
    if magnitude**2 > float(np.finfo(dtype).max):
        magnitude = 100.0
    x = np.array([magnitude, -magnitude], dtype)
    grad = engine.numerical_gradient(lambda x: x[0] ** 2 - x[1] ** 2, x)
    assert grad.dtype == dtype
    expected = 2 * np.abs(x.astype(float))
    scale = max(magnitude, 1)  # of the step; f itself is rounded to dtype
    assert_allclose(grad, expected, rtol=0, atol=4 * order_of_error(dtype) * scale)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("h", [None, 0.3])
def test_narrow_floats_divide_by_the_step_really_taken(engine, dtype, h):
    x = np.array([1.1, 100.1, -7.7], dtype)  # x + 0.3 is rounded
    grad = engine.numerical_gradient(lambda x: 3 * x.astype(float).sum(), x, h)
    assert_array_equal(grad, np.full(3, 3, dtype))


def test_nan_passes_through(engine):
    assert np.isnan(engine.numerical_gradient(lambda x: np.nan, np.ones(2))).all()
    x = np.array([1.0, np.nan, np.inf], np.float32)
    grad = engine.numerical_gradient(lambda x: x[0] * 2.0, x)
    assert_allclose(grad[0], 2, rtol=1e-5)
    assert np.isnan(grad[1:]).all()


@pytest.mark.parametrize("result", [np.array(3.0), np.array([[3.0]]), np.float32(3), 3, True])
def test_f_may_give_any_one_real_number(engine, result):
    assert_array_equal(engine.numerical_gradient(lambda x: result, np.ones(2)), [0, 0])


def test_f_may_hand_out_the_same_buffer_every_time(engine):
    buffer = np.empty(1)

    def f(x):
        buffer[0] = cubes(x)
        return buffer

    grad = engine.numerical_gradient(f, np.array([1.0, 2.0]))
    assert_allclose(grad, [3, 12], atol=2e-8)


def test_f_may_change_the_shape_of_x(engine):
    def f(x):
        x.shape = (4,)  # a view would do; but this must not lead us astray
        return cubes(x)

    grad = engine.numerical_gradient(f, np.arange(4.0).reshape(2, 2))
    assert_allclose(grad, [[0, 3], [12, 27]], atol=2e-8)


# --- numerical_gradient: x is put back --------------------------------------------------------


class Stop(Exception):
    pass


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("call", range(6))
def test_what_f_raises_propagates_and_x_is_restored(engine, error, call):
    x = np.array([0.1, 0.2, 0.3])
    raised, calls = error("unchanged"), iter(range(6))

    def f(_):
        if next(calls) == call:
            raise raised
        return x.sum()

    with pytest.raises(error) as caught:
        engine.numerical_gradient(f, x)
    assert caught.value is raised
    assert x.tolist() == [0.1, 0.2, 0.3]


def test_ctrl_c_stops_the_loop_at_once(engine):
    x, calls = np.full(1000, 0.1), []

    def f(_):
        calls.append(None)
        if len(calls) == 5:
            signal.raise_signal(signal.SIGINT)
        return x.sum()

    with pytest.raises(KeyboardInterrupt):
        engine.numerical_gradient(f, x)
    assert len(calls) <= 6
    assert (x == 0.1).all()


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")  # signalling nans do signal
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_x_is_restored_to_the_last_bit(engine, data):
    """Whatever the bits are, signalling nans included, and whatever f does."""
    dtype = np.dtype(data.draw(st.sampled_from(FLOATS)))
    memory = data.draw(st.binary(min_size=8, max_size=64).filter(lambda b: len(b) % 8 == 0))
    x = np.frombuffer(bytearray(memory), dtype)[:: data.draw(st.sampled_from([1, 2, -1]))]
    before = x.tobytes()
    outcomes = iter(data.draw(st.lists(st.sampled_from(["number", "raise", "None", "write"]))))

    def f(argument):
        outcome = next(outcomes, "number")
        if outcome == "raise":
            raise Stop
        if outcome == "write":
            argument[...] = 0
        return None if outcome == "None" else float(x[0])

    with contextlib.suppress(Stop, TypeError, ValueError):
        engine.numerical_gradient(f, x)
    assert x.tobytes() == before


@pytest.mark.parametrize("make", [np.array, list], ids=["array", "list"])
def test_an_f_that_changes_its_argument_is_refused(engine, make):
    def f(x):
        x -= x.max()
        return cubes(x)

    x = make([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="f must not change its argument"):
        engine.numerical_gradient(f, x)
    assert list(x) == [1.0, 2.0, 3.0]


# --- numerical_gradient: integers, lists and numbers, of which f is handed a copy -------------


@pytest.mark.parametrize(
    "x",
    [
        np.array([1, 2, 3]),
        np.array([1, 2, 3], np.uint8),
        np.array([1, 2, 3], ">i4"),
        np.array([1, 0, 2, 0, 3])[::2],
        [1, 2, 3],
        [1.0, 2.0, 3.0],
        (1, 2, 3.0),
    ],
    ids=repr,
)
def test_integers_and_lists_give_a_float64_gradient(engine, x):
    grad = engine.numerical_gradient(cubes, x)
    assert grad.dtype == np.float64
    assert_allclose(grad, [3, 12, 27], atol=1e-7)
    assert list(x) == [1, 2, 3]


def test_numbers_and_bools(engine):
    assert_allclose(engine.numerical_gradient(lambda x: x**2, 3), 6, rtol=1e-9)
    assert_allclose(engine.numerical_gradient(lambda x: x**2, 3.0), 6, rtol=1e-9)
    narrow = engine.numerical_gradient(lambda x: x**2, np.float32(3))
    assert narrow.dtype == np.float32
    assert_allclose(narrow, 6, rtol=1e-4)
    assert_allclose(engine.numerical_gradient(np.sum, np.array([True, False])), [1, 1], rtol=1e-9)


@pytest.mark.parametrize("dtype", [int, np.uint8, bool])
@pytest.mark.parametrize("values", [[1, 1], [0, 0], [1, 0]])
def test_an_f_that_reads_an_integer_array_through_a_closure_is_refused(engine, dtype, values):
    x = np.array(values, dtype)
    for f in (lambda _: 2.0 * x[0] + 3.0 * x[1], lambda _: 1.0 * x[0] - x[1], lambda _: x @ x):
        with pytest.raises(ValueError, match="f must read x through its argument alone"):
            engine.numerical_gradient(f, x)
        assert x.tolist() == np.array(values, dtype).tolist()


def test_a_net_with_integer_weights_is_refused_not_answered_with_zeros(engine):
    net = engine.SimpleNet()
    net.W = np.array([[1, 2, 3], [4, 5, 6]])
    for decay in (0.0, 0.1):  # f ignores its argument wholly, or in its main part
        with pytest.raises(ValueError, match="f must read x through its argument alone"):
            engine.numerical_gradient(lambda W, decay=decay: net.loss([0.6, 0.9], 1) + decay * np.sum(W**2), net.W)
    assert net.W.tolist() == [[1, 2, 3], [4, 5, 6]]


def test_x_as_a_constant_of_f_is_taken_as_a_copy(engine):
    x = np.array([1, 2])
    with pytest.raises(ValueError, match=r"pass x\.copy\(\)"):
        engine.numerical_gradient(lambda v: np.sum(v * x), x)
    assert_allclose(engine.numerical_gradient(lambda v: np.sum(v * x), x.copy()), [1, 2])


def read_only(values):
    x = np.array(values)
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("make", [list, tuple, read_only])
def test_an_f_that_ignores_a_copy_is_refused(engine, make):
    """Here x cannot be changed to see whether f reads it, so a constant is refused, too."""
    x = make([3, 4])
    for f in (lambda _: x[0] ** 2 + x[1] ** 2, lambda _: 7.0):
        with pytest.raises(ValueError, match="f must read its argument"):
            engine.numerical_gradient(f, x)


CONSTANT_AT_X = {
    "constant": lambda x: 7.0,
    "nan": lambda x: np.nan,
    "dead relu": lambda x: np.maximum(-x, 0).sum(),
    "step": lambda x: np.sum(x > 0),
    "first entry": lambda x: 5.0 if x[0] > 0 else 6.0,
}


@pytest.mark.parametrize("f", CONSTANT_AT_X.values(), ids=CONSTANT_AT_X.keys())
@pytest.mark.parametrize("sign", [1, -1])
def test_an_honest_constant_is_not_refused(engine, f, sign):
    x = sign * np.array([3, 4])
    slope = 1 if f is CONSTANT_AT_X["dead relu"] and sign < 0 else 0
    expected = np.nan if np.isnan(f(x)) else -slope
    assert_allclose(engine.numerical_gradient(f, x), [expected] * 2, atol=1e-9)
    if f not in (CONSTANT_AT_X["constant"], CONSTANT_AT_X["nan"]):
        assert_allclose(engine.numerical_gradient(f, x.tolist()), [expected] * 2, atol=1e-9)


@pytest.mark.parametrize("x", [np.array([0, 0]), [0, 0], [0.0, 5.0]], ids=repr)
def test_zero_gradients_of_a_copy_are_honest_where_f_reads_it(engine, x):
    assert_array_equal(engine.numerical_gradient(lambda x: x[0] ** 2, x), [0, 0])


def test_f_need_not_bear_other_values_of_a_copy(engine):
    def f(x):
        return math.log(x[0] - 2.5) if x[0] < 3.5 else 1 / 0

    assert_allclose(engine.numerical_gradient(f, [3]), [2], rtol=1e-6)
    assert_allclose(engine.numerical_gradient(f, np.array([3])), [2], rtol=1e-6)


def test_an_f_that_never_gives_the_same_twice_is_not_taken_for_a_closure(engine):
    calls = iter(range(100))
    x = np.array([3, 4])
    grad = engine.numerical_gradient(lambda x: cubes(x) + 1e-13 * next(calls), x)
    assert_allclose(grad, [27, 48], atol=1e-6)


@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_an_integer_array_is_restored_whatever_f_raises(engine, error):
    x = np.array([3, 4])

    def f(_):
        if x[0] != 3:
            raise error
        return 1.0

    with pytest.raises(ValueError if error is Stop else KeyboardInterrupt):
        engine.numerical_gradient(f, x)
    assert x.tolist() == [3, 4]


# --- numerical_gradient: what is refused ------------------------------------------------------


@pytest.mark.parametrize("result", [None, 1j, np.complex64(1), "3", b"3", np.ones(2), np.ones(0), slice(1)], ids=repr)
def test_f_must_give_one_real_number(engine, result):
    x = np.array([0.1, 0.2])
    with pytest.raises(TypeError, match=r"f must give (one real number|real numbers), got"):
        engine.numerical_gradient(lambda _: result, x)
    assert x.tolist() == [0.1, 0.2]


@pytest.mark.parametrize("f", [None, 3.0, "f", np.ones(2)], ids=repr)
def test_f_must_be_callable(engine, f):
    for function in (
        engine.numerical_diff,
        engine.numerical_gradient,
        engine.numerical_gradient_2d,
        engine.gradient_descent,
    ):
        with pytest.raises(TypeError, match="f must be callable"):
            function(f, np.ones(2))


@pytest.mark.parametrize(
    "x",
    [
        np.ones(2, complex),
        np.ones(2, object),
        np.array(["1"]),
        np.array(["2020"], "M8[Y]"),
        pytest.param(
            np.ones(2, np.longdouble),
            marks=pytest.mark.skipif(np.dtype(np.longdouble).itemsize == 8, reason="is float64"),
        ),
        None,
        1j,
        "1",
    ],
    ids=repr,
)
def test_x_must_hold_real_numbers(engine, x):
    for function, name in (
        (engine.numerical_diff, "x"),
        (engine.numerical_gradient, "x"),
        (engine.numerical_gradient_2d, "X"),
        (engine.gradient_descent, "init_x"),
    ):
        with pytest.raises(TypeError, match=rf"^{name} must hold real numbers.*got dtype"):
            function(never, x)


def test_of_a_read_only_array_f_is_handed_a_copy(engine):
    x = read_only([1.0, 2.0])
    assert_array_equal(
        engine.numerical_gradient(lambda v: np.sum(v**2), x),
        engine.numerical_gradient(lambda v: np.sum(v**2), x.copy()),
        strict=True,
    )
    assert x.tolist() == [1.0, 2.0] and not x.flags.writeable
    with pytest.raises(ValueError, match="f must read its argument"):
        engine.numerical_gradient(lambda _: np.sum(x**2), x)


@pytest.mark.parametrize(
    ("h", "error"),
    [
        (0, ValueError),
        (-1e-4, ValueError),
        (np.nan, ValueError),
        (np.inf, ValueError),
        ("1e-4", TypeError),
        (1e-4j, TypeError),
        (np.array([1e-4]), TypeError),
    ],
    ids=repr,
)
@pytest.mark.parametrize("x", [np.ones(2), np.ones(2, int), [1.0, 2.0]], ids=repr)
def test_h_must_be_positive_and_finite(engine, x, h, error):
    for function in (engine.numerical_diff, engine.numerical_gradient):
        with pytest.raises(error, match=r"^h must be"):
            function(never, x, h)


@pytest.mark.parametrize(
    ("x", "h"),
    [
        (np.array([1.0, 1e4], np.float32), 1e-4),
        (np.array([1.0, 1e4], ">f4"), 1e-4),
        (np.array([0.0, 100.0], np.float16), 1e-2),
        (np.array([0.5, 1.0]), 1e-16),
        (np.array([0.25, -1.0]), 9e-17),  # x + h differs, being finer there; x - h does not
        (np.array([1.0, np.inf]), 1e-4),
        (np.array([0, 2**40]), 1e-8),
        ([0.0, 1e13], 1e-4),
    ],
    ids=repr,
)
def test_an_explicit_h_that_is_lost_in_x_is_refused(engine, x, h):
    before = np.array(x)
    with pytest.raises(ValueError, match=rf"^h = {h} is lost in x = .* at index \(1,\)"):
        engine.numerical_gradient(never, x, h)
    assert_array_equal(x, before)


# --- numerical_gradient_2d and _numerical_gradient_1d -----------------------------------------


def test_2d_takes_the_gradient_at_each_row(engine):
    X = np.array([[3.0, 4.0], [0.0, 2.0], [3.0, 0.0]])
    before, rows = X.copy(), []

    def f(x):
        rows.append(x.shape == (2,) and np.shares_memory(x, X))
        return x[0] ** 2 + x[1] ** 2

    grad = engine.numerical_gradient_2d(f, X)
    assert str(grad) == "[[6. 8.]\n [0. 4.]\n [6. 0.]]"
    assert rows == [True] * 12
    assert_array_equal(X, before)


@pytest.mark.parametrize("make", [np.array, list, tuple])
def test_2d_of_integers(engine, make):
    X = make([[3, 4], [0, 2]])
    grad = engine.numerical_gradient_2d(cubes, X)
    assert grad.dtype == np.float64
    assert_allclose(grad, [[27, 48], [0, 12]], atol=1e-6)
    with pytest.raises(ValueError, match="f must read"):
        engine.numerical_gradient_2d(lambda _: X[0][0] + X[1][1], X)


def test_2d_of_a_vector_is_the_1d_form(engine):
    x = np.array([3.0, 4.0])
    for function in (engine.numerical_gradient_2d, engine.gradient._numerical_gradient_1d):
        assert_allclose(function(cubes, x), [27, 48], atol=1e-6)


def test_2d_keeps_shape_and_dtype(engine):
    assert engine.numerical_gradient_2d(cubes, np.ones((0, 3), np.float32)).shape == (0, 3)
    grad = engine.numerical_gradient_2d(cubes, np.ones((2, 3), np.float32, order="F"))
    assert grad.dtype == np.float32 and grad.flags.c_contiguous


def test_2d_restores_x_after_an_exception(engine):
    X = np.full((3, 2), 0.1)
    calls = iter(range(100))

    def f(_):
        if next(calls) == 6:
            raise Stop
        return X.sum()

    with pytest.raises(Stop):
        engine.numerical_gradient_2d(f, X)
    assert (X == 0.1).all()


def test_other_dimensions_are_refused(engine):
    for X in (np.ones((2, 2, 2)), 1.0):
        with pytest.raises(ValueError, match="X must be 1-D or 2-D"):
            engine.numerical_gradient_2d(never, X)
    with pytest.raises(ValueError, match="x must be 1-D"):
        engine.gradient._numerical_gradient_1d(never, np.ones((2, 2)))


# --- numerical_diff ---------------------------------------------------------------------------


def test_diff_is_elementwise(engine):
    x = np.linspace(-2, 2, 12).reshape(3, 4)
    before = x.copy()
    assert_allclose(engine.numerical_diff(np.sin, x), np.cos(x), rtol=0, atol=1e-8)
    assert_array_equal(x, before)
    assert_allclose(engine.numerical_diff(np.sin, [0, 1]), np.cos([0, 1]), rtol=0, atol=1e-8)
    assert engine.numerical_diff(np.sin, np.ones((0, 2))).shape == (0, 2)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, ">f4", ">f8", np.int8, np.uint64])
def test_diff_is_computed_in_float64(engine, dtype):
    x, seen = np.array([3, 100], dtype), []

    def f(x):
        seen.append(x.dtype)
        return x**2

    derivative = engine.numerical_diff(f, x)
    assert seen == [np.float64, np.float64]
    assert derivative.dtype == (dtype if np.dtype(dtype).kind == "f" else np.float64)
    assert_allclose(derivative, [6, 200], rtol=1e-6)
    assert_allclose(engine.numerical_diff(f, x[1]), 200, rtol=1e-6)


def test_diff_of_an_f_that_hands_out_one_buffer(engine):
    buffer = np.empty(2)
    grad = engine.numerical_diff(lambda x: np.square(x, out=buffer), np.array([1.0, 2.0]))
    assert_allclose(grad, [2, 4], rtol=1e-8)


def test_diff_uses_h_and_refuses_one_that_is_lost(engine):
    assert_allclose(engine.numerical_diff(lambda x: x**3, 1.0, h=0.5), 3.25)
    with pytest.raises(ValueError, match=r"^h = 0.0001 is lost in x = 1.* at index \(\)"):
        engine.numerical_diff(never, 1e13)


@pytest.mark.parametrize("result", [None, 1j, "3", np.ones(2, complex)], ids=repr)
def test_diff_needs_real_results(engine, result):
    with pytest.raises(TypeError, match="f must give real numbers, got"):
        engine.numerical_diff(lambda x: result, 1.0)


# --- gradient_descent -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [*FLOATS, int])
def test_descent_works_on_a_copy(engine, dtype):
    init_x = np.array([-3, 4], dtype)
    x = engine.gradient_descent(lambda x: np.sum((x - 1) ** 2), init_x, lr=0.1, step_num=60)
    assert init_x.tolist() == [-3, 4]
    assert x.dtype == (np.float64 if dtype is int else dtype)
    atol = 1e-4 if x.dtype == np.float64 else 20 * order_of_error(dtype)
    assert_allclose(x, [1, 1], rtol=0, atol=atol)


def test_descent_takes_step_num_steps_of_lr_times_the_gradient(engine):
    def f(x):
        return 2 * x[0]

    assert_allclose(engine.gradient_descent(f, [1.0]), [1 - 0.01 * 2 * 100])
    assert_allclose(engine.gradient_descent(f, [1.0], 0.5, 3), [-2])
    assert_array_equal(engine.gradient_descent(f, [1.0], step_num=0), [1])


@pytest.mark.parametrize("make", [np.array, list])
def test_descent_refuses_an_f_that_reads_init_x(engine, make):
    init_x = make([-3.0, 4.0])
    with pytest.raises(ValueError, match="f must read"):
        engine.gradient_descent(lambda _: init_x[0] ** 2 + init_x[1] ** 2, init_x)
    assert list(init_x) == [-3.0, 4.0]


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"lr": "0.1"}, TypeError, "lr must be a real number"),
        ({"lr": None}, TypeError, "lr must be a real number"),
        ({"step_num": -1}, ValueError, "step_num must be 0 or more"),
        ({"step_num": 1.5}, TypeError, "float"),
    ],
)
def test_descent_checks_its_arguments(engine, arguments, error, match):
    with pytest.raises(error, match=match):
        engine.gradient_descent(never, np.ones(2), **arguments)


# --- Types of arrays ------------------------------------------------------------------------------


class Own(np.ndarray):
    pass


KINDS = pytest.mark.parametrize(
    "make",
    [lambda x: np.array(x).view(np.matrix), np.ma.array, lambda x: np.array(x).view(Own)],
    ids=["matrix", "masked", "own"],
)


def total(x):
    return float(np.sum(np.asarray(x) ** 2))


@KINDS
def test_x_in_place_is_handed_on_whatever_array_it_is(engine, make):
    x, seen = make([[1.0, 2.0], [3.0, 4.0]]), set()
    grad = engine.numerical_gradient(lambda x: seen.add(type(x)) or total(x), x)
    assert type(grad) is np.ndarray
    assert_allclose(grad, 2 * np.asarray(x), rtol=1e-6)
    assert seen == {type(x)}


@KINDS
@pytest.mark.parametrize(
    "options", [{}, {"workers": 2}, {"workers": map}, {"vectorized": True}], ids=["in place", "threads", "map", "stack"]
)
def test_f_is_handed_no_copy_of_another_kind(engine, make, options):
    for dtype in (float, int) if options else (int,):
        with pytest.raises(TypeError, match=r"x must be a plain array, .* got (matrix|MaskedArray|Own): pass"):
            engine.numerical_gradient(total, make([[1, 2], [3, 4]]).astype(dtype), **options)


@KINDS
def test_diff_2d_and_descent_take_plain_arrays(engine, make):
    x = make([[1.0, 2.0], [3.0, 4.0]])
    for function in (engine.numerical_diff, engine.numerical_gradient_2d, engine.gradient_descent):
        with pytest.raises(TypeError, match="must be a plain array"):
            function(total, x)


def test_what_f_gives_may_not_be_masked(engine):
    with pytest.raises(TypeError, match=r"f\(x\) must have no masked entries"):
        engine.numerical_gradient(lambda x: np.ma.masked, np.array([1.0]))


RAGGED = [[1.0], [2.0, 3.0]]


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("numerical_diff", "x"),
        ("numerical_gradient", "x"),
        ("numerical_gradient_2d", "X"),
        ("gradient_descent", "init_x"),
    ],
)
def test_what_is_no_array_is_reported_by_its_name(engine, name, argument):
    with pytest.raises(ValueError, match=f"^{argument} must be array_like, got list: .* inhomogeneous"):
        getattr(engine, name)(never, RAGGED)
    with pytest.raises(ValueError, match=r"^f\(x\) must be array_like, got list: .* inhomogeneous"):
        getattr(engine, name)(lambda x: RAGGED, np.ones(2))


def test_memory_maps_work_everywhere(engine, tmp_path):
    x = np.memmap(tmp_path / "x", float, "w+", shape=(2, 2))
    x[:] = [[1.0, 2.0], [3.0, 4.0]]
    for options in ({}, {"workers": 2}):
        assert_allclose(engine.numerical_gradient(total, x, **options), 2 * np.asarray(x), rtol=1e-6)
    assert_allclose(engine.numerical_gradient_2d(total, x), 2 * np.asarray(x), rtol=1e-6)
    assert_allclose(engine.numerical_diff(lambda x: x**2, x), 2 * np.asarray(x), rtol=1e-6)
    assert engine.gradient_descent(total, x, lr=0.5, step_num=1).shape == (2, 2)
    assert engine.gradient_check(total, x, 2 * np.asarray(x))


def test_pandas_objects_work(engine):
    pandas = pytest.importorskip("pandas")
    x = pandas.Series([1.0, 2.0])
    assert_allclose(engine.numerical_gradient(total, x), [2, 4], rtol=1e-6)
    assert engine.gradient_check(total, x, pandas.Series([2.0, 4.0]))


@pytest.mark.parametrize("options", [{}, {"h": "auto"}, {"workers": 2}, {"order": 4}])
def test_forty_dimensions(engine, options):
    x = np.arange(2.0).reshape((2,) + (1,) * 39)
    grad = engine.numerical_gradient(lambda v: float((v**2).sum()), x, **options)
    np.testing.assert_allclose(grad, 2 * x, atol=1e-8)


def test_results_of_workers_that_are_too_short(engine):
    def short(function, blocks):
        return [(first, values[:0]) for first, values in map(function, blocks)]

    with pytest.raises(ValueError, match="workers must give a result"):
        engine.numerical_gradient(lambda x: float((x**2).sum()), np.arange(3.0), workers=short)
