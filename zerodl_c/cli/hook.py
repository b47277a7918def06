"""``zerodl-c hook``: makes ZERODL_SWAP=1 do what run does."""

from __future__ import annotations

import argparse
import sysconfig
from pathlib import Path

from zerodl_c.swap import HOOK

from .errors import CommandError
from .options import Commands
from .output import replaced, say


def add_to(commands: Commands) -> None:
    """Add the command and its options."""
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


def hook(args: argparse.Namespace) -> None:
    """Write or remove the line that Python runs when it starts, or say whether it is there."""
    path = Path(sysconfig.get_path("purelib"), "zerodl_c_swap.pth")
    if args.install:
        with replaced(path) as file:
            file.write(HOOK.encode())
        say(f"wrote {path}: ZERODL_SWAP=1 swaps the engine in")
        return
    if not args.remove:
        there, does = ("is a", "swaps the engine in") if path.exists() else ("is no", "does nothing")
        say(f"there {there} {path}: ZERODL_SWAP=1 {does}")
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise CommandError(f"cannot remove {path}: {error.strerror}") from None
    say(f"there is no {path} any more: ZERODL_SWAP does nothing")
