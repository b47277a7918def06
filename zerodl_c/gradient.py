"""Central differences: derivatives, gradients, and descent along them.

Both engines share what works with a Python function: its time is f's, the loop around it adds a
fraction of a microsecond to each call of f, and C could not call a Python function any faster. The
loop around a C function is in C.
"""

from __future__ import annotations

from functools import wraps
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np

from . import functions, layers, util
from ._bridge import ffi, lib
from ._config import threads_at_once
from ._network import differences_of_first_layer
from .differences import gradient as differences
from .differences.c_function import CFunction
from .differences.engine import Engine
from .differences.evaluate import Array, Copies, InPlace, Report
from .differences.gradient import (
    _numerical_gradient_1d,
    central_differences,
    evaluator_of,
    gradient_descent,
    numerical_diff,
    numerical_gradient_2d,
    numerical_jacobian,
)
from .differences.proof import Planned

__all__ = [
    "_numerical_gradient_1d",
    "gradient_descent",
    "numerical_diff",
    "numerical_gradient",
    "numerical_gradient_2d",
    "numerical_jacobian",
]

_POINTER = "double (*)(const double *, ptrdiff_t, void *)"
_ENGINE = Engine(functions, layers, util, differences_of_first_layer)
_STRETCH = 0.03  # seconds in C at a time: Python notices Ctrl-C, and reports progress, in between


if TYPE_CHECKING:
    from .differences.gradient import numerical_gradient
else:

    @wraps(differences.numerical_gradient, assigned=("__doc__", "__annotations__"))
    def numerical_gradient(
        f,
        x,
        h=None,
        *,
        args=(),
        vectorized=False,
        workers=1,
        progress=False,
        order=2,
        full_output=False,
        plain_loop=False,
    ):
        evaluator = evaluator_of(f, x, args, vectorized, workers, _InC)
        if type(evaluator) is InPlace and evaluator.in_place and not plain_loop:
            evaluator = Planned(evaluator.f, evaluator.x, x, h, _ENGINE)
        return central_differences(evaluator, h, progress, order, full_output)


class _InC(Copies):
    """A C function of copies of x, one for each thread."""

    f: CFunction

    def values(self, points: Array, report: Report) -> Array:
        values, threads = np.empty(points.shape), threads_at_once()
        begin, count, cost = 0, 1, 0.0
        while begin < points.size:
            start, end = perf_counter(), min(begin + count, points.size)
            self._evaluate(values, points, begin, end, cost * 1e9)
            cost = (perf_counter() - start) / (end - begin)
            # One call may have been quicker than others are, so trust grows slowly.
            count = max(threads, min(100 * count, int(_STRETCH / max(cost, 1e-9))))
            begin = end
            if report:
                report(begin)
        self.evaluations += points.size
        return values

    def _evaluate(self, values: Array, points: Array, begin: int, end: int, cost: float) -> None:
        function, data = ffi.cast(_POINTER, self.f.address), ffi.cast("void *", self.f.data)
        at = [ffi.from_buffer("double[]", array) for array in (values, self.x, points)]
        status = lib.zdl_evaluate(at[0], function, at[1], self.x.size, at[2], begin, end, points.shape[1], cost, data)
        if status != lib.ZDL_OK:
            raise MemoryError("no memory for copies of x")
