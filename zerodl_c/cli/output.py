"""How commands write to stdout, to stderr and to files; a failure to write is an error of one line."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from zerodl_c._files import replacing, try_to_write

from .errors import CommandError

FAILED = 2


def say(text: str, end: str = "\n") -> None:
    """Print to stdout now, so that a full disk or a closed pipe behind it is noticed here; nothing else prints."""
    stream = stdout()
    # A folder's name may hold characters that stdout's encoding lacks.
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end, flush=True)
    except OSError as error:
        _discard(stream)
        if isinstance(error, BrokenPipeError):
            raise
        raise CommandError(f"cannot write to standard output: {error.strerror}") from None


def stdout() -> TextIO:
    """Python's stdout, or CommandError if there is none."""
    if sys.stdout is None:  # so Python has it where the descriptor is closed
        raise CommandError(f"cannot write to standard output: {os.strerror(errno.EBADF)}")
    return sys.stdout


def complain(text: str, status: int = FAILED) -> int:
    """Print one line to stderr, if there is one, and return the exit status."""
    if sys.stderr is not None:  # or print would take stdout
        try:
            print("zerodl-c:", " ".join(text.splitlines()), file=sys.stderr, flush=True)
        except OSError:
            _discard(sys.stderr)
    return status


def _discard(stream: TextIO) -> None:
    """Let the rest of a stream go nowhere: Python would try once more to write it when it exits, and complain."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Report that a path cannot be written to, as the option's fault."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"argument {option}: cannot write to {path}: {error.strerror}") from None


def require_writable(option: str, path: Path) -> None:
    """Find out before the work whether its result can be kept."""
    with writing(option, path):
        try_to_write(path)


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` once it is whole."""
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None
