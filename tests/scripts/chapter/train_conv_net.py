"""A ConvNet of the script's own, trained with Adam, saved, loaded into another, and made half as precise."""

import os
import sys

sys.path.append(os.pardir)
import tempfile

import numpy as np
from common.optimizer import Adam
from conv_net import ConvNet
from dataset.blobs import load_blobs

np.random.seed(2)
(x_train, t_train), (x_test, t_test) = load_blobs(flatten=False)
network, optimizer = ConvNet(), Adam(lr=0.01)
train_loss_list = []
for _ in range(50):
    batch = np.random.choice(len(x_train), 30)
    optimizer.update(network.params, network.gradient(x_train[batch], t_train[batch]))
    train_loss_list.append(network.loss(x_train[batch], t_train[batch]))
print("losses", *train_loss_list)

again = ConvNet()
with tempfile.TemporaryDirectory() as folder:
    network.save_params(os.path.join(folder, "params.pkl"))
    again.load_params(os.path.join(folder, "params.pkl"))
again.layers["BatchNorm1"].running_mean = network.layers["BatchNorm1"].running_mean
again.layers["BatchNorm1"].running_var = network.layers["BatchNorm1"].running_var
print("accuracy", network.accuracy(x_test, t_test), again.accuracy(x_test, t_test))
for param in again.params.values():
    param[...] = param.astype(np.float16)
print("losses", again.loss(x_test.astype(np.float16), t_test))
print(Adam.__module__)
