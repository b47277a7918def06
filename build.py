"""Build the extension: the cffi builder, which setup.py names and `python build.py` runs in place.

csrc/zerodl.h is the one source of truth for the C API: cffi reads the prototypes that C programs include.
Environment: CC chooses the compiler; ZERODL_OPENMP=0 builds without threads; CFLAGS and LDFLAGS are added.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent

PYPA_BUILD = """\
build.py: `python -m build` found this project's own build.py, by Python's rules, and not PyPA's builder.
Type one of these instead:
    pip wheel .         a wheel
    pyproject-build     an sdist and a wheel (pip install build)
    python build.py     the extension alone, in place"""

OPENMP_PROBE = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"


def declarations() -> str:
    """zerodl.h without its preprocessor lines and what only C++ sees."""
    lines, hidden = [], False
    for line in (ROOT / "csrc" / "zerodl.h").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            hidden = line.startswith("#ifdef __cplusplus")
        elif not hidden:
            lines.append(line)
    return "\n".join(lines)


def openmp_flags() -> list[str]:
    """The flags for OpenMP, or none where the compiler cannot link it: the kernels then run serially."""
    if os.environ.get("ZERODL_OPENMP") == "0":
        return []
    if sys.platform == "win32":
        return ["/openmp"]
    compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
    with tempfile.TemporaryDirectory() as folder:
        probe = Path(folder) / "probe.c"
        probe.write_text(OPENMP_PROBE)
        command = [*compiler.split(), *os.environ.get("CFLAGS", "").split(), "-fopenmp", str(probe),
                   *os.environ.get("LDFLAGS", "").split(), "-o", str(probe.with_suffix(""))]
        try:
            linked = subprocess.run(command, capture_output=True, cwd=folder).returncode == 0
        except OSError:
            linked = False
    if not linked:
        print(f"build.py: {compiler} cannot link OpenMP (-fopenmp); building without threads", flush=True)
    return ["-fopenmp"] if linked else []


def make_ffibuilder():
    from cffi import FFI

    openmp = openmp_flags()
    windows = sys.platform == "win32"
    flags = ["/O2", "/D_CRT_SECURE_NO_WARNINGS"] if windows else ["-std=gnu11", "-O2", "-fvisibility=hidden"]
    sources = sorted((ROOT / "csrc").glob("*.c")) + sorted((ROOT / "csrc" / "isa").glob("*.c"))
    headers = sorted((ROOT / "csrc").rglob("*.h"))
    builder = FFI()
    builder.cdef(declarations())
    builder.set_source(
        "zerodl_c._zerodl",
        '#include "zerodl.h"',
        sources=[path.relative_to(ROOT).as_posix() for path in sources],
        depends=[path.relative_to(ROOT).as_posix() for path in headers],
        include_dirs=["csrc"],
        extra_compile_args=flags + openmp,
        extra_link_args=[] if windows else openmp,
        libraries=[] if windows else ["m"],
    )
    return builder


if __name__ == "__main__":
    if __spec__ is not None:
        sys.exit(print(PYPA_BUILD, file=sys.stderr) or 2)
    sys.exit(subprocess.call([sys.executable, "setup.py", "build_ext", "--inplace"], cwd=ROOT))
else:
    ffibuilder = make_ffibuilder()
