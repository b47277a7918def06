"""What pyproject.toml cannot say: the cffi extension, and the abi3 tag of the wheel."""

import sysconfig

from setuptools import setup
from setuptools.command.build_ext import build_ext

NO_COMPILER = """\
zerodl_c: the C compiler could not build the extension; the error above says what it missed.
If no compiler is installed:
    Debian, Ubuntu   sudo apt-get install build-essential python3-dev
    macOS            xcode-select --install
    Windows          install "Build Tools for Visual Studio" with "Desktop development with C++"\
"""


class BuildExtension(build_ext):
    def run(self):
        try:
            super().run()
        except Exception as error:
            raise SystemExit(f"{error}\n{NO_COMPILER}") from None


# A free-threaded Python has no stable ABI before 3.15, and cffi builds none for it.
STABLE_ABI = not sysconfig.get_config_var("Py_GIL_DISABLED")

setup(
    cffi_modules=["build.py:ffibuilder"],
    cmdclass={"build_ext": BuildExtension},
    options={"bdist_wheel": {"py_limited_api": "cp310"}} if STABLE_ABI else {},
)
