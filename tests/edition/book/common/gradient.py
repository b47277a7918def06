import numpy as np


def _numerical_gradient_1d(f, x):
    grad = np.zeros_like(x)
    for i in range(x.size):
        before = x[i]
        x[i] = before + 1e-4
        above = f(x)
        x[i] = before - 1e-4
        grad[i] = (above - f(x)) / (2 * 1e-4)
        x[i] = before
    return grad


def numerical_gradient_2d(f, X):
    if X.ndim == 1:
        return _numerical_gradient_1d(f, X)
    return np.array([_numerical_gradient_1d(f, x) for x in X])


def numerical_gradient(f, x):
    grad = np.zeros_like(x)
    for i in np.ndindex(*x.shape):
        before = x[i]
        x[i] = before + 1e-4
        above = f(x)
        x[i] = before - 1e-4
        grad[i] = (above - f(x)) / (2 * 1e-4)
        x[i] = before
    return grad
