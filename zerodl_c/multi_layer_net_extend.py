"""MultiLayerNetExtend of the layers in C."""

from .multi_layer_net import _Net
from .reference import multi_layer_net_extend as reference

__all__ = ["MultiLayerNetExtend"]


class MultiLayerNetExtend(reference.MultiLayerNetExtend, _Net):
    """`MultiLayerNet`, whose hidden layers are affine -> batch normalization -> activation -> dropout.

    Parameters
    ----------
    input_size, hidden_size_list, output_size, activation, weight_init_std, weight_decay_lambda :
        As of `MultiLayerNet`.
    use_dropout : bool
    dropout_ration : float
        The `dropout_ratio` of `Dropout`, by the book's name.
    use_batchnorm : bool

    Attributes
    ----------
    use_dropout, use_batchnorm : as given
    params : dict
        Besides those of `MultiLayerNet`: arrays "gamma1", "beta1", ... of the hidden layers.
    layers : dict
        "Affine1", "BatchNorm1", "Activation_function1", "Dropout1", "Affine2", ...

    Examples
    --------
    >>> import numpy as np
    >>> np.random.seed(0)
    >>> net = MultiLayerNetExtend(2, [5], 3, use_dropout=True, dropout_ration=0.2, use_batchnorm=True)
    >>> list(net.layers)
    ['Affine1', 'BatchNorm1', 'Activation_function1', 'Dropout1', 'Affine2']
    >>> list(net.gradient(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 2])))
    ['W1', 'b1', 'gamma1', 'beta1', 'W2', 'b2']
    """
