"""How setuptools compiles the extension that build.py describes, and how it tags the wheel.

Environment: CC, CFLAGS and LDFLAGS as everywhere.
"""

import os
import re
import shlex
import shutil
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

if sys.implementation.name != "cpython":  # said before any import fails
    sys.exit(f"zerodl_c needs CPython, and this is {sys.implementation.name}: its C takes id() for an address")

import cffi  # noqa: F401  without it, setuptools would only warn of cffi_modules and build no extension
from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import CompileError, LinkError, PlatformError

NO_COMPILER = """\
{reason}
zerodl_c is built from C and needs a C compiler and Python's headers. To install them:
    Debian, Ubuntu   sudo apt-get install build-essential python3-dev
    macOS            xcode-select --install
    Windows          install "Build Tools for Visual Studio" with "Desktop development with C++"
The environment variable CC names another compiler."""

# What compiles where each result is rounded to its type, as the kernels ask.
COMPILER_HEADER = Path("csrc", "internal", "compiler.h").resolve().as_posix()
ARITHMETIC_PROGRAM = f'#include "{COMPILER_HEADER}"\nint probe(void) {{ return 0; }}\n'


class BuildPackage(build_py):
    """build_py that puts csrc/ into the package, without what Python alone calls: what get_include() is for."""

    def finalize_options(self):
        super().finalize_options()
        sources = (path.relative_to("csrc") for path in Path("csrc").rglob("*.[ch]"))
        files = sorted(path.as_posix() for path in sources if path.parts[0] != "python")
        self.data_files.append(("zerodl_c", "csrc", os.path.join(self.build_lib, "zerodl_c", "csrc"), files))


class BuildExtension(build_ext):
    """build_ext that says what is missing, and compiles as many files at once as there are processors."""

    def build_extensions(self):
        self.force = True  # setuptools looks at the sources only, and not at CC, CFLAGS, ...
        msvc = self.compiler.compiler_type == "msvc"
        if msvc and "CC" in os.environ:  # which setuptools reads on other systems alone: clang-cl has MSVC's options
            self.compiler.initialize()
            self.compiler.cc = os.environ["CC"]
        self.require_compiler()
        if msvc:
            flags = ["/O2", "/fp:precise", "/D_CRT_SECURE_NO_WARNINGS", "/std:c11", "/experimental:c11atomics"]
            if "clang" in os.environ.get("CC", ""):
                flags.append("/clang:-ffp-contract=off")
        else:
            # After the interpreter's own flags, so that these win; and the user's win over these.
            flags = ["-O3", "-g0", *shlex.split(os.environ.get("CFLAGS", ""))]
            # No a * b + c rounded once where the source does not say so: gcc and clang agree to the bit.
            flags += ["-std=gnu11", "-fvisibility=hidden", "-ffp-contract=off", "-pthread", *self.arithmetic_flags()]
        for extension in self.extensions:
            extension.extra_compile_args = flags
            extension.extra_link_args = [] if msvc else ["-pthread"]
            extension.libraries = [] if msvc else ["m"]
        self.compiler.compile = self.compile_side_by_side
        super().build_extensions()

    def compile_side_by_side(self, sources, **options):
        """The compiler's `compile`, with a process for each file. Those in isa/ take longest, so they begin."""
        first = sorted(sources, key=lambda source: "isa" not in Path(source).parts)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            objects = pool.map(lambda source: type(self.compiler).compile(self.compiler, [source], **options), first)
            return [path for paths in objects for path in paths]

    def require_compiler(self):
        """PlatformError, naming what is missing, unless a C extension can be built at all."""
        msvc = self.compiler.compiler_type == "msvc"
        compiler = "cl.exe (Microsoft Visual C++)" if msvc else self.compiler.compiler_so[0]
        reason = None
        if not msvc and not shutil.which(compiler):
            reason = f"the C compiler {compiler} was not found"
        elif not self.builds("#include <math.h>\nint probe(void) { return 0; }\n"):
            reason = f"the C compiler {compiler} cannot build an empty program (see above)"
        elif not self.builds("#include <Python.h>\nint probe(void) { return 0; }\n"):
            reason = f"Python's header Python.h was not found in {sysconfig.get_path('include')}"
        if reason:
            raise PlatformError(NO_COMPILER.format(reason=reason))

    def arithmetic_flags(self):
        """What an i386 compiler needs not to use the x87 unit, which rounds to types of its own; else no flags."""
        sse = ["-msse2", "-mfpmath=sse"]
        return sse if not self.builds(ARITHMETIC_PROGRAM) and self.builds(ARITHMETIC_PROGRAM, sse) else []

    def builds(self, program, compile_flags=()):
        """Whether `program` compiles and links, in the way of the extension."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "probe.c")
            source.write_text(program)
            try:
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_postargs=list(compile_flags))
                self.compiler.link_shared_object(objects, str(Path(folder, "probe.so")))
            except (CompileError, LinkError):
                return False
        return True


class BuildWheel(bdist_wheel):
    """bdist_wheel that tags the wheel abi3 where cffi builds the extension so."""

    def finalize_options(self):
        if all(extension.py_limited_api for extension in self.distribution.ext_modules):
            free_threaded = sysconfig.get_config_var("Py_GIL_DISABLED")
            self.py_limited_api = "cp315" if free_threaded else "cp310"
        super().finalize_options()


def front_page():
    """README.md as the package index shows it: without its links into the checkout, which lead nowhere there."""
    page = Path("README.md").read_text(encoding="utf-8")
    return re.sub(r"!?\[([^]]+)\]\((?!https://)[^)]+\)", lambda link: link[1] * (link[0][0] != "!"), page)


setup(
    long_description=front_page(),
    long_description_content_type="text/markdown",
    cffi_modules=["build.py:ffibuilder"],
    cmdclass={"build_py": BuildPackage, "build_ext": BuildExtension, "bdist_wheel": BuildWheel},
)
