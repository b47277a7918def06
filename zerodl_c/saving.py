"""Nets from the files that `net.save` has written."""

import os
from typing import Any

from . import _saved
from .reference import saving as reference

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> Any:
    return _saved.read(path, "zerodl_c")


load.__doc__ = reference.load.__doc__
