"""The command zerodl-c: its results, its files, and that every failure is one line and exit 2."""

import errno
import importlib.abc
import io
import os
import signal
import struct
import subprocess
import sys
import tempfile
from contextlib import contextmanager, redirect_stdout
from functools import partial
from importlib import metadata

import numpy as np
import pytest

import zerodl_c
from zerodl_c import cli, plot
from zerodl_c.cli import train
from zerodl_c.datasets import load_digits

pytestmark = pytest.mark.usefixtures("elsewhere")

QUICK = ["train", "--epochs", "2", "--hidden", "10"]


def run(*arguments, **options):
    """The command in a process of its own."""
    command = [sys.executable, "-m", "zerodl_c", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def fails(capsys, *arguments):
    """Run a command that must fail; return what it says after 'zerodl-c: error: '."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("zerodl-c: error: ")
    return lines[0].removeprefix("zerodl-c: error: ")


def table(stdout):
    """The rows of the result, as lists of words by their first word."""
    lines = stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("engine "))
    return {words[0]: words[1:] for line in lines[start + 1 :] if (words := line.split())}


def hide(monkeypatch, module, error=None):
    """Make a module, and what of this package is built on it, look as if it was not installed, or was broken."""

    class Hider(importlib.abc.MetaPathFinder):
        def find_spec(self, name, path, target=None):
            if name == module:
                raise error or ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(sys, "meta_path", [Hider(), *sys.meta_path])
    for name in list(sys.modules):
        if name.split(".")[0] == module or (name, module) == ("zerodl_c.plot", "matplotlib"):
            monkeypatch.delitem(sys.modules, name)


@pytest.fixture
def curves(monkeypatch):
    """The learning curves of a run with --out, as they are handed to the plot."""
    kept = {}
    draw = plot.learning_curves

    def keep_and_draw(histories, path, **options):
        kept.update(histories)
        draw(histories, path, **options)

    monkeypatch.setattr(plot, "learning_curves", keep_and_draw)
    return kept


class TestTrain:
    def test_digits_with_the_defaults(self, capsys, curves, tmp_path):
        assert cli.main(["train", "--out", str(tmp_path / "deep" / "out")]) == 0
        out = capsys.readouterr().out
        assert out.startswith("digits: 1437 images to train with, 360 to test with\n")
        result = table(out)
        for engine in ("c", "numpy"):
            train_accuracy, test_accuracy, seconds, rate = result[engine]
            assert float(train_accuracy) >= 0.97
            assert float(test_accuracy) >= 0.95
            assert float(seconds) > 0
            assert float(rate.replace(",", "")) > 0
            assert curves[engine]["test accuracy"][-1] == pytest.approx(float(test_accuracy), abs=5e-5)
            assert len(curves[engine]["loss"]) == len(curves[engine]["test accuracy"]) == 101
            assert curves[engine]["loss"][0] == pytest.approx(np.log(10), abs=0.01)
        (ratio,) = result["c/numpy"]
        assert ratio.endswith("x") and float(ratio[:-1]) > 0
        for quantity in ("loss", "test accuracy"):
            c, numpy = curves["c"][quantity], curves["numpy"][quantity]
            np.testing.assert_allclose(c, numpy, rtol=0, atol=1e-6)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_files_are_complete(self, capsys, tmp_path, dtype):
        assert cli.main([*QUICK, "--dtype", dtype, "--out", str(tmp_path)]) == 0
        names = ["curves.png", "params_c.npz", "params_numpy.npz"]
        assert sorted(path.name for path in tmp_path.iterdir()) == names
        data = load_digits()
        result = table(capsys.readouterr().out)
        for engine in ("c", "numpy"):
            net = zerodl_c.reference.load(tmp_path / f"params_{engine}.npz")
            with np.load(tmp_path / f"params_{engine}.npz") as params:
                shapes = {name: params[name].shape for name in net.params}
                assert shapes == {"W1": (64, 10), "b1": (10,), "W2": (10, 10), "b2": (10,)}
                assert {params[name].dtype for name in net.params} == {np.dtype(dtype)}
            x_test = data.x_test.astype(dtype)
            assert f"{net.accuracy(x_test, data.t_test):.4f}" == result[engine][1]
        png = (tmp_path / "curves.png").read_bytes()
        assert png.startswith(b"\x89PNG\r\n\x1a\n") and png.endswith(b"IEND\xaeB`\x82")

    @pytest.mark.parametrize("engine", ["c", "numpy"])
    def test_one_engine_learns_what_it_learns_beside_the_other(self, capsys, curves, tmp_path, engine):
        assert cli.main([*QUICK, "--out", str(tmp_path / "both")]) == 0
        beside = dict(curves)
        curves.clear()
        capsys.readouterr()
        assert cli.main([*QUICK, "--engine", engine, "--out", str(tmp_path / "one")]) == 0
        assert curves == {engine: beside[engine]}
        assert list(table(capsys.readouterr().out)) == [engine, "kept"]
        names = ["curves.png", f"params_{engine}.npz"]
        assert sorted(path.name for path in (tmp_path / "one").iterdir()) == names

    def test_by_numerical_gradients_alone(self, capsys, curves, monkeypatch, tmp_path):
        assert cli.main([*QUICK, "--engine", "c", "--out", str(tmp_path)]) == 0
        expected = curves["c"]["loss"]
        curves.clear()
        monkeypatch.delattr(zerodl_c.TwoLayerNet, "gradient")
        monkeypatch.delattr(zerodl_c.reference.TwoLayerNet, "gradient")
        assert cli.main([*QUICK, "--gradient", "numerical", "--out", str(tmp_path)]) == 0
        np.testing.assert_allclose(curves["c"]["loss"], expected, rtol=1e-6)
        assert list(curves) == ["c"]
        assert "numerical" in capsys.readouterr().out

    def test_seed_sets_weights_and_batches(self, curves, tmp_path):
        results = []
        for seed in ("1", "1", "2"):
            assert cli.main([*QUICK, "--seed", seed, "--out", str(tmp_path)]) == 0
            results.append(dict(curves))
        assert results[0] == results[1]
        assert results[0]["c"]["loss"][0] != results[2]["c"]["loss"][0]

    def test_batch_size_that_leaves_a_rest(self, capsys, monkeypatch):
        sizes = []
        step = train._Run.step

        def count(run, x, t):
            sizes.append(len(x))
            step(run, x, t)

        monkeypatch.setattr(train._Run, "step", count)
        arguments = ["train", "--epochs", "1", "--engine", "numpy", "--batch-size", "1000"]
        assert cli.main(arguments) == 0
        assert sizes == [1000, 437]

    def test_idx_files(self, capsys, tmp_path):
        data = load_digits()
        images = (data.x_train.reshape(-1, 8, 8) * 255).astype(np.uint8)
        for name, array in (
            ("t10k-images-idx3-ubyte", images),
            ("t10k-labels-idx1-ubyte", data.t_train.astype(np.uint8)),
        ):
            sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
            header = bytes([0, 0, 8, array.ndim]) + sizes
            (tmp_path / name).write_bytes(header + array.tobytes())
        assert cli.main(["train", "--data", str(tmp_path), "--epochs", "1"]) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"{tmp_path.name}: 1149 images to train with, 288 to test with\n")

    def test_threads_are_lent_to_both_engines(self, capsys, monkeypatch):
        from threadpoolctl import threadpool_info

        seen = set()
        step = train._Run.step

        def look(run, x, t):
            blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
            seen.add((zerodl_c.get_num_threads(), *blas))
            step(run, x, t)

        monkeypatch.setattr(train._Run, "step", look)
        load_digits()  # whose package brings a BLAS of its own, if no test before this one loaded it
        before = zerodl_c.get_num_threads(), threadpool_info()
        arguments = ["train", "--epochs", "1", "--batch-size", "1437", "--threads", "1"]
        assert cli.main(arguments) == 0
        assert seen == {(1, 1)}
        assert (zerodl_c.get_num_threads(), threadpool_info()) == before
        assert "threads 1\n" in capsys.readouterr().out

    def test_folder_whose_name_stdout_cannot_show(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        folder = tmp_path / "ゼロから"
        done = run(*QUICK, "--out", str(folder))
        assert (done.returncode, done.stderr) == (0, "")
        assert len(list(folder.iterdir())) == 3
        assert f"kept in {tmp_path}" in done.stdout

    def test_as_a_program(self):
        done = run("train", "--epochs", "1")
        assert (done.returncode, done.stderr) == (0, "")
        assert list(table(done.stdout)) == ["c", "numpy", "c/numpy"]

    @pytest.mark.skipif(os.name == "nt", reason="pseudo-terminals are for POSIX systems")
    def test_progress_bar_on_a_terminal_of_80_columns(self):
        import fcntl
        import termios

        terminal, stderr = os.openpty()
        fcntl.ioctl(stderr, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        command = [sys.executable, "-m", "zerodl_c", *QUICK]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stderr) as process:
            os.close(stderr)
            shown = b""
            try:
                while chunk := os.read(terminal, 4096):
                    shown += chunk
            except OSError as error:  # how Linux tells that the other side has closed
                assert error.errno == errno.EIO
            finally:
                os.close(terminal)
        assert process.returncode == 0
        last = shown.decode().rstrip().split("\r")[-1]
        assert "epoch 2/2, numpy" in last
        assert "100%" in last and "loss=" in last and "accuracy=" in last


class TestErrors:
    @pytest.mark.parametrize(
        ("option", "values"),
        {
            "--epochs": ["0", "-1", "1.5", "many", "", "9" * 5000],
            "--batch-size": ["0", "-100", "1e2"],
            "--hidden": ["0", "-1", "nan", str(10**20)],
            "--lr": ["0", "-0.1", "nan", "inf", "1e999", "fast"],
            "--seed": ["-1", str(2**32), "0.5"],
            "--threads": ["0", "-2", "two"],
        }.items(),
    )
    def test_impossible_numbers(self, capsys, option, values):
        for value in values:
            message = fails(capsys, "train", option, value)
            assert message.startswith(f"argument {option}: must be ")
            assert repr(value) in message

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "the following arguments are required: COMMAND"),
            (["fly"], "invalid choice: 'fly'"),
            (["trian"], "; did you mean train? (see zerodl-c --help)"),
            (["--verison"], "unrecognized arguments: --verison; did you mean --version? (see zerodl-c --help)"),
            (["train", "--engine", "cuda"], "argument --engine: invalid choice: 'cuda'"),
            (["train", "--dtype", "float16"], "argument --dtype: invalid choice: 'float16'"),
            (["train", "--lr", "-inf"], "argument --lr: "),
            (["train", "--out"], "argument --out: expected one argument"),
            (["train", "--fast"], "unrecognized arguments: --fast (see zerodl-c train --help)"),
            (["train", "--epohcs=3"], "--epohcs=3; did you mean --epochs? (see zerodl-c train --help)"),
            (["train", "--dtype", "flaot32"], "; did you mean float32? (see zerodl-c train --help)"),
            (["run", "--verfy", "x.py"], "--verfy; did you mean --verify? (see zerodl-c run --help)"),
            (["train", "--batch-size", "1438"], "must be at most the 1437 images to train with"),
        ],
    )
    def test_impossible_options(self, capsys, arguments, message):
        assert message in fails(capsys, *arguments)

    def test_missing_data(self, capsys, tmp_path):
        nowhere = str(tmp_path / "nowhere")
        assert fails(capsys, "train", "--data", nowhere) == f"there is no folder {nowhere}"
        assert "neither train-images" in fails(capsys, "train", "--data", str(tmp_path))

    def test_damaged_data(self, capsys, tmp_path):
        path = tmp_path / "train-images-idx3-ubyte"
        path.write_bytes(b"damaged")
        (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"damaged")
        message = fails(capsys, "train", "--data", str(tmp_path))
        assert message.startswith(f"{path} is not an IDX file")

    def test_data_that_cannot_be_read(self, capsys, tmp_path):
        for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
            (tmp_path / name).mkdir()
        message = fails(capsys, "train", "--data", str(tmp_path))
        assert message.startswith(f"{tmp_path / 'train-images-idx3-ubyte'}: ")

    @pytest.mark.parametrize("module", ["sklearn", "tqdm", "threadpoolctl", "matplotlib"])
    def test_missing_module_names_the_extra_before_any_work(self, capsys, monkeypatch, tmp_path, module):
        hide(monkeypatch, module)
        monkeypatch.setattr(train, "load_digits", lambda: pytest.fail("data was read"))
        message = fails(capsys, *QUICK, "--out", str(tmp_path))
        assert message == f"the module {module} is missing: pip install 'zerodl_c[demo]'"
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("module", ["tqdm", "threadpoolctl"])
    def test_missing_module_before_data_is_read(self, capsys, monkeypatch, tmp_path, module):
        hide(monkeypatch, module)
        message = fails(capsys, "train", "--data", str(tmp_path / "nowhere"))
        assert message == f"the module {module} is missing: pip install 'zerodl_c[demo]'"

    def test_pictures_name_the_extra(self, monkeypatch):
        hide(monkeypatch, "matplotlib")
        with pytest.raises(ModuleNotFoundError) as info:
            importlib.import_module("zerodl_c.plot")
        assert str(info.value) == "the module matplotlib is missing: pip install 'zerodl_c[demo]'"

    def test_module_that_is_broken(self, capsys, monkeypatch):
        hide(monkeypatch, "tqdm", ImportError("DLL load failed\nwhile importing"))
        assert fails(capsys, *QUICK) == "the module tqdm cannot be imported: DLL load failed while importing"

    def test_a_module_that_we_forgot_is_a_bug_of_ours(self, monkeypatch):
        hide(monkeypatch, "zerodl_c.plot")
        monkeypatch.delitem(sys.modules, "zerodl_c.plot", raising=False)
        with pytest.raises(ModuleNotFoundError, match=r"zerodl_c\.plot"):
            cli.main([*QUICK, "--out", "."])

    @pytest.mark.parametrize("below", [False, True])
    def test_out_is_a_file(self, capsys, monkeypatch, tmp_path, below):
        path = tmp_path / "file"
        path.write_text("kept")
        monkeypatch.setattr(train._Run, "step", lambda *_: pytest.fail("training began"))
        message = fails(capsys, *QUICK, "--out", str(path / "below" if below else path))
        assert str(path) in message
        assert path.read_text() == "kept"

    def test_out_is_not_writable(self, capsys, monkeypatch, tmp_path):
        # Simulated, because nothing is forbidden to the user that containers run tests as.
        def refuse(dir):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
        monkeypatch.setattr(train._Run, "step", lambda *_: pytest.fail("training began"))
        message = fails(capsys, *QUICK, "--out", str(tmp_path))
        assert message == f"argument --out: cannot write to {tmp_path / 'params_c.npz'}: Permission denied"

    def test_lack_of_memory(self, capsys, monkeypatch):
        # Simulated, because some systems promise any amount and then end the process.
        def run_out(*_):
            raise MemoryError("Unable to allocate 954. GiB")

        monkeypatch.setattr(train, "_start", run_out)
        assert fails(capsys, *QUICK) == "not enough memory: Unable to allocate 954. GiB"

    @pytest.mark.parametrize("kind", [ValueError, AttributeError, RuntimeError, KeyError])
    def test_bugs_of_ours_keep_their_traceback(self, monkeypatch, kind):
        def bug():
            raise kind("a bug")

        monkeypatch.setattr(zerodl_c, "show_config", bug)
        with pytest.raises(kind, match="a bug"):
            cli.main(["info"])

    def test_trouble_that_names_no_option(self, capsys, monkeypatch):
        def refuse():
            raise OSError(errno.EIO, os.strerror(errno.EIO), "a\nb")

        monkeypatch.setattr(zerodl_c, "show_config", refuse)
        assert fails(capsys, "info") == f"a b: {os.strerror(errno.EIO)}"

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("engine", ["c", "numpy"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_diverging_training(self, capsys, monkeypatch, tmp_path, engine, dtype):
        arguments = [*QUICK, "--engine", engine, "--dtype", dtype, "--out", str(tmp_path)]
        message = fails(capsys, *arguments, "--lr", "1e308")
        assert message == (f"training diverged: the loss of engine {engine} is nan after epoch 1; try a smaller --lr")
        assert not list(tmp_path.iterdir())

    def test_interrupt(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setattr(train._Run, "step", lambda *_: signal.raise_signal(signal.SIGINT))
        assert cli.main([*QUICK, "--out", str(tmp_path)]) == 130
        assert capsys.readouterr().err == "zerodl-c: interrupted\n"
        assert not list(tmp_path.iterdir())


class TestFullDisk:
    """A limit on the size of files makes a write fail halfway, as a full disk does."""

    @pytest.mark.parametrize(
        ("size", "unwritten", "written"),
        [
            (1000, "params_c.npz", []),
            (20_000, "curves.png", ["params_c.npz", "params_numpy.npz"]),
        ],
    )
    def test_leaves_no_half_written_file(self, tmp_path, size, unwritten, written):
        resource = pytest.importorskip("resource", reason="limits are for POSIX systems")
        assert cli.main([*QUICK, "--out", str(tmp_path)]) == 0
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        assert len(before["params_c.npz"]) < 20_000 < len(before["curves.png"])
        limited = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (size, size))
        # Under tools/sanitize.sh, a report of Python's own leaks would not fit either.
        environment = {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ",detect_leaks=0"}
        done = run(*QUICK, "--seed", "1", "--out", str(tmp_path), preexec_fn=limited, env=environment)
        after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        reason = f"cannot write {tmp_path / unwritten}: {os.strerror(errno.EFBIG)}"
        assert (done.returncode, done.stderr) == (2, f"zerodl-c: error: {reason}\n")
        assert after.keys() == before.keys()
        assert [name for name in sorted(after) if after[name] != before[name]] == written
        for name in written:
            assert set(zerodl_c.load(tmp_path / name).params) == {"W1", "b1", "W2", "b2"}

    @pytest.mark.parametrize("name", ["params_c.npz", "params_numpy.npz", "curves.png"])
    def test_result_that_cannot_take_its_place(self, capsys, monkeypatch, tmp_path, name):
        monkeypatch.setattr(train._Run, "step", lambda *_: pytest.fail("training began"))
        (tmp_path / name).mkdir()
        message = fails(capsys, *QUICK, "--out", str(tmp_path))
        assert message == f"argument --out: cannot write to {tmp_path / name}: {os.strerror(errno.EISDIR)}"
        assert [path.name for path in tmp_path.iterdir()] == [name]


ALL = [
    ["--help"],
    ["--version"],
    ["info"],
    ["check", "--sample", "1"],
    QUICK,
    ["hook", "--install"],
    ["bench", "--only", "(3,)"],
]
OUTPUT = "zerodl-c: error: cannot write to standard output: "


@pytest.mark.skipif(os.name == "nt", reason="descriptors of POSIX systems")
class TestStreams:
    """The descriptors that a shell hands over; Python buffers what it writes, unless PYTHONUNBUFFERED is set."""

    @pytest.fixture(autouse=True)
    def buffered(self, monkeypatch):
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)

    @staticmethod
    def start(arguments, **streams):
        """Run the command, with streams as subprocess takes them, or None for a closed one."""
        closed = [("stdout", "stderr").index(name) + 1 for name, stream in streams.items() if stream is None]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | streams
        command = [sys.executable, "-m", "zerodl_c", *arguments]
        close = "".join(f" {fd}>&-" for fd in closed)
        shell = ["sh", "-c", f'exec "$@"{close}', "sh", *command]
        return subprocess.run(shell, text=True, timeout=120, **pipes)

    @staticmethod
    @contextmanager
    def closed_pipe():
        reader, writer = os.pipe()
        os.close(reader)
        try:
            yield writer
        finally:
            os.close(writer)

    @pytest.mark.parametrize("arguments", ALL, ids=lambda arguments: arguments[0])
    def test_stdout_closed(self, arguments):
        done = self.start(arguments, stdout=None)
        assert (done.returncode, done.stderr) == (2, f"{OUTPUT}{os.strerror(errno.EBADF)}\n")

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
    @pytest.mark.parametrize("arguments", ALL[:5], ids=lambda arguments: arguments[0])
    def test_stdout_full(self, arguments):
        with open("/dev/full", "w") as full:
            done = self.start(arguments, stdout=full)
        assert (done.returncode, done.stderr) == (2, f"{OUTPUT}{os.strerror(errno.ENOSPC)}\n")

    @pytest.mark.parametrize("arguments", ALL[:5], ids=lambda arguments: arguments[0])
    def test_stdout_a_closed_pipe(self, arguments):
        with self.closed_pipe() as writer:
            done = self.start(arguments, stdout=writer)
        assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")

    def test_stderr_that_takes_nothing(self):
        done = self.start(["fly"], stderr=None)
        assert (done.returncode, done.stdout) == (2, "")
        with self.closed_pipe() as writer:
            done = self.start(["fly"], stderr=writer)
        assert (done.returncode, done.stdout) == (2, "")

    def test_both_closed(self):
        assert self.start(["info"], stdout=None, stderr=None).returncode == 2

    def test_a_folder_that_is_gone(self, tmp_path):
        gone = tmp_path / "gone"
        gone.mkdir()
        os.chdir(gone)  # `elsewhere` changes back
        gone.rmdir()
        done = run(*ALL[3])
        assert (done.returncode, done.stderr) == (0, "")
        done = run("check", "mine:f")
        reason = os.strerror(errno.ENOENT)
        assert done.stderr == f"zerodl-c: error: the current folder cannot be found: {reason}\n"
        assert done.returncode == 2


def test_stdout_of_another_kind():
    with redirect_stdout(io.StringIO()) as shown:  # it has no encoding and no descriptor
        assert cli.main(["info"]) == 0
    assert shown.getvalue().startswith("zerodl_c ")


class TestHelp:
    @pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["info", "--help"]])
    def test_is_printed(self, capsys, arguments):
        with pytest.raises(SystemExit) as info:
            cli.main(arguments)
        assert info.value.code == 0
        assert "usage: zerodl-c" in capsys.readouterr().out

    def test_version(self, capsys):
        with pytest.raises(SystemExit) as info:
            cli.main(["--version"])
        assert info.value.code == 0
        assert capsys.readouterr().out == f"zerodl-c {zerodl_c.__version__}\n"
        assert zerodl_c.__version__ == metadata.version("zerodl_c")

    def test_loads_no_package_that_it_does_not_need(self, python):
        slow = {"importlib.metadata", "matplotlib", "sklearn", "threadpoolctl", "tqdm", "zerodl_c.bench"}
        code = f"""
import sys
from zerodl_c.cli import main
try:
    main(["--help"])
finally:
    print({slow} & {{*sys.modules}})
"""
        assert python(code).stdout.endswith("\nset()\n")

    def test_info(self, capsys):
        assert cli.main(["info"]) == 0
        shown = capsys.readouterr().out
        zerodl_c.show_config()
        assert shown == capsys.readouterr().out != ""
