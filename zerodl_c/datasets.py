"""Images to train on: scikit-learn's bundled digits, or the files of MNIST and Fashion-MNIST.

A `Dataset` has a training part and a test part. Images are rows of floats in [0, 1], and labels are
integers from 0 to 9.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._extras import need

__all__ = ["CLASSES", "Dataset", "load_digits", "load_idx", "load_mnist"]

CLASSES = 10

_UNSIGNED_BYTE = 0x08
_GZIP_EXPANDS = 1032  # the largest compression ratio: two bits of deflate can stand for 258 bytes
_CHUNK = 2**20  # bytes read at once: memory stays small, and the cost of a call does not matter


class Dataset(NamedTuple):
    """Labelled images in a training and a test part.

    Attributes
    ----------
    name : str
        What the images are, for reports.
    x_train, x_test : ndarray, (n, pixels) float64
        One image a row, each pixel in [0, 1].
    t_train, t_test : ndarray, (n,) int64
        The label of each image, 0 to 9.
    """

    name: str
    x_train: NDArray[np.float64]
    t_train: NDArray[np.int64]
    x_test: NDArray[np.float64]
    t_test: NDArray[np.int64]


def load_digits() -> Dataset:
    """Load the 1,797 digits of 8 x 8 pixels that come with scikit-learn.

    They are the test set of "Optical Recognition of Handwritten Digits" (UCI), written by 13 people. A
    shuffle with a fixed seed splits them into 1,437 for training and 360 for testing.

    Returns
    -------
    Dataset

    Raises
    ------
    ModuleNotFoundError
        If scikit-learn is not installed.

    Examples
    --------
    >>> digits = load_digits()
    >>> digits.x_train.shape, digits.x_test.shape
    ((1437, 64), (360, 64))
    """
    need("demo", "sklearn")
    from sklearn import datasets

    pixels, labels = datasets.load_digits(return_X_y=True)
    return _split("digits", pixels / 16, labels.astype(np.int64))


def load_mnist(folder: str | os.PathLike[str]) -> Dataset:
    """Load MNIST, Fashion-MNIST or another set in their format from a folder of IDX files.

    The folder holds ``train-images-idx3-ubyte`` and ``train-labels-idx1-ubyte`` for training, and
    ``t10k-images-idx3-ubyte`` and ``t10k-labels-idx1-ubyte`` for testing. A name may also have a dot
    (``train-images.idx3-ubyte``), and the file may be compressed (``.gz``). If several spellings
    exist, the first in this order is read.

    One of the two pairs is enough: a shuffle with a fixed seed then splits it into 80 % for training
    and 20 % for testing. Both parts then hold digits by the same writers, whereas the writers of
    MNIST's test set are not those of its training set. So accuracies from such a split cannot be
    compared with published ones.

    Parameters
    ----------
    folder : path
        Where the files are.

    Returns
    -------
    Dataset
        Named after the folder.

    Raises
    ------
    FileNotFoundError
        If the folder or a file of a pair is missing; the message has the names that were tried.
    ValueError
        If a file is damaged or two files don't fit together; the message names the file and the fault.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}")
    parts = [part for prefix in ("train", "t10k") if (part := _load_pair(folder, prefix))]
    if not parts:
        raise FileNotFoundError(f"{folder} holds neither train-images-idx3-ubyte nor t10k-images-idx3-ubyte (or .gz)")
    name = folder.resolve().name
    if len(parts) == 1:
        ((images, labels),) = parts
        if len(images) < 2:
            raise ValueError(f"{folder} holds a single image: too few to split into training and test")
        return _split(name, _pixels(images), labels)
    (train, t_train), (test, t_test) = parts
    if train.shape[1:] != test.shape[1:]:
        raise ValueError(
            f"the training images in {folder} are {_by(train.shape[1:])} pixels, "
            f"the test images are {_by(test.shape[1:])}"
        )
    return Dataset(name, _pixels(train), t_train, _pixels(test), t_test)


def load_idx(path: str | os.PathLike[str], ndim: int) -> NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes: two zeros, the type, the number of dimensions, each
    dimension as a big-endian 32-bit integer, then the elements, the last index fastest.

    Parameters
    ----------
    path : path
        The file; it is decompressed if its name ends in ``.gz``.
    ndim : int
        How many dimensions the file must have: 3 for images, 1 for labels.

    Returns
    -------
    ndarray of uint8
        Read-only, at least one element.

    Raises
    ------
    OSError
        If the file is missing or cannot be read.
    ValueError
        If it is damaged; the message names the file and the fault. No more is read than the header
        promises, and no more memory is allocated than a file of this size can fill.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits".
    """
    path = Path(path)
    try:
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            if path.suffix != ".gz":
                return _parse(path, raw, ndim, size - 4 - 4 * ndim)
            with gzip.GzipFile(fileobj=raw) as file:
                return _parse(path, file, ndim, _GZIP_EXPANDS * size)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is not a sound gzip file: {error}") from None
    except OSError as error:  # an error from reading does not name the file
        raise OSError(error.errno, error.strerror, str(path)) from None


def _parse(path: Path, file: BinaryIO | gzip.GzipFile, ndim: int, most: int) -> NDArray[np.uint8]:
    """The array in a file, which has at most `most` bytes after the header. Reads one more, to find trailing ones."""
    shape = _header(path, file, ndim)
    promised = math.prod(shape)
    if promised == 0:
        raise ValueError(f"{path} is empty: its header says {_by(shape)}")
    if promised > most:
        raise ValueError(f"{path} is truncated: its header says {_by(shape)} bytes, at most {most} follow")
    data = np.empty(promised, np.uint8)
    held = _fill(file, data.data)
    if held < promised:
        raise ValueError(f"{path} is truncated: its header says {_by(shape)} bytes, {held} follow")
    if file.read(1):
        raise ValueError(f"{path} has trailing bytes: its header says {_by(shape)} bytes, more follow")
    data.flags.writeable = False
    return data.reshape(shape)


def _header(path: Path, file: BinaryIO | gzip.GzipFile, ndim: int) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(f"{path} is not an IDX file: its first bytes are {magic.hex(' ') or 'missing'}")
    if magic[2] != _UNSIGNED_BYTE:
        raise ValueError(f"{path} holds elements of type 0x{magic[2]:02x}, must be unsigned bytes (0x08)")
    if magic[3] != ndim:
        raise ValueError(f"{path} has the number of dimensions {magic[3]}, must have {ndim}")
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise ValueError(f"{path} is truncated: it ends after {4 + len(sizes)} bytes, inside its header")
    return struct.unpack(f">{ndim}I", sizes)


def _fill(file: BinaryIO | gzip.GzipFile, buffer: memoryview) -> int:
    """Read into the buffer until it is full or the file ends; return how many bytes."""
    held = 0
    while chunk := file.read(min(len(buffer) - held, _CHUNK)):
        buffer[held : held + len(chunk)] = chunk
        held += len(chunk)
    return held


def _find(folder: Path, name: str) -> Path | None:
    """The first spelling of the file `name` that exists: as it is, with a dot, each also compressed."""
    for spelling in (name, name.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            path = folder / (spelling + suffix)
            if path.exists():
                return path
    return None


def _load_pair(folder: Path, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """Images (n, rows, columns) and their labels (n,); None if the folder has neither."""
    names = f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"
    images_path, labels_path = (_find(folder, name) for name in names)
    if images_path is None and labels_path is None:
        return None
    if images_path is None or labels_path is None:
        there, missing = names if labels_path is None else reversed(names)
        raise FileNotFoundError(f"{folder} holds {there}, but lacks {missing} (or .gz)")
    images, labels = load_idx(images_path, 3), load_idx(labels_path, 1)
    if len(labels) != len(images):
        raise ValueError(f"{labels_path} holds {len(labels)} labels, {images_path.name} {len(images)} images")
    if labels.max() >= CLASSES:
        raise ValueError(f"{labels_path} holds the label {labels.max()}, labels must be 0 to {CLASSES - 1}")
    return images, labels.astype(np.int64)


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, rows, columns) bytes -> (n, pixels) floats in [0, 1]"""
    return images.reshape(len(images), -1) / 255


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _split(name: str, x: NDArray[np.float64], t: NDArray[np.int64]) -> Dataset:
    """Split one set into 80 % for training and 20 % for testing.

    The set is shuffled because files are sorted by label or by writer: the halves of MNIST's test set come
    from two groups of people. The seed is fixed, so that all runs test on the same images. The
    generator is RandomState because NumPy promises never to change its stream.
    """
    order = np.random.RandomState(0).permutation(len(x))
    train, test = np.split(order, [len(x) * 4 // 5])
    return Dataset(name, x[train], t[train], x[test], t[test])
