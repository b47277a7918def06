"""The command zerodl-c bench: what it prints, keeps and refuses. No test depends on how long anything takes."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from api import THREADED
from arrays import DTYPES

import zerodl_c
from zerodl_c import bench, cli
from zerodl_c._bridge import ffi, lib
from zerodl_c.bench import cases, engines, machine, nets, report, timing

pytestmark = pytest.mark.usefixtures("elsewhere")

QUICK = ["bench", "--engines", "c", "--rounds", "1", "--threads", "1", "--dtype", "float64"]
TINY = [*QUICK, "--only", "sigmoid (3,)"]
FILE = Path(__file__).resolve().parent.parent / "benchmarks" / "peers.py"
PEERS = bench.load_peers(FILE)

# Prints how many small cases an engine has, or ends with the error that it gives other results than NumPy.
AGREE = """
import numpy as np
from zerodl_c.bench import cases, engines
found = engines.ENGINES | dict(engines.load_peers({path!r}))
players = [found["{name}"](), engines.NumPy()]
known = [case for case in cases.chosen_cases() if hasattr(players[0], case.kind)]
small = [case for case in known if case.group != "matmul" or case.flops < 2e8]
with engines.equal_threads([engines.C(), *players], 1):
    works = [cases.works_of(case, np.dtype(dtype), players) for dtype in ("f", "d") for case in small]
print(sum("{name}" in work for work in works))
"""


@pytest.fixture(autouse=True)
def short_turns(monkeypatch):
    monkeypatch.setattr(timing, "WARM_UP", 1e-4)
    monkeypatch.setattr(timing, "STRETCH", 1e-4)
    monkeypatch.setattr(timing, "TURN", 1e-4)
    monkeypatch.setattr(timing, "PAUSE", 0)


@pytest.fixture
def times(monkeypatch):
    """What a call of each engine is said to take, instead of measuring it."""
    seconds = {"c": 1e-6, "numpy": 2e-6}
    monkeypatch.setattr(
        bench, "seconds_per_call", lambda works, rounds: {name: seconds.get(name, 1.0) for name in works}
    )
    return seconds


def lines(capsys, *arguments, status=0):
    """Run the command; return what it prints."""
    assert cli.main(arguments) == status
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def rows(printed):
    """The cells of the tables' rows, with neither their heads nor their rules."""
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in printed if line.startswith("|")]
    return [cells for cells in table if cells[0] != "dtype" and set(cells[0]) != {"-"}]


def fails(capsys, *arguments):
    """Run a command that must fail; return what it says after 'zerodl-c: error: '."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    [line] = captured.err.splitlines()
    return line.removeprefix("zerodl-c: error: ")


class TestTable:
    def test_a_row_for_each_case_dtype_and_thread_count(self, capsys):
        before = zerodl_c.get_num_threads()
        counts = [1, 2] if THREADED else [1]
        arguments = ["--only", "(3,)", "--threads", *map(str, counts), "--dtype", "float32", "float64"]
        printed = lines(capsys, "bench", "--engines", "c", "--rounds", "1", *arguments)
        expected = [
            [dtype, str(n), case]
            for n in counts
            for dtype in ("float32", "float64")
            for case in ("sigmoid (3,)", "softmax (3,)", "tiny: geometric mean", "tiny: worst")
        ]
        assert [cells[:3] for cells in rows(printed)] == expected
        assert zerodl_c.get_num_threads() == before

    def test_figures(self, capsys, times, monkeypatch):
        monkeypatch.setattr(machine.Peaks, "flops_per_second", lambda self, dtype: 1e12)
        monkeypatch.setattr(machine.Peaks, "pass_seconds", lambda self, dtype, elements: elements * 1e-12)
        [cells] = rows(lines(capsys, *QUICK, "--only", "matmul (100x784)(784x50)"))
        assert cells[3:] == ["1.00", "7840.0 GF/s", "784%", "2.00", "2.00x"]
        [cells] = rows(lines(capsys, *QUICK, "--only", "sigmoid (100, 1000)"))
        assert cells[3:] == ["1.00", "0.01 ns", "10%", "2.00", "2.00x"]
        [cells] = rows(lines(capsys, *QUICK, "--only", "loss and gradient (1000, 1000)"))
        assert cells[5] == "200%"

    def test_losses_are_named(self, capsys, times):
        assert lines(capsys, *TINY)[-1] == "slower than numpy: none of 1 cases"
        times["numpy"] = 0.5e-6
        printed = lines(capsys, *TINY)
        assert printed[-2:] == ["slower than numpy: 1 of 1 cases", "    sigmoid (3,), float64, threads 1: 0.50x"]

    def test_strict(self, capsys, times):
        lines(capsys, *TINY, "--strict")
        times["numpy"] = 0.5e-6
        lines(capsys, *TINY, "--strict", status=1)

    def test_as_a_program(self):
        done = subprocess.run([sys.executable, "-m", "zerodl_c", *TINY], capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        assert [cells[2] for cells in rows(done.stdout.splitlines())] == ["sigmoid (3,)"]

    def test_the_faster_of_numpys_two_products_counts(self, capsys, times):
        [cells] = rows(lines(capsys, *QUICK, "--only", "(2x3)"))
        assert cells[-1] == "2.00x"
        times["numpy" + cases.OTHER] = 1.5e-6
        [cells] = rows(lines(capsys, *QUICK, "--only", "(2x3)"))
        assert cells[-1] == "1.50x"


class TestStrength:
    @pytest.fixture
    def of_avx512(self, monkeypatch):
        monkeypatch.setattr(machine._config, "isa_levels", lambda: ["baseline", "avx2", "avx512"])

    def warned(self, blas="openblas 0.3.31 SkylakeX", variables=(), **peers):
        told = {"blas": [blas], "peers": peers, "held back by": dict(variables)}
        return list(machine._warnings(told))

    def test_the_header_names_what_peers_compute_with(self, capsys, times, monkeypatch):
        monkeypatch.setenv("DNNL_MAX_CPU_ISA", "AVX")
        printed = lines(capsys, *TINY)
        [peers] = [line for line in printed if line.startswith("peers ")]
        assert "numpy: " in peers
        [warning] = [line for line in printed if "DNNL_MAX_CPU_ISA=AVX" in line]
        assert warning.startswith("WARNING ") and "--full-strength" in warning

    def test_full_strength_is_a_process_without_the_variables(self):
        environment = {**os.environ, "OPENBLAS_L2_SIZE": "524288", "ATEN_CPU_CAPABILITY": "default"}
        command = [sys.executable, "-m", "zerodl_c", *TINY, "--full-strength"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert "OPENBLAS_L2_SIZE" not in done.stdout
        assert [cells[2] for cells in rows(done.stdout.splitlines())] == ["sigmoid (3,)"]

    def test_full_strength_ends_as_the_process_does(self, monkeypatch):
        monkeypatch.setenv("OPENBLAS_L2_SIZE", "524288")
        assert cli.main(["bench", "--full-strength", "--only", "attention"]) == 2

    @pytest.mark.usefixtures("of_avx512")
    def test_kernels_below_the_processors(self):
        assert not self.warned(numpy="X86_V2 X86_V3 X86_V4 AVX512_ICL", torch="AVX512")
        assert not self.warned(blas="mkl 2024.0")
        assert not self.warned(blas="openblas 0.3.32 SapphireRapids")
        [warning] = self.warned(blas="openblas 0.3.31 Haswell")
        assert "avx512" in warning and warning.endswith("openblas 0.3.31 Haswell")
        [warning] = self.warned(torch="AVX2")
        assert warning.endswith("torch computes with AVX2")
        [warning] = self.warned(variables={"OPENBLAS_CORETYPE": "Haswell"})
        assert "OPENBLAS_CORETYPE=Haswell" in warning

    def test_a_level_without_names_is_never_below(self, monkeypatch):
        monkeypatch.setattr(machine._config, "isa_levels", lambda: ["baseline", "neon"])
        assert not self.warned(blas="openblas 0.3.31 armv8", torch="DEFAULT")


class TestDigits:
    @pytest.fixture
    def folder(self, tmp_path):
        rng = np.random.default_rng(0)
        (tmp_path / "mnist").mkdir()
        for part, count in (("train", 120), ("t10k", 30)):
            images, labels = rng.integers(0, 256, (count, 28, 28), np.uint8), rng.integers(0, 10, count, np.uint8)
            for name, array in (("images-idx3", images), ("labels-idx1", labels)):
                header = b"\0\0\x08" + bytes([array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
                (tmp_path / "mnist" / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())
        return str(tmp_path / "mnist")

    def test_cases_on_digits(self, capsys, times, folder):
        found = {cells[2] for cells in rows(lines(capsys, *QUICK, "--only", ", digits", "--data", folder))}
        net = "TwoLayerNet(784, 50, 10)"
        expected = {f"{net} {what}, digits" for what in ("step of 100", "predict 100", "accuracy 150")}
        nets = ("MultiLayerNet", "SimpleConvNet", "DeepConvNet")
        expected |= {f"{name} step of 100, SGD, digits" for name in nets}
        expected.add("MLPClassifier(784, 100, 10) fit 150, digits")
        assert {name for name in found if not name.startswith(("net: ", "estimator: "))} == expected

    def test_without_data_there_are_none(self, capsys):
        assert fails(capsys, *QUICK, "--only", ", digits").startswith("no case has ', digits' in its name")

    def test_other_images(self, capsys, folder):
        path = os.path.join(folder, "train-images-idx3-ubyte")
        with open(path, "r+b") as file:
            file.seek(8)
            file.write((14).to_bytes(4, "big") + (56).to_bytes(4, "big"))
        for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
            os.remove(os.path.join(folder, name))
        lines(capsys, *QUICK, "--only", "sigmoid (3,)", "--data", folder)  # 784 pixels all the same
        with open(path, "r+b") as file:
            file.seek(8)
            file.write((7).to_bytes(4, "big"))
            file.truncate(16 + 120 * 7 * 56)
        message = fails(capsys, *QUICK, "--data", folder)
        assert message == "argument --data: needs images of 28 x 28 pixels, got 392 pixels"


class TestFiles:
    def test_json(self, capsys, tmp_path, times):
        path = tmp_path / "new.json"
        lines(capsys, *QUICK, "--only", "(3,)", "--json", str(path))
        result = json.loads(path.read_text(encoding="utf-8"))
        assert result["schema"] == 1
        assert set(result["machine"]) >= {"cpu", "cores", "isa", "compiler", "python", "engines"}
        assert set(result["machine"]["engines"]) == {"c", "numpy"}
        [peak] = result["peaks"]["flops"]
        assert (peak["dtype"], peak["threads"]) == ("float64", 1) and peak["per_second"] > 0
        assert [record["case"] for record in result["records"]] == ["sigmoid (3,)", "softmax (3,)"]
        assert all(record["seconds"] == times for record in result["records"])
        assert list(tmp_path.iterdir()) == [path]

    def test_json_keeps_the_passes_over_memory(self, capsys, tmp_path):
        lines(capsys, *QUICK, "--only", "softmax (100, 10)", "--json", str(tmp_path / "new.json"))
        result = json.loads((tmp_path / "new.json").read_text(encoding="utf-8"))
        [once] = result["peaks"]["passes"]
        assert (once["dtype"], once["threads"], once["elements"]) == ("float64", 1, 1000)
        assert once["bytes_per_second"] == pytest.approx(16000 / once["seconds"])

    def test_compare(self, capsys, tmp_path, times):
        path = str(tmp_path / "old.json")
        lines(capsys, *QUICK, "--only", "(3,)", "--json", path)
        times.update(c=0.5e-6, numpy=2.5e-6)
        printed = lines(capsys, *TINY[:-1], "sigmoid (", "--compare", path, "--json", path)
        start = next(i for i, line in enumerate(printed) if line.startswith("Speed since"))
        change, mean = rows(printed[start:])
        assert change == ["float64", "1", "sigmoid (3,)", "1.00", "0.50", "2.00x", "0.80x"]
        assert mean[2:] == ["geometric mean", "", "", "2.00x", "0.80x"]
        assert "only in the older result, float64, threads 1: softmax (3,)" in printed
        [only_new] = [line for line in printed if line.startswith("only in the new")]
        assert only_new.endswith("sigmoid (100, 50), sigmoid (100, 1000), sigmoid (1000, 1000)")
        assert bench.read(tmp_path / "old.json").records[0].seconds["c"] == 0.5e-6  # replaced, after it was read

    def test_png(self, capsys, tmp_path):
        path = tmp_path / "ratios.png"
        lines(capsys, *TINY, "--png", str(path))
        png = path.read_bytes()
        assert png.startswith(b"\x89PNG\r\n\x1a\n") and png.endswith(b"IEND\xaeB`\x82")

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", "null", '{"schema": 1}', '{"schema": 1, "records": [], "machine": {}}', b"\xff", "[" * 200_000],
        ids=lambda content: repr(content[:20]),
    )
    def test_foreign_json(self, capsys, tmp_path, content):
        path = tmp_path / "old.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        message = fails(capsys, *TINY, "--compare", str(path))
        assert message == f"{path} is not a result of zerodl-c bench --json"

    @pytest.mark.parametrize(
        "damage",
        [
            *({"seconds": seconds} for seconds in ({"c": 1}, {"c": 0, "numpy": 1}, {"c": "1", "numpy": 1}, [1, 2])),
            {"seconds": {"c": 10**400, "numpy": 1}},
            {"seconds": {"c": float("nan"), "numpy": 1}},
            {"case": 7},
            {"case": []},
            {"dtype": None},
        ],
        ids=lambda damage: repr(damage)[:40],
    )
    def test_damaged_json(self, capsys, tmp_path, times, damage):
        path = tmp_path / "old.json"
        lines(capsys, *TINY, "--json", str(path))
        result = json.loads(path.read_text(encoding="utf-8"))
        result["records"][0].update(damage)
        path.write_text(json.dumps(result))
        assert "is not a result" in fails(capsys, *TINY, "--compare", str(path))

    @pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="this system has no file without an end")
    def test_json_without_an_end(self, capsys):
        assert fails(capsys, *TINY, "--compare", "/dev/zero") == "/dev/zero is not a result of zerodl-c bench --json"

    def test_another_schema(self, capsys, tmp_path):
        (tmp_path / "old.json").write_text('{"schema": 2}')
        message = fails(capsys, *TINY, "--compare", str(tmp_path / "old.json"))
        assert message.endswith("has schema 2, and this version of zerodl_c reads schema 1")

    def test_missing_json(self, capsys, tmp_path):
        path = str(tmp_path / "old.json")
        assert fails(capsys, *TINY, "--compare", path) == f"{path}: {os.strerror(errno.ENOENT)}"

    @pytest.mark.parametrize("option", ["--json", "--png"])
    def test_places_that_cannot_be_written(self, capsys, monkeypatch, tmp_path, option):
        for path, number in ((tmp_path, errno.EISDIR), (tmp_path / "nowhere" / "file", errno.ENOENT)):
            message = fails(capsys, *TINY, option, str(path))
            assert message == f"argument {option}: cannot write to {path}: {os.strerror(number)}"

        # Simulated, because nothing is forbidden to the user that containers run tests as.
        def refuse(dir):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(dir))

        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
        path, reason = tmp_path / "file", os.strerror(errno.EACCES)
        assert fails(capsys, *TINY, option, str(path)) == f"argument {option}: cannot write to {path}: {reason}"

    def test_a_link_stays(self, capsys, tmp_path):
        (tmp_path / "folder").mkdir()
        link = tmp_path / "link.json"
        try:
            link.symlink_to(tmp_path / "folder" / "new.json")
        except OSError:
            pytest.skip("this user may not make links")
        lines(capsys, *TINY, "--json", str(link))
        assert link.is_symlink() and bench.read(tmp_path / "folder" / "new.json").records

    def test_a_name_as_long_as_can_be(self, capsys, tmp_path):
        path = tmp_path / f"{'x' * 250}.json"
        lines(capsys, *TINY, "--json", str(path))
        assert [path] == list(tmp_path.iterdir())

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
    def test_a_device_or_pipe_stays_what_it_is(self, capsys, tmp_path):
        path = tmp_path / "pipe"
        os.mkfifo(path)
        reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        try:
            lines(capsys, *TINY, "--json", str(path))
            assert json.loads(os.read(reader, 2**16))["schema"] == 1
        finally:
            os.close(reader)
        assert path.is_fifo() and [path] == list(tmp_path.iterdir())


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--engines", "cuda"], "argument --engines: invalid choice: 'cuda' (choose from 'c', 'numpy'"),
            (["--engines", "nunpy"], "argument --engines: invalid choice: 'nunpy'"),
            (["--only", "attention"], "no case has 'attention' in its name; among them are: sigmoid, "),
            (["--threads", "0"], "argument --threads: must be an integer from 1 "),
            (["--rounds", "0"], "argument --rounds: must be an integer from 1 "),
            (["--dtype", "float16"], "argument --dtype: invalid choice: 'float16'"),
        ],
    )
    def test_impossible_options(self, capsys, arguments, message):
        assert fails(capsys, "bench", *arguments).startswith(message)

    def test_engine_that_is_not_installed(self, capsys, monkeypatch):
        monkeypatch.setattr(engines, "find_spec", lambda module: None)
        message = fails(capsys, "bench", "--engines", "torch", "--peers", str(FILE))
        assert message == "engine torch needs: pip install torch"

    def test_engine_that_is_broken(self, capsys, monkeypatch, times):
        def broken(self):
            raise ImportError("no libtorch.so")

        monkeypatch.setattr(engines, "find_spec", lambda module: module == "torch" or None)
        monkeypatch.setattr(bench, "load_peers", lambda path: PEERS)
        monkeypatch.setattr(PEERS["torch"], "__init__", broken)
        assert fails(capsys, "bench", "--engines", "torch") == "engine torch cannot be imported: no libtorch.so"
        default = [argument for argument in TINY if argument not in ("--engines", "c")]
        assert "left out: torch, which cannot be imported: no libtorch.so" in lines(capsys, *default)

    def test_engine_that_lacks_a_part_is_left_out_with_a_word(self, monkeypatch):
        monkeypatch.setattr(engines, "find_spec", lambda module: module == "onnxruntime" or None)
        players, left_out = engines.chosen(PEERS, None)
        assert [player.name for player in players] == ["c", "numpy"]
        assert left_out == ["left out: onnxruntime, which needs: pip install onnx"]

    @pytest.mark.parametrize(("module", "option"), [("threadpoolctl", "--strict"), ("matplotlib", "--png=new.png")])
    def test_missing_module_names_the_extra(self, python, module, option):
        code = f"import sys; sys.modules['{module}'] = None; from zerodl_c.cli import main; main({[*TINY, option]})"
        done = python(code)
        assert done.stdout == ""
        assert done.stderr.startswith(f"zerodl-c: error: the module {module}")
        assert done.stderr.endswith(" is missing: pip install 'zerodl_c[bench]'\n")

    def test_wrong_result(self, capsys, monkeypatch):
        monkeypatch.setattr(engines.NumPy, "sigmoid", lambda self, x: lambda: 1 + zerodl_c.sigmoid(x))
        assert cli.main(TINY) == 2
        assert capsys.readouterr().err == (
            "zerodl-c: error: sigmoid (3,), float64: the result of engine c is not that of numpy\n"
        )

    def test_interrupt(self, capsys, monkeypatch, tmp_path):
        monkeypatch.setattr(bench, "seconds_per_call", lambda *_: signal.raise_signal(signal.SIGINT))
        assert cli.main([*TINY, "--json", str(tmp_path / "new.json")]) == 130
        assert capsys.readouterr().err == "zerodl-c: interrupted\n"
        assert not list(tmp_path.iterdir())


class TestEngines:
    @pytest.mark.parametrize("name", ["c", *PEERS])
    def test_gives_numpys_results(self, python, name):
        """In a process of its own, for these libraries start threads and change settings."""
        if (bench.ENGINES | dict(PEERS))[name].missing():
            pytest.skip(f"{name} is not installed")
        done = python(AGREE.format(name=name, path=str(FILE)))
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) > 0

    def test_nothing_is_loaded_before_it_runs(self, python):
        code = "import sys, zerodl_c.cli; print({'zerodl_c.bench', 'torch', 'jax', 'scipy'} & set(sys.modules))"
        assert python(code).stdout == "set()\n"

    def test_names_are_unique(self):
        names = [case.name for case in cases.chosen_cases()]
        assert len(names) == len(set(names))
        assert all(len(name) <= report.CASE_WIDTH for name in names)
        assert all(any(family in name for family in cases._FAMILIES) for name in names)
        assert all(any(family in name for name in names) for family in cases._FAMILIES)

    def test_float32_stays_float32(self):
        """In C: results of the others are held to these, dtypes included."""
        for case in cases.chosen_cases():
            if case.group != "matmul":
                work = engines.C().work(case.kind, case.inputs(np.dtype(np.float32)))
                assert {x.dtype for x in cases._arrays(work())} == {np.dtype(np.float32)}, case.name

    def test_a_step_is_more_than_engines_may_differ_by(self):
        for case in cases.chosen_cases(" step of "):
            inputs = case.inputs(np.dtype(np.float64))
            [params] = [list(x.values()) for x in inputs if isinstance(x, dict)]
            after = cases._arrays(engines.C().work(case.kind, inputs)())[: len(params)]
            assert [x.shape for x in after] == [x.shape for x in params]
            assert not cases._agree(after, params), case.name

    @pytest.mark.parametrize("name", ["MultiLayerNetExtend", "DeepConvNet"])
    def test_dropout_drops_when_it_is_timed_and_not_when_results_are_compared(self, name):
        [case], players, dtype = cases.chosen_cases(name), [engines.C(), engines.NumPy()], np.dtype(np.float32)
        timed = [cases.works_of(case, dtype, players)["c"] for _ in range(2)]
        assert not cases._agree(*(cases._arrays(work()) for work in timed))
        compared = [engines.C().work(case.kind, case.checked_inputs(dtype)) for _ in range(2)]
        assert cases._agree(*(cases._arrays(work()) for work in compared))

    @pytest.mark.parametrize("flaw", ["dtype", "shape", "value", "nan", "number"])
    def test_agreement(self, flaw):
        x = np.linspace(1, 2, 6)
        flawed = {"dtype": x.astype("f"), "shape": x[None], "value": x + 0.01, "nan": x * np.nan, "number": None}[flaw]
        assert cases._agree([x, x], [x, x + 1e-5])
        assert not cases._agree([x] if flawed is None else [x, flawed], [x, x])


class TestPeers:
    @pytest.fixture
    def no_checkout(self, monkeypatch, tmp_path):
        """The package as a wheel installs it, used in an empty folder."""
        monkeypatch.setattr(zerodl_c, "__file__", str(tmp_path / "site-packages" / "zerodl_c" / "__init__.py"))

    def test_of_the_repository(self):
        assert list(PEERS) == ["torch", "scipy", "sklearn", "onnxruntime", "jax"]

    @pytest.mark.usefixtures("no_checkout")
    def test_without_the_file_c_and_numpy_are_timed_and_one_line_tells_how_to_get_more(self, capsys, times):
        default = [argument for argument in TINY if argument not in ("--engines", "c")]
        printed = lines(capsys, *default)
        assert printed.count(engines.NO_PEERS) == 1
        assert rows(printed)[0][-1] == "2.00x"
        assert engines.NO_PEERS not in lines(capsys, *TINY)

    @pytest.mark.usefixtures("no_checkout")
    def test_name_of_a_peer_without_the_file(self, capsys):
        assert fails(capsys, "bench", "--engines", "torch") == (
            "argument --engines: invalid choice: 'torch' (choose from 'c', 'numpy'); no peers: for PyTorch, SciPy and "
            "others give --peers benchmarks/peers.py, which zerodl_c's repository has (see zerodl-c bench --help)"
        )

    @pytest.mark.parametrize("start", ["package", "current folder"])
    def test_in_a_checkout_they_are_found(self, monkeypatch, no_checkout, tmp_path, start):
        checkout = tmp_path / "checkout"
        for name, text in {"csrc/zerodl.h": "", "benchmarks/peers.py": FILE.read_text(encoding="utf-8")}.items():
            (checkout / name).parent.mkdir(parents=True)
            (checkout / name).write_text(text, encoding="utf-8")
        assert not bench.load_peers()
        if start == "package":
            monkeypatch.setattr(zerodl_c, "__file__", str(checkout / "zerodl_c" / "__init__.py"))
        else:
            monkeypatch.chdir(checkout)
        assert list(bench.load_peers()) == list(PEERS)

    @pytest.mark.usefixtures("no_checkout")
    def test_a_file_of_ones_own_takes_part(self, capsys, times, tmp_path):
        (tmp_path / "mine.py").write_text(
            "import zerodl_c\nfrom zerodl_c.bench.engines import Engine\n"
            "class Mine(Engine):\n    name = 'mine'\n"
            "    def sigmoid(self, x):\n        return lambda: zerodl_c.sigmoid(x)\n"
            "PEERS = [Mine]\n"
        )
        times["mine"] = 5e-6
        [cells] = rows(lines(capsys, *TINY, "--engines", "mine", "--peers", "mine.py"))
        assert cells[-1] == "5.00x"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1 / 0", "mine.py cannot be run: ZeroDivisionError: division by zero"),
            ("import no_such_module", "mine.py cannot be run: ModuleNotFoundError: No module named 'no_such_module'"),
            ("", "mine.py has no PEERS: a tuple of subclasses of zerodl_c.bench.engines.Engine"),
            ("PEERS = 1, 2", "mine.py has no PEERS: a tuple of subclasses of zerodl_c.bench.engines.Engine"),
            ("PEERS = 1", "mine.py has no PEERS: a tuple of subclasses of zerodl_c.bench.engines.Engine"),
        ],
    )
    def test_other_files(self, capsys, tmp_path, text, message):
        (tmp_path / "mine.py").write_text(text)
        assert fails(capsys, *TINY, "--peers", "mine.py") == message

    def test_missing_file(self, capsys):
        assert fails(capsys, *TINY, "--peers", "mine.py").endswith(f"mine.py: {os.strerror(errno.ENOENT)}")


class TestNets:
    @pytest.mark.parametrize(
        ("name", "flops"),
        [
            ("MultiLayerNet", 200 * (2 * 784 * 100 + 3 * (3 * 100 * 100 + 100 * 10))),
            ("MultiLayerNetExtend", 200 * (2 * 784 * 100 + 3 * (3 * 100 * 100 + 100 * 10))),
            ("SimpleConvNet", 200 * (2 * 24 * 24 * 30 * 25 + 3 * (4320 * 100 + 100 * 10))),
            (
                "DeepConvNet",
                200 * 9 * (28 * 28 * (2 * 16 + 3 * 16 * 16) + 3 * 32 * (14 * 14 * 16 + 16 * 16 * 32))
                + 200 * 3 * (9 * 64 * 8 * 8 * (32 + 64) + 1024 * 50 + 50 * 10),
            ),
        ],
    )
    def test_flops_of_the_products(self, name, flops):
        [net] = [net for net in nets.NETS if net.name == name]
        assert net.flops(100) == flops

    @pytest.mark.parametrize("net", nets.NETS, ids=lambda net: net.name)
    @pytest.mark.parametrize("engine", [engines.C, engines.NumPy])
    def test_learns_the_parameters_that_it_is_given(self, engine, net):
        """The gradient is of these parameters' dtype and shapes, and it follows when they change in place."""
        rng = np.random.default_rng(0)
        params = {key: param.astype(np.float32) for key, param in net.params(rng).items()}
        x, t = rng.normal(size=(2, *net.input_shape)).astype(np.float32), np.array([0, 9])
        made = net.made_of(engine.module, params)
        grads = made.gradient(x, t)
        assert made.params is params
        assert {key: (grad.dtype, grad.shape) for key, grad in grads.items()} == {
            key: (param.dtype, param.shape) for key, param in params.items()
        }
        for param in params.values():
            param[...] = 0
        assert not made.gradient(x, t)["W1"].any()

    @pytest.mark.parametrize("engine", [engines.C, engines.NumPy])
    def test_gradient_of_a_conv_net_is_that_of_its_loss(self, engine):
        layers = (*nets._convolution(2, 1, 3, 1), nets.POOLING, nets._affine(2 * 3 * 3, 3))
        net = nets.Net("small", (1, 6, 6), layers)
        rng = np.random.default_rng(0)
        made = net.made_of(engine.module, net.params(rng))
        assert zerodl_c.gradient_check(made, rng.normal(size=(4, 1, 6, 6)), np.array([0, 1, 2, 0]))


class TestPeak:
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_flops_of_every_level(self, dtype, isa, threads):
        peak = getattr(lib, f"zdl_peak_f{8 * np.dtype(dtype).itemsize}")
        assert peak(0) == 0
        one = peak(1)
        assert one > 0 and one % zerodl_c.get_num_threads() == 0
        assert peak(1000) == 1000 * one

    def test_is_of_the_highest_level_and_leaves_the_level_in_use(self, isa):
        peaks = machine.Peaks(rounds=1)
        assert peaks.flops_per_second(np.dtype(np.float64)) > 0
        assert ffi.string(lib.zdl_get_isa()).decode() == isa
