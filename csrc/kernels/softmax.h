/* softmax and its kin over the rows of a contiguous (rows, cols) matrix; each row is a few passes in cache.
   x - max is carried as a sum of two numbers, and so is the total, which keeps every result within 4 ulp. */

/* 2^power exp(x - max), with the rounding error of x - max. Below EXP_SMALLEST that may be nan, and the result
   is 0, by itself unless it is scaled up. */
ALWAYS_INLINE vec shifted_exp(vec x, vec max, int power)
{
    vec shifted = x - max, error = sum_error(x, -max, shifted);
    mask zero = less(shifted, broadcast(EXP_SMALLEST));
    error = choose(zero, broadcast(0), error);
    vec y = exp_in_range(maximum(broadcast(EXP_SMALLEST), shifted), &error, power);
    return power ? choose(zero, broadcast(0), y) : y;
}

/* The last vector overlaps the one before it; a short row is filled up with x[0]. */
static real row_max(const real *x, ptrdiff_t cols)
{
    if (cols < LANES)
        return largest(load_part_or(x, cols, broadcast(x[0])));
    vec max = load(x);
    for (ptrdiff_t i = LANES; i + LANES <= cols; i += LANES)
        max = maximum(max, load(x + i));
    return largest(maximum(max, load(x + cols - LANES)));
}

/* terms = 2^power exp(x - max) */
ALWAYS_INLINE void row_exp(real *terms, const real *x, real max, ptrdiff_t cols, int power)
{
    for (ptrdiff_t i = 0; i < cols; i += LANES)
        store_up_to(terms + i, shifted_exp(load_up_to(x + i, cols - i), broadcast(max), power), cols - i);
}

/* Add a row to the total: to an ulp or two by fours, else, for a short one, with every rounding error kept. */
ALWAYS_INLINE void add_row(vec_sum *total, const real *x, ptrdiff_t cols, bool by_fours)
{
    ptrdiff_t i = 0;
    if (by_fours)
        for (; i + 4 * LANES <= cols; i += 4 * LANES) {
            add_to(total, (load(x + i) + load(x + i + LANES)) + (load(x + i + 2 * LANES) + load(x + i + 3 * LANES)));
            if (i && i % (RENEWAL * LANES) == 0)
                renew(total);
        }
    for (; i < cols; i += LANES)
        add_to(total, load_up_to(x + i, cols - i));
}

/* x[i] *= 1 / (sum + error), where the inverse is a sum of two numbers, too: one division for the row. */
ALWAYS_INLINE void row_divide(real *x, ptrdiff_t cols, real sum, real error)
{
    real inverse = 1 / sum;
    real inverse_error = -inverse * (real)(fma(sum, inverse, -1) + error * inverse);
    for (ptrdiff_t i = 0; i < cols; i += LANES) {
        vec term = load_up_to(x + i, cols - i);
        store_up_to(x + i, multiply_add(term, broadcast(inverse), term * inverse_error), cols - i);
    }
}

/* Several short rows at a time, so that the processor need not wait for one row's sum before the next row. */
static void softmax(real *out, const real *x, ptrdiff_t rows, ptrdiff_t cols)
{
    enum { MOST_ROWS = 8, CACHED = 8192 / sizeof(real) };
    ptrdiff_t block = cols > CACHED / MOST_ROWS ? 1 : MOST_ROWS;
    for (ptrdiff_t i = 0; i < rows; i += block) {
        ptrdiff_t end = rows - i < block ? rows : i + block;
        real sum[MOST_ROWS], error[MOST_ROWS];
        for (ptrdiff_t r = i; r < end; r++)
            row_exp(out + r * cols, x + r * cols, row_max(x + r * cols, cols), cols, 0);
        for (ptrdiff_t r = i; r < end; r++) {
            vec_sum total = {broadcast(0), broadcast(0)};
            add_row(&total, out + r * cols, cols, true);
            sum[r - i] = sum_lanes(total, &error[r - i]);
        }
        for (ptrdiff_t r = i; r < end; r++)
            row_divide(out + r * cols, cols, sum[r - i], error[r - i]);
    }
}

/* The terms are scaled up by 2^POWER, so that none loses bits as a subnormal: where one entry dominates, the others
   are all of its result. Then sum is 2^POWER, and error is the others. */
static void log_softmax(real *out, const real *x, ptrdiff_t rows, ptrdiff_t cols)
{
    enum { BLOCK = 256, POWER = MANTISSA_BITS + 8 };
    for (; rows > 0; rows--, x += cols, out += cols) {
        real terms[BLOCK], max = row_max(x, cols);
        vec_sum total = {broadcast(0), broadcast(0)};
        for (ptrdiff_t i = 0; i < cols; i += BLOCK) {
            ptrdiff_t size = cols - i < BLOCK ? cols - i : BLOCK;
            row_exp(terms, x + i, max, size, POWER);
            add_row(&total, terms, size, false);
            renew(&total);
        }
        real error, sum = sum_lanes(total, &error);
        real log_sum = (real)(log(ldexp((double)sum, -POWER)) + (double)error / (double)sum);
        for (ptrdiff_t i = 0; i < cols; i += LANES)
            store_up_to(out + i, (load_up_to(x + i, cols - i) - max) - log_sum, cols - i);
    }
}

/* dx = y (dout - sum(dout y)) per row. */
static void softmax_backward(real *dx, const real *dout, const real *y, ptrdiff_t rows, ptrdiff_t cols)
{
    for (; rows > 0; rows--, dx += cols, dout += cols, y += cols) {
        vec_sum total = {broadcast(0), broadcast(0)};
        for (ptrdiff_t i = 0; i < cols; i += LANES) {
            add_to(&total, load_up_to(dout + i, cols - i) * load_up_to(y + i, cols - i));
            if (i && i % (RENEWAL * LANES) == 0)
                renew(&total);
        }
        real error, dot = sum_lanes(total, &error);
        dot = with_error(dot, error);
        for (ptrdiff_t i = 0; i < cols; i += LANES)
            store_up_to(dx + i, load_up_to(y + i, cols - i) * (load_up_to(dout + i, cols - i) - dot), cols - i);
    }
}
