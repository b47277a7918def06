"""Describes this machine, and measures the most that it can do: its peak flops, and a plain pass over memory."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

import zerodl_c
from zerodl_c import _config
from zerodl_c._bridge import ffi, lib

from .cases import Case
from .engines import Engine
from .timing import seconds_per_call

BLAS = ("internal_api", "version", "architecture")  # the keys of threadpoolctl that describe it

# Variables that make a library use kernels for another processor than this one.
HOLDING_BACK = (
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "BLIS_ARCH_TYPE", "NVPL_BLAS_DEBUG_CPU_TYPE"),
    *("MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS", "MKL_CBWR"),
    *("NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES"),
    *("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA", "ONEDNN_MAX_CPU_ISA", "GLIBC_TUNABLES"),
)
# For each of our levels: the names of OpenBLAS's kernels and of NumPy's and PyTorch's features at this level.
OF_LEVEL = {
    "avx2": {"Haswell", "Zen", "Excavator", "X86_V3", "AVX2"},
    "avx512": {"SkylakeX", "Cooperlake", "SapphireRapids", "X86_V4", "AVX512_SKX", "AVX512"},
}
PEAK_ROUNDS = 200_000  # these take 0.3 ms or more, of which starting the threads takes a few us


def describe(engines: Sequence[Engine]) -> dict[str, Any]:
    """The processor, how zerodl_c was built, and the version of every engine."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "isa": ffi.string(lib.zdl_get_isa()).decode(),
        "compiler": ffi.string(lib.zdl_compiler()).decode().strip(),
        "python": platform.python_version(),
        "engines": {engine.name: engine.version() for engine in engines},
        "blas": sorted({" ".join(filter(None, map(pool.get, BLAS))) for pool in pools}),
        "peers": {engine.name: isa for engine in engines if (isa := engine.isa())},
        "held back by": {name: os.environ[name] for name in HOLDING_BACK if name in os.environ},
    }


def header(machine: dict[str, Any]) -> Iterator[str]:
    """The lines for the result of `describe`, and a warning for each peer that does not run at its full strength."""
    yield f"CPU       {machine['cpu']}, {machine['cores']} cores, {machine['isa']}"
    yield f"compiler  {machine['compiler']}"
    yield f"engines   {', '.join(machine['engines'].values())}; Python {machine['python']}"
    yield f"BLAS      {', '.join(machine['blas'])}"
    yield f"peers     {'; '.join(f'{name}: {isa}' for name, isa in machine['peers'].items())}"
    yield from _warnings(machine)


def _warnings(machine: dict[str, Any]) -> Iterator[str]:
    best = _config.isa_levels()[-1]
    variables = ", ".join(f"{name}={value}" for name, value in machine["held back by"].items())
    if variables:
        yield f"WARNING   {variables} may hold a peer back: --full-strength starts without"
    for blas in machine["blas"]:
        if blas.startswith("openblas") and _is_below(best, blas.split()):
            yield f"WARNING   this processor has {best}, and BLAS takes other kernels: {blas}"
    for name, isa in machine["peers"].items():
        if _is_below(best, isa.split()):
            yield f"WARNING   this processor has {best}, and {name} computes with {isa}"


def _is_below(best: str, words: Sequence[str]) -> bool:
    """Whether no word belongs to the level `best` or a later one. False if that level has no words."""
    levels = [*OF_LEVEL]
    enough = [OF_LEVEL[level] for level in levels[levels.index(best) :]] if best in OF_LEVEL else []
    return bool(enough) and not set().union(*enough) & {*words}


def _processor() -> str:
    """The processor's name, if the system has it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


class Peaks:
    """The most that this machine does with the current threads, measured once for each dtype, size and thread count.

    A case's share is the part of this that it reaches. For a matrix product, a convolution or a net, the share is its
    flops per second, divided by those that multiply_adds in registers reach. For other functions it is the time of a
    plain pass, divided by the time of the case. The plain pass is `relu(x, out=y)` with as many elements, which are
    then in the same cache as those of the case.
    """

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.flops: dict[tuple[str, int], float] = {}  # per second, by dtype and threads
        self.seconds: dict[tuple[str, int, int], float] = {}  # of a pass, by dtype, threads and elements

    def share(self, case: Case, dtype: np.dtype[Any], seconds: float) -> float | None:
        """The share of a case; None for tiny cases, whose time is mostly the cost of a call."""
        if case.group == "tiny":
            return None
        if case.flops:
            return case.flops / seconds / self.flops_per_second(dtype)
        return case.passes * self.pass_seconds(dtype, case.elements) / seconds

    def flops_per_second(self, dtype: np.dtype[Any]) -> float:
        key = dtype.name, zerodl_c.get_num_threads()
        if key not in self.flops:
            peak = {"float32": lib.zdl_peak_f32, "float64": lib.zdl_peak_f64}[dtype.name]
            with _highest_isa():
                seconds = seconds_per_call({"peak": lambda: peak(PEAK_ROUNDS)}, self.rounds)["peak"]
                self.flops[key] = peak(PEAK_ROUNDS) / seconds
        return self.flops[key]

    def pass_seconds(self, dtype: np.dtype[Any], elements: int) -> float:
        key = dtype.name, zerodl_c.get_num_threads(), elements
        if key not in self.seconds:
            x, y = np.ones((2, elements), dtype)
            self.seconds[key] = seconds_per_call({"pass": lambda: zerodl_c.relu(x, out=y)}, self.rounds)["pass"]
        return self.seconds[key]

    def as_records(self) -> dict[str, list[dict[str, Any]]]:
        """The measurements, for JSON."""
        return {
            "flops": [
                {"dtype": dtype, "threads": threads, "per_second": flops}
                for (dtype, threads), flops in self.flops.items()
            ],
            "passes": [
                {
                    "dtype": dtype,
                    "threads": threads,
                    "elements": elements,
                    "seconds": seconds,
                    "bytes_per_second": 2 * elements * np.dtype(dtype).itemsize / seconds,
                }
                for (dtype, threads, elements), seconds in self.seconds.items()
            ],
        }


@contextmanager
def _highest_isa() -> Iterator[None]:
    """Use the highest level that this machine has, even if ZERODL_ISA names another."""
    before = lib.zdl_get_isa()
    lib.zdl_set_isa(_config.isa_levels()[-1].encode())
    try:
        yield
    finally:
        lib.zdl_set_isa(before)
