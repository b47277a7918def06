"""``zerodl-c check``: checks a gradient against central differences."""

from __future__ import annotations

import argparse
import inspect
import operator
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

import zerodl_c

from .errors import CommandError, UsersError, users
from .options import COUNT, ENGINES, SEED, Commands, rate
from .output import say

CHECKED_SIZES, CHECKED_SAMPLES = (784, 50, 10), 5


def add_to(commands: Commands) -> None:
    """Add the command and its options."""
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
    option("--sample", metavar="N", type=COUNT, help="random entries of each parameter (default: all)")
    option("--h", metavar="H", type=rate, help="the step (default: 1e-4 for float64, more for float32)")
    option(
        "--seed",
        metavar="N",
        type=SEED,
        default=0,
        help="of NumPy's global generator and of the sample (default: %(default)s)",
    )


def _target(text: str) -> tuple[str, str]:
    module, _, name = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise argparse.ArgumentTypeError(f"must be MODULE:OBJECT, was {text!r}")
    return module, name


def check(args: argparse.Namespace) -> int:
    """Check the user's gradient, or that of the book's net. Return 1 if anything is wrong."""
    if args.target and args.engine:
        raise CommandError("argument --engine: is for the book's net, and not for MODULE:OBJECT")
    if args.target:
        module, name = args.target
        with _current_folder_on_path():
            arguments = _arguments(module, name, args.seed)
            return _verdict(users(_gradient_check, args, arguments))
    status = 0
    for engine in ENGINES if args.engine in (None, "both") else [args.engine]:
        say(f"{engine}: TwoLayerNet({', '.join(map(str, CHECKED_SIZES))}), {CHECKED_SAMPLES} samples")
        status |= _verdict(_gradient_check(args, _book_net(engine, args.seed)))
    return status


def _gradient_check(args: argparse.Namespace, arguments: tuple[Any, ...]) -> Any:
    return zerodl_c.gradient_check(*arguments, h=args.h, sample=args.sample, seed=args.seed)


def _verdict(result: Any) -> int:
    """Print the result, and return the exit status."""
    say(str(result))
    return int(not result)


def _book_net(engine: str, seed: int) -> tuple[Any, ...]:
    np.random.seed(seed)
    net = ENGINES[engine].TwoLayerNet(*CHECKED_SIZES)
    classes = np.random.randint(0, CHECKED_SIZES[-1], CHECKED_SAMPLES)
    return net, np.random.rand(CHECKED_SAMPLES, CHECKED_SIZES[0]), classes


def _arguments(module: str, name: str, seed: int) -> tuple[Any, ...]:
    """The three arguments for gradient_check, which the user's function returns."""
    must = f"{module}:{name} must be a function without parameters that returns (net, x, t) or (f, x, gradient)"
    np.random.seed(seed)
    try:
        users(__import__, module)  # not importlib's function, which would show in tracebacks
    except UsersError as raised:
        # If the user's own module imports a missing module, its traceback says so.
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
    arguments = users(target)
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
