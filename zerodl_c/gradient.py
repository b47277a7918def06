"""Central differences of a Python function: derivatives, gradients, and descent along them.

Both engines share these functions. Their time is f's: the loop around it adds a fraction of a
microsecond to each call of f, and C could not call a Python function any faster.
"""

from .reference.gradient import (
    _numerical_gradient_1d,
    gradient_descent,
    numerical_diff,
    numerical_gradient,
    numerical_gradient_2d,
)

__all__ = [
    "_numerical_gradient_1d",
    "gradient_descent",
    "numerical_diff",
    "numerical_gradient",
    "numerical_gradient_2d",
]
