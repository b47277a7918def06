"""The book's own scripts, unmodified, with plain python and through `zerodl-c run`: the same numbers, and how fast?

    python benchmarks/book.py BOOK [SCRIPT ...] [--steps N] [--seed N] [--bench [--rounds N]]

BOOK is a checkout of the book's repository whose `dataset` has the data (its `mnist.py` fetches them). It is copied;
nothing in it changes. Each script, of ch03 to ch08 unless some are named (ch06/overfit_dropout.py), runs with plain
python on the book's `common`, then on the reference and on C; all three draw the same random numbers.

The table has a line for each script and engine: how far it is from plain python. `losses`, the first 50 of each net,
are compared one by one. `gradients` by backpropagation and `numerical` ones, the mean size of each, and the script's
`variables`, as it ended, are relative to the largest, for some are nothing but rounding. Accuracies are in points, and
the numbers `printed` absolute. A line fails where a script broke off or printed another text, where losses are
1e-10 apart, accuracies 0.5 points, or where C took 0.2 s longer than plain python; what else computes on the machine
is in the seconds, too.

With --bench plain python and C take turns, and the table has the least seconds of each, from the script's first line
to its end. Reading the data and drawing the pictures is in them; the import of NumPy and of the engine is only in those
of the whole process. --steps 0 runs whole scripts: minutes for those that train, hours for ch08/train_deepnet.
"""

import argparse
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RECORDER = Path(__file__).resolve().parent / "recorder"
COMMANDS = {
    "plain": [sys.executable],
    "numpy": [sys.executable, "-m", "zerodl_c", "run", "--engine", "numpy"],
    "c": [sys.executable, "-m", "zerodl_c", "run"],
}
NUMBER = re.compile(r"[-+]?(?:\d+\.\d*(?:e[-+]?\d+)?|\d+e[-+]?\d+|\bnan\b|\binf\b)")
LOSSES, POINTS, SECONDS = 1e-10, 0.5, 0.2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("book", type=Path, metavar="BOOK")
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT")
    parser.add_argument("--steps", type=int, default=50, help="gradients of one net after which a script ends; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bench", action="store_true", help="time plain python and C")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each with --bench")
    args = parser.parse_intermixed_args()
    scripts = args.scripts or [str(p.relative_to(args.book)) for p in sorted(args.book.glob("ch0[3-8]/*.py"))]
    with tempfile.TemporaryDirectory() as folder:
        book = Path(shutil.copytree(args.book, Path(folder, "book"), ignore=shutil.ignore_patterns(".git")))
        return int(bench(book, scripts, args) if args.bench else compare(book, scripts, args))


def compare(book: Path, scripts: list[str], args: argparse.Namespace) -> bool:
    """Print two lines for each script; return whether any failed."""
    print(f"{'script':<41}engine losses  worst gradients numerical variables points  printed seconds plain's")
    failed = False
    for script in scripts:
        plain = run("plain", book / script, args)
        for engine in ("numpy", "c"):
            failed |= row(script, engine, plain, run(engine, book / script, args))
    return failed


def bench(book: Path, scripts: list[str], args: argparse.Namespace) -> bool:
    """Print a line for each script; return whether any broke off."""
    print(f"{'script':<41}  plain      c  ratio   process: plain      c")
    ratios, broke_off = [], False
    for script in scripts:
        turns = [(run("plain", book / script, args), run("c", book / script, args)) for _ in range(args.rounds)]
        broke_off |= any(done["code"] for turn in turns for done in turn)
        inside = [min(turn[i]["record"]["seconds"][0] for turn in turns) for i in (0, 1)]
        whole = [min(turn[i]["seconds"] for turn in turns) for i in (0, 1)]
        ratios.append(inside[0] / inside[1])
        figures = f"{inside[0]:>7.2f}{inside[1]:>7.2f}{ratios[-1]:>6.2f}x{whole[0]:>16.2f}{whole[1]:>7.2f}"
        print(f"{script:<41}{figures}", flush=True)
    print(f"{'geometric mean':<55}{statistics.geometric_mean(ratios):>6.2f}x")
    return broke_off


def run(engine: str, script: Path, args: argparse.Namespace) -> dict[str, Any]:
    """How a script ended, what it printed, what was recorded, and the seconds that it took."""
    record = script.parent / "record.json"
    environment = {**os.environ, "MPLBACKEND": "Agg", "BOOK_STEPS": str(args.steps), "BOOK_RECORD": str(record)}
    environment["BOOK_SCRIPT"] = str(script)
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(RECORDER), os.environ.get("PYTHONPATH")]))
    text = script.read_text(encoding="utf-8")
    if "numpy" in text or "common" in text:  # the others would pay for the import alone
        environment["BOOK_SEED"] = str(args.seed)
    record.unlink(missing_ok=True)
    start = time.perf_counter()
    done = subprocess.run(
        [*COMMANDS[engine], script.name], cwd=script.parent, env=environment, capture_output=True, text=True
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        print(done.stderr, file=sys.stderr)
    found = json.loads(record.read_text()) if record.exists() else {}
    return {"code": done.returncode, "out": done.stdout, "record": found, "seconds": seconds}


def row(script: str, engine: str, plain: dict[str, Any], done: dict[str, Any]) -> bool:
    """Print the line of a script on an engine; return whether it failed."""
    count = sum(len(values) for key, values in plain["record"].items() if key.startswith("loss "))
    losses, points = worst("loss", plain, done, "each"), 100 * worst("accuracy", plain, done, "one")
    largest = [worst(kind, plain, done, "largest") for kind in ("gradient", "numerical_gradient", "variable")]
    printed = difference(*([float(x) for x in NUMBER.findall(of["out"])] for of in (plain, done)), "one")
    wrong = {
        "broke off": done["code"] or plain["code"],
        "printed otherwise": NUMBER.sub("#", done["out"]) != NUMBER.sub("#", plain["out"]),
        "losses": losses > LOSSES,
        "accuracies": points > POINTS,
        "slower": engine == "c" and done["seconds"] > plain["seconds"] + SECONDS,
    }
    print(
        f"{script:<41}{engine:<6}{count:>6}{losses:>9.1e}{''.join(f'{x:>10.1e}' for x in largest)}"
        f"{points:>7.2f}{printed:>9.1e}{done['seconds']:>8.2f}{plain['seconds']:>8.2f}  "
        + (", ".join(what for what, true in wrong.items() if true) or "ok"),
        flush=True,
    )
    return any(wrong.values())


def worst(kind: str, plain: dict[str, Any], done: dict[str, Any], relative_to: str) -> float:
    """The largest difference of what is of a kind in the two records."""
    a, b = ({key: of["record"][key] for key in of["record"] if key.startswith(f"{kind} ")} for of in (plain, done))
    if a.keys() != b.keys():
        return math.inf
    return max((difference(a[key], b[key], relative_to) for key in a), default=0.0)


def difference(a: list[float], b: list[float], relative_to: str) -> float:
    """The largest difference of two lists; inf of unlike lists, and of nan and a number."""
    if len(a) != len(b):
        return math.inf
    largest = max((abs(x) for x in a if math.isfinite(x)), default=0.0)
    found = 0.0
    for x, y in zip(a, b, strict=True):
        if x != y and not (math.isnan(x) and math.isnan(y)):
            size = {"each": abs(x), "largest": largest, "one": 1.0}[relative_to]
            apart = abs(x - y) / size if size else math.inf
            found = max(found, math.inf if math.isnan(apart) else apart)
    return found


if __name__ == "__main__":
    sys.exit(main())
