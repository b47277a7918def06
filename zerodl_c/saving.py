"""Nets from the files that `net.save` has written."""

from __future__ import annotations

import os
from typing import Any

from .reference import saving as reference

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> Any:
    from ._saved import read  # which imports much: json, zipfile

    return read(path, "zerodl_c")


load.__doc__ = reference.load.__doc__
