"""numerical_gradient of functions that are made of layers: by a plan, and where there must be none."""

import sys
import threading
from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import zerodl_c
from zerodl_c import (
    Affine,
    BatchNormalization,
    Convolution,
    Dropout,
    Pooling,
    Relu,
    Sigmoid,
    SoftmaxWithLoss,
    Tanh,
    functions,
    numerical_gradient,
    reference,
)

MOST = 30  # evaluations of f for a plan and its proof
STEPS = {np.float64: 1e-4, np.float32: 5e-3}  # the least that are taken by default


class Net:
    """Layers that end in a loss, in the manner of the book's chapter 5."""

    def __init__(self, layers, x, t):
        self.layers, self.x, self.t = layers, x, t
        self.last = SoftmaxWithLoss()
        self.calls = 0

    def loss(self, _=None):
        self.calls += 1
        return self.last.forward(self.scores(), self.t)

    def scores(self):
        out = self.x
        for layer in self.layers:
            out = layer.forward(out)
        return out

    def params(self):
        for layer in self.layers:
            for name in ("W", "b", "gamma", "beta"):
                if hasattr(layer, name):
                    yield getattr(layer, name)


def random_net(seed):
    random = np.random.default_rng(seed)
    dtype = np.float32 if seed % 4 == 3 else np.float64
    depth, normalized, batch = 1 + seed % 5, random.random() < 0.4, int(random.integers(1, 7))
    widths = [int(random.integers(5, 12)) for _ in range(depth)] + [int(random.integers(2, 8))]
    kinds = [(Relu, Sigmoid, Tanh)[i] for i in random.integers(0, 3, depth)]
    if random.random() < 0.5:
        kinds = [kinds[0]] * depth
    layers = []
    for i, (k, n) in enumerate(pairwise(widths)):
        W, b, gamma, beta = random.normal(size=(k, n)) / k**0.5, *random.normal(size=(3, n))
        layers.append(Affine(W.astype(dtype), b.astype(dtype)))
        if i < depth - 1:
            if normalized:
                layers.append(BatchNormalization(gamma.astype(dtype), beta.astype(dtype), momentum=0.1))
            layers.append(kinds[i]())
    x = random.normal(size=(batch, widths[0])) * (random.random((batch, widths[0])) < 0.7)
    t = random.integers(0, widths[-1], batch)
    return Net(layers, x.astype(dtype), np.eye(widths[-1])[t] if random.random() < 0.5 else t)


def assert_is_the_plain_loops(got, f, x, h=None):
    """To 1e-9 of the largest entry, or to what rounding leaves of a difference of two losses."""
    expected = reference.numerical_gradient(f, x, h)
    with np.errstate(all="ignore"):
        rounding = 8 * np.finfo(x.dtype).eps * max(1, abs(np.ravel(f(x))[0])) / (h or STEPS[x.dtype.type])
    assert got.dtype == expected.dtype and got.shape == expected.shape
    assert_allclose(got, expected, rtol=0, atol=1e-9 * abs(expected).max() + rounding)


def planned(f, x, h=None, **options):
    gradient, info = numerical_gradient(f, x, h, full_output=True, **options)
    return gradient, info


@pytest.mark.parametrize("seed", range(80))
def test_every_entry_of_random_nets(seed):
    net = random_net(seed)
    for x in net.params():
        before, net.calls = x.tobytes(), 0
        got, info = planned(net.loss, x)
        assert info.way.startswith("a plan") == (x.size >= 16)
        assert info.evaluations == net.calls
        assert x.tobytes() == before
        assert_is_the_plain_loops(got, net.loss, x)


@pytest.mark.parametrize("stride, pad", [(1, 0), (2, 1)])
@pytest.mark.parametrize("seed", range(6))
def test_every_entry_of_nets_of_images(seed, stride, pad):
    random = np.random.default_rng(seed)
    normal = random.normal
    x, t = normal(size=(2, 2, 6, 7)), random.integers(0, 3, 2)
    layers = [Convolution(normal(size=(4, 2, 3, 3)), normal(size=4), stride, pad), (Relu, Tanh)[seed % 2]()]
    if seed > 3:  # every pixel is a feature
        shape = layers[0].forward(x).shape
        features = int(np.prod(shape[1:]))
        layers.append(BatchNormalization(normal(1, 0.1, features), normal(size=features), 0.1))
    if seed % 3:
        layers.append(Pooling(2, 2, 1 + seed % 2))
    if seed % 3 == 2:
        layers += [Convolution(normal(size=(3, 4, 2, 2)), normal(size=3), 1, 1), Sigmoid()]
    size = int(np.prod(Net(layers, x, t).scores().shape[1:]))
    layers += [Affine(normal(size=(size, 16)) / size**0.5, normal(size=16)), Relu()]
    layers += [Affine(normal(size=(16, 3)), normal(size=3))]
    net = Net(layers, x, t)
    for x in net.params():
        got, info = planned(net.loss, x)
        of_pixels = x.ndim == 1 and x.size > 16
        assert info.way.startswith("a plan") == (x.size >= 16 and not of_pixels), info.way
        assert_is_the_plain_loops(got, net.loss, x)


@pytest.mark.parametrize("normalized", [False, True])
def test_inputs_that_are_0_and_batch_normalization_of_single_numbers(normalized):
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 2, 6, 6))
    x[:, 0] = 0
    layers = [Convolution(random.normal(size=(2, 2, 3, 3)), np.zeros(2)), Relu(), Pooling(2, 2)]
    layers += [BatchNormalization(1.5, 0.5, momentum=0.1)] * normalized
    net = Net([*layers, Affine(random.normal(size=(8, 3)), np.zeros(3))], x, np.array([0, 1, 2]))
    for param in net.layers[0].W, net.layers[-1].W:
        got, info = planned(net.loss, param)
        assert info.way.startswith("a plan"), info.way
        assert_is_the_plain_loops(got, net.loss, param)
    assert not numerical_gradient(net.loss, net.layers[0].W)[:, 0].any()


@pytest.mark.parametrize("train_flg", [False, True])
def test_batch_normalization_by_running_statistics(train_flg):
    random = np.random.default_rng(0)
    norm = BatchNormalization(*random.normal(size=(2, 20)), 0.1, random.normal(size=20), np.ones(20))
    first, last = Affine(random.normal(size=(5, 20)), np.zeros(20)), Affine(random.normal(size=(20, 3)), np.zeros(3))
    x, end = random.normal(size=(4, 5)), SoftmaxWithLoss()

    def loss(_):
        return end.forward(last.forward(norm.forward(first.forward(x), train_flg)), [0, 1, 2, 2])

    for param in first.W, norm.gamma, last.W:
        got, info = planned(loss, param)
        assert info.way.startswith("a plan") == (param.size >= 16), info.way
        assert_is_the_plain_loops(got, loss, param)


# ---- What else goes through a plan ---------------------------------------------------------------


@pytest.fixture
def net():
    """784-50-10 in small."""
    random = np.random.default_rng(0)
    layers = [Affine(random.normal(size=(20, 8)), random.normal(size=8)), Relu()]
    layers.append(Affine(random.normal(size=(8, 4)), random.normal(size=4)))
    return Net(layers, random.normal(size=(5, 20)), np.array([0, 3, 1, 1, 2]))


@pytest.mark.parametrize("full_output", [False, True])
@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("h", [None, 1e-3, np.float64(1e-5), "auto"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_options_mean_what_they_mean_without_a_plan(net, order, full_output, h, dtype):
    for layer in net.layers[::2]:
        layer.W, layer.b = layer.W.astype(dtype), layer.b.astype(dtype)
    net.x = net.x.astype(dtype)
    W = net.layers[0].W
    got = numerical_gradient(net.loss, W, h, order=order, full_output=full_output)
    expected = numerical_gradient(net.loss, W, h, order=order, full_output=full_output, plain_loop=True)
    step = h if isinstance(h, float) else STEPS[dtype]
    tolerance = 1e-8 if dtype == np.float64 else 30 * np.finfo(dtype).eps / step
    if not full_output:
        assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
        return
    (got, info), (expected, without) = got, expected
    assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    assert_array_equal(got, numerical_gradient(net.loss, W, h, order=order))
    assert_array_equal(info.step, without.step)
    assert info.way.startswith("a plan") and without.way == "f at every point"
    assert info.evaluations < without.evaluations
    assert np.median(info.error) < 10 * np.median(without.error) + 1e-12


def test_a_plan_and_its_proof_cost_few_evaluations(net):
    W = net.layers[0].W
    numerical_gradient(net.loss, W)
    assert net.calls <= MOST
    net.calls = 0
    numerical_gradient(net.loss, W, plain_loop=True)
    assert net.calls == 2 * W.size


def made_of(call):
    """A layer that computes as `call` does."""
    return type("", (), {"forward": staticmethod(call)})()


def test_without_a_plan_f_is_not_evaluated_more(net):
    W, last = net.layers[0].W, net.last
    assert_costs(0, net, net.layers[0].b)  # few entries
    net.last = made_of(lambda x, t: 2 * last.forward(x, t))
    assert_costs(0, net, W)
    net.last, net.layers[0] = last, made_of(lambda x: x @ W)
    assert_costs(0, net, W)


def test_a_wrong_plan_costs_few_evaluations(net):
    W, relu = net.layers[0].W, Relu()
    kept = W[-1, -1]

    def forward(x):
        out = relu.forward(x)
        out *= 1 + W[-1, -1] - kept
        return out

    net.layers[1] = made_of(forward)
    assert_costs(5, net, W)


def assert_costs(more, net, x):
    net.calls = 0
    got, calls = numerical_gradient(net.loss, x), net.calls
    assert calls <= 2 * x.size + more
    assert_array_equal(got, numerical_gradient(net.loss, x, plain_loop=True))


@pytest.mark.parametrize("at", [1, 2, 5, 26, 28])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_x_is_put_back_when_f_raises(net, at, error):
    """Ctrl-C ends it at once. An error of f is told where the plain loop comes upon it, which this one does not."""
    x, state = net.layers[0].W, np.random.get_state()[1:3]
    before = x.tobytes()

    def f(_):
        loss = net.loss()
        if net.calls == at:
            raise error
        return loss

    if error is KeyboardInterrupt or at == 1:
        with pytest.raises(error):
            numerical_gradient(f, x)
        assert net.calls == at
    else:
        got, info = planned(f, x)
        assert info.way.startswith("f at every point: ValueError")
        assert_array_equal(got, planned(f, x, plain_loop=True)[0])
    assert x.tobytes() == before
    assert_array_equal(np.random.get_state()[1], state[0])
    assert sys.getprofile() is None


@pytest.mark.parametrize("order", [2, 4])
def test_layers_hold_in_the_end_what_they_hold_after_the_loop(net, order):
    kept = []
    for plain_loop in (False, True):
        norm = BatchNormalization(np.ones(8), np.zeros(8), momentum=0.7)
        first, relu, last = net.layers[0], Relu(), net.layers[-1]
        net.layers = [first, norm, relu, last]
        _, info = numerical_gradient(net.loss, first.W, order=order, full_output=True, plain_loop=plain_loop)
        assert info.way.startswith("a plan") == (not plain_loop)
        assert_allclose(norm.running_mean, first.forward(net.x).mean(axis=0), rtol=1e-3)
        kept.append([norm.running_mean, norm.running_var, norm.xn, relu.mask, last.x, net.last.y, net.last.loss])
    for got, expected in zip(*kept, strict=True):
        assert_allclose(got, expected, rtol=1e-15, atol=1e-15)


def test_running_statistics_that_remember_the_whole_loop(net):
    net.layers.insert(1, BatchNormalization(np.ones(8), np.zeros(8), momentum=0.9))
    _, info = planned(net.loss, net.layers[-1].W)
    assert info.way == "f at every point: the running statistics would not be those of the last evaluations"
    net.layers[1].momentum = 1
    _, info = planned(net.loss, net.layers[-1].W)
    assert info.way == "f at every point: running statistics never forget what they were"


def test_progress_and_what_it_raises(net):
    seen = []
    numerical_gradient(net.loss, net.layers[0].W, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (320, 320) and seen == sorted(seen)

    def stop(done, total):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        numerical_gradient(net.loss, net.layers[0].W, progress=stop)


def test_an_f_that_changes_x_is_refused_as_ever(net):
    x = net.layers[0].W
    before = x.tobytes()

    def f(W):
        W[0, 0] += 1
        return net.loss()

    with pytest.raises(ValueError, match="f must not change its argument"):
        numerical_gradient(f, x)
    assert x.tobytes() == before


def test_a_replaced_function_has_no_plan(net, monkeypatch):
    affine = functions.affine
    monkeypatch.setattr(functions, "affine", lambda *args: affine(*args).round(6))
    got, info = planned(net.loss, net.layers[0].W)
    assert info.way.startswith("f at every point: something of the engine has been replaced")
    assert_array_equal(got, numerical_gradient(net.loss, net.layers[0].W, plain_loop=True))


def test_a_profiler_is_left_alone(net):
    seen = []

    def profiler(frame, event, arg):
        seen.append(event)

    sys.setprofile(profiler)
    try:
        _, info = planned(net.loss, net.layers[0].W)
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert info.way == "f at every point: a profiler watches this thread"


def test_several_threads_at_once(net):
    nets = [random_net(seed) for seed in (0, 1, 2, 4)]
    results = {}

    def work(net):
        results[net] = [numerical_gradient(net.loss, x) for x in net.params()]

    threads = [threading.Thread(target=work, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for net in nets:
        for x, got in zip(net.params(), results[net], strict=True):
            assert_array_equal(got, numerical_gradient(net.loss, x))


def test_the_nets_of_the_package_that_c_has_no_other_way_for():
    np.random.seed(0)
    net = zerodl_c.MultiLayerNetExtend(6, [7, 8], 3, use_batchnorm=True, activation="sigmoid")
    x, t = np.random.randn(5, 6), np.array([0, 1, 2, 2, 1])
    got = net.numerical_gradient(x, t)
    for key, param in net.params.items():
        plain = reference.numerical_gradient(lambda _: net.loss(x, t, train_flg=True), param)
        assert_allclose(got[key], plain, rtol=0, atol=1e-9, err_msg=key)


# ---- Functions that a plan must not be wrong about -----------------------------------------------


class Case:
    """What a hostile function is made of: a new net of layers for each, with the same numbers."""

    def __init__(self):
        random = self.random = np.random.default_rng(5)
        self.x, self.t = random.normal(size=(4, 6)), np.array([0, 2, 1, 2])
        self.W1, self.b1 = random.normal(size=(6, 6)), random.normal(size=6)
        self.W2, self.b2 = random.normal(size=(6, 3)), random.normal(size=3)
        self.first, self.relu = Affine(self.W1, self.b1), Relu()
        self.second, self.last = Affine(self.W2, self.b2), SoftmaxWithLoss()
        self.h, self.w = 1e-4, self.W1[0, 0]
        self.count = 0
        self.cache = {}

    def hidden(self):
        return self.relu.forward(self.first.forward(self.x))

    def loss(self):
        return self.last.forward(self.second.forward(self.hidden()), self.t)


def of_W1(value):
    """f is value(case), and x is W1."""
    return lambda case: (lambda _: value(case), case.W1)


HOSTILE = {  # f and x of a case
    "decay": of_W1(lambda c: c.loss() + 0.05 * np.sum(c.W1**2)),
    "faint decay": of_W1(lambda c: c.loss() + 1e-9 * np.sum(c.W1**2)),
    "decay by our function": of_W1(lambda c: c.loss() + functions.sum_squared_error(c.W1, np.zeros((6, 6)))),
    "decay that is 0 at x": of_W1(lambda c: c.loss() + np.sum((c.W1 - Case().W1) ** 3)),
    "faint decay that is 0 at x": of_W1(lambda c: c.loss() + 1e-8 * np.sum(c.W1 - Case().W1)),
    "decay of two entries that is 0 at x": of_W1(lambda c: c.loss() + abs((c.W1 - Case().W1)[0, :2].sum())),
    "dot": of_W1(lambda c: functions.softmax_loss(np.dot(c.x, c.W1) + c.b1, c.t)),
    "dot beside the layers": of_W1(lambda c: c.last.forward(c.second.forward(c.hidden() + np.dot(c.x, c.W1)), c.t)),
    "einsum": of_W1(lambda c: functions.softmax_loss(np.einsum("ij,jk->ik", c.x, c.W1), c.t)),
    "a view": of_W1(lambda c: functions.softmax_loss(functions.affine(c.x, c.W1[:], c.b1), c.t)),
    "a copy": of_W1(lambda c: functions.softmax_loss(functions.affine(c.x, c.W1.copy(), c.b1), c.t)),
    "a clipped copy": of_W1(lambda c: functions.softmax_loss(functions.affine(c.x, np.clip(c.W1, -1, 1), c.b1), c.t)),
    "x twice": of_W1(lambda c: c.last.forward(c.first.forward(c.relu.forward(c.first.forward(c.x))), c.t)),
    "x transposed": of_W1(lambda c: functions.softmax_loss(functions.affine(c.x, c.W1.T, c.b1), c.t)),
    "x and x transposed": of_W1(lambda c: c.last.forward(Affine(c.W1.T, c.b1).forward(c.hidden()), c.t)),
    "inputs that depend on x": of_W1(lambda c: c.last.forward(c.first.forward(c.x * c.W1.sum()), c.t)),
    "inputs that hardly do": of_W1(lambda c: c.last.forward(c.first.forward(c.x + 1e-8 * c.W1[3, 3]), c.t)),
    "a later layer that depends on x": of_W1(
        lambda c: c.last.forward(Affine(c.W2 + c.W1[:, :3], c.b2).forward(c.hidden()), c.t)
    ),
    "branch": of_W1(lambda c: c.loss() * (2 if c.W1[0, 0] > c.w else 1)),
    "branch on one side": of_W1(lambda c: c.loss() + (c.W1[0, 0] < c.w - c.h / 2) * 1e-5),
    "branch on two": of_W1(lambda c: c.loss() + (c.W1[0, 0] - Case().W1[0, 0] > c.W1[0, 1] - Case().W1[0, 1]) * 1e-5),
    "branch on the sum": of_W1(lambda c: c.loss() + (c.W1.sum() > Case().W1.sum() + c.h / 2) * 1e-5),
    "dropout that does not learn": of_W1(
        lambda c: c.last.forward(c.second.forward(Dropout(0.3).forward(c.hidden(), train_flg=False)), c.t)
    ),
    "dropout": of_W1(lambda c: c.last.forward(c.second.forward(Dropout(0.3).forward(c.hidden())), c.t)),
    "dropout in NumPy": of_W1(lambda c: c.last.forward(c.second.forward(c.hidden() * (np.random.rand(6) > 0.3)), c.t)),
    "random numbers for nothing": of_W1(lambda c: (np.random.rand(), c.loss())[1]),
    "noise": of_W1(lambda c: c.loss() + 1e-3 * c.random.normal()),
    "loss + 0": of_W1(lambda c: c.loss() + 0),
    "2 * loss": of_W1(lambda c: 2 * c.loss()),
    "float(loss)": of_W1(lambda c: float(c.loss())),
    "an array of the loss": of_W1(lambda c: np.array([c.loss()])),
    "minus loss": of_W1(lambda c: -c.loss()),
    "the larger of two losses": of_W1(lambda c: max(c.loss(), c.last.forward(c.second.forward(c.hidden() * 1.1), c.t))),
    "two losses": of_W1(lambda c: c.loss() + c.last.forward(c.first.forward(-c.x), c.t)),
    "a loss of its outputs": of_W1(lambda c: c.loss() + np.sum(c.relu.forward(c.first.forward(c.x)) ** 2)),
    "connection that skips a layer": of_W1(lambda c: c.last.forward(c.second.forward(c.hidden() + c.x), c.t)),
    "constant": of_W1(lambda c: functions.softmax_loss(c.x, c.t)),
    "nothing of ours": of_W1(lambda c: np.sum(np.sin(c.W1))),
    "x into the layers": lambda c: (lambda W: c.last.forward(c.second.forward(W), [0, 2, 1, 2, 1, 0]), c.W1),
    "its argument": lambda c: (lambda W: c.last.forward(Affine(W, c.b1).forward(c.x), c.t), c.W1),
    "softmax and loss apart": lambda c: (
        lambda W: functions.cross_entropy_error(functions.softmax(functions.affine(c.x, W, c.b1)), c.t),
        c.W1,
    ),
    "softmax of the loss": lambda c: (
        lambda W: functions.softmax_loss(functions.softmax(functions.affine(c.x, W, c.b1)), c.t),
        c.W1,
    ),
}


def hostile(make):
    HOSTILE[make.__name__] = make
    return make


@hostile
def a_cache(case):
    def f(_):
        if "loss" not in case.cache:
            case.cache["loss"] = case.loss()
        return case.cache["loss"]

    return f, case.W1


@hostile
def a_cache_by_values(case):
    def f(W):
        key = W.tobytes()
        if key not in case.cache:
            case.cache[key] = case.loss()
        return case.cache[key]

    return f, case.W1


@hostile
def a_counter(case):
    def f(_):
        case.count += 1
        return case.loss() + case.count * 1e-3

    return f, case.W1


@hostile
def changes_x_and_back(case):
    def f(W):
        W *= 2
        loss = case.loss()
        W /= 2
        return loss

    return f, case.W1


@hostile
def changes_an_output_in_place(case):
    def f(_):
        hidden = case.hidden()
        hidden *= 1.5
        return case.last.forward(case.second.forward(hidden), case.t)

    return f, case.W1


@hostile
def changes_an_output_in_place_by_x(case):
    def f(_):
        hidden = case.hidden()
        hidden += case.W1[0, 0] - Case().W1[0, 0]
        return case.last.forward(case.second.forward(hidden), case.t)

    return f, case.W1


@hostile
def refills_its_batch(case):
    source = case.x.copy()

    def f(_):
        case.x[...] = source * (1 + (case.W1[2, 2] - Case().W1[2, 2]))
        return case.loss()

    return f, case.W1


@hostile
def batch_that_moves_on(case):
    def f(_):
        case.x += 1e-3
        return case.loss() + 1

    return f, case.W1


@hostile
def shared_memory(case):
    everything = np.concatenate([case.W1.ravel(), case.b1])
    case.first = Affine(everything[:36].reshape(6, 6), everything[36:])
    return lambda _: case.loss(), everything


@hostile
def a_layer_that_shares_memory(case):
    case.second = Affine(case.W1[:, :3], case.b2)
    return lambda _: case.loss(), case.W1


@hostile
def an_own_layer(case):
    class Twice(Affine):
        def forward(self, x):
            return 2 * super().forward(x)

    case.first = Twice(case.W1, case.b1)
    return lambda _: case.loss(), case.W1


@hostile
def an_own_layer_that_changes_its_output(case):
    class Twice(Affine):
        def forward(self, x):
            out = super().forward(x)
            out *= 2
            return out

    case.first = Twice(case.W1, case.b1)
    return lambda _: case.loss(), case.W1


@hostile
def a_replaced_forward(case):
    case.relu.forward = lambda x: np.maximum(x, 0.1)
    return lambda _: case.loss(), case.W1


@hostile
def another_parameter_each_time(case):
    def f(W):
        case.first.W = W * 1
        return case.loss()

    return f, case.W1


@hostile
def a_numerical_gradient_inside(case):
    def f(_):
        grad = numerical_gradient(lambda _: case.loss(), case.W2)
        return case.loss() + np.sum(grad**2)

    return f, case.W1


@hostile
def a_numerical_gradient_of_x_inside(case):
    def f(W):
        return np.sum(numerical_gradient(lambda _: case.loss(), W) ** 2)

    return f, case.W1


@hostile
def in_another_thread(case):
    def f(_):
        result = []
        thread = threading.Thread(target=lambda: result.append(case.loss()))
        thread.start()
        thread.join()
        return result[0]

    return f, case.W1


@hostile
def half_of_it_in_another_thread(case):
    def f(_):
        result = []
        thread = threading.Thread(target=lambda: result.append(case.hidden()))
        thread.start()
        thread.join()
        return case.last.forward(case.second.forward(result[0]), case.t)

    return f, case.W1


@hostile
def nan_in_the_inputs(case):
    case.x[1, 2] = np.nan
    return lambda _: case.loss(), case.W1


@hostile
def infinity_in_the_inputs(case):
    case.x[1, 2] = np.inf
    return lambda _: case.loss(), case.W1


@hostile
def an_infinite_weight(case):
    case.W2[0, 0] = np.inf
    return lambda _: case.loss(), case.W1


@hostile
def nan_beyond_x(case):
    return lambda _: case.loss() if case.W1[0, 0] < case.w + 5e-5 else np.nan, case.W1


@hostile
def kinks_within_the_step(case):
    case.x[...], case.W1[...], case.b1[...] = 1, np.where(np.eye(6), 0.5e-4, -0.5e-4), 0
    return lambda _: case.loss(), case.W1


@hostile
def scores_that_are_far_apart(case):
    case.W2 *= 1e4
    return lambda _: case.loss(), case.W1


@hostile
def one_hot_rows_that_are_not(case):
    case.t = np.full((4, 3), 1 / 3)
    return lambda _: case.loss(), case.W1


@hostile
def weights_that_do_not_lie_in_rows(case):
    case.W1 = np.asfortranarray(case.W1)
    case.first = Affine(case.W1, case.b1)
    return lambda _: case.loss(), case.W1


@hostile
def every_second_weight(case):
    case.W1 = np.repeat(case.W1, 2, axis=1)[:, ::2]
    case.first = Affine(case.W1, case.b1)
    return lambda _: case.loss(), case.W1


@hostile
def one_bias_for_all(case):
    case.first.b = 0.5
    return lambda _: case.loss(), case.W1


@hostile
def a_bias_for_each_sample(case):
    case.second.b = np.arange(12.0).reshape(4, 3)
    return lambda _: case.loss(), case.W1


@pytest.mark.parametrize("h", [None, 1e-2, 1e-7])
@pytest.mark.parametrize("name", HOSTILE)
def test_is_never_quietly_wrong(name, h):
    with np.errstate(all="ignore"):
        case = Case()
        case.h = h or case.h
        f, x = HOSTILE[name](case)
        before = x.tobytes()
        np.random.seed(3)
        got, info = planned(f, x, h)
        after = np.random.get_state()[1:3]
        assert x.tobytes() == before
        case = Case()
        case.h = h or case.h
        f, x = HOSTILE[name](case)
        np.random.seed(3)
        expected = reference.numerical_gradient(f, x, h, full_output=True)[0]
        if info.way.startswith("a plan"):
            assert_is_the_plain_loops(got, f, x, h)
        else:
            assert_array_equal(got, expected)
        assert_array_equal(after[0], np.random.get_state()[1])
        assert after[1] == np.random.get_state()[2]


@pytest.mark.parametrize(
    "hidden",
    [
        lambda a, b: (a > b) * 1e-6,
        lambda a, b: abs(a + b) * 1e-2,
        lambda a, b: abs(a - b) * 1e-2,
        lambda a, b: 1e3 * a * b,
        lambda a, b: 1e2 * a * a + 0 * b,
        lambda a, b: max(a, 0) * 1e-2 + 0 * b,
    ],
    ids=["order", "sum", "difference", "product", "square", "one side"],
)
def test_what_depends_on_two_entries_is_seen(net, hidden):
    W = net.layers[0].W
    entries, kept = W.reshape(-1), W.flatten()
    for i, j in np.random.default_rng(0).integers(0, W.size, (40, 2)):
        if i == j:
            continue
        _, info = planned(lambda _, i=i, j=j: net.loss() + hidden(entries[i] - kept[i], entries[j] - kept[j]), W)
        assert info.way.startswith("f at every point")


def with_a_large_feature(seed, W2, f_of):
    """A feature of 1e5: where all entries move, probabilities are 0 or 1, and the loss shows little else."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(1, 20))
    x[:, 0] = 1e5
    W2 = W2(random)
    W = random.normal(size=(20, len(W2))) * 0.1
    W[0] /= 1e5
    f = f_of(x, Affine(W, np.zeros(len(W2))), Affine(W2, np.zeros(2)), SoftmaxWithLoss())
    assert_is_the_plain_loops(planned(f, W)[0], f, W)


@pytest.mark.parametrize("seed", range(12))
def test_capped_units_that_show_at_a_single_entry(seed):
    def f_of(x, first, second, last):
        def f(_):
            out = Relu().forward(first.forward(x))
            np.minimum(out, 6, out=out)
            return last.forward(second.forward(out), np.zeros(1, int))

        return f

    with_a_large_feature(seed, lambda random: random.normal(size=(40, 2)) * 10, f_of)


@pytest.mark.parametrize("seed", range(12))
def test_a_clipped_loss_that_shows_at_a_single_entry(seed):
    def W2(random):
        """Two units make the loss larger, and all together less."""
        weights = abs(random.normal(size=(20, 2))) * [3, -3]
        weights[:2] *= -1
        return weights

    def f_of(x, first, second, last):
        layers = first, Relu(), second

        def f(_):
            out = x
            for layer in layers:
                out = layer.forward(out)
            return min(last.forward(out, np.zeros(1, int)), 5.0)

        return f

    with_a_large_feature(seed, W2, f_of)
