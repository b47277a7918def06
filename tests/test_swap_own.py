"""Scripts with a `common` of their own, in the manner of people's: each prints what it prints with plain python.

`edition/book/common` is the tests' edition of the book's; what people have changed in theirs is done to copies of it.
"""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from conftest import EDITION

FIRST = "import sys, zerodl_c\nzerodl_c.install()\nsys.argv[0] = 'script.py'\nexec(open('script.py').read())\n"
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")

TRAINING = """
    import numpy as np
    from common.multi_layer_net import MultiLayerNet
    from common.multi_layer_net_extend import MultiLayerNetExtend
    from common.trainer import Trainer

    np.random.seed(0)
    x, t = np.random.rand(40, 6), np.arange(40) % 3
    nets = MultiLayerNet(6, [5], 3), MultiLayerNetExtend(6, [5, 4], 3, use_batchnorm=True, use_dropout=True)
    for net in nets:
        trainer = Trainer(net, x, t, x, t, epochs=3, mini_batch_size=10, optimizer="Adam", verbose=False)
        trainer.train()
        print(*trainer.train_loss_list, *trainer.test_acc_list, trainer.current_epoch)
    """
IMAGES = """
    import numpy as np
    from common.layers import *

    np.random.seed(0)
    x = np.random.rand(4, 2, 6, 6)
    layers = [Convolution(np.random.randn(3, 2, 3, 3), np.zeros(3)), BatchNormalization(np.ones(48), np.zeros(48)),
              Relu(), Pooling(2, 2), Affine(np.random.randn(12, 5), np.zeros(5)), Sigmoid()]
    for layer in layers:
        x = layer.forward(x)
    print(*x.ravel())
    dout = np.random.rand(*x.shape)
    for layer in reversed(layers):
        dout = layer.backward(dout)
    print(*dout.ravel()[:20])
    """


class Copy(NamedTuple):
    """Somebody's copy of `common`: what is replaced in its files ("" is before the end), and the script."""

    edits: list[tuple[str, str, str]]
    script: str
    own: str  # the book's names that stay the script's own


COPIES = {
    "the book's": Copy([], TRAINING, ""),
    "float32 images": Copy([], IMAGES.replace("(4, 2, 6, 6)", "(4, 2, 6, 6).astype(np.float32)"), ""),
    "the book's, reformatted": Copy(
        [
            (
                "layers",
                "    def forward(self, x):\n        self.mask",
                "    def forward(self, x: np.ndarray) -> \\\n"
                "            np.ndarray:\n        'The larger one'\n        self.mask",
            ),
            ("functions", "def sigmoid(x):", "\n# between 0 and 1\ndef sigmoid(x : float):\n    '''S'''"),
        ],
        TRAINING + "print(x[0])",
        "",
    ),
    "annotations for type checkers alone": Copy(
        [
            ("functions", "import numpy as np", "from __future__ import annotations\nimport numpy as np"),
            ("functions", "def softmax(x)", "def softmax(x: Floats) -> Floats"),
            ("layers", "import numpy as np", "from __future__ import annotations\nimport numpy as np"),
            ("layers", "def forward(self, x, t)", "def forward(self, x: Floats, t: Labels)"),
        ],
        """
        import numpy as np
        import common.functions
        from common.layers import SoftmaxWithLoss
        x, t = np.array([[0.5, 1.5], [2.5, 0.0]]), np.array([0, 1])
        print(SoftmaxWithLoss().forward(x, t), common.functions.softmax(x))
        common.functions.np = None
        try:
            common.functions.softmax(x)
        except AttributeError as error:
            print(error)
        common.functions.np = np
        """,
        "",
    ),
    "a function": Copy(
        [("functions", "powers = np.exp(x", "powers = np.exp(0.5 * x")],
        TRAINING,
        "functions.softmax functions.softmax_loss layers.SoftmaxWithLoss multi_layer_net.MultiLayerNet "
        "multi_layer_net_extend.MultiLayerNetExtend",
    ),
    "dropout inverted": Copy(
        [
            ("layers", "return x * self.mask", "return x * self.mask / (1 - self.dropout_ratio)"),
            ("layers", "return x * (1.0 - self.dropout_ratio)", "return x"),
        ],
        TRAINING,
        "layers.Dropout multi_layer_net_extend.MultiLayerNetExtend",
    ),
    "a default": Copy(
        [("layers", "stride=2, pad=0", "stride=1, pad=0"), ("layers", "momentum=0.9,", "momentum=0.5,")],
        IMAGES.replace("12, 5", "27, 5"),
        "layers.Pooling layers.BatchNormalization",
    ),
    "a signature": Copy(
        [("layers", "def forward(self, x, t):", "def forward(self, t, x):")],
        """
        import numpy as np
        from common.layers import SoftmaxWithLoss
        loss = SoftmaxWithLoss()
        print(loss.forward(np.array([0, 1]), np.array([[0.5, 1.5], [2.5, 0.0]])), loss.backward())
        """,
        "layers.SoftmaxWithLoss",
    ),
    "batch normalization by channel": Copy(
        [
            (
                "layers",
                "return self.__forward(x.reshape(len(x), -1), train_flg).reshape(x.shape)",
                """
        rows = x.transpose(0, 2, 3, 1).reshape(-1, x.shape[1])
        out = self.__forward(rows, train_flg)
        return out.reshape(len(x), *x.shape[2:], -1).transpose(0, 3, 1, 2)""",
            )
        ],
        """
        import numpy as np
        from common.layers import BatchNormalization
        np.random.seed(0)
        print(BatchNormalization(np.ones(3), np.zeros(3)).forward(np.random.rand(5, 3, 2, 2)).ravel())
        """,
        "layers.BatchNormalization",
    ),
    "a trainer that counts epochs otherwise": Copy(
        [("trainer", "self.current_epoch += 1", "self.current_epoch += 2")], TRAINING, "trainer.Trainer"
    ),
    "an optimizer": Copy(
        [("optimizer", "rate = self.lr", "rate = 0.5 * self.lr")], TRAINING, "optimizer.Adam trainer.Trainer"
    ),
    "a loss with the arguments the other way round": Copy(
        [("functions", "def cross_entropy_error(y, t):", "def cross_entropy_error(t, y):")],
        """
        import numpy as np
        from common.functions import cross_entropy_error
        print(cross_entropy_error(np.array([1]), np.array([[0.25, 0.75]])))
        """,
        "functions.cross_entropy_error functions.softmax_loss",
    ),
    "a subclass and a table": Copy(
        [
            (
                "layers",
                "",
                """
class ScaledAffine(Affine):
    def forward(self, x):
        return 2 * super().forward(x)


KINDS = {"affine": Affine, "relu": Relu}
""",
            )
        ],
        """
        import numpy as np
        from common.layers import *
        from common.multi_layer_net import MultiLayerNet
        np.random.seed(0)
        layers = [ScaledAffine(np.random.rand(3, 4), np.zeros(4)), KINDS["relu"](), KINDS["affine"](np.ones((4, 2)), 1)]
        net = MultiLayerNet(3, [4], 2)
        print(sum(isinstance(layer, Affine) for layer in [*layers, *net.layers.values()]), KINDS["affine"] is Affine)
        x = np.random.rand(5, 3)
        for layer in layers:
            x = layer.forward(x)
        print(x, isinstance(net.layers["Affine1"], KINDS["affine"]))
        """,
        "",
    ),
    "a name bound again": Copy(
        [
            (
                "layers",
                "",
                "\n\nclass Softplus(Relu):\n    def forward(self, x):\n        return np.log1p(np.exp(x))\n\n\n"
                "    def backward(self, dout):\n        return dout\n\n\nRelu = Softplus\n",
            )
        ],
        TRAINING,
        "multi_layer_net.MultiLayerNet multi_layer_net_extend.MultiLayerNetExtend",
    ),
    "a method patched in the module": Copy(
        [
            (
                "layers",
                "",
                "\n\ndef _doubled(self, x):\n    return np.maximum(2 * (x.reshape(len(x), -1) @ self.W), -1)\n"
                "\n\nAffine.forward = _doubled\n",
            )
        ],
        """
        import numpy as np
        from common.layers import Affine
        print(Affine(np.eye(2), np.zeros(2)).forward(np.array([[1.5, -3.5]])))
        """,
        "layers.Affine",
    ),
    "a decorator": Copy(
        [("functions", "def sigmoid(x)", "def _half(f):\n    return lambda x: f(x) / 2\n\n\n@_half\ndef sigmoid(x)")],
        IMAGES,
        "functions.sigmoid functions.sigmoid_grad layers.Sigmoid",
    ),
    "another softmax imported": Copy(
        [
            ("layers", "from common.util", "from common.mine import softmax\nfrom common.util"),
            (
                "mine",
                "",
                "import numpy as np\n\n\ndef softmax(x):\n    return (1 + x**2) / (1 + x**2).sum(axis=-1, "
                "keepdims=True)\n",
            ),
        ],
        TRAINING,
        "layers.SoftmaxWithLoss multi_layer_net.MultiLayerNet multi_layer_net_extend.MultiLayerNetExtend",
    ),
    "an import below": Copy(
        [("functions", "", "\n\nfrom common.mine import *\n"), ("mine", "", "def sigmoid(x):\n    return x / 2\n")],
        IMAGES,
        "functions.sigmoid_grad functions.softmax layers.Sigmoid",
    ),
    "np is not NumPy": Copy(
        [
            ("functions", "import numpy as np", "import common.slow as np"),
            ("slow", "", "from numpy import *\nimport numpy\n\n\ndef exp(x):\n    return numpy.exp(x) * (1 + 1e-6)\n"),
        ],
        """
        from common.functions import *
        import numpy
        print(sigmoid(numpy.array([0.5, 1.5])), softmax(numpy.array([0.5, 1.5])))
        """,
        "functions.sigmoid functions.softmax",
    ),
    "a builtin": Copy(
        [("gradient", "import numpy as np", "import numpy as np\n\n\ndef range(n):\n    return [0]\n")],
        """
        import numpy as np
        from common.gradient import numerical_gradient_2d
        print(numerical_gradient_2d(lambda x: np.sum(x**2), np.array([1.5, 2.5])))
        """,
        "gradient._numerical_gradient_1d gradient.numerical_gradient_2d",
    ),
    "a name that is missing": Copy(
        [("layers", "class Dropout:", "class Spare:")],
        """
        try:
            from common.layers import Dropout
        except ImportError:
            print("no Dropout")
        import common.layers
        print(hasattr(common.layers, "Dropout"), hasattr(common.layers, "mean_squared_error"))
        """,
        "",
    ),
    "another name for the book's": Copy(
        [("layers", "class Relu:", "class ReLU:"), ("layers", "class Pooling:", "class MaxPooling:")],
        IMAGES.replace("Relu()", "ReLU()").replace("Pooling(2", "MaxPooling(2")
        + "print(*(type(layer).__name__ for layer in layers))\n    ",
        "",
    ),
    "a module whose own part fails": Copy(
        [("layers", "", "\n\ndef own(x):\n    '''\\d'''\n    return Affine(x, x).forward(x.y)\n")],
        """
        import traceback
        from common.layers import own
        try:
            own(1.5)
        except AttributeError:
            print(traceback.format_exc().partition("common")[2])
        """,
        "",
    ),
    "a function replaced later": Copy(
        [],
        """
        import numpy as np
        import common.layers
        from common.layers import SoftmaxWithLoss
        from common.multi_layer_net import MultiLayerNet
        np.random.seed(0)
        net, x, t = MultiLayerNet(4, [3], 2), np.random.rand(5, 4), np.arange(5) % 2
        print(net.loss(x, t), *net.gradient(x, t)["b1"])
        before, common.layers.softmax = common.layers.softmax, lambda x: (1 + x**2) / (1 + x**2).sum(axis=1)[:, None]
        print(net.loss(x, t), *net.gradient(x, t)["b1"], SoftmaxWithLoss().forward(x[:, :2], t))
        common.layers.softmax = before
        print(net.loss(x, t), *net.gradient(x, t)["b1"])
        """,
        "",
    ),
    "methods and layers replaced later": Copy(
        [],
        """
        import numpy as np
        import common.multi_layer_net
        from common.layers import Affine, Relu
        from common.multi_layer_net import MultiLayerNet

        class Leaky(Relu):
            def forward(self, x):
                return np.where(x > 0, x, 0.1 * x) + 0 * super().forward(x)

        np.random.seed(0)
        x, t = np.random.rand(5, 4), np.arange(5) % 2
        common.multi_layer_net.Relu = Leaky
        net = MultiLayerNet(4, [3], 2)
        print(net.loss(x, t), *net.gradient(x, t)["b1"], type(net.layers["Activation_function1"]).__name__)
        forward = Affine.forward
        Affine.forward = lambda self, x: 2 * forward(self, x)
        print(net.loss(x, t), *net.gradient(x, t)["b1"])
        """,
        "multi_layer_net.MultiLayerNet",
    ),
    "a mock": Copy(
        [],
        """
        from unittest import mock
        import numpy as np
        import common.layers
        from common.layers import Convolution, Pooling
        with mock.patch("common.layers.im2col", wraps=common.layers.im2col) as im2col:
            y = Convolution(np.ones((1, 1, 2, 2)), 0.5).forward(np.arange(25.0).reshape(1, 1, 5, 5))
            print(im2col.call_count, y, Pooling(2, 2).forward(y))
        """,
        "",
    ),
    "subclasses of layers with methods of their own": Copy(
        [],
        """
        import numpy as np
        from common.layers import *
        from common.multi_layer_net import MultiLayerNet

        class Weighted(SoftmaxWithLoss):
            def backward(self, dout=1):
                return 3 * super().backward(dout)

        class Shifted(BatchNormalization):
            def forward(self, x, train_flg=True):
                return BatchNormalization.forward(self, x, train_flg) + 1

        np.random.seed(0)
        net, x, t = MultiLayerNet(4, [3], 2), np.random.rand(5, 4), np.arange(5) % 2
        net.last_layer = Weighted()
        net.layers["Affine2"] = Affine(net.params["W2"], net.params["b2"])
        print(net.loss(x, t), *net.gradient(x, t)["b1"])
        net.layers["Shifted"] = Shifted(np.ones(2), np.zeros(2))
        print(net.loss(x, t), *net.gradient(x, t)["b1"], isinstance(net.last_layer, SoftmaxWithLoss))
        layer = BatchNormalization(np.ones(8), np.zeros(8))
        print(*layer.forward(1 + 0.5 * np.random.rand(50, 8))[0], *layer.backward(np.random.rand(50, 8))[0])
        """,
        "",
    ),
    "a way around a convolution, added in place": Copy(
        [],
        """
        import numpy as np
        from common.layers import Convolution
        np.random.seed(0)
        x, layer = np.random.rand(2, 2, 4, 4), Convolution(np.random.rand(2, 2, 3, 3), np.zeros(2), 1, 1)
        x += layer.forward(x)
        print(x.ravel(), layer.backward(x).ravel(), layer.dW.ravel(), layer.col.ravel()[:20])
        """,
        "",
    ),
    "nets and optimizers told apart": Copy(
        [],
        """
        import warnings
        import numpy as np
        from common.multi_layer_net import MultiLayerNet
        from common.multi_layer_net_extend import MultiLayerNetExtend
        from common.optimizer import *
        warnings.simplefilter("ignore")
        np.random.seed(0)
        nets, x, t = [kind(4, [3], 2) for kind in (MultiLayerNet, MultiLayerNetExtend)], np.eye(4), np.arange(4) % 2
        MultiLayerNet.accuracy = lambda self, x, t: 42.0
        for net in nets:
            net.params["W1"], net.weight_decay_lambda = 2 * net.params["W1"], 0.5
            print(isinstance(net, MultiLayerNet), net.accuracy(x, t), *net.gradient(x, t)["W1"].ravel())
        print(isinstance(Nesterov(), Momentum))
        """,
        "",
    ),
    "a net with another loss": Copy(
        [
            (
                "multi_layer_net",
                "",
                "\n\nclass Named(MultiLayerNet):\n    def loss(self, x, t):\n        return 2 * super().loss(x, t)\n",
            )
        ],
        """
        import numpy as np
        from common.multi_layer_net import MultiLayerNet, Named
        np.random.seed(0)
        net, x, t = Named(4, [3], 2), np.random.rand(5, 4), np.arange(5) % 2
        print(net.loss(x, t), *net.gradient(x, t)["W1"].ravel(), *net.numerical_gradient(x, t)["b2"])
        """,
        "",
    ),
}


def start(command, folder, stderr=subprocess.PIPE, **environment):
    """A process in `folder`, for which the tests' edition is one of the book's."""
    path = os.pathsep.join([str(EDITION), *map(os.path.abspath, filter(os.path.isdir, sys.path))])
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        timeout=60,
    )


def printed(*command, folder, **environment):
    done = start(command, folder, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def write_copy(folder: Path, edits, script):
    shutil.copytree(EDITION / "book/common", folder / "common", ignore=shutil.ignore_patterns("__pycache__"))
    for module, old, new in edits:
        path = folder / f"common/{module}.py"
        text = path.read_text() if path.exists() else ""
        assert old in text
        path.write_text(text.replace(old, new, 1) if old else text + new)
    (folder / "script.py").write_text(textwrap.dedent(script))


def assert_alike(text, plain):
    """Equal texts, and numbers to 1e-10."""
    assert NUMBER.sub("#", text) == NUMBER.sub("#", plain)
    numbers = [np.array(NUMBER.findall(of), float) for of in (text, plain)]
    np.testing.assert_allclose(*numbers, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_prints_what_it_prints_with_plain_python(tmp_path, hooked, name):
    edits, script, own = COPIES[name]
    write_copy(tmp_path, edits, script)
    plain, _ = printed(sys.executable, "script.py", folder=tmp_path)
    run = [sys.executable, "-m", "zerodl_c", "run", "--report", "--verify=all", "script.py"]
    by_run, report = printed(*run, folder=tmp_path)
    if list(COPIES).index(name) % 2:  # these two replace alike, but for when they begin
        otherwise, _ = printed(sys.executable, "-c", FIRST, folder=tmp_path)
    else:
        otherwise, _ = printed(hooked, "script.py", folder=tmp_path, ZERODL_SWAP="1")
    assert plain
    assert_alike(by_run, plain)
    assert_alike(otherwise, plain)
    assert re.search(r"^zerodl-c: --verify: ([\d,]+) of \1 calls? compared, no difference$", report, re.M)
    line = next((line for line in report.splitlines() if "the script's own in common: " in line), "")
    reasons = dict(re.findall(r"(\w+\.\w+) \(([^)]*)\)", line))
    assert own.split() == [] or set(own.split()) <= reasons.keys(), line
    if own == "":
        assert not reasons, line


def test_layers_that_were_pickled_with_plain_python(tmp_path):
    made = """
        import pickle
        import numpy as np
        from common.layers import *
        np.random.seed(0)
        x = np.random.rand(4, 1, 6, 6)
        layers = [Convolution(np.random.randn(2, 1, 3, 3), np.zeros(2)),
                  BatchNormalization(np.ones(32), np.zeros(32)), Relu(), Pooling(2, 2), Sigmoid()]
        for layer in layers:
            x = layer.forward(x)
        pickle.dump(layers, open("layers.pickle", "wb"))
        """
    script = """
        import pickle
        import numpy as np
        layers, dout = pickle.load(open("layers.pickle", "rb")), np.linspace(1, 2, 32).reshape(4, 2, 2, 2)
        for layer in reversed(layers):
            dout = layer.backward(dout)
        print(*dout.ravel(), *layers[0].dW.ravel(), *layers[1].dgamma, *layers[0].col[0], *layers[1].xc[0])
        print(*layers[1].forward(layers[0].forward(dout)).ravel())
        """
    write_copy(tmp_path, [], script)
    (tmp_path / "made.py").write_text(textwrap.dedent(made))
    run = [sys.executable, "-m", "zerodl_c", "run", "--verify=all"]
    printed(sys.executable, "made.py", folder=tmp_path)
    plain, _ = printed(sys.executable, "script.py", folder=tmp_path)
    for _ in range(2):  # and then of a pickle of the engine's
        assert_alike(printed(*run, "script.py", folder=tmp_path)[0], plain)
        printed(*run, "made.py", folder=tmp_path)


def test_verify_knows_that_little_is_left_of_a_small_difference(tmp_path):
    script = """
        import numpy as np
        from common.layers import BatchNormalization
        for spread in (1e-2, 1e-4, 1e-6):
            layer = BatchNormalization(np.ones(8), np.zeros(8))
            layer.forward(1 + spread * np.random.rand(50, 8))
            layer.backward(np.random.rand(50, 8))
        """
    write_copy(tmp_path, [], script)
    _, told = printed(sys.executable, "-m", "zerodl_c", "run", "--verify=all", "script.py", folder=tmp_path)
    assert told == "zerodl-c: --verify: 6 of 6 calls compared, no difference\n"


def test_verify_stops_where_what_was_replaced_cannot_take_effect(tmp_path):
    script = """
        import numpy as np
        import common.functions
        kept = [common.functions.softmax_loss]
        x, t = np.ones((2, 2)), np.array([0, 1])
        print(kept[0](x, t))
        common.functions.softmax = lambda x: np.full(x.shape, 0.25)
        print(common.functions.softmax_loss(x, t))
        kept[0](x, t)
        """
    write_copy(tmp_path, [], script)
    done = start([sys.executable, "-m", "zerodl_c", "run", "--verify", "script.py"], tmp_path)
    assert done.returncode == 1 and len(done.stdout.split()) == 2
    assert done.stderr.startswith(
        "zerodl-c: --verify: common.functions.softmax_loss differs from the script's own: the result is 0.69"
    )
    assert "Called in " in done.stderr and "script.py, line 9: kept[0](x, t)" in done.stderr


@pytest.mark.parametrize(
    "name, call",
    [
        ("layers.SoftmaxWithLoss.forward", "SoftmaxWithLoss().forward(x, np.array([0, -1]))"),
        ("layers.SoftmaxWithLoss.backward", "loss.forward(x[0], np.array([0, 1, 0])), loss.backward()"),
        ("multi_layer_net.MultiLayerNet.gradient", "net.gradient(x, np.array([0, 1]))"),
        ("gradient.numerical_gradient", "numerical_gradient(lambda x: np.sum(x**2), np.float32(x))"),
        ("gradient.numerical_gradient", "numerical_gradient(lambda x: np.sum(x**2), np.array([3, 4]))"),
        ("layers.Sigmoid.forward", "vars(common.layers).update(sigmoid=np.tanh), Sigmoid().forward(x)"),
    ],
)
def test_verify_stops_where_the_engine_means_something_else(tmp_path, name, call):
    script = f"""
        import numpy as np
        import common.layers
        from common.gradient import numerical_gradient
        from common.layers import Sigmoid, SoftmaxWithLoss
        from common.multi_layer_net import MultiLayerNet

        np.random.seed(1)  # with which units are alive
        x, loss, net = np.random.rand(2, 3), SoftmaxWithLoss(), MultiLayerNet(3, [3, 3], 3)
        net.layers["Affine2"] = net.layers["Affine1"]
        {call}
        """
    write_copy(tmp_path, [], script)
    done = start([sys.executable, "-m", "zerodl_c", "run", "--verify", "script.py"], tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"zerodl-c: --verify: common.{name} differs from the script's own: ")


@pytest.mark.parametrize("method", ["spawn", "forkserver", "fork"] if os.name != "nt" else ["spawn"])
def test_a_difference_in_a_child_is_an_error(tmp_path, method):
    script = f"""
        import multiprocessing
        import numpy as np
        import common.functions

        def work(replace):
            kept = [common.functions.softmax_loss]
            if replace:
                common.functions.softmax = lambda x: np.full(x.shape, 0.25)
            return float(kept[0](np.ones((2, 2)), np.array([0, 1])))

        if __name__ == "__main__":
            for replace in (False, True):
                with multiprocessing.get_context("{method}").Pool(1) as pool:
                    print(pool.map(work, [replace]))
        """
    write_copy(tmp_path, [], script)
    done = start([sys.executable, "-m", "zerodl_c", "run", "--verify", "script.py"], tmp_path)
    assert done.returncode == 1 and re.fullmatch(r"\[0\.693\d+\]\n", done.stdout)
    told = "RuntimeError: zerodl-c: --verify: common.functions.softmax_loss differs from the script's own: "
    assert told in done.stderr
    assert done.stderr.count(" calls compared") == 1


@pytest.mark.parametrize(
    "owner, name, change, told",
    [
        ("functions", "softmax", "result * (1 + 1e-9)", "functions.softmax differs from the script's own: the result["),
        ("layers.Affine", "backward", "result + 1e-9", "layers.Affine.backward differs from the script's own"),
        ("optimizer.Adam", "update", "args[1].update(W=args[1]['W'] + 1e-9)", "the argument params['W']["),
        ("multi_layer_net.MultiLayerNet", "gradient", "{**result, 'W1': result['W1'] + 1e-9}", "the result['W1']["),
    ],
)
def test_verify_stops_where_the_engine_is_wrong(tmp_path, owner, name, change, told):
    script = """
        import numpy as np
        from common.functions import softmax
        from common.layers import Affine
        from common.multi_layer_net import MultiLayerNet
        from common.optimizer import Adam
        np.random.seed(0)
        x, t, params = np.random.rand(4, 3), np.array([0, 1, 1, 0]), {"W": np.ones((3, 2))}
        layer = Affine(params["W"], np.zeros(2))
        softmax(layer.forward(x))
        layer.backward(np.random.rand(4, 2))
        Adam().update(params, {"W": layer.dW})
        MultiLayerNet(3, [4], 2).gradient(x, t)
        """
    write_copy(tmp_path, [], script)
    driver = f"""
        import sys
        from zerodl_c import cli, functions, layers, multi_layer_net, optimizer
        right = {owner}.{name}
        def wrong(*args):
            result = right(*args)
            return {change}
        {owner}.{name} = wrong
        sys.exit(cli.main(["run", "--verify", "script.py"]))
        """
    (tmp_path / "driver.py").write_text(textwrap.dedent(driver))
    done = start([sys.executable, "driver.py"], tmp_path)
    assert done.returncode == 1
    assert told in done.stderr, done.stderr


@pytest.mark.skipif(os.name == "nt", reason="there are no pseudo-terminals")
def test_verify_tells_on_a_terminal_how_far_it_is(tmp_path):
    pty = pytest.importorskip("pty")
    script = """
        import time
        from common.functions import sigmoid
        for _ in range(30):
            sigmoid(0.5)
            time.sleep(0.1)
        """
    write_copy(tmp_path, [], script)
    parent, child = pty.openpty()
    done = start([sys.executable, "-m", "zerodl_c", "run", "--verify", "script.py"], tmp_path, stderr=child)
    os.close(child)
    told = os.read(parent, 10000).decode()
    os.close(parent)
    assert done.returncode == 0
    assert len(re.findall(r"\rzerodl-c: --verify: \d of \d+ calls compared(?!,)", told)) >= 2
    assert told.endswith("\rzerodl-c: --verify: 5 of 30 calls compared, no difference\r\n")
