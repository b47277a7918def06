"""Random search: shuffled data, of which some validate, and a Trainer for each trial, with each optimizer."""

import os
import sys

sys.path.append(os.pardir)
import numpy as np
from common.multi_layer_net_extend import MultiLayerNetExtend
from common.trainer import Trainer
from common.util import shuffle_dataset
from conv_net import ConvNet
from dataset.blobs import load_blobs

np.random.seed(5)
(x_train, t_train), _ = load_blobs(250, flatten=False)
x_train, t_train = shuffle_dataset(x_train, t_train)
x_val, t_val = x_train[:30], t_train[:30]
x_train, t_train = x_train[30:], t_train[30:]

for trial, optimizer in enumerate(("sgd", "Momentum", "nesterov", "AdaGrad", "RMSprop", "adam")):
    lr = 10 ** np.random.uniform(-3, -2)
    convolutional = trial % 2
    network = ConvNet() if convolutional else MultiLayerNetExtend(64, [10, 10], 4, use_batchnorm=True)
    shape = (-1, 1, 8, 8) if convolutional else (-1, 64)
    trainer = Trainer(
        network,
        x_train.reshape(shape),
        t_train,
        x_val.reshape(shape),
        t_val,
        epochs=10,
        mini_batch_size=30,
        optimizer=optimizer,
        optimizer_param={"lr": lr},
        evaluate_sample_num_per_epoch=20,
        verbose=False,
    )
    trainer.train()
    print("losses", *trainer.train_loss_list[:50])
    print("accuracy", *trainer.train_acc_list, *trainer.test_acc_list)
print(Trainer.__module__)
