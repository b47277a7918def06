"""Threads: the same bits for any number of them, from any Python thread, and in a forked child."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata

import numpy as np
import pytest
import threadpoolctl
from api import BACKWARD, FUNCTIONS, GRADIENT, LABELLED, OPTIMIZERS, SOFTMAX, SQUARES, THREADED, UNARY, threaded
from arrays import DTYPES, normal

import zerodl_c
from zerodl_c import get_include
from zerodl_c._bridge import ffi, lib

pytestmark = pytest.mark.usefixtures("restore_threads")

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
tasks = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")

# --- The same bits --------------------------------------------------------------------------------

SHAPES = [(1237, 211), (3, 87001), (260987, 1)]  # more than 7 times the largest grain
PRODUCTS = [
    (131, 117, 127),
    (1, 1301, 1601),
    (2, 1501, 701),
    (1201, 1601, 1),
    (7, 300, 2049),
    (193, 257, 61),
]


def of_shapes(name, operands):
    function = getattr(zerodl_c, name)
    return lambda dtype: [function(*(normal(shape, dtype, seed) for seed in range(operands))) for shape in SHAPES]


def labelled(name):
    """Labels: the number of the row, around and around."""
    function = getattr(zerodl_c, name)
    return lambda dtype: [
        function(np.abs(normal(shape, dtype)) / 10, np.arange(shape[0]) % shape[1]) for shape in SHAPES[:2]
    ]


def of_products(function):
    return lambda dtype: [function(normal((m, k), dtype, 1), normal((k, n), dtype, 2)) for m, k, n in PRODUCTS]


def backward_of_products(function):
    """dout, a and b, where dout is the product of the absolute values."""
    return of_products(lambda a, b: function(np.abs(a) @ np.abs(b), a, b))


def stacks(dtype):
    return zerodl_c.matmul(normal((31, 1, 33, 65), dtype, 1), normal((5, 65, 17), dtype, 2))


def updates(name):
    """A parameter after two updates: the second finds a state that the first has left."""

    def result(dtype):
        params, grads = ({"W": normal((1237, 211), dtype, seed)} for seed in (1, 2))
        optimizer = getattr(zerodl_c, name)(0.1)
        for _ in range(2):
            optimizer.update(params, grads)
        return params["W"]

    return result


RESULTS = {
    **{name: of_shapes(name, 1) for name in UNARY + SOFTMAX},
    **{name: of_shapes(name, 2) for name in BACKWARD + SQUARES},
    **{name: labelled(name) for name in [*LABELLED, GRADIENT]},
    f"{GRADIENT} of rows": of_shapes(GRADIENT, 2),
    "matmul": of_products(zerodl_c.matmul),
    "matmul of stacks": stacks,
    "matmul_backward": backward_of_products(zerodl_c.matmul_backward),
    "dot": of_products(zerodl_c.dot),
    "affine": of_products(lambda x, W: zerodl_c.affine(x, W, W[0])),
    "affine_backward": backward_of_products(zerodl_c.affine_backward),
    **{name: updates(name) for name in OPTIMIZERS},
}


def bits(result):
    """The bytes of all arrays and scalars in a result."""
    return [bits(part) for part in result] if isinstance(result, (list, tuple)) else result.tobytes()


def test_every_function_is_here():
    assert {name.split()[0] for name in RESULTS} == {*FUNCTIONS, *OPTIMIZERS}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_the_bits_do_not_depend_on_the_number_of_threads(result, dtype):
    zerodl_c.set_num_threads(1)
    expected = bits(result(dtype))
    for n in (2, 7, 64):
        zerodl_c.set_num_threads(n)
        assert bits(result(dtype)) == expected, f"{n} threads"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmax_cross_entropy_gradient"])
@pytest.mark.parametrize("cols", [3, 10, 40])
def test_the_bits_of_rows_of_many_kinds_do_not_depend_on_the_number_of_threads(name, cols, dtype):
    """Which rows share a vector does."""
    x = normal((250_007 // cols, cols), dtype)
    for step, scale in ((13, 1e5), (17, 40), (19, 1e-9)):
        x[::step] *= dtype(scale)
    operands = (x, np.arange(len(x)) % cols)[: 1 + ("entropy" in name)]
    results = []
    for n in (1, 2, 3, 7, 64):
        zerodl_c.set_num_threads(n)
        results.append(bits(getattr(zerodl_c, name)(*operands)))
    assert [result == results[0] for result in results] == [True] * 5


@pytest.mark.parametrize("name", ["matmul", "softmax", "mean_squared_error"])
def test_the_bits_are_the_same_on_every_run(name, threads):
    first = bits(RESULTS[name](np.float32))
    assert all(bits(RESULTS[name](np.float32)) == first for _ in range(5))


# --- How many there are ---------------------------------------------------------------------------


@threaded
@tasks
def test_threads_start_where_they_are_worth_it(python):
    """A long call is; a short one is not, unless it is one of a stream."""
    done = python("""
import os, time, numpy as np, zerodl_c
def count():
    return len(os.listdir("/proc/self/task"))
zerodl_c.set_num_threads(4)
before = count()
small, medium = np.ones((50, 50)), np.ones(4 * 8192)
for name in ("sigmoid", "softmax", "step_function", "relu", "tanh", "log_softmax"):
    getattr(zerodl_c, name)(small)
for _ in range(10):
    zerodl_c.sigmoid(medium)
    time.sleep(0.001)
print(count() - before)
zerodl_c.sigmoid(np.ones(40 * 8192))
print(count() - before)
""")
    assert done.stdout.split() == ["0", "3"], done.stderr


@threaded
@tasks
def test_threads_start_for_a_stream_of_short_calls(python):
    done = python("""
import os, time, numpy as np, zerodl_c
zerodl_c.set_num_threads(2)
before, medium, end = len(os.listdir("/proc/self/task")), np.ones(4 * 8192), time.monotonic() + 20
while len(os.listdir("/proc/self/task")) == before and time.monotonic() < end:
    for _ in range(100):
        zerodl_c.sigmoid(medium)
print(len(os.listdir("/proc/self/task")) - before)
""")
    assert done.stdout.split() == ["1"], done.stderr


@threaded
@tasks
@pytest.mark.parametrize(("n", "room", "most"), [(40_000, 2**28, 64), (2**31 - 1, None, 1100)])
def test_threads_that_cannot_be_started_are_done_without(python, n, room, most):
    """For lack of room for their stacks, and because so many are of no use."""
    done = python(f"""
import os, resource, numpy as np, zerodl_c
x = np.linspace(-9, 9, 9_000_000)
zerodl_c.set_num_threads(1)
expected, y = zerodl_c.sigmoid(x), np.zeros(x.size)
before, (soft, hard) = len(os.listdir("/proc/self/task")), resource.getrlimit(resource.RLIMIT_AS)
if {room}:
    pages = int(open("/proc/self/statm").read().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + {room}, hard))
zerodl_c.set_num_threads({n})
for _ in range(3):
    zerodl_c.sigmoid(x, out=y)
resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
print(zerodl_c.get_num_threads(), np.array_equal(y, expected), len(os.listdir("/proc/self/task")) - before)
""")
    assert done.returncode == 0, done.stderr
    said, same, started = done.stdout.split()
    assert (said, same) == (str(n), "True") and 1 < int(started) <= most


@threaded
def test_set_num_threads_holds_for_every_python_thread():
    """For one that runs already, and for one that starts afterwards."""
    with ThreadPoolExecutor(1) as early:
        early.submit(zerodl_c.get_num_threads).result()
        for n in (3, 1, 5):
            zerodl_c.set_num_threads(n)
            assert zerodl_c.get_num_threads() == n
            assert early.submit(zerodl_c.get_num_threads).result() == n
            with ThreadPoolExecutor(1) as late:
                assert late.submit(zerodl_c.get_num_threads).result() == n
        early.submit(zerodl_c.set_num_threads, 4).result()
        assert zerodl_c.get_num_threads() == 4


@threaded
def test_threadpoolctl_limits_and_restores():
    zerodl_c.set_num_threads(3)
    for limit in (1, 2):
        with threadpoolctl.threadpool_limits(limit):
            assert zerodl_c.get_num_threads() == limit
            zerodl_c.sigmoid(normal((300, 300), np.float64))
        assert zerodl_c.get_num_threads() == 3
    with threadpoolctl.threadpool_limits(1, user_api="zerodl_c"):
        zerodl_c.set_num_threads(2)  # the later word holds
        assert zerodl_c.get_num_threads() == 2


@threaded
def test_threadpoolctl_limits_a_new_python_thread():
    def limited():
        with threadpoolctl.threadpool_limits(1):
            return zerodl_c.get_num_threads()

    zerodl_c.set_num_threads(3)
    with ThreadPoolExecutor(1) as late:
        assert late.submit(limited).result() == 1


@threaded
def test_set_num_threads_holds_for_a_new_python_thread_even_if_said_within_a_limit(python):
    done = python(
        """
import threading, threadpoolctl, zerodl_c
with threadpoolctl.threadpool_limits(1):
    zerodl_c.set_num_threads(3)
thread = threading.Thread(target=lambda: print(zerodl_c.get_num_threads()))
thread.start()
thread.join()
""",
        OMP_NUM_THREADS="2",
    )
    assert done.stdout.split() == ["3"], done.stderr


@threaded
@pytest.mark.parametrize(
    "imports",
    [
        "import threadpoolctl, zerodl_c",
        "import zerodl_c, threadpoolctl",
        "import zerodl_c; from threadpoolctl import threadpool_info; import threadpoolctl",
        "import zerodl_c, threadpoolctl, importlib; importlib.reload(threadpoolctl)",
    ],
)
def test_threadpoolctl_knows_the_threads_whichever_is_imported_first(python, imports):
    done = python(f"""
{imports}
def ours():
    return [(p["user_api"], p["num_threads"], p["version"]) for p in threadpoolctl.threadpool_info()
            if p["internal_api"] == "zerodl_c"]
zerodl_c.set_num_threads(3)
with threadpoolctl.threadpool_limits(2):
    limited = ours()
print(ours(), limited)
""")
    version = metadata.version("zerodl_c")
    assert done.stdout == f"[('zerodl_c', 3, '{version}')] [('zerodl_c', 2, '{version}')]\n", done.stderr


@threaded
def test_threadpoolctl_as_a_program_knows_the_threads(elsewhere):
    command = [sys.executable, "-m", "threadpoolctl", "-i", "zerodl_c"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert [p["internal_api"] for p in json.loads(done.stdout) if p["prefix"] == "_zerodl."] == ["zerodl_c"]


def test_a_threadpoolctl_that_cannot_be_found_or_is_too_old(python, tmp_path):
    done = python("""
import sys, zerodl_c
sys.path[:] = []
try:
    import threadpoolctl
except ModuleNotFoundError as error:
    print(error)
""")
    assert done.stdout == "No module named 'threadpoolctl'\n", done.stderr
    (tmp_path / "threadpoolctl.py").write_text("old = True\n")
    done = python("import zerodl_c, threadpoolctl; print(threadpoolctl.old)", PYTHONPATH=with_path(tmp_path))
    assert done.stdout == "True\n", done.stderr


def with_path(folder):
    return os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))


@threaded
@pytest.mark.parametrize(
    ("text", "n"),
    [("1", 1), ("3", 3), ("4,2", 4), (" 5 ", 5), ("5 , 2", 5), ("99999999999", 2**31 - 1)],
)
def test_omp_num_threads(python, text, n):
    done = python(SHOW, OMP_NUM_THREADS=text)
    assert done.stdout.split("|") == [str(n), "OMP_NUM_THREADS"], done.stderr


@threaded
@pytest.mark.parametrize("text", ["", "0", "-2", "two", "2x", "4.5", ","])
def test_an_omp_num_threads_without_sense_is_ignored(python, text):
    done = python(SHOW, OMP_NUM_THREADS=text)
    n, why = done.stdout.split("|")
    assert 1 <= int(n) <= os.cpu_count() and why in ("available processors", "CPU quota"), done.stderr


SHOW = """
import zerodl_c
from zerodl_c._bridge import ffi, lib
print(zerodl_c.get_num_threads(), ffi.string(lib.zdl_threads_from()).decode(), sep="|", end="")
"""


@threaded
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_affinity_is_respected(python):
    code = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])" + SHOW
    assert python(code, OMP_NUM_THREADS="").stdout == "1|available processors"


QUOTA_PROGRAM = """
#include <stdio.h>
#include "internal/processors.h"
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        printf("%g\\n", zdl_cpu_quota(argv[i]));
}
"""
V1 = "9:name=systemd:/init.scope\n3:cpuset:/pod\n2:cpu,cpuacct:{}\n0::/\n"
# /proc/self/cgroup, the files below /sys/fs/cgroup, and the CPUs that they allow
GROUPS = {
    "none": ("", {}, "inf"),
    "v2, no limit": ("0::/\n", {"cpu.max": "max 100000"}, "inf"),
    "v2, a container": ("0::/\n", {"cpu.max": "150000 100000"}, "1.5"),
    "v2, the group": ("0::/a/b\n", {"a/b/cpu.max": "200000 100000", "a/cpu.max": "max 100000"}, "2"),
    "v2, a group above": ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "50000 100000"}, "0.5"),
    "v2, the least": ("0::/a/b\n", {"a/b/cpu.max": "300000 100000", "a/cpu.max": "700000 100000"}, "3"),
    "v2, a path of the host's": ("0::/docker/123\n", {"cpu.max": "400000 100000"}, "4"),
    "v2, a path with a colon": ("0::/a:b\n", {"a:b/cpu.max": "400000 100000"}, "4"),
    "v2, without the file": ("0::/a\n", {}, "inf"),
    "v2, not numbers": ("0::/\n", {"cpu.max": "many"}, "inf"),
    "v1, no limit": (V1.format("/"), {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "inf"),
    "v1, the group": (
        V1.format("/a"),
        {"cpu/a/cpu.cfs_quota_us": "250000", "cpu/a/cpu.cfs_period_us": "100000"},
        "2.5",
    ),
    "v1, a path of the host's": (
        V1.format("/docker/123"),
        {"cpu/cpu.cfs_quota_us": "20000", "cpu/cpu.cfs_period_us": "10000"},
        "2",
    ),
    "v1, another controller": (
        "2:cpuacct,cpuset:/\n",
        {"cpu/cpu.cfs_quota_us": "1", "cpu/cpu.cfs_period_us": "1"},
        "inf",
    ),
}


@pytest.mark.skipif(not shutil.which("cc"), reason="needs cc")
def test_the_cpu_quota_of_control_groups(tmp_path):
    """On made-up /proc and /sys."""
    for name, (own, files, _) in GROUPS.items():
        written = {"proc/self/cgroup": own, **{f"sys/fs/cgroup/{file}": text + "\n" for file, text in files.items()}}
        for file, text in written.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
    (tmp_path / "quota.c").write_text(QUOTA_PROGRAM)
    csrc = get_include()
    command = ["cc", f"-I{csrc}", tmp_path / "quota.c", f"{csrc}/processors.c", "-lm", "-o", tmp_path / "quota"]
    subprocess.run(command, check=True, env=os.environ | {"LD_PRELOAD": ""}, timeout=60)
    done = subprocess.run([tmp_path / "quota", *(tmp_path / name for name in GROUPS)], capture_output=True, text=True)
    assert dict(zip(GROUPS, done.stdout.split(), strict=True)) == {name: cpus for name, (*_, cpus) in GROUPS.items()}


# --- Many Python threads --------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_eight_python_threads_in_matmul_at_once(dtype, threads):
    operands = [(normal((70 + i, 300), dtype, i), normal((90 + i, 300), dtype, -i % 9).T) for i in range(8)]
    expected = [zerodl_c.matmul(a, b) for a, b in operands]
    together = threading.Barrier(8)

    def work(i):
        together.wait()
        return all(np.array_equal(zerodl_c.matmul(*operands[i]), expected[i]) for _ in range(50))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [True] * 8


def test_python_threads_in_every_function_at_once(threads):
    """While another one changes the number of threads."""
    names = ["softmax", "sum_squared_error", "affine_backward", "softmax_cross_entropy", "sigmoid"]
    expected = {name: bits(RESULTS[name](np.float32)) for name in names}
    with ThreadPoolExecutor(6) as pool:
        work = {name: [pool.submit(RESULTS[name], np.float32) for _ in range(3)] for name in names}
        for n in (1, 3, 2):
            pool.submit(zerodl_c.set_num_threads, n)
        for name in names:
            assert all(bits(future.result()) == expected[name] for future in work[name]), name


def test_a_call_lets_other_python_threads_run():
    """C runs without the interpreter's lock: this thread counts on while a product is computed."""
    zerodl_c.set_num_threads(1)
    a, started, stop = normal((1500, 1500), np.float64), threading.Event(), threading.Event()

    def work():
        started.set()
        zerodl_c.matmul(a, a)
        stop.set()

    thread, count = threading.Thread(target=work), 0
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        thread.start()
        started.wait()
        while not stop.wait(0.001):
            count += 1
    finally:
        sys.setswitchinterval(interval)
        thread.join()
    assert count > 5


# --- A forked child -------------------------------------------------------------------------------


def compute():
    """Large enough for threads, in the elementwise and the matrix functions."""
    x = normal((1237, 211), np.float64)
    return bits([zerodl_c.sigmoid(x), zerodl_c.matmul(x.T, x), zerodl_c.mean_squared_error(x, 0)])


def compute_in_child(expected):
    signal.alarm(50)  # a child that hangs is killed
    inherited = zerodl_c.get_num_threads()
    computed = compute() == expected
    zerodl_c.set_num_threads(2)
    return computed and compute() == expected and inherited == 4 and started_threads() >= THREADED


def started_threads():
    return len(os.listdir("/proc/self/task")) - 1 if os.path.isdir("/proc/self/task") else 1


def fork_and_compute(expected):
    child = os.fork()
    if child == 0:
        os._exit(0 if compute_in_child(expected) else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_computes_on_several_threads():
    zerodl_c.set_num_threads(4)
    expected = compute()
    assert fork_and_compute(expected) == 0
    assert compute() == expected


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_forks_while_threads_compute():
    """So that the pool is in any state when a child is made."""
    zerodl_c.set_num_threads(4)
    expected, stop = compute(), threading.Event()

    def work():
        same = True
        while not stop.is_set():
            same &= compute() == expected
        return same

    with ThreadPoolExecutor(2) as pool:
        working = [pool.submit(work) for _ in range(2)]
        codes = [fork_and_compute(expected) for _ in range(20)]
        stop.set()
        assert [future.result() for future in working] == [True] * 2
    assert codes == [0] * 20


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_pool_of_forked_workers():
    zerodl_c.set_num_threads(4)
    expected = compute()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map_async(compute_in_child, [expected]).get(timeout=60) == [True]
        assert pool.map_async(compute_again, [expected] * 6).get(timeout=60) == [True] * 6


def compute_again(expected):
    signal.alarm(50)
    return compute() == expected


# --- A program that goes on, is signalled, or ends ------------------------------------------------


def test_functions_that_call_the_library_again(restore_threads):
    """From whichever thread they are called: the pool is busy with the gradient itself."""
    x, w = np.linspace(-1, 1, 400), normal((100, 100), np.float64)
    expected = bits(zerodl_c.matmul(w, w))

    @ffi.callback("double(double *, ptrdiff_t, void *)")
    def f(at, n, data):
        wrong.append(bits(zerodl_c.matmul(w, w)) != expected)
        return at[0]

    for n in (1, 4):
        zerodl_c.set_num_threads(n)
        grad, wrong = np.empty(400), []
        buffers = ffi.from_buffer("double[]", grad), ffi.from_buffer("double[]", x)
        assert lib.zdl_numerical_gradient(buffers[0], f, buffers[1], 400, 1e-4, ffi.NULL) == lib.ZDL_OK
        assert wrong == [False] * 800
        np.testing.assert_allclose(grad, np.append(1, np.zeros(399)), atol=1e-9)


@threaded
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="a thread's signals are read in /proc")
def test_signals_reach_the_programs_own_threads_alone(python):
    """But those of a thread's own errors, which faulthandler shows."""
    done = python("""
import os, signal, numpy as np, zerodl_c
own = set(os.listdir("/proc/self/task"))
zerodl_c.set_num_threads(3)
zerodl_c.sigmoid(np.ones(1_000_000))
for task in set(os.listdir("/proc/self/task")) - own:
    [mask] = [line.split()[1] for line in open(f"/proc/self/task/{task}/status") if line.startswith("SigBlk")]
    blocked = {s for s in signal.Signals if int(mask, 16) >> s - 1 & 1}
    print({"SIGINT", "SIGTERM", "SIGALRM", "SIGCHLD", "SIGPROF", "SIGUSR1"} <= {s.name for s in blocked},
          {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGABRT"} & {s.name for s in blocked})
""")
    assert done.stdout.splitlines() == ["True set()"] * 2, done.stderr


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "os._exit(0)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_a_program_ends_while_its_daemon_threads_compute(python, end):
    for _ in range(5):
        done = python(f"""
import os, signal, sys, threading, time, numpy as np, zerodl_c
zerodl_c.set_num_threads(3)
x = np.ones(1_000_000)
def work():
    while True:
        zerodl_c.sigmoid(x)
for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.05)
{end}
""")
        assert (done.returncode, done.stderr) == (-signal.SIGTERM if "kill" in end else 0, "")


UNLOADER = """
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
    for (int i = 0; i < 20; i++) {
        void *library = dlopen(argv[argc - 1], RTLD_NOW);
        if (!library)
            return puts(dlerror());
        void (*set_num_threads)(int) = (void (*)(int))dlsym(library, "zdl_set_num_threads");
        double (*peak)(long) = (double (*)(long))dlsym(library, "zdl_peak_f64");
        set_num_threads(4);
        peak(1000);
        if (dlclose(library))
            return 3;
    }
    char line[256];
    int threads = 0;
    for (FILE *status = fopen("/proc/self/status", "r"); status && fgets(line, sizeof line, status);)
        sscanf(line, "Threads: %d", &threads);
    return threads == 1 ? 0 : 4;
}
"""


@pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("cc"), reason="needs Linux and cc")
def test_the_library_can_be_unloaded(tmp_path):
    csrc, environment = get_include(), os.environ | {"LD_PRELOAD": ""}
    sources = " ".join(f'"{csrc}"/{files}' for files in ("*.c", "isa/*.c"))
    (tmp_path / "unloader.c").write_text(UNLOADER)
    for command in (
        f'cc -O0 -shared -fPIC -pthread -I"{csrc}" {sources} -lm -o library.so',
        "cc unloader.c -ldl -o unloader",
        "./unloader ./library.so",
    ):
        subprocess.run(command, shell=True, check=True, cwd=tmp_path, env=environment, timeout=300)


def test_limits_of_threadpoolctl_that_make_no_sense_are_1(python):
    code = """
import zerodl_c, threadpoolctl
for limit in (-1, 0):
    with threadpoolctl.threadpool_limits(limit):
        print(zerodl_c.get_num_threads())
"""
    assert python(code).stdout == "1\n1\n"


def test_threadpoolctl_after_the_package_was_imported_twice(python):
    code = """
import sys, zerodl_c
for name in [*sys.modules]:
    if name.startswith("zerodl_c"):
        del sys.modules[name]
import zerodl_c, threadpoolctl
print(threadpoolctl.__name__)
"""
    done = python(code)
    assert done.stdout == "threadpoolctl\n", done.stderr
