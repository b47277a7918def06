"""SimpleConvNet of the layers in C."""

from .reference import simple_conv_net as reference
from .sequential import Sequential

__all__ = ["SimpleConvNet"]


class SimpleConvNet(reference.SimpleConvNet, Sequential):
    """Convolution -> relu -> pooling -> affine -> relu -> affine -> softmax and cross-entropy.

    Parameters
    ----------
    input_dim : (channels, height, width)
        Of the images.
    conv_param : mapping
        "filter_num" and "filter_size" of the square filters, and "pad" and "stride" of the convolution: all four.
    hidden_size, output_size : int
    weight_init_std : float
        Standard deviation of the initial weights, drawn from NumPy's global generator from the first layer to the
        last; biases start at 0.

    Attributes
    ----------
    params : dict
        Arrays "W1" (filters, channels, filter_size, filter_size), "b1", "W2" (pooled pixels, hidden), "b2",
        "W3" (hidden, output), "b3": those of the layers, to be changed in place.
    layers : dict
        "Conv1", "Relu1", "Pool1", "Affine1", "Relu2", "Affine2".
    last_layer : SoftmaxWithLoss

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above, or the filters or the pooling do not fit into the images.

    Examples
    --------
    >>> import numpy as np
    >>> np.random.seed(0)
    >>> param = {"filter_num": 3, "filter_size": 3, "pad": 0, "stride": 1}
    >>> net = SimpleConvNet((1, 8, 8), param, hidden_size=10, output_size=4)
    >>> net
    SimpleConvNet(Convolution 1-3 3x3, Relu, Pooling, Affine 27-10, Relu, Affine 10-4, 354 parameters)
    >>> net.predict(np.zeros((5, 1, 8, 8))).shape
    (5, 4)
    """
