"""Scripts in the manner of the book's train on both engines alike: by `run`, by `install`, and by the hook.

They are `scripts/chapter/*.py`, and share `conv_net.py`. Each prints lines of losses, what came of them, and at the end
the module of something of `common`.
"""

import functools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

CHAPTER = Path(__file__).parent / "scripts" / "chapter"
SCRIPTS = sorted(path.name for path in CHAPTER.glob("*.py") if path.name != "conv_net.py")
PATH = os.pathsep.join(map(os.path.abspath, filter(os.path.isdir, sys.path)))
BY_INSTALL = """
import runpy, sys, zerodl_c
zerodl_c.install(sys.argv[2])
runpy.run_path(sys.argv[1], run_name="__main__")
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def started(elsewhere):
    """What a script prints: started(script, "run" or "install", engine)."""

    @functools.cache
    def start(script, way, engine):
        arguments = {
            "run": ["-m", "zerodl_c", "run", "--engine", engine, CHAPTER / script],
            "install": ["-c", BY_INSTALL, CHAPTER / script, engine],
        }
        folders = {"run": [], "install": [CHAPTER, CHAPTER.parent]}  # which `run` finds itself
        path = os.pathsep.join([*map(str, folders[way]), PATH])
        return printed([sys.executable, *arguments[way]], cwd=elsewhere, env={**os.environ, "PYTHONPATH": path})

    return start


def printed(command, **options):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, **options)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_both_engines_print_the_same_losses(started, script):
    in_c, in_numpy = (started(script, "run", engine).splitlines() for engine in ("c", "numpy"))
    assert in_numpy[-1] == in_c[-1].replace("zerodl_c.", "zerodl_c.reference.") and "reference" not in in_c[-1]
    assert in_c[0].startswith("losses ") and len(in_c[0].split()) == 51
    assert len(in_c) == len(in_numpy)
    for line, expected in zip(in_c[:-1], in_numpy[:-1], strict=True):
        if line.startswith("losses "):
            values, wanted = (np.array(text.split()[1:], float) for text in (line, expected))
            assert np.isfinite(wanted).all()
            np.testing.assert_allclose(values, wanted, rtol=1e-10)
        else:
            assert line == expected


@pytest.mark.parametrize("engine", ["c", "numpy"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_install_gives_what_run_gives(started, script, engine):
    assert started(script, "install", engine) == started(script, "run", engine)


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_variable_gives_what_run_gives(started, hooked, script):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = printed([hooked, script], cwd=CHAPTER, env={**environment, "ZERODL_SWAP": "1"})
    assert done == started(script, "run", "c")
