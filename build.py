"""What the extension is made of: the cffi builder, which setup.py compiles.

csrc/zerodl.h is the one source of truth for the C API: cffi reads the prototypes that C programs
include, and those of csrc/python/arrays.h, which only Python calls. `python build.py` builds the
extension in place, for working on it.
"""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent

PYPA_BUILD = """\
build.py: by Python's rules `python -m build` found this file and not PyPA's builder.
Type one of these instead:
    pip wheel .         a wheel
    pyproject-build     an sdist and a wheel (pip install build)
    python build.py     the extension alone, in place"""

NEEDED = """\
build.py: building in place needs what pip would install for itself first:
    pip install 'setuptools>=77' 'cffi>=1.16' numpy"""


def declarations(header: str) -> str:
    """A header of csrc/ without its preprocessor lines and what only C++ sees."""
    lines, hidden = [], False
    for line in (ROOT / "csrc" / header).read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            hidden = line.startswith("#ifdef __cplusplus")
        elif not hidden:
            lines.append(line)
    return "\n".join(lines)


def ffibuilder():
    """The cffi builder; cffi calls it, and setup.py adds the compiler's flags."""
    import numpy
    from cffi import FFI

    builder = FFI()
    builder.cdef(declarations("zerodl.h"))
    builder.cdef(declarations("python/arrays.h"))
    builder.set_source(
        "zerodl_c._zerodl",
        '#include "python/arrays.h"',
        sources=[*files("*.c"), *files("isa/*.c"), *files("python/*.c")],
        depends=files("**/*.h"),
        include_dirs=["csrc", numpy.get_include()],
    )
    return builder


def files(pattern: str) -> list[str]:
    """The files of csrc/ that match, relative to this one's folder, as setuptools wants them."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc").glob(pattern))


def has_needed() -> bool:
    """Whether setuptools and cffi are here; a fresh environment's setuptools is often too old."""
    try:
        metadata.version("cffi"), metadata.version("numpy")
        return int(metadata.version("setuptools").split(".")[0]) >= 77
    except metadata.PackageNotFoundError:
        return False


def main() -> int:
    """Build in place; 2 if something else must be typed first."""
    run_as_module = __spec__ is not None
    if run_as_module or not has_needed():
        print(PYPA_BUILD if run_as_module else NEEDED, file=sys.stderr)
        return 2
    # egg_info for importlib.metadata, which knows the version
    command = [sys.executable, "setup.py", "egg_info", "build_ext", "--inplace"]
    return subprocess.call(command, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
