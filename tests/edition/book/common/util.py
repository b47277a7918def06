import numpy as np


def smooth_curve(x):
    window = np.kaiser(11, 2)
    around = np.concatenate([x[10:0:-1], x, x[:-11:-1]])
    return np.convolve(window / window.sum(), around, mode="valid")[5 : len(x) + 5]


def shuffle_dataset(x, t):
    order = np.random.permutation(len(x))
    return x[order], t[order]


def conv_output_size(input_size, filter_size, stride=1, pad=0):
    return 1 + (input_size + 2 * pad - filter_size) / stride


def im2col(input_data, filter_h, filter_w, stride=1, pad=0):
    padded = np.pad(input_data, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (filter_h, filter_w), axis=(2, 3))
    windows = windows[:, :, ::stride, ::stride].transpose(0, 2, 3, 1, 4, 5)
    return windows.reshape(-1, input_data.shape[1] * filter_h * filter_w).astype(float)


def col2im(col, input_shape, filter_h, filter_w, stride=1, pad=0):
    n, c, h, w = input_shape
    out_h, out_w = (h + 2 * pad - filter_h) // stride + 1, (w + 2 * pad - filter_w) // stride + 1
    windows = col.reshape(n, out_h, out_w, c, filter_h, filter_w)
    image = np.zeros((n, c, h + 2 * pad, w + 2 * pad))
    for i in range(out_h):
        for j in range(out_w):
            image[:, :, i * stride : i * stride + filter_h, j * stride : j * stride + filter_w] += windows[:, i, j]
    return image[:, :, pad : pad + h, pad : pad + w]
