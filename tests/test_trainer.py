"""Trainer: what it draws, asks of a net, keeps and prints, on either engine."""

import inspect

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
