/* The sums and gradients of the losses, and the column sums of a bias gradient. */
#ifndef ZERODL_KERNELS_LOSS_H
#define ZERODL_KERNELS_LOSS_H

#include <math.h>

#include "../internal/vector.h"
#include "table.h"

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

/* out = (x - y) / divisor, of whole rows. */
static void subtract_divide(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const rowwise t = *(const rowwise *)task;
    ptrdiff_t n = end * t.cols;
    for (ptrdiff_t i = begin * t.cols; i < n; i += LANES)
        store_up_to(t.out + i, (load_up_to(t.x + i, n - i) - load_up_to(t.y + i, n - i)) / t.divisor, n - i);
}

/* out = (x - one_hot(label)) / divisor, of whole rows. */
static void subtract_label_divide(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const rowwise *t = task;
    ptrdiff_t cols = t->cols;
    real divisor = t->divisor;
    /* A division takes 4 times as long as the product with the inverse, which is the same to the bit if it is rounded
       once. */
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

/* The sum of each column. */
static void sum_rows(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const column_sums t = *(const column_sums *)task;
    for (ptrdiff_t j = begin; j < end; j += LANES) {
        vec_sum total = {broadcast(0), broadcast(0)};
        for (ptrdiff_t i = 0; i < t.rows; i++) {
            add_to(&total, load_up_to(t.x + i * t.stride + j, end - j));
            if (i && i % RENEWAL == 0)
                renew(&total);
        }
        renew(&total);
        store_up_to(t.sum + j, total.sum, end - j);
    }
}

#endif
