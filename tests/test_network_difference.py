"""Central differences of whole nets, against those of the reference's functions one parameter at a time."""

import signal
from itertools import pairwise

import numpy as np
import pytest
from arrays import DTYPES, LAYOUTS, normal
from numpy.testing import assert_allclose, assert_array_equal

import zerodl_c
from zerodl_c import _network, reference
from zerodl_c._bridge import lib

ACTIVATIONS = {
    "identity": (lib.ZDL_IDENTITY, reference.identity_function),
    "sigmoid": (lib.ZDL_SIGMOID, reference.sigmoid),
    "relu": (lib.ZDL_RELU, reference.relu),
    "tanh": (lib.ZDL_TANH, reference.tanh),
}
H = 1e-4


def net_of(widths, seed=0):
    """W1, b1, W2, ... of seeded normal numbers."""
    params = {}
    for i, (k, n) in enumerate(pairwise(widths), 1):
        params[f"W{i}"] = normal((k, n), np.float64, seed + i) / k**0.5
        params[f"b{i}"] = normal((n,), np.float64, seed + 50 + i) / 10
    return params


def inputs_of(batch, width):
    """Half of the entries are 0, and one column is."""
    x = normal((batch, width), np.float64, 99)
    x[normal(x.shape, np.float64, 98) < 0] = 0
    x[:, width // 2] = 0
    return x


def targets_of(batch, classes, squared):
    return normal((batch, classes), np.float64, 97) if squared else np.arange(batch) * 7 % classes


def loss_of(params, x, t, hidden, squared=False, decay=0.0):
    z, depth = x, len(params) // 2
    for i in range(1, depth + 1):
        a = reference.affine(z, params[f"W{i}"], params[f"b{i}"])
        z = ACTIVATIONS[hidden][1](a)
    of_data = reference.sum_squared_error(a, t) if squared else reference.cross_entropy_error(reference.softmax(a), t)
    return of_data + sum(decay / 2 * np.sum(params[f"W{i}"] ** 2) for i in range(1, depth + 1))


def differences_of(loss, params, h=H):
    return {key: reference.numerical_gradient(lambda _: loss(), param, h) for key, param in params.items()}


def c_differences(params, x, t, hidden, **options):
    return _network.numerical_gradient(params, x, t, ACTIVATIONS[hidden][0], h=H, **options)


def assert_agree(got, expected, loss=1.0):
    """To 1e-9, or to what rounding leaves of the plain difference of two losses."""
    assert [*got] == [*expected]
    tolerance = max(1e-9, 4 * np.finfo(float).eps * abs(loss) / H)
    for key in got:
        assert got[key].shape == expected[key].shape
        assert_allclose(got[key], expected[key], rtol=1e-9, atol=tolerance, err_msg=key)


# --- The kernel -----------------------------------------------------------------------------------

NETS = [(5, 3), (4, 1), (6, 9, 4), (4, 17, 33), (5, 7, 6, 3), (3, 4, 9, 5, 2)]


@pytest.mark.parametrize("hidden", ACTIVATIONS)
@pytest.mark.parametrize("squared", [False, True], ids=["cross-entropy", "squares"])
@pytest.mark.parametrize("decay", [0.0, 0.3])
@pytest.mark.parametrize("widths", NETS, ids=str)
def test_every_entry_is_the_plain_central_difference(widths, hidden, squared, decay, isa):
    params, x, t = net_of(widths), inputs_of(7, widths[0]), targets_of(7, widths[-1], squared)
    options = {"squared": squared, "decay": decay}
    got = c_differences(params, x, t, hidden, **options)
    expected = differences_of(lambda: loss_of(params, x, t, hidden, **options), params)
    assert_agree(got, expected, loss_of(params, x, t, hidden, **options))


@pytest.mark.parametrize("batch", [1, 2, 255, 256, 257, 600])
@pytest.mark.parametrize("widths", [(3, 4), (2, 5, 3), (2, 4, 3, 3)], ids=str)
def test_batches_around_what_is_computed_at_a_time(widths, batch):
    params, x, t = net_of(widths), normal((batch, widths[0]), np.float64), targets_of(batch, widths[-1], False)
    got = c_differences(params, x, t, "sigmoid")
    assert_agree(got, differences_of(lambda: loss_of(params, x, t, "sigmoid"), params))


@pytest.mark.parametrize("widths", [(1, 300, 2), (1, 2, 300, 2)], ids=str)
def test_more_units_than_are_computed_at_a_time(widths):
    params, x, t = net_of(widths), np.ones((2, 1)), np.array([0, 1])
    got = c_differences(params, x, t, "tanh")
    assert_agree(got, differences_of(lambda: loss_of(params, x, t, "tanh"), params))


@pytest.mark.parametrize("widths", [(5, 4), (5, 8, 4), (5, 8, 7, 4)], ids=str)
def test_what_no_sample_feels_has_a_gradient_of_nothing(widths):
    x = inputs_of(9, 5)
    grads = c_differences(net_of(widths), x, targets_of(9, 4, False), "relu")
    assert not grads["W1"][2].any()  # its input is 0 throughout
    assert not c_differences(net_of(widths), 0 * x, targets_of(9, 4, False), "relu")["W1"].any()


@pytest.mark.parametrize("x", [1.0, -1.0])  # the step up crosses it, or the step down
@pytest.mark.parametrize("layers", [2, 3])
def test_a_step_that_crosses_the_kink_of_relu(layers, x):
    params, x, t = {"W1": np.zeros((1, 2)), "b1": np.zeros(2)}, np.full((1, 1), x), np.array([0])
    for i in range(2, layers + 1):
        params |= {f"W{i}": np.eye(2), f"b{i}": np.zeros(2)}
    got = c_differences(params, x, t, "relu")
    assert_agree(got, differences_of(lambda: loss_of(params, x, t, "relu"), params))
    assert_allclose(got["b1"], [-0.25, 0.25], rtol=1e-4)  # the mean of 0 and -1/2, and of 0 and 1/2


@pytest.mark.parametrize("scale", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("widths", [(4, 3), (4, 6, 3), (4, 6, 5, 3)], ids=str)
def test_scores_that_are_far_apart(widths, scale):
    """Beyond the range of exp, and with steps that change them by more than it."""
    params, x, t = net_of(widths), scale * inputs_of(5, 4), targets_of(5, 3, False)
    got = c_differences(params, x, t, "identity")
    expected = differences_of(lambda: loss_of(params, x, t, "identity"), params)
    for key in got:
        assert_allclose(got[key], expected[key], rtol=1e-8, atol=1e-8 * max(1, scale / 1e4))


@pytest.mark.parametrize("place", ["x", "W1", "b1", "W2", "b2"])
@pytest.mark.parametrize("squared", [False, True], ids=["cross-entropy", "squares"])
def test_a_loss_that_is_nan_has_no_gradient(place, squared):
    params, x, t = net_of((3, 4, 2)), inputs_of(5, 3), targets_of(5, 2, squared)
    {"x": x, **params}[place].flat[0] = np.nan
    assert np.isnan(loss_of(params, x, t, "relu", squared))
    for grad in c_differences(params, x, t, "relu", squared=squared).values():
        assert np.isnan(grad).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("hidden", ["sigmoid", "tanh"])
def test_infinite_inputs_leave_the_rest_as_it_is(hidden, value):
    params, x, t = net_of((3, 4, 2)), inputs_of(5, 3), targets_of(5, 2, False)
    x[0, 0] = value
    assert_agree(c_differences(params, x, t, hidden), differences_of(lambda: loss_of(params, x, t, hidden), params))


@pytest.mark.parametrize("widths", [(40, 30, 10), (40, 20, 30, 10)], ids=str)
def test_the_same_to_the_bit_whatever_the_threads_and_the_pieces(widths, restore_threads, monkeypatch):
    params, x, t = net_of(widths), inputs_of(60, 40), targets_of(60, 10, False)
    zerodl_c.set_num_threads(1)
    expected = c_differences(params, x, t, "sigmoid")
    for threads in (2, 3, 7):
        zerodl_c.set_num_threads(threads)
        for turn in (1e-9, 1.0):
            monkeypatch.setattr(_network, "_TURN", turn)
            got = c_differences(params, x, t, "sigmoid")
            for key in got:
                assert_array_equal(got[key], expected[key])


def test_only_the_inputs_asked_for_are_written():
    params, x, t = net_of((3, 4, 2)), inputs_of(5, 3), targets_of(5, 2, False)
    arrays, whole = [*params.values()], c_differences(params, x, t, "tanh")
    for begin in range(7):
        for end in range(begin, 8):
            grads = [np.full(array.shape, 7.0) for array in arrays]
            ids = [*map(id, grads)], id(x), id(t), [*map(id, arrays)], 2, lib.ZDL_TANH, 0.0, H
            assert lib.np_network_numerical_gradient(*ids, begin, end) == lib.NP_OK
            inputs = [*grads[0], grads[1], *grads[2], grads[3]]
            expected = [*whole["W1"], whole["b1"], *whole["W2"], whole["b2"]]
            for i, (got, row) in enumerate(zip(inputs, expected, strict=True)):
                assert_array_equal(got, row if begin <= i < end else 7)


# --- What Python hands over -----------------------------------------------------------------------


def two_nets(*sizes):
    np.random.seed(1)
    net, twin = zerodl_c.TwoLayerNet(*sizes, weight_init_std=0.3), reference.TwoLayerNet(*sizes)
    twin.params = net.params
    return net, twin


def test_two_layer_net_is_the_references():
    net, twin = two_nets(6, 5, 4)
    x = inputs_of(8, 6)
    for t in (targets_of(8, 4, False), np.eye(4)[np.arange(8) % 4], np.array([3, 1] * 4, np.uint8)):
        for h in (H, 1e-3):
            assert_agree(net.numerical_gradient(x, t, h), twin.numerical_gradient(x, t, h))
    assert_agree(net.numerical_gradient(x[0], 2), twin.numerical_gradient(x[0], 2))
    assert_agree(net.numerical_gradient(x.tolist(), t.tolist()), twin.numerical_gradient(x, t))
    for layout in ("fortran", "backwards", "stepped", "misaligned", "byte-swapped"):
        assert_agree(net.numerical_gradient(LAYOUTS[layout](x), t), twin.numerical_gradient(x, t))


def test_two_thousand_entries_of_the_books_net():
    """And all entries against backpropagation, on 100 images of which four pixels in five are black."""
    net, twin = two_nets(784, 50, 10)
    rng = np.random.default_rng(0)
    x, t = rng.uniform(0, 1, (100, 784)) * (rng.uniform(0, 1, (100, 784)) < 0.2), rng.integers(0, 10, 100)
    got, analytic = net.numerical_gradient(x, t), net.gradient(x, t)
    for key, param in net.params.items():
        assert_allclose(got[key], analytic[key], rtol=0, atol=1e-6)
        for i in rng.choice(param.size, min(param.size, 1000), replace=False):
            kept = param.flat[i]
            param.flat[i] = kept + H
            above = twin.loss(x, t)
            param.flat[i] = kept - H
            below = twin.loss(x, t)
            param.flat[i] = kept
            assert abs((above - below) / (2 * H) - got[key].flat[i]) < 1e-9


def test_a_bias_may_be_a_row_but_not_shared():
    net, twin = two_nets(6, 5, 4)
    net.params["b1"] = net.params["b1"][None]
    x, t = inputs_of(8, 6), targets_of(8, 4, False)
    assert_agree(net.numerical_gradient(x, t), twin.numerical_gradient(x, t))
    net.params["b1"] = np.zeros(1)
    with pytest.raises(ValueError, match="b1 must have an entry for each unit"):
        net.numerical_gradient(x, t)


@pytest.mark.parametrize("dtype", [np.float16, *DTYPES])
def test_narrow_nets_are_computed_in_float64(engine, dtype):
    net, wide = engine.TwoLayerNet(4, 3, 2, dtype=dtype), engine.TwoLayerNet(4, 3, 2)
    wide.params = {key: param.astype(np.float64) for key, param in net.params.items()}
    x, t = inputs_of(5, 4).astype(dtype), targets_of(5, 2, False)
    expected = wide.numerical_gradient(x.astype(np.float64), t)
    for key, grad in net.numerical_gradient(x, t).items():
        assert grad.dtype == dtype
        assert_array_equal(grad, expected[key].astype(dtype))


def test_the_parameters_stay_as_they_are():
    net, _ = two_nets(6, 5, 4)
    before = {key: param.tobytes() for key, param in net.params.items()}
    net.numerical_gradient(inputs_of(8, 6), targets_of(8, 4, False))
    assert {key: param.tobytes() for key, param in net.params.items()} == before


def test_a_net_with_a_loss_of_its_own_is_differentiated_as_it_is():
    class Decaying(zerodl_c.TwoLayerNet):
        def loss(self, x, t):
            return super().loss(x, t) + np.sum(self.params["W1"] ** 2)

    class Sure(zerodl_c.TwoLayerNet):
        def predict(self, x):
            return super().predict(x) ** 2

        def loss(self, x, t):
            return reference.cross_entropy_error(self.predict(x), t)

    x, t = inputs_of(5, 3), targets_of(5, 2, False)
    for kind in (Decaying, Sure):
        net = kind(3, 4, 2)
        assert_agree(net.numerical_gradient(x, t), differences_of(lambda net=net: net.loss(x, t), net.params))


@pytest.mark.parametrize("h", [0, -1e-4, np.inf, np.nan])
def test_a_step_must_be_positive(engine, h):
    net = engine.TwoLayerNet(3, 4, 2)
    with pytest.raises(ValueError, match="h must be positive"):
        net.numerical_gradient(inputs_of(5, 3), targets_of(5, 2, False), h)


@pytest.mark.parametrize("value", [1e14, np.inf])
def test_a_given_step_that_is_lost_is_refused(engine, value):
    net = engine.TwoLayerNet(3, 4, 2)
    net.params["b1"][1] = value
    with pytest.raises(ValueError, match="is lost in"):
        net.numerical_gradient(inputs_of(5, 3), targets_of(5, 2, False), 1e-4)


@pytest.mark.parametrize("value", [1e13, -1e13, 1e160, 1e300, -1e300, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("key", ["W1", "b1", "W2", "b2"])
@pytest.mark.parametrize("kind", ["TwoLayerNet", "relu", "sigmoid"])
def test_an_extreme_parameter_gives_what_the_reference_gives(kind, key, value):
    x, t = inputs_of(5, 3), targets_of(5, 2, False)
    for place in (0, -1):
        grads = []
        for engine in (zerodl_c, reference):
            np.random.seed(0)
            net = engine.TwoLayerNet(3, 4, 2, 1) if kind == "TwoLayerNet" else engine.MultiLayerNet(3, [4], 2, kind)
            net.params[key].flat[place] = value
            with np.errstate(all="ignore"):
                grads.append(net.numerical_gradient(x, t))
        for got, expected in zip(*(grad.values() for grad in grads), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-8)


def test_what_does_not_fit_is_refused(engine):
    net, x, t = engine.TwoLayerNet(3, 4, 2), inputs_of(5, 3), targets_of(5, 2, False)
    with pytest.raises(ValueError):
        net.numerical_gradient(x[:, :2], t)
    with pytest.raises(ValueError):
        net.numerical_gradient(x, t[:4])
    with pytest.raises(IndexError):
        net.numerical_gradient(x, t + 1)
    with pytest.raises(TypeError):
        net.numerical_gradient(x, t, "small")


def test_ctrl_c_is_heard_between_turns(monkeypatch):
    """Of which the first is a short one: how long others may be depends on it."""
    turns = []

    def turn(*arguments):
        turns.append(arguments[-2:])
        status = lib.np_network_numerical_gradient(*arguments)
        signal.raise_signal(signal.SIGINT)
        return status

    monkeypatch.setattr(_network, "_NUMERICAL_GRADIENT", turn)
    with pytest.raises(KeyboardInterrupt):
        c_differences(net_of((300, 5, 3)), inputs_of(9, 300), targets_of(9, 3, False), "sigmoid")
    assert turns == [(0, zerodl_c.get_num_threads())]


# --- Parameters that share memory ------------------------------------------------------------------

SHARING = {
    "one array": lambda p: {**p, "W2": p["W1"]},
    "transposed": lambda p: {**p, "W2": p["W1"].T},
    "a row": lambda p: {**p, "b1": p["W1"][0]},
    "biases": lambda p: {**p, "b2": p["b1"]},
    "one vector": lambda p: (
        dict(zip(p, np.split(np.arange(40.0) / 40, [16, 20, 36]), strict=True))
        | {"W1": (v := np.arange(40.0) / 40)[:16].reshape(4, 4), "W2": v[8:24].reshape(4, 4)}
    ),
}


@pytest.mark.parametrize("name", SHARING)
def test_parameters_that_share_memory_change_together(name):
    x, t = normal((6, 4), np.float64), np.eye(4)[[0, 1, 2, 3, 0, 1]]
    np.random.seed(0)
    net, twin = (engine.TwoLayerNet(4, 4, 4, 1.0) for engine in (zerodl_c, reference))
    params = {key: param.reshape(-1) if key[0] == "b" else param for key, param in net.params.items()}
    net.params = twin.params = SHARING[name](params)
    got, expected = net.numerical_gradient(x, t), twin.numerical_gradient(x, t)
    for key, grad in got.items():
        np.testing.assert_allclose(grad, expected[key], atol=1e-9, err_msg=key)
