"""The engine of *Deep Learning from Scratch* in C: the same functions and nets, many times faster.

`zerodl_c.reference` is the same engine in NumPy: for reading, for testing, for comparing.
"""

from ._config import get_num_threads, set_num_threads, show_config
from .functions import (
    affine,
    affine_backward,
    cross_entropy_error,
    dot,
    identity_function,
    log_softmax,
    matmul,
    matmul_backward,
    mean_squared_error,
    relu,
    relu_backward,
    relu_grad,
    sigmoid,
    sigmoid_backward,
    sigmoid_grad,
    softmax,
    softmax_backward,
    softmax_cross_entropy,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_gradient,
    softmax_loss,
    step_function,
    sum_squared_error,
    tanh,
    tanh_backward,
)
from .gradient import gradient_descent, numerical_diff, numerical_gradient, numerical_gradient_2d
<<<<<<< HEAD
from .optimizer import SGD
from .reference.gradient_check import gradient_check
=======
from .optimizer import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
>>>>>>> d3ce68a991675feb0df387671b43097966b2a1e6
from .two_layer_net import SimpleNet, TwoLayerNet

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "Momentum",
    "Nesterov",
    "RMSprop",
    "SimpleNet",
    "TwoLayerNet",
    "affine",
    "affine_backward",
    "cross_entropy_error",
    "dot",
    "get_num_threads",
    "gradient_check",
    "gradient_descent",
    "identity_function",
    "log_softmax",
    "matmul",
    "matmul_backward",
    "mean_squared_error",
    "numerical_diff",
    "numerical_gradient",
    "numerical_gradient_2d",
    "relu",
    "relu_backward",
    "relu_grad",
    "set_num_threads",
    "show_config",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_grad",
    "softmax",
    "softmax_backward",
    "softmax_cross_entropy",
    "softmax_cross_entropy_backward",
    "softmax_cross_entropy_gradient",
    "softmax_loss",
    "step_function",
    "sum_squared_error",
    "tanh",
    "tanh_backward",
]
