"""Filters of the script's own over pictures: by Convolution with an int bias, and by im2col and np.dot."""

import os
import sys

sys.path.append(os.pardir)
import numpy as np
from common.functions import *
from common.layers import Convolution
from common.util import col2im, conv_output_size, im2col
from dataset.blobs import load_blobs

np.random.seed(6)
(x, t), _ = load_blobs(60, flatten=False)
W = np.random.randn(3, 1, 4, 4)
side = conv_output_size(x.shape[2], 4, stride=2, pad=1)
target = relu(Convolution(W, 0, stride=2, pad=1).forward(x))
assert target.shape == (len(x), 3, side, side)

V = np.random.randn(16, 3)
train_loss_list = []
for _ in range(50):
    col = im2col(x, 4, 4, stride=2, pad=1)
    y = np.dot(col, V).reshape(len(x), 4, 4, 3).transpose(0, 3, 1, 2)
    train_loss_list.append(sum_squared_error(y, target) / y.size)
    dout = (y - target).transpose(0, 2, 3, 1).reshape(-1, 3)
    V -= 0.05 * np.dot(col.T, dout) / len(col)
print("losses", *train_loss_list)
back = col2im(np.dot(dout, V.T), x.shape, 4, 4, stride=2, pad=1)
print("losses", *(1 + sigmoid(back[:50, 0, 3, 3]) + step_function(back[:50, 0, 4, 4])))
print("accuracy", np.array_equal(back.shape, x.shape), identity_function(t).dtype)
print(sigmoid.__module__)
