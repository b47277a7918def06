/* The sums and gradients of the losses, and the column sums of a bias gradient. */

/* Sum of (y - t)^2 over n elements, right to a few ulp however many there are. */
static double sum_of_squares(const real *y, const real *t, ptrdiff_t n)
{
    vec_sum total = {broadcast(0), broadcast(0)};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        vec d = load_up_to(y + i, n - i) - load_up_to(t + i, n - i);
        add_to(&total, d * d);
        if (i && i % (RENEWAL * LANES) == 0)
            renew(&total);
    }
    real error, sum = sum_lanes(total, &error);
    if (isfinite(sum))
        return (double)sum + (double)error;
    double wide = 0; /* a sum of float32 may overflow where one of float64 does not */
    for (ptrdiff_t i = 0; i < n; i++) {
        real d = y[i] - t[i], square = d * d;
        wide += (double)square;
    }
    return wide;
}

/* dx = (y - t) / divisor over n elements. */
static void subtract_divide(real *dx, const real *y, const real *t, real divisor, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += LANES)
        store_up_to(dx + i, (load_up_to(y + i, n - i) - load_up_to(t + i, n - i)) / divisor, n - i);
}

/* dx = (y - one_hot(label)) / divisor for a contiguous (rows, cols) block. */
static void subtract_label_divide(real *dx, const real *y, const int64_t *label, real divisor, ptrdiff_t rows,
                                  ptrdiff_t cols)
{
    /* A division takes 4 times as long as the product with the inverse, which is the same to the bit if it is rounded
       once. */
    vec_sum inverse = inverse_of((vec_sum){broadcast(divisor), broadcast(0)});
    for (; rows > 0; rows--, dx += cols, y += cols, label++) {
        real at_label = (y[*label] - 1) / divisor;
        for (ptrdiff_t j = 0; j < cols; j += LANES) {
            vec v = load_up_to(y + j, cols - j);
            vec quotient = FUSED ? copy_sign(times(v, inverse), v) : v / divisor; /* copy_sign for -0.0 */
            store_up_to(dx + j, choose(less(absolute(v), broadcast((real)INFINITY)), quotient, v), cols - j);
        }
        dx[*label] = at_label;
    }
}

/* sum[j] = sum over i of x[i, j], for `cols` columns of a matrix whose rows are `stride` apart. */
static void sum_rows(real *sum, const real *x, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t stride)
{
    for (ptrdiff_t j = 0; j < cols; j += LANES) {
        vec_sum total = {broadcast(0), broadcast(0)};
        for (ptrdiff_t i = 0; i < rows; i++) {
            add_to(&total, load_up_to(x + i * stride + j, cols - j));
            if (i && i % RENEWAL == 0)
                renew(&total);
        }
        renew(&total);
        store_up_to(sum + j, total.sum, cols - j);
    }
}
