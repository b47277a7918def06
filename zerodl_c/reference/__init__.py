"""The NumPy engine: what the C engine computes, written to be read.

The same modules, names and signatures as `zerodl_c`, in the shortest honest NumPy. C results are
tested against it, and speed-ups are measured against it.
"""

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
from .gradient import (
    gradient_descent,
    numerical_diff,
    numerical_gradient,
    numerical_gradient_2d,
    numerical_jacobian,
)
from .gradient_check import gradient_check
from .layers import (
    Affine,
    BatchNormalization,
    Convolution,
    Dropout,
    Pooling,
    Relu,
    Sigmoid,
    SoftmaxWithLoss,
    Tanh,
)
from .multi_layer_net import MultiLayerNet
from .multi_layer_net_extend import MultiLayerNetExtend
from .optimizer import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
from .saving import load
from .sequential import Sequential
from .simple_conv_net import SimpleConvNet
from .trainer import Trainer
from .two_layer_net import SimpleNet, TwoLayerNet
from .util import col2im, conv_output_size, im2col, shuffle_dataset, smooth_curve

__all__ = [
    "SGD",
    "AdaGrad",
    "Adam",
    "Affine",
    "BatchNormalization",
    "Convolution",
    "Dropout",
    "Momentum",
    "MultiLayerNet",
    "MultiLayerNetExtend",
    "Nesterov",
    "Pooling",
    "RMSprop",
    "Relu",
    "Sequential",
    "Sigmoid",
    "SimpleConvNet",
    "SimpleNet",
    "SoftmaxWithLoss",
    "Tanh",
    "Trainer",
    "TwoLayerNet",
    "affine",
    "affine_backward",
    "col2im",
    "conv_output_size",
    "cross_entropy_error",
    "dot",
    "gradient_check",
    "gradient_descent",
    "identity_function",
    "im2col",
    "load",
    "log_softmax",
    "matmul",
    "matmul_backward",
    "mean_squared_error",
    "numerical_diff",
    "numerical_gradient",
    "numerical_gradient_2d",
    "numerical_jacobian",
    "relu",
    "relu_backward",
    "relu_grad",
    "shuffle_dataset",
    "sigmoid",
    "sigmoid_backward",
    "sigmoid_grad",
    "smooth_curve",
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
