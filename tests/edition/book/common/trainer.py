import numpy as np
from common.optimizer import *


class Trainer:
    def __init__(self, network, x_train, t_train, x_test, t_test, epochs=20, mini_batch_size=100, optimizer="SGD",
                 optimizer_param={"lr": 0.01}, evaluate_sample_num_per_epoch=None, verbose=True):
        self.network, self.verbose = network, verbose
        self.x_train, self.t_train, self.x_test, self.t_test = x_train, t_train, x_test, t_test
        self.epochs, self.batch_size = epochs, mini_batch_size
        self.evaluate_sample_num_per_epoch = evaluate_sample_num_per_epoch
        kinds = {"sgd": SGD, "momentum": Momentum, "nesterov": Nesterov, "adagrad": AdaGrad, "rmsprop": RMSprop,
                 "adam": Adam}
        self.optimizer = kinds[optimizer.lower()](**optimizer_param)
        self.train_size = len(x_train)
        self.iter_per_epoch = max(self.train_size / mini_batch_size, 1)
        self.max_iter = int(epochs * self.iter_per_epoch)
        self.current_iter = self.current_epoch = 0
        self.train_loss_list, self.train_acc_list, self.test_acc_list = [], [], []

    def train_step(self):
        batch = np.random.choice(self.train_size, self.batch_size)
        x, t = self.x_train[batch], self.t_train[batch]
        self.optimizer.update(self.network.params, self.network.gradient(x, t))
        self.train_loss_list.append(self.network.loss(x, t))
        if self.verbose:
            print("train loss:" + str(self.train_loss_list[-1]))
        if self.current_iter % self.iter_per_epoch == 0:
            self.current_epoch += 1
            few = slice(self.evaluate_sample_num_per_epoch)
            self.train_acc_list.append(self.network.accuracy(self.x_train[few], self.t_train[few]))
            self.test_acc_list.append(self.network.accuracy(self.x_test[few], self.t_test[few]))
            if self.verbose:
                print(f"=== epoch:{self.current_epoch}, train acc:{self.train_acc_list[-1]}, "
                      f"test acc:{self.test_acc_list[-1]} ===")
        self.current_iter += 1

    def train(self):
        for _ in range(self.max_iter):
            self.train_step()
        if self.verbose:
            print("=============== Final Test Accuracy ===============")
            print(f"test acc:{self.network.accuracy(self.x_test, self.t_test)}")
