"""numerical_gradient of C functions: pointers of cffi and ctypes, numba's, SciPy's."""

import _thread
import ctypes
import sys
import threading

import cffi
import numpy as np
import pytest
from api import THREADED
from numpy.testing import assert_allclose, assert_array_equal

import zerodl_c

SOURCE = """
#include <stddef.h>
#include <time.h>

static double rosenbrock(const double *x, ptrdiff_t n, void *data)
{
    double sum = 0;
    (void)data;
    for (ptrdiff_t i = 0; i + 1 < n; i++) {
        double a = x[i + 1] - x[i] * x[i], b = 1 - x[i];
        sum += 100 * a * a + b * b;
    }
    return sum;
}

/* The scalar product with what data points to. */
static double product(const double *x, ptrdiff_t n, void *data)
{
    double sum = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += x[i] * ((double *)data)[i];
    return sum;
}

static double nan_where_negative(const double *x, ptrdiff_t n, void *data)
{
    (void)data;
    double zero = 0;
    return x[n - 1] < 0 ? zero / zero : x[0];
}

/* A millisecond, and *data counts. */
static double slow(const double *x, ptrdiff_t n, void *data)
{
    (void)n;
    for (clock_t end = clock() + CLOCKS_PER_SEC / 1000; clock() < end;)
        ;
    *(volatile double *)data += 1;
    return x[0];
}
static double narrow(const float *x, ptrdiff_t n, void *data) { (void)n, (void)data; return x[0]; }
"""
PROTOTYPE = "double {}(const double *x, ptrdiff_t n, void *data);"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """(ffi, lib) of the functions above."""
    ffi, folder = cffi.FFI(), tmp_path_factory.mktemp("compiled")
    names = ("rosenbrock", "product", "nan_where_negative", "slow")
    ffi.cdef("".join(map(PROTOTYPE.format, names)) + "double narrow(const float *x, ptrdiff_t n, void *data);")
    ffi.set_source("zerodl_c_test_functions", SOURCE)
    ffi.compile(tmpdir=str(folder))
    sys.path.insert(0, str(folder))
    try:
        import zerodl_c_test_functions as module
    finally:
        sys.path.remove(str(folder))
    return module.ffi, module.lib


D, P, V, N = ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_void_p, ctypes.c_ssize_t
CTYPE = ctypes.CFUNCTYPE(D, P, N, V)


@pytest.fixture
def function(compiled):
    """function(name) -> a cffi pointer."""
    ffi, lib = compiled
    return lambda name: ffi.addressof(lib, name)


def rosenbrock(x):
    total = 0.0
    for here, there in zip(x[:-1].tolist(), x[1:].tolist(), strict=True):
        a, b = there - here * here, 1 - here
        total += 100 * a * a + b * b
    return total


def in_ctypes(pointer, kind=CTYPE):
    return kind(int(cffi.FFI().cast("uintptr_t", pointer)))


def in_scipy(pointer):
    return pytest.importorskip("scipy").LowLevelCallable(pointer)


def in_scipy_by_ctypes(pointer):
    return in_scipy(in_ctypes(pointer))


def int64_in_ctypes(pointer):
    return in_ctypes(pointer, ctypes.CFUNCTYPE(ctypes.c_double, P, ctypes.c_int64, V))


HOLDERS = [lambda pointer: pointer, in_ctypes, int64_in_ctypes, in_scipy, in_scipy_by_ctypes]
every_holder = pytest.mark.parametrize("hold", HOLDERS, ids=["cffi", "ctypes", "int64", "scipy", "scipy of ctypes"])


@every_holder
@pytest.mark.parametrize("n", [1, 2, 7, 300])
def test_values_are_those_of_python(engine, function, hold, n, threads):
    x = np.random.default_rng(n).standard_normal(n)
    before = x.copy()
    for options in ({}, {"h": 1e-3}, {"order": 4}, {"full_output": True}):
        expected = zerodl_c.reference.numerical_gradient(rosenbrock, x, **options)
        grad = engine.numerical_gradient(hold(function("rosenbrock")), x, **options)
        if options.get("full_output"):
            assert_allclose(grad[1].error, expected[1].error, rtol=1e-6, atol=1e-6)
            assert grad[1].evaluations == expected[1].evaluations + 2  # to see whether f reads x
            grad, expected = grad[0], expected[0]
        # A compiler may contract a * b + c to one operation, which rounds once.
        assert_allclose(grad, expected, rtol=0, atol=1e-7)
    assert_array_equal(x, before)


def test_engines_and_threads_agree_to_the_bit(function, restore_threads):
    x = np.random.default_rng(0).standard_normal(500)
    for options in ({}, {"order": 4}, {"h": "auto"}):
        expected, about = zerodl_c.reference.numerical_gradient(function("rosenbrock"), x, full_output=True, **options)
        for n in (1, 2, 5):
            zerodl_c.set_num_threads(n)
            grad, info = zerodl_c.numerical_gradient(function("rosenbrock"), x, full_output=True, **options)
            assert_array_equal(grad, expected)
            for one, other in zip(info, about, strict=True):
                assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (2, 2, 2), (0,), (3, 0)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8", int, bool])
def test_any_shape_and_dtype(engine, function, shape, dtype):
    """C is handed float64, with its step, whatever x is."""
    x = np.array(np.random.default_rng(1).uniform(-3, 3, shape)).astype(dtype)
    grad = engine.numerical_gradient(function("rosenbrock"), x)
    expected = engine.numerical_gradient(lambda x: rosenbrock(x.ravel()), np.array(x, np.float64))
    assert grad.shape == shape and grad.dtype == expected.astype(x.dtype if x.dtype.kind == "f" else float)[()].dtype
    assert_allclose(grad, expected.astype(grad.dtype), rtol=0 if grad.dtype.itemsize == 8 else 1e-3, atol=1e-7)


def test_layouts_lists_and_read_only_arrays(engine, function):
    x = np.random.default_rng(1).standard_normal((4, 6))
    expected = engine.numerical_gradient(function("rosenbrock"), x)
    read_only = x.copy()
    read_only.flags.writeable = False
    for same in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], x[::-1].copy()[::-1], x.tolist(), read_only):
        assert_array_equal(engine.numerical_gradient(function("rosenbrock"), same), expected)


def test_a_low_level_callable_brings_data(engine, compiled, function):
    scipy = pytest.importorskip("scipy")
    weights = np.arange(1.0, 101)
    at = compiled[0].cast("void *", compiled[0].from_buffer(weights))
    for hold, data in ((lambda p: p, at), (in_ctypes, ctypes.c_void_p(weights.ctypes.data))):
        f = scipy.LowLevelCallable(hold(function("product")), data)
        assert_allclose(engine.numerical_gradient(f, np.ones(100)), weights, rtol=1e-8)


def test_an_f_that_reads_x_by_its_data_is_refused(engine, compiled, function):
    scipy, x = pytest.importorskip("scipy"), np.ones(3)
    f = scipy.LowLevelCallable(function("product"), compiled[0].cast("void *", compiled[0].from_buffer(x)))
    with pytest.raises(ValueError, match="f must read x through its argument alone"):
        engine.numerical_gradient(f, x)
    assert (x == 1).all()


def test_numba(engine):
    numba = pytest.importorskip("numba")
    types = numba.types

    @numba.cfunc(types.double(types.CPointer(types.double), types.intp, types.voidptr))
    def f(x, n, data):
        total = 0.0
        for i in range(n):
            total += x[i] ** 3
        return total

    x = np.linspace(-1, 1, 500)
    assert_allclose(engine.numerical_gradient(f, x), 3 * x**2, atol=2e-8)
    assert_allclose(
        engine.numerical_gradient(pytest.importorskip("scipy").LowLevelCallable(f.ctypes), x), 3 * x**2, atol=2e-8
    )

    @numba.cfunc(types.double(types.double, types.intp))
    def other(x, n):
        return x

    with pytest.raises(TypeError, match="f must be a C function double f"):
        engine.numerical_gradient(other, x)


def test_nan_passes_through(engine, function):
    assert_allclose(engine.numerical_gradient(function("nan_where_negative"), np.array([1.0, 0.0])), [1, np.nan])


def test_callbacks_run_on_all_threads(restore_threads):
    """Here Python is called from C's threads, which says that the loop holds no lock."""
    callers, ffi = set(), cffi.FFI()

    @ffi.callback("double(const double *, ptrdiff_t, void *)")
    def f(x, n, data):
        callers.add(threading.get_ident())
        return 2 * x[0]

    zerodl_c.set_num_threads(4)
    grad = zerodl_c.numerical_gradient(f, np.ones(500))
    assert_allclose(grad, np.append(2, np.zeros(499)), atol=1e-10)
    if THREADED:
        assert len(callers) > 1


def test_progress(engine, function):
    seen = []
    engine.numerical_gradient(function("rosenbrock"), np.ones(1000), progress=lambda *at: seen.append(at))
    assert [total for _, total in seen] == [2000] * len(seen)
    done = [done for done, _ in seen]
    assert done == sorted(set(done)) and done[-1] == 2000


@pytest.mark.parametrize("count", [1, 2])
def test_ctrl_c_stops_the_loop_in_c(engine, compiled, function, count, restore_threads, no_garbage_collection):
    """All would take 10 seconds of each thread."""
    scipy, counter = pytest.importorskip("scipy"), np.zeros(1)
    f = scipy.LowLevelCallable(function("slow"), compiled[0].cast("void *", compiled[0].from_buffer(counter)))
    zerodl_c.set_num_threads(count)
    x, timer = np.ones(5000 * count), threading.Timer(0.2, _thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        engine.numerical_gradient(f, x)
    timer.join()
    done = counter[0]
    assert 0 < done < 5000 * count
    threading.Event().wait(0.05)
    assert counter[0] == done
    assert (x == 1).all()


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind",
    [
        ctypes.CFUNCTYPE(ctypes.c_float, P, N, V),
        ctypes.CFUNCTYPE(None, P, N, V),
        ctypes.CFUNCTYPE(D, ctypes.POINTER(ctypes.c_float), N, V),
        ctypes.CFUNCTYPE(D, V, N, V),
        ctypes.CFUNCTYPE(D, P, ctypes.c_int32, V),
        ctypes.CFUNCTYPE(D, P, D, V),
        ctypes.CFUNCTYPE(D, P, N),
        ctypes.CFUNCTYPE(D, P, N, V, V),
        ctypes.CFUNCTYPE(D, D),
    ],
)
def test_other_signatures_of_ctypes_are_refused(engine, function, kind):
    f = in_ctypes(function("rosenbrock"), kind)
    scipy = pytest.importorskip("scipy")
    for g in (f, scipy.LowLevelCallable(f)):
        with pytest.raises(TypeError, match=r"f must be a C function double f\(const double \*x, ptrdiff_t n, void"):
            engine.numerical_gradient(g, np.ones(2))


def test_a_function_of_ctypes_must_be_declared(engine):
    f = ctypes.pythonapi.PyErr_CheckSignals
    with pytest.raises(TypeError, match=r"f must be a C function .* got int \(not declared\)"):
        engine.numerical_gradient(f, np.ones(2))


def test_other_pointers_of_cffi_are_refused(engine, compiled, function):
    for g in (function("narrow"), compiled[0].NULL, compiled[0].new("double *")):
        with pytest.raises(TypeError, match="f must be a C function"):
            engine.numerical_gradient(g, np.ones(2))


def test_a_null_pointer_is_refused(engine, compiled):
    null = compiled[0].cast("double (*)(const double *, ptrdiff_t, void *)", 0)
    for f in (null, CTYPE(0)):
        with pytest.raises(ValueError, match="f must not be a null pointer"):
            engine.numerical_gradient(f, np.ones(2))


@pytest.mark.parametrize("options", [{"vectorized": True}, {"workers": 2}, {"workers": map}], ids=repr)
def test_options_for_python_are_refused(engine, function, options):
    with pytest.raises(ValueError, match=r"(vectorized|workers) must be \w+ for a C function"):
        engine.numerical_gradient(function("rosenbrock"), np.ones(2), **options)
