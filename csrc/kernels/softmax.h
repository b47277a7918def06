/* Over each row x of a contiguous (rows, cols) matrix:

     softmax(x) = exp(x - max(x)) / sum(exp(x - max(x)))
     log_softmax(x) = x - max(x) - log(sum(exp(x - max(x))))
     softmax_label_gradient: (softmax(x) - one_hot(label)) / divisor
     softmax_backward: dx = y (dout - sum(dout y)), y = softmax(x)

   Short rows are computed LANES at a time, one in each lane of a vector. A long row is computed in vectors of its own
   entries. A few passes over data in cache compute each row. Sums keep their rounding error in a second number, so
   every result is within 4 ulp. */
#ifndef ZERODL_KERNELS_SOFTMAX_H
#define ZERODL_KERNELS_SOFTMAX_H

#include <math.h>

#include "../internal/integers.h"
#include "../internal/vector.h"
#include "exp.h"
#include "table.h"

/* Entries up to NO_SHIFT_LIMIT in magnitude need no shift: exp of them, and sums of these, neither overflow nor become
   subnormal. Beyond it, exp(x) 2^-bias is normal and right to an ulp if the largest entry of the row is below
   LARGEST_MAX in magnitude and the entries differ by less than LARGEST_SPREAD. */
#if REAL_BITS == 64
#define NO_SHIFT_LIMIT ((real)600)
#define LARGEST_MAX ((real)0x1p14)
#define LARGEST_SPREAD ((real)700)
#else
#define NO_SHIFT_LIMIT ((real)40)
#define LARGEST_MAX ((real)0x1p9)
#define LARGEST_SPREAD ((real)85)
#endif

/* The largest and smallest entries, in each lane. */
typedef struct {
    vec max, min;
} extremes;

ALWAYS_INLINE extremes extremes_of(vec v) { return (extremes){v, v}; }

ALWAYS_INLINE void widen_extremes(extremes *e, vec v)
{
    e->max = maximum(v, e->max);
    e->min = minimum(v, e->min);
}

/* How exp(x) is kept in range: the largest entry of each row, and the exponent of the power of 2 nearest to its exp. */
typedef struct {
    vec max, bias;
    mask unsafe; /* the lanes where exp(x) 2^-bias may be subnormal or not right to an ulp */
    bool safe;   /* whether no lane is unsafe */
} range;

ALWAYS_INLINE range range_of(extremes e)
{
    mask unsafe = less_equal(e.min, e.max - LARGEST_SPREAD) | less_equal(broadcast(LARGEST_MAX), absolute(e.max));
    vec bias = multiply_add(e.max, broadcast(LOG2_E), broadcast(ROUNDER)) - ROUNDER;
    return (range){e.max, bias, unsafe, !any(unsafe)};
}

/* 2^power exp(x - max), corrected by the rounding error of x - max. Where x - max is below EXP_SMALLEST, that error may
   be nan, so it is dropped. The result there is 0; with a power it must be set to 0. */
ALWAYS_INLINE vec shifted_exp(vec x, vec max, int power)
{
    vec shifted = x - max, error = sum_error(x, -max, shifted);
    mask zero = less(shifted, broadcast(EXP_SMALLEST));
    error = choose(zero, broadcast(0), error);
    vec y = exp_in_range(maximum(broadcast(EXP_SMALLEST), shifted), &error, power);
    return power ? choose(zero, broadcast(0), y) : y;
}

/* exp(x) up to a factor that is the same for the whole row: 2^-bias, or exp(-max) in unsafe lanes. Each lane decides
   for itself, so a row's result does not depend on the rows in other lanes. */
ALWAYS_INLINE vec term(vec x, range r, bool safe)
{
    vec y = exp_normal(x, EXP_ROUNDER - r.bias);
    return safe ? y : choose(r.unsafe, shifted_exp(x, r.max, 0), y);
}

/* The same task for the rows from `row` on. */
ALWAYS_INLINE rowwise from_row(rowwise t, ptrdiff_t row)
{
    t.out += row * t.cols;
    t.x += row * t.cols;
    if (t.label) {
        t.label += row;
        t.probability += row;
    }
    return t;
}

/* Lane i of the result is the factor that normalizes the terms of row i, which sum to lane i of total: 1 / total, or
   1 / (total divisor) with labels. With labels, their probabilities are stored, too. */
ALWAYS_INLINE vec_sum factor_of(vec_sum total, const real *term_of_label, ptrdiff_t rows, rowwise t)
{
    if (!t.label)
        return inverse_of(total);
    store_up_to(t.probability, times(load(term_of_label), inverse_of(total)), rows);
    vec divisor = broadcast(t.divisor), scaled = total.sum * divisor;
    return inverse_of((vec_sum){scaled, product_error(total.sum, divisor, scaled) + total.error * divisor});
}

/* ---- Short rows: LANES of them, one in each lane ---- */

enum { SHORT_COLS = 2 * LANES };

/* block[j] = column j of up to LANES rows: row r goes to lane r */
static void to_lanes(vec *block, const real *x, ptrdiff_t rows, ptrdiff_t cols)
{
    real *lanes = (real *)block;
    for (ptrdiff_t r = 0; r < LANES; r++)
        for (ptrdiff_t j = 0; j < cols; j++)
            lanes[j * LANES + r] = r < rows ? x[r * cols + j] : 0;
}

static void from_lanes(real *x, const vec *block, ptrdiff_t rows, ptrdiff_t cols)
{
    const real *lanes = (const real *)block;
    for (ptrdiff_t j = 0; j < cols; j++)
        for (ptrdiff_t r = 0; r < rows; r++)
            x[r * cols + j] = lanes[j * LANES + r];
}

ALWAYS_INLINE vec_sum lane_terms(vec *block, ptrdiff_t cols, range r, bool safe)
{
    vec_sum total = {broadcast(0), broadcast(0)};
    for (ptrdiff_t j = 0; j < cols; j++)
        add_to(&total, block[j] = term(block[j], r, safe));
    return total;
}

/* This many blocks of LANES rows go through each step together: while one waits for the latency of its sums, the
   processor computes another. */
enum { BLOCKS = 4 };
typedef vec lane_blocks[BLOCKS][SHORT_COLS];

ALWAYS_INLINE void softmax_lanes(lane_blocks block, rowwise t, ptrdiff_t rows)
{
    ptrdiff_t cols = t.cols;
    vec_sum factor[BLOCKS];
    for (ptrdiff_t b = 0, first = 0; first < rows; b++, first += LANES) {
        extremes e = extremes_of(block[b][0]);
        for (ptrdiff_t j = 1; j < cols; j++)
            widen_extremes(&e, block[b][j]);
        range r = range_of(e);
        vec_sum total = r.safe ? lane_terms(block[b], cols, r, true) : lane_terms(block[b], cols, r, false);
        real term[LANES] = {0};
        for (ptrdiff_t i = 0; t.label && i < LANES && first + i < rows; i++)
            term[i] = ((const real *)block[b])[t.label[first + i] * LANES + i];
        factor[b] = factor_of(total, term, rows - first, from_row(t, first));
    }
    for (ptrdiff_t b = 0; b * LANES < rows; b++)
        for (ptrdiff_t j = 0; j < cols; j++)
            block[b][j] = times(block[b][j], factor[b]);
}

/* ---- Long rows: vectors of entries ---- */

static bool needs_no_shift(extremes e)
{
    return !any(less(broadcast(NO_SHIFT_LIMIT), e.max) | less(e.min, broadcast(-NO_SHIFT_LIMIT)));
}

ALWAYS_INLINE range unshifted(void) { return (range){.safe = true}; }

static range range_of_row(extremes e)
{
    return needs_no_shift(e) ? unshifted()
                             : range_of((extremes){broadcast(largest(e.max)), broadcast(-largest(-e.min))});
}

static extremes extremes_of_row(const real *x, ptrdiff_t cols)
{
    extremes e = extremes_of(broadcast(x[0]));
    for (ptrdiff_t i = 0; i < cols; i += LANES)
        widen_extremes(&e, load_up_to_or(x + i, cols - i, broadcast(x[0])));
    return e;
}

/* GROUP vectors of terms are summed without correction. Their sum is then added to the sum that keeps its rounding
   error. */
enum { GROUP = 8 };

/* The sum of the terms of the next GROUP vectors, or of the `left` entries if these are fewer. The terms are stored in
   `terms` unless it is NULL. *e is widened by the entries. */
ALWAYS_INLINE vec group_terms(real *terms, const real *x, ptrdiff_t left, range r, bool safe, extremes *e)
{
    vec t[GROUP];
    UNROLL for (int k = 0; k < GROUP; k++) {
        ptrdiff_t n = left - k * LANES;
        t[k] = broadcast(0);
        if (n > 0) {
            vec v = load_up_to_or(x + k * LANES, n, broadcast(x[0])), y = term(v, r, safe);
            if (terms)
                store_up_to(terms + k * LANES, y, n);
            t[k] = keep_up_to(y, n);
            widen_extremes(e, v);
        }
    }
    return ((t[0] + t[1]) + (t[2] + t[3])) + ((t[4] + t[5]) + (t[6] + t[7]));
}

/* The sum of the terms of a row. They are stored in `terms` unless it is NULL. *e is widened by the entries. */
ALWAYS_INLINE vec_sum row_terms(real *terms, const real *x, ptrdiff_t cols, range r, bool safe, extremes *e)
{
    vec_sum total = {broadcast(0), broadcast(0)};
    ptrdiff_t i = 0, step = GROUP * LANES;
    for (; i + step <= cols; i += step) {
        add_to(&total, group_terms(terms ? terms + i : NULL, x + i, step, r, safe, e));
        if (i && i % (RENORMALIZE_EVERY * step) == 0)
            renormalize(&total);
    }
    if (i < cols)
        add_to(&total, group_terms(terms ? terms + i : NULL, x + i, cols - i, r, safe, e));
    return total;
}

/* Not inlined: few rows need it, and each copy costs compile time. */
static vec_sum shifted_terms(real *terms, const real *x, ptrdiff_t cols, range r)
{
    extremes e = extremes_of(broadcast(0));
    return r.safe ? row_terms(terms, x, cols, r, true, &e) : row_terms(terms, x, cols, r, false, &e);
}

/* The terms of a row as if it needed no shift, which saves a pass to find the largest entry. The same pass finds the
   extremes, so the caller can tell whether the terms are valid. */
ALWAYS_INLINE vec_sum unshifted_terms(real *terms, const real *x, ptrdiff_t cols, extremes *e)
{
    *e = extremes_of(broadcast(x[0]));
    return row_terms(terms, x, cols, unshifted(), true, e);
}

static vec_sum exp_row(real *terms, const real *x, ptrdiff_t cols)
{
    if (terms == x)
        return shifted_terms(terms, x, cols, range_of_row(extremes_of_row(x, cols)));
    extremes e;
    vec_sum total = unshifted_terms(terms, x, cols, &e);
    return needs_no_shift(e) ? total : shifted_terms(terms, x, cols, range_of_row(e));
}

/* A pass that mostly loads and stores takes twice as long if its vectors are not aligned. Terms of a row of up to
   PADDED_COLS entries go to an aligned buffer. On a longer row, the pass stores a partial vector first, so that the
   following stores are aligned. */
enum { PADDED_COLS = 16 * LANES };

/* out = f(x, y) for a row, with the same y for all vectors. */
ALWAYS_INLINE void map_row(vec f(vec, vec_sum), real *out, const real *x, ptrdiff_t cols, vec_sum y)
{
    /* how many elements of out lie before the first aligned one */
    ptrdiff_t head = (ptrdiff_t)((0 - (uintptr_t)out) % VECTOR_BYTES / sizeof(real)), i = 0;
    if (head && cols > PADDED_COLS) {
        store_part(out, f(load_part(x, head), y), head);
        i = head;
    }
    for (; i + 4 * LANES <= cols; i += 4 * LANES)
        UNROLL for (int k = 0; k < 4 * LANES; k += LANES)
            store(out + i + k, f(load(x + i + k), y));
    for (; i < cols; i += LANES)
        store_up_to(out + i, f(load_up_to(x + i, cols - i), y), cols - i);
}

/* Lane r of y, broadcast to all lanes. */
ALWAYS_INLINE vec_sum of_row(vec_sum y, ptrdiff_t r)
{
    real sum[LANES], error[LANES];
    store(sum, y.sum);
    store(error, y.error);
    return (vec_sum){broadcast(sum[r]), broadcast(error[r])};
}

/* Up to LANES rows. Work that each row needs once, such as the division, is done for all rows at once, in lanes. */
ALWAYS_INLINE void softmax_rows(rowwise t, ptrdiff_t rows)
{
    ptrdiff_t cols = t.cols;
    vec padded[LANES][PADDED_COLS / LANES];
    vec_sum total[LANES];
    bool is_padded = cols <= PADDED_COLS;
    real *terms = is_padded ? (real *)padded : t.out, term[LANES] = {0};
    ptrdiff_t stride = is_padded ? PADDED_COLS : cols;
    for (ptrdiff_t r = 0; r < rows; r++) {
        total[r] = exp_row(terms + r * stride, t.x + r * cols, cols);
        if (t.label)
            term[r] = terms[r * stride + t.label[r]];
    }
    for (ptrdiff_t r = rows; r < LANES; r++)
        total[r] = total[0];
    vec_sum factor = factor_of(each_sum(total), term, rows, t);
    for (ptrdiff_t r = 0; r < rows; r++)
        map_row(times, t.out + r * cols, terms + r * stride, cols, of_row(factor, r));
}

/* ---- log_softmax ---- */

/* If one entry dominates a row, log(sum) loses the others, but they alone make the result. So the terms are scaled to
   2^POWER exp(x - max): the largest is exactly 2^POWER, and the others survive in total.error. The scale also keeps
   them from becoming subnormal. */
enum { POWER = MANTISSA_BITS + 8 };
#define POWER_OF_2 ((real)((int64_t)1 << POWER))

ALWAYS_INLINE void log_softmax_lanes(lane_blocks block, rowwise t, ptrdiff_t rows)
{
    vec max[BLOCKS];
    vec_sum total[BLOCKS];
    ptrdiff_t blocks = (rows + LANES - 1) / LANES;
    for (ptrdiff_t b = 0; b < blocks; b++) {
        max[b] = block[b][0];
        for (ptrdiff_t j = 1; j < t.cols; j++)
            max[b] = maximum(max[b], block[b][j]);
        total[b] = (vec_sum){broadcast(0), broadcast(0)};
        for (ptrdiff_t j = 0; j < t.cols; j++)
            add_to(&total[b], shifted_exp(block[b][j], max[b], POWER));
    }
    for (ptrdiff_t b = 0; b < blocks; b++) {
        vec log_sum = vec_log(total[b].sum * (1 / POWER_OF_2)) + total[b].error / total[b].sum;
        for (ptrdiff_t j = 0; j < t.cols; j++)
            block[b][j] = (block[b][j] - max[b]) - log_sum;
    }
}

/* What log_softmax subtracts from the entries of a row in which one entry dominates: max, and log(sum(exp(x -
   max))). */
static vec_sum dominated_shift(const real *x, ptrdiff_t cols, real max)
{
    vec_sum total = {broadcast(0), broadcast(0)};
    for (ptrdiff_t i = 0; i < cols; i += LANES) {
        add_to(&total, keep_up_to(shifted_exp(load_up_to(x + i, cols - i), broadcast(max), POWER), cols - i));
        if (i && i % (RENORMALIZE_EVERY * LANES) == 0)
            renormalize(&total);
    }
    real error, sum = sum_lanes(total, &error);
    return (vec_sum){broadcast(max),
                     broadcast((real)(log((double)sum / (double)POWER_OF_2) + (double)error / (double)sum))};
}

/* log(total 2^bias) to twice the precision, if total 2^bias is not near 1. */
ALWAYS_INLINE vec_sum log_of_sum(vec_sum total, vec bias)
{
    vec_sum parts = log_parts(total.sum, bias);
    parts.error += total.error / total.sum;
    vec sum = parts.sum + parts.error;
    return (vec_sum){sum, sum_error(parts.sum, parts.error, sum)};
}

ALWAYS_INLINE vec minus(vec v, vec_sum shift) { return (v - shift.sum) - shift.error; }

/* The sum of exp(x) 2^-bias over a row, in lanes. It is nan if the row is unsafe; the caller then uses
   dominated_shift. */
static vec_sum sum_of_row(const real *x, ptrdiff_t cols, vec *max, real *bias)
{
    extremes e;
    vec_sum total = unshifted_terms(NULL, x, cols, &e);
    range r = range_of_row(e);
    *max = e.max;
    *bias = first_lane(r.bias);
    if (needs_no_shift(e))
        return total;
    return r.safe ? shifted_terms(NULL, x, cols, r) : (vec_sum){broadcast((real)NAN), broadcast(0)};
}

ALWAYS_INLINE void log_softmax_rows(rowwise t, ptrdiff_t rows)
{
    ptrdiff_t cols = t.cols;
    vec_sum total[LANES];
    vec max[LANES];
    real bias[LANES] = {0}, row_max[LANES], nothing_dominates[LANES];
    for (ptrdiff_t r = 0; r < rows; r++)
        total[r] = sum_of_row(t.x + r * cols, cols, &max[r], &bias[r]);
    for (ptrdiff_t r = rows; r < LANES; r++) {
        total[r] = total[0];
        max[r] = max[0];
    }
    vec_sum shift = log_of_sum(each_sum(total), load(bias));
    store(row_max, each_largest(max));
    store(nothing_dominates, choose(less_equal(broadcast(1), shift.sum - load(row_max)), broadcast(1), broadcast(0)));
    for (ptrdiff_t r = 0; r < rows; r++)
        map_row(minus, t.out + r * cols, t.x + r * cols, cols,
                nothing_dominates[r] != 0 ? of_row(shift, r) : dominated_shift(t.x + r * cols, cols, row_max[r]));
}

/* ---- Short rows or long ---- */

typedef void lanes_function(lane_blocks block, rowwise t, ptrdiff_t rows);
typedef void rows_function(rowwise t, ptrdiff_t rows);

ALWAYS_INLINE void in_lanes(lanes_function *f, rowwise t, ptrdiff_t rows)
{
    lane_blocks block;
    for (ptrdiff_t b = 0, r = 0; r < rows; b++, r += LANES)
        to_lanes(block[b], t.x + r * t.cols, least(LANES, rows - r), t.cols);
    f(block, t, rows);
    for (ptrdiff_t b = 0, r = 0; r < rows; b++, r += LANES)
        from_lanes(t.out + r * t.cols, block[b], least(LANES, rows - r), t.cols);
}

ALWAYS_INLINE void by_blocks(lanes_function *lanes, rows_function *vectors, rowwise t, ptrdiff_t begin, ptrdiff_t end)
{
    enum { CACHED = 16384 / sizeof(real) }; /* half of an L1 cache: the output needs the rest */
    t = from_row(t, begin);
    bool is_short = t.cols <= SHORT_COLS;
    ptrdiff_t step = is_short ? BLOCKS * LANES : least(LANES, 1 + CACHED / (t.cols + 1));
    for (ptrdiff_t rows = end - begin; rows > 0; rows -= step, t = from_row(t, step)) {
        ptrdiff_t count = least(rows, step);
        if (is_short)
            in_lanes(lanes, t, count);
        else
            vectors(t, count);
        for (ptrdiff_t r = 0; t.label && r < count; r++)
            t.out[r * t.cols + t.label[r]] = (t.probability[r] - 1) / t.divisor;
    }
}

/* The task without labels, which the compiler then knows. */
ALWAYS_INLINE rowwise unlabelled(const rowwise *t) { return (rowwise){.out = t->out, .x = t->x, .cols = t->cols}; }

static void softmax(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    by_blocks(softmax_lanes, softmax_rows, unlabelled(task), begin, end);
}

/* out = (softmax(x) - one_hot(label)) / divisor; probability = that of each label */
static void softmax_label_gradient(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    by_blocks(softmax_lanes, softmax_rows, *(const rowwise *)task, begin, end);
}

static void log_softmax(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    by_blocks(log_softmax_lanes, log_softmax_rows, unlabelled(task), begin, end);
}

/* dx = y (dout - sum(dout y)) for each row. In the task, out is dx and x is dout. */
static void softmax_backward(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const rowwise *t = task;
    ptrdiff_t cols = t->cols;
    for (ptrdiff_t row = begin; row < end; row++) {
        real *dx = t->out + row * cols;
        const real *dout = t->x + row * cols, *y = t->y + row * cols;
        vec_sum total = {broadcast(0), broadcast(0)};
        for (ptrdiff_t i = 0; i < cols; i += LANES) {
            add_to(&total, load_up_to(dout + i, cols - i) * load_up_to(y + i, cols - i));
            if (i && i % (RENORMALIZE_EVERY * LANES) == 0)
                renormalize(&total);
        }
        real error, dot = sum_lanes(total, &error);
        dot = with_error(dot, error);
        for (ptrdiff_t i = 0; i < cols; i += LANES)
            store_up_to(dx + i, load_up_to(y + i, cols - i) * (load_up_to(dout + i, cols - i) - dot), cols - i);
    }
}

#endif
