/* The vector loops of net/differences.h, which computes central differences of a net's loss:

     activate_sum: out = f(a + s v)
     activation_change: out = f(a + s v) - z, where z = f(a)
     cross_entropy_difference: the cross-entropy after a step up minus that after a step down */
#ifndef ZERODL_NET_DIFFERENCE_KERNELS_H
#define ZERODL_NET_DIFFERENCE_KERNELS_H

#include <math.h>

#include "../kernels/activation.h"
#include "../kernels/exp.h"
#include "../kernels/table.h"
#include "../internal/vector.h"

#define BY_ACTIVATION(f, map, ...)                                                                                     \
    switch (f) {                                                                                                       \
    case ZDL_IDENTITY: map(identity, __VA_ARGS__); break;                                                              \
    case ZDL_SIGMOID: map(vec_sigmoid, __VA_ARGS__); break;                                                            \
    case ZDL_RELU: map(vec_relu, __VA_ARGS__); break;                                                                  \
    case ZDL_TANH: map(vec_tanh, __VA_ARGS__); break;                                                                  \
    }

ALWAYS_INLINE vec identity(vec x) { return x; }

ALWAYS_INLINE void map_sum(vec f(vec), real *out, const real *a, real s, const real *v, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += LANES)
        store_up_to(out + i, f(multiply_add(broadcast(s), load_up_to(v + i, n - i), load_up_to(a + i, n - i))), n - i);
}

/* out = f(a + s v), for n elements */
static void activate_sum(real *out, const real *a, real s, const real *v, enum zdl_activation f, ptrdiff_t n)
{
    BY_ACTIVATION(f, map_sum, out, a, s, v, n);
}

/* activation_change with a constant f. If a is infinite, the change is 0, because a step does not change a. */
ALWAYS_INLINE void map_change(vec f(vec), real *out, const real *a, const real *z, real s, const real *v, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        vec sum = load(a + i), change = f(multiply_add(broadcast(s), load(v + i), sum)) - load(z + i);
        store(out + i, choose(equal(absolute(sum), broadcast((real)INFINITY)), broadcast(0), change));
    }
}

/* out = f(a + s v) - z, for n elements rounded up to whole vectors */
static void activation_change(real *out, const real *a, const real *z, real s, const real *v, enum zdl_activation f,
                              ptrdiff_t n)
{
    BY_ACTIVATION(f, map_change, out, a, z, s, v, n);
}

/* For samples [k, k + LANES) and each side: sum = the sum of exp(score - shift) over the classes, and at_label = the
   term of the label. score - shift is clamped to [-600, 600], where exp_normal is valid. */
ALWAYS_INLINE
void sum_terms(const stepped_scores *s, ptrdiff_t k, vec labels, const vec *shift, vec *sum, vec *at_label)
{
    vec change[2] = {load(s->change[0] + k), load(s->change[1] + k)};
    UNROLL for (int side = 0; side < 2; side++)
        sum[side] = at_label[side] = broadcast(0);
    for (ptrdiff_t c = 0; c < s->classes; c++) {
        mask is_label = equal(labels, broadcast((real)c));
        UNROLL for (int side = 0; side < 2; side++) {
            vec score = multiply_add(change[side], broadcast(s->weight[c]), load(s->score[side] + c * s->row + k));
            score = minimum(broadcast(600), maximum(broadcast(-600), score - shift[side]));
            vec term = exp_normal(score, broadcast(EXP_ROUNDER));
            sum[side] += term;
            at_label[side] = choose(is_label, term, at_label[side]);
        }
    }
}

/* The largest score of each side, for samples [k, k + LANES). */
ALWAYS_INLINE void largest_scores(const stepped_scores *s, ptrdiff_t k, vec *largest)
{
    UNROLL for (int side = 0; side < 2; side++) {
        vec change = load(s->change[side] + k);
        largest[side] = broadcast((real)-INFINITY);
        for (ptrdiff_t c = 0; c < s->classes; c++)
            largest[side] = maximum(change * s->weight[c] + load(s->score[side] + c * s->row + k), largest[side]);
    }
}

/* The cross-entropy of the scores of side 0 minus that of side 1, summed over the samples. For one sample it is
   log(p[1] / p[0]), with p = at_label / sum + 1e-7. log is slow, so it is taken of the product of FEW ratios. The
   ratios are near 1, so the product does not overflow. */
static double cross_entropy_difference(const stepped_scores *s, const real *label)
{
    enum { FEW = 8 };
    vec total = broadcast(0), ratio = broadcast(1), at_label[2], sum[2];
    for (ptrdiff_t k = 0; k < s->n; k += LANES) {
        vec labels = load(label + k), shift[2] = {broadcast(0), broadcast(0)};
        sum_terms(s, k, labels, shift, sum, at_label);
        vec most = maximum(sum[0], sum[1]), least = minimum(sum[0], sum[1]);
        if (any(less(least, broadcast(1e-100)) | less(broadcast(1e100), most))) { /* some scores are far from 0 */
            largest_scores(s, k, shift);
            sum_terms(s, k, labels, shift, sum, at_label);
        }
        vec above = multiply_add(sum[0], broadcast(1e-7), at_label[0]) * sum[1];
        vec below = multiply_add(sum[1], broadcast(1e-7), at_label[1]) * sum[0];
        ratio *= 1 + keep_up_to(below / above - 1, s->n - k);
        if (k / LANES % FEW == FEW - 1 || k + LANES >= s->n) {
            total += vec_log(ratio);
            ratio = broadcast(1);
        }
    }
    real error;
    return (double)sum_lanes((vec_sum){total, broadcast(0)}, &error);
}

#endif
