/* exp, log and tanh of a vector, within 2 ulp, over the whole range: subnormal results, infinities and nan
   included. Polynomials: tools/minimax.py. */

#define LOG2_E ((real)1.4426950408889634)
#if REAL_BITS == 64
/* ln 2 in two parts; the high one ends in zeros, so that n * LN2_HIGH is exact for every exponent n. */
#define LN2_HIGH 6.93147180369123816490e-01
#define LN2_LOW 1.90821492927058770002e-10
#define EXP_LARGEST 709.8   /* exp overflows before it */
#define EXP_SMALLEST -745.5 /* exp is 0 before it */
#define SMALLEST_NORMAL 0x1p-1022
#define SMALLEST_SUBNORMAL 0x1p-1074
#define SUBNORMAL_SHIFT 54
static const real exp_tail[] = { /* (exp(r) - 1 - r) / r^2, |r| <= ln(2)/2, to 2^-57.9 */
    0.500000000000001083, 0.166666666666664076, 0.0416666666665281084, 0.00833333333349694914,
    0.00138888889442480868, 0.000198412695026796336, 0.0000248014923893251903,
    2.75575884796970952e-6, 2.76305231350307623e-7, 2.4999839024077406e-8};
static const real log_tail[] = { /* (log((1+s)/(1-s)) - 2s) / s^3 in s^2, to 2^-58.5 */
    0.66666666666667349, 0.399999999994110718, 0.285714287432665028, 0.22222198475643722,
    0.181835697557664793, 0.153139028738355658, 0.147975111608910249};
#else
#define LN2_HIGH 0.693359375f
#define LN2_LOW -2.12194440e-4f
#define EXP_LARGEST 88.8f
#define EXP_SMALLEST -104.0f
#define SMALLEST_NORMAL 0x1p-126f
#define SMALLEST_SUBNORMAL 0x1p-149f
#define SUBNORMAL_SHIFT 25
static const real exp_tail[] = { /* to 2^-28.3 */
    0.499999933730847664f, 0.16666519524548791f, 0.0416684011107880235f, 0.00836885103599083046f,
    0.00138143184102100594f};
static const real log_tail[] = { /* to 2^-36.6 */
    0.666666656412922645f, 0.400003362193865263f, 0.285372383165027181f, 0.23583569022689658f};
#endif

enum { EXP_TERMS = sizeof exp_tail / sizeof(real), LOG_TERMS = sizeof log_tail / sizeof(real) };

/* Estrin's scheme: pairs, then pairs of pairs, so that no long chain of operations waits for itself. */
ALWAYS_INLINE vec polynomial(vec x, const real *coefficient, int terms)
{
    vec part[16];
    UNROLL for (int i = 0; i < terms; i++)
        part[i] = broadcast(coefficient[i]);
    UNROLL for (; terms > 1; terms = (terms + 1) / 2, x = x * x) {
        UNROLL for (int i = 0; i < terms / 2; i++)
            part[i] = multiply_add(part[2 * i + 1], x, part[2 * i]);
        if (terms % 2)
            part[terms / 2] = part[terms - 1];
    }
    return part[0];
}

/* p and n with exp(x + low) = 2^n (1 + p.sum + p.error), for EXP_SMALLEST <= x <= EXP_LARGEST and |low| <= ulp(x).
   x - n ln 2 is high + low, of which high is exact. */
ALWAYS_INLINE vec_sum exp_reduced(vec x, vec low, vec *n)
{
    *n = multiply_add(x, broadcast(LOG2_E), broadcast(ROUNDER)) - ROUNDER;
    vec high = multiply_add(*n, broadcast(-LN2_HIGH), x);
    low = multiply_add(*n, broadcast(-LN2_LOW), low);
    vec r = high + low;
    vec tail = multiply_add(r * r, polynomial(r, exp_tail, EXP_TERMS), low);
    vec p = high + tail;
    return (vec_sum){p, (high - p) + tail};
}

#ifdef HAVE_LOOKUP16
/* With 2^(j/16) from a table r is 16 times smaller, which halves the polynomial. */
static const real exp_short_tail[] = { /* (exp(r) - 1 - r) / r^2, |r| <= ln(2)/32, to 2^-56.2 */
    0.499999999999995998, 0.166666666643999384, 0.0416666666934447081, 0.00833347247545313207,
    0.00138885931928627812};
static const real exp2_table[] = { /* 2^(j/16) */
    0x1.0000000000000p+0, 0x1.0b5586cf9890fp+0, 0x1.172b83c7d517bp+0, 0x1.2387a6e756238p+0,
    0x1.306fe0a31b715p+0, 0x1.3dea64c123422p+0, 0x1.4bfdad5362a27p+0, 0x1.5ab07dd485429p+0,
    0x1.6a09e667f3bcdp+0, 0x1.7a11473eb0187p+0, 0x1.8ace5422aa0dbp+0, 0x1.9c49182a3f090p+0,
    0x1.ae89f995ad3adp+0, 0x1.c199bdd85529cp+0, 0x1.d5818dcfba487p+0, 0x1.ea4afa2a490dap+0};
static const real exp2_table_error[] = { /* and what its rounding drops */
    0x0.0p+0, 0x1.8a62e4adc610bp-54, -0x1.19041b9d78a76p-55, 0x1.9b07eb6c70573p-54,
    0x1.6f46ad23182e4p-55, 0x1.ada0911f09ebcp-55, 0x1.d4397afec42e2p-56, 0x1.6324c054647adp-54,
    -0x1.bdd3413b26456p-54, -0x1.41577ee04992fp-55, 0x1.6e9f156864b27p-54, 0x1.c7c46b071f2bep-56,
    0x1.7a1cd345dcc81p-54, 0x1.11065895048ddp-55, 0x1.2ed02d75b3707p-55, -0x1.e9c23179c2893p-54};

/* 2^power exp(x + *low); EXP_SMALLEST <= x <= EXP_LARGEST, |*low| <= ulp(x), or NULL for 0.
   exp(x) is 2^n exp(r) for a multiple n of 1/16. Adding ROUNDER / 16 rounds to such a multiple, and leaves 16 n in the
   low bits. */
ALWAYS_INLINE vec exp_in_range(vec x, const vec *low, int power)
{
    vec shifted = multiply_add(x, broadcast(LOG2_E), broadcast(ROUNDER / 16)), n = shifted - ROUNDER / 16;
    vec root = lookup16(exp2_table, as_integer(shifted)), root_error = lookup16(exp2_table_error, as_integer(shifted));
    vec high = multiply_add(n, broadcast(-LN2_HIGH), x);
    vec r = multiply_add(n, broadcast(-LN2_LOW), low ? high + *low : high);
    vec p = multiply_add(r * r, polynomial(r, exp_short_tail, sizeof exp_short_tail / sizeof(real)), r);
    return scale(root + multiply_add(root, p, root_error), power ? n + (real)power : n); /* scale floors n */
}
#else
ALWAYS_INLINE vec exp_in_range(vec x, const vec *low, int power)
{
    vec n, p = exp_reduced(x, low ? *low : broadcast(0), &n).sum;
    return scale(1 + p, power ? n + (real)power : n);
}
#endif

ALWAYS_INLINE vec vec_exp(vec x)
{
    return exp_in_range(maximum(broadcast(EXP_SMALLEST), minimum(broadcast(EXP_LARGEST), x)), NULL, 0);
}

/* log(x) = n ln 2 + log(1 + f), sqrt(1/2) <= 1 + f < sqrt(2); log(1 + f) = 2 atanh(s), s = f / (2 + f). */
ALWAYS_INLINE vec vec_log(vec x)
{
    mask subnormal = less(x, broadcast(SMALLEST_NORMAL));
    vec normal = absolute(choose(subnormal, x * (real)((int64_t)1 << SUBNORMAL_SHIFT), x));
    ivec sqrt_half = as_integer(broadcast((real)0.70710678118654752));
    ivec exponent = (as_integer(normal) - sqrt_half) >> MANTISSA_BITS;
    vec f = as_real(as_integer(normal) - (exponent << MANTISSA_BITS)) - 1;
    vec n = as_real(exponent + as_integer(broadcast(ROUNDER))) - ROUNDER;
    n = n - choose(subnormal, broadcast(SUBNORMAL_SHIFT), broadcast(0));

    vec s = f / (2 + f), s2 = s * s, half_square = (real)0.5 * f * f;
    vec tail = s * multiply_add(s2, polynomial(s2, log_tail, LOG_TERMS), half_square);
    vec low = multiply_add(n, broadcast(LN2_LOW), tail);
    vec y = multiply_add(n, broadcast(LN2_HIGH), f - (half_square - low));

    y = choose(less(x, broadcast((real)INFINITY)), y, x); /* inf and nan stay */
    y = choose(less(x, broadcast(SMALLEST_SUBNORMAL)), broadcast((real)-INFINITY), y);
    y = choose(less(x, broadcast(0)), broadcast((real)NAN), y);
    return y;
}

/* tanh(|x|) = -t / (2 + t) with t = expm1(-2|x|), which loses nothing near 0.
   t + t_error is 2^n (1 + p) - 1; the derivatives carry that and the rounding of 2 + t over to y, by
   1 / (2 + t) = (1 + y) / 2. */
ALWAYS_INLINE vec vec_tanh(vec x)
{
    vec n;
    vec_sum p = exp_reduced(maximum(broadcast(EXP_SMALLEST), -2 * absolute(x)), broadcast(0), &n);
    vec power_less_1 = scale(broadcast(1), n) - 1, scaled_p = scale(p.sum, n);
    vec t = power_less_1 + scaled_p, t_error = sum_error(power_less_1, scaled_p, t) + scale(p.error, n);
    vec d = 2 + t, d_error = t - (d - 2);
    vec y = -t / d, reciprocal = (real)0.5 + (real)0.5 * y;
    return copy_sign(y - reciprocal * (y * d_error + 2 * reciprocal * t_error), x);
}

/* sigmoid(x) = e / (1 + e) with e = exp(x). x = 40 gives 1 already; beyond, e would overflow. */
ALWAYS_INLINE vec sigmoid_exp(vec x)
{
    return exp_in_range(maximum(broadcast(EXP_SMALLEST), minimum(broadcast(40), x)), NULL, 0);
}

/* y = e / (1 + e), corrected for the rounding of d = 1 + e by 1 / d = 1 - y. */
ALWAYS_INLINE vec sigmoid_of_exp(vec e)
{
    vec d = 1 + e, d_error = sum_error(broadcast(1), e, d);
    vec y = e / d;
    return multiply_add(-y, d_error * (1 - y), y);
}

ALWAYS_INLINE vec vec_sigmoid(vec x) { return sigmoid_of_exp(sigmoid_exp(x)); }
