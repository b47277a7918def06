"""Small pictures with one bright spot, whose place is the class: drawn anew by every script, from its own seed."""

import numpy as np

CLASSES, SIDE = 4, 8


def load_blobs(samples=200, flatten=True, one_hot_label=False):
    """(x_train, t_train), (x_test, t_test): float32 pictures as the book's, three quarters to train with."""
    t = np.random.randint(0, CLASSES, samples).astype(np.uint8)
    x = np.random.rand(samples, 1, SIDE, SIDE).astype(np.float32)
    for picture, label in zip(x, t, strict=True):
        row, column = 4 * (label // 2) + 1, 4 * (label % 2) + 1
        picture[0, row : row + 2, column : column + 2] += 0.5
    x = x.reshape(samples, -1) if flatten else x
    t = np.eye(CLASSES)[t] if one_hot_label else t
    half = 3 * samples // 4
    return (x[:half], t[:half]), (x[half:], t[half:])
