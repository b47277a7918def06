"""What threads gain, what they cost, and whom they disturb: calls back to back, after a pause, and beside a busy core.

    python benchmarks/threads.py [SECTION ...] [--against FOLDER] [--only TEXT] [--rounds N] [--threads N]

SECTION is one or more of

    calls    the cases of `zerodl-c bench` back to back: 2 threads beside 1, and beside another build's 2
    pauses   the same with a pause of 300 us before each call, in which Python computes
    busy     the same while another process keeps one core busy, beside one thread's time on a quiet machine; NumPy
             and PyTorch, where it is installed, as well
    steps    steps of training in a loop of Python: default threads beside 1
    forks    50 forks while threads compute, and the children compute on 2 threads
    torch    a product of PyTorch's after a pause of 200 us, with and without zerodl_c imported
    import   seconds that `import zerodl_c` takes beyond NumPy, beside another build's

and by default all, in about 5 minutes on two cores. FOLDER holds another build of the package, as it was before a
change: `pip install --target FOLDER .` or a checkout that is built in place. Each line shows a ratio's geometric mean
over the cases, its floor, and the three worst cases. Every time is taken in processes of their own, in turns. Except in
`busy` it is the least over the rounds of what a process measures. Close what else computes.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PEERS = Path(__file__).with_name("peers.py")
HERE = ""  # the build that this interpreter imports
PAUSE = 300e-6  # seconds, as between two steps of a training
LEAST, MEDIAN, MEAN = range(3)  # of a case's seconds

Times = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--against", default=HERE, metavar="FOLDER", help="another build to compare with")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name contains this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    args = parser.parse_intermixed_args()
    if args.worker:
        print(json.dumps(WORKERS[args.worker](**json.loads(sys.stdin.read()))))
        return
    for name in args.sections or SECTIONS:
        print(f"\n--- {name} ---", flush=True)
        SECTIONS[name](args)


def worker(name: str, build: str = HERE, **options: Any) -> Any:
    """What a worker returns, in a fresh interpreter that imports this build."""
    path = os.pathsep.join(filter(None, [build and str(Path(build).resolve()), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, __file__, "--worker", name]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, input=json.dumps(options), stdout=subprocess.PIPE, text=True
    )
    done.check_returncode()
    return json.loads(done.stdout)


# ---- Workers -------------------------------------------------------------------------------------


def time_cases(engine: str, threads: int, pause: float, seconds: float, only: str) -> Times:
    """Seconds that each case takes: the least, the median and the mean of the calls in so many seconds."""
    import numpy as np

    from zerodl_c.bench import cases, engines
    from zerodl_c.bench.timing import keep_freed_memory

    keep_freed_memory()
    player = (engines.ENGINES.get(engine) or engines.load_peers(PEERS)[engine])()
    times = {}
    with engines.equal_threads([engines.C(), player], threads):
        for dtype in map(np.dtype, ("float32", "float64")):
            for case in cases.chosen_cases(only):
                work = player.work(case.kind, case.inputs(dtype))
                if work and case.group != "tiny":
                    times[f"{case.name}, {dtype}"] = time_work(work, pause, seconds)
    return times


def time_steps(threads: int) -> Times:
    """Steps of the book's nets as a script makes them; threads = 0 leaves their number alone."""
    import numpy as np

    import zerodl_c as z
    from zerodl_c.bench.nets import NETS

    if threads:
        z.set_num_threads(threads)
    rng, times = np.random.default_rng(0), {}
    for plan in NETS:
        x, t = rng.random((100, *plan.input_shape)), rng.integers(0, plan.outputs, 100)
        net, update = plan.made_of(z, plan.params(rng)), z.SGD(0.01).update

        def step(net: Any = net, update: Any = update, x: Any = x, t: Any = t) -> None:
            update(net.params, net.gradient(x, t))

        times[plan.name] = time_work(step, 0)
    net = z.TwoLayerNet(784, 50, 10)
    images, labels = rng.random((100, 784)), rng.integers(0, 10, 100)
    times["TwoLayerNet"] = time_work(lambda: z.SGD(0.01).update(net.params, net.gradient(images, labels)), 0)
    return times


def time_torch(imported: bool) -> Times:
    import torch

    if imported:
        import numpy as np

        import zerodl_c

        zerodl_c.sigmoid(np.ones((1000, 1000)))
    a = torch.ones(256, 256)
    return {"torch matmul (256x256)(256x256)": time_work(lambda: a @ a, 200e-6)}


def time_import() -> float:
    import numpy  # noqa: F401

    start = time.perf_counter()
    import zerodl_c  # noqa: F401

    return time.perf_counter() - start


def time_work(work: Callable[[], Any], pause: float, seconds: float = 0.2) -> list[float]:
    """The least, the median and the mean of the calls in so many seconds, 5 at least, after a tenth to warm up."""
    warm = time.perf_counter() + seconds / 10
    while time.perf_counter() < warm:
        work()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        resume = time.perf_counter() + pause
        while time.perf_counter() < resume:
            pass
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return [min(times), statistics.median(times), statistics.fmean(times)]


def fork_while_computing(count: int) -> dict[str, int]:
    """How the children end that are made while two threads compute: each checks what it computes on 2 threads."""
    import signal
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np

    import zerodl_c

    x = np.random.default_rng(0).normal(size=(700, 700))

    def compute() -> bytes:
        return bytes(zerodl_c.sigmoid(x).tobytes() + zerodl_c.matmul(x, x).tobytes())

    zerodl_c.set_num_threads(2)
    expected, ends, stop = compute(), {"right": 0, "wrong": 0, "hangs": 0}, False

    def keep_computing() -> bool:
        same = True
        while not stop:
            same &= compute() == expected
        return same

    with ThreadPoolExecutor(2) as pool:
        parents = [pool.submit(keep_computing) for _ in range(2)]
        for _ in range(count):
            child = os.fork()
            if child == 0:
                signal.alarm(30)
                os._exit(0 if all(compute() == expected for _ in range(3)) else 1)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            ends["hangs" if code < 0 else "wrong" if code else "right"] += 1
        stop = True
        ends["parents right"] = sum(parent.result() for parent in parents)
    return ends


WORKERS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (time_cases, time_steps, time_torch, time_import, fork_while_computing)
}

# ---- Sections ------------------------------------------------------------------------------------


def least(rounds: int, works: dict[str, Callable[[], Times]]) -> dict[str, Times]:
    """Of each work the least of every figure, over rounds in which they take turns."""
    best: dict[str, Times] = {name: {} for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            for case, figures in work().items():
                best[name][case] = [min(pair) for pair in zip(figures, best[name].get(case, figures), strict=True)]
    return best


def cases(args: argparse.Namespace, threads: int, pause: float = 0, **options: Any) -> Times:
    shared = {"engine": "c", "threads": threads, "pause": pause, "seconds": 0.04, "only": args.only}
    return worker("time_cases", **{**shared, **options})


def compare(name: str, floor: str, new: Times, old: Times, figure: int, at_least: float = 0) -> None:
    """How many times as long as `old` the cases of `new` take, of those that took so many seconds."""
    common = [case for case in new if case in old and old[case][figure] >= at_least]
    ratios = {case: new[case][figure] / old[case][figure] for case in common}
    if not ratios:
        return
    mean = math.exp(statistics.fmean(map(math.log, ratios.values())))
    worst = sorted(ratios, key=ratios.__getitem__, reverse=True)[:3]
    shown = "; ".join(f"{ratios[case]:.2f} {case} ({old[case][figure] * 1e6:.0f} us)" for case in worst)
    print(f"{name:<46}{mean:>5.2f}  {floor:<18}{len(ratios):>4} cases, the worst: {shown}", flush=True)


def calls(args: argparse.Namespace) -> None:
    n = args.threads
    works = {"one": lambda: cases(args, 1), "new": lambda: cases(args, n)}
    if args.against:
        works["old"] = lambda: cases(args, n, build=args.against)
    best = least(args.rounds, works)
    compare(f"{n} threads / 1, least", "", best["new"], best["one"], LEAST)
    if args.against:
        compare(f"{n} threads / the other build's, least", "<= 1, each 1.05", best["new"], best["old"], LEAST)


def pauses(args: argparse.Namespace) -> None:
    n = args.threads
    best = least(args.rounds, {"one": lambda: cases(args, 1, PAUSE), "new": lambda: cases(args, n, PAUSE)})
    compare(f"{n} threads / 1, median", "each <= 1.05", best["new"], best["one"], MEDIAN)
    compare("    where 1 takes 500 us or more", "<= 0.67", best["new"], best["one"], MEDIAN, 500e-6)


def busy(args: argparse.Namespace) -> None:
    for engine in ["c", "numpy", *(["torch"] if find_spec("torch") else [])]:
        quiet = cases(args, 1, engine=engine)
        with busy_core():
            found = cases(args, args.threads, engine=engine, seconds=0.1)
        for name, floor, figure in (("median", "each <= 1.4", MEDIAN), ("mean", "each <= 1.8", MEAN)):
            label = f"{engine}, {args.threads} threads, busy / 1, quiet, {name}"
            compare(label, floor if engine == "c" else "", found, quiet, figure)


@contextmanager
def busy_core() -> Iterator[None]:
    hog = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        hog.kill()
        hog.wait()


def steps(args: argparse.Namespace) -> None:
    works = {name: lambda n=n: worker("time_steps", threads=n) for name, n in (("one", 1), ("default", 0))}
    best = least(args.rounds, works)
    compare("default threads / 1, median", "each <= 1", best["default"], best["one"], MEDIAN)


def forks(args: argparse.Namespace) -> None:
    print(worker("fork_while_computing", count=50))


def torch(args: argparse.Namespace) -> None:
    if not find_spec("torch"):
        print("PyTorch is not installed")
        return
    works = {name: lambda name=name: worker("time_torch", imported=name == "with") for name in ("without", "with")}
    best = least(args.rounds, works)
    compare("with zerodl_c / without, median", "1", best["with"], best["without"], MEDIAN)


def imports(args: argparse.Namespace) -> None:
    builds = {"this build": HERE, **({"the other build": args.against} if args.against else {})}
    best = {name: math.inf for name in builds}
    for _ in range(3 * args.rounds):
        for name, build in builds.items():
            best[name] = min(best[name], worker("time_import", build))
    for name, seconds in best.items():
        print(f"{seconds * 1e3:.1f} ms  {name}")


SECTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "calls": calls,
    "pauses": pauses,
    "busy": busy,
    "steps": steps,
    "forks": forks,
    "torch": torch,
    "import": imports,
}

if __name__ == "__main__":
    main()
