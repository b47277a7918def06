/* Convolutions with stride 1, over wide images: what weight k of a filter sees at the places of the output, one after the
   other, is the run of numbers from x + at[k] on. (Between two rows of places a run has some that mean nothing.) */
#ifndef ZERODL_IMAGES_CONVOLUTION_KERNELS_H
#define ZERODL_IMAGES_CONVOLUTION_KERNELS_H

#include <math.h>

#include "../internal/integers.h"
#include "../kernels/table.h"
#include "../internal/vector.h"

enum {
    /* The accumulators, FILTERS x PLACE_VECS or SUM_FILTERS x SUM_WEIGHTS, fill the registers but for their operands. */
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

/* Places q to q + vecs * LANES of all filters. Inlined with constant `vecs`, so that `sum` is registers. */
ALWAYS_INLINE void convolve_places(int vecs, const convolution_panel *t, ptrdiff_t q)
{
    vec sum[FILTERS][PLACE_VECS];
    UNROLL for (int f = 0; f < FILTERS; f++)
        UNROLL for (int v = 0; v < vecs; v++)
            sum[f][v] = broadcast(t->bias[f]);
    const real *weight = t->weight, *x = t->x + q;
    for (ptrdiff_t k = 0; k < t->weights; k++, weight += FILTERS) {
        vec seen[PLACE_VECS];
        UNROLL for (int v = 0; v < vecs; v++)
            seen[v] = load(x + t->at[k] + v * LANES);
        UNROLL for (int f = 0; f < FILTERS; f++) {
            vec of_filter = broadcast(weight[f]);
            UNROLL for (int v = 0; v < vecs; v++)
                sum[f][v] = multiply_add(of_filter, seen[v], sum[f][v]);
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

/* The sums of SUM_FILTERS filters and SUM_WEIGHTS weights, from f and k on: of those that there are. */
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
        for (ptrdiff_t q = 0; q < t->places; q += LANES) {
            vec change[SUM_FILTERS];
            UNROLL for (int i = 0; i < SUM_FILTERS; i++)
                change[i] = load_up_to(dout + of_filter[i] + q, t->places - q);
            UNROLL for (int j = 0; j < SUM_WEIGHTS; j++) {
                vec seen = load(x + at[j] + q);
                UNROLL for (int i = 0; i < SUM_FILTERS; i++)
                    sum[i][j] = multiply_add(change[i], seen, sum[i][j]);
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

/* Rows of `cols` numbers each, to others. */
static void copy_rows(real *out, ptrdiff_t out_row, const real *x, ptrdiff_t x_row, ptrdiff_t rows, ptrdiff_t cols)
{
    for (; rows > 0; rows--, out += out_row, x += x_row)
        for (ptrdiff_t j = 0; j < cols; j += LANES)
            store_up_to(out + j, load_up_to(x + j, cols - j), cols - j);
}

/* The sum of n numbers, of float32 in the precision of float64. */
static double total_of(const real *x, ptrdiff_t n)
{
    vec_sum total = {broadcast(0), broadcast(0)};
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        add_to(&total, load_up_to(x + i, n - i));
        if (i / LANES % RENEWAL == RENEWAL - 1)
            renew(&total);
    }
    real error, sum = sum_lanes(total, &error);
    return isfinite(sum) ? (double)sum + (double)error : (double)sum;
}

#endif
