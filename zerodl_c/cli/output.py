"""Writes to stdout, stderr and files for the commands. A failure to write is an error of one line."""

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
    """Print to stdout and flush, so that a full disk or a closed pipe is noticed here. All output goes through here."""
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
    if sys.stdout is None:  # Python sets it so if the descriptor is closed
        raise CommandError(f"cannot write to standard output: {os.strerror(errno.EBADF)}")
    return sys.stdout


def complain(text: str, status: int = FAILED) -> int:
    """Print one line to stderr, if there is one, and return the exit status."""
    if sys.stderr is not None:  # with file=None, print would write to stdout
        try:
            print("zerodl-c:", " ".join(text.splitlines()), file=sys.stderr, flush=True)
        except OSError:
            _discard(sys.stderr)
    return status


def _discard(stream: TextIO) -> None:
    """Discard the rest of a stream. Python would try to write it again at exit, and report another error."""
    with suppress(OSError), open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def writing(option: str, path: Path) -> Iterator[None]:
    """Report a path that cannot be written to as an error of the option."""
    try:
        yield
    except OSError as error:
        raise CommandError(f"argument {option}: cannot write to {path}: {error.strerror}") from None


def require_writable(option: str, path: Path) -> None:
    """Check before the work that its result can be saved."""
    with writing(option, path):
        try_to_write(path)


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """A file that replaces `path` once it is complete."""
    try:
        with replacing(path) as file:
            yield file
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None
