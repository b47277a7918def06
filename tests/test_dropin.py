"""The swap: scripts that import the book's `common` run on this engine, and `run` runs them as plain Python does."""

import errno
import importlib.abc
import importlib.util
import os
import signal
import subprocess
import sys
import sysconfig
import textwrap
import types
import venv
import warnings
from pathlib import Path

import numpy as np
import pytest

import zerodl_c
from zerodl_c import _files, cli, dropin, reference

FUNCTIONS = (
    "np identity_function step_function sigmoid sigmoid_grad relu relu_grad softmax sum_squared_error "
    "mean_squared_error cross_entropy_error softmax_loss"
)
LAYERS = (
    f"{FUNCTIONS} im2col col2im Relu Sigmoid Affine SoftmaxWithLoss Dropout BatchNormalization Convolution Pooling"
)
OPTIMIZERS = "np SGD Momentum Nesterov AdaGrad RMSprop Adam"
# What `import *` brings from each module of the book, in any of its editions.
BROUGHT = {
    "functions": FUNCTIONS,
    "gradient": "np numerical_gradient_2d numerical_gradient",
    "layers": LAYERS,
    "multi_layer_net": f"{LAYERS} os sys OrderedDict numerical_gradient MultiLayerNet",
    "multi_layer_net_extend": f"{LAYERS} os sys OrderedDict numerical_gradient MultiLayerNetExtend",
    "optimizer": OPTIMIZERS,
    "trainer": f"{OPTIMIZERS} os sys Trainer",
    "util": "np smooth_curve shuffle_dataset conv_output_size im2col col2im",
}

# A script's own `common`: what is the book's fails when it is used, and some of it is not the book's.
OWN = {
    "common/__init__.py": "",
    "common/functions.py": """
        import numpy as np

        def sigmoid(x):
            raise AssertionError("this is the script's own sigmoid")

        def leaky_relu(x):
            return np.where(x > 0, x, 0.1 * x)

        def twice_sigmoid(x):
            return 2 * sigmoid(x)
        """,
    "common/layers.py": """
        from common.functions import *

        class Affine:
            pass

        class Scale:
            def forward(self, x):
                return 2 * x
        """,
    "common/extra.py": """
        from common.functions import sigmoid

        def half(x):
            return sigmoid(x) / 2
        """,
}


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def of_common():
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "common"}


def star(module):
    """What `from module import *` brings."""
    names = {}
    exec(f"from {module} import *", names)
    del names["__builtins__"]
    return names


@pytest.fixture
def clean():
    """No swap and no `common`, before and after."""
    zerodl_c.uninstall()
    assert not of_common()
    before = list(sys.meta_path), list(sys.path)
    yield
    zerodl_c.uninstall()
    for name in of_common():
        del sys.modules[name]
    assert list(sys.meta_path) == before[0]
    sys.path[:] = before[1]


@pytest.fixture
def own(clean, tmp_path):
    """A script's own `common`, on the path."""
    write(tmp_path / "own", OWN)
    sys.path.insert(0, str(tmp_path / "own"))
    importlib.invalidate_caches()


@pytest.mark.usefixtures("clean")
class TestInstall:
    @pytest.mark.parametrize("name", ["c", "numpy"])
    @pytest.mark.parametrize("module", BROUGHT)
    def test_star_brings_what_the_book_brings_of_the_engine(self, module, name):
        zerodl_c.install(name)
        engine = {"c": zerodl_c, "numpy": reference}[name]
        brought = star(f"common.{module}")
        assert sorted(brought) == sorted(BROUGHT[module].split())
        for key, value in brought.items():
            if key not in ("np", "os", "sys", "OrderedDict", "mean_squared_error"):
                assert value is getattr(engine, key), key
        assert brought["np"] is np

    def test_underscored_gradient_is_importable(self):
        zerodl_c.install()
        from common.gradient import _numerical_gradient_1d

        np.testing.assert_allclose(_numerical_gradient_1d(np.sum, np.zeros(2)), 1)

    def test_modules_are_attributes_of_common(self):
        zerodl_c.install()
        import common.functions
        import common.layers

        assert common.layers.Affine is zerodl_c.Affine
        assert repr(common) == "<module 'common' (zerodl_c)>"
        assert repr(common.functions) == "<module 'common.functions' (zerodl_c.functions)>"

    @pytest.mark.parametrize("name", ["c", "numpy"])
    def test_mean_squared_error_is_the_first_printings(self, name):
        zerodl_c.install(name)
        from common.functions import mean_squared_error, sum_squared_error
        from common.layers import mean_squared_error as of_layers

        y, t = np.array([1.0, 2.0, 3.0]), np.zeros(3)
        assert mean_squared_error(y, t) == sum_squared_error(y, t) == of_layers(y, t) == 7
        assert zerodl_c.mean_squared_error(y, t) == pytest.approx(14 / 3)

    def test_is_silent_and_idempotent(self, capfd):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            zerodl_c.install()
            before = list(sys.meta_path)
            from common.functions import sigmoid

            zerodl_c.install()
        assert sys.meta_path == before
        assert importlib.import_module("common.functions").sigmoid is sigmoid
        assert capfd.readouterr() == ("", "")

    def test_unknown_engine(self):
        with pytest.raises(ValueError, match=r"^engine must be one of 'c', 'numpy', got 'torch'$"):
            zerodl_c.install("torch")
        assert not any(isinstance(finder, dropin._Swap) for finder in sys.meta_path)

    def test_another_engine_takes_the_place_of_the_first(self):
        zerodl_c.install()
        import common.functions  # noqa: F401

        zerodl_c.install("numpy")
        from common.functions import sigmoid

        assert sigmoid is reference.sigmoid
        assert sum(isinstance(finder, dropin._Swap) for finder in sys.meta_path) == 1

    def test_what_neither_has_is_an_import_error(self):
        zerodl_c.install()
        with pytest.raises(ModuleNotFoundError, match=r"No module named 'common\.extra'"):
            importlib.import_module("common.extra")
        with pytest.raises(ImportError, match=r"cannot import name 'matmul' from 'common\.functions'"):
            from common.functions import matmul  # noqa: F401
        with pytest.raises(ModuleNotFoundError, match="No module named 'uncommon'"):
            importlib.import_module("uncommon.functions")

    def test_own_modules_are_found_when_the_path_leads_to_them_later(self, tmp_path):
        zerodl_c.install()
        import common.functions  # noqa: F401

        write(tmp_path, OWN)
        sys.path.append(str(tmp_path))
        importlib.invalidate_caches()
        from common.extra import half

        assert half(0.0) == 0.25

    def test_reload_keeps_the_engine(self):
        zerodl_c.install()
        import common.functions

        common.functions.sigmoid = None
        assert importlib.reload(common.functions).sigmoid is zerodl_c.sigmoid


@pytest.mark.usefixtures("own")
class TestOwnCommon:
    def test_the_books_names_are_the_engines_and_others_stay(self):
        zerodl_c.install()
        brought = star("common.functions")
        assert brought["sigmoid"] is zerodl_c.sigmoid
        assert brought["softmax"] is zerodl_c.softmax
        assert brought["leaky_relu"](-1.0) == -0.1
        assert brought["twice_sigmoid"](0.0) == 1  # it calls the engine's
        layers = star("common.layers")
        assert layers["Affine"] is zerodl_c.Affine
        assert layers["Scale"]().forward(2) == 4
        assert layers["leaky_relu"] is brought["leaky_relu"]

    def test_modules_that_the_book_has_not(self):
        zerodl_c.install()
        from common.extra import half

        assert half(0.0) == 0.25

    def test_own_np_stays(self, tmp_path):
        (tmp_path / "own/common/functions.py").write_text("np = 'another NumPy'")
        zerodl_c.install()
        assert star("common.functions")["np"] == "another NumPy"

    @pytest.mark.parametrize("imported_before", [False, True])
    def test_own_mean_squared_error_beside_the_books_sum(self, tmp_path, imported_before):
        text = "def mean_squared_error(y, t): return 'own'\ndef sum_squared_error(y, t): return 'book'\n"
        (tmp_path / "own/common/functions.py").write_text(text)
        if imported_before:
            importlib.import_module("common.layers")
        zerodl_c.install()
        for module in ("common.functions", "common.layers"):
            brought = star(module)
            assert brought["mean_squared_error"](1, 0) == "own"
            assert brought["sum_squared_error"] is zerodl_c.sum_squared_error

    def test_own_mean_squared_error_of_the_first_printings(self, tmp_path):
        (tmp_path / "own/common/functions.py").write_text("def mean_squared_error(y, t): return 'book'\n")
        zerodl_c.install()
        assert star("common.functions")["mean_squared_error"] is zerodl_c.sum_squared_error
        assert star("common.layers")["mean_squared_error"] is zerodl_c.sum_squared_error

    def test_imported_before_is_changed_in_place(self):
        functions = importlib.import_module("common.functions")
        before = dict(vars(functions))
        zerodl_c.install()
        assert functions.sigmoid is functions.__dict__["sigmoid"] is zerodl_c.sigmoid
        assert functions.softmax is zerodl_c.softmax
        assert importlib.import_module("common.functions") is functions
        assert functions.twice_sigmoid(0.0) == 1
        zerodl_c.uninstall()
        assert vars(functions) == before

    def test_warns_of_what_it_cannot_reach(self):
        importlib.import_module("common.extra")
        with pytest.warns(UserWarning, match="sigmoid in common.extra") as caught:
            zerodl_c.install()
        assert len(caught) == 1 and caught[0].filename == __file__

    def test_warns_of_functions_and_classes_alone(self, tmp_path):
        (tmp_path / "own/common/functions.py").write_text("softmax = None")  # which many a module holds
        importlib.import_module("common.functions")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            zerodl_c.install()

    def test_loads_no_module_that_is_to_load_at_its_first_use(self, monkeypatch):
        spec = importlib.util.find_spec("common.extra")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        monkeypatch.setitem(sys.modules, "lazy", module)
        zerodl_c.install()
        assert "half" not in object.__getattribute__(module, "__dict__")
        assert module.half(0.0) == 0.25

    def test_own_finders_and_loaders_are_asked(self, monkeypatch):
        class Module(types.ModuleType):
            pass

        class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path, target=None):
                return importlib.util.spec_from_loader(name, self) if name == "common.util" else None

            def create_module(self, spec):
                return Module(spec.name)

            def exec_module(self, module):
                module.ours = 1

        # Python passes over a finder that has no find_spec
        monkeypatch.setattr(sys, "meta_path", [Finder(), object(), *sys.meta_path])
        zerodl_c.install()
        util = importlib.import_module("common.util")
        assert type(util) is Module and util.ours == 1 and util.im2col is zerodl_c.im2col
        assert star("common.layers")["Affine"] is zerodl_c.Affine
        zerodl_c.uninstall()

    def test_uninstall_restores_everything(self):
        import common.functions

        before = of_common(), list(sys.meta_path), dict(vars(common)), dict(vars(common.functions))
        zerodl_c.install()
        from common.extra import half
        from common.layers import Affine

        assert half(0.0) == 0.25 and Affine is zerodl_c.Affine
        del sys.modules["common.functions"]
        importlib.import_module("common.functions")
        zerodl_c.uninstall()
        assert (of_common(), list(sys.meta_path), vars(common), vars(common.functions)) == before
        with pytest.raises(AssertionError, match="the script's own sigmoid"):
            importlib.import_module("common.extra").half(0.0)
        assert importlib.import_module("common.layers").Affine is not zerodl_c.Affine

    def test_uninstall_without_install(self):
        import common.functions

        before = of_common(), list(sys.meta_path)
        zerodl_c.uninstall()
        assert (of_common(), list(sys.meta_path)) == before
        assert common.functions.sigmoid.__module__ == "common.functions"

    def test_a_module_that_fails_fails_as_before(self, tmp_path):
        (tmp_path / "own/common/functions.py").write_text("raise RuntimeError('broken')")
        zerodl_c.install()
        for _ in range(2):
            with pytest.raises(RuntimeError, match="broken"):
                importlib.import_module("common.functions")

    def test_folder_without_init(self, tmp_path):
        (tmp_path / "own/common/__init__.py").unlink()
        zerodl_c.install()
        assert importlib.import_module("common.extra").half(0.0) == 0.25


def test_names_bound_of_another_engine_are_told(python):
    program = """
        import zerodl_c
        zerodl_c.install()
        from common.functions import identity_function, sigmoid
        zerodl_c.install("numpy")
        """
    done = python(textwrap.dedent(program))
    assert done.returncode == 0
    assert done.stderr.count("Warning") == 1
    assert "not swapped unless imported again: sigmoid in __main__\n" in done.stderr


def test_import_and_install_draw_no_random_numbers(python):
    program = """
        import pickle
        import numpy as np
        np.random.seed(1)
        before = pickle.dumps(np.random.get_state())
        import zerodl_c
        zerodl_c.install()
        import common.functions, common.gradient, common.layers, common.multi_layer_net
        import common.multi_layer_net_extend, common.optimizer, common.trainer, common.util
        zerodl_c.uninstall()
        print(pickle.dumps(np.random.get_state()) == before)
        """
    done = python(textwrap.dedent(program))
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_plain_import_swaps_nothing(python):
    """The one finder that it adds waits for threadpoolctl."""
    done = python("""
import sys; before = list(sys.meta_path); import zerodl_c; first, *rest = sys.meta_path
print(rest == before, type(first).__module__, first.find_spec("common", None, None))
""")
    assert (done.stdout, done.stderr) == ("True zerodl_c._threadpoolctl None\n", "")
    assert "No module named 'common'" in python("import zerodl_c, common.functions").stderr


# ---- run -----------------------------------------------------------------------------------------

# Every module of `common` in use, in the manner of the book: a folder for the chapter, `dataset` beside it, and `..`.
CHAPTER = {
    "dataset/__init__.py": "",
    "dataset/blobs.py": """
        import numpy as np

        def load_blobs():
            x = np.random.rand(60, 1, 6, 6)
            t = (x[:, 0, 0, 0] > 0.5).astype(np.uint8)
            return (x[:40], t[:40]), (x[40:], t[40:])
        """,
    "ch90/nets.py": """
        import sys, os
        sys.path.append(os.pardir)
        from collections import OrderedDict
        from common.layers import *
        from common.gradient import numerical_gradient


        class ConvNet:
            def __init__(self):
                self.params = {"W1": 0.1 * np.random.randn(3, 1, 3, 3), "b1": np.zeros(3),
                               "W2": 0.1 * np.random.randn(12, 2), "b2": np.zeros(2)}
                self.layers = OrderedDict()
                self.layers["Conv"] = Convolution(self.params["W1"], self.params["b1"])
                self.layers["Relu"] = Relu()
                self.layers["Pool"] = Pooling(pool_h=2, pool_w=2, stride=2)
                self.layers["Affine"] = Affine(self.params["W2"], self.params["b2"])
                self.last = SoftmaxWithLoss()

            def predict(self, x):
                for layer in self.layers.values():
                    x = layer.forward(x)
                return x

            def loss(self, x, t):
                return self.last.forward(self.predict(x), t)

            def accuracy(self, x, t):
                return np.mean(np.argmax(self.predict(x), axis=1) == t)

            def gradient(self, x, t):
                self.loss(x, t)
                dout = self.last.backward(1)
                for layer in reversed(list(self.layers.values())):
                    dout = layer.backward(dout)
                conv, affine = self.layers["Conv"], self.layers["Affine"]
                return {"W1": conv.dW, "b1": conv.db, "W2": affine.dW, "b2": affine.db}
        """,
    "ch90/train.py": """
        import sys, os
        sys.path.append(os.pardir)
        import numpy as np
        from dataset.blobs import load_blobs
        from common.functions import *
        from common.gradient import numerical_gradient
        from common.multi_layer_net import MultiLayerNet
        from common.multi_layer_net_extend import MultiLayerNetExtend
        from common.optimizer import *
        from common.trainer import Trainer
        from common.util import shuffle_dataset, smooth_curve
        from nets import ConvNet

        np.random.seed(int(sys.argv[1]))
        (x_train, t_train), (x_test, t_test) = load_blobs()
        x_train, t_train = shuffle_dataset(x_train, t_train)
        flat = x_train.reshape(len(x_train), -1)

        W = np.random.randn(36, 2)
        for _ in range(3):
            W -= 0.1 * numerical_gradient(lambda W: cross_entropy_error(softmax(np.dot(flat, W)), t_train), W)
        print(np.sum(sigmoid(W)))

        for net in (MultiLayerNet(36, [5, 5], 2, weight_decay_lambda=0.1),
                    MultiLayerNetExtend(36, [5, 5], 2, use_batchnorm=True, use_dropout=True)):
            for optimizer in (SGD(), Momentum(), Nesterov(), AdaGrad(), RMSprop(), Adam()):
                optimizer.update(net.params, net.gradient(flat, t_train))
                print(net.loss(flat, t_train))

        trainer = Trainer(ConvNet(), x_train, t_train, x_test, t_test, epochs=3, mini_batch_size=10,
                          optimizer="Adam", optimizer_param={"lr": 0.01}, verbose=False)
        trainer.train()
        print(*smooth_curve(np.array(trainer.train_loss_list)))
        print(sigmoid.__module__, MultiLayerNet.__module__)
        """,
}


def command(*arguments, executable=sys.executable, **environment):
    """`python ...` in the current folder."""
    return subprocess.run(
        [executable, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )


def run(*arguments, **environment):
    return command("-m", "zerodl_c", "run", *arguments, **environment)


def alike(done, plain):
    """Whether two processes ended alike."""
    return (done.returncode, done.stdout, done.stderr) == (plain.returncode, plain.stdout, plain.stderr)


@pytest.mark.usefixtures("elsewhere")
class TestRun:
    @pytest.mark.parametrize("with_own", [False, True])
    def test_a_chapter_gives_the_same_on_both_engines_from_another_folder(self, tmp_path, with_own):
        write(tmp_path / "book", {**CHAPTER, **(OWN if with_own else {})})
        script = tmp_path / "book/ch90/train.py"
        c, numpy = run(script, "3"), run("--engine", "numpy", script, "3")
        assert (c.stderr, numpy.stderr) == ("", "")
        *in_c, last = c.stdout.splitlines()
        *in_numpy, numpy_last = numpy.stdout.splitlines()
        assert last == "zerodl_c.functions zerodl_c.multi_layer_net"
        assert numpy_last == "zerodl_c.reference.functions zerodl_c.reference.multi_layer_net"
        assert len(in_c) == 14
        values = [np.array(" ".join(lines).split(), float) for lines in (in_c, in_numpy)]
        np.testing.assert_allclose(values[0], values[1], rtol=1e-10)
        assert values[0].size == 13 + 12 and run(script, "4").stdout != c.stdout

    def test_install_in_a_script_gives_what_run_gives(self, tmp_path):
        write(tmp_path / "book", CHAPTER)
        script = tmp_path / "book/ch90/train.py"
        expected = run(script, "3").stdout
        script.write_text("import zerodl_c\nzerodl_c.install()\n" + script.read_text())
        done = command(script, "3", PYTHONPATH=os.pathsep.join([str(tmp_path / "book"), *sys.path]))
        assert (done.stdout, done.stderr) == (expected, "")

    def test_what_a_script_sees(self, tmp_path):
        text = """
            import __main__, sys
            print(sys.argv, __file__, __name__, __package__, __spec__, __doc__, type(__loader__), type(__builtins__))
            # some versions of Python set __annotations__ beforehand, and some when it is asked for
            print(__main__.__dict__ is globals(), sorted(set(globals()) - {"__annotations__"}))
            print(sys.path[0])
            """
        write(tmp_path / "a", {"script.py": text})
        for name in ("a/script.py", tmp_path / "a/script.py"):
            done = run(name, "x", "--y")
            assert alike(done, command(name, "x", "--y"))
            assert done.stdout.splitlines()[-1] == str(tmp_path / "a")

    def test_path_has_the_folder_above_and_not_the_current_one(self, tmp_path):
        write(tmp_path / "a/b", {"script.py": "import sys; print(*sys.path, sep='\\n')"})
        plain, done = (start("a/b/script.py").stdout.splitlines() for start in (command, run))
        assert done == [*plain, str(tmp_path / "a")]

    @pytest.mark.skipif(sys.version_info < (3, 11), reason="python -P came with 3.11")
    def test_path_is_not_robbed_where_python_adds_nothing(self, tmp_path):
        write(tmp_path / "a", {"script.py": "import sys; print(*sys.path, sep='\\n')"})
        plain = command("-P", "a/script.py").stdout.splitlines()
        done = command("-P", "-m", "zerodl_c", "run", "a/script.py").stdout.splitlines()
        assert done == [str(tmp_path / "a"), *plain, str(tmp_path)]

    @pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
    def test_link_to_a_script(self, tmp_path):
        write(tmp_path / "book", CHAPTER)
        os.symlink(tmp_path / "book/ch90/train.py", "link.py")
        assert run("link.py", "3").stderr == ""

    @pytest.mark.parametrize(
        "arguments",
        [
            ["-h"],
            ["--engine", "numpy"],
            ["--eng"],
            ["--"],
            ["--", "-x", "--"],
            ["-x", "--", "--help", "", "a b", "-1", "@file"],
        ],
    )
    def test_what_follows_the_script_is_the_scripts(self, tmp_path, arguments):
        write(tmp_path, {"script.py": "import sys; print(sys.argv)"})
        assert run("script.py", *arguments).stdout == f"{['script.py', *arguments]}\n"
        assert run("--engine", "numpy", "script.py", *arguments).stdout == f"{['script.py', *arguments]}\n"

    @pytest.mark.parametrize(
        "ending",
        [
            "",
            "import sys; sys.exit()",
            "import sys; sys.exit(0)",
            "import sys; sys.exit(3)",
            "import sys; sys.exit('a message')",
            "raise SystemExit(True)",
            "import os; os._exit(4)",
            "def f(x):\n    return 1 / x\n\ntry:\n    f(0)\nexcept ZeroDivisionError:\n    raise ValueError('none')",
            "x = (",
            "import missing_module",
            "from common import missing_module",
            "from common.functions import missing_name",
            "import common.layers",
            "import common.util",
            "raise KeyboardInterrupt",
            "import sys\nsys.excepthook = lambda *error: print(error[:2])\n1 / 0",
            "import atexit, sys\natexit.register(lambda: print(sys.modules['__main__'].x))\nx = 1\n1 / 0",
            "import threading, time\nthreading.Thread(target=lambda: (time.sleep(0.1), print(x))).start()\nx = 1",
            "# coding: latin-1\nprint(ascii('\xe9'))",
            "import pickle\nclass A: pass\nprint(pickle.loads(pickle.dumps(A())).__class__ is A)",
        ],
    )
    def test_ends_as_with_plain_python(self, tmp_path, ending):
        (tmp_path / "script.py").write_text(ending, encoding="latin-1")
        write(tmp_path / "common", {"__init__.py": "", "functions.py": "", "util.py": "import missing_module"})
        write(tmp_path / "common", {"layers.py": "from common.functions import *\n1 / 0"})
        done, plain = run("script.py", "x"), command("script.py", "x")
        assert alike(done, plain), (done, plain)

    @pytest.mark.skipif(os.name == "nt", reason="signals are for POSIX systems")
    def test_interrupt(self, tmp_path):
        write(tmp_path, {"script.py": "import os, signal; os.kill(os.getpid(), signal.SIGINT)"})
        done, plain = run("script.py"), command("script.py")
        assert done.returncode == plain.returncode == -signal.SIGINT
        assert done.stderr.endswith("KeyboardInterrupt\n") and "zerodl" not in done.stderr

    def test_through_the_console_script(self, tmp_path):
        """It has its own folder first on sys.path, where `python -m` has the current one."""
        (tmp_path / "bin").mkdir()
        start = "import sys; from zerodl_c.cli import main; sys.exit(main())"
        (tmp_path / "bin/zerodl-c").write_text(start)
        write(tmp_path, {"a/script.py": "import sys\nprint(*sys.path)\n1 / 0"})
        done = command(tmp_path / "bin/zerodl-c", "run", "a/script.py")
        assert (done.returncode, done.stdout, done.stderr) == (
            1,
            run("a/script.py").stdout,
            command("a/script.py").stderr,
        )
        assert str(tmp_path / "bin") not in done.stdout

    def test_script_that_cannot_be_read(self, tmp_path):
        missing, folder = run("missing.py"), run(tmp_path)
        assert (missing.returncode, missing.stdout) == (folder.returncode, folder.stdout) == (2, "")
        assert missing.stderr == "zerodl-c: error: cannot open missing.py: No such file or directory\n"
        assert folder.stderr.startswith(f"zerodl-c: error: cannot open {tmp_path}: ")

    def test_no_script(self):
        done = run("--engine", "numpy")
        assert done.returncode == 2
        assert done.stderr == (
            "zerodl-c: error: the following arguments are required: SCRIPT (see zerodl-c run --help)\n"
        )

    def test_unknown_engine(self):
        done = run("--engine", "torch", "script.py")
        assert done.returncode == 2
        assert done.stderr.startswith("zerodl-c: error: argument --engine: invalid choice: 'torch'")


# ---- The hook ------------------------------------------------------------------------------------


@pytest.fixture
def environment(elsewhere, tmp_path):
    """The python of an environment of its own, in which what is importable here is importable."""
    venv.create(tmp_path / "env", symlinks=os.name != "nt")
    executable = tmp_path / "env" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = Path(subprocess.run([executable, "-c", ask], capture_output=True, text=True).stdout.strip())
    (folder / "here.pth").write_text("\n".join(path for path in sys.path if os.path.isdir(path)))

    def start(*arguments, **variables):
        return command(*arguments, executable=executable, **variables)

    start.folder = folder
    return start


class TestHook:
    SWAPPED = "import sys; print('zerodl_c' in sys.modules); from common.functions import sigmoid; print(sigmoid(0.0))"

    def test_installed_it_acts_on_the_variable_alone(self, environment):
        before = set(environment.folder.iterdir())
        for _ in range(2):  # again changes nothing
            done = environment("-m", "zerodl_c", "hook", "--install")
            (path,) = set(environment.folder.iterdir()) - before
            assert (done.returncode, done.stderr) == (0, "")
            assert done.stdout == f"wrote {path}: ZERODL_SWAP=1 swaps the engine in\n"
        assert path.suffix == ".pth" and len(path.read_text().splitlines()) == 1
        done = environment("-c", self.SWAPPED, ZERODL_SWAP="1")
        assert (done.stdout, done.stderr) == ("True\n0.5\n", "")
        for variables in ({}, {"ZERODL_SWAP": ""}, {"ZERODL_SWAP": "0"}):
            done = environment("-c", self.SWAPPED, **variables)
            assert done.stdout == "False\n"
            assert done.stderr.endswith("No module named 'common'\n")

    def test_removed_it_is_gone(self, environment):
        before = set(environment.folder.iterdir())
        environment("-m", "zerodl_c", "hook", "--install")
        for _ in range(2):
            done = environment("-m", "zerodl_c", "hook", "--remove")
            assert (done.returncode, done.stderr) == (0, "")
            assert "any more" in done.stdout
        assert set(environment.folder.iterdir()) == before
        assert environment("-c", self.SWAPPED, ZERODL_SWAP="1").stdout == "False\n"

    def test_without_it_the_variable_does_nothing(self, environment):
        assert environment("-c", self.SWAPPED, ZERODL_SWAP="1").stdout == "False\n"
        done = environment("-c", "import zerodl_c; " + self.SWAPPED, ZERODL_SWAP="1")
        assert done.stderr.endswith("No module named 'common'\n")

    def test_a_chapter_gives_what_run_gives(self, environment, tmp_path):
        write(tmp_path / "book", CHAPTER)
        environment("-m", "zerodl_c", "hook", "--install")
        os.chdir(tmp_path / "book/ch90")  # `elsewhere` changes back
        done = environment("train.py", "3", ZERODL_SWAP="1")
        assert (done.stdout, done.stderr) == (run("train.py", "3").stdout, "")
        assert done.stdout.endswith("zerodl_c.functions zerodl_c.multi_layer_net\n")

    def test_another_engine_than_the_hooks(self, environment, tmp_path):
        write(tmp_path / "book", CHAPTER)
        environment("-m", "zerodl_c", "hook", "--install")
        script = tmp_path / "book/ch90/train.py"
        done = environment("-m", "zerodl_c", "run", "--engine", "numpy", script, "3", ZERODL_SWAP="1")
        assert done.stderr == ""
        assert done.stdout.endswith("zerodl_c.reference.functions zerodl_c.reference.multi_layer_net\n")

    def test_neither_or_both(self, elsewhere):
        for options in ([], ["--install", "--remove"]):
            done = command("-m", "zerodl_c", "hook", *options)
            assert done.returncode == 2
            assert done.stderr.startswith("zerodl-c: error: ")

    def test_folder_that_cannot_be_written(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "missing"))
        assert cli.main(["hook", "--install"]) == 2
        path = tmp_path / "missing/zerodl_c_swap.pth"
        assert capsys.readouterr().err == f"zerodl-c: error: cannot write {path}: No such file or directory\n"

    @pytest.mark.parametrize(("option", "done"), [("--install", "write"), ("--remove", "remove")])
    def test_read_only_file_system(self, capsys, monkeypatch, tmp_path, option, done):
        # Simulated, because mounting one is forbidden to most users; it refuses to remove what is not there, too.
        def refuse(*_, **__):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
        monkeypatch.setattr(_files, "open", refuse, raising=False)
        monkeypatch.setattr(os, "unlink", refuse)
        assert cli.main(["hook", option]) == 2
        path = tmp_path / "zerodl_c_swap.pth"
        assert capsys.readouterr() == ("", f"zerodl-c: error: cannot {done} {path}: {os.strerror(errno.EROFS)}\n")
