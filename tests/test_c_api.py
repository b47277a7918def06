"""The C functions as a C program calls them: pointers, strides and sizes, through cffi."""

import threading
from itertools import product

import numpy as np
import pytest
from api import THREADED
from arrays import DTYPES, normal
from tolerances import assert_close

import zerodl_c
from zerodl_c import reference
from zerodl_c._bridge import ffi, lib

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def function(name, dtype):
    return getattr(lib, f"zdl_{name}_{'f32' if dtype == np.float32 else 'f64'}")


def at(x):
    """A pointer to the first element of x, whatever its strides."""
    kind = {"f": "float *", "d": "double *", "l": "int64_t *", "q": "int64_t *"}[x.dtype.char]
    return ffi.cast(kind, x.__array_interface__["data"][0])


def strided(x):
    return at(x), x.strides[0] // x.itemsize, x.strides[1] // x.itemsize


# --- Matrix products ------------------------------------------------------------------------------


@every_dtype
def test_matmul_writes_rows_that_are_apart(dtype, isa, threads):
    """out_row > n: what lies between the rows stays."""
    for m, k, n in ((7, 5, 17), (131, 117, 127), (13, 300, 33)):
        a, b = normal((m, k), dtype, 1), normal((k, n), dtype, 2)
        memory = np.full((m, n + 9), 7, dtype)
        out = memory[:, 4 : n + 4]
        assert function("matmul", dtype)(at(out), n + 9, *strided(a), *strided(b), m, k, n) == lib.ZDL_OK
        np.testing.assert_array_equal(out, zerodl_c.matmul(a, b))
        assert (memory[:, :4] == 7).all() and (memory[:, n + 4 :] == 7).all()


@every_dtype
def test_matmul_stack_takes_matrices_from_anywhere(dtype, isa, threads):
    """In any order, some of them more than once, and of any strides."""
    for m, k, n, stack in ((3, 5, 4, 6), (33, 65, 17, 41)):
        a, b = normal((4, k, m), dtype, 1).swapaxes(1, 2), normal((3, k, n), dtype, 2)
        which_a, which_b = np.arange(stack) * 3 % 4, np.arange(stack)[::-1] % 3
        a_offset, b_offset = (which_a * m * k).astype(np.int64), (which_b * k * n).astype(np.int64)
        out = np.empty((stack, m, n), dtype)
        status = function("matmul_stack", dtype)(
            at(out),
            at(a),
            at(a_offset),
            *strided(a[0])[1:],
            at(b),
            at(b_offset),
            *strided(b[0])[1:],
            stack,
            m,
            k,
            n,
        )
        assert status == lib.ZDL_OK
        np.testing.assert_array_equal(out, zerodl_c.matmul(a[which_a], b[which_b]))


ACTIVATIONS = {
    lib.ZDL_IDENTITY: zerodl_c.identity_function,
    lib.ZDL_SIGMOID: zerodl_c.sigmoid,
    lib.ZDL_RELU: zerodl_c.relu,
    lib.ZDL_TANH: zerodl_c.tanh,
}


@every_dtype
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=["identity", "sigmoid", "relu", "tanh"])
def test_affine_is_the_composition(activation, dtype, isa, threads):
    """activation(x @ w + b) to the bit: of any edges, of several blocks of the sum, and of none."""
    for m, k, n in (
        (1, 1, 1),
        (7, 5, 17),
        (13, 0, 33),
        (25, 257, 65),
        (131, 117, 127),
        (3, 513, 2049),
        (0, 3, 4),
        (3, 4, 0),
    ):
        x, w, b = (
            normal((m, k), dtype, 1),
            normal((n, k), dtype, 2).T / dtype(k + 1),
            normal((n,), dtype, 3),
        )
        out = np.empty((m, n), dtype)
        status = function("affine", dtype)(at(out), *strided(x), *strided(w), at(b), m, k, n, activation)
        assert status == lib.ZDL_OK
        np.testing.assert_array_equal(out, ACTIVATIONS[activation](zerodl_c.affine(x, w, b)))


@every_dtype
def test_affine_backward_without_dx(dtype, isa):
    m, k, n = 13, 9, 17
    dout, x, w = normal((m, n), dtype, 1), normal((m, k), dtype, 2), normal((k, n), dtype, 3)
    dw, db = np.empty((k, n), dtype), np.empty(n, dtype)
    status = function("affine_backward", dtype)(ffi.NULL, at(dw), at(db), at(dout), *strided(x), *strided(w), m, k, n)
    assert status == lib.ZDL_OK
    for got, expected in zip((dw, db), zerodl_c.affine_backward(dout, x, w)[1:], strict=True):
        np.testing.assert_array_equal(got, expected)


# --- In place -------------------------------------------------------------------------------------


@every_dtype
@pytest.mark.parametrize("n", [1, 7, 33, 100_003])
def test_an_elementwise_output_may_be_an_input(n, dtype, isa, threads):
    x, y = normal((n,), dtype, 1), normal((n,), dtype, 2)
    for name in ("exp", "tanh", "sigmoid", "sigmoid_grad", "relu", "relu_grad"):
        expected, same = np.empty_like(x), x.copy()
        function(name, dtype)(at(expected), at(x), n)
        function(name, dtype)(at(same), at(same), n)
        np.testing.assert_array_equal(same, expected, err_msg=name)
    for name in ("sigmoid_backward", "tanh_backward", "relu_backward"):
        expected, first, second = np.empty_like(x), x.copy(), y.copy()
        function(name, dtype)(at(expected), at(x), at(y), n)
        function(name, dtype)(at(first), at(first), at(y), n)
        function(name, dtype)(at(second), at(x), at(second), n)
        np.testing.assert_array_equal(first, expected, err_msg=name)
        np.testing.assert_array_equal(second, expected, err_msg=name)


@every_dtype
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_rows_may_be_replaced(name, dtype, isa):
    for rows, cols in product((1, 3), (1, 2, 5, 17, 33, 100)):
        x = normal((rows, cols), dtype)
        expected = getattr(zerodl_c, name)(x)
        function(name, dtype)(at(x), at(x), rows, cols)
        np.testing.assert_array_equal(x, expected, err_msg=f"{rows} rows of {cols}")


# --- This machine ---------------------------------------------------------------------------------


def test_levels_end():
    count = 0
    while lib.zdl_isa_level(count) != ffi.NULL:
        count += 1
    assert count >= 1
    assert lib.zdl_isa_level(count + 100) == lib.zdl_isa_level(-1) == ffi.NULL


def test_nothing_was_refused():
    assert lib.zdl_isa_refused() == 0


# --- Central differences of a C function ----------------------------------------------------------


@ffi.callback("double(double *, ptrdiff_t, void *)")
def cubes(x, n, data):
    """Weighted: sum of w x^3, where data holds w."""
    values, weights = (np.frombuffer(ffi.buffer(p, n * 8)) for p in (x, data))
    return float(weights @ values**3)


def gradient(f, x, h=1e-5, data=ffi.NULL):
    grad = np.full(x.shape, np.nan)
    assert lib.zdl_numerical_gradient(at(grad), f, at(x), x.size, h, data) == lib.ZDL_OK
    return grad


@pytest.mark.parametrize("n", [1, 2, 7, 400])
def test_numerical_gradient_of_a_callback(n, threads):
    """400 variables are enough to start threads."""
    x, weights = normal((n,), np.float64, 1), normal((n,), np.float64, 2)
    before = x.copy()
    grad = gradient(cubes, x, 1e-5, at(weights))
    np.testing.assert_allclose(grad, 3 * weights * x**2, atol=1e-5)
    np.testing.assert_array_equal(x, before)


def test_numerical_gradient_is_the_reference_to_the_bit(threads):
    x, weights = normal((400,), np.float64, 1), np.ones(400)
    expected = reference.numerical_gradient(lambda x: float(weights @ x**3), x.copy(), h=1e-4)
    np.testing.assert_array_equal(gradient(cubes, x, 1e-4, at(weights)), expected)


def test_numerical_gradient_calls_f_on_several_threads(restore_threads):
    """Where it is worth waking them: no call returns before a second thread calls."""
    callers, met = set(), threading.Event()

    @ffi.callback("double(double *, ptrdiff_t, void *)")
    def f(x, n, data):
        callers.add(threading.get_ident())
        if zerodl_c.get_num_threads() == 1 or len(callers) > 1:
            met.set()
        met.wait(5)
        return 2.0 * x[n - 1]

    expected = np.append(np.zeros(1999), 2)
    for n, most in ((1, 1), (4, 4)):
        zerodl_c.set_num_threads(n)
        callers.clear()
        met.clear()
        np.testing.assert_allclose(gradient(f, np.ones(2000)), expected, atol=1e-10)
        assert 1 <= len(callers) <= most
    if THREADED:
        assert len(callers) > 1


def test_numerical_gradient_of_no_variables():
    assert gradient(cubes, np.empty(0), 1e-4).size == 0


# --- Losses and optimizers ------------------------------------------------------------------------


@every_dtype
def test_exp_and_log_against_numpy(dtype, isa, threads):
    x = normal((100_003,), dtype)
    for name, ufunc, argument in (("exp", np.exp, x), ("log", np.log, np.abs(x))):
        out = np.empty_like(x)
        function(name, dtype)(at(out), at(argument), x.size)
        assert_close(out, ufunc(argument), scale=float(name == "log"), label=name)


@every_dtype
def test_functions_of_nothing_write_nothing(dtype, isa, threads):
    x, out = np.ones(1, dtype), np.full(1, 7, dtype)
    for name in ("exp", "log", "tanh", "sigmoid", "sigmoid_grad", "relu", "relu_grad"):
        function(name, dtype)(at(out), at(x), 0)
    for name in ("sigmoid_backward", "tanh_backward", "relu_backward"):
        function(name, dtype)(at(out), at(x), at(x), 0)
    for rows, cols in ((0, 5), (5, 0), (0, 0)):
        for name in ("softmax", "log_softmax"):
            function(name, dtype)(at(out), at(x), rows, cols)
        function("softmax_backward", dtype)(at(out), at(x), at(x), rows, cols)
        function("matmul", dtype)(at(out), cols, at(x), 1, 1, at(x), 1, 1, rows, 1, cols)
    for name, state, rates in (
        *(("sgd", 0, 1), ("momentum", 1, 2), ("nesterov", 1, 2)),
        *(("adagrad", 1, 1), ("rmsprop", 1, 2), ("adam", 2, 3)),
    ):
        function(name, dtype)(at(out), *[at(out)] * state, at(x), *[0.1] * rates, 0)
    labels, loss = np.zeros(1, np.int64), ffi.new("double *")
    assert function("softmax_cross_entropy_gradient", dtype)(loss, at(out), at(x), at(labels), 0, 5) == lib.ZDL_OK
    assert np.isnan(loss[0])
    windows = ffi.new("struct zdl_windows *", [1, 1, 1, 1, 1, 1, 1, 0])
    arrays = ffi.NULL, at(out), at(out), at(x), at(x), at(x)
    assert function("convolution_backward", dtype)(*arrays, 0, windows) == lib.ZDL_OK
    assert out[0] == 7
    assert function("sum_of_squares", dtype)(at(x), at(x), 0) == 0
