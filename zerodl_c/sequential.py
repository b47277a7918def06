"""Sequential on the C engine: what it is is said in the reference, once."""

from .multi_layer_net import _Net
from .reference import sequential as reference

__all__ = ["Sequential"]


class Sequential(reference.Sequential, _Net):
    """The layers one after the other, then softmax and cross-entropy.

    Parameters
    ----------
    layers : iterable of layers
        From the first to the last: those of the engine, or any with forward(x) and backward(dout). Their parameters
        are the attributes W, b, gamma and beta, float arrays, whose gradients `backward` keeps as dW, db, dgamma and
        dbeta. A layer whose class has "Dropout" or "BatchNorm" in its name is told whether the net learns. A layer may
        stand in several places: its parameters are in `params` once, with the sum of the gradients of its places.

    Attributes
    ----------
    params : dict
        The arrays "W1", "b1", "W2", ..., numbered from the first layer to the last: those of the layers, to be changed
        in place.
    layers : dict
        The layers by class and number: "Conv1", "Relu1", "Pool1", "Affine1", "Relu2", ...
    last_layer : SoftmaxWithLoss

    Raises
    ------
    TypeError
        If something is no layer, or a parameter no array of floats.
    ValueError
        If there are no layers, parameters share memory, or a layer is a SoftmaxWithLoss: the net has its own.

    Examples
    --------
    >>> import numpy as np
    >>> from zerodl_c import Affine, Dropout, Relu
    >>> np.random.seed(0)
    >>> W1, W2 = np.random.randn(2, 5), np.random.randn(5, 3)
    >>> net = Sequential([Affine(W1, np.zeros(5)), Relu(), Dropout(0.2), Affine(W2, np.zeros(3))])
    >>> net
    Sequential(Affine 2-5, Relu, Dropout, Affine 5-3, 33 parameters)
    >>> list(net.layers), list(net.params)
    (['Affine1', 'Relu1', 'Dropout1', 'Affine2'], ['W1', 'b1', 'W2', 'b2'])
    >>> net.predict_proba([[1.0, 2.0]]).shape
    (1, 3)
    """
