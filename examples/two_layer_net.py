"""Backpropagation in a net of two layers, by the class and by hand; and where a loss of ln 9 comes from.

x -> a1 = x W1 + b1 -> z1 = sigmoid(a1) -> a2 = z1 W2 + b2 -> y = softmax(a2). The loss is the mean of -log of the right
class's probability.
"""

import numpy as np

import zerodl_c as z


def by_hand(net, x, t):
    """The chain rule from the loss back to each parameter: what `net.backward` does, line by line."""
    W2 = net.params["W2"]
    dy = (net.y - t) / len(x)  # through softmax and cross-entropy at once: 1 / y cancels
    dz1 = dy @ W2.T
    da1 = dz1 * net.z1 * (1 - net.z1)  # sigmoid' from its output z1
    return {"W1": x.T @ da1, "b1": da1.sum(axis=0), "W2": net.z1.T @ dy, "b2": dy.sum(axis=0)}


def main():
    np.random.seed(1)
    net = z.TwoLayerNet(2, 3, 3, weight_init_std=0.01)
    x = np.array([[0.1, 0.8], [0.5, 0.3], [0.9, 0.2]])
    t = np.array([[0, 1, 0], [0, 0, 1], [1, 0, 0]])

    # The weights are small, so all three classes have a probability of about 1/3.
    print(f"loss: {net.loss(x, t):.4f}, about ln 3 = {np.log(3):.4f}")
    grads, numerical, formulas = net.backward(x, t), net.numerical_gradient(x, t), by_hand(net, x, t)
    for key, grad in grads.items():
        from_numerical = np.abs(grad - numerical[key]).max()
        from_formula = np.abs(grad - formulas[key]).max()
        print(f"d{key} {grad.shape}: off the numerical gradient {from_numerical:.0e}, the formula {from_formula:.0e}")
    # Each row of y sums to 1, and so does each row of t. So db2 sums to 0: what one class gains, the others lose.
    print(f"db2: {grads['b2'].round(4)}, its sum {abs(grads['b2'].sum()):.0e}")

    # Published runs of this net show a loss of 2.1972 and db2 of about -0.222. Their softmax divides by the sum over
    # the whole array of all three samples, and not by the sum over each row. So all 9 probabilities are about 1/9. The
    # loss is -log(1/9) = ln 9, and db2 is (3/9 - 1) / 3 = -2/9. A step along this db2 raises all scores alike, which
    # changes no probability.
    y = z.softmax(net.a2, axis=None)
    print(f"softmax over the whole array: loss {z.cross_entropy_error(y, t):.4f}, ln 9 = {np.log(9):.4f}")
    print(f"softmax over the whole array: db2 {((y - t) / len(x)).sum(axis=0).round(3)}")


if __name__ == "__main__":
    main()
