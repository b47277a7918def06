"""A net is a function with numbers to adjust. The smallest has two: f(x, P) = P0 x + P1.

To learn is to adjust P until f fits the data. The derivatives of the error say which way.
"""

import numpy as np

import zerodl_c as z

X, Y = np.array([0.0, 1.0, 2.0]), np.array([-2.0, 1.0, 4.0])


def f(x, P):
    return P[0] * x + P[1]


def error_at_0(P):
    return (f(X[0], P) - Y[0]) ** 2


def error(P):
    return np.sum((f(X, P) - Y) ** 2)


def main():
    P = np.array([1.0, 1.0])
    print(f"error at x = 0 of P = (1, 1): {error_at_0(P):g} = (1 + 2)^2")
    print(f"with P1 = 1.001: {error_at_0([1.0, 1.001]):.6f}")
    # The error at x = 0 is (P1 + 2)^2, and its derivative by P1 is 2 P1 + 4. P0 is multiplied by 0: it does not matter.
    print(f"derivatives by P0 and P1: {z.numerical_gradient(error_at_0, P).round(6)}, exactly 0 and 2 P1 + 4 = 6")

    print("descent on the error of all three points:")
    for steps in (0, 1, 10, 100, 200):
        P = z.gradient_descent(error, [1.0, 1.0], lr=0.1, step_num=steps)
        print(f"  after {steps} steps: P = {P.round(6)}, error {error(P):.2g}")


if __name__ == "__main__":
    main()
