"""How far two right answers may be apart: from the dtype, the size, and the terms that cancel."""

import numpy as np

ROUNDINGS = 8  # what an elementwise formula costs, in the two engines together


def assert_close(got, expected, terms=0, scale=0.0, label=""):
    """`got` is what `expected` is: its type, dtype and shape, in C order, and its values.

    A value may be off by eps for each rounding, ROUNDINGS + 2 * terms of them for a sum of `terms`
    terms, relative to the value or to `scale`: the size of what cancels in it. Below the smallest
    normal number it may be off by that: the engines underflow at different points. Nan and inf
    are exact.
    """
    _assert_alike(got, expected, label)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(got, np.where(finite, got, expected), err_msg=label)
    info = np.finfo(expected.dtype)
    least = info.smallest_subnormal if expected.dtype == np.float16 else info.tiny
    with np.errstate(all="ignore"):
        size = np.fmax(np.abs(expected), np.nan_to_num(scale), dtype=np.float64)
        error = np.abs(np.subtract(got, expected, dtype=np.float64))
        allowed = (ROUNDINGS + 2 * terms) * float(info.eps) * size + float(least)
        excess = np.where(finite, error / allowed, 0)
    if excess.size and not excess.max() <= 1:
        i = np.unravel_index(np.argmax(excess), excess.shape)
        raise AssertionError(
            f"{label}: {got[i]!r} instead of {expected[i]!r} at {tuple(map(int, i))}, "
            f"{excess[i]:.3g} times what is allowed"
        )


def assert_identical(got, expected, label=""):
    """`got` is what `expected` is, to the last bit; all nans are one."""
    _assert_alike(got, expected, label)
    np.testing.assert_array_equal(got, expected, err_msg=label)
    number = ~np.isnan(expected)
    signs = np.signbit(got)[number], np.signbit(expected)[number]
    np.testing.assert_array_equal(*signs, err_msg=f"{label}: sign of zero")


def _assert_alike(got, expected, label):
    assert type(got) is type(expected), f"{label}: {type(got)}, not {type(expected)}"
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape), label
    assert got.flags.c_contiguous, label
