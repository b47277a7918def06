/* Convolution with stride 1 over padded images:

     convolve: out[f, q] = bias[f] + the sum over k of weight[k, f] * x[at[k] + q]
     convolve_backward: dweight[f, k] += the sum over images and q of dout[f, q] * x[at[k] + q]

   q counts the places of the output, row by row. Because of the padding, weight k is multiplied by consecutive numbers
   of x, from x[at[k]] on. Some q lie between two rows of places: there out is not used, and dout is 0. */
#ifndef ZERODL_IMAGES_CONVOLUTION_KERNELS_H
#define ZERODL_IMAGES_CONVOLUTION_KERNELS_H

#include <math.h>

#include "../internal/integers.h"
#include "../kernels/table.h"
#include "../internal/vector.h"

enum {
/* The registers hold the accumulators and the operands of one step. convolve has FILTERS x PLACE_VECS accumulators
       and uses 28 of 32 registers or 16 of 16. convolve_backward has SUM_FILTERS x SUM_WEIGHTS accumulators and uses 25
       of 32 registers or 13 of 16. */
#if defined VECTOR_AVX512 || defined __aarch64__
    FILTERS = 8,
    SUM_FILTERS = 4,
#else
    FILTERS = 4,
    SUM_FILTERS = 2,
#endif
    PLACE_VECS = 3,
    SUM_WEIGHTS = 5,
};

/* Compute the outputs of a panel's filters at places [q, q + vecs * LANES). The function is inlined with constant
   `vecs`, so that `sum` stays in registers. */
ALWAYS_INLINE void convolve_places(int vecs, const convolution_panel *t, ptrdiff_t q)
{
    vec sum[FILTERS][PLACE_VECS];
    UNROLL for (int f = 0; f < FILTERS; f++)
        UNROLL for (int v = 0; v < vecs; v++)
            sum[f][v] = broadcast(t->bias[f]);
    const real *weight = t->weight, *x = t->x + q;
    UNROLL_BY_4 for (ptrdiff_t k = 0; k < t->weights; k++, weight += FILTERS) {
        vec pixels[PLACE_VECS];
        UNROLL for (int v = 0; v < vecs; v++)
            pixels[v] = load(x + t->at[k] + v * LANES);
        UNROLL for (int f = 0; f < FILTERS; f++) {
            vec of_filter = broadcast(weight[f]);
            UNROLL for (int v = 0; v < vecs; v++)
                sum[f][v] = multiply_add(of_filter, pixels[v], sum[f][v]);
        }
    }
    UNROLL for (int f = 0; f < FILTERS; f++)
        UNROLL for (int v = 0; v < vecs; v++)
            store(t->out + f * t->out_row + q + v * LANES, sum[f][v]);
}

static void convolve(const convolution_panel *t)
{
    ptrdiff_t q = 0;
    for (; t->places - q > 2 * LANES; q += PLACE_VECS * LANES)
        convolve_places(PLACE_VECS, t, q);
    if (t->places - q > LANES)
        convolve_places(2, t, q);
    else if (t->places > q)
        convolve_places(1, t, q);
}

ALWAYS_INLINE real sum_of_lanes(vec v)
{
#define HALVE(h) v = v + CROSSED(v, h);
    HALVINGS(HALVE)
#undef HALVE
    return first_lane(v);
}

/* dweight for filters [f, f + SUM_FILTERS) and weights [k, k + SUM_WEIGHTS). Past the end, the last filter or weight is
   computed again and not stored. */
static void sum_weights(const convolution_sums *t, ptrdiff_t f, ptrdiff_t k)
{
    vec sum[SUM_FILTERS][SUM_WEIGHTS];
    ptrdiff_t of_filter[SUM_FILTERS], at[SUM_WEIGHTS];
    UNROLL for (int i = 0; i < SUM_FILTERS; i++)
        of_filter[i] = least(f + i, t->filters - 1) * t->plane;
    UNROLL for (int j = 0; j < SUM_WEIGHTS; j++)
        at[j] = t->at[least(k + j, t->weights - 1)];
    UNROLL for (int i = 0; i < SUM_FILTERS; i++)
        UNROLL for (int j = 0; j < SUM_WEIGHTS; j++)
            sum[i][j] = broadcast(0);
    for (ptrdiff_t image = 0; image < t->images; image++) {
        const real *dout = t->dout + image * t->dout_image, *x = t->x + image * t->x_image;
        UNROLL_BY_4 for (ptrdiff_t q = 0; q < t->places; q += LANES) {
            vec change[SUM_FILTERS];
            UNROLL for (int i = 0; i < SUM_FILTERS; i++)
                change[i] = load_up_to(dout + of_filter[i] + q, t->places - q);
            UNROLL for (int j = 0; j < SUM_WEIGHTS; j++) {
                vec pixels = load(x + at[j] + q);
                UNROLL for (int i = 0; i < SUM_FILTERS; i++)
                    sum[i][j] = multiply_add(change[i], pixels, sum[i][j]);
            }
        }
    }
    UNROLL for (int i = 0; i < SUM_FILTERS; i++)
        UNROLL for (int j = 0; j < SUM_WEIGHTS; j++)
            if (f + i < t->filters && k + j < t->weights)
                t->dweight[(f + i) * t->weights + k + j] += sum_of_lanes(sum[i][j]);
}

static void convolve_backward(const convolution_sums *t)
{
    for (ptrdiff_t f = 0; f < t->filters; f += SUM_FILTERS)
        for (ptrdiff_t k = 0; k < t->weights; k += SUM_WEIGHTS)
            sum_weights(t, f, k);
}

/* out[rows, cols] = x[rows, cols], with row strides out_row and x_row. */
static void copy_matrix(real *out, ptrdiff_t out_row, const real *x, ptrdiff_t x_row, ptrdiff_t rows, ptrdiff_t cols)
{
    for (; rows > 0; rows--, out += out_row, x += x_row)
        for (ptrdiff_t j = 0; j < cols; j += LANES)
            store_up_to(out + j, load_up_to(x + j, cols - j), cols - j);
}

/* The sum of n numbers. Rounding errors are summed, too, so float32 numbers are summed as precisely as in float64. */
static double sum_elements(const real *x, ptrdiff_t n)
{
    vec_sum total = {broadcast(0), broadcast(0)};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        add_to(&total, load_up_to(x + i, n - i));
        if (i / LANES % RENORMALIZE_EVERY == RENORMALIZE_EVERY - 1)
            renormalize(&total);
    }
    real error, sum = sum_lanes(total, &error);
    return isfinite(sum) ? (double)sum + (double)error : (double)sum;
}

#endif
