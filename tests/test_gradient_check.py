"""gradient_check: sound gradients pass, and each fault is found, measured and named."""

import pickle
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import MethodType

import numpy as np
import pytest

import zerodl_c
from zerodl_c import gradient_check, reference

pytestmark = pytest.mark.filterwarnings("error")

ARGUMENTS = np.random.default_rng(0).random((4, 6)), np.array([0, 1, 2, 0])


def make(engine, dtype=np.float64, cls=None):
    np.random.seed(0)
    return (cls or engine.TwoLayerNet)(6, 5, 3, 0.5, dtype=dtype)


def faulty(engine, change):
    """A net whose gradients are changed by `change`, in place, before they are given."""
    net = make(engine)
    gradient = net.gradient

    def wrong(x, t):
        grads = gradient(x, t)
        change(grads)
        return grads

    net.gradient = wrong
    return net


def cubes(x):
    return np.sum(x**3)


def cubes_gradient(x):
    return 3 * x**2


def reason(*arguments, **options):
    """Why a function of an x of any shape is not well: there must be a reason, and the check must be false."""
    check = gradient_check(*arguments, **options)
    found = check.parameters["x"]
    assert not check and not found.ok
    assert found.reason is not None
    assert found.reason in str(check)
    return found.reason


# ---- What is sound ----


def test_both_engines_have_one_function():
    assert zerodl_c.gradient_check is reference.gradient_check


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_sound_net_is_well(engine, dtype):
    net = make(engine, dtype)
    check = gradient_check(net, *ARGUMENTS)
    assert check
    assert list(check.parameters) == ["W1", "b1", "W2", "b2"]
    for name, found in check.parameters.items():
        assert (found.name, found.size, found.checked) == (name, net.params[name].size, net.params[name].size)
        assert (found.ok, found.within, found.share, found.reason, found.ratio) == (True, found.size, 1.0, None, None)
        assert found.worst.error <= check.rtol
    assert check.value == pytest.approx(float(net.loss(*ARGUMENTS)))
    assert check.spread == 0


def test_the_figures_are_the_central_differences_and_the_gradient(engine):
    net = make(engine)
    numeric, analytic = net.numerical_gradient(*ARGUMENTS), net.gradient(*ARGUMENTS)
    check = gradient_check(net, *ARGUMENTS)
    for name, found in check.parameters.items():
        worst = found.worst
        assert worst.numeric == pytest.approx(numeric[name][worst.index], rel=0, abs=1e-11)
        assert worst.analytic == analytic[name][worst.index]
        largest = max(abs(worst.numeric), abs(worst.analytic), check.floor)
        assert worst.error == abs(worst.numeric - worst.analytic) / largest
        np.testing.assert_allclose(worst.slopes, worst.numeric, rtol=1e-2)


def test_the_worst_entry_is_the_worst(engine):
    def spoil(grads):
        grads["W1"][1, 2] *= 1.5
        grads["W1"][3, 4] *= 3

    found = gradient_check(faulty(engine, spoil), *ARGUMENTS).parameters["W1"]
    assert (found.worst.index, found.within, found.checked) == ((3, 4), 28, 30)
    assert found.worst.error == pytest.approx(2 / 3, rel=1e-5)
    assert (found.ok, found.reason) == (False, None)  # no one knows why
    assert found.share == 28 / 30


def test_only_the_faulty_parameter_is_blamed(engine):
    check = gradient_check(faulty(engine, lambda grads: grads.update(b2=grads["b2"] + 1)), *ARGUMENTS)
    assert not check
    assert [name for name, found in check.parameters.items() if not found.ok] == ["b2"]


@pytest.mark.parametrize("x", [np.array(2.0), np.array([[1.0, -2.0], [3.0, 0.5]]), np.arange(1.0, 25).reshape(2, 3, 4)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_function_of_any_shape(x, dtype):
    x = x.astype(dtype)
    assert gradient_check(cubes, x, cubes_gradient(x))
    assert gradient_check(cubes, x, cubes_gradient)


@pytest.mark.parametrize("x", [3, 2.5, [1, 2], (1.5, 2), np.array([1, 2]), [[True]]])
def test_of_numbers_lists_and_integers_f_is_handed_a_float_copy(x):
    assert gradient_check(cubes, x, 3 * np.asarray(x, float) ** 2)


@pytest.mark.parametrize("layout", [lambda x: x.T, lambda x: x[::-1, ::2], lambda x: x.astype(">f8")])
def test_x_of_any_layout(layout):
    x = layout(np.random.default_rng(0).random((4, 6)))
    assert gradient_check(lambda _: cubes(x), x, cubes_gradient)


def test_the_error_of_the_formula_is_no_fault():
    x = np.array([1e-4, 1e-3])  # h^2 = 1e-8 beside derivatives of 3e-8 and 3e-6
    check = gradient_check(cubes, x, cubes_gradient)
    assert check
    assert check.parameters["x"].worst.numeric == pytest.approx(check.parameters["x"].worst.analytic, rel=1e-6)


def test_a_function_may_hand_out_one_buffer_and_change_the_shape_of_its_argument():
    buffer = np.empty(1)

    def f(x):
        x.shape = (4,)
        buffer[0] = cubes(x)
        return buffer

    assert gradient_check(f, np.arange(1.0, 5).reshape(2, 2), 3 * np.arange(1.0, 5).reshape(2, 2) ** 2)


def test_entries_that_are_0_on_both_sides_are_within_tolerance(engine):
    x = ARGUMENTS[0].copy()
    x[:, 2] = 0  # as the pixels at the border of a digit
    assert gradient_check(make(engine), x, ARGUMENTS[1])


def test_a_gradient_that_is_0_but_for_rounding_is_confirmed():
    def normalised(b):  # a bias before a batch normalisation, which takes it away again
        a = ARGUMENTS[0] + b
        return np.sum(((a - a.mean(axis=0)) / a.std(axis=0)) ** 3)

    b = np.array([0.3, -0.2, 0.1, 0.0, 0.7, 1.0])
    assert gradient_check(normalised, b, np.full(6, 1e-17))


def test_a_relu_away_from_0_is_well():
    x = np.array([-1.0, -2e-4, 2e-4, 3.0])
    assert gradient_check(lambda x: np.maximum(x, 0).sum(), x, lambda x: (x > 0) * 1.0)


# ---- Nets ----


def normalized(engine, **options):
    np.random.seed(0)
    return engine.MultiLayerNetExtend(6, [5, 4], 3, **options)


def spoilt(net, change):
    """The net, whose gradients go through `change`."""
    gradient = net.gradient
    net.gradient = lambda x, t: change({name: grad.copy() for name, grad in gradient(x, t).items()})
    return net


@pytest.mark.parametrize("activation", ["relu", "sigmoid"])
@pytest.mark.parametrize("dropout", [False, True])
def test_batch_normalization_and_dropout_are_checked_as_they_learn(engine, activation, dropout):
    net = normalized(engine, activation=activation, use_batchnorm=True, use_dropout=dropout)
    assert gradient_check(net, *ARGUMENTS)
    spoilt(net, lambda grads: grads | {"gamma1": 1.01 * grads["gamma1"]})
    assert [name for name, found in gradient_check(net, *ARGUMENTS).parameters.items() if not found.ok] == ["gamma1"]


def test_the_mask_of_another_draw(engine):
    net = normalized(engine, use_dropout=True)
    gradient = net.gradient

    def drawn_before(x, t):
        np.random.rand()
        return gradient(x, t)

    net.gradient = drawn_before
    found = [found.reason for found in gradient_check(net, *ARGUMENTS).parameters.values() if not found.ok]
    assert {*found} == {"not deterministic: f and the gradient draw other random numbers"}


def test_a_gradient_without_dropout_of_a_loss_with_it():
    x = np.array([1.0, 2.0, 3.0])

    def dropped(x):
        return cubes(x * (np.random.rand(3) < 0.5))

    np.random.seed(1)
    assert reason(dropped, x, cubes_gradient) == "not deterministic: f and the gradient draw other random numbers"
    assert gradient_check(dropped, x, lambda x: 3 * x**2 * (np.random.rand(3) < 0.5))


@pytest.mark.parametrize("factor", [1, 2])
def test_a_net_is_left_as_it_was(engine, factor):
    class Scaled(engine.MultiLayerNetExtend):
        def gradient(self, x, t):
            return {name: factor * grad for name, grad in super().gradient(x, t).items()}

    np.random.seed(0)
    net = Scaled(6, [5, 4], 3, use_batchnorm=True, use_dropout=True)
    net.gradient(*ARGUMENTS)
    parts = [vars(net), *map(vars, net.layers.values()), vars(net.last_layer)]
    before, bits = [dict(part) for part in parts], pickle.dumps([vars(layer) for layer in net.layers.values()])
    np.random.seed(3)
    state = np.random.get_state()[1].tobytes()
    assert bool(gradient_check(net, *ARGUMENTS)) == (factor == 1)
    assert np.random.get_state()[1].tobytes() == state
    for part, held in zip(parts, before, strict=True):
        assert [(name, id(value)) for name, value in part.items()] == [(name, id(held[name])) for name in held]
    assert pickle.dumps([vars(layer) for layer in net.layers.values()]) == bits


def test_running_statistics_that_move_in_place_are_put_back():
    class Normalized(Net):
        def __init__(self):
            self.params, self.running = {"b": np.array([1.0, 2.0])}, np.zeros(2)

        def loss(self, x, t):
            self.running += self.params["b"]
            return cubes(self.params["b"])

        def gradient(self, x, t):
            return {"b": 3 * self.params["b"] ** 2}

    net = Normalized()
    assert gradient_check(net, None, None)
    assert net.running.tolist() == [0, 0]


def sure(engine, score):
    """A net of one layer, and a sample whose right class has the probability exp(-score), nearly."""
    net = engine.MultiLayerNet(2, [], 3)
    net.params["W1"][:] = [[score, 0.0, 0.1], [0.2, 0.3, -0.1]]
    return net, np.array([[1.0, 0.1], [0.1, 1.0]]), np.array([1, 0])


@pytest.mark.parametrize("score", [9, 12, 16, 20, 40, 300])
def test_the_1e_7_in_the_log_is_no_fault(engine, score):
    net, x, t = sure(engine, score)
    numeric, analytic = net.numerical_gradient(x, t), net.gradient(x, t)
    assert np.abs(numeric["W1"] / analytic["W1"] - 1).max() > 2e-4
    assert gradient_check(net, x, t)
    assert gradient_check(net, x, np.eye(3)[t])


@pytest.mark.parametrize("score", [9, 12, 16])
def test_nor_is_a_gradient_that_knows_of_the_1e_7(engine, score):
    net, x, t = sure(engine, score)

    def exact(grads):
        net.loss(x, t)
        y = net.last_layer.y
        dout = (y - np.eye(3)[t]) / 2 * (y / (y + 1e-7))[[0, 1], t][:, np.newaxis]
        return {"W1": x.T @ dout, "b1": dout.sum(axis=0)}

    assert gradient_check(spoilt(net, exact), x, t)


@pytest.mark.parametrize("factor", [1 - 1.6e-3, 1 + 1.6e-3, 1 + 3e-4])
@pytest.mark.parametrize("score", [5, 9, 12])
def test_a_fault_as_large_as_the_1e_7_makes_is_found(engine, score, factor):
    net, x, t = sure(engine, score)
    check = gradient_check(spoilt(net, lambda grads: {name: factor * grad for name, grad in grads.items()}), x, t)
    assert not any(found.ok for found in check.parameters.values())
    if score == 12:
        for found in check.parameters.values():
            assert found.reason == f"scaled: numeric / analytic = {1 / factor:.4g}"


LAST_LAYER = zerodl_c.SoftmaxWithLoss()


def test_a_last_layer_that_is_a_global_of_the_script():
    net, x, t = sure(zerodl_c, 9)
    affine = net.layers["Affine1"]

    class Script:
        params = net.params

        def loss(self, x, t):
            return LAST_LAYER.forward(affine.forward(x), t)

        def gradient(self, x, t):
            self.loss(x, t)
            affine.backward(LAST_LAYER.backward())
            return {"W1": affine.dW, "b1": affine.db}

    assert gradient_check(Script(), x, t)


def test_the_book_s_two_layer_net_of_chapter_4():
    """It keeps no probabilities, but `predict` gives them."""

    class Chapter4(zerodl_c.TwoLayerNet):
        def loss(self, x, t):
            return zerodl_c.cross_entropy_error(self.predict(x), t)

        def gradient(self, x, t):
            grads = super().gradient(x, t)
            del self.a1, self.z1, self.a2, self.y
            return grads

    net = make(None, cls=Chapter4)
    net.params["b2"][:] = [12.0, 0.0, 5.0]
    assert gradient_check(net, *ARGUMENTS)


def test_kinks_where_all_inputs_are_0(engine):
    """A blank part of an image, and biases that are 0: the pixels after a convolution are at relu's kink."""
    x = np.zeros((3, 1, 4, 4))
    x[:, 0, 0, 0] = 1, 2, 3
    np.random.seed(0)
    conv = engine.Convolution(np.random.randn(2, 1, 2, 2), np.zeros(2))
    relu, pool, last = engine.Relu(), engine.Pooling(3, 3), engine.SoftmaxWithLoss()
    affine = engine.Affine(np.random.randn(2, 3), np.zeros(3))
    layers = [conv, relu, pool, affine]

    class Images(Net):
        def predict(self, x):
            for layer in layers:
                x = layer.forward(x)
            return x

        def loss(self, x, t):
            return last.forward(self.predict(x), t)

        def gradient(self, x, t):
            self.loss(x, t)
            dout = last.backward()
            for layer in reversed(layers):
                dout = layer.backward(dout)
            return {"W1": conv.dW, "b1": conv.db, "W2": affine.dW, "b2": affine.db}

    net = Images({"W1": conv.W, "b1": conv.b, "W2": affine.W, "b2": affine.b}, None)
    assert gradient_check(net, x, np.array([0, 1, 2]))
    spoilt(net, lambda grads: grads | {"b1": grads["b1"] + 1e-3})
    assert not gradient_check(net, x, np.array([0, 1, 2]))


def narrow(net, dtype=np.float32):
    for key, name, layer in net._parameters():
        net.params[key] = net.params[key].astype(dtype)
        setattr(layer, name, net.params[key])
    return net


@pytest.mark.parametrize("decay", [0, 0.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_a_narrow_net_is_measured_in_float64(engine, decay, dtype):
    net = narrow(normalized(engine, weight_decay_lambda=decay, use_batchnorm=True), dtype)
    held, x = [id(param) for param in net.params.values()], ARGUMENTS[0].astype(dtype)
    check = gradient_check(net, x, ARGUMENTS[1])
    assert check
    assert (check.h, check.rtol) == (1e-4, 1e-4)
    assert [id(param) for param in net.params.values()] == held
    assert all(getattr(layer, name) is net.params[key] for key, name, layer in net._parameters())
    gradient = type(net).gradient

    def rough(net, x, t):
        return {name: (grad * 256).astype(np.float16) / 256 for name, grad in gradient(net, x, t).items()}

    net.gradient = MethodType(rough, net)
    assert not gradient_check(net, x, ARGUMENTS[1])


class Reshaped:
    """A layer reads a view of a parameter, which may be made anew for each loss, as the book's Convolution does."""

    def __init__(self, engine, anew):
        self.params, self.anew = {"W": np.random.default_rng(0).random(12).astype(np.float32)}, anew
        self.layer = engine.Affine(self.params["W"].reshape(6, 2), np.zeros(2, np.float32))

    def loss(self, x, t):
        if self.anew:
            self.layer.W = self.params["W"].reshape(6, 2)
        return np.sum(self.layer.forward(x) ** 2) + np.sum(self.params["W"] ** 2)

    def gradient(self, x, t):
        self.loss(x, t)
        self.layer.backward(2 * self.layer.forward(x))
        return {"W": self.layer.dW.ravel() + 2 * self.params["W"]}


@pytest.mark.parametrize("anew", [False, True])
def test_views_of_narrow_parameters(engine, anew):
    check = gradient_check(Reshaped(engine, anew), ARGUMENTS[0].astype(np.float32), None)
    assert (bool(check), check.h) == (True, 1e-4 if anew else 0.05)


def test_read_only_parameters(engine):
    """They are perturbed in a copy, if there is one."""
    net = make(engine)
    for param in net.params.values():
        param.flags.writeable = False
    assert gradient_check(net, *ARGUMENTS)
    net.lock = threading.Lock()
    with pytest.raises(ValueError, match=r"params\['W1'\] must be writable, for it is perturbed in place"):
        gradient_check(net, *ARGUMENTS)


def test_a_net_that_cannot_be_copied_is_measured_as_it_is(engine):
    net = make(engine, np.float32)
    net.lock = threading.Lock()
    check = gradient_check(net, ARGUMENTS[0].astype(np.float32), ARGUMENTS[1])
    assert (bool(check), check.h) == (True, 0.05)


def test_so_is_a_net_whose_copy_computes_with_the_net_s_own_parameters(engine):
    net = make(engine, np.float32)
    before = {name: param.tobytes() for name, param in net.params.items()}
    loss = net.loss
    net.loss = lambda x, t: loss(x, t)
    check = gradient_check(net, ARGUMENTS[0].astype(np.float32), ARGUMENTS[1])
    assert (bool(check), check.h) == (True, 0.05)
    assert {name: param.tobytes() for name, param in net.params.items()} == before


def test_the_counts_of_the_benchmark():
    """A few nets and one of each fault: all of it takes minutes."""
    benchmark = Path(__file__).parents[1] / "benchmarks" / "gradient_check.py"
    command = [sys.executable, benchmark, "--nets", "6", "--each", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "right gradients of 6 nets: 0 condemned\n" in done.stdout
    assert "22 faults, each in the gradients of 1 nets: 0 of 22 missed\n" in done.stdout


# ---- Rounding ----


def test_rounding_is_measured_where_f_is_small_and_numbers_in_it_are_large():
    x = np.array([0.01, 0.02])

    def f(x):
        return np.sum(x**3 + 1e5) - 2e5

    assert gradient_check(f, x, cubes_gradient).parameters["x"].reason in (None, "float64 noise, floor")
    check = gradient_check(f, x, lambda x: 3 * x**2 * [1, 2])
    assert not check


@pytest.mark.parametrize("factor", [1, 1.01, -1])
def test_a_gradient_that_vanishes_is_seen_with_a_longer_step(factor):
    x = np.array([0.3, -0.2])
    assert bool(gradient_check(lambda x: 1 + 1e-8 * cubes(x), x, factor * 3e-8 * x**2)) == (factor == 1)


# ---- Dicts and lists ----


def test_a_dict_of_parameters():
    params = {"a": np.array([1.0, 2.0]), 7: np.array([[3.0]], np.float64)}

    def f(params):
        return cubes(params["a"]) * np.sum(params[7])

    def gradient(params):
        return {7: [[cubes(params["a"])]], "a": 3 * params["a"] ** 2 * params[7].item()}

    check = gradient_check(f, params, gradient)
    assert check
    assert list(check.parameters) == ["a", 7]
    assert [found.name for found in check.parameters.values()] == ["a", "7"]
    assert gradient_check(lambda _: f(params), params, gradient(params))  # through a closure
    wrong = gradient_check(f, params, gradient(params) | {7: np.array([[1.0]])})
    assert [name for name, found in wrong.parameters.items() if not found.ok] == [7]


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_of_parameters(kind):
    W, b = np.arange(6.0).reshape(2, 3), np.array([0.5, -1.0, 2.0])
    x = np.array([[1.0, 2.0]])

    def gradient(params):
        dout = 2 * (x @ params[0] + params[1])
        return [x.T @ dout, dout.sum(axis=0)]

    def f(params):
        assert type(params) is kind
        return np.sum((x @ params[0] + params[1]) ** 2)

    check = gradient_check(f, kind([W, b]), gradient)
    assert check and list(check.parameters) == [0, 1]
    assert gradient_check(f, kind([W, b]), gradient((W, b)))
    assert [line.split()[0] for line in str(check).splitlines()[1:3]] == ["0", "1"]
    assert not gradient_check(f, kind([W, b]), [gradient((W, b))[0], b])


@pytest.mark.parametrize(
    ("x", "gradient", "error", "message"),
    [
        ({}, {}, ValueError, "x must hold arrays, got an empty dict"),
        ({"a": [1.0]}, {}, TypeError, r"x\['a'\] must be an array of floats of up to 64 bits, got list"),
        ({"a": np.ones(2, int)}, {}, TypeError, r"x\['a'\] must be an array of floats .* got int64"),
        ({"a": np.ones(2)}, {}, ValueError, r"missing are \['a'\], unknown are \[\]"),
        ({"a": np.ones(2)}, [np.ones(2)], TypeError, "gradient must give a dict of arrays, got list"),
        ([np.ones(2)], {"a": 1}, ValueError, "gradient must be a list of 1 arrays, as x is, got dict"),
        ([np.ones(2)], [1, 2], ValueError, "gradient must be a list of 1 arrays, as x is, got 2"),
        ([np.ones(2), np.ones(2, int)], [1, 2], TypeError, r"x\[1\] must be an array of floats"),
        ([np.ones(2)], [np.ones(3)], ValueError, r"the gradient of 0 must have its shape, \(2,\), got \(3,\)"),
    ],
)
def test_dicts_and_lists_that_do_not_fit(x, gradient, error, message):
    with pytest.raises(error, match=message):
        gradient_check(never, x, gradient)


def never(x):
    pytest.fail("the work began")


# ---- Types of arrays ----


@pytest.mark.parametrize("make", [lambda x: np.array(x).view(np.matrix), np.ma.array], ids=["matrix", "masked"])
def test_a_matrix_or_masked_array_is_handed_on(make):
    x = make([[1.0, 2.0], [3.0, 4.0]])
    seen = set()

    def f(x):
        seen.add(type(x))
        return float(np.sum(np.asarray(x) ** 3))

    assert gradient_check(f, x, 3 * np.asarray(x) ** 2)
    assert seen == {type(x)}
    with pytest.raises(TypeError, match="x must be a plain array"):
        gradient_check(f, x.astype(int), 3 * np.asarray(x) ** 2)
    masked = np.ma.array(np.asarray(x), mask=[[0, 0], [0, 1]])
    with pytest.raises(TypeError, match="the gradient of x must have no masked entries"):
        gradient_check(f, x, masked)
    with pytest.raises(TypeError, match="x must have no masked entries"):
        gradient_check(f, masked, x)


# ---- Reasons ----


def test_both_sides_zero(engine):
    net = make(engine)
    net.params["W2"][:] = 0  # then W1 and b1 have no say
    check = gradient_check(net, *ARGUMENTS)
    assert not check
    reasons = {name: found.reason for name, found in check.parameters.items()}
    assert reasons == {"W1": "both sides are 0", "b1": "both sides are 0", "W2": None, "b2": None}
    assert check.parameters["W1"].share == 1


def relu_and_cubes(x):
    return np.maximum(x, 0).sum() + cubes(x)


@pytest.mark.parametrize("at", [0.0, 0.1, 1 / 3, 0.5, 0.7])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_kink_within_h_or_at_x_is_stepped_over(at, sign):
    h = 1e-3
    x = np.array([-1.0, sign * at * h, 1.0])
    (found,) = gradient_check(relu_and_cubes, x, lambda x: (x > 0) + 3 * x**2, h=h).parameters.values()
    assert (found.ok, found.within) == (True, 3)
    assert not gradient_check(relu_and_cubes, x, lambda x: (x > 0) * [1, 1.01, 1] + 3 * x**2 + [0, 0.01, 0], h=h)


@pytest.mark.parametrize("off", [0, 0.01])
def test_many_kinks_within_h(off):
    c = np.random.default_rng(0).uniform(-1e-3, 1e-3, 500)  # some 50 within h of either entry
    x = np.array([0.0, 3e-5])
    right = (x[:, np.newaxis] + c > 0).sum(axis=1)
    check = gradient_check(lambda x: np.maximum(x[:, np.newaxis] + c, 0).sum(), x, right * (1.0 + off))
    assert bool(check) == (off == 0)


def test_a_gradient_between_the_slopes_of_a_kink():
    x = np.array([-1.0, 0.0, 1.0])
    check = gradient_check(relu_and_cubes, x, (x > 0) + 3 * x**2 + [0, 0.3, 0])
    found = check.parameters["x"]
    assert not check
    assert found.reason == "kink within h: slopes 1e-08 and 1"
    assert (found.worst.index, found.within, found.worst.analytic) == ((1,), 2, 0.3)


def test_a_kink_does_not_excuse_a_wrong_gradient():
    x = np.array([-1.0, 0.0, 1.0])
    check = gradient_check(lambda x: np.maximum(x, 0).sum(), x, np.array([0.0, 1.0, 1.5]))
    assert (bool(check), check.parameters["x"].reason) == (False, None)


def test_kinks_do_not_hide_another_reason():
    x = np.random.default_rng(0).random((8, 8)) + 1
    x[3, 4] = x[5, 5] = 0

    def gradient(x):
        return (x > 0) + 3 * x**2

    assert reason(lambda x: np.maximum(x, 0).sum() + cubes(x), x, 2 * gradient(x)).startswith("scaled: ")
    assert reason(lambda x: np.maximum(x, 0).sum() + cubes(x), x, gradient(x).T) == "transposed"


def test_half_a_scaled_gradient_is_not_scaled():
    x = np.arange(1.0, 41)
    check = gradient_check(cubes, x, 3 * x**2 * np.where(x > 18, 2, 1))
    assert (bool(check), check.parameters["x"].reason, check.parameters["x"].ratio) == (False, None, None)


def test_entries_of_0_do_not_make_a_scaled_or_transposed_gradient():
    x = np.zeros((10, 10))
    x[:3, 0] = 1, 2, 3
    wrong = 3 * x**2
    wrong[:2, 0] *= 2
    check = gradient_check(cubes, x, wrong)
    assert (bool(check), check.parameters["x"].reason, check.parameters["x"].within) == (False, None, 98)


def test_a_curve_is_no_kink():
    x = np.array([1e-3, 2e-3])
    check = gradient_check(cubes, x, 3 * x**2 + 1e-7)
    assert (bool(check), check.parameters["x"].reason) == (False, None)


@pytest.mark.parametrize(
    ("x", "h"), [([1e13, 1.0], None), ([1.0, 2.0], 1e-17), ([-1e15, -3.0], 1e-2), ([2.0**52, 1.0], 0.3)]
)
def test_step_below_one_ulp(x, h):
    x = np.array(x)
    found = gradient_check(lambda x: np.sum(x), x, np.ones(2), h=h).parameters["x"]
    assert (found.ok, found.reason, found.worst.index) == (False, "step below one ulp", (0,))
    assert np.isnan(found.worst.numeric)


def test_step_below_one_ulp_of_float32():
    x = np.array([1000.0], np.float32)
    assert gradient_check(np.sum, x, np.ones(1), h=1.0)
    assert reason(np.sum, x, np.ones(1), h=1e-5) == "step below one ulp"


def test_half_a_step_may_be_lost():
    found = gradient_check(lambda x: np.sum(x - 1e12), np.array([1e12]), np.array([2.0])).parameters["x"]
    assert (found.reason, found.worst.numeric) == (None, 1)


def test_differences_are_divided_by_the_steps_really_taken():
    x = np.array([2.0**36])  # the floats below are closer to each other than those above
    assert gradient_check(np.sum, x, np.ones(1)).parameters["x"].worst.numeric == 1


@pytest.mark.parametrize(
    ("dtype", "result", "h", "rtol"),
    [
        (np.float64, float, 1e-4, 1e-3),
        (np.float32, float, 0.05, 0.02),
        (np.float64, np.float32, 0.05, 0.02),
        (np.float64, np.float16, 0.2, 0.2),
    ],
)
def test_the_defaults_are_those_of_the_narrowest_dtype(dtype, result, h, rtol):
    check = gradient_check(lambda x: result(cubes(x)), np.array([1.0, 2.0], dtype), cubes_gradient)
    assert (bool(check), check.h, check.rtol) == (True, h, rtol)
    assert check.floor > 0


def test_float32_noise_of_a_loss():
    def f(x):
        return np.float32(1000 + cubes(x))

    x = np.array([0.1, 0.2])
    assert reason(f, x, cubes_gradient, h=1e-4).startswith("float32 noise, floor ")
    assert gradient_check(lambda x: 1000 + cubes(x), x, cubes_gradient, h=1e-4)


def test_float32_noise_of_a_net(engine):
    net = make(engine, np.float32)
    loss = net.loss
    net.loss = lambda x, t: np.float32(loss(x, t))
    check = gradient_check(net, *ARGUMENTS, h=1e-5)
    assert not check
    assert {found.reason.split(",")[0] for found in check.parameters.values()} == {"float32 noise"}
    assert all(found.share == 1 for found in check.parameters.values())  # the noise explains every difference


def test_float64_noise_of_a_step_too_small():
    assert reason(cubes, np.array([0.1, 0.2]), cubes_gradient, h=1e-15).startswith("float64 noise, floor ")


def test_noise_does_not_excuse_what_it_does_not_explain():
    x = np.array([0.1, 0.2], np.float32)
    check = gradient_check(lambda x: np.float32(1 + cubes(x)), x, 3 * x**2 + 0.01)
    assert (bool(check), check.parameters["x"].reason) == (False, None)


def test_noise_is_no_kink():
    h, noise = 1e-4, 2 * np.finfo(float).eps / 1e-4

    def f(x):  # up and down by a fifth of the noise, from half a step to the next
        return np.sum(1e-10 * x + noise * h / 5 * np.cos(2 * np.pi * x / h))

    check = gradient_check(f, np.zeros(1), np.array([1e-10 + 2 * noise]), h=h)
    assert (bool(check), check.parameters["x"].reason) == (False, None)


@pytest.mark.parametrize("shape", [(3, 3), (2, 3), (2, 3, 2), (2, 3, 4)])
def test_a_transposed_gradient(shape):
    scale = np.random.default_rng(0).random(shape)
    x = np.ones(shape)
    assert reason(lambda x: np.sum(scale * x**2), x, (2 * scale).T) == "transposed"
    assert gradient_check(lambda x: np.sum(scale * x**2), x, 2 * scale)


def test_a_transposed_gradient_of_a_net(engine):
    net = faulty(engine, lambda grads: grads.update(W1=grads["W1"].T))
    check = gradient_check(net, *ARGUMENTS)
    assert {name: found.reason for name, found in check.parameters.items() if not found.ok} == {"W1": "transposed"}
    assert check.parameters["W1"].worst.error <= check.rtol  # of the transpose


def test_a_symmetric_gradient_is_not_transposed():
    assert gradient_check(cubes, np.ones((3, 3)), cubes_gradient)


@pytest.mark.parametrize(
    ("factor", "shown", "ratio"),
    [
        (4, "1/4, the batch size", 1 / 4),
        (1 / 4, "4, the batch size", 4),
        (1 / 7, "7", 7),
        (-1, "-1", -1),
        (-2, "-1/2", -1 / 2),
        (0.8, "1.25", 1.25),
    ],
)
def test_a_scaled_gradient(engine, factor, shown, ratio):
    net = faulty(engine, lambda grads: grads.update({name: factor * grad for name, grad in grads.items()}))
    check = gradient_check(net, *ARGUMENTS)
    assert not check
    for found in check.parameters.values():
        assert found.reason == f"scaled: numeric / analytic = {shown}"
        assert found.ratio == pytest.approx(ratio, rel=1e-3)
        assert found.reason in str(check)


def test_one_entry_shows_no_constant_ratio():
    check = gradient_check(cubes, np.array([2.0]), np.array([1.0]))
    assert (bool(check), check.parameters["x"].reason, check.parameters["x"].ratio) == (False, None, None)


def test_a_missing_gradient(engine):
    check = gradient_check(faulty(engine, lambda grads: grads["b1"].fill(0)), *ARGUMENTS)
    assert {name: found.reason for name, found in check.parameters.items() if not found.ok} == {"b1": "analytic is 0"}


def test_a_function_that_does_not_read_x():
    x = np.array([1.0, 2.0])
    assert reason(lambda _: cubes(x), [1.0, 2.0], cubes_gradient) == "numeric is 0"
    assert gradient_check(lambda _: cubes(x), x, cubes_gradient)


def test_a_function_that_is_not_deterministic(engine):
    generator = np.random.default_rng(0)
    net = make(engine)
    loss = net.loss
    net.loss = lambda x, t: loss(x * (generator.random(x.shape) < 0.9), t)  # dropout
    check = gradient_check(net, *ARGUMENTS)
    assert not check
    for found in check.parameters.values():
        assert found.reason == f"not deterministic: f differs by {check.spread:.1e}"
    assert check.spread > 1e-3


def test_a_function_that_changes_its_mind_later():
    calls = []

    def f(x):
        calls.append(None)
        return cubes(x) + (len(calls) > 4)

    assert reason(f, np.array([1.0, 2.0]), cubes_gradient).startswith("not deterministic: f differs by 1.0e+00")


def test_differences_of_rounding_are_deterministic():
    sums = iter(range(1000))
    assert gradient_check(lambda x: cubes(x) * (1 + next(sums) % 2 * 2e-16), np.array([1.0, 2.0]), cubes_gradient)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity(bad):
    x = np.array([1.0, 2.0, 3.0])
    assert reason(cubes, x, np.array([3.0, bad, 27.0])) == "nan"
    assert reason(lambda x: bad, x, cubes_gradient) == "nan"
    assert reason(lambda x: bad if x[1] > 2 else cubes(x), x, cubes_gradient) == "nan"
    assert reason(lambda x: bad, x, np.full(3, bad)) == "nan"
    assert reason(lambda x: bad if (x > [1, 2, 3]).any() else 0.0, x, np.array([0.0, 1.0, 2.0])) == "nan"
    found = gradient_check(cubes, x, np.array([3.0, bad, 27.0])).parameters["x"]
    assert (found.worst.index, found.within) == ((1,), 2)
    x[1] = np.nan
    assert reason(cubes, x, np.array([3.0, 12.0, 27.0])) == "nan"


# ---- The sample ----


def test_a_sample(engine):
    calls = []

    class Counted(engine.TwoLayerNet):
        def loss(self, x, t):
            calls.append(None)
            return super().loss(x, t)

    net, (x, t) = make(engine, cls=Counted), ARGUMENTS
    np.random.seed(1)
    before = np.random.get_state()[1].copy()
    check = gradient_check(net, x, t, sample=4)
    assert np.array_equal(np.random.get_state()[1], before)
    assert check
    assert {name: found.checked for name, found in check.parameters.items()} == {"W1": 4, "b1": 4, "W2": 4, "b2": 3}
    assert check.parameters["W1"].size == 30
    assert len(calls) == 2 + 4 + 1 + 4 * 7 + 2 * 15 + 4  # copies; parameters; f; its rounding; entries; f again


def checked(sample, seed):
    """The entries of x that a check changes."""
    seen = set()

    def f(x):
        seen.update(np.flatnonzero(abs(x - 1) > 1e-9).tolist())
        return cubes(x)

    assert gradient_check(f, np.ones(50), cubes_gradient, sample=sample, seed=seed)
    return seen


def test_the_seed_chooses_the_sample():
    assert checked(10, 0) == checked(10, 0)
    assert checked(10, 0) != checked(10, 1)
    assert len(checked(10, 0)) == len(checked(10, 1)) == 10
    assert checked(50, 0) == checked(99, 0) == checked(None, 0) == set(range(50))


def test_a_sample_finds_a_transposed_and_a_scaled_gradient():
    scale = np.random.default_rng(0).random((20, 20))
    x = np.ones((20, 20))
    assert reason(lambda x: np.sum(scale * x**2), x, 2 * scale.T, sample=5) == "transposed"
    assert reason(lambda x: np.sum(scale * x**2), x, scale, sample=5) == "scaled: numeric / analytic = 2"


# ---- What it prints ----


def test_the_table_of_a_sound_function():
    lines = str(gradient_check(lambda x: np.sum(x**2), np.array([3.0, 4.0]), lambda x: 2 * x)).splitlines()
    assert lines[0].split() == ["parameter", "checked", "within", "worst", "numeric", "analytic", "error", "verdict"]
    assert lines[1].split()[:5] == ["x", "2/2", "100", "%", lines[1].split()[4]]
    assert lines[1].endswith("  ok")
    assert lines[2:] == ["f = 25, h = 0.0001, rtol = 0.001"]


def test_the_table_of_a_faulty_net(engine):
    check = gradient_check(faulty(engine, lambda grads: grads["W2"].__setitem__((1, 2), 9)), *ARGUMENTS)
    lines = str(check).splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == ["W1", "b1", "W2", "b2"]
    assert [line.rsplit("  ", 1)[1] for line in lines[1:-1]] == ["ok", "ok", "differs", "ok"]
    assert "  (1, 2)  " in lines[3] and "  93.33 %  " in lines[3]
    assert repr(check) == str(check)


def test_the_result_can_be_pickled(engine):
    check = gradient_check(make(engine), *ARGUMENTS)
    assert pickle.loads(pickle.dumps(check)) == check


# ---- The parameters are put back ----


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
@pytest.mark.parametrize("call", [1, 2, 3, 4, 20, 70])
def test_parameters_are_restored_whatever_is_raised(engine, error, call):
    net = make(engine)
    net.params["b2"][:] = [-0.0, 0.1, 5e-324]
    before = {name: param.tobytes() for name, param in net.params.items()}
    calls, loss = [], net.loss

    def stop(x, t):
        calls.append(None)
        if len(calls) >= call:
            raise error
        return loss(x, t)

    net.loss = stop
    with pytest.raises(error):
        gradient_check(net, *ARGUMENTS)
    assert {name: param.tobytes() for name, param in net.params.items()} == before


def test_ctrl_c():
    x = np.array([0.1, 0.2])
    with pytest.raises(KeyboardInterrupt):
        gradient_check(lambda x: x[0] > 0.1 and signal.raise_signal(signal.SIGINT), x, cubes_gradient)
    assert x.tolist() == [0.1, 0.2]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
def test_parameters_are_restored_to_the_last_bit(dtype):
    x = np.array([0.1, -0.0, 1e-4, 3, np.nan, np.inf, 30], dtype)
    before = x.tobytes()
    gradient_check(cubes, x, np.zeros(7))
    assert x.tobytes() == before


@pytest.mark.parametrize("change", ["f", "gradient"])
def test_a_function_that_changes_x_is_refused_and_x_restored(change):
    def normalised(x):
        x -= x.max()
        return cubes(x)

    x = np.array([1.0, 2.0])
    f, gradient = (normalised, np.ones(2)) if change == "f" else (cubes, lambda x: x.__imul__(2))
    with pytest.raises(ValueError, match="neither f nor its gradient must change x"):
        gradient_check(f, x, gradient)
    assert x.tolist() == [1.0, 2.0]


def test_the_warnings_of_f_are_left_alone():
    with np.errstate(all="raise"), pytest.raises(FloatingPointError):
        gradient_check(lambda x: np.sum(np.log(x)), np.array([0.0]), np.zeros(1))


# ---- Errors ----


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda grads: grads.pop("b2"), r"missing are \['b2'\], unknown are \[\]"),
        (lambda grads: grads.update(W3=1), r"missing are \[\], unknown are \['W3'\]"),
        (
            lambda grads: grads.update(b1=np.zeros(4)),
            r"the gradient of b1 must have its shape, \(5,\), got \(4,\)",
        ),
        (
            lambda grads: grads.update(W1=np.zeros(30)),
            r"the gradient of W1 must have its shape, \(6, 5\), got \(30,\)",
        ),
    ],
)
def test_gradients_that_do_not_fit(engine, change, message):
    with pytest.raises(ValueError, match=message):
        gradient_check(faulty(engine, change), *ARGUMENTS)


@pytest.mark.parametrize("gradient", [np.ones(3), 1.0, np.ones((2, 1)), lambda x: np.ones((1, 2))])
def test_a_gradient_of_another_shape(gradient):
    with pytest.raises(ValueError, match=r"the gradient of x must have its shape, \(2,\), got \("):
        gradient_check(cubes, np.ones(2), gradient)


@pytest.mark.parametrize("gradient", [None, "12", [1j, 2], lambda x: None])
def test_a_gradient_that_is_no_array_of_numbers(gradient):
    with pytest.raises(TypeError, match="the gradient of x must be real numbers"):
        gradient_check(cubes, np.ones(2), gradient)


class Net:
    """A net of which everything can be set."""

    def __init__(self, params, grads):
        self.params, self.grads = params, grads

    def loss(self, x, t):
        pytest.fail("the work began")

    def gradient(self, x, t):
        return self.grads


@pytest.mark.parametrize(
    ("net", "error", "message"),
    [
        (3, TypeError, "net_or_f must be callable, or have params, loss and gradient, got int"),
        (zerodl_c.SimpleNet(), TypeError, "net_or_f must be callable, .* got SimpleNet"),
        (Net({}, {}), TypeError, "params must be a dict of arrays, got {}"),
        (Net([1.0], {}), TypeError, r"params must be a dict of arrays, got \[1.0\]"),
        (Net({"W": np.ones(2, int)}, {}), TypeError, r"params\['W'\] must be an array of floats .* got int"),
        (Net({"W": [1.0]}, {}), TypeError, r"params\['W'\] must be an array of floats of up to 64 bits, got list"),
        (Net({"W": np.ones(2, complex)}, {}), TypeError, r"params\['W'\] must be an array of floats .* got complex128"),
        (Net({"W": np.ones((0, 2))}, {}), ValueError, r"params\['W'\] must have entries, got shape \(0, 2\)"),
        (Net({"W": np.ones(2)}, None), TypeError, "gradient must give a dict of arrays, got NoneType"),
        (Net({"W": np.ones(2)}, {"W": None}), TypeError, "the gradient of W must be real numbers"),
    ],
)
def test_nets_that_are_none(net, error, message):
    with pytest.raises(error, match=message):
        gradient_check(net, None, None)


def test_what_is_no_array_is_reported_by_its_name():
    ragged = [[1.0], [2.0, 3.0]]
    with pytest.raises(ValueError, match=r"^x must be array_like, got list"):
        gradient_check(cubes, ragged, cubes_gradient)
    with pytest.raises(ValueError, match=r"^the gradient of x must be array_like, got list"):
        gradient_check(cubes, np.ones(2), ragged)
    with pytest.raises(ValueError, match=r"^f\(x\) must be array_like, got list"):
        gradient_check(lambda x: ragged, np.ones(2), np.ones(2))


def test_a_read_only_x():
    x = np.ones(2)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="x must be writable, for it is perturbed in place; it is read-only"):
        gradient_check(cubes, x, cubes_gradient)


@pytest.mark.parametrize("x", ["abc", None, [1j], np.array(["a"])])
def test_x_must_be_real_numbers(x):
    with pytest.raises(TypeError, match="x must be real numbers of up to 64 bits"):
        gradient_check(cubes, x, cubes_gradient)


@pytest.mark.parametrize("result", [None, "1.0", 1j, [1.0, 2.0], []])
def test_f_must_give_one_real_number(result):
    with pytest.raises(TypeError, match=r"f must give real numbers, got|f must give one real number, got shape \("):
        gradient_check(lambda x: result, np.ones(2), np.ones(2))


def test_one_sample_has_no_batch_size():
    class Linear(Net):
        def loss(self, x, t):
            return np.sum(self.params["W"] * x)

    check = gradient_check(Linear({"W": np.ones(2)}, {"W": np.array([2.0, 4.0])}), np.array([1.0, 2.0]), None)
    assert check.parameters["W"].reason == "scaled: numeric / analytic = 1/2"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"h": 0}, ValueError, "h must be positive and finite, got 0"),
        ({"h": np.nan}, ValueError, "h must be positive and finite, got nan"),
        ({"h": "auto"}, TypeError, "h must be a real number, got str"),
        ({"rtol": -1e-3}, ValueError, "rtol must be positive and finite, got -0.001"),
        ({"rtol": np.inf}, ValueError, "rtol must be positive and finite, got inf"),
        ({"rtol": [1]}, TypeError, "rtol must be a real number, got list"),
        ({"sample": 0}, ValueError, "sample must be 1 or more, got 0"),
        ({"sample": 1.5}, TypeError, "sample must be an integer, got float"),
        ({"seed": -1}, ValueError, "seed must be 0 or more, got -1"),
        ({"seed": "a"}, TypeError, "seed must be an integer, got str"),
    ],
)
def test_options(options, error, message):
    with pytest.raises(error, match=message):
        gradient_check(lambda x: pytest.fail("the work began"), np.ones(2), np.ones(2), **options)


def test_tied_weights_that_are_views():
    rng = np.random.default_rng(0)
    W = rng.standard_normal((3, 4))

    class Tied:
        def __init__(self):
            self.params = {"W1": W, "W2": W.T}

        def loss(self, x, t):
            return 0.5 * ((x @ self.params["W1"] @ self.params["W2"] - t) ** 2).sum()

        def gradient(self, x, t):
            W = self.params["W1"]
            d = x @ W @ W.T - t
            total = x.T @ d @ W + d.T @ x @ W
            return {"W1": total, "W2": total.T}

    assert gradient_check(Tied(), rng.standard_normal((5, 3)), rng.standard_normal((5, 3)))


@pytest.mark.parametrize("method", ["loss", "predict"])
def test_a_net_whose_method_knows_the_net_by_name(engine, method):
    np.random.seed(0)
    net, x, t = engine.MultiLayerNet(4, [5], 3), np.random.randn(6, 4), np.array([0, 1, 2, 0, 1, 2])
    original = getattr(type(net), method)
    setattr(net, method, lambda *arguments: original(net, *arguments))
    assert gradient_check(net, x, t)
