"""Nets from the files that `net.save` has written."""

from __future__ import annotations

import os
from typing import Any


def load(path: str | os.PathLike[str]) -> Any:
    """The net that `net.save(path)` has kept, which predicts to the bit what the other did."""
    from .._saved import read

    return read(path, "zerodl_c.reference")
