"""What type checkers say of what users write: tests/typed.py, of known types, and examples/."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = ["tests/typed.py", "examples"]


def require_clean(*command):
    done = subprocess.run([*command, *FILES], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy(tmp_path):
    """Strict, but for functions without types, which the examples have."""
    pytest.importorskip("mypy")
    lenient = ["--allow-untyped-defs", "--allow-untyped-calls", "--check-untyped-defs"]
    lenient.append("--follow-imports=silent")  # the package is checked by its own settings
    require_clean(sys.executable, "-m", "mypy", "--strict", *lenient, f"--cache-dir={tmp_path}")


def test_pyright():
    pytest.importorskip("pyright")
    if not shutil.which("node"):
        pytest.skip("node is not installed, and pyright would download it")
    require_clean(sys.executable, "-m", "pyright", f"--pythonpath={sys.executable}")
