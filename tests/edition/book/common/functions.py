"""What the tests' edition of `common` holds: theirs to the letter, in the book's names and to the book's formulas."""

import numpy as np


def identity_function(x):
    return x


def step_function(x):
    return (x > 0).astype(int)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(np.negative(x)))


def sigmoid_grad(x):
    s = sigmoid(x)
    return s * (1.0 - s)


def relu(x):
    return np.where(x > 0, x, 0.0)


def relu_grad(x):
    return np.where(x >= 0, 1.0, 0.0)


def softmax(x):
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def sum_squared_error(y, t):
    return np.square(y - t).sum() / 2


def cross_entropy_error(y, t):
    if y.ndim == 1:
        y, t = y[np.newaxis], np.reshape(t, (1, -1))
    labels = t.argmax(axis=1) if t.size == y.size else t.ravel()
    rows = np.arange(len(y))
    return -np.log(y[rows, labels] + 1e-7).sum() / len(y)


def softmax_loss(X, t):
    return cross_entropy_error(softmax(X), t)
