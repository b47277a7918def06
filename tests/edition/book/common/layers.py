import numpy as np
from common.functions import *
from common.util import col2im, im2col


class Relu:
    def __init__(self):
        self.mask = None

    def forward(self, x):
        self.mask = x <= 0
        return np.where(self.mask, 0.0, x)

    def backward(self, dout):
        dout[self.mask] = 0
        return dout


class Sigmoid:
    def __init__(self):
        self.out = None

    def forward(self, x):
        self.out = sigmoid(x)
        return self.out

    def backward(self, dout):
        return dout * self.out * (1.0 - self.out)


class Affine:
    def __init__(self, W, b):
        self.W, self.b = W, b
        self.x = self.original_x_shape = self.dW = self.db = None

    def forward(self, x):
        self.original_x_shape = x.shape
        self.x = x.reshape(len(x), -1)
        return self.x @ self.W + self.b

    def backward(self, dout):
        self.dW, self.db = self.x.T @ dout, dout.sum(axis=0)
        return (dout @ self.W.T).reshape(self.original_x_shape)


class SoftmaxWithLoss:
    def __init__(self):
        self.loss = self.y = self.t = None

    def forward(self, x, t):
        self.y, self.t = softmax(x), t
        self.loss = cross_entropy_error(self.y, t)
        return self.loss

    def backward(self, dout=1):
        size = len(self.t)
        if self.t.size == self.y.size:
            return (self.y - self.t) / size
        dx = self.y.copy()
        dx[np.arange(size), self.t] -= 1
        return dx / size


class Dropout:
    def __init__(self, dropout_ratio=0.5):
        self.dropout_ratio, self.mask = dropout_ratio, None

    def forward(self, x, train_flg=True):
        if not train_flg:
            return x * (1.0 - self.dropout_ratio)
        self.mask = np.random.rand(*x.shape) > self.dropout_ratio
        return x * self.mask

    def backward(self, dout):
        return dout * self.mask


class BatchNormalization:
    def __init__(self, gamma, beta, momentum=0.9, running_mean=None, running_var=None):
        self.gamma, self.beta, self.momentum = gamma, beta, momentum
        self.running_mean, self.running_var = running_mean, running_var
        self.input_shape = self.batch_size = self.xc = self.xn = self.std = self.dgamma = self.dbeta = None

    def forward(self, x, train_flg=True):
        self.input_shape = x.shape
        return self.__forward(x.reshape(len(x), -1), train_flg).reshape(x.shape)

    def __forward(self, x, train_flg):
        if self.running_mean is None:
            self.running_mean, self.running_var = np.zeros(x.shape[1]), np.zeros(x.shape[1])
        if not train_flg:
            return self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + 1e-6) + self.beta
        mean = x.mean(axis=0)
        self.xc = x - mean
        variance = (self.xc**2).mean(axis=0)
        self.std = np.sqrt(variance + 1e-6)
        self.xn, self.batch_size = self.xc / self.std, len(x)
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * variance
        return self.gamma * self.xn + self.beta

    def backward(self, dout):
        rows = dout.reshape(len(dout), -1)
        self.dgamma, self.dbeta = (self.xn * rows).sum(axis=0), rows.sum(axis=0)
        dxn = self.gamma * rows
        dvar = -(dxn * self.xc).sum(axis=0) / (2 * self.std**3)
        dxc = dxn / self.std + 2 * self.xc * dvar / self.batch_size
        return (dxc - dxc.mean(axis=0)).reshape(self.input_shape)


class Convolution:
    def __init__(self, W, b, stride=1, pad=0):
        self.W, self.b, self.stride, self.pad = W, b, stride, pad
        self.x = self.col = self.col_W = self.dW = self.db = None

    def forward(self, x):
        filters, _, height, width = self.W.shape
        out_h = (x.shape[2] + 2 * self.pad - height) // self.stride + 1
        self.x, self.col = x, im2col(x, height, width, self.stride, self.pad)
        self.col_W = self.W.reshape(filters, -1).T
        return (self.col @ self.col_W + self.b).reshape(len(x), out_h, -1, filters).transpose(0, 3, 1, 2)

    def backward(self, dout):
        filters, _, height, width = self.W.shape
        rows = dout.transpose(0, 2, 3, 1).reshape(-1, filters)
        self.db, self.dW = rows.sum(axis=0), (self.col.T @ rows).T.reshape(self.W.shape)
        return col2im(rows @ self.col_W.T, self.x.shape, height, width, self.stride, self.pad)


class Pooling:
    def __init__(self, pool_h, pool_w, stride=2, pad=0):
        self.pool_h, self.pool_w, self.stride, self.pad = pool_h, pool_w, stride, pad
        self.x = self.arg_max = None

    def forward(self, x):
        col = im2col(x, self.pool_h, self.pool_w, self.stride, self.pad).reshape(-1, self.pool_h * self.pool_w)
        self.x, self.arg_max = x, col.argmax(axis=1)
        out_h = (x.shape[2] + 2 * self.pad - self.pool_h) // self.stride + 1
        return col.max(axis=1).reshape(len(x), out_h, -1, x.shape[1]).transpose(0, 3, 1, 2)

    def backward(self, dout):
        flat = dout.transpose(0, 2, 3, 1).ravel()
        windows = np.zeros((flat.size, self.pool_h * self.pool_w))
        windows[np.arange(flat.size), self.arg_max] = flat
        return col2im(windows, self.x.shape, self.pool_h, self.pool_w, self.stride, self.pad)
