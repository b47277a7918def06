"""Is an analytic gradient right, and if not, why. Both engines share this."""

from ..differences.check import Entry, GradientCheck, ParameterCheck, gradient_check

__all__ = ["Entry", "GradientCheck", "ParameterCheck", "gradient_check"]
