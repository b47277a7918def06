"""The harness behind `zerodl-c bench`: every case on every engine, in one process, in turns, with equal threads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from itertools import groupby, product
from typing import Any

import numpy as np

import zerodl_c

from .cases import OTHER, Case, Digits, chosen_cases, works_of
from .engines import ENGINES, NO_PEERS, BenchError, Engine, Peers, chosen, equal_threads, load_peers
from .machine import HOLDING_BACK, Peaks, describe, header
from .report import Record, Result, Table, compare, losses, read
from .timing import keep_freed_memory, seconds_per_call

__all__ = [
    "ENGINES",
    "HOLDING_BACK",
    "NO_PEERS",
    "BenchError",
    "Record",
    "Result",
    "compare",
    "load_peers",
    "losses",
    "read",
    "run",
]

HOW_TO_READ = """\
Each time is the least mean of 10 ms of calls; the engines take turns, with equal threads. A ratio is an engine's time
over C's: above 1, C is faster. C's share compares it with what this machine can do. For matrix products, convolutions
and nets, that is the peak flops above, which multiply_adds in registers reach. For the others, it is the speed of
relu(x, out=y), a plain pass that reads and writes as many elements."""


def run(
    peers: Peers,
    engines: Sequence[str] | None,
    text: str,
    dtypes: Sequence[str],
    threads: Sequence[int],
    rounds: int,
    say: Callable[[str], None],
    digits: Digits | None = None,
) -> Result:
    """Time the cases, and print each row of the table as soon as it is measured.

    Parameters
    ----------
    peers : mapping of str to subclasses of Engine
        The engines beside C and NumPy, by name, as `load_peers` returns them.
    engines : sequence of str or None
        Which take part beside C and NumPy; None for all that are installed.
    text : str
        Only cases whose name contains this.
    dtypes : sequence of str
    threads : sequence of int
    rounds : int
        Turns of each engine.
    say : callable
        Prints a line.
    digits : pair of arrays, optional
        Images of 784 pixels and their labels, for the cases on real digits.

    Returns
    -------
    Result

    Raises
    ------
    BenchError
        If there is no such engine or case, or an engine gives a wrong result.
    """
    groups = [list(group) for _, group in groupby(chosen_cases(text, digits), lambda case: case.group)]
    players, left_out = chosen(peers, engines)
    kinds = [np.dtype(name) for name in dtypes]
    keep_freed_memory()
    peaks = Peaks(rounds)
    for n in threads:
        with equal_threads(players[:1], n):
            for dtype in kinds:
                peaks.flops_per_second(dtype)
    machine = describe(players)
    for line in _introduction(machine, peaks, left_out):
        say(line)

    table = Table([engine.name for engine in players])
    say(table.header())
    records: list[Record] = []
    for n in threads:
        with equal_threads(players, n):
            for dtype, group in product(kinds, groups):
                for case in group:
                    records.append(_measure(case, dtype, players, peaks))
                    say(table.row(records[-1]))
                for line in table.summary(records[-len(group) :]):
                    say(line)
    date = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Result(zerodl_c.__version__, date, machine, peaks.as_records(), records)


def _measure(case: Case, dtype: np.dtype[Any], engines: Sequence[Engine], peaks: Peaks) -> Record:
    """Measure one case, with the current number of threads."""
    seconds = seconds_per_call(works_of(case, dtype, engines), peaks.rounds)
    for name in [name for name in seconds if name.endswith(OTHER)]:
        engine = name.removesuffix(OTHER)
        seconds[engine] = min(seconds[engine], seconds.pop(name))
    share = peaks.share(case, dtype, seconds["c"])
    threads = zerodl_c.get_num_threads()
    return Record(case.group, case.name, dtype.name, threads, case.flops, case.elements, seconds, share)


def _introduction(machine: dict[str, Any], peaks: Peaks, left_out: Sequence[str]) -> Iterator[str]:
    yield from header(machine)
    rates = (f"{flops / 1e9:.1f} GF/s ({dtype}, threads {n})" for (dtype, n), flops in peaks.flops.items())
    yield f"peak      {', '.join(rates)}"
    yield from left_out
    yield f"\n{HOW_TO_READ}\n"
