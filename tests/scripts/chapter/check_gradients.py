"""Numerical gradients of whole nets against backpropagation, and the losses of single pictures."""

import os
import sys

sys.path.append(os.pardir)
import numpy as np
from common.gradient import numerical_gradient
from common.multi_layer_net import MultiLayerNet
from common.multi_layer_net_extend import MultiLayerNetExtend
from conv_net import ConvNet
from dataset.blobs import load_blobs

np.random.seed(1)
(x, t), _ = load_blobs(80, flatten=False)
flat = x.reshape(len(x), -1)
for network in (MultiLayerNet(64, [4], 4), MultiLayerNetExtend(64, [4], 4, use_batchnorm=True)):
    numerical, backprop = network.numerical_gradient(flat[:9], t[:9]), network.gradient(flat[:9], t[:9])
    print("losses", *(network.loss(flat[i : i + 1], t[i : i + 1]) for i in range(50)))
    print("accuracy", *(f"{key} {np.average(np.abs(numerical[key] - backprop[key])) < 1e-6}" for key in numerical))

network = ConvNet()
network.layers["Dropout2"].dropout_ratio = 0.0
numerical = numerical_gradient(lambda W: network.loss(x[:9], t[:9], train_flg=True), network.params["W1"])
backprop = network.gradient(x[:9], t[:9])["W1"]
print("losses", *(network.loss(x[i : i + 1], t[i : i + 1]) for i in range(50)))
print("accuracy", np.average(np.abs(numerical - backprop)) < 1e-6)
print(MultiLayerNet.__module__)
