"""How accurate numerical gradients are: `h="auto"` beside SciPy, statsmodels and numdifftools.

    python benchmarks/derivatives.py

Each figure is an error: the largest over the entries of a gradient that is known, relative to its
largest entry, as the geometric mean over some random points. (Where entries are badly scaled, the
derivatives are those by x / scale.) Behind the error stands the number of evaluations of f.

`approx_fprime` of SciPy is a forward difference and takes half as many evaluations as all else; it
cannot be given more, and neither can statsmodels' centred differences or SciPy's 3-point formula.
numdifftools is given the number of steps (for Richardson's extrapolation) whose evaluations are nearest to
those of "auto" with the same order, the look at f included; beside that stands what it does by default, with
more evaluations than either. A figure marked with ! is more accurate, by more than a factor of 1.5, than "auto"
of order 2; that of numdifftools with order 4 and by default, than "auto" of order 4.
"""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from zerodl_c import numerical_gradient

POINTS = 30
EQUAL = 1.5  # which is what the luck of rounding makes


class Case(NamedTuple):
    name: str
    x: Callable[[np.random.Generator], Any]
    f: Callable[[Any], float]
    gradient: Callable[[Any], Any]
    scale: Any = 1.0


def rosenbrock(x):
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def rosenbrock_gradient(x):
    grad = np.zeros_like(x)
    grad[:-1] = -400 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1])
    grad[1:] += 200 * (x[1:] - x[:-1] ** 2)
    return grad


def cases(n):
    """On n variables."""
    scale = 10.0 ** np.linspace(-8, 8, n)

    def uniform(rng):
        return rng.uniform(0.5, 2, n)

    def scaled(rng):
        return scale * uniform(rng)

    def single(x):
        return np.asarray(x, np.float32)

    return [
        Case("x^2", uniform, lambda x: np.sum(x**2), lambda x: 2 * x),
        Case("x^3", uniform, lambda x: np.sum(x**3), lambda x: 3 * x**2),
        Case("x^5 - 3 x^2 + 1", uniform, lambda x: np.sum(x**5 - 3 * x**2 + 1), lambda x: 5 * x**4 - 6 * x),
        Case("exp(x)", uniform, lambda x: np.sum(np.exp(x)), np.exp),
        Case("exp(10 x)", uniform, lambda x: np.sum(np.exp(10 * x)), lambda x: 10 * np.exp(10 * x)),
        Case(
            "log(1 + exp(sum x))",
            lambda rng: rng.standard_normal(n),
            lambda x: np.logaddexp(0, x.sum()),
            lambda x: 1 / (1 + np.exp(-x.sum())) + 0 * x,
        ),
        Case("Rosenbrock", lambda rng: rng.standard_normal(n), rosenbrock, rosenbrock_gradient),
        Case("Rosenbrock near 1", lambda rng: 1 + 1e-3 * rng.standard_normal(n), rosenbrock, rosenbrock_gradient),
        Case("exp(x), x = 0", lambda rng: np.zeros(n), lambda x: np.sum(np.exp(x)), np.exp),
        Case("exp(x), x ~ 1e-8", lambda rng: 1e-8 * uniform(rng), lambda x: np.sum(np.exp(x)), np.exp),
        Case("sin(x), x ~ 1e4", lambda rng: 1e4 * uniform(rng), lambda x: np.sum(np.sin(x)), np.cos),
        Case("sin(x), x ~ 1e8", lambda rng: 1e8 * uniform(rng), lambda x: np.sum(np.sin(x)), np.cos),
        Case(
            "(x/s)^3, s 1e-8...1e8",
            scaled,
            lambda x: np.sum((x / scale) ** 3),
            lambda x: 3 * (x / scale) ** 2 / scale,
            scale,
        ),
        Case(
            "exp(x/s), s 1e-8...1e8",
            scaled,
            lambda x: np.sum(np.exp(x / scale)),
            lambda x: np.exp(x / scale) / scale,
            scale,
        ),
        Case("x^3, s 1e-8...1e8", scaled, lambda x: np.sum(x**3), lambda x: 3 * x**2),
        Case("float32 x: x^3", lambda rng: single(uniform(rng)), lambda x: np.sum(single(x) ** 3), lambda x: 3 * x**2),
        Case("float32 x: exp(x)", lambda rng: single(uniform(rng)), lambda x: np.sum(np.exp(single(x))), np.exp),
        Case(
            "float32 x: Rosenbrock",
            lambda rng: single(rng.standard_normal(n)),
            lambda x: rosenbrock(single(x)),
            rosenbrock_gradient,
        ),
        Case("float32 inside: exp(x)", uniform, lambda x: np.sum(np.exp(single(x))), np.exp),
    ]


class Counted:
    """f, and how often it was called."""

    def __init__(self, f: Callable[[Any], float]) -> None:
        self.f, self.calls = f, 0

    def __call__(self, x: Any) -> float:
        self.calls += 1
        return self.f(x)


def methods() -> dict[str, Callable[..., Any]]:
    """Name -> gradient(f, x, evaluations of "auto" of order 2 and of order 4), for what is installed."""
    found: dict[str, Callable[..., Any]] = {
        "auto": lambda f, x, *_: numerical_gradient(f, x, "auto"),
        "auto, order 4": lambda f, x, *_: numerical_gradient(f, x, "auto", order=4),
        "h=None": lambda f, x, *_: numerical_gradient(f, x),
    }
    try:
        from scipy.optimize import approx_fprime
        from scipy.optimize._numdiff import approx_derivative
    except ImportError:
        print("left out, for it is not installed: scipy")
    else:
        found["scipy"] = lambda f, x, *_: approx_fprime(x, f)
        found["scipy 3-point"] = lambda f, x, *_: approx_derivative(f, x, method="3-point")
    try:
        from statsmodels.tools.numdiff import approx_fprime as centred
    except ImportError:
        print("left out, for it is not installed: statsmodels")
    else:
        found["statsmodels"] = lambda f, x, *_: centred(x, f, centered=True)
    try:
        import numdifftools
    except ImportError:
        print("left out, for it is not installed: numdifftools")
    else:
        found |= numdifftools_methods(numdifftools)
    return found


def numdifftools_methods(nd: Any) -> dict[str, Callable[..., Any]]:
    def with_steps(order: int) -> Callable[..., Any]:
        def gradient(f: Any, x: Any, *evaluations: int) -> Any:
            steps = max(round(evaluations[order // 2 - 1] / (2 * x.size)), 1)
            return nd.Gradient(f, order=order, step=nd.MinStepGenerator(num_steps=steps))(x)

        return gradient

    return {
        "numdifftools": with_steps(2),
        "numdifftools, order 4": with_steps(4),
        "numdifftools default": lambda f, x, *_: nd.Gradient(f)(x),
    }


def measure(case: Case, found: dict[str, Callable[..., Any]]) -> dict[str, tuple[float, int]]:
    """Name -> the error, and the evaluations of f at the last point."""
    errors: dict[str, list[float]] = {name: [] for name in found}
    calls: dict[str, int] = {}
    for seed in range(POINTS):
        x = case.x(np.random.default_rng(seed))
        truth = case.gradient(x.astype(np.float64)) * case.scale
        for name, gradient in found.items():
            f = Counted(case.f)
            try:
                grad = gradient(f, x.copy(), calls.get("auto"), calls.get("auto, order 4"))
                error = float(np.max(abs(np.asarray(grad, np.float64) * case.scale - truth)) / np.max(abs(truth)))
            except Exception as raised:  # of others: shown as what it is, no result
                assert not name.startswith("auto"), raised
                error = np.inf
            errors[name].append(error if error == error else np.inf)
            calls[name] = f.calls
    # An error below the rounding of the result says nothing.
    least = np.finfo(np.float64).eps
    return {name: (float(np.exp(np.mean(np.log(np.maximum(e, least))))), calls[name]) for name, e in errors.items()}


def main() -> None:
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    found = methods()
    better: dict[str, list[str]] = {name: [] for name in found}
    count = 0
    for n in (2, 100):
        print(f"\n{n} variables\n")
        print(f"{'':24s}" + "".join(f"{name:>23s}" for name in found))
        for case in cases(n):
            result, row = measure(case, found), f"{case.name:24s}"
            count += 1
            for name, (error, calls) in result.items():
                ours = "auto, order 4" if name.endswith(("order 4", "default")) else "auto"
                loses = error * EQUAL < result[ours][0]
                if loses:
                    better[name].append(f"{case.name} ({n}): {error:.0e} against {result[ours][0]:.0e}")
                row += f"{f'{error:.0e}' + '!' * loses:>15s} {f'({calls})':>7s}"
            print(row)
    print()
    for name in found:
        if not name.startswith("auto"):
            print(f"{name} is more accurate in {len(better[name])} of {count} cases")
            for line in better[name]:
                print(f"    {line}")


if __name__ == "__main__":
    main()
