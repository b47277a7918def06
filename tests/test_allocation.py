"""What C allocates fails, one allocation after the other: MemoryError, nothing lost, nothing written out of bounds."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import zerodl_c

HERE = Path(__file__).resolve().parent
SOURCES = Path(zerodl_c.get_include())
UNLOADED = os.environ | {"LD_PRELOAD": ""}  # what tools/sanitize.sh preloads
RENAMED = ["-Dmalloc=failing_malloc", "-Dcalloc=failing_calloc", "-Dfree=counting_free"]

pytestmark = pytest.mark.skipif(sys.platform != "linux" or not shutil.which("cc"), reason="needs cc, on Linux")


def run(command, folder, **environment):
    words = [str(word) for word in command]
    return subprocess.run(words, cwd=folder, env=UNLOADED | environment, capture_output=True, text=True, timeout=600)


def compile_c(folder, *arguments):
    done = run(["cc", "-std=gnu11", *arguments], folder)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """csrc/ compiled, with AddressSanitizer where the allocations are, and the flags to link it with."""
    folder = tmp_path_factory.mktemp("objects")
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")

    def works(flag):
        return run(["cc", flag, "probe.c"], folder).returncode == 0 and run(["./a.out"], folder).returncode == 0

    flags = [flag for flag in ("-pthread", "-fsanitize=address") if works(flag)]
    if "-fsanitize=address" not in flags:
        pytest.skip("cc has no AddressSanitizer")
    (folder / "probe.c").unlink()
    compile_c(folder, "-c", *RENAMED, *SOURCES.glob("isa/*.c"))  # the guards see the kernels, sooner
    compile_c(folder, "-c", *RENAMED, *flags, *SOURCES.glob("*.c"))
    return folder, flags


@pytest.mark.parametrize("bits", [32, 64])
def test_each_allocation_fails_in_turn(bits, objects, tmp_path):
    folder, flags = objects
    defined = [*RENAMED, f"-DREAL_BITS={bits}", f"-I{SOURCES}"]
    compile_c(tmp_path, *defined, *flags, HERE / "allocation.c", *folder.glob("*.o"), "-lm")
    done = run(["./a.out"], tmp_path, ZERODL_ISA="")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert int(re.fullmatch(r"(\d+) allocations failed\n", done.stdout)[1]) > 500


def test_no_other_function_allocates():
    """Those that allocation.c and preloaded_allocation.c let fail are all."""
    others = r"\b(realloc|reallocarray|aligned_alloc|posix_memalign|memalign|_mm_malloc|strn?dup|alloca|PyMem_\w+)\s*\("
    sources = (HERE.parent / "csrc").rglob("*.[ch]")
    assert [path for path in sources if re.search(others, path.read_text(encoding="utf-8"))] == []


PROGRAM = """
import ctypes
import numpy as np
import zerodl_c as z
from zerodl_c import _network
from zerodl_c._bridge import check, ffi, lib

preloaded = ctypes.CDLL(None)
rng = np.random.default_rng(0)
a, b, c = rng.normal(size=(301, 13)), rng.normal(size=(13, 17)), rng.normal(size=17)
images, filters, biases = rng.normal(size=(5, 17, 9, 9)), rng.normal(size=(13, 17, 3, 3)), rng.normal(size=13)
labels, y = np.arange(301) % 5, z.softmax(a)  # labels so many, and layers, that the step from Python allocates for them
two, many = z.TwoLayerNet(13, 3, 5), z.MultiLayerNet(13, [1] * 9, 5)


@ctypes.CFUNCTYPE(ctypes.c_double, ctypes.POINTER(ctypes.c_double), ctypes.c_ssize_t, ctypes.c_void_p)
def first_of(x, n, data):
    return x[0]


def gradient_in_c():  # of the function of a C program, which Python does not call
    grad, at = np.empty(5), ffi.from_buffer("double[]", np.ones(5))
    f = ffi.cast("double(*)(const double *, ptrdiff_t, void *)", ctypes.cast(first_of, ctypes.c_void_p).value)
    check(lib.zdl_numerical_gradient(ffi.from_buffer("double[]", grad), f, at, 5, 1e-4, ffi.NULL))
    return [grad]


def images_both_ways(channels, **options):
    layer = z.Convolution(filters[:, :channels], biases, **options)
    dx = layer.backward(layer.forward(images[:, :channels]))
    return dx, layer.dW, layer.db


def watched(call, enough):
    preloaded.watch_allocations(ctypes.c_long(enough))
    left = ctypes.c_long()
    try:
        result = call()
    except MemoryError as error:
        result = error
    return result, preloaded.stop_watching(ctypes.byref(left)), left.value


for name, call in {
    "matmul": lambda: [z.matmul(a, b)],
    "matmul of zeros": lambda: [z.matmul(np.eye(100, 784), np.ones((784, 64)))],
    "matmul of a stack": lambda: [z.matmul(np.stack([a, a]), b)],
    "affine": lambda: [z.affine(a, b, c)],
    "affine_backward": lambda: z.affine_backward(np.ones((301, 17)), a, b),
    "cross_entropy_error": lambda: [z.cross_entropy_error(y, labels)],
    "cross_entropy_error of rows": lambda: [z.cross_entropy_error(y, np.eye(13)[labels])],
    "softmax_cross_entropy": lambda: z.softmax_cross_entropy(a, labels),
    "softmax_cross_entropy_backward": lambda: [z.softmax_cross_entropy_backward(y, labels)],
    "softmax_cross_entropy_gradient": lambda: z.softmax_cross_entropy_gradient(a, labels),
    "convolution": lambda: images_both_ways(17),
    "convolution of few channels": lambda: images_both_ways(3),
    "convolution of stride 2": lambda: images_both_ways(17, stride=2, pad=1),
    "predict": lambda: [two.predict(a)],
    "gradient": lambda: two.gradient(a, labels).values(),
    "numerical_gradient": lambda: two.numerical_gradient(a, labels).values(),
    "predict of a deep net": lambda: [_network.predict(many.params, a, 1)],
    "forward of a deep net": lambda: _network.forward(many.params, a, 1),
    "loss of a deep net": lambda: [many.loss(a, labels)],
    "gradient of a deep net": lambda: many.gradient(a, labels).values(),
    "numerical_gradient of a deep net": lambda: many.numerical_gradient(a, labels).values(),
    "numerical_gradient of a C function": lambda: [z.numerical_gradient(first_of, np.ones(5))],
    "numerical_gradient in C": gradient_in_c,
}.items():
    expected, count, left = watched(call, 10**9)
    assert count > 0 and left == 0, (name, count, left)
    for enough in range(count):
        result, count, left = watched(call, enough)
        assert (type(result) is MemoryError) == (count > enough) and left == 0, (name, enough, count, left)
    for result, first in zip(call(), expected):
        np.testing.assert_array_equal(result, first)
    print(name)
"""


def test_python_raises_memory_error(python, tmp_path):
    """Whichever allocation of the core fails; the next call is as if nothing had been."""
    if os.environ.get("LD_PRELOAD"):
        pytest.skip("another library that knows malloc is preloaded")
    try:
        compile_c(tmp_path, "-O1", "-shared", "-fPIC", HERE / "preloaded_allocation.c", "-o", "preloaded.so", "-ldl")
    except AssertionError as error:
        pytest.skip(f"needs glibc: {error}")
    done = python(PROGRAM, LD_PRELOAD=str(tmp_path / "preloaded.so"), OMP_NUM_THREADS="2")
    assert done.stderr == "" and done.returncode == 0
    assert len(done.stdout.splitlines()) == 23
