"""What a build says about itself, how it is steered, and that importing it disturbs nothing."""

import re

import numpy as np
import pytest
from api import SERIAL, THREADED, threaded

import zerodl_c
from zerodl_c import _config
from zerodl_c._bridge import ffi, lib

# --- Instruction sets -----------------------------------------------------------------------------


def test_the_highest_level_is_in_use_unless_told_otherwise(python):
    done = python(
        "from zerodl_c import _bridge as b; print(b.ffi.string(b.lib.zdl_get_isa()).decode())",
        ZERODL_ISA="",
    )
    assert done.stdout.split() == _config.isa_levels()[-1:], done.stderr


def test_levels_begin_with_the_baseline():
    assert _config.isa_levels() == ["baseline", "avx2", "avx512"][: len(_config.isa_levels())]


@pytest.mark.parametrize("level", _config.isa_levels())
def test_zerodl_isa_forces_a_level(python, level):
    done = python(
        "import zerodl_c; print(zerodl_c.sigmoid([0.0] * 9).tolist()); zerodl_c.show_config()",
        ZERODL_ISA=level,
    )
    assert done.returncode == 0, done.stderr
    values, *config = done.stdout.splitlines()
    assert values == str([0.5] * 9)
    assert any(re.match(rf"ISA +{level}, of {', '.join(_config.isa_levels())}$", line) for line in config), config


@pytest.mark.parametrize("level", ["nonsense", "AVX2", "avx", "baseline ", "neon9"])
def test_a_level_that_this_machine_lacks_is_an_importerror(python, level):
    done = python("import zerodl_c", ZERODL_ISA=level)
    assert done.returncode == 1
    message = done.stderr.splitlines()[-1]
    assert message.startswith("ImportError: ZERODL_ISA=" + level)
    assert message.endswith(f"it must be one of {', '.join(_config.isa_levels())}")


def test_the_level_can_be_changed_while_nothing_runs(isa):
    assert ffi.string(lib.zdl_get_isa()).decode() == isa
    assert lib.zdl_set_isa(b"nonsense") == -1
    assert ffi.string(lib.zdl_get_isa()).decode() == isa


# --- show_config and the number of threads --------------------------------------------------------


def test_show_config(capsys, threads):
    assert zerodl_c.show_config() is None
    lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert list(lines) == ["zerodl_c", "compiler", "ISA", "threads"]
    assert re.match(r"\d+\.\d+\.\d+", lines["zerodl_c"])
    assert re.match(r"(gcc|clang) \d+|MSVC|unknown", lines["compiler"])
    assert lines["threads"] == f"{zerodl_c.get_num_threads()} ({'set_num_threads' if THREADED else SERIAL})"


@threaded
@pytest.mark.parametrize("n", [1, 2, 5, np.int64(3), np.uint8(3), True, 2**31 - 1], ids=repr)
def test_set_num_threads_takes_integers(restore_threads, n):
    zerodl_c.set_num_threads(n)
    assert zerodl_c.get_num_threads() == n
    assert type(zerodl_c.get_num_threads()) is int


@pytest.mark.parametrize(
    ("n", "error", "message"),
    [
        (0, ValueError, "n must be from 1 to 2147483647, got 0"),
        (-1, ValueError, "n must be from 1 to 2147483647, got -1"),
        (2**31, ValueError, "n must be from 1 to 2147483647, got 2147483648"),
        (10**30, ValueError, "n must be from 1 to"),
        (2.0, TypeError, "n must be an integer, got float"),
        ("2", TypeError, "n must be an integer, got str"),
        (None, TypeError, "n must be an integer, got NoneType"),
        ([2], TypeError, "n must be an integer, got list"),
    ],
    ids=repr,
)
def test_set_num_threads_refuses_the_rest(n, error, message):
    before = zerodl_c.get_num_threads()
    with pytest.raises(error, match=message):
        zerodl_c.set_num_threads(n)
    assert zerodl_c.get_num_threads() == before


def test_a_number_of_threads_far_beyond_the_cores(restore_threads):
    """Only as many start as the work is worth."""
    x = np.linspace(-3, 3, 100_000)
    expected = zerodl_c.sigmoid(x)
    zerodl_c.set_num_threads(2**31 - 1)
    np.testing.assert_array_equal(zerodl_c.sigmoid(x), expected)


# --- Import ---------------------------------------------------------------------------------------


def test_import_prints_nothing_and_draws_nothing(python):
    done = python("""
import numpy as np
np.random.seed(7)
before = np.random.get_state()
import zerodl_c, zerodl_c.reference
after = np.random.get_state()
assert before[0] == after[0] and (before[1] == after[1]).all() and before[2:] == after[2:]
""")
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_import_takes_no_more_than_it_needs(python):
    done = python("""
import sys, zerodl_c
unwanted = {"matplotlib", "sklearn", "tqdm", "scipy", "threadpoolctl", "argparse", "mpmath"}
print(sorted(unwanted & set(sys.modules)))
""")
    assert done.stdout.strip() == "[]", done.stderr


def test_import_is_quick_once_numpy_is_there(python):
    """Processor time of the thread that imports, the least of some runs: 50 ms is the contract.

    Not of the process: the threads of NumPy's BLAS spin for a while after it is imported.
    """
    code = """
import time, numpy
begin = time.thread_time()
import zerodl_c
print(time.thread_time() - begin)
"""
    assert min(float(python(code).stdout) for _ in range(5)) < 0.05


def test_import_leaves_out_what_numpy_loads_when_it_is_used(python):
    """numpy.random takes as long to load as the rest of the package."""
    code = "import sys, numpy\nbefore = 'numpy.random' in sys.modules\nimport zerodl_c\n"
    assert python(code + "print(('numpy.random' in sys.modules) == before)").stdout == "True\n"


def test_import_leaves_signals_warnings_and_error_handling_alone(python):
    done = python("""
import signal, warnings, numpy as np
def state():
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    return handlers, list(warnings.filters), np.geterr()
before = state()
import zerodl_c
assert state() == before
""")
    assert done.returncode == 0, done.stderr
