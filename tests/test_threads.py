"""Threads: the same bits for any number of them, from any Python thread, and in a forked child."""

import multiprocessing
import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import threadpoolctl
from api import BACKWARD, FUNCTIONS, GRADIENT, LABELLED, OPTIMIZERS, SOFTMAX, SQUARES, UNARY
from arrays import DTYPES, normal

import zerodl_c
from zerodl_c import _bridge

pytestmark = pytest.mark.usefixtures("restore_threads")

openmp = pytest.mark.skipif(not _bridge.lib.zdl_openmp(), reason="built without OpenMP")
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
    for n in (2, 3, 4, 7):
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
    for n in (1, 2, 3, 4, 7):
        zerodl_c.set_num_threads(n)
        results.append(bits(getattr(zerodl_c, name)(*operands)))
    assert [result == results[0] for result in results] == [True] * 5


@pytest.mark.parametrize("name", ["matmul", "softmax", "mean_squared_error"])
def test_the_bits_are_the_same_on_every_run(name, threads):
    first = bits(RESULTS[name](np.float32))
    assert all(bits(RESULTS[name](np.float32)) == first for _ in range(5))


# --- How many there are ---------------------------------------------------------------------------


@openmp
@tasks
def test_large_inputs_start_threads_and_small_ones_do_not(python):
    done = python("""
import os, numpy as np, zerodl_c
def count():
    return len(os.listdir("/proc/self/task"))
zerodl_c.set_num_threads(4)
before = count()
small = np.ones((50, 50))
zerodl_c.matmul(small, small)
for name in ("sigmoid", "softmax", "step_function", "relu", "tanh", "log_softmax"):
    getattr(zerodl_c, name)(small)
print(count() - before)
zerodl_c.sigmoid(np.ones(2 * 8192))
print(count() - before)
zerodl_c.sigmoid(np.ones(100000))
print(count() - before)
""")
    assert done.stdout.split() == ["0", "1", "3"], done.stderr


@openmp
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


@openmp
def test_threadpoolctl_limits_and_restores():
    zerodl_c.set_num_threads(3)
    for limit in (1, 2):
        with threadpoolctl.threadpool_limits(limit):
            assert zerodl_c.get_num_threads() == limit
            zerodl_c.sigmoid(normal((300, 300), np.float64))
        assert zerodl_c.get_num_threads() == 3
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        zerodl_c.set_num_threads(2)  # the later word holds
        assert zerodl_c.get_num_threads() == 2


@openmp
def test_threadpoolctl_limits_a_new_python_thread():
    def limited():
        with threadpoolctl.threadpool_limits(1):
            return zerodl_c.get_num_threads()

    zerodl_c.set_num_threads(3)
    with ThreadPoolExecutor(1) as late:
        assert late.submit(limited).result() == 1


@openmp
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


@openmp
@pytest.mark.parametrize("n", [1, 3])
def test_omp_num_threads(python, n):
    done = python("import zerodl_c; print(zerodl_c.get_num_threads())", OMP_NUM_THREADS=str(n))
    assert done.stdout.split() == [str(n)], done.stderr


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
    signal.alarm(20)  # a child that hangs is killed
    before = zerodl_c.get_num_threads()
    zerodl_c.set_num_threads(4)
    return compute() == expected and before == zerodl_c.get_num_threads() == 1


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_computes_on_one_thread():
    zerodl_c.set_num_threads(4)
    expected = compute()
    child = os.fork()
    if child == 0:
        os._exit(0 if compute_in_child(expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert zerodl_c.get_num_threads() == (4 if _bridge.lib.zdl_openmp() else 1)
    assert compute() == expected


@forks
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_pool_of_forked_workers():
    zerodl_c.set_num_threads(4)
    expected = compute()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        assert pool.map_async(compute_in_child, [expected] * 6).get(timeout=60) == [True] * 6
