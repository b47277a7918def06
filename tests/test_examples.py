"""Every example runs from any folder, as a user runs it, and shows the figures of the cases that it is about."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
W = np.array([[-0.22624047, -0.28113346, 2.70111015], [-1.41140083, -0.85504959, -1.22749767]])

pytestmark = pytest.mark.usefixtures("elsewhere")


def output(name, *arguments):
    """What an example prints; it must warn of nothing."""
    command = [sys.executable, "-W", "error", EXAMPLES / name, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def figures(text, label):
    """The numbers in the one line that has the label, after it."""
    (line,) = [line for line in text.splitlines() if label in line]
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[+-]?\d+)?", line.split(label)[1])]


def test_each_example_is_tested_and_listed():
    tests, listed = Path(__file__).read_text(), (EXAMPLES / "README.md").read_text()
    names = [path.name for path in EXAMPLES.iterdir() if path.suffix in {".py", ".c"}]
    assert len(names) == 8
    for name in names:
        assert f'"{name}"' in tests or f"examples/{name}" in tests
        assert f"[{name}]({name})" in listed


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short(path):
    assert len(path.read_text().splitlines()) <= 60


def test_numerical_differentiation():
    text = output("numerical_differentiation.py")
    assert figures(text, "f'(5): ") == [0.1999999999990898, 0.2]
    assert figures(text, "f'(10): ") == [0.2999999999986347, 0.3]
    assert figures(text, "f'(4): ") == [25.000000010031442, 25]
    assert_allclose(figures(text, "df/dx0 at (3, 4): ")[0], 6, atol=1e-8)
    assert_allclose(figures(text, "df/dx1 at (3, 4): ")[0], 8, atol=1e-8)
    for point, gradient in (("[3.0, 4.0]", "[6. 8.]"), ("[0.0, 2.0]", "[0. 4.]"), ("[3.0, 0.0]", "[6. 0.]")):
        assert f"gradient at {point}: {gradient}\n" in text
    (error,) = figures(text, "from (2 x0, 2 x1): ")
    assert 0 < error < 1e-8


def test_gradient_descent():
    text = output("gradient_descent.py")
    for lr, x in (
        ("0.1", [-6.11110793e-10, 8.14814391e-10]),
        ("1e-10", [-2.99999994, 3.99999992]),
        ("10", [-2.58983747e13, -1.29524862e12]),
    ):
        assert_allclose(figures(text, f"lr {lr}: ")[:2], x, rtol=1e-8)


def test_simple_net():
    text, x = output("simple_net.py"), np.array([0.6, 0.9])
    scores = figures(text, "scores, x @ W: ")
    assert_allclose(scores, [-1.40600503, -0.93822471, 0.51591818], atol=1.1e-8)
    y = np.exp(scores) / np.exp(scores).sum()
    assert_allclose(figures(text, "probabilities, softmax: "), y, atol=1e-8)
    assert_allclose(figures(text, "1e-7): "), -np.log(y[0] + 1e-7), atol=1e-8)
    rows = text.partition("dW, by central differences:\n")[2].splitlines()[:2]
    dW = [np.array(row.strip(" []").split(), float) for row in rows]
    assert_allclose(dW, np.outer(x, y - [1, 0, 0]), atol=1e-6)
    assert "the same of a lambda: True\n" in text
    assert_array_equal(figures(text, "each row sums to 0: "), [0, 0])
    (without,) = figures(text, "and without the 1e-7 by ")
    assert 0 < without < 1e-7


def test_two_layer_net():
    text = output("two_layer_net.py")
    for key, shape in (("W1", "(2, 3)"), ("b1", "(3,)"), ("W2", "(3, 3)"), ("b2", "(3,)")):
        from_numerical, from_formula = figures(text, f"d{key} {shape}: off the numerical gradient")
        assert 0 < from_numerical < 1e-6 and from_formula < 1e-15
    assert_allclose(figures(text, "loss: "), [np.log(3), 3, np.log(3)], atol=1e-3)
    assert_allclose(figures(text, "softmax over the whole array: loss "), [2.1972, 9, 2.1972], atol=1e-3)
    assert_allclose(figures(text, "softmax over the whole array: db2 "), -0.222, atol=1.1e-3)
    assert figures(text, "its sum ")[0] < 1e-15


def test_line_fit():
    text = output("line_fit.py")
    assert figures(text, "P = (1, 1): ")[0] == 9
    assert figures(text, "with P1 = 1.001: ") == [9.006001]
    assert figures(text, "derivatives by P0 and P1: ")[:2] == [0, 6]
    assert figures(text, "after 0 steps: P = ") == [1, 1, 11]
    assert_allclose(figures(text, "after 200 steps: P = "), [3, -2, 0], atol=1e-6)


def test_linear_algebra():
    text = output("linear_algebra.py")
    assert figures(text, "3*6 = ") == [32]
    claims = [line for line in text.splitlines() if line.endswith((": True", ": False"))]
    assert len(claims) == 5 and all(line.endswith(": True") for line in claims)
    assert figures(text, "of b = ")[2:] == [3, 4]


def test_pictures(tmp_path):
    (tmp_path / "pictures").mkdir()
    output("pictures.py", tmp_path / "pictures")
    for name in ("surface.png", "gradient_field.png"):
        picture = matplotlib.image.imread(tmp_path / "pictures" / name)
        assert min(picture.shape[:2]) > 500 and picture.std() > 0.1
    output("pictures.py")  # here
    assert Path("surface.png").exists()


# ---- C -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler that is called cc")
def test_the_c_program_is_strict_c11():
    strict = ["-std=c11", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wstrict-prototypes", "-Werror"]
    command = ["cc", *strict, "-fsyntax-only", f"-I{ROOT / 'csrc'}", EXAMPLES / "train_a_net.c"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
