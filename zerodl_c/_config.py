"""What this build consists of, and how many threads it uses."""

import operator
import os

from . import _threadpoolctl
from ._bridge import ffi, lib

__all__ = ["get_include", "get_num_threads", "isa_levels", "set_num_threads", "show_config"]


def isa_levels() -> list[str]:
    """The instruction-set levels that this machine supports, slowest first.

    Examples
    --------
    >>> isa_levels()[0]
    'baseline'
    """
    levels: list[str] = []
    while (level := lib.zdl_isa_level(len(levels))) != ffi.NULL:
        levels.append(ffi.string(level).decode())
    return levels


def get_include() -> str:
    """The folder of zerodl.h and of the C sources, which a C program can compile without Python.

    Returns
    -------
    str
        An absolute path: `zerodl_c/csrc` in an installed package, `csrc` in a checkout.

    Examples
    --------
    >>> sorted(name for name in os.listdir(get_include()) if name.startswith("zerodl"))
    ['zerodl.h']

    A program is built with ``csrc=$(python -c 'import zerodl_c; print(zerodl_c.get_include())')`` and
    ``cc -O3 -ffp-contract=off -pthread -I"$csrc" program.c "$csrc"/*.c "$csrc"/isa/*.c -lm``.
    """
    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "csrc")
    return installed if os.path.isdir(installed) else os.path.join(os.path.dirname(package), "csrc")


def set_num_threads(n: int) -> None:
    """Limit every call to n threads, whichever Python thread makes it.

    The default is OMP_NUM_THREADS if it is set. Otherwise it is the number of processors that this process may use, by
    its affinity and by the CPU quota of its control group (its container), rounded up. The number of threads does not
    change results. A call uses fewer threads if there is little to do, and only its own thread while a call of another
    Python thread uses the others. A forked child uses as many threads as its parent.
    `threadpoolctl.threadpool_limits` also works: its limit holds for calls from the thread that sets it, until that
    thread calls `set_num_threads`.

    Parameters
    ----------
    n : int
        1 or more. More than there are processors is allowed, but slow. Threads that cannot be started are left out.

    Raises
    ------
    TypeError
        If n is not an integer.
    ValueError
        If n is not in 1 ... 2^31 - 1.

    Examples
    --------
    >>> before = get_num_threads()
    >>> set_num_threads(1)
    >>> get_num_threads()
    1
    >>> set_num_threads(before)
    """
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"n must be an integer, got {type(n).__name__}") from None
    if not 1 <= n < 2**31:
        raise ValueError(f"n must be from 1 to 2147483647, got {n}")
    lib.zdl_set_num_threads(n)


def get_num_threads() -> int:
    """The largest number of threads that a call from this Python thread uses; see `set_num_threads`."""
    return int(lib.zdl_get_num_threads())


def threads_at_once() -> int:
    """How many threads of a call compute at the same time: at most one for each processor."""
    return min(lib.zdl_get_num_threads(), os.cpu_count() or 1)


def show_config() -> None:
    """Print the version, the compiler, the instruction sets, and how many threads there are and why."""
    print(f"zerodl_c  {_threadpoolctl.version()}")
    print(f"compiler  {ffi.string(lib.zdl_compiler()).decode().strip()}")
    print(f"ISA       {ffi.string(lib.zdl_get_isa()).decode()}, of {', '.join(isa_levels())}")
    print(f"threads   {get_num_threads()} ({ffi.string(lib.zdl_threads_from()).decode()})")


if lib.zdl_isa_refused():
    raise ImportError(
        f"ZERODL_ISA={os.environ.get('ZERODL_ISA')} names no instruction set of this machine: "
        f"it must be one of {', '.join(isa_levels())}"
    )

_threadpoolctl.register_when_imported()
