"""Compares the numbers that tools/digest.c printed on another machine with those that it printed here.

    compare_digests.py HERE THERE

prints the end of a row of tools/cross.sh's table. It exits 1 if a result is more than LIMIT ulp off.
"""

import sys
from pathlib import Path

import numpy as np

# Each of the two results is within 4 ulp of the true value.
LIMIT = 8


def ulp(unit: str, here: np.ndarray, there: np.ndarray) -> float:
    """The largest difference. Subnormal numbers count as equal to 0."""
    tiny = np.finfo(here.dtype).tiny
    same = (here == there) | (np.isnan(here) & np.isnan(there)) | ((np.abs(here) <= tiny) & (np.abs(there) <= tiny))
    if same.all():
        return 0.0
    sizes = np.abs(here[np.isfinite(here)]).max() if unit == "whole" else np.abs(here[~same])
    with np.errstate(invalid="ignore"):
        difference = np.abs(here - there)[~same] / np.spacing(np.maximum(sizes, tiny))
    return float(np.nan_to_num(difference, nan=np.inf).max())


def difference(here: str, there: str) -> float:
    """Of a line, in ulp; infinite for integers."""
    (name, unit, *words), other = here.split(), there.split()
    assert [name, unit, len(words)] == [*other[:2], len(other[2:])], name
    if unit == "integers":
        return 0.0 if here == there else float("inf")
    kind = np.uint32 if len(words[0]) == 8 else np.uint64
    numbers = [np.array([int(word, 16) for word in line], kind) for line in (words, other[2:])]
    return ulp(unit, *(bits.view(f"f{bits.itemsize}") for bits in numbers))


def main(here_file: str, there_file: str) -> int:
    here, there = (Path(name).read_text().splitlines() for name in (here_file, there_file))
    level = there[0].rpartition(", ")[2]
    worst: dict[str, float] = {}
    unequal = set()
    for a, b in zip(here, there, strict=True):
        name = a.split()[0]
        if name != "#":
            worst[name] = max(worst.get(name, 0.0), difference(a, b))
            unequal |= {name} if a != b else set()
    most = max(worst, key=lambda name: worst[name])
    text = f"{worst[most]:.1f} ulp ({most})" if worst[most] else "0"
    print(f"| {level} | {len(worst) - len(unequal)} of {len(worst)} | {text} |")
    for name, by in worst.items():
        if by > LIMIT:
            print(f"compare_digests.py: {name} is {by:.1f} ulp off", file=sys.stderr)
    return int(worst[most] > LIMIT)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
