"""What the tests share: the two engines, every way to run the C one, and fresh interpreters."""

import gc
import os
import runpy
import subprocess
import sys
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
if not any(CHECKOUT.glob("zerodl_c/_zerodl.*")):  # `python -m pytest` would import the sources, which have no C
    sys.path[:] = [path for path in sys.path if Path(path or ".").resolve() != CHECKOUT]

import zerodl_c  # noqa: E402
from zerodl_c import _config, reference  # noqa: E402
from zerodl_c._bridge import ffi, lib  # noqa: E402
from zerodl_c.swap import HOOK  # noqa: E402

EDITION = Path(__file__).parent / "edition"  # the tests' own edition of the book's `common`
runpy.run_path(str(EDITION / "sitecustomize.py"))
collect_ignore = ["scripts", "edition"]  # which tests run


@pytest.fixture(params=[zerodl_c, reference], ids=["c", "numpy"])
def engine(request):
    """Either engine, as a module."""
    return request.param


@pytest.fixture(params=_config.isa_levels())
def isa(request):
    """Each instruction set that this machine has, in use while the test runs."""
    before = ffi.string(lib.zdl_get_isa())
    assert lib.zdl_set_isa(request.param.encode()) == 0
    yield request.param
    lib.zdl_set_isa(before)


@pytest.fixture
def restore_threads():
    """The number of threads that there was before, after a test that sets it."""
    before = zerodl_c.get_num_threads()
    yield
    zerodl_c.set_num_threads(before)


@pytest.fixture(params=[1, 4], ids=["1 thread", "4 threads"])
def threads(request, restore_threads):
    zerodl_c.set_num_threads(request.param)
    return request.param


@pytest.fixture
def no_garbage_collection():
    """Hypothesis has the collector call Python code, and an interrupt that meets it there is lost."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """An empty working folder: an interpreter started in the checkout would import its sources, which have no C."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def python(elsewhere):
    """Run a program in a fresh interpreter: python(code, NAME=value) -> its completed process."""

    def run(code, **environment):
        return subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
        )

    return run


@pytest.fixture(scope="session")
def hooked(tmp_path_factory):
    """The python of an environment of its own that has the hook, and all that is importable here."""
    folder = tmp_path_factory.mktemp("hooked")
    venv.create(folder, symlinks=os.name != "nt")
    executable = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([executable, "-c", ask], capture_output=True, text=True, check=True)
    packages = Path(done.stdout.strip())
    (packages / "here.pth").write_text("\n".join(map(os.path.abspath, filter(os.path.isdir, sys.path))))
    (packages / "hook.pth").write_text(HOOK)
    return executable
