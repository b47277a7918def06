"""How long a call takes: the least of many short stretches, in turns in which the engines alternate.

What else the machine does makes a stretch longer and never shorter, so the least is what the work itself takes, and
stretches that are short and many find a quiet moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import zerodl_c

STRETCH = 0.01  # seconds
TURN = 0.03  # a few stretches
WARM_UP = 0.02  # for the caches, the threads and the clock of the processor
# For 0.1 s after their last job OpenBLAS's threads spin, and hold the cores that the next engine's threads need.
PAUSE = 0.15


def keep_freed_memory() -> None:
    """Make glibc keep blocks of up to 24 MB that are freed, for the next result.

    It does so once it has seen one come and go. Until then every large result is made of fresh pages, which the
    kernel must clear, and which engine meets them is chance.
    """
    np.ones(3_000_000)


def seconds_per_call(works: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Seconds that a call of each takes: the least of `rounds` turns of each."""
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
    """How many calls fill this time, and how long they really take."""
    start, calls, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < seconds:
        work()
        calls += 1
        elapsed = time.perf_counter() - start
    return calls, elapsed
