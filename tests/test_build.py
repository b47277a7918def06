"""The build: build.py, setup.py, the C header and the source distribution.

What takes long, such as building a wheel as it is shipped and installing it, is in .ci/run.
"""

import importlib.util
import os
import platform
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import zerodl_c
from zerodl_c import _zerodl
from zerodl_c._bridge import lib

ROOT = Path(__file__).resolve().parent.parent
HEADER = ROOT / "csrc" / "zerodl.h"
README = (ROOT / "README.md").read_text(encoding="utf-8")

needs_compiler = pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler")


def python(*arguments, cwd, **environment):
    """Run Python as in a fresh shell: without a sanitizer, which a compiler is not to run under."""
    inherited = {key: value for key, value in os.environ.items() if key != "LD_PRELOAD"}
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def sources(tmp_path):
    """A copy of the checkout to build in, without what was built before."""
    built = (".*", "build", "dist", "*.egg-info", "__pycache__", "*.so", "*.pyd")
    ignore = shutil.ignore_patterns(*built)
    return shutil.copytree(ROOT, tmp_path / "sources", ignore=ignore)


@pytest.mark.parametrize("arguments", [[], ["--wheel"]])
def test_python_m_build_says_what_to_type(arguments):
    done = python("-m", "build", *arguments, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "")
    for command in ("pip wheel .", "pyproject-build", "python build.py"):
        assert f"\n    {command}  " in done.stderr


def test_build_in_place_says_what_it_needs(sources):
    done = python("-I", "-S", "build.py", cwd=sources)  # without site-packages
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'setuptools>=77' 'cffi>=1.16' numpy" in done.stderr


def test_the_library_has_what_the_header_declares():
    spec = importlib.util.spec_from_file_location("zerodl_c_build", ROOT / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    for header, prefix in (("zerodl.h", "zdl_"), ("python/arrays.h", "np_")):
        declarations = re.sub(r"/\*.*?\*/", "", build.declarations(header), flags=re.S)
        declared = set(re.findall(rf"\b({prefix}\w+)\(", declarations))
        assert f"{prefix}matmul{'_f64' * (prefix == 'zdl_')}" in declared
        assert declared == {name for name in dir(lib) if name.startswith(prefix)}


@needs_compiler
@pytest.mark.parametrize("language", [["c", "-std=c99"], ["c++", "-std=c++11"]], ids=["c", "c++"])
def test_the_header_alone_compiles(language):
    strict = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
    command = ["cc", "-x", *language, *strict, str(HEADER)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_version():
    version = re.search(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.M)[1]
    assert metadata.version("zerodl_c") == version
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_sdist_is_complete(sources):
    done = python("setup.py", "-q", "sdist", cwd=sources)
    assert done.returncode == 0, done.stderr
    [archive] = (sources / "dist").iterdir()
    with tarfile.open(archive) as tar:
        packed = {name.partition("/")[2] for name in tar.getnames()}
    folders = ("csrc", "zerodl_c", "tests", "tools", "examples", "docs", "benchmarks")
    wanted = {
        path.relative_to(sources).as_posix()
        for folder in folders
        for path in (sources / folder).rglob("*")
        if path.suffix in {".c", ".h", ".ipynb", ".md", ".py", ".sh", ".typed"}
    }
    assert {"csrc/kernels/matmul.h", "zerodl_c/py.typed", "tests/test_build.py"} <= wanted
    assert {"examples/train_a_net.c", "docs/c.md"} <= wanted
    wanted |= {"CMakeLists.txt", "build.py", "setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE"}
    wanted |= {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
    assert wanted - packed == set()


HEADERS = sorted(path.relative_to(ROOT / "csrc").as_posix() for path in (ROOT / "csrc").rglob("*.h"))
# Of NumPy's arrays, and of an instruction set.
NEEDS_MORE = ("python/", "isa/", "kernels/all.h")


@pytest.mark.skipif(not shutil.which("cc"), reason="needs a C compiler that is called cc")
@pytest.mark.parametrize("header", [header for header in HEADERS if not header.startswith(NEEDS_MORE)])
def test_each_header_includes_what_it_uses(header):
    bits = ("64",) if header.startswith("net/difference") else ("32", "64")  # central differences are in float64
    for real in bits:
        flags = ["-std=gnu11", "-Wall", "-Wno-unused-function", "-Werror", f"-DREAL_BITS={real}", "-fsyntax-only"]
        done = subprocess.run(["cc", *flags, "-x", "c", ROOT / "csrc" / header], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_program_that_includes_our_folder_gets_one_header():
    assert [header for header in HEADERS if "/" not in header] == ["zerodl.h"]


@pytest.mark.skipif(os.name == "nt", reason="setuptools finds MSVC without CC")
@pytest.mark.parametrize("command", ["build_ext", "bdist_wheel"])
def test_without_a_compiler_it_says_how_to_get_one(sources, command):
    done = python("setup.py", command, cwd=sources, CC="no-such-compiler")
    assert done.returncode != 0
    last = done.stderr[done.stderr.rindex("error:") :]
    assert "the C compiler no-such-compiler was not found" in last
    for remedy in ("apt-get install build-essential", "xcode-select --install", "Build Tools for"):
        assert remedy in last
    assert not [*sources.rglob("*.so"), *sources.rglob("*.whl")]


def test_pypy_is_told_why_it_is_refused(sources):
    code = "import runpy, sys; sys.implementation.name = 'pypy'; runpy.run_path('setup.py')"
    done = python("-c", code, cwd=sources)
    told = "zerodl_c needs CPython, and this is pypy: its C takes id() for an address\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)


@needs_compiler
def test_an_error_in_the_sources_is_not_blamed_on_the_compiler(sources):
    (sources / "csrc" / "cpu.c").write_text("#error planted\n")
    done = python("setup.py", "build_ext", cwd=sources, CFLAGS="-O0")
    assert done.returncode != 0
    assert "#error planted" in done.stderr
    assert "apt-get" not in done.stderr


@needs_compiler
def test_a_build_without_threads(sources):
    done = python("setup.py", "build_ext", "-i", cwd=sources, CFLAGS="-O0 -DZDL_NO_THREADS")
    assert done.returncode == 0, done.stderr
    code = "import zerodl_c as z; z.set_num_threads(3); z.sigmoid([0.5] * 10**6); z.show_config()"
    assert python("-c", code, cwd=sources, PYTHONPATH="").stdout.endswith("threads   1 (built without threads)\n")


@needs_compiler
@pytest.mark.skipif(not shutil.which("ldd"), reason="needs ldd")
def test_the_library_needs_no_openmp():
    done = subprocess.run(["ldd", _zerodl.__file__], capture_output=True, text=True)
    assert "libc" in done.stdout and "omp" not in done.stdout.replace(_zerodl.__file__, "")


# ---- Compilers and machines ----------------------------------------------------------------------

on_x86 = pytest.mark.skipif(platform.machine() not in {"x86_64", "AMD64"}, reason="these are flags for x86")
WIDER = "-U__FLT_EVAL_METHOD__ -D__FLT_EVAL_METHOD__=2"


@needs_compiler
@pytest.mark.parametrize(
    ("flags", "remedy"),
    [
        ("-O3", None),
        ("-O3 -ffast-math", "without -ffast-math"),
        ("-Ofast", "without -ffast-math"),
        (WIDER, "-msse2 -mfpmath=sse"),
        pytest.param("-m32 -mno-sse", "-msse2 -mfpmath=sse", marks=on_x86),
        pytest.param("-m32 -msse2 -mfpmath=sse", None, marks=on_x86),
    ],
)
def test_arithmetic_that_is_not_the_types_is_refused(flags, remedy):
    command = ["cc", "-std=gnu11", *flags.split(), "-fsyntax-only", str(ROOT / "csrc" / "internal" / "compiler.h")]
    done = subprocess.run(command, capture_output=True, text=True)
    if remedy:
        assert done.returncode != 0 and "zerodl needs" in done.stderr and remedy in done.stderr
    else:
        assert (done.returncode, done.stderr) == (0, "")


@on_x86
@needs_compiler
@pytest.mark.skipif(os.name == "nt", reason="the compiler is a shell script")
def test_where_arithmetic_is_wider_than_its_type_the_build_asks_for_sse(sources, tmp_path):
    """A compiler that does as one for i386."""
    compiler = tmp_path / "compiler"
    compiler.write_text(f'#!/bin/sh\ncase "$*" in *-mfpmath=sse*) exec cc "$@";; esac\nexec cc {WIDER} "$@"\n')
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    for source in (sources / "csrc").rglob("*.c"):
        source.write_text('#include "internal/compiler.h"\n')  # sooner
    done = python("setup.py", "build_ext", cwd=sources, CC=str(compiler))
    assert done.returncode == 0, done.stderr
    assert "-msse2 -mfpmath=sse" in done.stdout


@pytest.mark.skipif(not shutil.which("tcc"), reason="needs tcc")
def test_a_compiler_without_vectors_builds_the_core(tmp_path):
    files = [ROOT / "examples" / "train_a_net.c", *(ROOT / "csrc").glob("*.c"), *(ROOT / "csrc" / "isa").glob("*.c")]
    command = ["tcc", "-Wall", "-Werror", f"-I{ROOT / 'csrc'}", *files, "-lm", "-o", tmp_path / "program"]
    built = subprocess.run(command, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True, timeout=60)
    assert done.stdout.endswith("step 400  loss 0.0286  correct 300 of 300\n")


def test_the_digest_has_every_function():
    """tools/cross.sh compares what tools/digest.c prints, from machine to machine."""
    header, digest = HEADER.read_text(encoding="utf-8"), (ROOT / "tools" / "digest.c").read_text(encoding="utf-8")
    kernels = set(re.findall(r"\bzdl_(\w+?)(?:_f32|_f64)?\(", header.partition("---- Elementwise")[2]))
    assert {"exp", "evaluate", "network_numerical_gradient"} <= kernels
    assert [name for name in kernels if not re.search(rf"\b(ZDL\({name}\)|zdl_{name})\(", digest)] == []


# ---- get_include() -------------------------------------------------------------------------------


def test_get_include_has_the_header():
    folder = Path(zerodl_c.get_include())
    assert folder.is_absolute() and (folder / "zerodl.h").read_bytes() == HEADER.read_bytes()


@needs_compiler
@pytest.mark.skipif(os.name == "nt", reason="the command is for a POSIX shell")
def test_a_wheel_alone_is_enough_for_a_c_program(sources, tmp_path):
    done = python("setup.py", "-q", "bdist_wheel", cwd=sources, CFLAGS="-O0")
    assert done.returncode == 0, done.stderr
    (wheel,) = (sources / "dist").iterdir()
    shutil.move(sources / "examples" / "train_a_net.c", tmp_path / "program.c")
    installed = tmp_path / "site packages"  # the commands bear the space
    zipfile.ZipFile(wheel).extractall(installed)
    shutil.rmtree(sources)

    commands = re.findall(r"^(csrc=\$\(python .*\ncc .*)$", README, re.M)
    assert len(commands) == 1
    shell = f'python() {{ "{sys.executable}" "$@"; }}\n{commands[0]}\necho $csrc'.replace("-O3", "-O0")  # sooner
    environment = os.environ | {"LD_PRELOAD": "", "PYTHONPATH": str(installed)}
    command = ["sh", "-ec", shell]
    built = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert (built.returncode, built.stdout, built.stderr) == (0, f"{installed / 'zerodl_c' / 'csrc'}\n", "")
    done = subprocess.run([tmp_path / "program"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "loss" in done.stdout
