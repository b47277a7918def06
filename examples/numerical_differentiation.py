"""Slopes without calculus: central differences, beside the derivatives that calculus gives.

The slope of f at x is about (f(x + h) - f(x - h)) / 2h. The formula is off by h^2 f'''/6, and the rounding of f
adds about 1e-16 f/h. Both are small with the book's h = 1e-4.
"""

import numpy as np

import zerodl_c as z


def parabola(x):
    return 0.01 * x**2 + 0.1 * x


def cubic(x):
    return x**3 - 3 * x**2 + x


def bowl(x):
    return x[0] ** 2 + x[1] ** 2


def main():
    print("f(x) = 0.01 x^2 + 0.1 x, f' = 0.02 x + 0.1")
    for x in (5, 10):
        print(f"  f'({x}): {z.numerical_diff(parabola, x)}, exactly {0.02 * x + 0.1:g}")

    # Here f''' = 6, and the formula is off by 1e-8. The parabola has f''' = 0, so only rounding showed.
    print("f(x) = x^3 - 3 x^2 + x, f' = 3 x^2 - 6 x + 1")
    print(f"  f'(4): {z.numerical_diff(cubic, 4)}, exactly {3 * 4**2 - 6 * 4 + 1}")

    # A partial derivative is a derivative with the other variables held fixed.
    print("f(x0, x1) = x0^2 + x1^2")
    print(f"  df/dx0 at (3, 4): {z.numerical_diff(lambda x0: bowl([x0, 4.0]), 3.0)}, exactly 2 x0 = 6")
    print(f"  df/dx1 at (3, 4): {z.numerical_diff(lambda x1: bowl([3.0, x1]), 4.0)}, exactly 2 x1 = 8")

    # The gradient is an array of all partial derivatives.
    for point in ([3.0, 4.0], [0.0, 2.0], [3.0, 0.0]):
        print(f"  gradient at {point}: {z.numerical_gradient(bowl, np.array(point))}")

    axis = np.linspace(-5, 5, 20)
    points = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)  # (400, 2)
    error = np.abs(z.numerical_gradient_2d(bowl, points) - 2 * points).max()
    print(f"  on a grid of 20 x 20 points, the largest difference from (2 x0, 2 x1): {error:.1e}")


if __name__ == "__main__":
    main()
