/* exp(x), log(x), tanh(x) and sigmoid(x) = 1 / (1 + exp(-x)) of a vector, within 2 ulp over the whole range, including
   subnormal results, infinities and nan. Each reduces its argument to a short interval, where a minimax polynomial is
   enough. tools/minimax.py computes the coefficients and their errors. */
#ifndef ZERODL_KERNELS_EXP_H
#define ZERODL_KERNELS_EXP_H

#include "../internal/vector.h"

#define LOG2_E ((real)1.4426950408889634)
#if REAL_BITS == 64
/* ln 2 in two parts. The high part ends in zero bits, so that n * LN2_HIGH is exact for every exponent n. */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_LARGEST 709.8   /* exp(x) is infinite from here up */
#define EXP_SMALLEST -745.5 /* exp(x) is 0 from here down */
#define EXP_SMALLEST_NORMAL -670.0 /* exp(x) and half an ulp of it are normal from here up */
#define SMALLEST_NORMAL 0x1p-1022
#define SUBNORMAL_SHIFT 54 /* times 2^54, every subnormal is normal */
static const real exp_tail[] = { /* (exp(r) - 1 - r) / r^2, |r| <= ln(2)/2, to 2^-57.9 */
                                0.500000000000001083,     0.166666666666664076,   0.0416666666665281084,
                                0.00833333333349694914,   0.00138888889442480868, 0.000198412695026796336,
                                0.0000248014923893251903, 2.75575884796970952e-6, 2.76305231350307623e-7,
                                2.4999839024077406e-8};
static const real log_tail[] = { /* (log((1+s)/(1-s)) - 2s) / s^3 in s^2, to 2^-58.5 */
                                0.66666666666667349,  0.399999999994110718, 0.285714287432665028, 0.22222198475643722,
                                0.181835697557664793, 0.153139028738355658, 0.147975111608910249};
#else
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define EXP_LARGEST 88.8f
#define EXP_SMALLEST -104.0f
#define EXP_SMALLEST_NORMAL -70.0f
#define SMALLEST_NORMAL 0x1p-126f
#define SUBNORMAL_SHIFT 25
static const real exp_tail[] = { /* to 2^-28.3 */
                                0.499999933730847664f, 0.16666519524548791f, 0.0416684011107880235f,
                                0.00836885103599083046f, 0.00138143184102100594f};
static const real log_tail[] = { /* to 2^-36.6 */
                                0.666666656412922645f, 0.400003362193865263f, 0.285372383165027181f,
                                0.23583569022689658f};
#endif

enum { EXP_TERMS = sizeof exp_tail / sizeof(real), LOG_TERMS = sizeof log_tail / sizeof(real) };

/* The polynomial by Horner's scheme in x^2 on pairs of terms. It takes one operation more than Horner's scheme in x,
   and half the latency. */
ALWAYS_INLINE vec polynomial(vec x, const real *coefficient, int terms)
{
    vec x2 = x * x, sum = broadcast(coefficient[terms - 1]);
    int i = terms - 1;
    if (terms % 2 == 0) {
        i--;
        sum = multiply_add(sum, x, broadcast(coefficient[i]));
    }
    UNROLL for (i -= 2; i >= 0; i -= 2)
        sum = multiply_add(sum, x2, multiply_add(broadcast(coefficient[i + 1]), x, broadcast(coefficient[i])));
    return sum;
}

/* p and n with exp(x) = 2^n (1 + p.sum + p.error), for EXP_SMALLEST <= x <= EXP_LARGEST. The reduced argument
   x - n ln 2 is high + low, where high is exact. */
ALWAYS_INLINE vec_sum exp_reduced(vec x, vec *n)
{
    *n = multiply_add(x, broadcast(LOG2_E), broadcast(ROUNDER)) - ROUNDER;
    vec high = multiply_add(*n, broadcast(-LN2_HIGH), x), low = *n * -LN2_LOW, r = high + low;
    vec tail = multiply_add(r * r, polynomial(r, exp_tail, EXP_TERMS), low);
    vec p = high + tail;
    return (vec_sum){p, (high - p) + tail};
}

#ifdef HAVE_LOOKUP8
/* Here n is a multiple of 1/8. A table gives 2^(j/8), so r is 8 times smaller, and a polynomial of half the length
   does. */
enum { EXP_FRACTION_BITS = 3 };
static const real exp_short_tail[] = { /* as exp_tail, |r| <= ln(2)/16, to 2^-58.3 */
    0.500000000000029957, 0.166666666666636903, 0.0416666665693390924, 0.00833333337141934059,
    0.00138897840587454446, 0.000198405629364350773};
/* The bits of 2^(j/8), less j << EXP_SHIFT: adding the bits of n, shifted to the exponent, puts these back. */
static const integer exp2_table[] = {
    0x3ff0000000000000, 0x3fef72b83c7d517b, 0x3fef06fe0a31b715, 0x3feebfdad5362a27,
    0x3feea09e667f3bcd, 0x3feeace5422aa0db, 0x3feee89f995ad3ad, 0x3fef5818dcfba487};
ALWAYS_INLINE ivec exp2_bits(vec shifted) { return lookup8(exp2_table, as_integer(shifted)); }
#else
enum { EXP_FRACTION_BITS = 0 };
#define exp_short_tail exp_tail
ALWAYS_INLINE ivec exp2_bits(vec shifted) { return (void)shifted, as_integer(broadcast(1)); }
#endif

enum {
    EXP_SHORT_TERMS = sizeof exp_short_tail / sizeof(real),
    EXP_SHIFT = MANTISSA_BITS - EXP_FRACTION_BITS,
    EXP_FRACTION = (1 << EXP_FRACTION_BITS) - 1
};
#define EXP_ROUNDER (ROUNDER / (1 << EXP_FRACTION_BITS))

/* Returns p with exp(x + *low) 2^-bias = 2^(n - bias) (1 + p), for |*low| <= ulp(x). *shifted = n - bias + EXP_ROUNDER,
   whose low bits hold n - bias. rounder is EXP_ROUNDER - bias. low may be NULL for 0. */
ALWAYS_INLINE vec exp_parts(vec x, const vec *low, vec rounder, vec *shifted)
{
    *shifted = multiply_add(x, broadcast(LOG2_E), rounder);
    vec n = *shifted - rounder;
    vec high = multiply_add(n, broadcast(-LN2_HIGH), x);
    vec r = multiply_add(n, broadcast(-LN2_LOW), low ? high + *low : high);
    return multiply_add(r * r, polynomial(r, exp_short_tail, EXP_SHORT_TERMS), r);
}

/* exp(x) 2^-bias, if that is a normal number: the bits of n, shifted to the exponent, make 2^n. rounder is
   EXP_ROUNDER - bias. */
ALWAYS_INLINE vec exp_normal(vec x, vec rounder)
{
    vec shifted, p = exp_parts(x, NULL, rounder, &shifted);
    vec power = as_real(add_shifted(exp2_bits(shifted), as_integer(shifted), EXP_SHIFT));
    return multiply_add(power, p, power);
}

/* 2^power exp(x + *low), for EXP_SMALLEST <= x <= EXP_LARGEST. */
ALWAYS_INLINE vec exp_in_range(vec x, const vec *low, int power)
{
    vec shifted, p = exp_parts(x, low, broadcast(EXP_ROUNDER), &shifted);
    vec fraction = as_real(add_shifted(exp2_bits(shifted), as_integer(shifted) & EXP_FRACTION, EXP_SHIFT));
    return scale(multiply_add(fraction, p, fraction), shifted - (EXP_ROUNDER - (real)power)); /* scale floors n */
}

ALWAYS_INLINE vec vec_exp(vec x)
{
    return exp_in_range(maximum(broadcast(EXP_SMALLEST), minimum(broadcast(EXP_LARGEST), x)), NULL, 0);
}

/* log(x 2^bias) = n ln 2 + log(1 + f), with sqrt(1/2) <= 1 + f < sqrt(2), for positive x. The result is in two parts:
   n LN2_HIGH, which is exact, and the rest. log(1 + f) = 2 atanh(s), with s = f / (2 + f). */
ALWAYS_INLINE vec_sum log_parts(vec x, vec bias)
{
    ivec sqrt_half = as_integer(broadcast((real)0.70710678118654752));
    ivec exponent = (as_integer(x) - sqrt_half) >> MANTISSA_BITS;
    vec f = as_real(as_integer(x) - (exponent << MANTISSA_BITS)) - 1;
    vec n = as_real(exponent + as_integer(broadcast(ROUNDER))) - ROUNDER + bias;

    vec s = f / (2 + f), s2 = s * s, half_square = (real)0.5 * f * f;
    vec tail = s * multiply_add(s2, polynomial(s2, log_tail, LOG_TERMS), half_square);
    vec low = multiply_add(n, broadcast(LN2_LOW), tail);
    return (vec_sum){n * LN2_HIGH, f - (half_square - low)};
}

ALWAYS_INLINE vec vec_log(vec x)
{
    mask subnormal = less(x, broadcast(SMALLEST_NORMAL));
    vec normal = absolute(choose(subnormal, x * (real)((int64_t)1 << SUBNORMAL_SHIFT), x));
    vec_sum parts = log_parts(normal, choose(subnormal, broadcast(-SUBNORMAL_SHIFT), broadcast(0)));
    vec y = parts.sum + parts.error;

    y = choose(less(x, broadcast((real)INFINITY)), y, x); /* inf and nan stay */
    /* -inf at 0, and at subnormals if the processor flushes them to 0 */
    y = choose(equal(x, broadcast(0)), broadcast((real)-INFINITY), y);
    y = choose(less(x, broadcast(0)), broadcast((real)NAN), y);
    return y;
}

/* tanh(|x|) = -t / (2 + t) with t = expm1(-2|x|), which has no cancellation near 0. t + t_error is 2^n (1 + p) - 1.
   y = -t / (2 + t) is then corrected to first order for t_error and for the rounding error of 2 + t. The derivatives
   use 1 / (2 + t) = (1 + y) / 2. */
ALWAYS_INLINE vec vec_tanh(vec x)
{
    vec n;
    vec_sum p = exp_reduced(maximum(broadcast(EXP_SMALLEST), -2 * absolute(x)), &n);
    vec power_less_1 = scale(broadcast(1), n) - 1, scaled_p = scale(p.sum, n);
    vec t = power_less_1 + scaled_p, t_error = sum_error(power_less_1, scaled_p, t) + scale(p.error, n);
    vec d = 2 + t, d_error = t - (d - 2);
    vec y = -t / d, reciprocal = (real)0.5 + (real)0.5 * y;
    return copy_sign(y - reciprocal * (y * d_error + 2 * reciprocal * t_error), x);
}

/* e = exp(-|x|) */
ALWAYS_INLINE vec sigmoid_exp(vec x)
{
    vec negative = as_real(as_integer(x) | as_integer(broadcast((real)-0.0)));
    return any(less(negative, broadcast(EXP_SMALLEST_NORMAL)))
               ? exp_in_range(maximum(broadcast(EXP_SMALLEST), negative), NULL, 0)
               : exp_normal(negative, broadcast(EXP_ROUNDER));
}

/* sigmoid(x) from e = exp(-|x|). Let q = e / (1 + e), which is right to an ulp or two. For x >= 0 the result is 1 - q.
   For x < 0 it is e - e q, which equals q. Both are right to an ulp. */
ALWAYS_INLINE vec sigmoid_of_exp(vec x, vec e)
{
    vec q = e / (1 + e), one_or_e = choose(less(x, broadcast(0)), e, broadcast(1));
    return multiply_add(-one_or_e, q, one_or_e);
}

ALWAYS_INLINE vec vec_sigmoid(vec x) { return sigmoid_of_exp(x, sigmoid_exp(x)); }

#endif
