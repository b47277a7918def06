"""Each code block on the front pages runs, as it stands, in a folder that holds what it names.

The two commands that install and test are .ci/run's to run: it takes them from README.md itself."""

import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = ["README.md", "README.ja.md"]

# A script as in the book's ch05: it trains a net of its package `common`, which the swap makes.
SCRIPT = """
import numpy as np
from common.layers import Affine, Relu, SoftmaxWithLoss
np.random.seed(0)
layers, last = [Affine(np.random.randn(8, 3), np.zeros(3)), Relu()], SoftmaxWithLoss()
x = np.random.randn(5, 8)
for layer in layers:
    x = layer.forward(x)
print(last.forward(x, np.array([0, 1, 2, 1, 0])) > 0)
"""


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text("utf-8"), re.M | re.S)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ch05").mkdir()
    (tmp_path / "ch05" / "train_neuralnet.py").write_text(SCRIPT, "utf-8")
    shutil.copy(ROOT / "examples" / "train_a_net.c", tmp_path / "program.c")
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_python(page, folder):
    program = "".join(blocks(page, "python"))
    assert program.count("numerical_gradient") == 2
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(os.name == "nt" or not shutil.which("cc"), reason="needs cc and a shell")
@pytest.mark.parametrize("page", PAGES)
def test_commands(page, folder):
    commands = "".join(blocks(page, "sh"))
    assert commands.count("zerodl-c run") == 3
    commands = f'zerodl-c() {{ "{sys.executable}" -m zerodl_c "$@"; }}\n' + commands.replace("-O3", "-O0")  # sooner
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = os.environ | {"LD_PRELOAD": "", "PATH": path}
    done = subprocess.run(["bash", "-ec", commands], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("True") == 3
    if page == "README.md":  # which shows C, too
        assert_learns(subprocess.run(["./program"], capture_output=True, text=True, timeout=60))


def assert_learns(done):
    """The losses that examples/train_a_net.c prints fall from ln 3, for three classes, to nearly 0."""
    assert (done.returncode, done.stderr) == (0, "")
    losses = [float(loss) for loss in re.findall(r"loss +([\d.]+)", done.stdout)]
    assert len(losses) > 5 and losses == sorted(losses, reverse=True)
    assert abs(losses[0] - math.log(3)) < 0.1 and losses[-1] < 0.1


def test_readme_is_short_and_its_picture_is_drawn_from_the_table():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 130
    picture = (ROOT / "docs" / "_static" / "speed.svg").read_text("utf-8")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from picture import picture as drawn  # type: ignore[import-not-found]
    finally:
        del sys.path[0]
    assert drawn() == picture


def test_the_package_index_gets_no_link_that_leads_nowhere():
    command = [sys.executable, "setup.py", "-q", "--long-description"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("# zerodl_c") and "Documentation" in done.stdout
    assert [target for target in re.findall(r"\]\(([^)]+)\)", done.stdout) if not target.startswith("https://")] == []
