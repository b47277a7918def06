"""The command ``zerodl-c``: what can be done with the engine without writing a line of Python.

Each command is a module, which has its options and what it does.
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

INTERRUPTED, CLOSED_PIPE = 130, 141  # 128 and the signal, as a shell tells of grep


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
        if args.command is not run.run:  # a script may have nothing to say
            stdout()
        return args.command(args) or 0
    except CommandError as error:
        return complain(f"error: {error}")
    except UsersError as error:
        return _show_users(error.error)
    except (MissingExtra, OSError, MemoryError, KeyboardInterrupt) as error:
        if args is not None and args.command is run.run:
            raise  # the script's: Python ends it as any script
        return _tell(error)


def _parser() -> Parser:
    parser = Parser(
        prog="zerodl-c",
        description="The engine of 'Deep Learning from Scratch' in C, beside the NumPy original.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    # required=True would complain of a missing command before it complains of a mistyped option.
    parser.set_defaults(command=lambda args: parser.error("the following arguments are required: COMMAND"))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (train, bench, check, run, hook, info):
        command.add_to(commands)
    return parser


class _Version(argparse.Action):
    """argparse's own would need the version, which is slow to find, before it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        say(f"zerodl-c {zerodl_c.__version__}")
        parser.exit()


def _tell(error: BaseException) -> int:
    """Tell of what the environment lacks or does, which is no bug, and return the exit status."""
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
    """Show the traceback from the user's code on; return the status with which Python ends then."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals.get("__package__") == __package__:
        trace = trace.tb_next
    sys.excepthook(type(error), error.with_traceback(trace), trace)
    return 1
