"""The command ``zerodl-c``: what can be done with the engine without writing a line of Python."""

from __future__ import annotations

import argparse
import errno
import importlib
import inspect
import io
import math
import operator
import os
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO

import numpy as np

import zerodl_c
import zerodl_c.reference
from zerodl_c._files import replacing, try_to_write
from zerodl_c.datasets import CLASSES, Dataset, load_digits, load_mnist
from zerodl_c.optimizer import SGD
from zerodl_c.swap import HOOK, running
from zerodl_c.two_layer_net import TwoLayerNet

__all__ = ["main"]

FAILED, INTERRUPTED, CLOSED_PIPE = 2, 130, 141  # the last two are 128 and the signal, as a shell tells of grep
TURNS = 5
PAUSE = 0.2  # seconds; zerodl_c.bench.timing says why
ENGINES = {"c": zerodl_c, "numpy": zerodl_c.reference}
DRAWING = "matplotlib.figure"  # what zerodl_c.plot needs
CHECKED_SIZES, CHECKED_SAMPLES = (784, 50, 10), 5
DTYPES = ["float64", "float32"]
GRADIENTS = {"backpropagation": "gradient", "numerical": "numerical_gradient"}  # methods of a net
# zerodl_c.bench.ENGINES, which is loaded by the command alone
BENCH_ENGINES = ["c", "numpy", "torch", "scipy", "sklearn", "onnxruntime", "jax"]


class CommandError(Exception):
    """What the user can mend. It is reported as one line, without a traceback."""


class _UsersError(Exception):
    """What the user's own code raised. It is shown as Python shows it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``zerodl-c``.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, by default those that the program was started with.

    Returns
    -------
    int
        The exit status: 0, or 1 where `bench --strict` finds a case that is slower than the reference, or `check` a
        gradient that is not well or an error of the user's own code, whose traceback it shows; or 2 after an error and
        130 after Ctrl-C, each of these two with one line on stderr, or 141 without a word where nobody reads stdout
        any more. What a script raises that `run` runs, SystemExit and KeyboardInterrupt included, is raised;
        `run --verify` raises SystemExit(1) at a difference.
    """
    args = None
    try:
        args = _parser().parse_args(argv, argparse.Namespace(argv=sys.argv[1:] if argv is None else [*argv]))
        if args.command is not run:  # a script may have nothing to say
            _stdout()
        return args.command(args) or 0
    except CommandError as error:
        return _complain(f"error: {error}")
    except _UsersError as error:
        return _show_users(error.error)
    except (OSError, MemoryError, KeyboardInterrupt) as error:
        if args is not None and args.command is run:
            raise  # the script's: Python ends it as any script
        return _tell(error)


# ---- What goes wrong -----------------------------------------------------------------------------


def _tell(error: BaseException) -> int:
    """Tell of what the environment lacks or does, which is no bug, and return the exit status."""
    match error:
        case BrokenPipeError():
            return CLOSED_PIPE
        case KeyboardInterrupt():
            return _complain("interrupted", INTERRUPTED)
        case MemoryError():
            return _complain(f"error: not enough memory: {error}".removesuffix(": "))
        case OSError(filename=str(), strerror=str()):
            return _complain(f"error: {error.filename}: {error.strerror}")
    return _complain(f"error: {error}")


def _complain(text: str, status: int = FAILED) -> int:
    """Print one line to stderr, if there is one, and return the exit status."""
    if sys.stderr is not None:  # or print would take stdout
        try:
            print("zerodl-c:", " ".join(text.splitlines()), file=sys.stderr, flush=True)
        except OSError:
            _discard(sys.stderr)
    return status


def _users(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call what is the user's."""
    try:
        return function(*arguments, **options)
    except Exception as error:
        raise _UsersError(error) from None


def _show_users(error: Exception) -> int:
    """Show the traceback from the user's code on; return the status with which Python ends then."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    return 1


def _need(extra: str, *modules: str) -> None:
    """Import what a command needs, before it does anything; tell what installs the one that is missing."""
    for module in modules:
        try:
            importlib.import_module(module)
        except ModuleNotFoundError as error:
            raise CommandError(f"the module {error.name} is missing: pip install 'zerodl_c[{extra}]'") from None
        except ImportError as error:
            raise CommandError(f"the module {module} cannot be imported: {error}") from None


# ---- The command line ----------------------------------------------------------------------------


class _Parser(argparse.ArgumentParser):
    def print_help(self, file: Any = None) -> None:
        _say(self.format_help(), end="")

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")


def _parser() -> _Parser:
    parser = _Parser(
        prog="zerodl-c",
        description="The engine of 'Deep Learning from Scratch' in C, beside the NumPy original.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_train(commands)
    _add_bench(commands)
    _add_check(commands)
    _add_run(commands)
    _add_hook(commands)
    info = commands.add_parser(
        "info", help="show the version, the compiler, the instruction sets and the threads"
    )
    info.set_defaults(command=show_info)
    return parser


def _add_train(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "train",
        help="train a net on handwritten digits with both engines",
        description="Train the two-layer net of the book (affine, sigmoid, affine, softmax) on "
        "handwritten digits by minibatch gradient descent, and compare the engines: both start "
        "from the same weights and see the same batches.",
        epilog="Needs what this installs: pip install 'zerodl_c[demo]'",
    )
    parser.set_defaults(command=train)
    option = parser.add_argument
    option(
        "--data",
        metavar="DIR",
        type=Path,
        help="folder with the IDX files of MNIST or Fashion-MNIST, .gz or not; of a single pair, "
        "80 %% is trained with (default: the 1,797 digits that come with scikit-learn)",
    )
    option(
        "--engine",
        choices=[*ENGINES, "both"],
        help="default: both, or of --gradient numerical, which takes NumPy hours, c",
    )
    option(
        "--gradient",
        choices=GRADIENTS,
        default="backpropagation",
        help="numerical: by central differences of the loss alone (default: %(default)s)",
    )
    option("--dtype", choices=DTYPES, default="float64", help="default: %(default)s")
    count = _integer(1, 2**31 - 1)
    for name, kind, default, meaning in (
        ("--epochs", count, 100, "rounds over the training images"),
        ("--batch-size", count, 100, "images in one step"),
        ("--hidden", count, 50, "neurons in the hidden layer"),
        ("--lr", _rate, 1.0, "learning rate"),
        ("--seed", _integer(0, 2**32 - 1), 0, "of the first weights and of the batches"),
        ("--threads", count, zerodl_c.get_num_threads(), "of either engine"),
    ):
        option(
            name, metavar="N", type=kind, default=default, help=f"{meaning} (default: {default})"
        )
    option(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder, made if it is missing, that keeps the trained parameters (params_c.npz, "
        "params_numpy.npz) and the learning curves (curves.png)",
    )


def _add_bench(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "bench",
        help="time the C engine beside NumPy and what else is installed",
        description="Time the C engine, its reference in NumPy, and what is installed of PyTorch, SciPy, scikit-learn, "
        "ONNX Runtime and JAX: in one process, in turns, with equal threads. Losses are printed as plainly as wins.",
        epilog="Needs what this installs: pip install 'zerodl_c[bench]'",
    )
    parser.set_defaults(command=bench)
    option = parser.add_argument
    count = _integer(1, 2**31 - 1)
    threads = sorted({1, zerodl_c.get_num_threads()})
    shown = " ".join(map(str, threads))
    option("--threads", metavar="N", nargs="+", type=count, default=threads, help=f"default: {shown}")
    option("--dtype", nargs="+", choices=DTYPES, default=DTYPES, help=f"default: {' '.join(DTYPES)}")
    option("--only", metavar="TEXT", default="", help="the cases whose name contains TEXT")
    option(
        "--engines",
        metavar="NAME",
        nargs="+",
        choices=BENCH_ENGINES,
        help=f"of {', '.join(BENCH_ENGINES)}; the first two always take part (default: all that are installed)",
    )
    option("--rounds", metavar="N", type=count, default=4, help="turns of each engine (default: %(default)s)")
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


def _add_check(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "check",
        help="check a gradient against central differences, and say what is wrong with it",
        description="Compare the gradient of a net or a function with central differences, entry by entry, print the "
        "worst entry of each parameter and what is wrong with it, and exit with 1 if anything is. By default it checks "
        f"TwoLayerNet({', '.join(map(str, CHECKED_SIZES))}) on {CHECKED_SAMPLES} random samples.",
        epilog="OBJECT is a function without parameters that returns the arguments of zerodl_c.gradient_check: "
        "(net, x, t) or (f, x, gradient). MODULE is imported as from a script in the current folder.",
    )
    parser.set_defaults(command=check)
    option = parser.add_argument
    option("target", metavar="MODULE:OBJECT", nargs="?", type=_target, help="what to check (default: the book's net)")
    option("--engine", choices=[*ENGINES, "both"], help="of the book's net (default: both)")
    option("--sample", metavar="N", type=_integer(1, 2**31 - 1), help="random entries of each parameter (default: all)")
    option("--h", metavar="H", type=_rate, help="the step (default: 1e-4 for float64, more for float32)")
    option(
        "--seed",
        metavar="N",
        type=_integer(0, 2**32 - 1),
        default=0,
        help="of NumPy's global generator and of the sample (default: %(default)s)",
    )


def _add_run(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "run",
        help="run a script of the book on this engine, unmodified",
        description="Run a script, a module or a program as python does, with the book's package common resolved to "
        "this engine. The folder above the script's is added to sys.path, so that dataset is found from any current "
        "folder.",
        usage="%(prog)s [-h] [--engine {c,numpy}] [--verify[=all]] [--report] [-m | -c] SCRIPT [ARGS ...]",
        allow_abbrev=False,
    )
    parser.set_defaults(command=run)
    option = parser.add_argument
    option("--engine", choices=ENGINES, default="c", help="default: %(default)s")
    option(
        "--verify",
        action="store_const",
        const="sample",
        default="",
        help="run calls 1, 2, 4, 8, ... of each function on the script's own code, too, or on the reference; say where "
        "they first differ by more than rounding, and exit 1",
    )
    option("--verify=all", dest="verify", action="store_const", const="all", help="all calls")
    option(
        "--report",
        action="store_true",
        help="print to stderr at the end what the calls took and saved, and what was not accelerated",
    )
    kind = parser.add_mutually_exclusive_group().add_argument
    parser.set_defaults(kind=running.script)
    kind("-m", dest="kind", action="store_const", const=running.module, help="SCRIPT is a module's name")
    kind("-c", dest="kind", action="store_const", const=running.command, help="SCRIPT is a program itself")
    # PARSER hands on what follows the script as it is; REMAINDER after SCRIPT would lose a "--".
    option("script", metavar="SCRIPT", nargs=argparse.PARSER, help="and its own arguments")


def _add_hook(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = commands.add_parser(
        "hook",
        help="let ZERODL_SWAP=1 do what run does, in this environment of Python",
        description="Install or remove a .pth file of one line in this environment's site-packages. With it, a python "
        "that starts with ZERODL_SWAP=c (or 1, or numpy) calls zerodl_c.install(); without the variable it does "
        "nothing. Without an option: say whether it is installed.",
    )
    parser.set_defaults(command=hook)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--install", action="store_true", help="write the file")
    which.add_argument("--remove", action="store_true", help="remove it, if it is there")


def _target(text: str) -> tuple[str, str]:
    module, _, name = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise argparse.ArgumentTypeError(f"must be MODULE:OBJECT, was {text!r}")
    return module, name


def _integer(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"must be an integer from {low} to {high}, was {text!r}"
            )
        return value

    return parse


def _rate(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError(f"must be a finite number above 0, was {text!r}")
    return value


# ---- info ----------------------------------------------------------------------------------------


def show_info(args: argparse.Namespace) -> None:
    """Show what zerodl_c is and runs on."""
    with redirect_stdout(io.StringIO()) as shown:
        zerodl_c.show_config()
    _say(shown.getvalue(), end="")


# ---- train ---------------------------------------------------------------------------------------


def train(args: argparse.Namespace) -> None:
    """Train the two-layer net on one engine or both, print how they did, and keep the results."""
    _need("demo", "tqdm", "threadpoolctl")
    if not args.data:
        _need("demo", "sklearn.datasets")
    if args.out:
        _need("demo", DRAWING)
    data = _load(args)
    args.engine = args.engine or ("both" if args.gradient == "backpropagation" else "c")
    engines = list(ENGINES) if args.engine == "both" else [args.engine]
    if args.out:
        _prepare(args.out, engines)
    _say(
        f"{data.name}: {len(data.x_train)} images to train with, {len(data.x_test)} to test with\n"
        f"net {data.x_train.shape[1]}-{args.hidden}-{CLASSES}, {args.dtype}, {args.gradient}, epochs {args.epochs}, "
        f"batch size {args.batch_size}, lr {args.lr:g}, seed {args.seed}, threads {args.threads}\n"
    )
    # A net that diverges is reported by evaluate(), once, rather than by NumPy's warnings.
    with _threads(args.threads), np.errstate(over="ignore", invalid="ignore"):
        runs = [_start(engine, data, args) for engine in engines]
        _fit(runs, data, args)
        _say(_table(runs, data))
    if args.out:
        _save(runs, args.out)


@dataclass
class _Run:
    """One engine's net, the time its steps took, and how it did at first and after each epoch."""

    engine: str
    net: TwoLayerNet
    optimizer: SGD
    gradient: str  # a method of the net
    images: int = 0
    seconds: float = 0.0
    curves: dict[str, list[float]] = field(
        default_factory=lambda: {"loss": [], "test accuracy": []}
    )

    def step(self, x: np.ndarray, t: np.ndarray) -> None:
        start = time.perf_counter()
        self.optimizer.update(self.net.params, getattr(self.net, self.gradient)(x, t))
        self.seconds += time.perf_counter() - start
        self.images += len(x)

    def evaluate(self, data: Dataset) -> None:
        loss = float(self.net.loss(data.x_train, data.t_train))
        epoch = len(self.curves["loss"])
        if not math.isfinite(loss):
            raise CommandError(
                f"training diverged: the loss of engine {self.engine} is {loss} "
                f"after epoch {epoch}; try a smaller --lr"
            )
        self.curves["loss"].append(loss)
        self.curves["test accuracy"].append(float(self.net.accuracy(data.x_test, data.t_test)))


def _mnist(folder: Path) -> Dataset:
    try:
        return load_mnist(folder)
    except ValueError as error:
        raise CommandError(error) from None


def _load(args: argparse.Namespace) -> Dataset:
    data = _mnist(args.data) if args.data else load_digits()
    if args.batch_size > len(data.x_train):
        raise CommandError(
            f"argument --batch-size: must be at most the {len(data.x_train)} images to train with, "
            f"was {args.batch_size}"
        )
    return data._replace(
        x_train=data.x_train.astype(args.dtype), x_test=data.x_test.astype(args.dtype)
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Give both engines the same number of threads, so that they are compared fairly."""
    from threadpoolctl import threadpool_limits

    before = zerodl_c.get_num_threads()
    zerodl_c.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        zerodl_c.set_num_threads(before)


def _start(engine: str, data: Dataset, args: argparse.Namespace) -> _Run:
    """Seed anew for each engine: so weights and batches are equal, with one engine or two."""
    np.random.seed(args.seed)
    module = ENGINES[engine]
    net = module.TwoLayerNet(
        data.x_train.shape[1], args.hidden, CLASSES, dtype=np.dtype(args.dtype)
    )
    return _Run(engine, net, module.SGD(args.lr), GRADIENTS[args.gradient])


def _fit(runs: list[_Run], data: Dataset, args: argparse.Namespace) -> None:
    """Train the engines in TURNS turns each, so that a busy machine slows them alike."""
    from tqdm import tqdm

    images = len(data.x_train)
    for run in runs:
        run.evaluate(data)
    # disable=None shows the bar on a terminal, and keeps it out of files and pipes.
    with tqdm(
        total=args.epochs * len(runs) * images,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        disable=None,
    ) as bar:
        turn = math.ceil(args.epochs / TURNS)
        for first in range(0, args.epochs, turn):
            epochs = range(first, min(first + turn, args.epochs))
            orders = [np.random.permutation(images) for _ in epochs]
            for run in runs:
                if len(runs) > 1 and args.threads > 1:
                    time.sleep(PAUSE)
                for epoch, order in zip(epochs, orders, strict=True):
                    bar.set_description(f"epoch {epoch + 1}/{args.epochs}, {run.engine}", refresh=False)
                    _train_epoch(run, data, order, args.batch_size, bar)


def _train_epoch(run: _Run, data: Dataset, order: np.ndarray, batch_size: int, bar: Any) -> None:
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        run.step(data.x_train[batch], data.t_train[batch])
        bar.update(len(batch))
    run.evaluate(data)
    loss, accuracy = (f"{values[-1]:.4f}" for values in run.curves.values())
    bar.set_postfix(loss=loss, accuracy=accuracy, refresh=False)


def _table(runs: list[_Run], data: Dataset) -> str:
    lines = ["engine   train accuracy  test accuracy   seconds    images/s"]
    for run in runs:
        train_accuracy = float(run.net.accuracy(data.x_train, data.t_train))
        lines.append(
            f"{run.engine:<9}{train_accuracy:>14.4f}{run.curves['test accuracy'][-1]:>15.4f}"
            f"{run.seconds:>10.3f}{run.images / run.seconds:>12,.0f}"
        )
    if len(runs) == 2:
        ratio = runs[1].seconds / runs[0].seconds
        lines.append(f"{'c/numpy':<48}{ratio:>11.2f}x")
    return "\n".join(lines)


def _prepare(folder: Path, engines: list[str]) -> None:
    """Find out before the training whether its results can be kept."""
    with _writing("--out", folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name in _results(engines):
        with _writing("--out", folder / name):
            try_to_write(folder / name)


def _results(engines: Iterable[str]) -> list[str]:
    """The names of the files: the parameters of each engine, and the learning curves."""
    return [*(f"params_{engine}.npz" for engine in engines), "curves.png"]


@contextmanager
def _writing(option: str, path: Path) -> Iterator[None]:
    """Report that a path cannot be written to, as the option's fault."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"argument {option}: cannot write to {path}: {error.strerror}") from None


def _save(runs: list[_Run], folder: Path) -> None:
    from zerodl_c.plot import learning_curves

    *params, curves = names = _results(run.engine for run in runs)
    for run, name in zip(runs, params, strict=True):
        with _replacing(folder / name) as file:
            np.savez(file, **run.net.params)  # type: ignore[arg-type]  # its stub takes them for flags
    with _replacing(folder / curves) as file:
        learning_curves({run.engine: run.curves for run in runs}, file)
    _say(f"\nkept in {folder}: {', '.join(names)}")


# ---- bench ---------------------------------------------------------------------------------------


def bench(args: argparse.Namespace) -> int:
    """Time the cases, print a table, keep the results; 1 if --strict and a case is slower than the reference."""
    _need("bench", "threadpoolctl")
    if args.png:
        _need("bench", DRAWING)
    from zerodl_c import bench as harness

    if args.full_strength and any(name in os.environ for name in harness.HOLDING_BACK):
        return _again_without(harness.HOLDING_BACK, args.argv)
    digits = _digits(args.data) if args.data else None
    for option, path in (("--json", args.json), ("--png", args.png)):
        if path:
            with _writing(option, path):
                try_to_write(path)
    try:
        old = harness.read(args.compare) if args.compare else None
        new = harness.run(args.engines, args.only, args.dtype, args.threads, args.rounds, _say, digits)
    except harness.BenchError as error:
        raise CommandError(error) from None
    for line in harness.losses(new.records):
        _say(line)
    for line in harness.compare(old, new) if old else ():
        _say(line)
    if args.json:
        with _replacing(args.json) as file:
            file.write(new.to_json().encode())
    if args.png:
        from zerodl_c.plot import speed_ratios

        with _replacing(args.png) as file:
            speed_ratios(new.records, file)
    return int(args.strict and any(record.is_loss for record in new.records))


def _again_without(variables: Sequence[str], argv: Sequence[str]) -> int:
    """The status of this command in a new process, whose environment lacks the variables: libraries have read them."""
    environment = {name: value for name, value in os.environ.items() if name not in variables}
    return subprocess.run([sys.executable, "-m", "zerodl_c", *argv], env=environment).returncode


def _digits(folder: Path) -> Any:
    """The first 10,000 images and labels of MNIST, which is as many as it has to test with."""
    data = _mnist(folder)
    if data.x_train.shape[1] != 28 * 28:
        raise CommandError(f"argument --data: needs images of 28 x 28 pixels, got {data.x_train.shape[1]} pixels")
    return tuple(np.concatenate(parts)[:10_000] for parts in ((data.x_train, data.x_test), (data.t_train, data.t_test)))


# ---- check ---------------------------------------------------------------------------------------


def check(args: argparse.Namespace) -> int:
    """Check the user's gradient, or that of the book's net; 1 if anything is wrong."""
    if args.target and args.engine:
        raise CommandError("argument --engine: is for the book's net, and not for MODULE:OBJECT")
    if args.target:
        module, name = args.target
        with _current_folder_on_path():
            arguments = _arguments(module, name, args.seed)
            return _verdict(_users(_gradient_check, args, arguments))
    status = 0
    for engine in ENGINES if args.engine in (None, "both") else [args.engine]:
        _say(f"{engine}: TwoLayerNet({', '.join(map(str, CHECKED_SIZES))}), {CHECKED_SAMPLES} samples")
        status |= _verdict(_gradient_check(args, _book_net(engine, args.seed)))
    return status


def _gradient_check(args: argparse.Namespace, arguments: tuple[Any, ...]) -> Any:
    return zerodl_c.gradient_check(*arguments, h=args.h, sample=args.sample, seed=args.seed)


def _verdict(result: Any) -> int:
    """Print what was found, and return the exit status."""
    _say(str(result))
    return int(not result)


def _book_net(engine: str, seed: int) -> tuple[Any, ...]:
    np.random.seed(seed)
    net = ENGINES[engine].TwoLayerNet(*CHECKED_SIZES)
    classes = np.random.randint(0, CHECKED_SIZES[-1], CHECKED_SAMPLES)
    return net, np.random.rand(CHECKED_SAMPLES, CHECKED_SIZES[0]), classes


def _arguments(module: str, name: str, seed: int) -> tuple[Any, ...]:
    """What the user's function returns: three arguments for gradient_check."""
    must = f"{module}:{name} must be a function without parameters that returns (net, x, t) or (f, x, gradient)"
    np.random.seed(seed)
    try:
        _users(__import__, module)  # and not importlib's function, which shows in tracebacks
    except _UsersError as raised:
        # A module that the user's own module misses is told by its traceback.
        missing = raised.error.name if isinstance(raised.error, ModuleNotFoundError) else None
        if not f"{module}.".startswith(f"{missing}."):
            raise
        raise CommandError(f"there is no module {missing} in the current folder or among those installed") from None
    try:
        target: Any = operator.attrgetter(name)(sys.modules[module])
    except AttributeError:
        raise CommandError(f"there is no {name} in the module {module}") from None
    try:
        inspect.signature(target).bind()
    except (TypeError, ValueError) as error:
        raise CommandError(f"{must}: {error}") from None
    arguments = _users(target)
    if not isinstance(arguments, tuple) or len(arguments) != 3:
        raise CommandError(f"{must}; it returned {arguments!r:.60}")
    return arguments


@contextmanager
def _current_folder_on_path() -> Iterator[None]:
    before = list(sys.path)
    try:
        sys.path.insert(0, os.getcwd())
    except OSError as error:
        raise CommandError(f"the current folder cannot be found: {error.strerror}") from None
    try:
        yield
    finally:
        sys.path[:] = before


# ---- run -----------------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> None:
    """Run a script on this engine; whatever it raises goes on to Python, as if it had been run by it."""
    script, *arguments = args.script
    for name in ("verify", "report"):
        if getattr(args, name) and args.engine != "c":
            raise CommandError(f"argument --{name}: compares the C engine with numpy: leave out --engine {args.engine}")
    try:
        program = args.kind(script)
    except OSError as error:
        raise CommandError(f"cannot open {script}: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(str(error)) from None
    running.run(program, arguments, args.engine, verify=args.verify, report=args.report)


# ---- hook ----------------------------------------------------------------------------------------


def hook(args: argparse.Namespace) -> None:
    """Write or remove the line that Python runs when it starts, or say whether it is there."""
    path = Path(sysconfig.get_path("purelib"), "zerodl_c_swap.pth")
    if args.install:
        with _replacing(path) as file:
            file.write(HOOK.encode())
        _say(f"wrote {path}: ZERODL_SWAP=1 swaps the engine in")
        return
    if not args.remove:
        there, does = ("is a", "swaps the engine in") if path.exists() else ("is no", "does nothing")
        _say(f"there {there} {path}: ZERODL_SWAP=1 {does}")
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"cannot remove {path}: {error.strerror}") from None
    _say(f"there is no {path} any more: ZERODL_SWAP does nothing")


# ---- Output --------------------------------------------------------------------------------------


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None


def _say(text: str, end: str = "\n") -> None:
    """Print to stdout now, so that a full disk or a closed pipe behind it is noticed here; nothing else prints."""
    stdout = _stdout()
    # A folder's name may hold characters that stdout's encoding lacks.
    encoding = stdout.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end, flush=True)
    except OSError as error:
        _discard(stdout)
        if isinstance(error, BrokenPipeError):
            raise
        raise CommandError(f"cannot write to standard output: {error.strerror}") from None


def _stdout() -> TextIO:
    if sys.stdout is None:  # so Python has it where the descriptor is closed
        raise CommandError(f"cannot write to standard output: {os.strerror(errno.EBADF)}")
    return sys.stdout


def _discard(stream: TextIO) -> None:
    """Let the rest of a stream go nowhere: Python would try once more to write it when it exits, and complain."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())
