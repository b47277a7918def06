"""The optimizers: both engines take the same steps, in place, whatever the arrays are."""

import copy
import pickle
import shelve
from collections import UserDict
from fractions import Fraction

import numpy as np
import pytest
from api import OPTIMIZERS
from arrays import DTYPES, LAYOUTS, LENGTHS, normal, specials
from tolerances import assert_close, assert_identical

import zerodl_c
from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)
every_optimizer = pytest.mark.parametrize("name", OPTIMIZERS)

STATE = {name: [key for key, value in start.items() if value is None] for name, start in OPTIMIZERS.items()}
STATEFUL = [name for name in OPTIMIZERS if STATE[name]]
# Rates such that what is derived from them is another number if they are rounded to float32 first.
ODD = {"lr": 0.013, "momentum": 0.7, "decay_rate": 0.83, "beta1": 0.83, "beta2": 0.97}


def optimizer_of(engine, name, rates):
    """One whose rates were set once it was made, as schedules do: nobody checks them then."""
    optimizer = getattr(engine, name)()
    for key, value in rates.items():
        assert hasattr(optimizer, key)
        setattr(optimizer, key, value)
    return optimizer


def steps(engine, name, param, grads, state=(), **rates):
    """The parameter after a step for each gradient, then the state; `state` is what it is at first, if not zeros."""
    optimizer, params = optimizer_of(engine, name, rates), {"W": param}
    for key, value in zip(STATE[name], state, strict=False):
        setattr(optimizer, key, {"W": value})
    for grad in grads:
        assert optimizer.update(params, {"W": grad}) is None
    return [params["W"], *(getattr(optimizer, key)["W"] for key in STATE[name])]


def assert_alike(name, got, expected, label=""):
    """To the bit: the engines do the same operations in the same order. But Adam's rate is a NumPy float64, which
    makes NumPy take the last step in float64, and C takes it in the parameter's dtype."""
    for x, y in zip(got, expected, strict=True):
        x, y = (np.array(z, np.result_type(z).newbyteorder("="), order="C") for z in (x, y))
        if name == "Adam" and y.dtype == np.float32:
            assert_close(x, y, scale=1, label=label)
        else:
            assert_identical(x, y, label)


def assert_steps_as_reference(name, param, grads, label=""):
    twin, before = copy.deepcopy(param), [grad.tobytes() for grad in grads]
    rates = {key: rate for key, rate in ODD.items() if key in OPTIMIZERS[name]}
    expected = steps(reference, name, twin, [grad.copy() for grad in grads], **rates)
    got = steps(zerodl_c, name, param, grads, **rates)
    assert got[0] is param, label
    assert [grad.tobytes() for grad in grads] == before, f"{label}: a gradient was changed"
    assert_alike(name, got, expected, label)


@every_dtype
@every_optimizer
def test_every_length(name, dtype, isa):
    for n in (0, *LENGTHS, 100, 1000):
        grads = [normal((n,), dtype, seed) for seed in (2, 3, 4)]
        assert_steps_as_reference(name, normal((n,), dtype, 1), grads, f"{n}")


@every_dtype
@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in {"read-only", "repeated"}])
@every_optimizer
def test_every_layout(name, layout, dtype):
    for shape in ((), (5,), (3, 17), (2, 3, 4), (0, 3)):
        for grad_layout, change in LAYOUTS.items():
            grads = [change(normal(shape, dtype, seed)) for seed in (2, 3)]
            param = LAYOUTS[layout](normal(shape, dtype, 1))
            assert_steps_as_reference(name, param, grads, f"{shape}, gradient {grad_layout}")


@every_dtype
@every_optimizer
def test_large_parameters_on_threads(name, dtype, threads):
    grads = [normal((1237, 211), dtype, seed) for seed in (2, 3)]
    assert_steps_as_reference(name, normal((1237, 211), dtype, 1), grads)


@every_dtype
@every_optimizer
def test_a_hundred_steps_down_a_slope(name, dtype, isa):
    """Each gradient is that of where the last step led: what differs would grow."""
    scale = np.logspace(-3, 1, 257).astype(dtype)
    results = []
    for engine in (zerodl_c, reference):
        optimizer, params = getattr(engine, name)(), {"W": normal((257,), dtype)}
        for _ in range(100):
            optimizer.update(params, {"W": scale * params["W"]})
        results.append(params["W"])
    assert_close(*results, terms=100 if name == "Adam" else 0, scale=1)
    assert (abs(results[0]) < abs(normal((257,), dtype))).all()


@every_dtype
@every_optimizer
def test_special_values(name, dtype, isa):
    """In the parameter, the gradient and the state, a negative sum of squares included."""
    values = specials(dtype)
    first, second = np.repeat(values, values.size), np.tile(values, values.size)
    ones = np.ones_like(first)
    for param, grad, *state in (
        (first, second, second, second),
        (ones, first, second, second),
        (ones, first, second, ones),
        (second, ones, ones, first),
    ):
        with np.errstate(all="ignore"):
            expected = steps(reference, name, param.copy(), [grad], [x.copy() for x in state])
        got = steps(zerodl_c, name, param.copy(), [grad], [x.copy() for x in state])
        assert_alike(name, got, expected)


# --- What they compute ----------------------------------------------------------------------------


def test_a_constant_gradient(engine):
    """Where the sums have a closed form."""
    t, g, lr = np.arange(1, 21), 3.0, 0.1
    geometric = (1 - 0.9**t) / (1 - 0.9)
    velocity, way = -lr * g * geometric, -lr * g * np.cumsum(geometric)
    steps_of_one = -lr * t
    expected = {
        "SGD": [-lr * g * t],
        "Momentum": [way, velocity],
        "Nesterov": [way + 0.9 * velocity, velocity],
        "AdaGrad": [-lr * np.cumsum(t**-0.5), g**2 * t],
        "RMSprop": [-lr * np.cumsum((1 - 0.99**t) ** -0.5), g**2 * (1 - 0.99**t)],
        "Adam": [steps_of_one, g * (1 - 0.9**t), g**2 * (1 - 0.999**t)],
    }
    for name, values in expected.items():
        got = steps(engine, name, np.zeros(5), [np.full(5, g)] * 20, lr=lr)
        for x, value in zip(got, values, strict=True):
            np.testing.assert_allclose(x, value[-1], rtol=2e-6, err_msg=name)  # 1e-7 beside the smallest root, 0.09


@every_optimizer
def test_attributes_and_defaults(name, engine):
    optimizer = getattr(engine, name)()
    assert vars(optimizer) == OPTIMIZERS[name]
    params = {"W": np.ones((2, 3), np.float32), "b": 3.0}
    optimizer.update(params, params)
    assert vars(optimizer).keys() == OPTIMIZERS[name].keys()
    for key in STATE[name]:
        state = getattr(optimizer, key)
        assert list(state) == ["W", "b"]
        assert (state["W"].dtype, state["W"].shape) == (np.float32, (2, 3))


@every_optimizer
def test_every_parameter_of_a_dict(name, engine):
    params = {"W": np.array([1.0, 2.0]), "b": 3.0, "c": np.float32(1)}
    W = params["W"]
    optimizer = getattr(engine, name)(lr=0.5)
    optimizer.update(params, {"W": np.array([10.0, -10.0]), "b": 5.0, "c": np.float32(2), "more": 1})
    assert params["W"] is W and list(params) == ["W", "b", "c"]
    assert W[0] < 1 and W[1] > 2 and params["b"] < 3 and params["c"] < 1
    assert getattr(optimizer, "iter", 1) == 1


@every_optimizer
def test_plain_floats_are_replaced(name):
    """Down x^2 / 20 + y^2, as a book's script goes to compare the optimizers."""
    ways = []
    for engine in (zerodl_c, reference):
        optimizer, params, way = getattr(engine, name)(lr=0.3), {"x": -7.0, "y": 2.0}, []
        for _ in range(30):
            way.append((params["x"], params["y"], type(params["x"])))
            optimizer.update(params, {"x": params["x"] / 10, "y": 2 * params["y"]})
        ways.append(way)
    assert ways[0] == ways[1]
    assert ways[0][0][:2] == (-7, 2) and -7 < ways[0][-1][0] < 7


# --- Rates ----------------------------------------------------------------------------------------


@every_optimizer
def test_rates_may_change(name):
    results = []
    for engine in (zerodl_c, reference):
        optimizer, params = getattr(engine, name)(), {"W": np.ones(2)}
        for rate in OPTIMIZERS[name].keys() & ODD.keys():
            setattr(optimizer, rate, 0.25)
            before = params["W"].copy()
            optimizer.update(params, {"W": np.ones(2)})
            assert (params["W"] != before).all()
        results.append([params["W"]])
    assert_alike(name, *results)


@every_optimizer
def test_a_rate_of_numpys_float64_leaves_float32_as_it_is(name):
    """NumPy 2 would compute in float64: so the values differ by rounding."""
    param, grads = normal((100,), np.float32), [normal((100,), np.float32, seed) for seed in (1, 2, 3)]
    got, expected = (
        steps(engine, name, param.copy(), grads, lr=np.float64(0.1))[0] for engine in (zerodl_c, reference)
    )
    assert_close(got, expected, scale=1)


@pytest.mark.parametrize(
    "lr",
    [0, 1, 0.1, np.float32(0.1), np.float64(0.1), np.array(0.1), -0.1, np.inf, np.array([0.1, 0.2, 0.3])],
    ids=repr,
)
@every_optimizer
def test_any_number_is_a_learning_rate_and_so_is_an_array(name, lr):
    """To the bit: a rate of float32 makes float32 of what is derived from it."""
    with np.errstate(all="ignore"):
        got, expected = (
            steps(engine, name, np.arange(1.0, 4), [np.ones(3)] * 2, lr=lr) for engine in (zerodl_c, reference)
        )
    assert_alike(name, got, expected)


# --- What C leaves to NumPy -----------------------------------------------------------------------


def outcome(engine, name, param, *grads, **rates):
    """The error if there is one, and the parameter and the state that are left, with their dtypes."""
    optimizer, params = optimizer_of(engine, name, rates), {"W": param}
    error = None
    try:
        for grad in grads:
            optimizer.update(params, {"W": grad})
    except Exception as exception:
        error = type(exception), str(exception)
    left = [params["W"], *((getattr(optimizer, key) or {"W": 0.0})["W"] for key in STATE[name])]
    return error, [(np.asarray(x).tolist(), np.asarray(x).dtype) for x in left]


NOT_PLAIN = {  # a parameter and its gradient
    "gradient: number": (np.zeros((2, 3)), 1.0),
    "gradient: row": (np.zeros((2, 3)), np.ones(3)),
    "gradient: float32": (np.zeros((2, 3)), np.ones((2, 1), np.float32)),
    "gradient: integers": (np.zeros((2, 3)), np.ones((2, 3), int)),
    "gradient: float64": (np.zeros(3, np.float32), np.full(3, 0.1)),
    "gradient: shape": (np.zeros(2), np.ones(3)),
    "gradient: text": (np.zeros(2), "steep"),
    "gradient: None": (np.zeros(2), None),
    "float16": (np.zeros(3, np.float16), np.ones(3, np.float16)),
    "longdouble": (np.zeros(3, np.longdouble), np.ones(3)),
    "complex": (np.zeros(3, complex), np.ones(3) * 1j),
    "integers": (np.ones(2, int), np.ones(2)),
    "integers only": (np.ones(2, int), np.ones(2, int)),
    "integer": (1, 2),
    "number": (1.0, 0.5),
    "read-only": (LAYOUTS["read-only"](np.ones(2)), np.ones(2)),
    "strided": (np.ones((4, 4))[::2, ::2], np.ones((2, 2))),
    "empty": (np.ones((0, 3)), np.ones((0, 3))),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("case", NOT_PLAIN)
@every_optimizer
def test_what_c_does_not_take_is_the_references(name, case):
    param, grad = NOT_PLAIN[case]
    got, expected = (
        outcome(engine, name, *(copy.deepcopy(x) for x in (param, grad, grad))) for engine in (zerodl_c, reference)
    )
    assert got == expected


@pytest.mark.parametrize("lr", ["fast", None, 1j, [0.1], Fraction(1, 10)], ids=str)
@every_optimizer
def test_rates_that_are_no_numbers_to_numpy(name, lr):
    got, expected = (outcome(engine, name, np.ones(2), np.ones(2), lr=lr) for engine in (zerodl_c, reference))
    assert got == expected


@every_optimizer
def test_errors(name, engine):
    optimizer = getattr(engine, name)()
    with pytest.raises(KeyError, match="W"):
        optimizer.update({"W": np.ones(2)}, {})
    with pytest.raises(ValueError, match="read-only"):
        steps(engine, name, LAYOUTS["read-only"](np.ones(2)), [np.ones(2)])
    with pytest.raises(ValueError, match="broadcast"):
        steps(engine, name, np.ones(2), [np.ones(3)])
    with pytest.raises(TypeError):
        steps(engine, name, np.ones(2), [np.ones(2)], lr="fast")
    with pytest.raises(TypeError):  # integers cannot hold the step
        steps(engine, name, np.ones(2, int), [np.ones(2)])


@pytest.mark.parametrize("name", STATEFUL)
def test_a_parameter_that_comes_later_has_no_state(name, engine):
    optimizer, params = getattr(engine, name)(), {"W": np.ones(2)}
    optimizer.update(params, params)
    params["late"] = np.ones(2)
    with pytest.raises(KeyError, match="late"):
        optimizer.update(params, params)


@every_dtype
@every_optimizer
def test_arrays_that_overlap(name, dtype):
    """As if everything were read before anything is written, line by line of the reference."""
    arrays = 2 + len(STATE[name])
    for shift in (0, 1, 3, 16):
        for i in range(arrays - 1):
            results = []
            for engine in (zerodl_c, reference):
                memory = abs(normal((100,), dtype))
                separate = [abs(normal((50,), dtype, seed)) for seed in range(arrays)]
                separate[i], separate[i + 1] = memory[:50], memory[shift : shift + 50]
                param, *state, grad = separate
                results.append([*steps(engine, name, param, [grad], state), memory])
            assert_alike(name, *results, label=f"{i}, shifted by {shift}")


# --- State ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STATEFUL)
@pytest.mark.parametrize("twin", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))], ids=["copied", "pickled"])
def test_a_copy_goes_on_as_the_original_does(name, twin, engine):
    optimizer, params = getattr(engine, name)(), {"W": normal((7, 3), np.float64)}
    optimizer.update(params, {"W": normal((7, 3), np.float64, 1)})
    other, others = twin(optimizer), twin(params)
    assert type(other) is type(optimizer)
    for each, arrays in ((optimizer, params), (other, others)):
        each.update(arrays, {"W": normal((7, 3), np.float64, 2)})
    assert_identical(params["W"], others["W"])


@pytest.mark.parametrize("name", STATEFUL)
def test_state_may_be_replaced_at_any_time(name):
    """By an array of another kind, too; and by None, for a new start."""
    results = []
    for engine in (zerodl_c, reference):
        optimizer, params, grads = getattr(engine, name)(), {"W": normal((6,), np.float64)}, {"W": np.ones(6)}
        for state in (np.arange(6.0), np.arange(6, dtype=np.float32), np.arange(12.0)[::2]):
            optimizer.update(params, grads)
            for key in STATE[name]:
                getattr(optimizer, key)["W"] = state.copy() if state.flags.contiguous else state
        optimizer.update(params, grads)
        for key in STATE[name]:
            setattr(optimizer, key, None)
        optimizer.update(params, grads)
        results.append([params["W"], *(getattr(optimizer, key)["W"] for key in STATE[name])])
    assert_alike(name, *results)


# --- Mappings whose items are copies ----------------------------------------------------------------


class Copies(UserDict):
    """As a shelf, or a store on a disk: what is read is a copy, and what is written is kept."""

    def __getitem__(self, key):
        return np.copy(super().__getitem__(key))


@every_optimizer
@every_dtype
def test_a_mapping_that_hands_out_copies_is_trained(engine, name, dtype):
    params, stored = {"W": np.ones((3, 4), dtype)}, Copies(W=np.ones((3, 4), dtype))
    grads = {"W": normal((3, 4), dtype)}
    optimizers = [getattr(engine, name)() for _ in range(2)]
    for step in range(3):
        for optimizer, target in zip(optimizers, (params, stored), strict=True):
            optimizer.update(target, grads)
            if step == 0:
                for key in optimizer._state:
                    setattr(optimizer, key, type(target)(getattr(optimizer, key)))
        assert_identical(stored["W"], params["W"])
    for key in optimizers[0]._state:
        plain, copied = (getattr(optimizer, key)["W"] for optimizer in optimizers)
        assert_identical(copied, plain)
    assert not np.array_equal(params["W"], np.ones((3, 4)))


@every_optimizer
def test_a_shelf_is_trained(engine, name, tmp_path):
    with shelve.open(str(tmp_path / "params")) as params:
        params["W"] = np.ones(3)
        getattr(engine, name)().update(params, {"W": np.array([1.0, -2.0, 3.0])})
        assert (params["W"] != 1).all()


def test_no_optimizer_is_anothers_subclass(engine):
    """As in the book: a script may tell them apart by isinstance."""
    kinds = [getattr(engine, name) for name in ("SGD", "Momentum", "Nesterov", "AdaGrad", "RMSprop", "Adam")]
    assert all(issubclass(kind, other) == (kind is other) for kind in kinds for other in kinds)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_velocity_that_somebody_has_kept_stays_as_it_was(engine, dtype):
    """The book's Momentum makes a new v at each update, so that a history of them is one."""
    optimizer, params = engine.Momentum(lr=0.5, momentum=0.5), {"W": np.zeros(3, dtype), "b": np.zeros(1, dtype)}
    history, part = [], None
    for _ in range(3):
        optimizer.update(params, {"W": np.ones(3, dtype), "b": np.ones(1, dtype)})
        history.append(optimizer.v["W"])
        part = part if part is not None else optimizer.v["b"][:]
    np.testing.assert_array_equal(history, np.repeat([[-0.5], [-0.75], [-0.875]], 3, axis=1))
    np.testing.assert_array_equal(part, [-0.5])
    np.testing.assert_array_equal(optimizer.v["b"], [-0.875])


def test_a_velocity_that_nobody_has_kept_is_not_copied():
    optimizer, params = zerodl_c.Momentum(), {"W": np.zeros(3)}
    optimizer.update(params, {"W": np.ones(3)})
    address = optimizer.v["W"].ctypes.data
    optimizer.update(params, {"W": np.ones(3)})
    assert optimizer.v["W"].ctypes.data == address
