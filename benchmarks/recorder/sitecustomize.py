"""Records what a script computes; python imports this before it where this folder is on PYTHONPATH.

A net is known by its `predict`, whoever defines it: the book's `common`, an engine, or the script itself. What its
methods return is kept, save where one of them calls another: engines differ in that. After BOOK_STEPS gradients of one
net the script ends (0: when it likes). At the end, BOOK_RECORD is written: a JSON dict of lists of numbers.
"""

import atexit
import builtins
import functools
import itertools
import os
import sys
import time
import weakref

FIRST = 50  # values of a kind that are kept of each net, and entries of each variable
METHODS = ("loss", "accuracy", "gradient", "numerical_gradient")

steps = int(os.environ["BOOK_STEPS"])
record = {}  # what, and of which net -> a list of numbers for each call
nets: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # net -> its number, its gradients so far
numbers = itertools.count()
inside = False
start = 0.0


def begin(event, args):
    """The clock starts where a `__main__` that is a file does, with python and in `zerodl-c run`."""
    global start
    if event == "exec" and not start and args[0].co_filename == os.path.abspath(os.environ["BOOK_SCRIPT"]):
        start = time.perf_counter()


def recorded(name, method):
    """The method, whose values are kept."""

    @functools.wraps(method)
    def call(net, *args, **kwargs):
        global inside
        if inside:
            return method(net, *args, **kwargs)
        if net not in nets:
            nets[net] = next(numbers), itertools.count()
        number, gradients = nets[net]
        if name == "gradient" and next(gradients) == (steps or -1):
            sys.exit()
        inside = True
        try:
            value = method(net, *args, **kwargs)
        finally:
            inside = False
        keep(f"{name} {number}", value)
        return value

    return call


def keep(key, value):
    """Numbers as they are; of a dict of gradients, the mean size of each."""
    values = record.setdefault(key, [])
    if len(values) < FIRST or key.startswith("accuracy"):
        values.append([abs(grad).mean() for grad in value.values()] if isinstance(value, dict) else [value])


def build_class(*args, build=builtins.__build_class__, **kwargs):
    """Python's own, for every class statement; and then nets are recorded, and pictures pop up no more."""
    cls = build(*args, **kwargs)
    if hasattr(cls, "predict"):
        for name in METHODS:
            if name in vars(cls):
                setattr(cls, name, recorded(name, vars(cls)[name]))
    elif cls.__module__ == "PIL.Image" and hasattr(cls, "show"):
        cls.show = lambda self, *args, **kwargs: None
    return cls


def variables(prefix, values):
    """The script's floats, and lists, arrays and dicts of them. (Without numpy, which it may not have imported.)"""
    for name, value in list(values.items()):
        key, dtype = f"{prefix} {name}", getattr(value, "dtype", None)
        if isinstance(value, dict):
            variables(key, value)
        elif dtype is not None and getattr(dtype, "kind", "") == "f":
            record[key] = [value.ravel()[:FIRST].tolist()]
        elif isinstance(value, (float, list)):
            entries = (value if isinstance(value, list) else [value])[:FIRST]
            if all(isinstance(entry, float) for entry in entries):  # numpy's float64 is one
                record[key] = [entries]


def write():
    import json

    record["seconds"] = [[time.perf_counter() - start]]
    variables("variable", {key: value for key, value in vars(sys.modules["__main__"]).items() if key[:2] != "__"})
    with open(os.environ["BOOK_RECORD"], "w") as f:
        json.dump({key: [*map(float, itertools.chain(*values))] for key, values in record.items()}, f)


builtins.__build_class__ = build_class
sys.addaudithook(begin)
atexit.register(write)
if "BOOK_SEED" in os.environ:
    import numpy

    numpy.random.seed(int(os.environ["BOOK_SEED"]))
