"""Time the C engine against the NumPy reference: `python benchmarks/compare.py`.

Both run in one process, in turns, with equal thread counts; each figure is the minimum of many
repeats, in microseconds a call. A ratio above 1 is a win of the C engine; losses are printed alike.
Needs threadpoolctl (in the extras `demo`, `bench` and `test`).
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

import zerodl_c
from zerodl_c import reference

Case = tuple[str, Callable[[], object], Callable[[], object]]  # name, C engine, reference

ENGINES = (zerodl_c, reference)
SHAPES = [(3,), (100, 10), (100, 50), (100, 1000), (1000, 1000)]
PRODUCTS = [(100, 784, 50), (784, 100, 50), (256, 256, 256), (512, 512, 512), (1024, 1024, 1024)]


def cases(dtype: np.dtype) -> Iterator[Case]:
    """Every case for one dtype."""
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        x = rng.normal(size=shape).astype(dtype)
        for name in ("sigmoid", "softmax"):
            yield f"{name} {shape}", *(partial(getattr(engine, name), x) for engine in ENGINES)
    for m, k, n in PRODUCTS:
        transposed = m > k  # as in x.T @ dout
        a = rng.normal(size=(k, m) if transposed else (m, k)).astype(dtype)
        a, b = a.T if transposed else a, rng.normal(size=(k, n)).astype(dtype)
        name = f"matmul ({m}x{k}{'ᵀ' if transposed else ''})({k}x{n})"
        yield name, partial(zerodl_c.matmul, a, b), partial(np.matmul, a, b)
    x, t = rng.random((100, 784)).astype(dtype), rng.integers(0, 10, 100)
    yield "TwoLayerNet(784, 50, 10) step", *(training_step(engine, x, t) for engine in ENGINES)


def training_step(engine, x: np.ndarray, t: np.ndarray) -> Callable[[], None]:
    """One gradient and one SGD update, on a batch of 100."""
    np.random.seed(0)
    net, optimizer = engine.TwoLayerNet(784, 50, 10, dtype=x.dtype), engine.SGD(lr=0.1)
    return lambda: optimizer.update(net.params, net.gradient(x, t))


def time_in_turns(f: Callable[[], object], g: Callable[[], object], rounds: int) -> list[float]:
    """Seconds a call of f and of g: the least mean over `rounds` turns of about 10 ms each.

    With more than one thread, each turn begins with a pause and a warm-up: for 0.1 s after their last job OpenBLAS's
    threads spin, and hold the cores that the other engine needs.
    """
    best = [float("inf")] * 2
    for _ in range(rounds):
        for i, function in enumerate((f, g)):
            if zerodl_c.get_num_threads() > 1:
                time.sleep(0.15)
            warm_until = time.perf_counter() + 0.02
            while time.perf_counter() < warm_until:
                function()
            repeats = max(1, int(0.01 / max(seconds(function, 3), 1e-7)))
            best[i] = min(best[i], seconds(function, repeats))
    return best


def seconds(f: Callable[[], object], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        f()
    return (time.perf_counter() - start) / repeats


def processor() -> str:
    """The CPU's name, where the system tells."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="default: 1 2")
    parser.add_argument("--rounds", type=int, default=10, help="turns of each engine (default: 10)")
    args = parser.parse_args()

    np.ones(3_000_000)  # freed at once: glibc then keeps such blocks, and NumPy's temporaries are not fresh pages
    print(f"CPU       {processor()}")
    zerodl_c.show_config()
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    blas = ", ".join(f"{pool['internal_api']} {pool['version']} {pool['architecture']}" for pool in pools)
    print(f"NumPy     {np.__version__}, {blas}; Python {platform.python_version()}\n")
    print("| dtype | threads | case | C, us | reference, us | ratio |\n|---|---|---|---|---|---|")
    for threads in args.threads:
        zerodl_c.set_num_threads(threads)
        with threadpool_limits(threads):
            for dtype in (np.dtype(np.float64), np.dtype(np.float32)):
                for name, ours, theirs in cases(dtype):
                    c, numpy = (s * 1e6 for s in time_in_turns(ours, theirs, args.rounds))
                    row = f"| {dtype} | {threads} | {name} | {c:.2f} | {numpy:.2f} |"
                    print(f"{row} {numpy / c:.2f} |", flush=True)


if __name__ == "__main__":
    main()
