"""Types and helpers that the options of several commands share."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import zerodl_c
import zerodl_c.reference
from zerodl_c.datasets import Dataset, load_mnist

from .errors import CommandError
from .output import say

ENGINES = {"c": zerodl_c, "numpy": zerodl_c.reference}
DTYPES = ["float64", "float32"]
DRAWING = "matplotlib.figure"  # what zerodl_c.plot needs


class Parser(argparse.ArgumentParser):
    """A parser whose errors name the command's help and the word that was probably meant."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """Refuse unknown arguments here. argparse would leave them to the main parser."""
        known, unknown = super().parse_known_args(args, namespace)
        if unknown:
            meant = did_you_mean(unknown[0].partition("=")[0], self._option_string_actions)
            self.error(f"unrecognized arguments: {' '.join(unknown)}{meant}")
        return known, unknown

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{message} (see {self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            raise argparse.ArgumentError(action, error.message + did_you_mean(value, action.choices or ())) from None

    def _print_message(self, message: str, file: Any = None) -> None:
        say(message, end="")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of an error message, with the word that was probably meant, or ""."""
    names = {name.lstrip("-"): name for name in known}  # the dashes would make all options look similar
    found = get_close_matches(word.lstrip("-"), names, n=1)
    return f"; did you mean {names[found[0]]}?" if found else ""


def integer(low: int, high: int) -> Callable[[str], int]:
    """The type of an option that takes an integer from low to high."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"must be an integer from {low} to {high}, was {text!r}")
        return value

    return parse


COUNT = integer(1, 2**31 - 1)
SEED = integer(0, 2**32 - 1)


def rate(text: str) -> float:
    """The type of an option that takes a positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise argparse.ArgumentTypeError(f"must be a finite number above 0, was {text!r}")
    return value


def mnist(folder: Path) -> Dataset:
    """The images of `--data`."""
    try:
        return load_mnist(folder)
    except ValueError as error:
        raise CommandError(error) from None
