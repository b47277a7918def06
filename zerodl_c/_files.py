"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

__all__ = ["replacing", "try_to_write"]

Path = str | os.PathLike[str]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when all of it is written, and never otherwise.

    A device or a named pipe is written to as it is: nothing can take its place. An OSError names `path`.
    """
    try:
        with open(path, "wb") if _is_device(path) else _successor(path) as file:
            yield file
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def try_to_write(path: Path) -> None:
    """Raise the OSError that `replacing` would raise, as far as that shows before, and change nothing."""
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not _is_device(path):
        try:
            with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
                pass
        except OSError as error:  # which would name a file that nobody has asked for
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None


@contextmanager
def _successor(path: Path) -> Iterator[BinaryIO]:
    target = os.path.realpath(path)  # of a link it is the file that changes, and not the link
    # A name of its own, as another thread may write beside this one, and a short one: `path` may be as long as can be.
    temporary = os.path.join(os.path.dirname(target), f".{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):  # where nothing could be written, there is nothing to remove
            os.unlink(temporary)
        raise


def _is_device(path: Path) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
