"""The numerical gradient of whole nets, in C beside the reference: time, ratio, and the worst difference.

    python benchmarks/numerical_gradient.py [--data DIR] [--threads N]

DIR holds MNIST's IDX files; without it, the digits that come with scikit-learn. The reference is
timed, and compared, on a sample of the parameters: all of them would take it minutes.
"""

import argparse
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

import zerodl_c
from zerodl_c import _network, reference
from zerodl_c._bridge import lib
from zerodl_c.bench.engines import C, NumPy
from zerodl_c.bench.machine import describe, header
from zerodl_c.datasets import load_digits, load_mnist

H, DECAY = 1e-4, 0.1
SAMPLE = 2500  # parameters
ROUNDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, metavar="DIR")
    parser.add_argument("--threads", type=int, default=zerodl_c.get_num_threads(), metavar="N")
    args = parser.parse_args()
    data = load_mnist(args.data) if args.data else load_digits()
    x, t = data.x_test[:100].astype(np.float64), data.t_test[:100]
    zerodl_c.set_num_threads(args.threads)
    print(*header(describe([C(), NumPy()])), sep="\n")
    print(f"{data.name}, {len(x)} images, float64, threads {args.threads}, {(x == 0).mean():.0%} of the inputs are 0\n")
    print("net                                   parameters        C  reference     ratio  worst difference")
    with threadpool_limits(args.threads):
        book(x, t)
        deep(x, t)


def book(x: np.ndarray, t: np.ndarray) -> None:
    """TwoLayerNet of the book."""
    np.random.seed(0)
    net = zerodl_c.TwoLayerNet(x.shape[1], 50, 10)
    twin = reference.TwoLayerNet(x.shape[1], 50, 10)
    twin.params = net.params
    row(f"{x.shape[1]}-50-10, sigmoid", net.params, lambda: twin.loss(x, t), lambda: net.numerical_gradient(x, t, H))


def deep(x: np.ndarray, t: np.ndarray) -> None:
    """Four hidden layers of relu, with weight decay."""
    rng, widths = np.random.default_rng(0), [x.shape[1], 100, 100, 100, 100, 10]
    params = {}
    for i, (k, n) in enumerate(pairwise(widths), 1):
        params[f"W{i}"], params[f"b{i}"] = rng.standard_normal((k, n)) * (2 / k) ** 0.5, np.zeros(n)

    def loss() -> float:
        z, decay = x, 0.0
        for i in range(1, len(widths)):
            a = reference.affine(z, params[f"W{i}"], params[f"b{i}"])
            z, decay = reference.relu(a), decay + DECAY / 2 * np.sum(params[f"W{i}"] ** 2)
        return reference.softmax_loss(a, t) + decay

    row(
        "-".join(map(str, widths)) + ", relu, decay",
        params,
        loss,
        lambda: _network.numerical_gradient(params, x, t, lib.ZDL_RELU, h=H, decay=DECAY),
    )


def row(name: str, params: dict[str, np.ndarray], loss: Callable, gradient: Callable) -> None:
    count, seconds = sum(param.size for param in params.values()), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        grads = gradient()
        seconds.append(time.perf_counter() - start)
    reference_seconds, worst = sample(params, loss, grads)
    extrapolated = reference_seconds * count
    print(
        f"{name:<38}{count:>10,}{min(seconds):>8.4f}s{extrapolated:>10.1f}s"
        f"{extrapolated / min(seconds):>9,.0f}x{worst:>18.1e}"
    )


def sample(params: dict[str, np.ndarray], loss: Callable, grads: dict[str, np.ndarray]) -> tuple[float, float]:
    """Seconds for each parameter, the fastest tenth of them, and the worst difference from grads."""
    rng, seconds, worst = np.random.default_rng(0), [], 0.0
    share = SAMPLE / sum(param.size for param in params.values())
    for key, param in params.items():
        for i in rng.choice(param.size, min(param.size, 10 + int(share * param.size)), replace=False):
            kept, start = param.flat[i], time.perf_counter()
            param.flat[i] = kept + H
            above = loss()
            param.flat[i] = kept - H
            below = loss()
            param.flat[i] = kept
            seconds.append(time.perf_counter() - start)
            worst = max(worst, abs((above - below) / (2 * H) - grads[key].flat[i]))
    return float(np.quantile(seconds, 0.1)), worst


if __name__ == "__main__":
    main()
