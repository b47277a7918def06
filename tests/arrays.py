"""The arrays that the tests run on: lengths around vector widths, layouts, special values.

A layout takes an array to one of its shape and dtype that lies in memory in another way, and holds
the same values; only "repeated" holds the first value everywhere, for its strides are zero.
"""

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

DTYPES = [np.float32, np.float64]
LANES = [2, 4, 8, 16]  # elements of a vector: 128 to 512 bits of float64 or float32

LENGTHS = sorted({n for lanes in LANES for n in (lanes - 1, lanes, lanes + 1, 2 * lanes + 1)})
EMPTY = [(0,), (0, 3), (3, 0), (2, 0, 3)]
SHAPES = [
    (),
    *EMPTY,
    *((n,) for n in LENGTHS),
    *((3, n) for n in LENGTHS),
    (17, 1),
    (2, 3, 9),
    (2, 1, 3, 5),
]


def _every(step: int | None, x: np.ndarray) -> tuple:
    """The index that takes every step-th element along each axis; a 0-d array stays an array."""
    return (..., *[slice(None, None, step)] * x.ndim)


def fortran(x: np.ndarray) -> np.ndarray:
    return np.array(x, order="F")


def rolled(x: np.ndarray) -> np.ndarray:
    """The last axis lies outermost in memory."""
    return np.moveaxis(np.moveaxis(x, -1, 0).copy(), 0, -1) if x.ndim else x.copy()


def backwards(x: np.ndarray) -> np.ndarray:
    return x[_every(-1, x)].copy()[_every(-1, x)]


def stepped(x: np.ndarray) -> np.ndarray:
    view = np.full([2 * n for n in x.shape], np.nan, x.dtype)[_every(2, x)]
    view[...] = x
    return view


def offset(x: np.ndarray) -> np.ndarray:
    """The middle of a larger array: rows do not touch, and begin beside a vector's alignment."""
    view = np.full([n + 4 for n in x.shape], np.nan, x.dtype)[(..., *[slice(1, -3)] * x.ndim)]
    view[...] = x
    return view


def misaligned(x: np.ndarray) -> np.ndarray:
    """One byte beside the alignment of an element."""
    view = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    view[...] = x
    return view


def byte_swapped(x: np.ndarray) -> np.ndarray:
    return x.astype(x.dtype.newbyteorder())


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def repeated(x: np.ndarray) -> np.ndarray:
    return np.broadcast_to(x[(..., *[slice(1)] * x.ndim)], x.shape)


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "contiguous": np.copy,
    "fortran": fortran,
    "rolled": rolled,
    "backwards": backwards,
    "stepped": stepped,
    "offset": offset,
    "misaligned": misaligned,
    "byte-swapped": byte_swapped,
    "read-only": read_only,
    "repeated": repeated,
}


def normal(shape: tuple[int, ...], dtype: type, seed: int = 0) -> np.ndarray:
    """Random numbers around 0, of magnitude 3."""
    return np.asarray(3 * np.random.default_rng(seed).standard_normal(shape), dtype)


def specials(dtype: type) -> np.ndarray:
    """Nan, infinities, both zeros, subnormals, the edges of exp, and the largest numbers."""
    info = np.finfo(dtype)
    edges = [0.0, info.smallest_subnormal, info.tiny / 2, info.tiny, info.eps, 0.5, 1, 20]
    edges += [88.5, 104, 709.5, 746, info.max, np.inf]
    return np.array([*edges, *(-x for x in edges), np.nan], dtype)


def arrays(
    dtype: type, operands: int = 1, shapes: list[tuple[int, ...]] = SHAPES
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Each shape in each layout: a label, and `operands` arrays of that shape.

    The first has the layout of the label, each further one a layout that lies three further on.
    """
    layouts = list(LAYOUTS.values())
    for shape, (i, name) in product(shapes, enumerate(LAYOUTS)):
        contiguous = (normal(shape, dtype, seed) for seed in range(operands))
        chosen = (layouts[(i + 3 * k) % len(layouts)] for k in range(operands))
        yield f"{name} {shape}", [f(x) for f, x in zip(chosen, contiguous, strict=True)]


def special_arrays(dtype: type, operands: int = 1) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Special values: every one beside every other, and in each place of a short row."""
    values = specials(dtype)
    if operands == 2:
        yield "all pairs", [np.repeat(values, values.size), np.tile(values, values.size)]
    else:
        yield "all", [values]
    for value in values:
        rows = np.where(np.eye(5, dtype=bool), value, normal((5, 5), dtype))
        yield f"a {value}", [rows, *(normal((5, 5), dtype, seed) for seed in range(1, operands))]
