"""The same net trained with each optimizer, and each optimizer on plain numbers."""

import os
import sys

sys.path.append(os.pardir)
from collections import OrderedDict

from common.multi_layer_net import MultiLayerNet
from common.optimizer import *
from common.util import smooth_curve
from dataset.blobs import load_blobs

np.random.seed(3)
(x_train, t_train), (x_test, t_test) = load_blobs()
optimizers = OrderedDict(
    SGD=SGD(), Momentum=Momentum(), Nesterov=Nesterov(), AdaGrad=AdaGrad(), RMSprop=RMSprop(), Adam=Adam()
)
networks = {key: MultiLayerNet(64, [20, 20], 4) for key in optimizers}
train_loss = {key: [] for key in optimizers}
for _ in range(50):
    batch = np.random.choice(len(x_train), 32)
    for key, network in networks.items():
        optimizers[key].update(network.params, network.gradient(x_train[batch], t_train[batch]))
        train_loss[key].append(network.loss(x_train[batch], t_train[batch]))
for key, network in networks.items():
    print("losses", *train_loss[key])
    print("accuracy", network.accuracy(x_test, t_test), len(smooth_curve(train_loss[key])))

for optimizer in (SGD(0.3), Momentum(0.1), Nesterov(0.1), AdaGrad(1.5), RMSprop(0.3), Adam(0.3)):
    params, heights = {"x": -7.0, "y": 2.0}, []
    for _ in range(50):
        optimizer.update(params, {"x": params["x"] / 10, "y": 2 * params["y"]})
        heights.append(1 + params["x"] ** 2 / 20 + params["y"] ** 2)
    print("losses", *heights)
print(SGD.__module__)
