"""The swap: scripts that import the book's `common` run on this engine, and `run` runs them as plain Python does."""

import errno
import importlib.abc
import importlib.util
import inspect
import os
import runpy
import shutil
import signal
import subprocess
import sys
import sysconfig
import textwrap
import types
import venv
import warnings
from importlib.machinery import SourceFileLoader
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from conftest import EDITION

import zerodl_c
from zerodl_c import _files, cli, reference
from zerodl_c.swap.modules import Finder

FUNCTIONS = (
    "np identity_function step_function sigmoid sigmoid_grad relu relu_grad softmax sum_squared_error "
    "mean_squared_error cross_entropy_error softmax_loss"
)
LAYERS = f"{FUNCTIONS} im2col col2im Relu Sigmoid Affine SoftmaxWithLoss Dropout BatchNormalization Convolution Pooling"
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

# A script's own `common`: the tests' edition of the book's, with more, and with a sigmoid of its own.
OWN = {f"common/{path.name}": path.read_text() for path in sorted((EDITION / "book/common").glob("*.py"))}
OWN["common/functions.py"] = OWN["common/functions.py"].replace("1.0 / (1.0 +", "1.5 / (1.5 + 0 *x +")
OWN["common/functions.py"] += textwrap.dedent(
    """
    def leaky_relu(x):
        return np.where(x > 0, x, 0.1 * x)


    def twice_softmax(x):
        return 2 * softmax(x)
    """
)
OWN["common/layers.py"] += textwrap.dedent(
    """
    class Scale:
        def forward(self, x):
            return 2 * x
    """
)
OWN["common/extra.py"] = "from common.functions import relu\n\n\ndef half(x):\n    return relu(x) / 2\n"
WITH_EDITION = os.pathsep.join([str(EDITION), *sys.path])


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
        assert not any(isinstance(finder, Finder) for finder in sys.meta_path)

    def test_another_engine_takes_the_place_of_the_first(self):
        zerodl_c.install()
        import common.functions  # noqa: F401

        zerodl_c.install("numpy")
        from common.functions import sigmoid

        assert sigmoid is reference.sigmoid
        assert sum(isinstance(finder, Finder) for finder in sys.meta_path) == 1

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

        assert half(1.0) == 0.5

    def test_reload_keeps_the_engine(self):
        zerodl_c.install()
        import common.functions

        common.functions.sigmoid = None
        assert importlib.reload(common.functions).sigmoid is zerodl_c.sigmoid


@pytest.mark.usefixtures("own")
class TestOwnCommon:
    @pytest.mark.parametrize("name", ["c", "numpy"])
    def test_what_is_the_books_is_the_engines_and_the_rest_stays(self, name):
        zerodl_c.install(name)
        engine = {"c": zerodl_c, "numpy": reference}[name]
        functions, layers = star("common.functions"), star("common.layers")
        own = {"sigmoid", "sigmoid_grad", "leaky_relu", "twice_softmax", "Sigmoid", "Scale"}
        for key in [*functions, *layers]:
            if key not in own | {"np"}:
                assert layers[key] is getattr(engine, key), key
        assert functions["sigmoid"](0.0) == 0.6
        assert layers["Sigmoid"]().forward(np.zeros(1)) == 0.6
        assert functions["sigmoid"].__module__ == "common.functions" and layers["Sigmoid"].__module__ == "common.layers"
        assert functions["leaky_relu"](-1.0) == -0.1
        assert functions["twice_softmax"](np.zeros(2)).tolist() == [1, 1]
        assert layers["Scale"]().forward(2) == 4
        assert star("common.multi_layer_net")["MultiLayerNet"].__module__ == "common.multi_layer_net"  # uses Sigmoid
        assert star("common.trainer")["Trainer"] is engine.Trainer

    def test_modules_that_the_book_has_not(self):
        zerodl_c.install()
        from common.extra import half, relu

        assert half(1.0) == 0.5 and relu is zerodl_c.relu

    def test_a_name_that_is_missing_stays_missing(self):
        zerodl_c.install()
        with pytest.raises(ImportError, match="cannot import name 'mean_squared_error' from"):
            from common.functions import mean_squared_error  # noqa: F401
        Path(sys.path[0], "common/util.py").unlink()
        importlib.invalidate_caches()
        with pytest.raises(ModuleNotFoundError, match=r"No module named 'common\.util'"):
            importlib.import_module("common.util")

    def test_the_first_printings_name_of_a_loss(self, tmp_path):
        path = tmp_path / "own/common/functions.py"
        path.write_text(path.read_text().replace("sum_squared_error", "mean_squared_error"))
        zerodl_c.install()
        assert star("common.layers")["mean_squared_error"] is zerodl_c.sum_squared_error

    def test_an_unrelated_project(self, tmp_path):
        text = "def shuffle_dataset(rows):\n    return rows[::-1]\n"
        (tmp_path / "own/common/util.py").write_text(text)
        zerodl_c.install()
        import common.util

        assert common.util.shuffle_dataset([1, 2]) == [2, 1]
        assert {name for name in vars(common.util) if name[:2] != "__"} == {"shuffle_dataset"}
        assert type(common.util) is types.ModuleType

    def test_what_a_module_shows_of_itself(self, tmp_path):
        zerodl_c.install()
        import common.functions

        path = tmp_path / "own/common/functions.py"
        assert common.functions.__file__ == str(path)
        assert inspect.getsource(common.functions) == path.read_text()
        assert inspect.getsource(common.functions.leaky_relu).startswith("def leaky_relu(x):\n")
        assert type(common.functions.__loader__) is type(common.functions.__spec__.loader) is SourceFileLoader
        assert common.functions.__doc__.startswith("What the tests' edition")
        assert not [name for name in vars(common.functions) if "zerodl" in name]

    def test_reload_looks_again(self, tmp_path):
        zerodl_c.install()
        import common.functions

        path = tmp_path / "own/common/functions.py"
        text = path.read_text()
        assert common.functions.relu is zerodl_c.relu
        path.write_text(text.replace("np.where(x > 0, x, 0.0)", "np.where(x > 1, x, 0.0)"))
        importlib.reload(common.functions)
        assert common.functions.relu(0.5) == 0 and common.functions.softmax is zerodl_c.softmax
        path.write_text(text)
        assert importlib.reload(common.functions).relu is zerodl_c.relu

    @pytest.mark.parametrize("again", [importlib.reload, lambda module: sys.modules.pop(module.__name__)])
    def test_a_module_made_again_has_no_patches(self, monkeypatch, again):
        """As with plain python, where its classes are new ones."""
        zerodl_c.install()
        layers = importlib.import_module("common.layers")
        with monkeypatch.context() as patches:
            patches.setattr(layers.Affine, "forward", lambda self, x: "patched")
            patches.setattr(layers.Relu, "count", 0, raising=False)
            patched = layers.Affine
            again(layers)
            layers = importlib.import_module("common.layers")
            assert layers.Affine(np.eye(2), 0.0).forward(np.ones((1, 2))).tolist() == [[1, 1]]
            assert patched(1, 2).forward(3) == "patched" and not hasattr(layers.Relu, "count")
            assert layers.Dropout is zerodl_c.Dropout
        again(layers)
        assert importlib.import_module("common.layers").Affine is zerodl_c.Affine

    def test_imported_before_is_changed_in_place(self):
        functions = importlib.import_module("common.functions")
        layers = importlib.import_module("common.layers")
        before = dict(vars(functions)), dict(vars(layers))
        zerodl_c.install()
        assert functions.softmax is layers.softmax is zerodl_c.softmax
        assert layers.SoftmaxWithLoss is zerodl_c.SoftmaxWithLoss
        assert functions.sigmoid(0.0) == 0.6 and layers.Sigmoid.__module__ == "common.layers"
        assert importlib.import_module("common.functions") is functions
        zerodl_c.uninstall()
        assert (vars(functions), vars(layers)) == before

    def test_what_is_in_use_before_stays(self, tmp_path):
        with open(tmp_path / "own/common/layers.py", "a") as file:
            file.write("\nclass Wide(Affine):\n    pass\n\n\nTABLE = {'relu': Relu}\nPooling.backward = None\n")
        layers = importlib.import_module("common.layers")
        own = layers.Affine, layers.Relu, layers.Pooling
        zerodl_c.install()
        assert own == (layers.Affine, layers.Relu, layers.Pooling) and layers.Dropout is zerodl_c.Dropout

    def test_warns_of_what_it_cannot_reach(self):
        importlib.import_module("common.extra")
        with pytest.warns(UserWarning, match=r"relu in common\.extra") as caught:
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
        assert module.half(0.0) == 0

    def test_what_another_loader_makes_stays(self, monkeypatch):
        class Module(types.ModuleType):
            pass

        class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path, target=None):
                return importlib.util.spec_from_loader(name, self) if name == "common.util" else None

            def create_module(self, spec):
                return Module(spec.name)

            def exec_module(self, module):
                module.im2col = module.col2im = 1

        # Python passes over a finder that has no find_spec
        monkeypatch.setattr(sys, "meta_path", [Finder(), object(), *sys.meta_path])
        zerodl_c.install()
        layers = star("common.layers")
        assert type(sys.modules["common.util"]) is Module and layers["im2col"] == 1
        assert layers["Affine"] is zerodl_c.Affine and layers["Convolution"].__module__ == "common.layers"
        zerodl_c.uninstall()

    def test_uninstall_restores_everything(self):
        import common.functions

        before = of_common(), list(sys.meta_path), dict(vars(common)), dict(vars(common.functions))
        zerodl_c.install()
        from common.layers import Affine

        assert Affine is zerodl_c.Affine
        del sys.modules["common.functions"]
        importlib.import_module("common.functions")
        zerodl_c.uninstall()
        assert (of_common(), list(sys.meta_path), vars(common), vars(common.functions)) == before
        assert importlib.import_module("common.layers").Affine is not zerodl_c.Affine

    def test_uninstall_without_install(self):
        import common.functions

        before = of_common(), list(sys.meta_path)
        zerodl_c.uninstall()
        assert (of_common(), list(sys.meta_path)) == before
        assert common.functions.softmax.__module__ == "common.functions"

    @pytest.mark.parametrize("text", ["raise RuntimeError('broken')", "x = (", "import numpy\0"])
    def test_a_module_that_fails_fails_as_before(self, tmp_path, text):
        (tmp_path / "own/common/functions.py").write_text(text)
        with pytest.raises(Exception) as plain:
            importlib.import_module("common.functions")
        zerodl_c.install()
        for _ in range(2):
            with pytest.raises(plain.type) as raised:
                importlib.import_module("common.functions")
            assert str(raised.value) == str(plain.value)

    def test_folder_without_init(self, tmp_path):
        (tmp_path / "own/common/__init__.py").unlink()
        zerodl_c.install()
        assert importlib.import_module("common.extra").relu is zerodl_c.relu

    def test_in_a_zip(self, tmp_path):
        shutil.make_archive(tmp_path / "book", "zip", tmp_path / "own")
        sys.path[0] = str(tmp_path / "book.zip")
        zerodl_c.install()
        assert importlib.import_module("common.layers").Affine is zerodl_c.Affine
        from common.functions import leaky_relu

        assert inspect.getsource(leaky_relu).startswith("def leaky_relu(x):\n") and leaky_relu(-1.0) == -0.1

    def test_a_file_and_no_package(self, tmp_path):
        write(tmp_path / "file", {"common.py": "def softmax(x):\n    return 'own'\n"})
        sys.path.insert(0, str(tmp_path / "file"))
        zerodl_c.install()
        import common

        assert common.softmax(1) == "own"
        with pytest.raises(ModuleNotFoundError, match="'common' is not a package"):
            importlib.import_module("common.functions")

    def test_modules_that_must_not_be_imported(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "common.functions", None)
        zerodl_c.install()
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("common.functions")
        zerodl_c.uninstall()
        assert sys.modules.pop("common.functions") is None

    def test_run_as_a_module(self, capsys):
        zerodl_c.install()
        path = Path(sys.path[0], "common/util.py")
        path.write_text(path.read_text() + "\nif __name__ == '__main__':\n    print(im2col.__module__)\n")
        runpy.run_module("common.util", run_name="__main__")
        assert capsys.readouterr().out == "__main__\n"

    def test_a_finder_that_somebody_removed(self):
        zerodl_c.install()
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Finder)]
        zerodl_c.install()
        assert importlib.import_module("common.layers").Affine is zerodl_c.Affine
        sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, Finder)]
        zerodl_c.uninstall()
        assert not of_common()

    def test_the_swaps_own_module_reloaded(self):
        zerodl_c.install()
        importlib.reload(sys.modules["zerodl_c.swap.installing"]).install("numpy")
        assert importlib.import_module("common.layers").Affine is reference.Affine
        assert sum(isinstance(finder, Finder) for finder in sys.meta_path) == 1
        zerodl_c.swap.installing.uninstall()


@pytest.mark.usefixtures("own")
class TestPatches:
    """What a script replaces later takes effect as with plain python."""

    X = np.array([[0.5, 1.5], [2.5, 0.0]])
    T = np.array([0, 1])

    @pytest.fixture
    def layers(self, own):
        zerodl_c.install()
        return importlib.import_module("common.layers")

    def test_a_function_that_a_layer_uses(self, layers):
        loss = layers.SoftmaxWithLoss()
        before = loss.forward(self.X, self.T)
        with mock.patch.object(layers, "softmax", lambda x: np.full(x.shape, 0.25)):
            assert loss.forward(self.X, self.T) == pytest.approx(-np.log(0.25), abs=1e-6)
            assert layers.SoftmaxWithLoss is zerodl_c.SoftmaxWithLoss
            assert (loss.backward() == [[-0.375, 0.125], [0.125, -0.375]]).all()
        assert loss.forward(self.X, self.T) == before
        assert zerodl_c.SoftmaxWithLoss.forward.__module__ != "common.layers"

    def test_a_function_that_a_function_uses(self, layers):
        import common.functions

        before = common.functions.softmax_loss(self.X, self.T)
        common.functions.softmax = lambda x: np.full(x.shape, 0.25)
        assert common.functions.softmax_loss(self.X, self.T) == pytest.approx(-np.log(0.25), abs=1e-6)
        assert layers.softmax_loss is common.functions.softmax_loss  # and its own softmax is as it was
        assert layers.SoftmaxWithLoss().forward(self.X, self.T) == before
        del common.functions.softmax
        with pytest.raises(NameError):
            common.functions.softmax_loss(self.X, self.T)
        common.functions.softmax = zerodl_c.softmax
        assert common.functions.softmax_loss is layers.softmax_loss is zerodl_c.softmax_loss

    def test_a_mock_of_im2col(self, layers):
        convolution = layers.Convolution(np.ones((1, 1, 2, 2)), np.zeros(1))
        images = np.random.rand(2, 1, 3, 3)
        with mock.patch("common.layers.im2col", wraps=layers.im2col) as im2col:
            got = convolution.forward(images)
            convolution.backward(got)
        assert im2col.call_count == 1
        np.testing.assert_allclose(got, convolution.forward(images), rtol=1e-12)

    def test_a_layer_that_a_net_uses(self, own, tmp_path):
        path = tmp_path / "own/common/functions.py"
        path.write_text(path.read_text().replace("1.5 / (1.5 + 0 *x +", "1.0 / (1.0 +"))
        zerodl_c.install()
        import common.multi_layer_net
        from common.multi_layer_net_extend import MultiLayerNetExtend

        class Leaky(common.multi_layer_net.Relu):
            pass

        assert common.multi_layer_net.MultiLayerNet is zerodl_c.MultiLayerNet
        extended = MultiLayerNetExtend(2, [3], 2, use_dropout=True)
        common.multi_layer_net.Relu = Leaky
        net = common.multi_layer_net.MultiLayerNet(2, [3], 2)
        assert type(net.layers["Activation_function1"]) is Leaky
        assert net.gradient(self.X, self.T).keys() == {"W1", "b1", "W2", "b2"}
        np.random.seed(0)
        grads = extended.gradient(self.X, self.T)
        zerodl_c.uninstall()
        np.random.seed(0)
        assert (extended.gradient(self.X, self.T)["W1"] == grads["W1"]).all()
        assert type(zerodl_c.MultiLayerNet(2, [3], 2).layers["Activation_function1"]) is zerodl_c.Relu

    def test_numpy(self, layers):
        import common.functions

        common.functions.np = types.SimpleNamespace(where=lambda *_: "own")
        assert common.functions.relu(1.0) == layers.relu(1.0) == "own"
        common.functions.np = np
        assert common.functions.relu is layers.relu is zerodl_c.relu

    def test_uninstall_undoes_them(self, layers):
        forward = zerodl_c.SoftmaxWithLoss.forward
        layers.softmax = None
        assert zerodl_c.SoftmaxWithLoss.forward is not forward
        zerodl_c.uninstall()
        assert zerodl_c.SoftmaxWithLoss.forward is forward


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


def test_extension_of_ipython():
    zerodl_c.load_ipython_extension(None)
    try:
        assert importlib.import_module("common.layers").Affine is zerodl_c.Affine
    finally:
        zerodl_c.unload_ipython_extension(None)
    assert not of_common()


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
        c, numpy = (run(*options, script, "3", PYTHONPATH=WITH_EDITION) for options in ([], ["--engine", "numpy"]))
        assert (c.stderr, numpy.stderr) == ("", "")
        *in_c, last = c.stdout.splitlines()
        *in_numpy, numpy_last = numpy.stdout.splitlines()
        if with_own:
            assert last == numpy_last == "common.functions common.multi_layer_net"
        else:
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

    @pytest.mark.parametrize(
        "text",
        [
            "import sys; print(sys.argv, __name__, sys.path[0])",
            "import sys; print(__package__, __spec__, sorted(set(globals()) - {'__annotations__'}))",
            "import sys; sys.exit(3)",
            "def f():\n    1 / 0\nf()",
            "x = (",
        ],
    )
    def test_a_program_on_the_command_line(self, text):
        done, plain = run("-c", text, "-x", "--"), command("-c", text, "-x", "--")
        assert alike(done, plain), (done, plain)

    @pytest.mark.parametrize("name", ["module", "package", "package.module", "missing", "package.missing", "broken.x"])
    def test_a_module(self, tmp_path, name):
        text = "import sys\nprint(sys.argv, __name__, __package__, __spec__.name, __file__, sys.path[0])\n1 / 0\n"
        files = {"module.py": text, "package/__init__.py": "", "package/module.py": text, "broken/__init__.py": "1 / 0"}
        write(tmp_path, {**files, "package/__main__.py": text})
        done, plain = run("-m", name, "-x", "--"), command("-m", name, "-x", "--")
        assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
        assert done.stderr.splitlines()[-1] == plain.stderr.splitlines()[-1]

    def test_both_are_swapped(self, tmp_path):
        write(tmp_path, {"module.py": "from common.functions import sigmoid\nprint(sigmoid.__module__)"})
        for arguments in (["-m", "module"], ["-c", "import module"], ["module.py"]):
            assert run(*arguments).stdout == "zerodl_c.functions\n"

    def test_a_notebook_is_refused(self, tmp_path):
        write(tmp_path, {"a.ipynb": "{}"})
        done = run("a.ipynb")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "zerodl-c: error: a.ipynb is a notebook: call zerodl_c.install() in its first cell, before the first "
            "import of common\n"
        )

    @pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"])
    @pytest.mark.parametrize("way", ["run", "install", "-m"])
    def test_children(self, tmp_path, method, way):
        if os.name == "nt" and method != "spawn":
            pytest.skip("Windows has spawn alone")
        text = """
            import multiprocessing
            import sys
            from common.functions import softmax
            from helper import number

            def work(i):
                return softmax.__module__, number(i), __name__.replace("__mp_main__", "__main__")

            if __name__ == "__main__":
                with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
                    print(*pool.map(work, [1, 2]), multiprocessing.current_process().name)
            """
        write(tmp_path, {"a/script.py": text, "a/helper.py": "from common.layers import Relu\nnumber = abs\n"})
        if way == "install":
            path = tmp_path / "a/script.py"
            path.write_text("import zerodl_c\nif __name__ == '__main__':\n    zerodl_c.install()\n" + path.read_text())
            done = command(path, method)
        elif way == "run":
            done = run("a/script.py", method)
        else:
            os.chdir("a")
            done = run("-m", "script", method)
        one, two = (f"('zerodl_c.functions', {i}, '__main__')" for i in (1, 2))
        assert (done.stdout, done.stderr) == (f"{one} {two} MainProcess\n", "")

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

    def test_both(self, elsewhere):
        done = command("-m", "zerodl_c", "hook", "--install", "--remove")
        assert done.returncode == 2
        assert done.stderr.startswith("zerodl-c: error: ")

    def test_without_an_option_it_says_whether_it_is_installed(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
        path = tmp_path / "zerodl_c_swap.pth"
        for option, told in (([], "is no"), (["--install"], None), ([], "is a"), (["--remove"], None), ([], "is no")):
            assert cli.main(["hook", *option]) == 0
            out = capsys.readouterr().out
            assert not told or out.startswith(f"there {told} {path}: ZERODL_SWAP=1 ")

    @pytest.mark.parametrize("value", ["c", "numpy", "1"])
    def test_the_engine_that_is_asked_for(self, environment, value):
        environment("-m", "zerodl_c", "hook", "--install")
        done = environment("-c", "from common.functions import sigmoid as s; print(s.__module__)", ZERODL_SWAP=value)
        module = "zerodl_c.reference.functions" if value == "numpy" else "zerodl_c.functions"
        assert (done.stdout, done.stderr) == (f"{module}\n", "")

    def test_another_value_is_warned_of(self, environment):
        environment("-m", "zerodl_c", "hook", "--install")
        done = environment("-c", "import common", ZERODL_SWAP="yes")
        assert "UserWarning: ZERODL_SWAP must be c, numpy, 1 for c, or 0 or empty for neither, got 'yes'" in done.stderr
        assert done.stderr.endswith("No module named 'common'\n")

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
