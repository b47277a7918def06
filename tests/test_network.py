"""Whole nets in one call of C, against the composition of the reference's functions."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from arrays import DTYPES, LAYOUTS, normal
from tolerances import assert_close

import zerodl_c
from zerodl_c import reference
from zerodl_c._bridge import ffi, lib

every_dtype = pytest.mark.parametrize("dtype", DTYPES)

ACTIVATIONS = {
    "identity": (lib.ZDL_IDENTITY, reference.identity_function, lambda dout, y: dout),
    "sigmoid": (lib.ZDL_SIGMOID, reference.sigmoid, reference.sigmoid_backward),
    "relu": (lib.ZDL_RELU, reference.relu, reference.relu_backward),
    "tanh": (lib.ZDL_TANH, reference.tanh, reference.tanh_backward),
}
every_activation = pytest.mark.parametrize("hidden", ACTIVATIONS)

WIDTHS = [(9, 3), (7, 17, 5), (5, 33, 1, 10), (3, 8, 17, 2, 40, 4)]  # depths 1, 2, 3 and 5
BATCHES = [0, 1, 7, 100]
CASES = [*((widths, batch) for widths in WIDTHS for batch in BATCHES), ((20, 50, 10), 1003)]  # the last on threads
STRIDED = ["contiguous", "fortran", "backwards", "stepped", "offset", "repeated"]
RIM = 16


def labels_of(batch, classes):
    return np.arange(batch, dtype=np.int64) * 7 % classes


class Net:
    """Parameters, as a struct of C as well; `predict`, `forward` and `gradient` are C's."""

    def __init__(self, widths, dtype, hidden):
        self.widths, self.dtype, self.hidden = widths, dtype, hidden
        shapes = enumerate(pairwise(widths))
        self.W = [normal(shape, dtype, i) / dtype(3 * shape[0] ** 0.5) for i, shape in shapes]
        self.b = [normal((n,), dtype, 50 + i) / dtype(10) for i, n in enumerate(widths[1:])]
        self.suffix, self.real = ("f32", "float") if dtype == np.float32 else ("f64", "double")
        self.parts = ffi.new("ptrdiff_t[]", widths), self.pointers(self.W), self.pointers(self.b)
        self.struct = ffi.new(f"struct zdl_network_{self.suffix} *", [len(self.W), ACTIVATIONS[hidden][0], *self.parts])
        self.memory = []

    def pointers(self, arrays):
        return ffi.new(f"{self.real} *[]", [self.at(x) for x in arrays])

    def at(self, x):
        return ffi.cast(f"{self.real} *", x.__array_interface__["data"][0])

    def room(self, *shape):
        """An array within a rim of sevens, which `rims_are_whole` looks at."""
        size = int(np.prod(shape))
        self.memory.append(np.full(size + 2 * RIM, 7, self.dtype))
        return self.memory[-1][RIM : RIM + size].reshape(shape)

    def rims_are_whole(self):
        return all((memory[:RIM] == 7).all() and (memory[-RIM:] == 7).all() for memory in self.memory)

    def outputs(self, batch):
        return [self.room(batch, n) for n in self.widths[1:]]

    def call(self, name, *arguments):
        assert getattr(lib, f"zdl_network_{name}_{self.suffix}")(*arguments, self.struct) == lib.ZDL_OK

    def input(self, x):
        return self.at(x), *(stride // x.itemsize for stride in x.strides)

    def predict(self, x):
        y = self.room(len(x), self.widths[-1])
        self.call("predict", self.at(y), *self.input(x), len(x))
        return y

    def forward(self, x, keep=True):
        a, z = self.outputs(len(x)) if keep else [], self.outputs(len(x))
        self.call("forward", self.pointers(a) if keep else ffi.NULL, self.pointers(z), *self.input(x), len(x))
        return a, z

    def gradient(self, x, t):
        """dw, db, a and z; t is int64 labels or of the net's dtype."""
        dW, db = [self.room(*W.shape) for W in self.W], [self.room(*b.shape) for b in self.b]
        a, z = self.outputs(len(x)), self.outputs(len(x))
        label, dense = (ffi.cast("int64_t *", t.ctypes.data), ffi.NULL) if t.ndim == 1 else (ffi.NULL, self.at(t))
        kept = [self.pointers(arrays) for arrays in (dW, db, a, z)]
        self.call("gradient", *kept, *self.input(x), label, dense, len(x))
        return dW, db, a, z


def composed_forward(net, x):
    _, activation, _ = ACTIVATIONS[net.hidden]
    a, z = [], [x]
    for W, b in zip(net.W, net.b, strict=True):
        a.append(reference.affine(z[-1], W, b))
        z.append(activation(a[-1]))
    return a, [*z[1:-1], reference.softmax(a[-1])]


def composed_gradient(net, x, t):
    _, _, backward = ACTIVATIONS[net.hidden]
    a, z = composed_forward(net, x)
    da = reference.softmax_cross_entropy_backward(z[-1], t)
    dW, db = [], []
    for layer in reversed(range(len(net.W))):
        dz, dw, d = reference.affine_backward(da, z[layer - 1] if layer else x, net.W[layer])
        dW, db = [dw, *dW], [d, *db]
        da = backward(dz, z[layer - 1]) if layer else None
    return dW, db, a, z


def scales(net, x):
    """How large the terms are that may cancel: those of the sums, and of the gradients of W and b, by layers."""
    sums, dW, db = [np.abs(x).astype(np.float64)], [], []
    for W, b in zip(net.W, net.b, strict=True):
        sums.append(sums[-1] @ np.abs(W) + np.abs(b))
    da = np.full(sums[-1].shape, max(1, *(part.max(initial=0) for part in sums)) / max(1, len(x)))
    for W, z in zip(net.W[::-1], sums[-2::-1], strict=True):
        dW, db, da = [z.T @ da, *dW], [da.sum(axis=0), *db], da @ np.abs(W).T
    return sums[1:], dW, db


def assert_forward(got, expected, net, x):
    sums, _, _ = scales(net, x)
    assert_all_close(got, expected, [sums] * 2, net)


def assert_gradient(got, expected, net, x):
    sums, dW, db = scales(net, x)
    assert_all_close(got, expected, [dW, db, sums, sums], net, len(x))


def assert_all_close(got, expected, scales, net, batch=0):
    for kind, arrays in enumerate(zip(got, expected, scales, strict=True)):
        for layer, (*pair, scale) in enumerate(zip(*arrays, strict=True)):
            label = f"{kind} of layer {layer} of {net.widths}"
            assert_close(*pair, terms=sum(net.widths) + batch, scale=scale, label=label)
    assert net.rims_are_whole()


@every_activation
@every_dtype
def test_the_forward_pass_is_the_composition(hidden, dtype, isa, threads):
    for widths, batch in CASES:
        net, x = Net(widths, dtype, hidden), normal((batch, widths[0]), dtype, 9)
        a, z = net.forward(x)
        assert_forward((a, z), composed_forward(net, x), net, x)
        np.testing.assert_array_equal(net.predict(x), z[-1])
        for got, expected in zip(net.forward(x, keep=False)[1], z, strict=True):
            np.testing.assert_array_equal(got, expected)
        assert net.rims_are_whole()


@every_activation
@every_dtype
def test_the_gradient_is_the_composition(hidden, dtype, isa, threads):
    for widths, batch in CASES:
        net, x = Net(widths, dtype, hidden), normal((batch, widths[0]), dtype, 9)
        labels, soft = labels_of(batch, widths[-1]), reference.softmax(normal((batch, widths[-1]), dtype, 8))
        for t in (labels, soft) if batch else ():
            assert_gradient(net.gradient(x, t), composed_gradient(net, x, t), net, x)


@every_dtype
def test_gradients_of_an_empty_batch_are_zeros(dtype, isa):
    for widths in WIDTHS:
        net = Net(widths, dtype, "tanh")
        for t in (labels_of(0, widths[-1]), np.empty((0, widths[-1]), dtype)):
            dW, db, *_ = net.gradient(np.empty((0, widths[0]), dtype), t)
            assert not any(grad.any() for grad in (*dW, *db))
        assert net.rims_are_whole()


@every_dtype
@pytest.mark.parametrize("layout", STRIDED)
def test_inputs_of_any_strides(layout, dtype, isa):
    for widths, batch in (((7, 17, 5), 1), ((7, 17, 5), 13), ((1, 4, 2), 9), ((300, 40, 10), 65)):
        net, x = Net(widths, dtype, "sigmoid"), LAYOUTS[layout](normal((batch, widths[0]), dtype, 9))
        t = labels_of(batch, widths[-1])
        assert_forward(net.forward(x), composed_forward(net, x), net, x)
        np.testing.assert_array_equal(net.predict(x), net.forward(x)[1][-1])
        assert_gradient(net.gradient(x, t), composed_gradient(net, x, t), net, x)


@every_activation
@pytest.mark.parametrize("widths", [(4, 3), (4, 6, 3), (4, 6, 5, 3)], ids=str)
def test_the_gradient_is_that_of_the_loss(hidden, widths):
    net, x, labels = Net(widths, np.float64, hidden), normal((6, 4), np.float64, 9), labels_of(6, 3)
    soft = reference.softmax(normal((6, 3), np.float64, 8))

    def loss(t):
        y = net.predict(x)
        return -np.sum(t * np.log(y)) / len(x)

    for t, dense in ((labels, np.eye(3)[labels]), (soft, soft)):
        dW, db, *_ = net.gradient(x, t)
        for got, param in zip((*dW, *db), (*net.W, *net.b), strict=True):
            expected = reference.numerical_gradient(lambda _, dense=dense: loss(dense), param, h=1e-5)
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-8)


@every_activation
@every_dtype
@pytest.mark.parametrize("widths", [(40, 300, 200, 10), (500, 3, 400), (3, 130, 67)], ids=str)
def test_the_bits_do_not_depend_on_the_number_of_threads(widths, hidden, dtype, isa, restore_threads):
    """Nets of work for more than 7 threads; their rows and widths divide by no number of these."""
    batch = 1571
    net, x = Net(widths, dtype, hidden), normal((batch, widths[0]), dtype, 9)
    labels, soft = labels_of(batch, widths[-1]), reference.softmax(normal((batch, widths[-1]), dtype, 8))
    results = []
    for n in (1, 2, 7):
        zerodl_c.set_num_threads(n)
        arrays = [net.predict(x), *net.forward(x, keep=False)[1]]
        for part in (*net.forward(x), *net.gradient(x, labels), *net.gradient(x, soft)):
            arrays += part
        results.append([array.tobytes() for array in arrays])
    assert [result == results[0] for result in results] == [True] * 3


@every_dtype
def test_an_unsure_row_beside_sure_ones_is_the_same_on_any_number_of_threads(dtype, isa, restore_threads):
    """Every 13th row saturates the softmax of a few classes; which rows share a vector changes with the threads."""
    net, x = Net((60, 40, 7), dtype, "identity"), normal((2003, 60), dtype, 9)
    x[::13] *= 1e5
    results = []
    for n in (1, 2, 3, 7):
        zerodl_c.set_num_threads(n)
        results.append(net.predict(x).tobytes())
    assert [result == results[0] for result in results] == [True] * 4


def test_many_layers(isa):
    net, x = Net((3,) * 400, np.float64, "tanh"), normal((5, 3), np.float64, 9)
    assert_forward(net.forward(x), composed_forward(net, x), net, x)


# --- Memory ---------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_room_that_cannot_be_had_is_a_memoryerror(python):
    """For the hidden layer of 16 MB in predict; for NumPy's arrays in loss and gradient, for C's in _network."""
    done = python("""
import resource, numpy as np, zerodl_c
from zerodl_c import _network
from zerodl_c._bridge import lib
zerodl_c.set_num_threads(1)
net, x, t = zerodl_c.TwoLayerNet(2, 100, 3), np.ones((20000, 2)), np.zeros(20000, np.int64)
loss = net.loss(x[:1], t[:1])
net.gradient(x[:1], t[:1])
before, grads = net.y, net.grads
kept = _network._empty_outputs(x, [*net.params.values()])
[array.fill(0) for array in kept]
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**21, resource.RLIM_INFINITY))
def attempt(call, *arguments):
    try:
        print("no error", call(*arguments))
    except MemoryError as error:
        print(error if type(error) is MemoryError else "NumPy's")
attempt(net.predict, x)
attempt(net.loss, x, t)
attempt(net.gradient, x, t)
make, _network._empty_outputs = _network._empty_outputs, lambda x, arrays, *_: kept
attempt(net.gradient, x, t)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
_network._empty_outputs = make
print(net.y is before, net.grads is grads)
net.gradient(x, t)
print(net.loss(x[:1], t[:1]) == loss)
""")
    message = "not enough memory for the workspace of the call"
    expected = [message, "NumPy's", "NumPy's", message, "True True", "True"]
    assert done.stdout.splitlines() == expected, done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_no_room_to_pack_a_transposed_weight_is_told(python):
    """4 MB for W2.T; all that is given back lies there already."""
    done = python("""
import resource, numpy as np, zerodl_c
from zerodl_c._bridge import lib
zerodl_c.set_num_threads(1)
x, t = np.ones((2, 3)), np.zeros(2, np.int64)
params = [np.zeros((3, 1024)), np.zeros(1024), np.zeros((1024, 512)), np.zeros(512)]
grads = [np.ones(param.shape) for param in params]
kept = [np.ones((2, n)) for n in (1024, 1024, 512, 512)]
def status():
    arrays = [*map(id, grads)], [*map(id, kept)], True, id(x), id(t), [*map(id, params)]
    return lib.np_network_gradient(*arrays, 2, lib.ZDL_RELU)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**19, resource.RLIM_INFINITY))
statuses = [status()]
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(statuses, status(), lib.NP_NO_MEMORY, lib.NP_OK)
""")
    assert done.stdout.split() == ["[1]", "0", "1", "0"], done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_no_room_to_pack_an_input_is_told(python):
    """The rows of x begin a page apart, and are packed."""
    done = python("""
import resource, numpy as np, zerodl_c
from zerodl_c._bridge import lib
zerodl_c.set_num_threads(1)
x, y = np.ones((400, 512)), np.ones((400, 2048))
params = [np.zeros((512, 2048)), np.zeros(2048)]
kept = [y.copy(), y.copy()]
def statuses():
    arrays = id(x), [*map(id, params)], 1, lib.ZDL_RELU
    return lib.np_network_predict(id(y), *arrays), lib.np_network_forward([*map(id, kept)], *arrays)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**16, resource.RLIM_INFINITY))
without = statuses()
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(without, statuses())
""")
    assert done.stdout == "(1, 1) (0, 0)\n", (done.stdout, done.stderr)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workspaces_are_freed(python):
    """100 passes of a hidden layer of 8 MB."""
    done = python("""
import numpy as np, zerodl_c
zerodl_c.set_num_threads(1)
net, x, t = zerodl_c.TwoLayerNet(2, 100, 3), np.ones((10000, 2)), np.zeros(10000, np.int64)
def pages():
    return int(open("/proc/self/statm").read().split()[0])
for i in range(100):
    net.predict(x), net.gradient(x, t)
    if i == 10:
        before = pages()
print((pages() - before) * 4 // 1024)
""")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 50
