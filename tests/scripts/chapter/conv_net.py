"""A net of every kind of layer, which the scripts import."""

import os
import sys

sys.path.append(os.pardir)
import pickle
from collections import OrderedDict

import numpy as np
from common.layers import *


class ConvNet:
    """conv - batch normalisation - relu - pool - affine - sigmoid - dropout - affine - softmax"""

    def __init__(self, filter_num=5, hidden_size=12, output_size=4):
        self.params = {
            "W1": 0.3 * np.random.randn(filter_num, 1, 3, 3),
            "b1": np.zeros(filter_num),
            "gamma1": np.ones(filter_num * 36),
            "beta1": np.zeros(filter_num * 36),
            "W2": 0.2 * np.random.randn(filter_num * 9, hidden_size),
            "b2": np.zeros(hidden_size),
            "W3": 0.3 * np.random.randn(hidden_size, output_size),
            "b3": np.zeros(output_size),
        }
        p = self.params
        self.layers = OrderedDict()
        self.layers["Conv1"] = Convolution(p["W1"], p["b1"], stride=1, pad=0)
        self.layers["BatchNorm1"] = BatchNormalization(p["gamma1"], p["beta1"])
        self.layers["Relu1"] = Relu()
        self.layers["Pool1"] = Pooling(pool_h=2, pool_w=2, stride=2)
        self.layers["Affine2"] = Affine(p["W2"], p["b2"])
        self.layers["Sigmoid2"] = Sigmoid()
        self.layers["Dropout2"] = Dropout(0.2)
        self.layers["Affine3"] = Affine(p["W3"], p["b3"])
        self.last_layer = SoftmaxWithLoss()
        self.owners = {"1": self.layers["Conv1"], "2": self.layers["Affine2"], "3": self.layers["Affine3"]}

    def owner(self, key):
        return self.layers["BatchNorm1"] if key in ("gamma1", "beta1") else self.owners[key[-1]]

    def predict(self, x, train_flg=False):
        for key, layer in self.layers.items():
            x = layer.forward(x, train_flg) if key in ("Dropout2", "BatchNorm1") else layer.forward(x)
        return x

    def loss(self, x, t, train_flg=False):
        return self.last_layer.forward(self.predict(x, train_flg), t)

    def accuracy(self, x, t):
        return np.mean(np.argmax(self.predict(x), axis=1) == t)

    def gradient(self, x, t):
        self.loss(x, t, train_flg=True)
        dout = self.last_layer.backward(1)
        for layer in reversed(list(self.layers.values())):
            dout = layer.backward(dout)
        return {key: getattr(self.owner(key), f"d{key[:-1]}") for key in self.params}

    def save_params(self, file_name):
        with open(file_name, "wb") as f:
            pickle.dump(dict(self.params), f)

    def load_params(self, file_name):
        with open(file_name, "rb") as f:
            self.params.update(pickle.load(f))
        for key, value in self.params.items():
            setattr(self.owner(key), key[:-1], value)
