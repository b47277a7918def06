"""The points at which central differences evaluate f, and the formulas for the gradient and its error.

With D(h) = (f(x + h) - f(x - h)) / 2h, order 2 is D(h), and order 4 is (4 D(h) - D(2h)) / 3. The leading error of order
2 is h^2 f'''/6, and that of order 4 is h^4 f^(5)/30. So with twice the step, the error is 4 or 16 times as large, and a
third or a fifteenth of the difference between the two results estimates the error (Richardson; see Press et al.,
Numerical Recipes, 5.7).
"""

from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class GradientInfo(NamedTuple):
    """What `numerical_gradient` knows about a gradient, or `numerical_jacobian` about a Jacobian; arrays in float64."""

    error: Array
    """The estimated error of each entry of the result: Richardson's, and the rounding of f divided by the step."""
    step: Array
    """The step of each entry of x: half the distance between the two points next to x."""
    evaluations: int
    """How often f was evaluated, including evaluations that find steps and check f."""
    way: str
    """How the differences were computed: by a plan, or with f at every point and why."""


def check_step(h: Any, word: str = "") -> None:
    """TypeError or ValueError if h is neither a step nor the word."""
    if word and isinstance(h, str) and h == word:
        return
    if not isinstance(h, Real):
        also = f" or {word!r}" if word else ""
        raise TypeError(f"h must be a real number{also}, got {h!r:.60} of {type(h).__name__}")
    if not 0 < float(h) < np.inf:
        raise ValueError(f"h must be positive and finite, got {h}")


def default_step(x: Array, order: int) -> Any:
    """The book's step for float64; for narrower dtypes, one that balances the errors of rounding and formula."""
    if x.dtype.itemsize == 8:
        return 1e-4
    with np.errstate(all="ignore"):
        return float(np.finfo(x.dtype).eps) ** (1 / (order + 1)) * np.maximum(abs(x.astype(np.float64)), 1)


def points_around(x: Array, step: Any, pairs: int, exact: bool = False) -> tuple[Array, Array]:
    """The points x + step, x - step, x + 2 step, x - 2 step, ... rounded to x's dtype, and the distances to divide by.

    Each entry has a row. The distances are those between the rounded points if `exact` is set or x is narrower than
    float64. Otherwise they are 2 step, 4 step, ..., as in the book.
    """
    centre = x.astype(np.float64).reshape(-1, 1)
    offset = np.broadcast_to(step, x.shape).reshape(-1, 1) * 2.0 ** np.arange(pairs)
    with np.errstate(all="ignore"):
        points = np.stack([centre + offset, centre - offset], axis=-1).astype(x.dtype)
        if x.dtype.itemsize == 8 and not exact:
            return points.reshape(x.size, 2 * pairs), 2 * offset
        wide = points.astype(np.float64)
        return points.reshape(x.size, 2 * pairs), wide[..., 0] - wide[..., 1]


def require_kept(h: Any, x: Array, points: Array) -> None:
    """ValueError if a step is lost in the rounding of x + h."""
    lost = (points[:, :2] == x.reshape(-1, 1)).any(axis=1)
    if lost.any():
        i = tuple(map(int, np.unravel_index(int(np.argmax(lost)), x.shape)))
        raise ValueError(f"h = {h} is lost in x = {x[i]} at index {i}: x + h or x - h is x again")


def combine(values: Array, widths: Array, order: int) -> tuple[Array, Array]:
    """The gradient from f at the points, along the last axis, and its estimated error if there is a pair for that."""
    slopes = (values[..., 0::2] - values[..., 1::2]) / widths
    if order == 4:
        slopes = (4 * slopes[..., :-1] - slopes[..., 1:]) / 3
    return slopes[..., 0], abs(slopes[..., -1] - slopes[..., 0]) / (2**order - 1)


def rounding(values: Array) -> float:
    """The eps of the dtype that f seems to be computed in: float32 if it can hold all values, else float64."""
    with np.errstate(all="ignore"):
        narrow = values.astype(np.float32)
    return float(np.finfo(np.float32 if np.array_equal(narrow, values, equal_nan=True) else np.float64).eps)
