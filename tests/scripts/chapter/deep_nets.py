"""MultiLayerNet and MultiLayerNetExtend with all that they can be given."""

import os
import sys

sys.path.append(os.pardir)
import numpy as np
from common.multi_layer_net import MultiLayerNet
from common.multi_layer_net_extend import MultiLayerNetExtend
from common.optimizer import SGD, Momentum
from dataset.blobs import load_blobs

np.random.seed(4)
(x_train, t_train), (x_test, t_test) = load_blobs()
networks = [
    MultiLayerNet(64, [20, 20], 4, activation="sigmoid", weight_init_std="xavier", weight_decay_lambda=0.01),
    MultiLayerNet(64, [20, 20, 20], 4, activation="relu", weight_init_std=0.1),
    MultiLayerNetExtend(64, [20, 20], 4, activation="sigmoid", use_batchnorm=True, weight_decay_lambda=0.01),
    MultiLayerNetExtend(64, [20, 20, 20], 4, use_dropout=True, dropout_ration=0.2),
    MultiLayerNetExtend(64, [20, 20], 4, weight_init_std="he", use_batchnorm=True, use_dropout=True),
]
for network in networks:
    optimizer = SGD(lr=0.1) if network.weight_decay_lambda else Momentum(lr=0.01)
    train_loss_list = []
    for _ in range(50):
        batch = np.random.choice(len(x_train), 30)
        optimizer.update(network.params, network.gradient(x_train[batch], t_train[batch]))
        train_loss_list.append(network.loss(x_train[batch], t_train[batch]))
    print("losses", *train_loss_list)
    print("accuracy", network.accuracy(x_test, t_test))
print(MultiLayerNet.__module__)
