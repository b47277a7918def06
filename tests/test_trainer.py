"""Trainer: what it draws, asks of a net, keeps and prints, on either engine."""

import inspect
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import zerodl_c.trainer
from zerodl_c import reference

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(params=[zerodl_c, reference], ids=["c", "numpy"])
def engine(request):
    """Either engine, as a module: that of conftest, as soon as both export Trainer."""
    return request.param


def trainer_of(engine, *arguments, **options):
    return engine.trainer.Trainer(*arguments, **{"verbose": False, **options})


class Net:
    """A net that keeps what it is asked, and answers with numbers that say when."""

    def __init__(self):
        self.params = {"W": np.zeros(1)}
        self.calls = []

    def answer(self, name, x, t):
        self.calls.append((name, x.tolist(), t.tolist()))
        return len(self.calls) / 8

    def gradient(self, x, t):
        self.answer("gradient", x, t)
        return {"W": np.ones(1)}

    def loss(self, x, t):
        return self.answer("loss", x, t)

    def accuracy(self, x, t):
        return self.answer("accuracy", x, t)


X, T = np.arange(10), np.arange(10) + 100  # to learn from
X_TEST, T_TEST = np.arange(4) + 50, np.arange(4) + 150


def names(net):
    return [name for name, _, _ in net.calls]


def test_the_defaults_of_the_book(engine):
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(engine.trainer.Trainer).parameters.items()
        if parameter.default is not parameter.empty and parameter.kind is not parameter.KEYWORD_ONLY
    }
    assert defaults == {
        "epochs": 20,
        "mini_batch_size": 100,
        "optimizer": "SGD",
        "optimizer_param": {"lr": 0.01},
        "evaluate_sample_num_per_epoch": None,
        "verbose": True,
    }


def test_a_step_asks_for_a_gradient_and_then_for_the_loss(engine):
    net = Net()
    np.random.seed(0)
    batch, after = np.random.choice(10, 5), np.random.rand()
    np.random.seed(0)
    trainer = trainer_of(engine, net, X, T, X_TEST, T_TEST, mini_batch_size=5, optimizer_param={"lr": 0.5})
    trainer.current_iter = 1  # no epoch begins
    trainer.train_step()
    assert np.random.rand() == after
    assert net.calls == [(name, batch.tolist(), (batch + 100).tolist()) for name in ("gradient", "loss")]
    np.testing.assert_array_equal(net.params["W"], [-0.5])
    assert trainer.train_loss_list == [2 / 8]
    assert trainer.current_iter == 2
    assert trainer.current_epoch == 0


def test_the_first_step_of_an_epoch_takes_the_accuracies(engine):
    net = Net()
    trainer = trainer_of(engine, net, X, T, X_TEST, T_TEST, epochs=3, mini_batch_size=5)
    assert (trainer.train_size, trainer.batch_size, trainer.iter_per_epoch, trainer.max_iter) == (10, 5, 2, 6)
    trainer.train()
    step, accuracies = ["gradient", "loss"], ["accuracy", "accuracy"]
    assert names(net) == 3 * [*step, *accuracies, *step] + ["accuracy"]
    everything, examined = (X.tolist(), T.tolist()), (X_TEST.tolist(), T_TEST.tolist())
    assert [call[1:] for call in net.calls[2:4]] == [everything, examined]
    assert net.calls[-1][1:] == examined
    assert trainer.train_loss_list == [2 / 8, 6 / 8, 8 / 8, 12 / 8, 14 / 8, 18 / 8]
    assert trainer.train_acc_list == [3 / 8, 9 / 8, 15 / 8]
    assert trainer.test_acc_list == [4 / 8, 10 / 8, 16 / 8]
    assert (trainer.current_iter, trainer.current_epoch) == (6, 3)


@pytest.mark.parametrize(
    ("batch_size", "per_epoch", "steps", "evaluated"),
    [
        (4, 2.5, 10, [0, 5]),  # where a whole number of steps is a whole number of epochs
        (3, 10 / 3, 13, [0]),  # 10 % (10 / 3) is not 0 in floats: as in the book
        (10, 1, 4, [0, 1, 2, 3]),
        (25, 1, 4, [0, 1, 2, 3]),  # larger than what there is to draw from
    ],
)
def test_epochs_that_are_no_whole_number_of_steps(engine, batch_size, per_epoch, steps, evaluated):
    net = Net()
    trainer = trainer_of(engine, net, X, T, X_TEST, T_TEST, epochs=4, mini_batch_size=batch_size)
    assert (trainer.iter_per_epoch, trainer.max_iter) == (per_epoch, steps)
    trainer.train()
    calls, when = names(net)[:-1], []
    for i, name in enumerate(calls):
        if name == "accuracy" and calls[i - 1] == "loss":
            when.append(calls[:i].count("loss") - 1)
    assert when == evaluated


def test_accuracies_of_the_first_samples(engine):
    net = Net()
    trainer_of(engine, net, X, T, X_TEST, T_TEST, evaluate_sample_num_per_epoch=3).train_step()
    assert net.calls[2:] == [("accuracy", [0, 1, 2], [100, 101, 102]), ("accuracy", [50, 51, 52], [150, 151, 152])]


def test_what_it_prints(engine, capsys):
    trainer = engine.trainer.Trainer(Net(), X, T, X_TEST, T_TEST, epochs=1, mini_batch_size=5)
    trainer.train()
    assert capsys.readouterr().out.splitlines() == [
        "train loss:0.25",
        "=== epoch:1, train acc:0.375, test acc:0.5 ===",
        "train loss:0.75",
        "=============== Final Test Accuracy ===============",
        "test acc:0.875",
    ]


def test_it_prints_nothing_unless_verbose(engine, capsys):
    trainer_of(engine, Net(), X, T, X_TEST, T_TEST, epochs=1, mini_batch_size=5).train()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["SGD", "sgd", "Sgd"])
def test_the_optimizer_is_that_of_the_engine(engine, name):
    trainer = trainer_of(engine, Net(), X, T, X_TEST, T_TEST, optimizer=name, optimizer_param={"lr": 0.25})
    assert type(trainer.optimizer) is engine.SGD
    assert trainer.optimizer.lr == 0.25
    assert trainer_of(engine, Net(), X, T, X_TEST, T_TEST).optimizer.lr == 0.01


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "LBFGS"}, "optimizer must be one of SGD, Momentum, .*, Adam, got 'LBFGS'"),
        ({"mini_batch_size": 0}, "mini_batch_size must be 1 or more, got 0"),
    ],
)
def test_wrong_options(engine, options, message):
    with pytest.raises(ValueError, match=message):
        trainer_of(engine, Net(), X, T, X_TEST, T_TEST, **options)


def test_it_trains_a_net(engine):
    np.random.seed(0)
    x = np.random.rand(60, 2)
    t, net = (x[:, 0] > x[:, 1]).astype(np.uint8), engine.TwoLayerNet(2, 8, 2, weight_init_std=0.5)
    trainer = trainer_of(
        engine, net, x[:40], t[:40], x[40:], t[40:], mini_batch_size=10, optimizer_param={"lr": 2.0}, epochs=40
    )
    trainer.train()
    assert trainer.train_loss_list[-1] < 0.5 * trainer.train_loss_list[0]
    assert trainer.test_acc_list[-1] > 0.8
    assert net.accuracy(x[40:], t[40:]) > 0.8


def test_the_misprint_of_the_first_printings(engine):
    x, t = np.zeros((4, 2)), np.zeros(4, int)
    trainer = trainer_of(engine, Net(), x, t, x, t, optimizer="rmsprpo", optimizer_param={"lr": 0.5})
    assert type(trainer.optimizer) is engine.optimizer.RMSprop
    assert trainer.optimizer.lr == 0.5


# --- What the book's does not have -----------------------------------------------------------------


def trained(engine, **options):
    """What a net was asked in training, and its trainer."""
    net = Net()
    trainer = trainer_of(engine, net, X, T, X_TEST, T_TEST, epochs=3, mini_batch_size=5, **options)
    trainer.train()
    return net, trainer


def test_history(engine):
    _, trainer = trained(engine)
    history = trainer.history
    assert history["loss"] == trainer.train_loss_list == [2 / 8, 6 / 8, 8 / 8, 12 / 8, 14 / 8, 18 / 8]
    assert history["iteration"] == [0, 2, 4]
    assert history["train_acc"] == trainer.train_acc_list == [3 / 8, 9 / 8, 15 / 8]
    assert history["test_acc"] == trainer.test_acc_list == [4 / 8, 10 / 8, 16 / 8]


@pytest.mark.parametrize("kind", ["Adam", "SGD"])
def test_an_optimizer_object(engine, kind):
    optimizer = getattr(engine, kind)(0.5)
    _, trainer = trained(engine, optimizer=optimizer)
    assert trainer.optimizer is optimizer

    class Own:
        def update(self, params, grads):
            params["W"] += 1

    net, trainer = trained(engine, optimizer=Own())
    np.testing.assert_array_equal(net.params["W"], [6])


def test_anything_that_becomes_an_array(engine):
    pandas = pytest.importorskip("pandas")
    x, t = np.random.default_rng(0).normal(size=(12, 4)), np.arange(12) % 3
    results = []
    forms = [(x, t), (x.tolist(), t.tolist()), (pandas.DataFrame(x), pandas.Series(t, index=range(5, 17)))]
    for some_x, some_t in forms:
        np.random.seed(0)
        net = engine.TwoLayerNet(4, 5, 3)
        trainer = trainer_of(engine, net, some_x, some_t, some_x, some_t, epochs=2, mini_batch_size=4)
        trainer.train()
        results.append([trainer.train_loss_list, trainer.test_acc_list])
    assert results[0] == results[1] == results[2]
    assert trainer_of(engine, net, x, t, x, t).x_train is x


STOPS = {"True": lambda: True, "np.True_": lambda: np.bool_(True), "StopIteration": lambda: next(iter(()))}


@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_callback_ends_the_training(engine, stop):
    seen = []

    def callback(trainer):
        seen.append((trainer.current_iter, len(trainer.train_loss_list)))
        return stop() if trainer.current_iter == 3 else None

    net, trainer = trained(engine, callback=callback)
    assert seen == [(1, 1), (2, 2), (3, 3)]
    assert trainer.current_iter == 3
    assert names(net)[-1] == "accuracy"  # the final one is told all the same
    assert net.calls[-1][1] == X_TEST.tolist()


@pytest.mark.parametrize("answer", [None, False, 1.5, "stop", [1]])
def test_a_callback_that_answers_something_else(engine, answer):
    _, trainer = trained(engine, callback=lambda _: answer)
    assert trainer.current_iter == trainer.max_iter == 6


def test_an_exception_of_the_callback_is_the_callers(engine):
    def callback(trainer):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        trained(engine, callback=callback)


@pytest.mark.parametrize("rng", [7, np.random.SeedSequence(7)], ids=["seed", "sequence"])
def test_a_generator_draws_the_batches(engine, rng):
    expected = np.random.default_rng(7).choice(10, 5)
    np.random.seed(0)
    after = np.random.rand()
    np.random.seed(0)
    net, _ = trained(engine, rng=rng)
    assert net.calls[0][1] == expected.tolist()
    assert np.random.rand() == after
    generator = np.random.default_rng(7)
    net, trainer = trained(engine, rng=generator)
    assert trainer.rng is generator
    assert net.calls[0][1] == expected.tolist()


@pytest.mark.parametrize("widgets", [True, False])
def test_progress_is_one_line(engine, capsys, monkeypatch, widgets):
    pytest.importorskip("tqdm")
    monkeypatch.setattr("zerodl_c._progress.find_spec", lambda name: widgets or None)
    trained(engine, progress=True, verbose=True)
    out, err = capsys.readouterr()
    assert out == ""
    last = err.rstrip("\n").split("\r")[-1]
    assert "\n" not in err.rstrip("\n")
    assert "6/6" in last
    assert "loss=2.2500" in last
    assert "test acc=2.0000" in last


def test_progress_without_widgets_does_not_ask_for_those(monkeypatch):
    """tqdm.auto would, with a warning."""
    pytest.importorskip("tqdm")
    monkeypatch.setattr("zerodl_c._progress.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    assert zerodl_c._progress.bars().__module__ == "tqdm.std"


def test_progress_without_tqdm(engine, monkeypatch):
    for name in ("tqdm", "tqdm.auto"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'zerodl_c\[progress\]'"):
        trained(engine, progress=True)


def test_a_trainer_is_shown(engine):
    net = engine.TwoLayerNet(4, 3, 2)
    x, t = np.zeros((1200, 4)), np.zeros(1200, int)
    text = "Trainer(TwoLayerNet(4-3-2, sigmoid, 23 parameters), Adam(lr=0.1, beta1=0.9, beta2=0.999), 1,200 samples, "
    trainer = trainer_of(engine, net, x, t, x, t, optimizer="adam", optimizer_param={"lr": 0.1})
    assert repr(trainer) == text + "step 0 of 240)"


def test_a_subclass_that_sets_what_the_books_init_sets(engine):
    class Own(engine.Trainer):
        def __init__(self, network):
            self.network, self.verbose, self.optimizer = network, False, engine.SGD()
            self.x_train = self.x_test = X
            self.t_train = self.t_test = T
            self.batch_size, self.evaluate_sample_num_per_epoch = 5, None
            self.train_size, self.iter_per_epoch, self.max_iter = 10, 2, 4
            self.current_iter = self.current_epoch = 0
            self.train_loss_list, self.train_acc_list, self.test_acc_list = [], [], []

    trainer = Own(Net())
    trainer.train()
    assert (trainer.current_iter, trainer.current_epoch) == (4, 2)


STRINGS = np.array(["cat", "dog"] * 5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"optimizer": "lion"}, ValueError, "optimizer must be one of SGD, .*, got 'lion'"),
        ({"optimizer": zerodl_c.Adam}, TypeError, "optimizer must be a name, or have update.*, got <class"),
        ({"optimizer": 0.1}, TypeError, "optimizer must be a name, or have update.*, got 0.1"),
        ({"optimizer": {"lr": 0.1}}, TypeError, "optimizer must be a name, or have update.* {'lr': 0.1} of type dict"),
        ({"optimizer": {"SGD"}}, TypeError, "optimizer must be a name, or have update.*, got {'SGD'} of type set"),
        (
            {"optimizer": zerodl_c.SGD(), "optimizer_param": {"lr": 1}},
            ValueError,
            r"optimizer_param goes with the name of an optimizer, not with SGD\(lr=0.01\)",
        ),
        ({"optimizer_param": {"rate": 1}}, TypeError, "optimizer_param must be a dict of lr, got {'rate': 1}"),
        ({"optimizer_param": 0.1}, TypeError, "optimizer_param must be a dict of lr, got 0.1"),
        ({"optimizer_param": {"lr": -1}}, ValueError, "lr must be 0 or more, and finite, got -1"),
        ({"epochs": -1}, ValueError, "epochs must be 0 or more, and finite, got -1"),
        ({"epochs": [1, 2]}, TypeError, r"epochs must be a number, got \[1, 2\] of type list"),
        ({"epochs": "20"}, TypeError, "epochs must be a number, got '20'"),
        ({"mini_batch_size": 2.5}, TypeError, "mini_batch_size must be an integer, got 2.5"),
        ({"evaluate_sample_num_per_epoch": 0}, ValueError, "evaluate_sample_num_per_epoch must be 1 or more, got 0"),
        ({"callback": 5}, TypeError, "callback must be callable, got 5"),
        ({"rng": "seed"}, TypeError, "rng must be a numpy.random.Generator or a seed, got 'seed'"),
        ({"rng": -1}, ValueError, "rng must be a numpy.random.Generator or a seed, got -1"),
        ({"t_train": T[:9]}, ValueError, r"x_train and t_train must have as many samples, got .*\(10,\) and \(9,\)"),
        ({"x_test": X_TEST[:2]}, ValueError, r"x_test and t_test must have as many samples, got .*\(2,\) and \(4,\)"),
        ({"x_train": [], "t_train": []}, ValueError, r"x_train must hold one sample or more, got shape \(0,\)"),
        ({"x_train": 5}, ValueError, r"x_train and t_train must have as many samples, got shapes \(\)"),
        ({"x_train": STRINGS}, TypeError, "x_train must hold numbers, got dtype <U3"),
        ({"t_train": STRINGS}, TypeError, r"t_train must hold integer labels or one-hot rows, .* <U3; np.unique"),
        ({"network": object()}, TypeError, "network must have params, gradient, loss and accuracy, got <object"),
    ],
)
def test_wrong_use(engine, options, error, message):
    arguments = {"network": Net(), "x_train": X, "t_train": T, "x_test": X_TEST, "t_test": T_TEST, **options}
    with pytest.raises(error, match=message):
        engine.Trainer(**arguments)


NETS = {
    "TwoLayerNet": lambda engine: engine.TwoLayerNet(6, 5, 3),
    "MultiLayerNet": lambda engine: engine.MultiLayerNet(6, [5], 3),
    "MultiLayerNetExtend": lambda engine: engine.MultiLayerNetExtend(6, [5], 3, use_batchnorm=True, use_dropout=True),
    "Sequential": lambda engine: engine.Sequential([engine.Affine(np.ones((6, 3)), np.zeros(3)), engine.Relu()]),
    "SimpleConvNet": lambda engine: engine.SimpleConvNet(
        (2, 6, 6), {"filter_num": 2, "filter_size": 3, "pad": 0, "stride": 1}, 4, 3
    ),
}


@pytest.mark.parametrize("of", ["train", "test"])
@pytest.mark.parametrize("name", NETS)
def test_samples_that_do_not_fit_the_net(engine, name, of):
    net, is_conv = NETS[name](engine), name == "SimpleConvNet"
    x, t = np.ones((4, 2, 6, 6) if is_conv else (4, 6)), np.array([0, 1, 2, 0])
    np.random.seed(0)
    after = np.random.rand()
    np.random.seed(0)
    state = {key: dict(vars(layer)) for key, layer in getattr(net, "layers", {}).items()}

    def trainer(**changes):
        return trainer_of(engine, net, **{"x_train": x, "t_train": t, "x_test": x, "t_test": t, **changes})

    trainer(t_train=np.eye(3)[t], t_test=t.reshape(4, 1))
    must = rf"x_{of} must have shape \(samples, {'2, height, width' if is_conv else '6'}\) for {name}\(.*, got \(4, "
    for wrong in (np.ones((4, 7)), np.ones((4, 1, 6, 6)), np.ones((4, 2, 6, 9)), np.ones((4, 0))):
        with pytest.raises(ValueError, match=must):
            trainer(**{f"x_{of}": wrong})
    for wrong, message in [(t + 1, "from 0 to 2, got 1 to 3"), (t - 1, "got -1 to 1"), (np.eye(4), r"\(4, 4\)")]:
        with pytest.raises(ValueError, match=rf"t_{of} must fit the 3 classes of {name}\(.*{message}"):
            trainer(**{f"t_{of}": wrong})
    with pytest.raises(TypeError, match=rf"t_{of} must fit the 3 classes of .* must hold integer labels"):
        trainer(**{f"t_{of}": t.astype(float)})
    assert np.random.rand() == after
    for key, before in state.items():
        assert all(vars(net.layers[key])[attribute] is value for attribute, value in before.items())


def test_a_net_of_a_script_knows_what_it_takes(engine):
    class Scaled(engine.TwoLayerNet):
        def predict(self, x):
            return super().predict(x[:, :2] / 255)

    class Doubled:
        __slots__ = ()

        def forward(self, x):
            return 2 * x[:, :2]

        def backward(self, dout):
            return dout

    x, t = np.ones((4, 9)), np.array([0, 1, 2, 0])
    trainer_of(engine, Scaled(2, 5, 3), x, t, x, t)
    for first in (Doubled(), SimpleNamespace(forward=Doubled().forward, backward=Doubled().backward)):
        net = engine.Sequential([first, engine.Affine(np.ones((2, 3)), np.zeros(3))])
        trainer_of(engine, net, x, t, x, t)


def test_a_net_that_keeps_its_layers_in_a_list_is_not_looked_at(engine):
    class Listed(engine.MultiLayerNet):
        def __init__(self):
            super().__init__(6, [5], 3)
            self.layers = [*self.layers.values()]

        def predict(self, x):
            for layer in self.layers:
                x = layer.forward(x)
            return x

        def gradient(self, x, t):
            return {key: np.zeros_like(param) for key, param in self.params.items()}

    x, t = np.ones((12, 6)), np.arange(12) % 3
    engine.Trainer(Listed(), x, t, x, t, epochs=1, mini_batch_size=5, verbose=False).train()


def test_layers_that_do_not_fit_each_other_are_not_blamed_on_x(engine):
    net, x, t = engine.TwoLayerNet(2, 5, 3), np.ones((4, 2)), np.array([0, 1, 2, 0])
    net.params["W2"] = np.ones((4, 3))
    with pytest.raises(ValueError, match=r"^((?!x_train).)*$"):
        trainer_of(engine, net, x, t, x, t)


def test_while_the_swap_is_in_place_a_script_trains_on_what_it_will(engine):
    zerodl_c.install()
    try:
        net, trainer = Net(), trainer_of(engine, Net(), X, T[:9], X_TEST, T_TEST, epochs=-1)
        trainer.train()
        assert trainer.train_loss_list == []

        class Images:
            """Loads what is asked for."""

            def __len__(self):
                return 10

            def __getitem__(self, i):
                return X[i]

        images = Images()
        trainer = trainer_of(engine, net, images, T, images, T, epochs=1, mini_batch_size=5)
        trainer.current_iter = 1  # no epoch begins
        trainer.train_step()
        assert trainer.x_train is images
    finally:
        zerodl_c.uninstall()
