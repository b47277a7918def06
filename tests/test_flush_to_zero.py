"""Other libraries may make a thread treat subnormal numbers as 0, for speed. C must be right in such threads, too."""

import contextlib
import ctypes
import platform
import sys

import numpy as np
import pytest
from api import BACKWARD, GRADIENT, LABELLED, MATRIX, OPTIMIZERS, SOFTMAX, SQUARES, UNARY
from arrays import DTYPES, special_arrays
from test_c_api import at, function
from tolerances import assert_close

import zerodl_c

pytestmark = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="elsewhere the control register is another"
)
MXCSR = 7  # its place in glibc's and musl's fenv_t, in words
FTZ, DAZ = 1 << 15, 1 << 6  # results and operands that are subnormal count as 0


@contextlib.contextmanager
def flushing():
    """This thread's subnormal numbers are 0."""
    libm, before = ctypes.CDLL(None), (ctypes.c_uint32 * 8)()
    libm.fegetenv(before)
    changed = type(before)(*before)
    changed[MXCSR] |= FTZ | DAZ
    libm.fesetenv(changed)
    try:
        yield
    finally:
        libm.fesetenv(before)


def test_flushing_flushes():
    smallest = sys.float_info.min
    with flushing():
        half = smallest / 2
    assert (half, smallest / 2) == (0, 2.0**-1023)


def flushed(x):
    """x with 0 for its subnormal numbers."""
    return np.where(np.abs(x) < np.finfo(x.dtype).tiny, np.copysign(x.dtype.type(0), x), x)


def assert_flushes(f, arrays, scale, label):
    """f gives what it gives of inputs without subnormal numbers, but for results that are subnormal themselves."""
    with np.errstate(all="ignore"):
        expected = f(*(flushed(x) for x in arrays))
        arrays = [x.copy() for x in arrays]
        with flushing():
            got = f(*arrays)
    for x, y in zip(*(y if isinstance(y, tuple) else (y,) for y in (got, expected)), strict=True):
        assert_close(x, y, scale=scale, label=label)


def c_function(name):
    def call(x):
        out = np.empty_like(x)
        function(name, x.dtype.type)(at(out), at(x), x.size)
        return out

    return call


def with_labels(name):
    return lambda y: getattr(zerodl_c, name)(y, np.arange(len(y)))


def batch_normalization(x, dout):
    layer = zerodl_c.BatchNormalization(np.ones(5, x.dtype), np.zeros(5, x.dtype))
    return layer.forward(x), layer.backward(dout), layer.running_mean, layer.dgamma, layer.dbeta


def convolution(x, dout):
    layer = zerodl_c.Convolution(x[None, None, :2, :2], x[0, :1])
    y = layer.forward(x[None, None])
    return y, layer.backward(dout[None, None, :4, :4].copy()), layer.dW, layer.db


def pooling(x, dout):
    layer = zerodl_c.Pooling(2, 2, 1)
    y = layer.forward(x[None, None])
    return y, layer.backward(dout[None, None, :4, :4].copy())


def columns(x, dout):
    return zerodl_c.im2col(x[None, None], 2, 2), zerodl_c.col2im(x, (1, 1, 5, 5), 1, 5)


def optimizer(name):
    def two_steps(param, grad):
        params, optimizer = {"W": param.copy()}, getattr(zerodl_c, name)()
        for _ in range(2):
            optimizer.update(params, {"W": grad})
        return params["W"]

    return two_steps


def new_net(w):
    net = zerodl_c.TwoLayerNet(5, 5, 5, dtype=w.dtype.type)
    net.params["W1"][...] = net.params["W2"][...] = w
    return net


def net(x, w):
    net = new_net(w)
    return net.predict(x), *net.gradient(x, np.arange(5)).values()


def differences(x, w):
    return tuple(new_net(w).numerical_gradient(x, np.arange(5)).values())


def step(x):
    return zerodl_c.step_function(x).astype(x.dtype)  # of integers


def affine(x, w, b):
    return zerodl_c.affine(x, w, b[0])


# Functions and how many arrays they take: of any special numbers, or of such a number in a matrix.
ELEMENTS = {name: (c_function(name), 1) for name in ("exp", "log")}
ELEMENTS |= {name: (getattr(zerodl_c, name), 1) for name in [*UNARY, *SOFTMAX]} | {"step_function": (step, 1)}
ELEMENTS |= {name: (getattr(zerodl_c, name), 2) for name in [*BACKWARD, *SQUARES]}
ROWS = {name: (with_labels(name), 1) for name in [*LABELLED, GRADIENT]}
ROWS |= {name: (getattr(zerodl_c, name), 2 + name.endswith("_backward")) for name in MATRIX}
ROWS |= {name: (optimizer(name), 2) for name in OPTIMIZERS}
ROWS |= {f.__name__: (f, 2) for f in (batch_normalization, convolution, pooling, columns, net, differences)}
ROWS["affine"] = affine, 3
SCALES = {"differences": 1e7}  # of losses up to 1e3, over a step of 1e-4


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", [*ELEMENTS, *ROWS])
def test_subnormal_numbers_may_count_as_zero(name, dtype, isa, restore_threads):
    zerodl_c.set_num_threads(1)  # another thread has its own register
    f, operands = (ELEMENTS | ROWS)[name]
    for label, arrays in special_arrays(dtype, operands):
        if name in ELEMENTS or label.startswith("a "):
            assert_flushes(f, arrays, SCALES.get(name, 0.0), label)
