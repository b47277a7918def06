"""Two layers, trained by numerical gradients of a function that reads its weights from outside."""

import os
import sys

sys.path.append(os.pardir)
import numpy as np
from common.functions import cross_entropy_error, sigmoid, softmax
from common.gradient import numerical_gradient
from dataset.blobs import load_blobs

np.random.seed(0)
(x_train, t_train), (x_test, t_test) = load_blobs(one_hot_label=True)
params = {"W1": 0.1 * np.random.randn(64, 2), "b1": np.zeros(2), "W2": 0.1 * np.random.randn(2, 4), "b2": np.zeros(4)}


def predict(x):
    z = sigmoid(np.dot(x, params["W1"]) + params["b1"])
    return softmax(np.dot(z, params["W2"]) + params["b2"])


train_loss_list = []
for _ in range(50):
    batch = np.random.choice(len(x_train), 20)
    x, t = x_train[batch], t_train[batch]

    def loss(_, x=x, t=t):
        return cross_entropy_error(predict(x), t)

    for key in params:
        params[key] -= 0.3 * numerical_gradient(loss, params[key])
    train_loss_list.append(loss(None))

print("losses", *train_loss_list)
print("accuracy", np.mean(predict(x_test).argmax(axis=1) == t_test.argmax(axis=1)))
print(sigmoid.__module__)
