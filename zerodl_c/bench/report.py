"""Shows measurements as a table, stores them as JSON, and compares them with an older result."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .engines import BenchError

Key = tuple[str, str, int]  # identifies a measurement: case, dtype, threads

SCHEMA = 1
LONGEST = 2**24  # the most characters to read: a result of all cases has 1e5, and a device may never end
CASE_WIDTH = 47


@dataclass(frozen=True)
class Record:
    """One case, and the seconds that a call takes on each engine."""

    group: str
    case: str
    dtype: str
    threads: int
    flops: int
    elements: int
    seconds: dict[str, float]
    share: float | None  # the share of this machine's peak; see machine.Peaks

    def ratio(self, engine: str = "numpy") -> float:
        """How many times as long as C this engine takes."""
        return self.seconds[engine] / self.seconds["c"]

    @property
    def is_loss(self) -> bool:
        return self.ratio() < 1

    @property
    def key(self) -> Key:
        return self.case, self.dtype, self.threads

    def __str__(self) -> str:
        return f"{self.case}, {self.dtype}, threads {self.threads}"


@dataclass(frozen=True)
class Result:
    """All results of a run."""

    version: str
    date: str
    machine: dict[str, Any]
    peaks: dict[str, Any]
    records: list[Record]

    def to_json(self) -> str:
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=1, ensure_ascii=False) + "\n"


def read(path: Path) -> Result:
    """The result that a file holds; BenchError if it holds something else."""
    try:
        with open(path, encoding="utf-8") as file:
            content = json.loads(file.read(LONGEST))
        schema = content.pop("schema")
        if schema == SCHEMA:
            return _result(**content)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        raise BenchError(f"{path} is not a result of zerodl-c bench --json") from None
    raise BenchError(f"{path} has schema {schema}, and this version of zerodl_c reads schema {SCHEMA}")


def _result(records: list[dict[str, Any]], machine: dict[str, Any], **rest: Any) -> Result:
    """A Result from JSON. Raises an error that `read` catches if something that a comparison needs is missing."""
    result = Result(records=[Record(**record) for record in records], machine=dict(machine), **rest)
    times = {record.key: (record.seconds["c"], record.seconds["numpy"]) for record in result.records}
    # isfinite raises for anything but numbers, and for an integer that is too large for a float.
    if not times or not all(math.isfinite(seconds) and seconds > 0 for pair in times.values() for seconds in pair):
        raise ValueError
    if not all(isinstance(case, str) and isinstance(dtype, str) for case, dtype, _ in times):
        raise TypeError
    return result


# ---- The table -----------------------------------------------------------------------------------


class Table:
    """Markdown, row by row, with a column for each engine beside C and NumPy."""

    def __init__(self, engines: Sequence[str]) -> None:
        self.others = [name for name in engines if name not in ("c", "numpy")]

    def header(self) -> str:
        return _head(self.line("dtype", "threads", "case", "C, us", "C", "share", "numpy, us", "ratio", *self.others))

    def row(self, record: Record) -> str:
        c, numpy = (f"{record.seconds[name] * 1e6:.2f}" for name in ("c", "numpy"))
        share = "" if record.share is None else f"{record.share:.0%}"
        ratios = (_times(record.ratio(name)) if name in record.seconds else "" for name in ("numpy", *self.others))
        return self.line(record.dtype, record.threads, record.case, c, _rate(record), share, numpy, *ratios)

    def summary(self, records: Sequence[Record]) -> Iterator[str]:
        """The geometric mean and the worst of the ratios over the cases of one group, dtype and thread count."""
        if len(records) == 1:
            return
        first = records[0]
        for label, of in (("geometric mean", geometric_mean), ("worst", min)):
            cells = []
            for name in ("numpy", *self.others):
                ratios = [record.ratio(name) for record in records if name in record.seconds]
                cells.append(_times(of(ratios)) if ratios else "")
            yield self.line(first.dtype, first.threads, f"{first.group}: {label}", "", "", "", "", *cells)

    def line(self, *cells: Any) -> str:
        others = (max(6, len(name)) for name in self.others)
        return _line(cells, (-7, 7, -CASE_WIDTH, 9, 11, 5, 9, 6, *others))


def _line(cells: Sequence[Any], widths: Sequence[int]) -> str:
    """A row of Markdown. A cell of negative width is aligned to the left."""
    padded = (f"{cell:{'<' if width < 0 else '>'}{abs(width)}}" for cell, width in zip(cells, widths, strict=True))
    return f"| {' | '.join(padded)} |"


def _head(names: str) -> str:
    return f"{names}\n{re.sub('[^|]', '-', names)}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}x"


def _rate(record: Record) -> str:
    if record.flops:
        return f"{record.flops / record.seconds['c'] / 1e9:.1f} GF/s"
    return f"{record.seconds['c'] / record.elements * 1e9:.2f} ns"


def geometric_mean(ratios: Sequence[float]) -> float:
    return math.exp(sum(map(math.log, ratios)) / len(ratios))


def losses(records: Sequence[Record]) -> Iterator[str]:
    """How many cases are slower than NumPy, and which."""
    lost = [record for record in records if record.is_loss]
    yield f"\nslower than numpy: {len(lost) or 'none'} of {len(records)} cases"
    for record in lost:
        yield f"    {record}: {record.ratio():.2f}x"


# ---- Beside an older result ----------------------------------------------------------------------


def compare(old: Result, new: Result) -> Iterator[str]:
    """What changed between two results, line by line."""
    before = {record.key: record for record in old.records}
    after = {record.key: record for record in new.records}
    common = [key for key in after if key in before]
    yield "\nSpeed since the older result: above 1 is faster now. NumPy's change is noise, which C's must exceed."
    if old.machine.get("cpu") != new.machine.get("cpu"):
        yield f"The older result is from another processor: {old.machine.get('cpu')}"
    if common:
        yield from _changes([(before[key], after[key]) for key in common])
    yield from _unmatched("older", before, after)
    yield from _unmatched("new", after, before)


def _changes(pairs: Sequence[tuple[Record, Record]]) -> Iterator[str]:
    widths = (-7, 7, -CASE_WIDTH, 9, 9, 7, 11)
    names = ("dtype", "threads", "case", "old C, us", "new C, us", "C speed", "numpy speed")
    yield f"\n{_head(_line(names, widths))}"
    speeds = [[old.seconds[name] / new.seconds[name] for name in ("c", "numpy")] for old, new in pairs]
    for (old, new), speed in zip(pairs, speeds, strict=True):
        microseconds = (f"{record.seconds['c'] * 1e6:.2f}" for record in (old, new))
        yield _line([new.dtype, new.threads, new.case, *microseconds, *map(_times, speed)], widths)
    means = (geometric_mean(column) for column in zip(*speeds, strict=True))
    yield _line(["", "", "geometric mean", "", "", *map(_times, means)], widths)


def _unmatched(which: str, these: Mapping[Key, Record], those: Mapping[Key, Record]) -> Iterator[str]:
    """The cases of one result that the other lacks: a line for each dtype and thread count."""
    settings: dict[tuple[str, int], list[str]] = {}
    for case, dtype, threads in these:
        if (case, dtype, threads) not in those:
            settings.setdefault((dtype, threads), []).append(case)
    for (dtype, threads), cases in settings.items():
        yield f"only in the {which} result, {dtype}, threads {threads}: {', '.join(cases)}"
