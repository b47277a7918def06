/* Batch normalization of the columns of a (rows, cols) matrix, for column pieces [begin, end) of COLUMN_PIECE each:

     mean, variance = those of each column, std = sqrt(variance + 1e-6), xn = (x - mean) / std, out = gamma xn + beta
     backward: dbeta = sum(dout), dgamma = sum(dout xn), dx = gamma / std (dout - (dbeta + xn dgamma) / rows)

   After Ioffe and Szegedy, "Batch normalization" (2015). The columns are cut into blocks of BLOCK_VECS vectors. Each
   row of a block is a few cache lines, and later passes find the block in the cache. The remaining columns make blocks
   of half the width, then of one vector. The last vector may have only `left` columns. */
#ifndef ZERODL_KERNELS_NORMALIZATION_H
#define ZERODL_KERNELS_NORMALIZATION_H

#include <math.h>

#include "../internal/integers.h"
#include "../internal/vector.h"
#include "table.h"

enum {
    BLOCK_VECS = 8,   /* 8 cache lines of AVX-512, and 8 independent sums, which hide the latency of adding */
    ROWS_AHEAD = 8,   /* rows from the one in use to the one that is prefetched */
    ROWS_PER_SUM = 8, /* rows that are summed without correction at a time */
};

typedef void block_function(const void *task, ptrdiff_t j, int width, ptrdiff_t left);

/* Call f on the blocks of the column pieces [begin, end). It is inlined with constant widths. */
ALWAYS_INLINE void each_block(block_function *f, const void *task, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t cols)
{
    ptrdiff_t j = begin * COLUMN_PIECE;
    end = least(end * COLUMN_PIECE, cols);
    for (; j + BLOCK_VECS * LANES <= end; j += BLOCK_VECS * LANES)
        f(task, j, BLOCK_VECS, LANES);
    for (; j + BLOCK_VECS / 2 * LANES <= end; j += BLOCK_VECS / 2 * LANES)
        f(task, j, BLOCK_VECS / 2, LANES);
    for (; j < end; j += LANES)
        f(task, j, 1, end - j);
}

/* Prefetch the block's part of a later row: rows are too far apart for the hardware prefetcher. */
ALWAYS_INLINE void prefetch_row(const real *piece, ptrdiff_t stride, int width)
{
    UNROLL for (int v = 0; v < width; v++)
        PREFETCH(piece + ROWS_AHEAD * stride + v * LANES);
}

/* The sums of a block, one for each column, keep their rounding errors. But squares and products cancel little, so they
   are first summed without correction over ROWS_PER_SUM rows, which loses little precision and saves time. */
ALWAYS_INLINE void clear_sums(vec_sum *sums, int width)
{
    UNROLL for (int v = 0; v < width; v++)
        sums[v] = (vec_sum){broadcast(0), broadcast(0)};
}

ALWAYS_INLINE void renormalize_sums(vec_sum *sums, int width)
{
    UNROLL for (int v = 0; v < width; v++)
        renormalize(&sums[v]);
}

/* Add `part`, the uncorrected sums of the ROWS_PER_SUM rows from i on. */
ALWAYS_INLINE void add_rows(vec_sum *sums, const vec *part, ptrdiff_t i, int width)
{
    UNROLL for (int v = 0; v < width; v++)
        add_to(&sums[v], part[v]);
    if (i / ROWS_PER_SUM % RENORMALIZE_EVERY == RENORMALIZE_EVERY - 1)
        renormalize_sums(sums, width);
}

/* total / n in each lane, with hardly more than one rounding error. */
ALWAYS_INLINE vec quotient(vec_sum total, real n)
{
    vec q = total.sum / n, qn = q * n;
    vec rest = (total.sum - qn) - product_error(q, broadcast(n), qn) + total.error;
    vec corrected = q + rest / n;
    return choose(equal(corrected, corrected), corrected, q); /* for an infinite sum, rest is nan */
}

ALWAYS_INLINE void mean_of_block(vec *mean, const real *x, ptrdiff_t rows, ptrdiff_t stride, int width, ptrdiff_t left,
                                 real scale)
{
    vec_sum sums[BLOCK_VECS];
    clear_sums(sums, width);
    for (ptrdiff_t i = 0; i < rows; i++, x += stride) {
        prefetch_row(x, stride, width);
        UNROLL for (int v = 0; v < width; v++)
            add_to(&sums[v], load_up_to(x + v * LANES, left) * scale);
        if (i % RENORMALIZE_EVERY == RENORMALIZE_EVERY - 1)
            renormalize_sums(sums, width);
    }
    UNROLL for (int v = 0; v < width; v++)
        mean[v] = quotient(sums[v], (real)rows * scale);
}

ALWAYS_INLINE void variance_of_block(vec *variance, const real *x, const vec *mean, ptrdiff_t rows, ptrdiff_t stride,
                                     int width, ptrdiff_t left, real scale)
{
    vec_sum sums[BLOCK_VECS];
    clear_sums(sums, width);
    for (ptrdiff_t i = 0; i < rows; i += ROWS_PER_SUM) {
        vec part[BLOCK_VECS];
        UNROLL for (int v = 0; v < width; v++)
            part[v] = broadcast(0);
        for (ptrdiff_t row = i; row < least(i + ROWS_PER_SUM, rows); row++, x += stride) {
            prefetch_row(x, stride, width);
            UNROLL for (int v = 0; v < width; v++) {
                vec term = load_up_to(x + v * LANES, left) - mean[v];
                part[v] += term * term * scale;
            }
        }
        add_rows(sums, part, i, width);
    }
    UNROLL for (int v = 0; v < width; v++)
        variance[v] = quotient(sums[v], (real)rows * scale);
}

/* xn = (x - mean) / std and out = gamma xn + beta, for the block at column j. */
ALWAYS_INLINE void normalize_block(const batch_norm *t, const vec *mean, const vec *std, ptrdiff_t j, int width,
                                   ptrdiff_t left)
{
    vec gamma[BLOCK_VECS], beta[BLOCK_VECS];
    UNROLL for (int v = 0; v < width; v++) {
        gamma[v] = load_up_to(t->gamma + j + v * LANES, left);
        beta[v] = load_up_to(t->beta + j + v * LANES, left);
    }
    for (ptrdiff_t i = 0; i < t->rows; i++) {
        ptrdiff_t at = i * t->cols + j;
        prefetch_row(t->xn + at, t->cols, width);
        prefetch_row(t->out + at, t->cols, width);
        UNROLL for (int v = 0; v < width; v++, at += LANES) {
            vec xn = (load_up_to(t->x + at, left) - mean[v]) / std[v];
            store_up_to(t->xn + at, xn, left);
            store_up_to(t->out + at, gamma[v] * xn + beta[v], left);
        }
    }
}

/* Compute the mean and variance again, with scaled sums, for the float32 columns of a vector whose sums overflowed. The
   other columns keep theirs, because scaling can make small numbers subnormal. */
static void scale_moments(vec *mean, vec *variance, const batch_norm *t, ptrdiff_t j, ptrdiff_t left)
{
    real scale = 1; /* will be a power of 2, at most 1 / rows: scaled sums do not overflow */
    while ((double)scale * (double)t->rows > 1)
        scale /= 2;
    vec scaled_mean, scaled_variance;
    mean_of_block(&scaled_mean, t->x + j, t->rows, t->cols, 1, left, scale);
    variance_of_block(&scaled_variance, t->x + j, &scaled_mean, t->rows, t->cols, 1, left, scale);
    mask finite = equal(*variance - *variance, broadcast(0));
    *mean = choose(finite, *mean, scaled_mean);
    *variance = choose(finite, *variance, scaled_variance);
}

ALWAYS_INLINE void batch_norm_block(const void *task, ptrdiff_t j, int width, ptrdiff_t left)
{
    const batch_norm *t = task;
    vec mean[BLOCK_VECS], variance[BLOCK_VECS], std[BLOCK_VECS];
    mean_of_block(mean, t->x + j, t->rows, t->cols, width, left, 1);
    variance_of_block(variance, t->x + j, mean, t->rows, t->cols, width, left, 1);
    for (int v = 0; REAL_BITS == 32 && v < width; v++)
        if (!is_zero(variance[v] - variance[v])) /* the difference is nan if the variance is not finite */
            scale_moments(&mean[v], &variance[v], t, j + v * LANES, left);
    UNROLL for (int v = 0; v < width; v++) {
        std[v] = square_root(variance[v] + (real)1e-6);
        store_up_to(t->mean + j + v * LANES, mean[v], left);
        store_up_to(t->variance + j + v * LANES, variance[v], left);
        store_up_to(t->std + j + v * LANES, std[v], left);
    }
    normalize_block(t, mean, std, j, width, left);
}

static void batch_norm_columns(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    each_block(batch_norm_block, task, begin, end, ((const batch_norm *)task)->cols);
}

/* dbeta = sum(dout) and dgamma = sum(dout xn), for the block at column j. */
ALWAYS_INLINE void sum_block_backward(vec_sum *dgamma, vec_sum *dbeta, const batch_norm_backward *t, ptrdiff_t j,
                                      int width, ptrdiff_t left)
{
    clear_sums(dgamma, width);
    clear_sums(dbeta, width);
    for (ptrdiff_t i = 0; i < t->rows; i += ROWS_PER_SUM) {
        vec part[BLOCK_VECS];
        UNROLL for (int v = 0; v < width; v++)
            part[v] = broadcast(0);
        for (ptrdiff_t row = i; row < least(i + ROWS_PER_SUM, t->rows); row++) {
            ptrdiff_t at = row * t->cols + j;
            prefetch_row(t->xn + at, t->cols, width);
            prefetch_row(t->dout + at, t->cols, width);
            UNROLL for (int v = 0; v < width; v++, at += LANES) {
                vec dout = load_up_to(t->dout + at, left);
                part[v] += dout * load_up_to(t->xn + at, left);
                add_to(&dbeta[v], dout);
            }
        }
        add_rows(dgamma, part, i, width);
        if (i % RENORMALIZE_EVERY == 0)
            renormalize_sums(dbeta, width);
    }
    renormalize_sums(dgamma, width);
    renormalize_sums(dbeta, width);
}

/* dx = gamma / std (dout - (dbeta + xn dgamma) / rows) */
ALWAYS_INLINE void batch_norm_backward_block(const void *task, ptrdiff_t j, int width, ptrdiff_t left)
{
    const batch_norm_backward *t = task;
    vec_sum dgamma[BLOCK_VECS], dbeta[BLOCK_VECS];
    sum_block_backward(dgamma, dbeta, t, j, width, left);
    vec factor[BLOCK_VECS];
    real rows = (real)t->rows;
    UNROLL for (int v = 0; v < width; v++) {
        ptrdiff_t at = j + v * LANES;
        factor[v] = load_up_to(t->gamma + at, left) / load_up_to(t->std + at, left);
        store_up_to(t->dgamma + at, dgamma[v].sum, left);
        store_up_to(t->dbeta + at, dbeta[v].sum, left);
    }
    for (ptrdiff_t i = 0; i < t->rows; i++) {
        ptrdiff_t at = i * t->cols + j;
        prefetch_row(t->dx + at, t->cols, width);
        UNROLL for (int v = 0; v < width; v++, at += LANES) {
            vec dout = load_up_to(t->dout + at, left), xn = load_up_to(t->xn + at, left);
            store_up_to(t->dx + at, factor[v] * (dout - (dbeta[v].sum + xn * dgamma[v].sum) / rows), left);
        }
    }
}

static void batch_norm_backward_columns(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    each_block(batch_norm_backward_block, task, begin, end, ((const batch_norm_backward *)task)->cols);
}

#endif
