"""Measures how long a call takes: the least of many short stretches of calls. The engines take turns.

Other work on the machine makes a stretch longer and never shorter. So the least time is closest to that of the work
itself, and with many short stretches, one is likely to find the machine quiet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import zerodl_c

STRETCH = 0.01  # seconds
TURN = 0.03  # a few stretches
WARM_UP = 0.02  # seconds, for the caches, the threads and the clock of the processor
# Seconds. OpenBLAS's threads spin for 0.1 s after their last job, on the cores that the next engine's threads need.
PAUSE = 0.15


def keep_freed_memory() -> None:
    """Make glibc keep freed blocks of up to 24 MB, to use them again for the next result.

    glibc does so after a block of this size has been freed once. Until then, every large result gets new pages, which
    the kernel must clear first, and it is chance which engine has to wait for that.
    """
    np.ones(3_000_000)


def seconds_per_call(works: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """The seconds that a call of each work takes: the least over `rounds` turns."""
    best = dict.fromkeys(works, float("inf"))
    for _ in range(rounds):
        for name, work in works.items():
            best[name] = min(best[name], _turn(work))
    return best


def _turn(work: Callable[[], Any]) -> float:
    if zerodl_c.get_num_threads() > 1:
        time.sleep(PAUSE)
    calls, warm = _repeat(work, WARM_UP)
    repeats = max(1, int(STRETCH * calls / warm))
    best, end = float("inf"), time.perf_counter() + TURN
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(repeats):
            work()
        best = min(best, (time.perf_counter() - start) / repeats)
    return best


def _repeat(work: Callable[[], Any], seconds: float) -> tuple[int, float]:
    """The number of calls that fill this time, and the time that they took."""
    start, calls, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < seconds:
        work()
        calls += 1
        elapsed = time.perf_counter() - start
    return calls, elapsed
