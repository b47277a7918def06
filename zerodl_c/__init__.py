"""The engine of *Deep Learning from Scratch* in C: the same functions and nets, many times faster.

`zerodl_c.reference` is the same engine in NumPy: for reading, for testing, for comparing.
"""

from typing import TYPE_CHECKING

from . import _threadpoolctl
from . import reference as reference
from ._config import get_include, get_num_threads, set_num_threads, show_config
from .differences.check import gradient_check
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
from .swap import install, uninstall
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
    "get_include",
    "get_num_threads",
    "gradient_check",
    "gradient_descent",
    "identity_function",
    "im2col",
    "install",
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
    "set_num_threads",
    "show_config",
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
    "uninstall",
]


if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name):
        """`__version__`, from the package's metadata, whose reader is slow to import."""
        if name == "__version__":
            return _threadpoolctl.version()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_ipython_extension(ipython: object) -> None:
    """What `%load_ext zerodl_c` does in IPython."""
    install()


def unload_ipython_extension(ipython: object) -> None:
    """What `%unload_ext zerodl_c` does."""
    uninstall()
