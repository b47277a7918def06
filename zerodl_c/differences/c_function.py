"""C functions `double f(const double *x, ptrdiff_t n, void *data)`, in every form that Python has for them.

A C function is a pointer of cffi or ctypes, numba's `cfunc`, or a `scipy.LowLevelCallable`, which also carries data.
Each of these knows its signature. Any other signature is refused, because a call would crash.
"""

import ctypes
import re
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

PROTOTYPE = "double f(const double *x, ptrdiff_t n, void *data)"
_SIZE = "ptrdiff_t|intptr_t|ssize_t|Py_ssize_t|npy_intp|int64_t|int64|longlong|long long"
if ctypes.sizeof(ctypes.c_long) == ctypes.sizeof(ctypes.c_void_p):
    _SIZE += "|long"
_SIGNATURE = re.compile(rf"double ?\((const )?double \*, ?({_SIZE}), ?void \*\)")
_C = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_void_p)


class CFunction:
    """A C function and its data. It is called with a C-contiguous array. The caller must keep the function alive."""

    def __init__(self, address: int, data: int = 0) -> None:
        if not address:
            raise ValueError("f must not be a null pointer")
        self.address, self.data = address, data
        self._call = _C(address)

    def __call__(self, x: NDArray[np.float64]) -> float:
        return self._call(x.ctypes.data, x.size, self.data)


def c_function(f: Any) -> CFunction | None:
    """f as a CFunction, or None if f is not a C function. TypeError if f has another signature."""
    scipy, cffi = sys.modules.get("scipy"), sys.modules.get("_cffi_backend")  # the library that made f is loaded
    if scipy and hasattr(scipy, "LowLevelCallable") and isinstance(f, scipy.LowLevelCallable):
        _check(f.signature)
        return _of_capsule(tuple.__getitem__(f, 0))
    if cffi and isinstance(f, cffi.FFI.CData):
        ffi = cffi.FFI()
        _check(ffi.typeof(f).cname.replace("(*)", ""))
        return CFunction(int(ffi.cast("uintptr_t", f)))
    if type(f).__module__ == "numba.core.ccallback":
        f = f.ctypes
    if isinstance(f, ctypes._CFuncPtr):  # type: ignore[attr-defined]  # the base of all its pointers
        _check(_signature_of_ctypes(f))
        return CFunction(ctypes.cast(f, ctypes.c_void_p).value or 0)
    return None


def _check(signature: str) -> None:
    if not _SIGNATURE.fullmatch(signature):
        raise TypeError(f"f must be a C function {PROTOTYPE}, got {signature}")


def _of_capsule(capsule: Any) -> CFunction:
    """The function in a capsule: its name is the signature, its pointer the function, and its context the data."""
    api = ctypes.pythonapi
    name = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)(("PyCapsule_GetName", api))(capsule)
    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    context = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)
    address = pointer(("PyCapsule_GetPointer", api))(capsule, name)
    return CFunction(address, context(("PyCapsule_GetContext", api))(capsule) or 0)


def _signature_of_ctypes(f: Any) -> str:
    """The signature as SciPy writes it: "double (double *, long, void *)"."""
    arguments = ["not declared"] if f.argtypes is None else map(_name_of_ctypes, f.argtypes)
    return f"{_name_of_ctypes(f.restype)} ({', '.join(arguments)})"


def _name_of_ctypes(kind: Any) -> str:
    if kind is None or kind is ctypes.c_void_p:
        return "void" if kind is None else "void *"
    name = kind.__name__
    pointers = "*" * name.count("LP_")
    return f"{name.replace('LP_', '').removeprefix('c_')} {pointers}".strip()
