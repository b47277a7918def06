"""zerodl-c check: the book's net, and what users bring."""

import os
import signal
import subprocess
import sys

import pytest

import zerodl_c
from zerodl_c import cli, reference

pytestmark = pytest.mark.usefixtures("elsewhere")

MINE = """
import numpy as np
from zerodl_c import TwoLayerNet

class Doubled(TwoLayerNet):
    def gradient(self, x, t):
        return {name: 2 * grad for name, grad in super().gradient(x, t).items()}

def arguments(net):
    return net(4, 3, 2, 0.5), np.random.rand(5, 4), np.array([0, 1, 1, 0, 1])

def sound():
    return arguments(TwoLayerNet)

def doubled():
    return arguments(Doubled)

def function():
    import helper
    return helper.f, np.array([1.0, 2.0]), lambda x: 2 * x

class inner:
    sound = staticmethod(sound)

def pair():
    return 1, 2

def one(x):
    return 1, 2, 3

constant = (1, 2, 3)

def broken():
    raise ZeroDivisionError("in my own code")

def no_file():
    open("nowhere")

def no_pipe():
    raise BrokenPipeError(32, "in my own code")

def no_memory():
    raise MemoryError("in my own code")

def stopped():
    import signal
    signal.raise_signal(signal.SIGINT)

def broken_later():
    return lambda x: no_file(), np.array([1.0]), lambda x: x
"""
HELPER = """
import numpy as np
def f(x):
    import lazily
    return np.sum(x**2)
"""


@pytest.fixture
def mine(elsewhere, tmp_path):
    """Modules in the current folder, forgotten after the test."""
    modules = {"mine": MINE, "helper": HELPER, "lazily": "", "needs": "import no_such_module", "unfinished": "x = ("}
    for name, text in modules.items():
        (tmp_path / f"{name}.py").write_text(text)
    before = list(sys.path)
    yield
    assert sys.path == before
    for name in modules:
        sys.modules.pop(name, None)


def check(capsys, *arguments):
    """The exit status, and stdout's lines in words."""
    status = cli.main(["check", *arguments])
    out, err = capsys.readouterr()
    assert err == ""
    return status, [line.split() for line in out.splitlines()]


def fails(capsys, *arguments):
    """Run a check that must fail; return what it says after 'zerodl-c: error: '."""
    assert cli.main(["check", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("zerodl-c: error: ") and err.count("\n") == 1
    return err.removeprefix("zerodl-c: error: ").rstrip("\n")


def test_the_books_net_on_both_engines(capsys):
    status, lines = check(capsys, "--sample", "30")
    assert status == 0
    starts = ["c:", "parameter", "W1", "b1", "W2", "b2", "f", "numpy:", "parameter", "W1", "b1", "W2", "b2", "f"]
    assert [line[0] for line in lines] == starts
    assert [line[1] for line in lines[2:6]] == ["30/39200", "30/50", "30/500", "10/10"]
    assert {line[-1] for line in [*lines[2:6], *lines[9:13]]} == {"ok"}
    assert lines[6] == lines[13]


def test_all_entries_of_the_books_net(capsys):
    status, lines = check(capsys, "--engine", "c")
    assert status == 0
    assert [line[1:4] for line in lines[2:6]] == [[f"{n}/{n}", "100", "%"] for n in (39200, 50, 500, 10)]


@pytest.mark.parametrize("engine", ["c", "numpy"])
def test_one_engine(capsys, engine):
    status, lines = check(capsys, "--sample", "3", "--engine", engine)
    assert (status, lines[0][0], len(lines)) == (0, f"{engine}:", 7)


@pytest.mark.parametrize("module", [zerodl_c, reference])
def test_a_fault_of_either_engine_is_exit_1(capsys, monkeypatch, module):
    class Wrong(module.TwoLayerNet):
        def gradient(self, x, t):
            return {name: -grad for name, grad in super().gradient(x, t).items()}

    monkeypatch.setattr(module, "TwoLayerNet", Wrong)
    status, lines = check(capsys, "--sample", "20")
    assert status == 1
    assert sum(line[-6:] == ["scaled:", "numeric", "/", "analytic", "=", "-1"] for line in lines) == 4


def test_seed_and_h(capsys):
    results = [check(capsys, "--sample", "5", "--seed", seed) for seed in ("1", "1", "2")]
    assert results[0] == results[1] != results[2]
    status, lines = check(capsys, "--sample", "5", "--h", "0.002")
    assert (status, lines[6][3:6]) == (0, ["h", "=", "0.002,"])
    assert check(capsys, "--sample", "5", "--h", "1e-30")[0] == 1


@pytest.mark.parametrize("name", ["sound", "function", "inner.sound"])
def test_what_is_sound(capsys, mine, name):
    status, lines = check(capsys, f"mine:{name}")
    assert status == 0
    assert lines[0][0] == "parameter"


def test_what_is_not(capsys, mine):
    status, lines = check(capsys, "mine:doubled")
    assert status == 1
    assert [line[-5:] for line in lines[1:5]] == [["numeric", "/", "analytic", "=", "1/2"]] * 4


def test_the_seed_is_that_of_the_global_generator(capsys, mine):
    results = [check(capsys, "mine:sound", "--seed", seed) for seed in ("1", "1", "2")]
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere:f", "there is no module nowhere in the current folder or among those installed"),
        ("mine.deep:f", "there is no module mine.deep in the current folder or among those installed"),
        ("mine:nothing", "there is no nothing in the module mine"),
        ("mine:inner.nothing", "there is no inner.nothing in the module mine"),
        ("mine:pair", "mine:pair must be a function without parameters that .*; it returned (1, 2)"),
        ("mine:one", "mine:one must be a function without parameters that .*: missing a required argument: 'x'"),
        ("mine:constant", "mine:constant must be a function without .*: (1, 2, 3) is not a callable object"),
    ],
)
def test_what_is_not_there(capsys, mine, target, message):
    start, _, end = message.partition(".*")
    said = fails(capsys, target)
    assert said.startswith(start) and said.endswith(end)


@pytest.mark.parametrize("target", ["mine", "mine:", ":f", "mine.py", "./mine.py:f", "mine:f()", "a:b:c", ""])
def test_targets_of_another_form(capsys, target):
    said = fails(capsys, target)
    assert said.startswith(f"argument MODULE:OBJECT: must be MODULE:OBJECT, was {target!r}")


@pytest.mark.parametrize(
    ("option", "value"), [("--sample", "0"), ("--sample", "many"), ("--h", "0"), ("--h", "nan"), ("--seed", "-1")]
)
def test_impossible_numbers(capsys, option, value):
    said = fails(capsys, option, value)
    assert said.startswith(f"argument {option}: must be ") and repr(value) in said


def test_engine_is_for_the_books_net(capsys, mine):
    assert fails(capsys, "mine:sound", "--engine", "c") == (
        "argument --engine: is for the book's net, and not for MODULE:OBJECT"
    )


@pytest.mark.parametrize(
    "target",
    ["mine:broken", "mine:no_file", "mine:no_pipe", "mine:no_memory", "needs:f", "unfinished:f", "mine:broken_later"],
)
def test_errors_of_the_users_own_code_are_shown_as_by_python(capsys, mine, tmp_path, target):
    module, name = target.split(":")
    call = "zerodl_c.gradient_check(*arguments)" if name == "broken_later" else ""
    (tmp_path / "plain.py").write_text(f"import zerodl_c, {module}\narguments = {module}.{name}()\n{call}")
    plain = subprocess.run([sys.executable, "plain.py"], capture_output=True, text=True, timeout=60)
    # Python's traceback begins in plain.py, where ours begins below.
    lines = plain.stderr.splitlines(keepends=True)
    own = [i for i, line in enumerate(lines) if line.startswith("  File") and "plain.py" not in line]
    assert cli.main(["check", target]) == plain.returncode == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.removeprefix(lines[0]) == "".join(lines[own[0] :])


def test_interrupt_of_the_users_own_code(capsys, mine):
    assert cli.main(["check", "mine:stopped"]) == 130
    assert capsys.readouterr() == ("", "zerodl-c: interrupted\n")


def test_interrupt(capsys, monkeypatch):
    monkeypatch.setattr(zerodl_c, "gradient_check", lambda *_, **__: signal.raise_signal(signal.SIGINT))
    assert cli.main(["check", "--engine", "c"]) == 130
    assert capsys.readouterr().err == "zerodl-c: interrupted\n"


def test_as_a_program(mine, tmp_path):
    command = [sys.executable, "-m", "zerodl_c", "check", "mine:doubled"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, env=dict(os.environ))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("parameter ")


def test_help_tells_the_convention(capsys):
    with pytest.raises(SystemExit) as info:
        cli.main(["check", "--help"])
    assert info.value.code == 0
    assert "(net, x, t) or (f, x, gradient)" in " ".join(capsys.readouterr().out.split())
