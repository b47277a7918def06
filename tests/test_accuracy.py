"""How many units in the last place the C kernels are off the true value, on hard arguments.

The truth is mpmath's. Where a wider float than the kernel's exists it is a quick first measure,
which finds the worst arguments; mpmath then decides about those.
"""

import math
from functools import cache

import mpmath
import numpy as np
import pytest
from arrays import DTYPES, normal
from tolerances import assert_close

import zerodl_c
from zerodl_c import reference
from zerodl_c._bridge import ffi, lib

ELEMENTWISE_ULP = 2
ROWS_ULP = 4  # softmax, log_softmax and the losses
CONFIRMED = 25  # the worst results, of which mpmath is asked

every_dtype = pytest.mark.parametrize("dtype", DTYPES)


# --- Measuring ------------------------------------------------------------------------------------


def ulp(exact, dtype):
    """The distance between two neighbours in dtype near each exact value."""
    info = np.finfo(dtype)
    exponent = np.where(exact == 0, info.minexp, np.frexp(exact)[1] - 1)
    return np.ldexp(np.ones_like(exact), np.maximum(exponent, info.minexp) - info.nmant)


def errors(got, exact, dtype):
    """|got - exact| in ulp of dtype, for exact values of a wider float; of nan, 0 if both are."""
    with np.errstate(all="ignore"):
        beyond = np.ldexp(np.ones((), exact.dtype), np.finfo(dtype).maxexp)  # inf: an ulp past max
        got, exact = (np.clip(x.astype(exact.dtype), -beyond, beyond) for x in (got, exact))
        error = np.abs(got - exact) / ulp(np.clip(exact, -beyond / 2, beyond / 2), dtype)
    return np.where(np.isnan(error), np.where(np.isnan(got) & np.isnan(exact), 0, np.inf), error)


def exact_error(got, exact, dtype):
    """The same for one finite number `got` and a number of mpmath."""
    info = np.finfo(dtype)
    exponent = mpmath.frexp(exact)[1] - 1 if exact else info.minexp
    one = mpmath.ldexp(1, max(exponent, int(info.minexp)) - info.nmant)
    return float(abs(mpmath.mpf(float(got)) - exact) / one)


def wider(dtype):
    """A float type with ten bits and a range more than dtype, or None."""
    info = np.finfo(dtype)
    for wide in map(np.finfo, (np.float64, np.longdouble)):
        if wide.nmant >= info.nmant + 10 and wide.maxexp > info.maxexp:
            return wide.dtype.type
    return None


# --- exp, log, sigmoid, tanh ----------------------------------------------------------------------


def wide_sigmoid(x):
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


def exact_sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


FUNCTIONS = {
    "exp": (np.exp, mpmath.exp),
    "log": (np.log, mpmath.log),
    "sigmoid": (wide_sigmoid, exact_sigmoid),
    "tanh": (np.tanh, mpmath.tanh),
}
every_function = pytest.mark.parametrize("name", FUNCTIONS)


def kernel(name, x):
    out = np.empty_like(x)
    suffix, ctype = ("f32", "float[]") if x.dtype == np.float32 else ("f64", "double[]")
    getattr(lib, f"zdl_{name}_{suffix}")(ffi.from_buffer(ctype, out), ffi.from_buffer(ctype, x), x.size)
    return out


def neighbours(centres, dtype, distance=3):
    """The centres in dtype, and the numbers next to them."""
    below = above = centres.astype(dtype)
    found = [below]
    for _ in range(distance):
        below, above = np.nextafter(below, dtype(-np.inf)), np.nextafter(above, dtype(np.inf))
        found += [below, above]
    return np.concatenate(found)


@cache
def hard_arguments(dtype):
    """All magnitudes and bit patterns, and both sides of wherever a kernel changes its way."""
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    bits = np.uint32 if dtype == np.float32 else np.uint64
    patterns = rng.integers(0, np.iinfo(bits).max, 20000, bits, endpoint=True).view(dtype)
    largest, smallest = math.log(info.max), math.log(info.smallest_subnormal)
    log_2 = math.log(2)
    multiples = np.arange(32 * smallest // log_2, 32 * largest // log_2) * log_2 / 32
    powers = 2.0 ** np.arange(info.minexp, info.maxexp)
    with np.errstate(all="ignore"):
        chosen = [
            patterns,
            rng.uniform(1.1 * smallest, 1.1 * largest, 20000),
            rng.uniform(-20, 20, 20000),
            rng.uniform(0, 1, 20000),
            10.0 ** rng.uniform(math.log10(info.smallest_subnormal), 0, 5000),
            -(10.0 ** rng.uniform(math.log10(info.smallest_subnormal), 0, 5000)),
            rng.integers(0, 100, 100) * float(info.smallest_subnormal),
            neighbours(rng.choice(multiples, 9000), dtype),  # exp reduces by log 2 or log 2 / 16
            neighbours(rng.choice(multiples, 9000) / 2, dtype),  # tanh takes the exp of -2|x|
            neighbours(powers, dtype),
            neighbours(powers * math.sqrt(0.5), dtype),  # log splits the mantissa there
            neighbours(np.array([largest, smallest, math.log(info.tiny), 1, -1, 0]), dtype, 50),
            np.array([info.max, info.min, np.inf, -np.inf, np.nan]),
        ]
        return np.concatenate([x.astype(dtype) for x in chosen])


def domain(name, x):
    """Log takes every bit pattern, but is tried on positive numbers mainly."""
    return np.concatenate([np.abs(x), x[:100]]) if name == "log" else x


@cache
def wide_truth(name, dtype):
    with np.errstate(all="ignore"):
        return FUNCTIONS[name][0](domain(name, hard_arguments(dtype)).astype(wider(dtype)))


def confirmed_errors(name, x, got):
    """By mpmath, for arguments and results that are finite and in the domain."""
    with mpmath.workprec(200):
        return [
            exact_error(y, FUNCTIONS[name][1](mpmath.mpf(float(v))), x.dtype)
            for v, y in zip(x, got, strict=True)
            if np.isfinite(v) and np.isfinite(y) and not (name == "log" and v <= 0)
        ]


@every_dtype
@every_function
def test_within_2_ulp(name, dtype, isa):
    x = domain(name, hard_arguments(dtype))
    got = kernel(name, x)
    if wider(dtype) is None:
        assert max(confirmed_errors(name, x[::20], got[::20])) <= ELEMENTWISE_ULP
        return
    error = errors(got, wide_truth(name, dtype), dtype)  # itself right to 2^-10 ulp
    at = error.argmax()
    assert error[at] <= ELEMENTWISE_ULP + 2**-10, f"{name}({x[at]!r}) = {got[at]!r}: {error[at]} ulp"
    worst = np.argpartition(error, -CONFIRMED)[-CONFIRMED:]
    assert max(confirmed_errors(name, x[worst], got[worst])) <= ELEMENTWISE_ULP


@pytest.mark.parametrize("start", [0, 1 << 30, 1 << 31, 3 << 30], ids=["small", "large", "-small", "-large"])
@every_function
def test_float32_bit_patterns(name, start, isa):
    """Every 1009th number of a quarter of float32, against float64."""
    x = np.arange(start, start + (1 << 30), 1009, dtype=np.uint32).view(np.float32)
    with np.errstate(all="ignore"):
        exact = FUNCTIONS[name][0](x.astype(np.float64))
    error = errors(kernel(name, x), exact, np.float32)
    assert error.max() <= ELEMENTWISE_ULP, f"{name}({x[error.argmax()]!r})"


@every_dtype
def test_the_functions_are_the_kernels(dtype, isa):
    x = hard_arguments(dtype)
    for name in ("sigmoid", "tanh"):
        np.testing.assert_array_equal(getattr(zerodl_c, name)(x), kernel(name, x))


@every_dtype
@every_function
def test_a_value_does_not_depend_on_its_place(name, dtype, isa):
    """Whole vectors and the part of one at the end give the same bits."""
    x = domain(name, hard_arguments(dtype))[-2000:]
    all_at_once = kernel(name, x)
    one_by_one = np.concatenate([kernel(name, x[i : i + 1]) for i in range(x.size)])
    np.testing.assert_array_equal(all_at_once, one_by_one)


# --- Softmax and log_softmax ----------------------------------------------------------------------


def rows_of(dtype):
    """Rows that are hard: equal, wide, dominated by one entry, large, next to each other, long."""
    rng, info = np.random.default_rng(0), np.finfo(dtype)
    lowest = math.log(info.smallest_subnormal)
    for n in (1, 2, 3, 5, 10, 17, 100, 1000):
        yield np.zeros(n)
        for scale in (1e-6, 1, 10, 0.3 * abs(lowest), 1e4):
            yield scale * rng.standard_normal(n)
        yield np.linspace(0, lowest - 1, n)  # down to subnormal results
        yield 1e3 + rng.uniform(0, 1, n)
        for gap in (-lowest / 2, -math.log(info.eps), 10, 1e-3):  # one entry dominates
            yield np.append(-gap + 0.1 * rng.standard_normal(n), 0)
    yield np.array([0.1, 1e7])
    yield np.array([1, 1 + info.eps, 1 - info.epsneg])
    yield np.array([-1e30, 0, 1e-30, 1e30])


def exact_softmax(row, log):
    x = [mpmath.mpf(float(v)) for v in row]
    highest = max(x)
    *rest, one = sorted(mpmath.exp(v - highest) for v in x)
    rest = mpmath.fsum(rest)
    if log:
        return [v - highest - mpmath.log1p(rest) for v in x]
    return [mpmath.exp(v - highest) / (one + rest) for v in x]


@cache
def exact_rows(dtype, log):
    with mpmath.workprec(150):
        rows = [row.astype(dtype) for row in rows_of(dtype)]
        return [(row, exact_softmax(row, log)) for row in rows]


def assert_row(got, exact, dtype):
    error = [exact_error(*pair, dtype) for pair in zip(got, exact, strict=True)]
    worst = int(np.argmax(error))
    assert error[worst] <= ROWS_ULP, f"{got[worst]!r} at {worst} for {exact[worst]}"


@every_dtype
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_rows_within_4_ulp(name, dtype, isa):
    for row, exact in exact_rows(dtype, name == "log_softmax"):
        assert_row(getattr(zerodl_c, name)(row), exact, dtype)


@every_dtype
def test_log_softmax_where_all_but_one_term_are_subnormal(dtype, isa):
    lowest = math.log(np.finfo(dtype).smallest_subnormal)
    row = np.append(np.full(100, 0.999 * lowest), 0).astype(dtype)
    with mpmath.workprec(150):
        assert_row(zerodl_c.log_softmax(row), exact_softmax(row, log=True), dtype)


# What softmax.h tells apart: rows near 0, moderate, or large, and narrow or wide. Lengths around 2, 4 and 16 vectors.
FAR = {np.float32: (30, 80, 300, 1e6, 1e30), np.float64: (500, 690, 5000, 1e6, 1e300)}
ROW_LENGTHS = [1, 2, *(n + d for n in (4, 8, 16, 32, 64, 128, 256) for d in (-1, 0, 1))]


def kinds_of_rows(n, dtype):
    """A row of each kind, of length n, all finite."""
    rng, info = np.random.default_rng(n), np.finfo(dtype)
    near, spread, moderate, huge, hugest = FAR[dtype]
    ends = np.linspace(-1, 1, n)
    rows = {
        "near": rng.standard_normal(n),
        "the ends of near": near * ends,
        "all equal": np.full(n, 1.5),
        "equal and huge": np.full(n, -hugest),
        "moderate": moderate + rng.standard_normal(n),
        "negative": rng.standard_normal(n) - moderate,
        "moderate and nearly wide": moderate + spread / 2 * ends,
        "wide": 3 * near * rng.standard_normal(n),
        "large": huge + rng.standard_normal(n),
        "larger": 1e9 + 100 * rng.standard_normal(n),
        "negative and large": rng.standard_normal(n) - huge,
        "huge": hugest * ends,
        "subnormal results": math.log(info.smallest_subnormal) * (1 - ends) / 2,
        "tiny": info.smallest_subnormal * np.arange(n),
        "dominated": np.append(rng.standard_normal(n - 1) - 30, 5),
        "dominated first": np.append(1.0, rng.standard_normal(n - 1) - 0.5 * near),
        "dominated from afar": np.append(rng.standard_normal(n - 1), huge),
    }
    return {kind: row.astype(dtype) for kind, row in rows.items()}


def special_rows(n, dtype):
    """Rows with infinities or nan, at the end and at the start."""
    bits = np.uint32 if dtype == np.float32 else np.uint64
    payload = (np.array(np.nan, dtype).view(bits) + bits(12345)).view(dtype)
    x = np.random.default_rng(n).standard_normal(n).astype(dtype)
    for value in (np.inf, -np.inf, np.nan, payload, -payload):
        for place in (0, n // 2, n - 1):
            row = x.copy()
            row[place] = value
            yield row
        yield np.full(n, value, dtype)
    yield np.where(np.arange(n) % 3 == 1, x, dtype(-np.inf))
    yield np.where(np.arange(n) % 3 == 1, dtype(1e6), dtype(-np.inf))


def rows_kernel(name, x, out=None):
    """Of the rows of x, at whatever address they and `out` begin."""
    out = np.empty_like(x) if out is None else out
    suffix, ctype = ("f32", "float *") if x.dtype == np.float32 else ("f64", "double *")
    addresses = (ffi.cast(ctype, y.__array_interface__["data"][0]) for y in (out, x))
    getattr(lib, f"zdl_{name}_{suffix}")(*addresses, *x.shape)
    return out


@cache
def exact_kinds(n, dtype, log):
    with mpmath.workprec(150 + 2 * np.finfo(dtype).maxexp // 8):
        return {kind: (row, exact_softmax(row, log)) for kind, row in kinds_of_rows(n, dtype).items()}


@every_dtype
@pytest.mark.parametrize("n", ROW_LENGTHS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_rows_of_every_kind_within_4_ulp(name, n, dtype, isa):
    for row, exact in exact_kinds(n, dtype, name == "log_softmax").values():
        assert_row(rows_kernel(name, row[None])[0], exact, dtype)


@every_dtype
@pytest.mark.parametrize("n", ROW_LENGTHS[1:])  # of one class t would be one-hot
def test_the_gradient_of_the_loss_within_4_ulp(n, dtype, isa):
    """But where it is near 0, at the labels: there, as far as softmax itself."""
    kinds = [*exact_kinds(n, dtype, log=False).values()]
    x, labels = np.array([row for row, _ in kinds]), np.arange(len(kinds)) * 7 % n
    dx = zerodl_c.softmax_cross_entropy_gradient(x, labels)[1]
    at_labels = dx[range(len(kinds)), labels]
    np.testing.assert_array_equal(at_labels, (zerodl_c.softmax(x)[range(len(kinds)), labels] - 1) / dtype(len(kinds)))
    for row, label, (_, exact) in zip(dx, labels, kinds, strict=True):
        others = [j for j in range(n) if j != label]
        assert_row(row[others], [exact[j] / len(kinds) for j in others], dtype)


@every_dtype
@pytest.mark.parametrize("n", ROW_LENGTHS)
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_row_does_not_depend_on_its_neighbours(name, n, dtype, isa):
    """Nor on whether it is replaced: blocks that mix every kind of row in every order, against each alone."""
    rows = np.array([*kinds_of_rows(n, dtype).values(), *special_rows(n, dtype)])
    alone = np.concatenate([rows_kernel(name, row[None]) for row in rows])
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(np.arange(2 * len(rows)) % len(rows))
        x = rows[order]
        np.testing.assert_array_equal(rows_kernel(name, x), alone[order])
        np.testing.assert_array_equal(rows_kernel(name, x, out=x), alone[order])


@every_dtype
@pytest.mark.parametrize("n", ROW_LENGTHS)
def test_infinities_and_nan_in_a_row_are_as_in_the_reference(n, dtype, isa):
    for row in special_rows(n, dtype):
        for name in ("softmax", "log_softmax"):
            with np.errstate(all="ignore"):
                expected = getattr(reference, name)(row)
            assert_close(rows_kernel(name, row[None])[0], expected, terms=n, scale=1, label=f"{name} {row}")


@every_dtype
@pytest.mark.parametrize("n", [3, 17, 33, 65, 257, 300, 1000])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_a_row_may_begin_at_any_element(name, n, dtype, isa):
    """Of x and of out, and nothing beside it is written."""
    x = np.array([*kinds_of_rows(n, dtype).values()])
    expected = rows_kernel(name, x)
    for start in range(17):
        source = np.empty(x.size + start, dtype)[start:].reshape(x.shape)
        source[...] = x
        for shift in (0, 1, 5):
            memory = np.full(x.size + start + shift + 16, 7, dtype)
            out = memory[start + shift : -16].reshape(x.shape)
            np.testing.assert_array_equal(rows_kernel(name, source, out), expected)
            assert (memory[: start + shift] == 7).all() and (memory[-16:] == 7).all()
        np.testing.assert_array_equal(rows_kernel(name, source, source), expected)


@every_dtype
def test_sigmoid_beside_arguments_of_every_kind(dtype, isa):
    """Each value of each branch beside each other one, within 2 ulp and to the bit what it is alone."""
    info = np.finfo(dtype)
    edges = np.array([708, 709.8, 87, 88.8, 103.9, 104, 745, 745.5, 746, 40, 20, 1, 0.5, 1e30, info.tiny, info.eps, 0])
    x = neighbours(np.concatenate([edges, -edges]), dtype)
    x = np.append(x, np.array([info.smallest_subnormal, -info.smallest_subnormal, info.max, info.min], dtype))
    alone = np.concatenate([kernel("sigmoid", x[i : i + 1]) for i in range(x.size)])
    assert max(confirmed_errors("sigmoid", x, alone)) <= ELEMENTWISE_ULP
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(x.size)
        np.testing.assert_array_equal(kernel("sigmoid", x[order]), alone[order])
    ends = kernel("sigmoid", np.array([-np.inf, -0.0, 0.0, np.inf, np.nan], dtype))
    np.testing.assert_array_equal(ends, np.array([0, 0.5, 0.5, 1, np.nan], dtype))


# --- Losses ---------------------------------------------------------------------------------------


def exact_cross_entropy(y, labels):
    terms = [mpmath.log(mpmath.mpf(float(v)) + mpmath.mpf(1e-7)) for v in y[np.arange(len(y)), labels]]
    return -mpmath.fsum(terms) / len(y)


@every_dtype
def test_cross_entropy_within_4_ulp(dtype):
    info, rng = np.finfo(dtype), np.random.default_rng(0)
    edges = [0, info.smallest_subnormal, info.tiny, 1e-9, 1e-7, 0.5, 1 - 1e-6, 1 - info.epsneg, 1]
    columns = [np.array([v]) for v in edges]
    columns += [rng.uniform(0, 1, n) for n in (2, 10, 1000)]
    columns += [1 - rng.uniform(0, 1e-3, n) for n in (2, 10, 1000)]
    columns += [10 ** rng.uniform(-12, 0, n) for n in (2, 10, 1000)]
    columns += [np.ones(1000)]
    for column in columns:
        y = np.stack([column, 1 - column], axis=1).astype(dtype)
        labels = np.zeros(len(y), int)
        got = zerodl_c.cross_entropy_error(y, labels)
        with mpmath.workprec(200):
            assert exact_error(got, exact_cross_entropy(y, labels), dtype) <= ROWS_ULP, column


@every_dtype
def test_softmax_cross_entropy_is_within_4_ulp_of_the_loss_of_its_y(dtype, isa):
    for scale in (0.1, 1, 10, 100):
        x, labels = normal((200, 10), dtype) * dtype(scale), np.arange(200) % 10
        loss, y = zerodl_c.softmax_cross_entropy(x, labels)
        with mpmath.workprec(200):
            assert exact_error(loss, exact_cross_entropy(y, labels), dtype) <= ROWS_ULP


@every_dtype
@pytest.mark.parametrize("name", ["sum_squared_error", "mean_squared_error"])
def test_squared_errors_within_4_ulp(name, dtype, isa):
    rng = np.random.default_rng(0)
    for n, spread in ((1, 0), (2, 1), (17, 3), (1000, 0), (1000, 8), (20011, 2)):
        y, t = (rng.standard_normal(n) * 10 ** rng.uniform(-spread, spread, n) for _ in range(2))
        y, t = y.astype(dtype), t.astype(dtype)
        with mpmath.workprec(200):
            squares = mpmath.fsum((mpmath.mpf(float(a)) - mpmath.mpf(float(b))) ** 2 for a, b in zip(y, t, strict=True))
            exact = squares / 2 if name == "sum_squared_error" else squares / n
            assert exact_error(getattr(zerodl_c, name)(y, t), exact, dtype) <= ROWS_ULP, f"{n}, {spread}"


@every_dtype
def test_a_million_squares_within_4_ulp(dtype, threads, isa):
    """Differences of a few bits, so that their squares are exact and fsum's total is the truth."""
    steps = 2**11 if dtype == np.float32 else 2**25
    integers = np.random.default_rng(0).integers(-steps, steps, (2, 1_000_003))
    y, t = integers.astype(dtype) / dtype(steps)
    exact = mpmath.mpf(math.fsum((y.astype(np.float64) - t) ** 2)) / 2
    assert exact_error(zerodl_c.sum_squared_error(y, t), exact, dtype) <= ROWS_ULP


def test_the_float32_sums_of_many_equal_numbers(isa):
    """What rounding drops of each is the same, so that none of it averages out."""
    y = np.full(10**7, 0.1, np.float32)
    with mpmath.workprec(200):
        square = mpmath.mpf(float(y[0])) ** 2
        got = zerodl_c.mean_squared_error(y, np.zeros_like(y))
        assert exact_error(got, square, np.float32) <= ROWS_ULP
    bias = zerodl_c.affine_backward(y.reshape(-1, 1), np.zeros((len(y), 1), np.float32), np.ones((1, 1), np.float32))[2]
    with mpmath.workprec(200):
        assert exact_error(bias[0], len(y) * mpmath.mpf(float(y[0])), np.float32) <= ROWS_ULP


def test_a_float32_mean_of_many_ones_is_one(isa):
    ones = np.ones(2**25, np.float32)
    assert zerodl_c.mean_squared_error(ones, 0) == 1.0
    assert zerodl_c.sum_squared_error(ones, 0) == 2.0**24


def test_a_bias_gradient_of_many_rows(isa):
    """Column sums of 2^26 float32 ones; plain addition would stop at 2^24."""
    dout, one, dw, db = np.ones(2**26, np.float32), *np.ones((3, 1), np.float32)
    dout, one, dw, db = (ffi.from_buffer("float[]", x) for x in (dout, one, dw, db))
    lib.zdl_affine_backward_f32(ffi.NULL, dw, db, dout, one, 0, 0, one, 0, 0, 2**26, 1, 1)
    assert db[0] == 2.0**26


def test_log_softmax_of_a_long_row(isa):
    """In place: the sum of 2^27 float32 ones."""
    row = np.zeros(2**27, np.float32)
    at = ffi.from_buffer("float[]", row)
    lib.zdl_log_softmax_f32(at, at, 1, row.size)
    expected = np.float32(-27 * math.log(2))
    np.testing.assert_array_max_ulp(row[[0, -1]], [expected, expected], maxulp=ROWS_ULP)


# --- Matrix products ------------------------------------------------------------------------------


def exact_product(a, b):
    """a @ b rounded once, in float64: each product in parts that are exact, and fsum over them."""
    if a.dtype == np.float32:
        a, b = a.astype(np.float64), b.astype(np.float64)
    return np.array([[math.fsum(_exact_terms(row, column)) for column in b.T] for row in a])


def _exact_terms(x, y):
    """Numbers whose sum is the dot product of x and y exactly (Dekker's product)."""
    high, low = _split(x)
    y_high, y_low = _split(y)
    return np.concatenate([high * y_high, high * y_low, low * y_high, low * y_low])


def _split(x):
    """x = high + low, each of at most 26 bits."""
    scaled = x * 134217729.0
    high = scaled - (scaled - x)
    return high, x - high


@every_dtype
@pytest.mark.parametrize("kind", ["random", "cancelling", "many magnitudes"])
@pytest.mark.parametrize("k", [1, 10, 100, 257, 1000])
def test_products_within_k_eps(k, kind, dtype, isa):
    rng = np.random.default_rng(k)
    a, b = rng.standard_normal((13, k)), rng.standard_normal((k, 17))
    if kind == "cancelling":
        a = np.concatenate([a, -a * (1 + 1e-6)], axis=1)
        b = np.concatenate([b, b])
    elif kind == "many magnitudes":
        a *= 10.0 ** rng.integers(-8, 8, a.shape)
        b *= 10.0 ** rng.integers(-8, 8, b.shape)
    a, b = a.astype(dtype), b.astype(dtype)
    error = np.abs(zerodl_c.matmul(a, b) - exact_product(a, b))
    assert (error <= a.shape[1] * np.finfo(dtype).eps * (np.abs(a) @ np.abs(b))).all()


# --- The measure itself ---------------------------------------------------------------------------


@every_dtype
def test_the_measure(dtype):
    """One step to the next number is one ulp, on either side of a power of two and below tiny."""
    info = np.finfo(dtype)
    x = np.array([1.5, 3.0, 1e-3, info.tiny, 0.0], dtype)
    following = np.nextafter(x, dtype(np.inf))
    pairs = list(zip(following, map(mpmath.mpf, x.tolist()), strict=True))
    assert [exact_error(*pair, dtype) for pair in pairs] == [1] * 5
    if wide := wider(dtype):
        exact = x.astype(wide)
        np.testing.assert_array_equal(errors(following, exact, dtype), 1)
        np.testing.assert_array_equal(errors(x, exact, dtype), 0)
        got, exact = np.array([[np.nan, 1, info.max, np.inf], [1, np.nan, np.inf, np.inf]], wide)
        np.testing.assert_array_equal(errors(got.astype(dtype), exact, dtype), [np.inf, np.inf, 1, 0])
