/* What the losses are made of: sum((y - t)^2) over n elements; the gradients (x - y) / divisor and
   (x - one_hot(label)) / divisor of a (rows, cols) matrix; and the sum of each column, for the gradient of a bias. */
#ifndef ZERODL_KERNELS_LOSS_H
#define ZERODL_KERNELS_LOSS_H

#include <math.h>

#include "../internal/vector.h"
#include "table.h"

/* The sum of (y - t)^2 over n elements, right to a few ulp for any n. */
static double sum_of_squares(const real *y, const real *t, ptrdiff_t n)
{
    vec_sum total = {broadcast(0), broadcast(0)};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        vec d = load_up_to(y + i, n - i) - load_up_to(t + i, n - i);
        add_to(&total, d * d);
        if (i && i % (RENORMALIZE_EVERY * LANES) == 0)
            renormalize(&total);
    }
    real error, sum = sum_lanes(total, &error);
    if (isfinite(sum))
        return (double)sum + (double)error;
    double float64_sum = 0; /* a float32 sum may overflow where a float64 sum does not */
    for (ptrdiff_t i = 0; i < n; i++) {
        real d = y[i] - t[i], square = d * d;
        float64_sum += (double)square;
    }
    return float64_sum;
}

/* out = (x - y) / divisor, for rows [begin, end). */
static void subtract_divide(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const rowwise t = *(const rowwise *)task;
    ptrdiff_t n = end * t.cols;
    for (ptrdiff_t i = begin * t.cols; i < n; i += LANES)
        store_up_to(t.out + i, (load_up_to(t.x + i, n - i) - load_up_to(t.y + i, n - i)) / t.divisor, n - i);
}

/* out = (x - one_hot(label)) / divisor, for rows [begin, end). */
static void subtract_label_divide(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const rowwise *t = task;
    ptrdiff_t cols = t->cols;
    real divisor = t->divisor;
    /* A division takes 4 times as long as multiplying by the inverse. With FMA the product is rounded once, so both
       give the same bits. */
    vec_sum inverse = inverse_of((vec_sum){broadcast(divisor), broadcast(0)});
    for (ptrdiff_t row = begin; row < end; row++) {
        real *out = t->out + row * cols;
        const real *x = t->x + row * cols;
        int64_t label = t->label[row];
        real at_label = (x[label] - 1) / divisor;
        for (ptrdiff_t j = 0; j < cols; j += LANES) {
            vec v = load_up_to(x + j, cols - j);
            vec quotient = FUSED ? copy_sign(times(v, inverse), v) : v / divisor; /* copy_sign for -0.0 */
            store_up_to(out + j, choose(less(absolute(v), broadcast((real)INFINITY)), quotient, v), cols - j);
        }
        out[label] = at_label;
    }
}

/* sum[j] = the sum of column j, for columns [begin, end). */
static void sum_rows(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const column_sums t = *(const column_sums *)task;
    for (ptrdiff_t j = begin; j < end; j += LANES) {
        vec_sum total = {broadcast(0), broadcast(0)};
        for (ptrdiff_t i = 0; i < t.rows; i++) {
            add_to(&total, load_up_to(t.x + i * t.stride + j, end - j));
            if (i && i % RENORMALIZE_EVERY == 0)
                renormalize(&total);
        }
        renormalize(&total);
        store_up_to(t.sum + j, total.sum, end - j);
    }
}

#endif
