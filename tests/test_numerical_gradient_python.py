"""numerical_gradient of Python functions: stacks, workers, progress, Ctrl-C, and what is refused."""

import _thread
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import zerodl_c


def wave(x):
    return float(np.sum(np.sin(x) * np.arange(1, x.size + 1).reshape(x.shape)))


def waves(stack):
    return np.array([wave(x) for x in stack])


def never(x):
    pytest.fail("f must not be called")


SHAPES = [(), (1,), (5,), (2, 3), (2, 2, 2), (0,), (3, 0)]
IN_COPIES = {
    "vectorized": {"vectorized": True},
    "threads": {"workers": 3},
    "map": {"workers": map},
    "vectorized in threads": {"vectorized": True, "workers": 3},
    "vectorized by a map": {"vectorized": True, "workers": lambda f, blocks: [f(block) for block in blocks]},
}
in_copies = pytest.mark.parametrize("options", IN_COPIES.values(), ids=IN_COPIES.keys())


def fitting(f, options):
    """f, or f of a stack."""
    return (lambda stack: np.array([f(x) for x in stack])) if options.get("vectorized") else f


# --- The same gradient in every way ---------------------------------------------------------------


@in_copies
@pytest.mark.parametrize("order", [2, 4])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8", int])
def test_copies_give_what_x_itself_gives(engine, options, order, dtype):
    for shape in SHAPES:
        x = np.array(np.random.default_rng(1).uniform(-3, 3, shape)).astype(dtype)
        before = x.copy()
        expected, info = engine.numerical_gradient(wave, x, order=order, full_output=True)
        grad, other = engine.numerical_gradient(fitting(wave, options), x, order=order, full_output=True, **options)
        assert_array_equal(grad, expected, strict=True)
        assert_array_equal(other.error, info.error)
        assert_array_equal(other.step, info.step)
        assert_array_equal(x, before)


@in_copies
def test_lists_layouts_and_read_only_arrays(engine, options):
    x = np.random.default_rng(1).standard_normal((4, 6))
    read_only = x.copy()
    read_only.flags.writeable = False
    f = fitting(wave, options)
    expected = engine.numerical_gradient(wave, x.copy())
    for same in (x.tolist(), np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], read_only):
        assert_array_equal(engine.numerical_gradient(f, same, **options), expected)


def test_a_stack_is_bounded(engine):
    x, sizes = np.zeros(1000), []

    def f(stack):
        sizes.append(stack.size)
        assert stack.shape[1:] == x.shape and stack.dtype == x.dtype and stack.flags.c_contiguous
        return stack[:, -1] * 2

    grad = engine.numerical_gradient(f, x, vectorized=True)
    assert_allclose(grad, np.append(np.zeros(999), 2), atol=1e-12)
    assert max(sizes) <= 2**20 and sum(sizes) >= 2000 * 1000


def test_one_entry_at_a_time_of_a_large_x(engine):
    x, lengths = np.ones(2**20 + 1, np.float16), []

    def f(stack):
        lengths.append(len(stack))
        if len(stack) > 1:
            raise Stop
        return np.ones(1)

    with pytest.raises(Stop):
        engine.numerical_gradient(f, x, vectorized=True)
    assert lengths[-1] == 2


def test_a_vectorized_f_may_do_with_its_stack_as_it_likes(engine):
    buffer = np.empty(6)

    def f(stack):
        stack **= 2
        np.sum(stack, axis=1, out=buffer[: len(stack)])
        stack.shape = (-1,)
        return buffer[: len(buffer) if len(stack) == 18 else 1]

    x = np.array([1.0, 2.0, 3.0])
    assert_allclose(engine.numerical_gradient(f, x, vectorized=True), [2, 4, 6])
    assert x.tolist() == [1, 2, 3]


def test_workers_have_their_own_copies(engine):
    x, threads = np.arange(6.0), set()

    def f(argument):
        threads.add(threading.get_ident())
        assert not np.shares_memory(argument, x)
        assert np.count_nonzero(argument != np.arange(6)) <= 1
        return wave(argument)

    expected = engine.numerical_gradient(wave, x.copy())
    with ThreadPoolExecutor(2) as pool:
        for workers in (1000, -1, np.int64(2), pool.map):
            assert_array_equal(engine.numerical_gradient(f, x, workers=workers), expected)
    assert len(threads) > 1


def test_threads_run_at_once(engine):
    """Each of two waits for the other."""
    barrier = threading.Barrier(2, timeout=30)

    def f(x):
        if threading.current_thread() is not threading.main_thread():
            barrier.wait()
        return wave(x)

    assert_allclose(engine.numerical_gradient(f, np.zeros(2), workers=2), [1, 2], atol=1e-8)


def test_processes(engine):
    x = np.array([3.0, 4.0])
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        assert_allclose(engine.numerical_gradient(np.linalg.norm, x, workers=pool.map), [0.6, 0.8], rtol=1e-8)


def test_joblib(engine):
    joblib = pytest.importorskip("joblib")

    def workers(f, blocks):
        return joblib.Parallel(2)(joblib.delayed(f)(block) for block in blocks)

    x = np.array([3.0, 4.0])
    assert_allclose(engine.numerical_gradient(np.linalg.norm, x, workers=workers), [0.6, 0.8], rtol=1e-8)


MPI = """
import numpy as np
from mpi4py.futures import MPIPoolExecutor
import zerodl_c
if __name__ == "__main__":
    with MPIPoolExecutor() as pool:
        print(zerodl_c.numerical_gradient(np.linalg.norm, np.array([3.0, 4.0]), workers=pool.map))
"""


def test_mpi(tmp_path):
    mpirun = shutil.which("mpirun")
    if not mpirun:
        pytest.skip("mpirun is not installed")
    try:
        import mpi4py.MPI  # noqa: F401
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"mpi4py does not work here: {error!s:.60}")
    script = tmp_path / "script.py"
    script.write_text(MPI)
    command = [mpirun, "-n", "2", sys.executable, "-m", "mpi4py.futures", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[0.6", "0.8]"]


# --- Who reads x itself ---------------------------------------------------------------------------


@in_copies
def test_an_f_that_reads_x_through_a_closure_is_refused(engine, options):
    for x in (np.array([3.0, 4.0]), np.float32([1.0, 1.0]), np.array([[0.0]]), np.array([3, 4])):
        before, x0 = x.copy(), x.ravel()
        for f in (lambda _, x0=x0: 2.0 * x0[0] - x0[-1] / 2, lambda v, x0=x0: float(v.sum() + x0[-1])):
            with pytest.raises(ValueError, match="f must read x through its argument alone"):
                engine.numerical_gradient(fitting(f, options), x, **options)
            assert_array_equal(x, before, strict=True)


@in_copies
def test_an_f_that_ignores_its_argument_is_refused(engine, options):
    x = np.array([3.0, 4.0])
    x.flags.writeable = False
    for same in (x, [3.0, 4.0]):
        with pytest.raises(ValueError, match="f must read its argument"):
            engine.numerical_gradient(fitting(lambda _: x @ x, options), same, **options)


def test_a_net_is_refused_with_workers_and_right_without(engine):
    net = engine.SimpleNet()
    x, t = np.array([[0.6, 0.9]]), np.array([2])
    with pytest.raises(ValueError, match="f must read x through its argument alone"):
        engine.numerical_gradient(lambda W: net.loss(x, t), net.W, workers=2)
    assert np.any(engine.numerical_gradient(lambda W: net.loss(x, t), net.W))


@in_copies
def test_finding_it_out_takes_one_evaluation_each_way(engine, options):
    calls = []

    def f(x):
        calls.append(None)
        return wave(x)

    _, info = engine.numerical_gradient(fitting(f, options), np.zeros(5), full_output=True, **options)
    assert len(calls) == info.evaluations == 4 * 5 + 2


# --- What f gives and does ------------------------------------------------------------------------

WRONG = [None, 1j, np.complex64(1), "3", np.ones(2), np.ones(0), slice(1)]


@pytest.mark.parametrize("workers", [2, map])
@pytest.mark.parametrize("result", WRONG, ids=repr)
def test_f_must_give_one_real_number(engine, workers, result):
    x = np.array([0.1, 0.2])
    with pytest.raises(TypeError, match=r"f must give (one real number|real numbers), got"):
        engine.numerical_gradient(lambda _: result, x, workers=workers)
    assert x.tolist() == [0.1, 0.2]


@pytest.mark.parametrize("result", [*WRONG[:4], 3.0, np.ones(3), np.ones((1, 1)), [["a"]]], ids=repr)
def test_a_vectorized_f_must_give_as_many(engine, result):
    with pytest.raises(TypeError, match=r"f must give .*real numbers.*, got"):
        engine.numerical_gradient(lambda _: result, np.array([0.1, 0.2]), vectorized=True)


@in_copies
def test_nan_passes_through(engine, options):
    f = fitting(lambda x: np.nan if x[1] > 1 else 3 * x[0], options)
    assert_allclose(engine.numerical_gradient(f, np.ones(2), **options), [3, np.nan])


@pytest.mark.parametrize("workers", [2, map])
def test_an_f_that_changes_its_copy_is_refused(engine, workers):
    def f(x):
        x += 1
        return wave(x)

    with pytest.raises(ValueError, match="f must not change its argument"):
        engine.numerical_gradient(f, np.ones(3), workers=workers)


@pytest.mark.parametrize("workers", [1, 2, map])
def test_f_may_change_the_shape_of_its_argument(engine, workers):
    def f(x):
        x.shape = (4,)
        return x[0] + 2 * x[3]

    assert_allclose(engine.numerical_gradient(f, np.zeros((2, 2)), workers=workers), [[1, 0], [0, 2]])


class Stop(Exception):
    pass


@in_copies
@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt])
def test_what_f_raises_propagates(engine, options, error):
    raised, x = error("unchanged"), np.ones(5)

    def f(argument):
        if argument[3] != 1:
            raise raised
        return wave(argument)

    with pytest.raises(error) as caught:
        engine.numerical_gradient(fitting(f, options), x, **options)
    assert caught.value is raised
    assert (x == 1).all()


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_map_may_give_its_results_in_any_order_and_twice(engine, vectorized):
    x = np.random.default_rng(0).random(300)
    f = fitting(wave, {"vectorized": vectorized})
    expected, done = engine.numerical_gradient(wave, x), []

    def backwards(function, blocks):
        results = [function(block) for block in blocks]
        return [*results[::-1], results[1]]

    grad = engine.numerical_gradient(
        f, x, workers=backwards, vectorized=vectorized, progress=lambda *pair: done.append(pair)
    )
    assert_array_equal(grad, expected)
    assert done[-1] == (600, 600)

    def one_for_another(function, blocks):
        return [function(blocks[0]), *map(function, blocks[:-1])]

    with pytest.raises(ValueError, match="workers must give a result for each of 100 blocks; 1 are missing"):
        engine.numerical_gradient(f, x, workers=one_for_another, vectorized=vectorized)


def test_a_map_that_loses_blocks_is_refused(engine):
    with pytest.raises(ValueError, match="workers must give a result for each of 3 blocks"):
        engine.numerical_gradient(wave, np.ones(3), workers=lambda f, blocks: list(map(f, blocks))[1:])


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("progress", [False, lambda done, total: None])
def test_ctrl_c_stops_every_thread(engine, workers, progress, no_garbage_collection):
    """Nothing is evaluated any more once it is through, and x is what it was."""
    x, calls, interrupted = np.full(10_000, 0.1), [], threading.Event()

    def f(argument):
        calls.append(None)
        if len(calls) == 100:
            _thread.interrupt_main()
            interrupted.set()
        elif interrupted.is_set():
            threading.Event().wait(0.001)
        return float(argument[0])

    with pytest.raises(KeyboardInterrupt):
        engine.numerical_gradient(f, x, workers=workers, progress=progress)
    count = len(calls)
    assert count < 10_000
    assert (x == 0.1).all()
    threading.Event().wait(0.05)
    assert len(calls) == count


# --- Progress -------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, *IN_COPIES.values()], ids=["in place", *IN_COPIES])
def test_progress_counts_evaluations(engine, options):
    seen, x = [], np.ones(300)
    f = fitting(lambda x: float(x[0]), options)
    grad = engine.numerical_gradient(f, x, progress=lambda *at: seen.append(at), order=4, **options)
    assert_array_equal(grad, engine.numerical_gradient(f, x, order=4, **options))
    done, totals = zip(*seen, strict=True)
    assert set(totals) == {1200}
    assert list(done) == sorted(set(done)) and done[0] > 0 and done[-1] == 1200
    if not options:
        assert list(done) == list(range(4, 1201, 4))


def test_what_progress_raises_propagates(engine):
    def progress(done, total):
        raise Stop

    for workers in (1, 2, map):
        x = np.ones(5)
        with pytest.raises(Stop):
            engine.numerical_gradient(wave, x, progress=progress, workers=workers)
        assert (x == 1).all()


def test_progress_shows_a_bar(engine, capsys):
    pytest.importorskip("tqdm")
    engine.numerical_gradient(wave, np.ones(5), progress=True)
    assert "10/10" in capsys.readouterr().err


def test_progress_without_tqdm(engine, monkeypatch):
    for name in ("tqdm", "tqdm.auto"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r"pip install 'zerodl_c\[progress\]'"):
        engine.numerical_gradient(never, np.ones(5), progress=True, workers=2)


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"workers": 0}, ValueError, "workers must be 1 or more, or -1"),
        ({"workers": -2}, ValueError, "workers must be 1 or more, or -1"),
        ({"workers": 1.5}, TypeError, "workers must be an int or a map, got float"),
        ({"workers": None}, TypeError, "workers must be an int or a map, got NoneType"),
        ({"progress": 1}, TypeError, "progress must be a bool or callable, got int"),
        ({"progress": None}, TypeError, "progress must be a bool or callable, got NoneType"),
        ({"order": 3}, ValueError, "order must be 2 or 4, got 3"),
        ({"order": "4"}, ValueError, "order must be 2 or 4, got '4'"),
        ({"h": "automatic"}, TypeError, "h must be a real number or 'auto', got 'automatic'"),
        ({"h": 1e-20}, ValueError, "h = 1e-20 is lost"),
    ],
    ids=repr,
)
def test_options_are_checked_before_f_is_called(engine, options, error, match):
    for x in (np.ones(2), [1, 2]):
        with pytest.raises(error, match=match):
            engine.numerical_gradient(never, x, **options)


def test_options_are_keywords(engine):
    with pytest.raises(TypeError, match="positional"):
        engine.numerical_gradient(never, np.ones(2), 1e-4, True)


def test_zerodl_c_has_the_docstring_of_the_reference():
    assert zerodl_c.numerical_gradient.__doc__ == zerodl_c.reference.numerical_gradient.__doc__
