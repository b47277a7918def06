from collections import OrderedDict

import numpy as np
from common.gradient import numerical_gradient
from common.layers import *


class MultiLayerNet:
    def __init__(self, input_size, hidden_size_list, output_size, activation="relu", weight_init_std="relu",
                 weight_decay_lambda=0):
        self.input_size, self.hidden_size_list, self.output_size = input_size, hidden_size_list, output_size
        self.hidden_layer_num, self.weight_decay_lambda = len(hidden_size_list), weight_decay_lambda
        self.params, self.layers = {}, OrderedDict()
        sizes = [input_size, *hidden_size_list, output_size]
        for i in range(1, len(sizes)):
            scale = {"relu": (2.0 / sizes[i - 1]) ** 0.5, "sigmoid": (1.0 / sizes[i - 1]) ** 0.5}
            self.params[f"W{i}"] = scale.get(weight_init_std, weight_init_std) * np.random.randn(sizes[i - 1], sizes[i])
            self.params[f"b{i}"] = np.zeros(sizes[i])
        for i in range(1, len(sizes)):
            self.layers[f"Affine{i}"] = Affine(self.params[f"W{i}"], self.params[f"b{i}"])
            if i <= self.hidden_layer_num:
                self.layers[f"Activation_function{i}"] = {"sigmoid": Sigmoid, "relu": Relu}[activation]()
        self.last_layer = SoftmaxWithLoss()

    def predict(self, x):
        for layer in self.layers.values():
            x = layer.forward(x)
        return x

    def loss(self, x, t):
        y = self.predict(x)
        squares = [np.sum(self.params[f"W{i}"] ** 2) for i in range(1, self.hidden_layer_num + 2)]
        return self.last_layer.forward(y, t) + 0.5 * self.weight_decay_lambda * sum(squares)

    def accuracy(self, x, t):
        labels = t if t.ndim == 1 else t.argmax(axis=1)
        return np.mean(self.predict(x).argmax(axis=1) == labels)

    def numerical_gradient(self, x, t):
        names = [f"{name}{i}" for i in range(1, self.hidden_layer_num + 2) for name in "Wb"]
        return {name: numerical_gradient(lambda _: self.loss(x, t), self.params[name]) for name in names}

    def gradient(self, x, t):
        self.loss(x, t)
        dout = self.last_layer.backward(1)
        for layer in reversed(list(self.layers.values())):
            dout = layer.backward(dout)
        grads = {}
        for i in range(1, self.hidden_layer_num + 2):
            affine = self.layers[f"Affine{i}"]
            grads[f"W{i}"], grads[f"b{i}"] = affine.dW + self.weight_decay_lambda * affine.W, affine.db
        return grads
