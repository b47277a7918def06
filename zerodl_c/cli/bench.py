"""``zerodl-c bench``: times the C engine, NumPy and their peers."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import zerodl_c
from zerodl_c._extras import need

from .errors import CommandError
from .options import COUNT, DRAWING, DTYPES, Commands, did_you_mean, mnist
from .output import replaced, require_writable, say


def add_to(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "bench",
        help="time the C engine beside NumPy and what else is installed",
        description="Time the C engine, its reference in NumPy, and what is installed of their peers (PyTorch, SciPy, "
        "scikit-learn, ONNX Runtime, JAX): in one process, in turns, with equal threads. Losses are printed as plainly "
        "as wins.",
        epilog="Needs what this installs: pip install 'zerodl_c[bench]'",
    )
    parser.set_defaults(command=bench)
    option = parser.add_argument
    threads = sorted({1, zerodl_c.get_num_threads()})
    shown = " ".join(map(str, threads))
    option("--threads", metavar="N", nargs="+", type=COUNT, default=threads, help=f"default: {shown}")
    option("--dtype", nargs="+", choices=DTYPES, default=DTYPES, help=f"default: {' '.join(DTYPES)}")
    option("--only", metavar="TEXT", default="", help="the cases whose name contains TEXT")
    option(
        "--engines",
        metavar="NAME",
        nargs="+",
        help="those that take part beside c and numpy, which always do (default: all peers that are installed)",
    )
    option(
        "--peers",
        metavar="FILE",
        type=Path,
        help="Python file with the engines of other libraries (default: in a checkout, its benchmarks/peers.py)",
    )
    option("--rounds", metavar="N", type=COUNT, default=4, help="turns of each engine (default: %(default)s)")
    option("--json", metavar="FILE", type=Path, help="keep the results in FILE")
    option("--png", metavar="FILE", type=Path, help="draw the ratios to NumPy into FILE")
    option("--compare", metavar="OLD.json", type=Path, help="show what changed since an older --json")
    option("--strict", action="store_true", help="exit 1 if a case is slower than NumPy")
    option("--data", metavar="FOLDER", type=Path, help="MNIST as IDX files: adds the cases on real digits")
    option(
        "--full-strength",
        action="store_true",
        help="start without the variables that hold a peer back, as OPENBLAS_CORETYPE: for tables that are published",
    )


def bench(args: argparse.Namespace) -> int:
    """Time the cases, print a table, save the results. Return 1 if --strict and a case is slower than the reference."""
    need("bench", "threadpoolctl")
    if args.png:
        need("bench", DRAWING)
    from zerodl_c import bench as harness

    if args.full_strength and any(name in os.environ for name in harness.HOLDING_BACK):
        return _again_without(harness.HOLDING_BACK, args.argv)
    digits = _digits(args.data) if args.data else None
    for option, path in (("--json", args.json), ("--png", args.png)):
        if path:
            require_writable(option, path)
    try:
        peers = harness.load_peers(args.peers)
        _require_known(args.engines or (), [*harness.ENGINES, *peers], "" if peers else f"; {harness.NO_PEERS}")
        old = harness.read(args.compare) if args.compare else None
        new = harness.run(peers, args.engines, args.only, args.dtype, args.threads, args.rounds, say, digits)
    except harness.BenchError as error:
        raise CommandError(error) from None
    for line in harness.losses(new.records):
        say(line)
    for line in harness.compare(old, new) if old else ():
        say(line)
    if args.json:
        with replaced(args.json) as file:
            file.write(new.to_json().encode())
    if args.png:
        from zerodl_c.plot import speed_ratios

        with replaced(args.png) as file:
            speed_ratios(new.records, file)
    return int(args.strict and any(record.is_loss for record in new.records))


def _require_known(names: Sequence[str], known: Sequence[str], hint: str) -> None:
    for name in names:
        if name not in known:
            choice = f"invalid choice: {name!r} (choose from {', '.join(map(repr, known))})"
            meant = did_you_mean(name, known) or hint
            raise CommandError(f"argument --engines: {choice}{meant} (see zerodl-c bench --help)")


def _again_without(variables: Sequence[str], argv: Sequence[str]) -> int:
    """The status of this command in a new process without these variables. Here, libraries have already read them."""
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    return subprocess.run([sys.executable, "-m", "zerodl_c", *argv], env=environment).returncode


def _digits(folder: Path) -> Any:
    """The first 10,000 images and labels of MNIST: as many as its test set has."""
    data = mnist(folder)
    if data.x_train.shape[1] != 28 * 28:
        raise CommandError(f"argument --data: needs images of 28 x 28 pixels, got {data.x_train.shape[1]} pixels")
    return tuple(np.concatenate(parts)[:10_000] for parts in ((data.x_train, data.x_test), (data.t_train, data.t_test)))
