from collections import OrderedDict

import numpy as np
from common.gradient import numerical_gradient
from common.layers import *


class MultiLayerNetExtend:
    def __init__(self, input_size, hidden_size_list, output_size, activation="relu", weight_init_std="relu",
                 weight_decay_lambda=0, use_dropout=False, dropout_ration=0.5, use_batchnorm=False):
        self.input_size, self.hidden_size_list, self.output_size = input_size, hidden_size_list, output_size
        self.hidden_layer_num, self.weight_decay_lambda = len(hidden_size_list), weight_decay_lambda
        self.use_dropout, self.use_batchnorm = use_dropout, use_batchnorm
        self.params, self.layers = {}, OrderedDict()
        sizes = [input_size, *hidden_size_list, output_size]
        for i in range(1, len(sizes)):
            scale = {"relu": (2.0 / sizes[i - 1]) ** 0.5, "sigmoid": (1.0 / sizes[i - 1]) ** 0.5}
            self.params[f"W{i}"] = scale.get(weight_init_std, weight_init_std) * np.random.randn(sizes[i - 1], sizes[i])
            self.params[f"b{i}"] = np.zeros(sizes[i])
        for i in range(1, len(sizes)):
            self.layers[f"Affine{i}"] = Affine(self.params[f"W{i}"], self.params[f"b{i}"])
            if i > self.hidden_layer_num:
                break
            if use_batchnorm:
                self.params[f"gamma{i}"], self.params[f"beta{i}"] = np.ones(sizes[i]), np.zeros(sizes[i])
                self.layers[f"BatchNorm{i}"] = BatchNormalization(self.params[f"gamma{i}"], self.params[f"beta{i}"])
            self.layers[f"Activation_function{i}"] = {"sigmoid": Sigmoid, "relu": Relu}[activation]()
            if use_dropout:
                self.layers[f"Dropout{i}"] = Dropout(dropout_ration)
        self.last_layer = SoftmaxWithLoss()

    def predict(self, x, train_flg=False):
        for key, layer in self.layers.items():
            x = layer.forward(x, train_flg) if key.startswith(("BatchNorm", "Dropout")) else layer.forward(x)
        return x

    def loss(self, x, t, train_flg=False):
        y = self.predict(x, train_flg)
        squares = [np.sum(self.params[f"W{i}"] ** 2) for i in range(1, self.hidden_layer_num + 2)]
        return self.last_layer.forward(y, t) + 0.5 * self.weight_decay_lambda * sum(squares)

    def accuracy(self, x, t):
        labels = t if t.ndim == 1 else t.argmax(axis=1)
        return np.mean(self.predict(x, train_flg=False).argmax(axis=1) == labels)

    def _places(self):
        for i in range(1, self.hidden_layer_num + 2):
            yield f"W{i}", f"Affine{i}", "dW"
            yield f"b{i}", f"Affine{i}", "db"
            if self.use_batchnorm and i <= self.hidden_layer_num:
                yield f"gamma{i}", f"BatchNorm{i}", "dgamma"
                yield f"beta{i}", f"BatchNorm{i}", "dbeta"

    def numerical_gradient(self, x, t):
        names = [name for name, _, _ in self._places()]
        return {name: numerical_gradient(lambda _: self.loss(x, t, True), self.params[name]) for name in names}

    def gradient(self, x, t):
        self.loss(x, t, train_flg=True)
        dout = self.last_layer.backward(1)
        for layer in reversed(list(self.layers.values())):
            dout = layer.backward(dout)
        decay = self.weight_decay_lambda
        return {
            name: getattr(self.layers[layer], grad) + (decay * self.params[name] if grad == "dW" else 0)
            for name, layer, grad in self._places()
        }
