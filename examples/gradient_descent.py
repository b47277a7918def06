"""Gradient descent on f(x) = x0^2 + x1^2 from (-3, 4): 100 steps x -= lr * gradient, with three learning rates.

The gradient is 2x, so each step multiplies x by 1 - 2 lr. This factor explains all three results.
"""

import zerodl_c as z

STORIES = {
    0.1: "the factor is 0.8, and 0.8^100 = 2e-10: x is at the bottom",
    1e-10: "the factor is nearly 1: x has hardly moved",
    # 19^100 is 1e128. But above 1e12, x + 1e-4 rounds to x in float64. So all differences are 0, and x stands still.
    10.0: "the factor is -19: x jumps from side to side and up, until x + h rounds to x",
}


def bowl(x):
    return x[0] ** 2 + x[1] ** 2


def main():
    for lr, story in STORIES.items():
        x = z.gradient_descent(bowl, init_x=[-3.0, 4.0], lr=lr, step_num=100)
        print(f"lr {lr:g}: {x}  {story}")


if __name__ == "__main__":
    main()
