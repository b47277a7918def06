"""`zerodl-c run --verify` stops at a wrong result and at no right one; `--report` tells what a script's calls took."""

import os
import py_compile
import re
import textwrap
from time import perf_counter
from typing import ClassVar

import numpy as np
import pytest
from test_swap import CHAPTER, OWN, WITH_EDITION, command, run, write

import zerodl_c
from zerodl_c import cli, reference
from zerodl_c.swap import running
from zerodl_c.swap.comparing import Tolerance, Twins, described, mismatch
from zerodl_c.swap.watching import _Player, _Recorder

pytestmark = pytest.mark.usefixtures("elsewhere")

# Runs the command with one thing of the C engine wrong: `change(result, *arguments)` takes the place of the result.
BREAK = """
    import functools
    import sys
    import numpy as np
    from zerodl_c import cli, functions, gradient, layers, multi_layer_net, multi_layer_net_extend, optimizer

    def change(result, *arguments):
        {change}
        return result

    right = {owner}.{name}
    {owner}.{name} = functools.wraps(right)(lambda *args, **kwargs: change(right(*args, **kwargs), *args))
    sys.exit(cli.main(["run", *sys.argv[1:]]))
    """

SCRIPT = """
    import numpy as np
    from common.functions import *
    from common.gradient import numerical_gradient
    from common.layers import *
    from common.multi_layer_net import MultiLayerNet
    from common.optimizer import *

    np.random.seed(0)
    x, t = np.random.rand(8, 1, 6, 6), np.arange(8) % 3
    print("first")
    y = softmax(x.reshape(8, 36))
    layers = [Convolution(np.random.randn(2, 1, 3, 3), np.zeros(2)), BatchNormalization(1.0, 0.0), Relu(), Dropout(0.3),
              Pooling(2, 2, stride=2), Affine(np.random.randn(8, 3), np.zeros(3)), Sigmoid()]
    last = SoftmaxWithLoss()
    for _ in range(3):
        z = x
        for layer in layers:
            z = layer.forward(z)
        last.forward(z, t)
        dout = last.backward()
        for layer in reversed(layers):
            dout = layer.backward(dout)
        params, grads = {"W": layers[5].W}, {"W": layers[5].dW}
        Adam().update(params, grads)
    net = MultiLayerNet(36, [4], 3, weight_decay_lambda=0.1)
    net.gradient(x.reshape(8, 36), t)
    net.numerical_gradient(x.reshape(8, 36), t)
    W = np.random.rand(36, 3)
    numerical_gradient(lambda W: softmax_loss(np.dot(x.reshape(8, 36), W), t), W)
    print(np.random.rand(), z.sum(), y.sum())
    """


@pytest.fixture
def script(tmp_path):
    """A function that writes a script, and gives its path."""

    def make(text, name="script.py"):
        write(tmp_path, {name: text})
        return tmp_path / name

    return make


@pytest.fixture
def broken(script):
    """A function that runs a script with something of the engine broken."""

    def start(path, owner, name, change, *options):
        text = textwrap.dedent(BREAK).format(owner=owner, name=name, change=change)
        return command(script(text, "broken.py"), *(options or ["--verify"]), path)

    return start


@pytest.mark.parametrize("options", [["--verify"], ["--report"], ["--verify", "--report"]])
class TestBoth:
    plain: ClassVar = {}  # how each ending ends without options

    def test_the_script_goes_as_without(self, tmp_path, options):
        write(tmp_path / "book", {**CHAPTER, **OWN})
        path = tmp_path / "book/ch90/train.py"
        done, plain = (run(*of, path, "3", PYTHONPATH=WITH_EDITION) for of in (options, []))
        assert (done.returncode, done.stdout) == (0, plain.stdout)
        assert ("zerodl-c report: " in done.stderr) == ("--report" in options)
        assert ("zerodl-c: --verify: " in done.stderr) == ("--verify" in options)
        assert done.stderr.startswith("zerodl-c") and "Traceback" not in done.stderr

    @pytest.mark.parametrize(
        "ending",
        [
            "sys.exit(3)",
            "1 / 0",
            "Affine(np.ones((2, 2)), 0).forward(np.ones((3, 3)))",
            "numerical_gradient(lambda x: x[9], np.ones(2))",
            "numerical_gradient(None, np.ones(2))",
            "numerical_gradient(np.sum, np.ones(2), 1e-4, 5)",
            "softmax()",
            "raise KeyboardInterrupt",
        ],
    )
    def test_ends_as_without(self, script, options, ending):
        head = "import sys\nimport numpy as np\nfrom common.layers import *\nfrom common.gradient import *\n"
        path = script(head + ending)
        if ending not in self.plain:
            self.plain[ending] = run(path)
        done, plain = run(*options, path), self.plain[ending]
        assert (done.returncode, done.stdout) == (plain.returncode, plain.stdout)
        assert ("zerodl-c report: " in done.stderr) == ("--report" in options)
        if "sys.exit" not in ending:
            assert plain.stderr.splitlines()[-1] in done.stderr.splitlines()

    def test_what_a_script_may_do_with_classes_and_functions(self, script, options):
        path = script(
            """
            import pickle
            import numpy as np
            from common.functions import softmax
            from common.layers import Affine, Relu
            from common.multi_layer_net import MultiLayerNet
            from common.optimizer import SGD

            class Twice(Affine):
                def forward(self, x):
                    return 2 * super().forward(x)

            class Net(MultiLayerNet):
                def predict(self, x):
                    return 2 * super().predict(x)

            np.random.seed(0)
            x, t = np.random.rand(4, 2), np.array([0, 1, 2, 0])
            layer = Twice(np.ones((2, 3)), 0)
            layer.W, layer.lock = np.arange(6.0).reshape(2, 3), (i for i in [])
            print(layer.forward(x), layer.backward(np.ones((4, 3))), layer.dW, isinstance(layer, Affine))
            net = pickle.loads(pickle.dumps(Net(2, [3], 3)))
            for _ in range(4):
                SGD(0.1).update(net.params, net.gradient(x, t))
                net.params["W1"][...] += 0.1
                print(net.numerical_gradient(x, t)["W1"], net.loss(x, t))
            print(type(net.layers["Affine1"]) is Affine, pickle.loads(pickle.dumps(softmax)) is softmax)
            params = {"x": 1.0}
            SGD(0.1).update(params, {"x": 2.0})
            print(params, softmax(x=[1, 2]), Relu().forward(np.array([1.0, -2.0], np.float16)))
            """
        )
        done, plain = run(*options, path), run(path)
        assert (done.returncode, done.stdout) == (0, plain.stdout), done.stderr
        assert plain.stdout.splitlines()[-2] == "True True"

    def test_f_is_called_as_often_and_x_is_as_before(self, script, options):
        path = script(
            """
            import numpy as np
            from common.functions import softmax
            from common.gradient import _numerical_gradient_1d, numerical_gradient, numerical_gradient_2d
            calls, x = [], np.array([1.0, 2.0])

            def f(_):
                calls.append(softmax(x)[0] + np.random.rand())
                return calls[-1]

            np.random.seed(0)
            print(numerical_gradient(f, x), numerical_gradient(f=f, x=x), _numerical_gradient_1d(f, x))
            print(numerical_gradient_2d(lambda x: x @ x, np.ones((2, 2))), numerical_gradient(lambda x: x * x, 3))
            print(numerical_gradient(lambda x: x.sum(axis=1), x, vectorized=True), calls, x, np.random.rand())
            """
        )
        assert run(*options, path).stdout == run(path).stdout != ""

    def test_threads_that_draw(self, script, options):
        path = script(
            """
            import threading
            import numpy as np
            from common.functions import softmax
            from common.layers import Affine

            def work(i):
                layer = Affine(np.ones((2, 3)), np.zeros(3))
                for _ in range(100):
                    drawn[i].append(np.random.rand())
                    softmax(layer.forward(np.ones((4, 2))))

            np.random.seed(0)
            drawn = [[] for _ in range(4)]
            threads = [threading.Thread(target=work, args=[i]) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            print(len({x for of_thread in drawn for x in of_thread}), np.random.rand())
            """
        )
        done = run(*options, path)
        assert (done.returncode, done.stdout) == (0, f"400 {np.random.RandomState(0).rand(401)[-1]}\n"), done.stderr

    @pytest.mark.skipif(os.name == "nt", reason="there is no fork")
    def test_a_forked_child(self, script, options):
        path = script(
            """
            import os
            from common.functions import sigmoid
            sigmoid(1.0)
            if os.fork() == 0:
                sigmoid(1.0)
                raise SystemExit(0)
            os.wait()
            """
        )
        done = run(*options, path)
        assert done.returncode == 0
        assert done.stderr.count("zerodl-c report") == ("--report" in options)

    def test_not_with_the_reference(self, script, options):
        done = run(*options, "--engine", "numpy", script("print(1)"))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"zerodl-c: error: argument {options[0]}: compares the C engine with numpy: leave out --engine numpy\n"
        )


def test_run_refuses_the_reference(script):
    path = str(script("print(1)"))
    for option in ("verify", "report"):
        with pytest.raises(ValueError, match=r"^engine must be 'c' with verify or report, .*, got 'numpy'$"):
            running.run(running.script(path), engine="numpy", **{option: "all"})


def test_script_that_is_missing_comes_first():
    assert cli.main(["run", "--verify", "missing.py"]) == 2


# ---- verify --------------------------------------------------------------------------------------


class TestVerify:
    @pytest.mark.parametrize("option", ["--verify", "--verify=all"])
    def test_tells_at_the_end_how_much_was_compared(self, script, option):
        path = script(SCRIPT)
        done, plain = run(option, path), run(path)
        assert (done.returncode, done.stdout) == (0, plain.stdout)
        told = re.fullmatch(r"zerodl-c: --verify: (\d+) of (\d+) calls compared, no difference\n", done.stderr)
        compared, count = map(int, told.groups())
        assert compared == count if option == "--verify=all" else 1 < compared < count / 2

    def test_compares_calls_1_2_4_8(self, script):
        path = script(
            """
            import numpy as np
            from common.functions import softmax, sigmoid
            for _ in range(9):
                softmax(np.ones(3))
            sigmoid(np.ones(3))
            """
        )
        assert run("--verify", path).stderr == "zerodl-c: --verify: 5 of 10 calls compared, no difference\n"

    @pytest.mark.parametrize(
        "owner, name, change, told",
        [
            ("functions", "softmax", "result *= 1 + 1e-10", r"functions.softmax .* the result\[\d, \d+\] is"),
            ("functions", "softmax", "result = result.astype('f4')", r"the result is \(8, 36\) float32 in C and"),
            ("functions", "softmax", "result = result[:1]", r"the result is \(1, 36\) float64 in C and \(8, 36\)"),
            ("functions", "softmax", "result = None", r"the result is None in C and \(8, 36\) float64"),
            ("functions", "softmax", "result[0, 0] = np.nan", r"the result\[0, 0\] is nan in C and 0\.0"),
            ("functions", "softmax", "arguments[0][1, 2] = 5", r"the argument x\[1, 2\] is 5.0 in C and 0\.\d+"),
            ("functions", "softmax", "np.random.rand()", "NumPy's generator.*'pos'.* is"),
            ("functions", "softmax", "raise KeyError(7)", r"what comes of it is KeyError\(7\) in C and no error"),
            ("layers.Affine", "backward", "arguments[0].dW[0, 1] += 1e-9", r"Affine.backward .* self.dW\[0, 1\] is"),
            ("layers.Convolution", "forward", "result *= 1.001", r"Convolution.forward .* x \(8, 1, 6, 6\) float64"),
            ("layers.Convolution", "backward", "arguments[0].db[1] += 1", r"self.db\[1\] is"),
            ("layers.Pooling", "forward", "arguments[0].arg_max[3] += 1", r"self.arg_max\[3\] is \d in C and \d in"),
            ("layers.Pooling", "backward", "result[0] = 0", "layers.Pooling.backward"),
            ("layers.Relu", "backward", "result += 1e-9", "layers.Relu.backward"),
            ("layers.Dropout", "forward", "arguments[0].mask[0] ^= True", r"self.mask\[0.* is (True|False) in C and"),
            ("layers.BatchNormalization", "forward", "arguments[0].running_var += 1e-9", r"self.running_var\[\d+\] is"),
            ("layers.SoftmaxWithLoss", "forward", "result += 1e-9", "layers.SoftmaxWithLoss.forward .* the result is"),
            ("optimizer.Adam", "update", "arguments[1]['W'][0] += 1e-9", r"the argument params\['W'\]\[0, \d\] is"),
            ("optimizer.Adam", "update", "arguments[0].iter += 1", r"self.iter is 2 in C and 1 in the reference"),
            ("multi_layer_net.MultiLayerNet", "numerical_gradient", "result['W1'][3, 2] += 1e-6", r"\['W1'\]\[3, 2\]"),
            ("gradient", "numerical_gradient", "result *= 1 + 1e-9", r"gradient.numerical_gradient .* x \(36, 3\)"),
            ("gradient", "numerical_gradient", "arguments[0](arguments[1])", "f is called more often in C"),
            ("gradient", "evaluator_of", "result.saved[0, 0] += 1", "f is not called where C calls it"),
        ],
    )
    def test_stops_at_a_difference(self, script, broken, owner, name, change, told):
        done = broken(script(SCRIPT), owner, name, change)
        assert done.returncode == 1
        assert done.stdout == "first\n"
        assert re.fullmatch(r"zerodl-c: --verify: common\.\S+ differs from the reference: .*\n", done.stderr)
        assert re.search(told, done.stderr), done.stderr

    def test_what_it_tells(self, script, broken):
        done = broken(script(SCRIPT), "functions", "softmax", "result[2, 3] = 0.5")
        expected = np.exp(np.random.RandomState(0).rand(8, 36))
        expected = expected[2, 3] / expected[2].sum()
        pattern = (
            r"zerodl-c: --verify: common\.functions\.softmax differs from the reference: the result\[2, 3\] is 0\.5 "
            r"in C and (\S+) in the reference, more than (\S+) apart\. The arguments: x \(8, 36\) float64\. "
            r"Called in \S*script\.py, line 12: y = softmax\(x\.reshape\(8, 36\)\)\n"
        )
        found = re.fullmatch(pattern, done.stderr)
        assert float(found[1]) == pytest.approx(expected, rel=1e-14)
        assert 1e-15 < float(found[2]) < 1e-13

    def test_of_a_net_the_layer_is_told(self, script, broken):
        path = script(
            """
            import numpy as np
            from common.multi_layer_net import MultiLayerNet
            net = MultiLayerNet(2, [3], 2)
            net.loss(np.ones((4, 2)), np.ones(4, int))
            """
        )
        done = broken(path, "layers.Affine", "forward", "result += 1e-9")
        assert "common.layers.Affine.forward differs" in done.stderr
        assert "script.py, line 5: net.loss(np.ones((4, 2)), np.ones(4, int))" in done.stderr

    @pytest.mark.parametrize("net", ["MultiLayerNet(2, [3], 2)", "MultiLayerNetExtend(2, [3], 2, use_dropout=True)"])
    @pytest.mark.parametrize(("line", "place"), [
        ("result['W1'] += 1e-9", "the result['W1']"),
        ("arguments[0].layers['Affine2'].dW += 1e-9", "self.layers['Affine2'].dW"),
    ])  # fmt: skip
    def test_the_gradient_of_a_net_is_one_call_and_what_it_leaves_in_the_layers(self, script, broken, net, line, place):
        path = script(
            f"""
            import numpy as np
            from common.multi_layer_net_extend import *
            from common.multi_layer_net import MultiLayerNet
            net = {net}
            net.gradient(np.ones((4, 2)), np.ones(4, int))
            """
        )
        name = net.partition("(")[0]
        module = "multi_layer_net" + "_extend" * name.endswith("Extend")
        done = broken(path, f"{module}.{name}", "gradient", line)
        assert f"common.{module}.{name}.gradient differs" in done.stderr and place in done.stderr, done.stderr

    def test_rounding_is_no_difference(self, script, broken):
        done = broken(script(SCRIPT), "functions", "softmax", "result *= 1 + 4e-16")
        assert done.returncode == 0 and "no difference" in done.stderr

    def test_what_the_script_would_catch(self, script, broken):
        path = script(
            """
            import numpy as np
            from common.functions import softmax
            for _ in range(3):
                try:
                    softmax(np.ones(3))
                except BaseException as error:
                    print(repr(error))
            """
        )
        done = broken(path, "functions", "softmax", "result += 1")
        assert done.returncode == 1
        assert done.stdout == 3 * "SystemExit(1)\n"
        assert done.stderr.count("differs") == 1

    def test_in_a_thread(self, script, broken):
        path = script(
            """
            import threading
            import numpy as np
            from common.functions import softmax
            threads = [threading.Thread(target=softmax, args=[np.ones(3)]) for _ in range(2)]
            for thread in threads:
                thread.start()
                thread.join()
            print("last")
            """
        )
        done = broken(path, "functions", "softmax", "result += 1")
        assert done.returncode == 1
        assert done.stdout == "last\n" and done.stderr.count("differs") == 1

    @pytest.mark.skipif(os.name == "nt", reason="there is no fork")
    def test_in_a_pool_of_processes(self, script, broken):
        path = script(
            """
            import multiprocessing
            import numpy as np
            from common.functions import softmax
            with multiprocessing.get_context("fork").Pool(2) as pool:
                pool.map(softmax, [np.ones(3)] * 4)
            """
        )
        done = broken(path, "functions", "softmax", "result += 1")
        assert done.returncode == 1
        assert "RuntimeError: zerodl-c: --verify: common.functions.softmax differs" in done.stderr

    def test_with_a_report(self, script, broken):
        done = broken(script(SCRIPT), "layers.Relu", "forward", "result += 1", "--verify", "--report")
        assert done.returncode == 1
        differs, *report = done.stderr.splitlines()
        assert "common.layers.Relu.forward differs" in differs
        assert report[0].startswith("zerodl-c report: ") and report[-1] == "  verify: stopped at a difference"


class TestMismatch:
    @pytest.mark.parametrize(
        "ours, theirs",
        [
            (np.array([1.0, np.nan]), np.array([1.0, 2.0])),
            (np.array([1.0, 2.0]), np.array([1.0, np.nan])),
            (np.array([np.inf]), np.array([-np.inf])),
            (np.array([np.inf]), np.array([1.0])),
            (np.array([1.0]), np.array([np.inf])),
            (np.array([1, 2]), np.array([1, 3])),
            (np.array([1, 2]), np.array([1.0, 2.0])),
            (np.array([0.1], np.float32), np.array([0.1])),
            (np.array([True]), np.array([False])),
            (np.zeros((2, 1)), np.zeros((1, 2))),
            (1.0, 1.1),
            (1.0, None),
            (None, 1.0),
            ([1.0, 2.0], [1.0]),
            ((1.0, 2.0), (1.0, 2.5)),
            ({"a": 1.0}, {"b": 1.0}),
            ({"a": {"b": np.ones(2)}}, {"a": {"b": np.zeros(2)}}),
            ("a", "b"),
        ],
    )
    def test_differ(self, ours, theirs):
        assert mismatch("here", ours, theirs, Tolerance(())).place.startswith("here")

    @pytest.mark.parametrize(
        "ours, theirs",
        [
            (np.array([1.0, np.nan, np.inf, -np.inf]), np.array([1 + 2e-16, np.nan, np.inf, -np.inf])),
            (np.float32(1), np.float32(1 + 1e-7)),
            (np.array([0.1, np.nan], np.float32), np.array([np.float32(0.1), np.nan], np.float64)),
            (1.0, np.float64(1)),
            (0.0, 1e-310),
            (np.empty((0, 3)), np.empty((0, 3))),
            ({"b": [1.0], "a": (2, None)}, {"a": (2, None), "b": [1.0]}),
            (len, sum),
        ],
    )
    def test_do_not(self, ours, theirs):
        assert mismatch("here", ours, theirs, Tolerance(())) is None

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
    def test_tolerance_is_from_dtype_size_and_arguments(self, dtype):
        eps = {np.float16: np.finfo(np.float32).eps}.get(dtype, np.finfo(dtype).eps)
        half = 2 * np.finfo(np.float16).eps if dtype == np.float16 else 0
        x = np.array([3.0, -8.0, np.inf, np.nan] * 25, dtype)
        y = np.array([2.0], dtype)
        assert Tolerance((x,)).of(y) == pytest.approx(8 * (8 * eps * 10 + half), rel=1e-3)
        assert Tolerance(()).of(y) == pytest.approx(2 * (8 * eps + half), rel=1e-3)
        assert Tolerance((x,)).of(np.array([1])) == 0

    def test_twin_is_a_copy_that_keeps_what_is_one(self):
        x = np.arange(6.0).reshape(2, 3).T
        x.flags.writeable = False
        generator = (i for i in [])
        value = {"x": x, "list": [x, (x,)], "generator": generator, "f": len}
        copied = Twins({}.get).of(value)
        y = copied["x"]
        assert y is not x and (y == x).all() and y.strides == x.strides and not y.flags.writeable
        assert copied["list"][0] is y and copied["list"][1][0] is y
        assert copied["generator"] is generator and copied["f"] is len

    def test_twin_of_layers_is_the_references(self):
        layers = [zerodl_c.Convolution(np.ones((1, 1, 2, 2)), i) for i in range(9)]
        for i, layer in enumerate(layers):
            layer.forward(np.full((1, 1, 3, 3), float(i)))
        twin = Twins({zerodl_c.Convolution: reference.Convolution}.get).of
        for i, layer in enumerate(twin(layers)):
            assert layer.forward.__func__ is reference.Convolution.forward and layer.b == i
            assert (layer.x == i).all() and (layer.col == i).all()  # which C makes when it is read
            assert layer.W is not layers[i].W

    def test_described(self):
        params = {f"W{i}": np.ones((2, i)) for i in range(9)}
        assert described(np.ones((2, 3), np.float32)) == "(2, 3) float32"
        assert described({"W": np.ones(2)}) == "{W: (2,) float64}"
        assert described(params).endswith("W7: (2, 7) float64, ...}")
        assert described("x" * 200) == "'" + "x" * 59


# ---- report --------------------------------------------------------------------------------------


class TestReport:
    def report(self, path, *arguments):
        done = run("--report", path, *arguments, PYTHONPATH=WITH_EDITION)
        assert done.returncode == 0, done.stderr
        first, *lines = done.stderr.splitlines()
        assert first.startswith("zerodl-c report: the script took ")
        assert len(lines) <= 6 and all(line.startswith("  ") for line in lines)
        return {"first": first, **dict(line.strip().split(": ", 1) for line in lines)}

    def test_calls_are_counted_once_each(self, script):
        report = self.report(script(SCRIPT))
        counts = dict(re.findall(r"([\w.]+) (\d+) calls?, ", report["calls"]))
        once = "softmax MultiLayerNet.numerical_gradient numerical_gradient"
        assert {name: counts[name] for name in once.split()} == dict.fromkeys(once.split(), "1")
        assert counts["Sigmoid.forward"] == "3" and "sigmoid" not in counts  # which the layer calls
        assert counts["Adam.update"] == counts["Affine.forward"] == "3" and counts["MultiLayerNet.gradient"] == "1"
        assert counts["softmax_loss"] == str(2 * 36 * 3)  # by the script's own f
        assert f"in {sum(map(int, counts.values()))} calls of common" in report["first"]

    def test_time_that_was_saved(self, script):
        path = script(
            """
            import numpy as np
            from common.functions import sigmoid, softmax
            for _ in range(20):
                sigmoid(np.ones(3))
            softmax(np.ones(3))
            """
        )
        driver = script(
            """
            import sys, time
            import zerodl_c.reference
            from zerodl_c import cli, functions
            functions.sigmoid = lambda x: time.sleep(0.002)
            zerodl_c.reference.functions.sigmoid = lambda x: time.sleep(0.02)
            sys.exit(cli.main(["run", "--report", sys.argv[1]]))
            """,
            "driver.py",
        )
        calls, saved = command(driver, path).stderr.splitlines()[1:3]
        milliseconds, ratio = re.search(r"calls: sigmoid 20 calls, ([\d.]+) ms, ([\d.]+)x;", calls).groups()
        assert 4 < float(ratio) <= 10.5
        told = r"  saved: about ([\d.]+) ms: the reference would take ([\d.]+) times as long, by (\d) calls? of these"
        found = re.match(told, saved)
        assert float(found[1]) == pytest.approx(float(milliseconds) * (float(ratio) - 1), rel=0.1)
        assert found[2] == ratio and 1 <= int(found[3]) <= 4  # calls 2, 4, 8 and 16
        assert saved.endswith("; not measured, as called once or for too long: softmax")

    def test_numerical_gradient_of_a_net_is_estimated(self, script):
        path = script(
            """
            import numpy as np
            from common.multi_layer_net import MultiLayerNet
            MultiLayerNet(784, [50], 10).numerical_gradient(np.random.rand(100, 784), np.zeros(100, int))
            """
        )
        start = perf_counter()
        calls = self.report(path)["calls"]
        assert perf_counter() - start < 10
        assert float(re.search(r", ([\d.,]+)x$", calls)[1].replace(",", "")) > 20

    def test_what_was_not_accelerated(self, tmp_path):
        write(tmp_path, OWN)
        text = """
            import numpy as np
            from common.functions import *
            from common.gradient import numerical_gradient
            from common.layers import Dropout
            from common.optimizer import SGD
            from common.extra import half
            import common.util
            numerical_gradient(lambda x: relu_grad(x).sum(), np.ones(3))
            SGD().update({"x": 1.0}, {"x": 2.0})
            relu([1, 2])
            relu(np.arange(3))
            relu(np.ones(3, np.float16))
            relu(np.ones(3))
            Dropout().forward(np.ones(3))
            """
        write(tmp_path, {"script.py": text})
        report = self.report(tmp_path / "script.py")
        told = report["not accelerated"]
        assert re.match(r"[\d.]+ m?s outside of common, .*np\.dot;", told)
        assert "; numerical_gradient, whose time is that of the script's own f;" in told
        assert "; Dropout.forward, the same code on both engines;" in told
        assert "SGD.update of plain numbers, 1 call, " in told
        assert all(f"relu of {kind}, 1 call, " in told for kind in ("lists", "int64", "float16"))
        assert "relu_grad of" not in told and "float64" not in told
        assert report["the script's own in common"] == (
            "functions.sigmoid (changed), functions.sigmoid_grad (uses sigmoid, which stays the script's own), "
            "functions.leaky_relu, functions.twice_softmax, "
            "layers.Sigmoid (uses sigmoid, which stays the script's own), layers.Scale, extra.half"
        )

    def test_what_is_in_common_but_cannot_be_read(self, tmp_path):
        write(tmp_path, {**OWN, "script.py": "import common.util\ncommon.util.im2col"})
        py_compile.compile(str(tmp_path / "common/util.py"), str(tmp_path / "common/util.pyc"))
        (tmp_path / "common/util.py").unlink()
        report = self.report(tmp_path / "script.py")
        assert report["the script's own in common"].startswith("util (its source cannot be read), util.smooth_curve, ")
        assert report["nothing was swapped"] == (
            "none of the definitions in common.util is the book's, with all that it uses"
        )

    @pytest.mark.parametrize("name", ["layers", "deep/common/layers", "common/layer"])
    def test_the_books_code_under_another_name(self, tmp_path, name):
        text = OWN["common/layers.py"].replace("from common.functions", "from common.functions")
        files = {**OWN, "deep/__init__.py": "", "deep/common/__init__.py": "", f"{name}.py": text}
        module = name.replace("/", ".")
        write(tmp_path, {**files, "script.py": f"from {module} import Affine, softmax\nprint(Affine.__module__)"})
        done = run("--report", tmp_path / "script.py", PYTHONPATH=WITH_EDITION)
        assert done.stdout == f"{module}\n"
        told = "  the book's, but not swapped, as it is not in common's functions, gradient, "
        (line,) = (line for line in done.stderr.splitlines() if line.startswith(told))
        assert line.endswith(
            f": {module} has Relu, Sigmoid, Affine, SoftmaxWithLoss, Dropout, BatchNormalization, Convolution, Pooling"
        )

    def test_what_a_script_replaced(self, tmp_path):
        text = """
            import numpy as np
            import common.layers
            common.layers.softmax = lambda x: x
            print(common.layers.SoftmaxWithLoss().forward(np.ones((1, 2)), np.array([0])))
            """
        write(tmp_path, {**OWN, "script.py": text})
        own = self.report(tmp_path / "script.py")["the script's own in common"]
        assert "layers.SoftmaxWithLoss (uses softmax, which was replaced)" in own

    def test_a_script_without_calls(self, script):
        report = self.report(script("print(1)"))
        assert "in 0 calls of common" in report["first"]
        assert set(report) == {"first", "nothing was swapped", "not accelerated"}
        assert report["nothing was swapped"].startswith("the script imported none of common's functions, gradient, ")

    def test_measuring_leaves_the_random_numbers(self, script):
        path = script(
            """
            import numpy as np
            from common.functions import sigmoid
            from common.multi_layer_net_extend import MultiLayerNetExtend
            np.random.seed(0)
            print([sigmoid(0.0) for _ in range(9)])
            net = MultiLayerNetExtend(3, [4], 2, use_dropout=True, use_batchnorm=True)
            x, t = np.random.rand(5, 3), np.zeros(5, int)
            print(net.numerical_gradient(x, t)["W1"], net.layers["BatchNorm1"].running_mean, np.random.rand())
            """
        )
        driver = script(
            """
            import sys
            import numpy as np
            import zerodl_c.reference
            from zerodl_c import cli, functions
            functions.sigmoid = lambda x: np.random.rand()
            zerodl_c.reference.functions.sigmoid = lambda x: np.random.rand(2)[0]
            sys.exit(cli.main(["run", *sys.argv[1:]]))
            """,
            "driver.py",
        )
        done = command(driver, "--report", path)
        assert re.search(r"sigmoid 9 calls, [\d.]+ ms, [\d.]+x\b", done.stderr)
        assert done.stdout == command(driver, path).stdout


# ---- What it costs -------------------------------------------------------------------------------


def test_starting_takes_a_fifth_of_a_second_at_most(script):
    path = script("import numpy")

    def seconds(*arguments):
        start = perf_counter()
        assert command(*arguments, path).returncode == 0
        return perf_counter() - start

    turns = [(seconds(), seconds("-m", "zerodl_c", "run")) for _ in range(7)]
    plain, through_run = map(min, zip(*turns, strict=True))
    assert through_run - plain < 0.2 * max(1, plain / 0.1)  # a busy machine is slower in both


def test_watching_is_loaded_only_when_asked_for(script):
    path = script("import sys; print(*(f'zerodl_c.swap.{name}' in sys.modules for name in ('watching', 'reporting')))")
    assert run(path).stdout == "False False\n"
    assert run("--verify", path).stdout == "True False\n"
    assert command("-c", "import sys, zerodl_c; print('zerodl_c.swap.watching' in sys.modules)").stdout == "False\n"


def test_the_values_of_f_are_given_at_their_points_in_any_order():
    """The book's code walks through a transposed array by its memory, C by its rows."""
    f = _Recorder(lambda x: x.sum() + np.random.rand())
    x = np.arange(6.0).reshape(2, 3).T
    points = [x + step for step in (1, 2, 1)]
    values = [f(point) for point in points]
    player = _Player(f)
    assert [player(points[i]) for i in (1, 0, 2)] == [values[i] for i in (1, 0, 2)]
    assert not player.left()
    with pytest.raises(LookupError, match="f is not called where C calls it"):
        player(points[0])
    assert _Player(f).left()
