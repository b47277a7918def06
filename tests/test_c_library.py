"""The C core as a library of its own: built by CMake, installed, and found by pkg-config and find_package."""

import os
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEADER = next((ROOT / "csrc").rglob("zerodl.h"))
PAGE = (ROOT / "docs" / "c.md").read_text(encoding="utf-8")

NEEDED = ("cmake", "pkg-config", "cc")
needs_cmake = pytest.mark.skipif(
    sys.platform == "win32" or not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"
)


def run(*command, **environment):
    """What a command prints; it must end well and warn of nothing."""
    environment = os.environ | {"LD_PRELOAD": ""} | environment  # a compiler is not to run under a sanitizer
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout


def test_the_header_has_the_packages_version():
    (version,) = re.findall(r'^#define ZERODL_VERSION "(.*)"$', HEADER.read_text(), re.M)
    assert version == metadata.version("zerodl_c")


@pytest.fixture(scope="module", params=["static", "shared"])
def installed(request, tmp_path_factory):
    """A prefix with the library, and the folder that it was built in. Unoptimized, which is sooner."""
    folder = tmp_path_factory.mktemp(request.param)
    options = f"-DBUILD_SHARED_LIBS={'ON' if request.param == 'shared' else 'OFF'}", "-DCMAKE_BUILD_TYPE=Debug"
    run("cmake", "-S", ROOT, "-B", folder / "build", "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror", *options)
    run("cmake", "--build", folder / "build", "--parallel", "2")
    run("cmake", "--install", folder / "build", "--prefix", folder / "prefix")
    shutil.rmtree(folder / "build")  # nothing that is installed may refer to it
    (folder / "prefix").rename(folder / "moved")
    return folder / "moved"


def learns(program, prefix):
    path = os.pathsep.join(str(folder) for folder in prefix.glob("lib*"))
    assert "correct" in run(program, LD_LIBRARY_PATH=path, DYLD_LIBRARY_PATH=path)


@needs_cmake
def test_the_library_is_static_or_shared(installed):
    names = {path.name for folder in installed.glob("lib*") for path in folder.rglob("libzerodl*")}
    assert (names == {"libzerodl.a"}) == installed.parent.name.startswith("static")
    assert (installed / "include" / "zerodl.h").read_bytes() == HEADER.read_bytes()


@needs_cmake
def test_pkg_config_finds_it(installed, tmp_path):
    (folder,) = installed.rglob("pkgconfig")
    ask = ("pkg-config", "zerodl")
    flags = run(*ask, "--cflags", "--libs", PKG_CONFIG_PATH=str(folder)).split()
    assert run(*ask, "--modversion", PKG_CONFIG_PATH=str(folder)).strip() == metadata.version("zerodl_c")
    run("cc", ROOT / "examples" / "train_a_net.c", *flags, "-lm", "-o", tmp_path / "train")
    learns(tmp_path / "train", installed)


@needs_cmake
def test_find_package_finds_it(installed, tmp_path):
    """By the lines that docs/c.md shows."""
    (lines,) = re.findall(r"^```cmake\n(.*?)^```", PAGE, re.M | re.S)
    (tmp_path / "CMakeLists.txt").write_text(lines)
    shutil.copy(ROOT / "examples" / "train_a_net.c", tmp_path / "program.c")
    run("cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-DCMAKE_PREFIX_PATH={installed}")
    run("cmake", "--build", tmp_path / "build")
    learns(tmp_path / "build" / "program", installed)
