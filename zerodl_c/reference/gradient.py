"""Central differences: derivatives, gradients, and descent along them. Both engines share them."""

from ..differences.gradient import (
    _numerical_gradient_1d,
    gradient_descent,
    numerical_diff,
    numerical_gradient,
    numerical_gradient_2d,
    numerical_jacobian,
)

__all__ = [
    "_numerical_gradient_1d",
    "gradient_descent",
    "numerical_diff",
    "numerical_gradient",
    "numerical_gradient_2d",
    "numerical_jacobian",
]
