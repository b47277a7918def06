"""``zerodl-c info``: shows the version, the compiler, the instruction sets and the threads."""

from __future__ import annotations

import argparse
import io
from contextlib import redirect_stdout

import zerodl_c

from .options import Commands
from .output import say


def add_to(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser("info", help="show the version, the compiler, the instruction sets and the threads")
    parser.set_defaults(command=info)


def info(args: argparse.Namespace) -> None:
    """Print what `zerodl_c.show_config` prints."""
    with redirect_stdout(io.StringIO()) as shown:
        zerodl_c.show_config()
    say(shown.getvalue(), end="")
