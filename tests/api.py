"""The functions of the API, listed by their arguments, its optimizers, and whether it has threads."""

import pytest

from zerodl_c._bridge import ffi, lib

SERIAL = "built without threads"
THREADED = ffi.string(lib.zdl_threads_from()).decode() != SERIAL
threaded = pytest.mark.skipif(not THREADED, reason=SERIAL)

UNARY = ["step_function", "relu", "relu_grad", "sigmoid", "sigmoid_grad", "tanh"]
SOFTMAX = ["softmax", "log_softmax"]
BACKWARD = ["relu_backward", "sigmoid_backward", "tanh_backward", "softmax_backward"]  # dout, y
SQUARES = ["sum_squared_error", "mean_squared_error"]  # y, t
PAIRS = ["softmax_cross_entropy", "softmax_cross_entropy_gradient"]  # a loss and an array, from x and labels
LABELLED = ["cross_entropy_error", "softmax_loss", *PAIRS]  # y or x, and labels
GRADIENT = "softmax_cross_entropy_backward"  # y, and labels or rows
MATRIX = ["matmul", "dot", "matmul_backward", "affine", "affine_backward"]

FUNCTIONS = [*UNARY, *SOFTMAX, *BACKWARD, *SQUARES, *LABELLED, GRADIENT, *MATRIX]

# An optimizer's attributes when it is new; those of None become its state: a dict of arrays.
OPTIMIZERS = {
    "SGD": {"lr": 0.01},
    "Momentum": {"lr": 0.01, "momentum": 0.9, "v": None},
    "Nesterov": {"lr": 0.01, "momentum": 0.9, "v": None},
    "AdaGrad": {"lr": 0.01, "h": None},
    "RMSprop": {"lr": 0.01, "decay_rate": 0.99, "h": None},
    "Adam": {"lr": 0.001, "beta1": 0.9, "beta2": 0.999, "iter": 0, "m": None, "v": None},
}
