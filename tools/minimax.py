"""Derive the polynomial coefficients of csrc/kernels/exp.h.

Each polynomial q is the Remez minimax solution of |weight(t) * (f(t) - q(t))| on an interval;
the weight turns the error of q into the relative error of the whole function.
Run `python tools/minimax.py` (needs mpmath); paste its output.
"""

import struct
from collections.abc import Callable

import mpmath as mp

mp.mp.prec = 300
Function = Callable[[mp.mpf], mp.mpf]


def remez(f: Function, weight: Function, low: mp.mpf, high: mp.mpf, degree: int) -> tuple[list[mp.mpf], mp.mpf]:
    """Coefficients (constant term first) and the weighted error that they leave."""
    count = degree + 2
    middle, radius = (low + high) / 2, (high - low) / 2
    nodes = [middle - radius * mp.cos(mp.pi * (i + mp.mpf(1) / 2) / count) for i in range(count)]
    for _ in range(12):
        rows = [[t**j for j in range(degree + 1)] + [(-1) ** i / weight(t)] for i, t in enumerate(nodes)]
        solution = list(mp.lu_solve(mp.matrix(rows), mp.matrix([f(t) for t in nodes])))
        coefficients = solution[:-1]

        def error(t, coefficients=coefficients):
            return weight(t) * (f(t) - mp.polyval(coefficients[::-1], t))

        nodes = extrema(error, low, high, count)
    return coefficients, max(abs(error(t)) for t in nodes)


def extrema(error: Function, low: mp.mpf, high: mp.mpf, count: int) -> list[mp.mpf]:
    """The extremum of each of the `count` stretches in which the error keeps its sign."""
    grid = [low + (high - low) * i / 1200 for i in range(1201)]
    stretches: list[tuple[mp.mpf, mp.mpf]] = []
    for t in grid:
        value = error(t)
        if stretches and (value > 0) == (stretches[-1][1] > 0):
            stretches[-1] = max(stretches[-1], (t, value), key=lambda pair: abs(pair[1]))
        else:
            stretches.append((t, value))
    return [t for t, _ in stretches[:count]]


def exp_tail(r: mp.mpf) -> mp.mpf:
    """(exp(r) - 1 - r) / r^2, by its series: the closed form cancels at 0."""
    return mp.nsum(lambda k: r**k / mp.factorial(k + 2), [0, 40])


def log_tail(z: mp.mpf) -> mp.mpf:
    """(log((1+s)/(1-s)) - 2s) / s^3 with z = s^2."""
    return mp.fsum(2 * z**k / (2 * k + 3) for k in range(90))


def power_less_index(j: int) -> int:
    """The bits of 2^(j/8) from which j << 49 is subtracted: adding k << 49 then gives 2^(k/8) for any k = 8 i + j."""
    (bits,) = struct.unpack("<q", struct.pack("<d", float(mp.mpf(2) ** (mp.mpf(j) / 8))))
    return bits - (j << 49)


def main() -> None:
    half = mp.log(2) / 2 * mp.mpf("1.002")
    z_max = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.001")
    tiny = mp.mpf(10) ** -30

    def exp_weight(r):
        return r**2 / mp.exp(r) + tiny

    cases = [
        ("exp_tail, float32", exp_tail, exp_weight, -half, half, 4),
        ("exp_tail, float64", exp_tail, exp_weight, -half, half, 9),
        ("exp_tail with the table, float64", exp_tail, exp_weight, -half / 8, half / 8, 5),
        ("log_tail, float32", log_tail, lambda z: z + tiny, mp.mpf(0), z_max, 3),
        ("log_tail, float64", log_tail, lambda z: z + tiny, mp.mpf(0), z_max, 6),
    ]
    for name, f, weight, low, high, degree in cases:
        coefficients, error = remez(f, weight, low, high, degree)
        print(f"{name}: relative error 2^{mp.nstr(mp.log(error, 2), 4)}")
        print(",\n".join("    " + mp.nstr(c, 18) for c in coefficients))
    print("2^(j/8), as float64, less j/8 in its exponent's place:")
    print(",\n".join(f"    {power_less_index(j):#018x}" for j in range(8)))


if __name__ == "__main__":
    main()
