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
from .gradient import gradient_descent, numerical_diff, numerical_gradient, numerical_gradient_2d
from .gradient_check import gradient_check
from .layers import (  # noqa: F401  (in __all__ as soon as the C engine has them, too)
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
from .multi_layer_net import MultiLayerNet  # noqa: F401
from .multi_layer_net_extend import MultiLayerNetExtend  # noqa: F401
from .optimizer import SGD, AdaGrad, Adam, Momentum, Nesterov, RMSprop
from .trainer import Trainer  # noqa: F401
from .two_layer_net import SimpleNet, TwoLayerNet
from .util import col2im, conv_output_size, im2col, shuffle_dataset, smooth_curve  # noqa: F401

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
