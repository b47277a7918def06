"""The swap: scripts that import the book's `common` run on this engine, and `run` runs them as plain Python does."""

import importlib
import sys
import textwrap
import warnings

import numpy as np
import pytest

import zerodl_c
from zerodl_c import dropin, reference

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
    done = python("import sys; before = list(sys.meta_path); import zerodl_c; print(sys.meta_path == before)")
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert "No module named 'common'" in python("import zerodl_c, common.functions").stderr
