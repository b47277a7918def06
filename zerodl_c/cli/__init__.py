"""The command ``zerodl-c``, which uses the engine without a line of Python.

Each subcommand is a module with its options and its function.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import zerodl_c
from zerodl_c._extras import MissingExtra

from . import bench, check, hook, info, run, train
from .errors import CommandError, UsersError
from .options import Parser
from .output import complain, say, stdout

__all__ = ["main"]

INTERRUPTED, CLOSED_PIPE = 130, 141  # 128 plus the signal, as in a shell


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command ``zerodl-c``.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, by default those that the program was started with.

    Returns
    -------
    int
        The exit status. 0 is success. 1 means that `bench --strict` found a case slower than the reference, or that
        `check` found a wrong gradient or an error in the user's own code, whose traceback it shows. 2 means an error,
        and 130 means Ctrl-C; both print one line on stderr. 141 means that stdout is a closed pipe; nothing is printed.
        Errors of a script that `run` runs are raised, including SystemExit and KeyboardInterrupt.
        `run --verify` raises SystemExit(1) at a difference.
    """
    args = None
    try:
        args = _parser().parse_args(argv, argparse.Namespace(argv=sys.argv[1:] if argv is None else [*argv]))
        if args.command is not run.run:  # a script may not need stdout
            stdout()
        return args.command(args) or 0
    except CommandError as error:
        return complain(f"error: {error}")
    except UsersError as error:
        return _show_users(error.error)
    except (MissingExtra, OSError, MemoryError, KeyboardInterrupt) as error:
        if args is not None and args.command is run.run:
            raise  # it is the script's error: Python handles it as for any script
        return _tell(error)


def _parser() -> Parser:
    parser = Parser(
        prog="zerodl-c",
        description="The engine of 'Deep Learning from Scratch' in C, beside the NumPy original.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    # required=True would report a missing command before a mistyped option.
    parser.set_defaults(command=lambda args: parser.error("the following arguments are required: COMMAND"))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (train, bench, check, run, hook, info):
        command.add_to(commands)
    return parser


class _Version(argparse.Action):
    """Unlike argparse's own action, this one looks up the version, which is slow, only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        say(f"zerodl-c {zerodl_c.__version__}")
        parser.exit()


def _tell(error: BaseException) -> int:
    """Report an error of the environment, which is no bug, and return the exit status."""
    match error:
        case BrokenPipeError():
            return CLOSED_PIPE
        case KeyboardInterrupt():
            return complain("interrupted", INTERRUPTED)
        case MemoryError():
            return complain(f"error: not enough memory: {error}".removesuffix(": "))
        case OSError(filename=str(), strerror=str()):
            return complain(f"error: {error.filename}: {error.strerror}")
    return complain(f"error: {error}")


def _show_users(error: Exception) -> int:
    """Show the traceback, beginning with the user's code, and return the status 1, as Python does."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    return 1
