"""Nets from the files that `net.save` has written."""

from __future__ import annotations

import os

from .._net import SavedNet


def load(path: str | os.PathLike[str]) -> SavedNet:
    """The net that `net.save(path)` has kept, which predicts to the bit what the other did."""
    from .._saved import read

    net: SavedNet = read(path, "zerodl_c.reference")
    return net
