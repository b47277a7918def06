"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BytesIO
from typing import BinaryIO

__all__ = ["replacing", "try_to_write"]

Path = str | os.PathLike[str]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` once it is completely written, and not before.

    A device or a named pipe cannot be replaced: all is written to it in the end. An OSError names `path`.
    """
    try:
        with _device(path) if _is_device(path) else _successor(path) as file:
            yield file
    except OSError as error:
        raise OSError(error.errno, error.strerror, os.fspath(path)) from None


def try_to_write(path: Path) -> None:
    """Raise the OSError that `replacing` would raise, as far as it can be foreseen, and change nothing."""
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not _is_device(path):
        try:
            with tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path))):
                pass
        except OSError as error:  # which would name a file that nobody has asked for
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None


@contextmanager
def _device(path: Path) -> Iterator[BinaryIO]:
    """What is written is kept until it is complete: who writes an archive goes back in it, and a device does not."""
    with open(path, "wb") as device:
        content = BytesIO()
        yield content
        device.write(content.getbuffer())


@contextmanager
def _successor(path: Path) -> Iterator[BinaryIO]:
    target = os.path.realpath(path)  # for a link, replace the file that it points to
    # The name is random because another thread may write the same file at the same time. It is short because `path`
    # may already have the greatest length that the system allows.
    temporary = os.path.join(os.path.dirname(target), f".{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):  # the file may never have been created
            os.unlink(temporary)
        raise


def _is_device(path: Path) -> bool:
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
