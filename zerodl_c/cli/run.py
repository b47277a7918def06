"""``zerodl-c run``: runs a script of the book on this engine."""

from __future__ import annotations

import argparse

from zerodl_c.swap import running

from .errors import CommandError
from .options import ENGINES, Commands


def add_to(commands: Commands) -> None:
    """Add the command and its options."""
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
    # PARSER passes on the arguments after the script unchanged. REMAINDER after SCRIPT would lose a "--".
    option("script", metavar="SCRIPT", nargs=argparse.PARSER, help="and its own arguments")


def run(args: argparse.Namespace) -> None:
    """Run a script on this engine. Its errors go to Python, as if Python had run it."""
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
