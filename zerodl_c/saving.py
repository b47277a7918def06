"""Nets from the files that `net.save` has written."""

from __future__ import annotations

import os

from ._net import SavedNet

__all__ = ["load"]


def load(path: str | os.PathLike[str]) -> SavedNet:
    """The net that `net.save(path)` has kept, which predicts to the bit what the other did.

    It is one of this engine, whichever engine wrote the file. No random numbers are drawn.

    Parameters
    ----------
    path : path

    Returns
    -------
    net
        Of the class, with the parameters, running statistics and settings that it was saved with. Type checkers know
        what all nets share, and the rest after ``isinstance(net, zerodl_c.MultiLayerNet)``.

    Raises
    ------
    ValueError
        If the file is damaged, or no net that `save` of this version has written: it names the file.
    OSError
        If there is no such file.

    Examples
    --------
    >>> import os, tempfile, zerodl_c
    >>> net = zerodl_c.MultiLayerNet(64, [50, 50], 10)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "net.npz")
    ...     net.save(path)
    ...     zerodl_c.load(path)
    MultiLayerNet(64-50-50-10, relu, 6,310 parameters)
    """
    from ._saved import read  # which imports much: json, zipfile

    net: SavedNet = read(path, "zerodl_c")
    return net
