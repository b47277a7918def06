/* softmax and its kin over the rows of a contiguous (rows, cols) matrix; each row is three passes in cache.
   x - max is carried as a sum of two numbers, and so is the total, which keeps every result within 4 ulp. */

/* exp(x - max), with the rounding error of x - max. Below EXP_SMALLEST that may be nan, and the result is 0. */
ALWAYS_INLINE vec shifted_exp(vec x, vec max)
{
    vec shifted = x - max, error = sum_error(x, -max, shifted);
    mask zero = less(shifted, broadcast(EXP_SMALLEST));
    return exp_in_range(choose(zero, broadcast(EXP_SMALLEST), shifted), choose(zero, broadcast(0), error));
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

/* The result + error = sum of exp(x - max) over the row; the terms themselves go to `terms`, unless that is NULL. */
ALWAYS_INLINE real sum_of_exp(real *terms, const real *x, real max, ptrdiff_t cols, real *error)
{
    vec_sum total = {broadcast(0), broadcast(0)};
    ptrdiff_t i = 0;
    for (; i + LANES <= cols; i += LANES) {
        vec term = shifted_exp(load(x + i), broadcast(max));
        add_to(&total, term);
        if (terms)
            store(terms + i, term);
    }
    if (i < cols) {
        real part[LANES] = {0};
        store_part(part, shifted_exp(load_part(x + i, cols - i), broadcast(max)), cols - i);
        add_to(&total, load(part));
        if (terms)
            store_part(terms + i, load(part), cols - i);
    }
    return sum_lanes(total, error);
}

static void softmax(real *out, const real *x, ptrdiff_t rows, ptrdiff_t cols)
{
    for (; rows > 0; rows--, x += cols, out += cols) {
        real error, sum = sum_of_exp(out, x, row_max(x, cols), cols, &error);
        /* 1 / (sum + error) as a sum of two numbers: a division per row, not per element. */
        real inverse = 1 / sum;
        real inverse_error = -inverse * (real)(fma(sum, inverse, -1) + error * inverse);
        for (ptrdiff_t i = 0; i < cols; i += LANES) {
            vec term = load_up_to(out + i, cols - i);
            store_up_to(out + i, multiply_add(term, broadcast(inverse), term * inverse_error), cols - i);
        }
    }
}

static void log_softmax(real *out, const real *x, ptrdiff_t rows, ptrdiff_t cols)
{
    for (; rows > 0; rows--, x += cols, out += cols) {
        real max = row_max(x, cols);
        real error, sum = sum_of_exp(NULL, x, max, cols, &error);
        real log_sum = (real)(log((double)sum) + (double)error / (double)sum);
        for (ptrdiff_t i = 0; i < cols; i += LANES)
            store_up_to(out + i, (load_up_to(x + i, cols - i) - max) - log_sum, cols - i);
    }
}

/* dx = y (dout - sum(dout y)) per row. */
static void softmax_backward(real *dx, const real *dout, const real *y, ptrdiff_t rows, ptrdiff_t cols)
{
    for (; rows > 0; rows--, dx += cols, dout += cols, y += cols) {
        vec_sum total = {broadcast(0), broadcast(0)};
        for (ptrdiff_t i = 0; i < cols; i += LANES)
            add_to(&total, load_up_to(dout + i, cols - i) * load_up_to(y + i, cols - i));
        real error, dot = sum_lanes(total, &error);
        dot = with_error(dot, error);
        for (ptrdiff_t i = 0; i < cols; i += LANES)
            store_up_to(dx + i, load_up_to(y + i, cols - i) * (load_up_to(dout + i, cols - i) - dot), cols - i);
    }
}
