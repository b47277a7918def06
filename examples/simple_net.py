"""The smallest net: one weight W of 2 x 3, softmax and cross-entropy, and the gradient of its loss.

The scores are x @ W. Softmax makes probabilities of them, and the loss is -log of the right class's probability.
No code here contains a derivative: `numerical_gradient` moves each entry of W by 1e-4 either way. Calculus says
what must come out: dloss/dW = outer(x, softmax(x @ W) - t).
"""

import numpy as np

import zerodl_c as z


def main():
    net = z.SimpleNet()  # W is random; these are the figures of one draw
    net.W = np.array([[-0.22624047, -0.28113346, 2.70111015], [-1.41140083, -0.85504959, -1.22749767]])
    x, t = np.array([0.6, 0.9]), np.array([1, 0, 0])  # the right class is the first

    y = z.softmax(net.predict(x))
    print(f"scores, x @ W: {net.predict(x)}")
    print(f"probabilities, softmax: {y}")
    print(f"loss, -log(y[0] + 1e-7): {net.loss(x, t):.8f}")

    # numerical_gradient changes net.W in place and puts it back, and the net reads its own W. So f may ignore its
    # argument. It can be a def or a lambda.
    def f(W):
        return net.loss(x, t)

    dW = z.numerical_gradient(f, net.W)
    print("dW, by central differences:", *dW, sep="\n  ")
    print(f"the same of a lambda: {np.array_equal(dW, z.numerical_gradient(lambda W: net.loss(x, t), net.W))}")
    print(f"each row sums to 0: {dW.sum(axis=1).round(9) + 0.0}")  # + 0.0 turns -0 into 0
    # The 1e-7 keeps log away from 0. It also makes the loss flatter, by the factor y[0] / (y[0] + 1e-7).
    exact = np.outer(x, y - t)
    print(f"off outer(x, y - t) by {np.abs(dW - exact).max():.0e}")
    without = z.numerical_gradient(lambda W: -z.log_softmax(net.predict(x))[0], net.W)
    print(f"and without the 1e-7 by {np.abs(without - exact).max():.0e}")


if __name__ == "__main__":
    main()
