"""``zerodl-c train``: trains the book's net on handwritten digits with both engines."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import zerodl_c
from zerodl_c._extras import need
from zerodl_c.datasets import CLASSES, Dataset, load_digits
from zerodl_c.optimizer import SGD
from zerodl_c.two_layer_net import TwoLayerNet

from .errors import CommandError
from .options import COUNT, DRAWING, DTYPES, ENGINES, SEED, Commands, mnist, rate
from .output import replaced, require_writable, say, writing

TURNS = 5
GRADIENTS = {"backpropagation": "gradient", "numerical": "numerical_gradient"}  # methods of a net


def add_to(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "train",
        help="train a net on handwritten digits with both engines",
        description="Train the two-layer net of the book (affine, sigmoid, affine, softmax) on handwritten digits by "
        "minibatch gradient descent, and compare the engines: both start from the same weights and see the same "
        "batches.",
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
        help="default: both, or c with --gradient numerical, which takes NumPy hours",
    )
    option(
        "--gradient",
        choices=GRADIENTS,
        default="backpropagation",
        help="numerical: by central differences of the loss alone (default: %(default)s)",
    )
    option("--dtype", choices=DTYPES, default="float64", help="default: %(default)s")
    for name, kind, default, meaning in (
        ("--epochs", COUNT, 100, "rounds over the training images"),
        ("--batch-size", COUNT, 100, "images in one step"),
        ("--hidden", COUNT, 50, "neurons in the hidden layer"),
        ("--lr", rate, 1.0, "learning rate"),
        ("--seed", SEED, 0, "of the first weights and of the batches"),
        ("--threads", COUNT, zerodl_c.get_num_threads(), "of either engine"),
    ):
        option(name, metavar="N", type=kind, default=default, help=f"{meaning} (default: {default})")
    option(
        "--out",
        metavar="DIR",
        type=Path,
        help="folder, made if it is missing, that keeps the trained nets (params_c.npz, "
        "params_numpy.npz: for zerodl_c.load) and the learning curves (curves.png)",
    )


def train(args: argparse.Namespace) -> None:
    """Train the two-layer net on one engine or both, print the results, and save them."""
    need("demo", "tqdm", "threadpoolctl")
    if not args.data:
        need("demo", "sklearn.datasets")
    if args.out:
        need("demo", DRAWING)
    data = _load(args)
    args.engine = args.engine or ("both" if args.gradient == "backpropagation" else "c")
    engines = list(ENGINES) if args.engine == "both" else [args.engine]
    if args.out:
        _prepare(args.out, engines)
    say(
        f"{data.name}: {len(data.x_train)} images to train with, {len(data.x_test)} to test with\n"
        f"net {data.x_train.shape[1]}-{args.hidden}-{CLASSES}, {args.dtype}, {args.gradient}, epochs {args.epochs}, "
        f"batch size {args.batch_size}, lr {args.lr:g}, seed {args.seed}, threads {args.threads}\n"
    )
    # evaluate() reports a net that diverges, once, so NumPy's warnings are off.
    with _threads(args.threads), np.errstate(over="ignore", invalid="ignore"):
        runs = [_start(engine, data, args) for engine in engines]
        _fit(runs, data, args)
        say(_table(runs, data))
    if args.out:
        _save(runs, data.name, args.out)


@dataclass
class _Run:
    """One engine's net, the time of its steps, and its loss and accuracy at first and after each epoch."""

    engine: str
    net: TwoLayerNet
    optimizer: SGD
    gradient: str  # a method of the net
    images: int = 0
    seconds: float = 0.0
    curves: dict[str, list[float]] = field(default_factory=lambda: {"loss": [], "test accuracy": []})

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
                f"training diverged: the loss of engine {self.engine} is {loss} after epoch {epoch}; try a smaller --lr"
            )
        self.curves["loss"].append(loss)
        self.curves["test accuracy"].append(float(self.net.accuracy(data.x_test, data.t_test)))


def _load(args: argparse.Namespace) -> Dataset:
    data = mnist(args.data) if args.data else load_digits()
    images = len(data.x_train)
    if args.batch_size > images:
        raise CommandError(
            f"argument --batch-size: must be at most the {images} images to train with, was {args.batch_size}"
        )
    return data._replace(x_train=data.x_train.astype(args.dtype), x_test=data.x_test.astype(args.dtype))


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Give both engines the same number of threads, for a fair comparison."""
    from threadpoolctl import threadpool_limits

    before = zerodl_c.get_num_threads()
    zerodl_c.set_num_threads(count)
    try:
        with threadpool_limits(count):
            yield
    finally:
        zerodl_c.set_num_threads(before)


def _start(engine: str, data: Dataset, args: argparse.Namespace) -> _Run:
    """Seed again for each engine, so that weights and batches are equal, with one engine or two."""
    np.random.seed(args.seed)
    module = ENGINES[engine]
    net = module.TwoLayerNet(data.x_train.shape[1], args.hidden, CLASSES, dtype=np.dtype(args.dtype))
    return _Run(engine, net, module.SGD(args.lr), GRADIENTS[args.gradient])


def _fit(runs: list[_Run], data: Dataset, args: argparse.Namespace) -> None:
    """Train the engines in TURNS turns each, so that a busy machine slows both equally."""
    from tqdm import tqdm

    from zerodl_c.bench.timing import PAUSE

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
    """Check before the training that its results can be saved."""
    with writing("--out", folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name in _results(engines):
        require_writable("--out", folder / name)


def _results(engines: Iterable[str]) -> list[str]:
    """The names of the files: the parameters of each engine, and the learning curves."""
    return [*(f"params_{engine}.npz" for engine in engines), "curves.png"]


def _save(runs: list[_Run], data: str, folder: Path) -> None:
    from zerodl_c._saved import write
    from zerodl_c.plot import learning_curves

    *params, curves = names = _results(run.engine for run in runs)
    for run, name in zip(runs, params, strict=True):
        with replaced(folder / name) as file:
            write(run.net, file)
    with replaced(folder / curves) as file:
        learning_curves({run.engine: run.curves for run in runs}, file, title=f"{data}: {runs[0].net!r}")
    say(f"\nkept in {folder}: {', '.join(names)}")
