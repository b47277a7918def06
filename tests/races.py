"""Several threads call one layer, net, optimizer or loss at once: what test_races.py runs, apart from pytest.

A race ends in a crash of the process, in a SystemError, or in nothing that is seen. Each case runs for a moment, and is
named before it begins, so that the last name tells which one crashed.
"""

import os
import signal
import sys
import threading
from time import perf_counter

import numpy as np

import zerodl_c as z

SECONDS = 0.3  # for each case; the crashes that were found came within a second of the first call, most in a tenth
# What a program may see that mixes the passes of several threads; a KeyError, say, or a SystemError it may not.
MIXED = ValueError, IndexError, RuntimeError

rng = np.random.default_rng(0)
CASES = {}


def case(function):
    """A case is a function that returns what the threads are to call again and again."""
    CASES[function.__name__] = function
    return function


def pass_through(layer, *shapes):
    """Threads that go forward with arrays of several shapes, of which most let go of what the layer has kept."""
    x = [rng.standard_normal(shape) for shape in shapes]
    d = [np.ones(np.shape(layer.forward(a))) for a in x]
    forward = [lambda a=a: layer.forward(a) for a in x]
    return [*forward, *[lambda b=b: layer.backward(b.copy()) for b in d]]


def case_of_shared_data(function):
    """A case in which threads write into arrays that others read: a race of the program, which the core survives.

    ThreadSanitizer would report it; tools/sanitize.sh runs the other cases alone under it.
    """
    return function if "TSAN_OPTIONS" in os.environ else case(function)


LARGE, SMALL = (1000, 1000), (3, 5)  # the mask of the first is given back to the system when nobody holds it
IMAGES = (20, 3, 40, 40)


@case
def relu():
    layer, x = z.Relu(), rng.standard_normal(LARGE)
    d = layer.forward(x)
    return [lambda: layer.forward(x)] * 2 + [lambda: layer.backward(d)]


@case
def sigmoid():
    return pass_through(z.Sigmoid(), LARGE, SMALL)


@case
def tanh():
    return pass_through(z.Tanh(), LARGE, SMALL)


@case
def dropout():
    return pass_through(z.Dropout(), LARGE, SMALL)


@case
def affine():
    return pass_through(z.Affine(rng.standard_normal((700, 30)), np.zeros(30)), (300, 700), (2, 700))


@case
def affine_that_gets_other_weights():
    layer = z.Affine(rng.standard_normal((700, 300)), np.zeros(300))

    def replace():
        layer.W, layer.b = np.ones((700, 300)), np.zeros(300)

    return [replace, *pass_through(layer, (300, 700))]


@case
def batch_normalization():
    return pass_through(z.BatchNormalization(np.ones(700), np.zeros(700)), (300, 700), (2, 700))


@case
def convolution():
    return pass_through(z.Convolution(rng.standard_normal((5, 3, 3, 3)), np.zeros(5), pad=1), IMAGES, (1, 3, 5, 5))


@case
def convolution_that_gets_other_filters():
    layer = z.Convolution(rng.standard_normal((5, 3, 3, 3)), np.zeros(5), pad=1)

    def replace():
        layer.W, layer.b = np.ones((5, 3, 3, 3)), np.zeros(5)
        layer.W, layer.b = np.ones((7, 3, 3, 3)), np.zeros(7)
        layer.stride = 3 - layer.stride

    return [replace, *pass_through(layer, IMAGES)]


@case
def pooling():
    return pass_through(z.Pooling(2, 2), IMAGES, IMAGES)


@case
def softmax_with_loss():
    layer, t = z.SoftmaxWithLoss(), rng.integers(0, 50, 3000)
    x = rng.standard_normal((3000, 50))
    layer.forward(x, t)
    return [lambda: layer.forward(x, t), lambda: layer.forward(x[:2], t[:2]), layer.backward]


def net_and_data(kind):
    x, t = rng.standard_normal((200, 64)), rng.integers(0, 10, 200)
    net = z.TwoLayerNet(64, 50, 10) if kind is z.TwoLayerNet else kind(64, [50, 40], 10)
    return net, x, t


def every_use(net, x, t):
    return [
        lambda: net.predict(x),
        lambda: net.loss(x[:50], t[:50]),
        lambda: net.accuracy(x, t),
        lambda: net.gradient(x, t),
        lambda: net.numerical_gradient(x[:1, :], t[:1]),
    ]


@case
def two_layer_net():
    return every_use(*net_and_data(z.TwoLayerNet))


@case
def multi_layer_net():
    return every_use(*net_and_data(z.MultiLayerNet))


@case
def multi_layer_net_extend():
    net = z.MultiLayerNetExtend(64, [50, 40], 10, use_batchnorm=True, use_dropout=True)
    return every_use(net, *net_and_data(z.MultiLayerNet)[1:])[:-1]


@case
def simple_net():
    net = z.SimpleNet()
    x, t = rng.standard_normal((300, 2)), rng.integers(0, 3, 300)
    return [lambda: net.predict(x), lambda: net.loss(x, t), lambda: setattr(net, "W", np.ones((2, 3)))]


@case_of_shared_data
def a_net_that_trains_while_it_is_evaluated():
    net, x, t = net_and_data(z.MultiLayerNet)
    optimizer = z.Adam()
    return [lambda: optimizer.update(net.params, net.gradient(x, t)), lambda: net.accuracy(x, t)]


@case
def a_net_whose_parameters_are_replaced():
    net, x, t = net_and_data(z.TwoLayerNet)

    def replace():
        net.params["W1"], net.params["b1"] = np.ones((64, 30)), np.ones(30)
        net.params["W2"] = np.ones((30, 10))
        net.params = {"W1": np.ones((64, 50)), "b1": np.ones(50), "W2": np.ones((50, 10)), "b2": np.ones(10)}

    return [replace, lambda: net.gradient(x, t), lambda: net.loss(x, t), lambda: net.predict(x)]


def optimizers():
    for kind in (z.SGD, z.Momentum, z.Nesterov, z.AdaGrad, z.RMSprop, z.Adam):

        def calls(optimizer=kind):
            optimizer = optimizer()
            params = {"W": np.ones((300, 400)), "b": np.ones(400)}
            grads = {key: np.ones_like(param) for key, param in params.items()}

            def replace():
                params["W"] = np.ones((300, 400))
                for name in optimizer._state:
                    setattr(optimizer, name, {key: np.zeros_like(param) for key, param in params.items()})

            optimizer.update(params, grads)
            return [replace, *[lambda: optimizer.update(params, grads)] * 2]

        calls.__name__ = kind.__name__
        case_of_shared_data(calls)


optimizers()


def with_labels(*functions):
    """Calls with labels that another thread makes invalid from time to time."""
    x, t = np.abs(rng.standard_normal((3000, 10))), rng.integers(0, 10, 3000)

    def spoil():
        for bad in (10**12, -(10**12)):
            t[::7] = bad
            t[::7] = 1

    return [spoil, *[lambda f=f: f(x, t) for f in functions]]


@case_of_shared_data
def labels_of_losses():
    return with_labels(z.cross_entropy_error, z.softmax_cross_entropy, z.softmax_loss)


@case_of_shared_data
def labels_of_gradients():
    return with_labels(z.softmax_cross_entropy_backward, z.functions.softmax_cross_entropy_gradient)


@case_of_shared_data
def labels_of_nets():
    net, two = z.MultiLayerNet(10, [20], 10), z.TwoLayerNet(10, 20, 10)
    return with_labels(net.gradient, net.loss, two.gradient, two.loss)


@case_of_shared_data
def arg_max_of_pooling():
    layer, x = z.Pooling(2, 2), rng.standard_normal(IMAGES)
    d = layer.forward(x)
    arg_max = layer.arg_max

    def spoil():
        for bad in (10**12, -(10**12)):
            arg_max[::7] = bad
            arg_max[::7] = 1

    return [spoil, lambda: layer.backward(d)]


def with_reshaping(*functions):
    """Calls with an array whose shape and dtype another thread changes."""
    x = rng.standard_normal((300, 700))
    view = x[:]

    def change():
        for shape in ((700, 300), (210000,), (300, 700)):
            view.shape = shape
        view.dtype = np.int64
        view.dtype = np.float64

    return [change, *[lambda f=f: f(view) for f in functions]]


def shapes_and_dtypes():
    """NumPy frees a shape that is assigned to. The core may read it then, and notices; so does AddressSanitizer."""
    other = rng.standard_normal((700, 40))
    of_two = (lambda x: z.matmul(x, other)), (lambda x: z.mean_squared_error(x, x))
    return with_reshaping(z.softmax, z.sigmoid, z.relu, z.Relu().forward, *of_two)


if "ASAN_OPTIONS" not in os.environ:
    case_of_shared_data(shapes_and_dtypes)


def run(calls):
    """Each call in a thread of its own, again and again for a moment; what they may not raise is raised."""
    end, errors = perf_counter() + SECONDS, []

    def again(call):
        while perf_counter() < end and not errors:
            try:
                call()
            except MIXED:
                pass
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=again, args=[call]) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def run_with_signals():
    """A handler that goes forward, in the middle of the thread's own way back."""
    layer, x = z.Relu(), rng.standard_normal(LARGE)
    d = layer.forward(x)
    signal.signal(signal.SIGALRM, lambda *_: layer.forward(x))
    end = perf_counter() + SECONDS
    while perf_counter() < end:
        signal.setitimer(signal.ITIMER_REAL, 1e-4)
        for _ in range(10):
            layer.backward(d)
    signal.signal(signal.SIGALRM, signal.SIG_IGN)


if __name__ == "__main__":
    sys.setswitchinterval(1e-5)
    for name, make in CASES.items():
        print(name, flush=True)
        run(make())
    if hasattr(signal, "setitimer"):
        print("signals", flush=True)
        run_with_signals()
    print("done")
