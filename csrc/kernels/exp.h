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

ALWAYS_INLINE vec polynomial(vec x, const real *coefficient, int terms)
{
    vec y = broadcast(coefficient[terms - 1]);
    for (int i = terms - 2; i >= 0; i--)
        y = multiply_add(y, x, broadcast(coefficient[i]));
    return y;
}

/* p and n with exp(x + low) = 2^n (1 + p), for EXP_SMALLEST <= x <= EXP_LARGEST and |low| <= ulp(x). */
ALWAYS_INLINE vec exp_reduced(vec x, vec low, vec *n)
{
    *n = round_to_integer(x * LOG2_E);
    vec high = multiply_add(*n, broadcast(-LN2_HIGH), x);
    low = multiply_add(*n, broadcast(-LN2_LOW), low);
    vec r = high + low;
    low = (high - r) + low;
    return r + multiply_add(r * r, polynomial(r, exp_tail, EXP_TERMS), low);
}

ALWAYS_INLINE vec exp_clamped(vec x)
{
    return maximum(broadcast(EXP_SMALLEST), minimum(broadcast(EXP_LARGEST), x));
}

/* exp(x + low). Below EXP_SMALLEST `low` may be anything, nan too: the result is 0. */
ALWAYS_INLINE vec vec_exp_sum(vec x, vec low)
{
    vec n, p;
    low = choose(less(x, broadcast(EXP_SMALLEST)), broadcast(0), low);
    p = exp_reduced(exp_clamped(x), low, &n);
    return scale(1 + p, n);
}

ALWAYS_INLINE vec vec_exp(vec x)
{
    vec n, p = exp_reduced(exp_clamped(x), broadcast(0), &n);
    return scale(1 + p, n);
}

/* log(x) = n ln 2 + log(1 + f), sqrt(1/2) <= 1 + f < sqrt(2); log(1 + f) = 2 atanh(s), s = f / (2 + f). */
ALWAYS_INLINE vec vec_log(vec x)
{
    mask subnormal = less(x, broadcast(SMALLEST_NORMAL));
    vec normal = choose(subnormal, x * (real)((int64_t)1 << SUBNORMAL_SHIFT), x);
    ivec sqrt_half = as_integer(broadcast((real)0.70710678118654752));
    ivec exponent = (as_integer(normal) - sqrt_half) >> MANTISSA_BITS;
    vec f = as_real(as_integer(normal) - (exponent << MANTISSA_BITS)) - 1;
    vec n = as_real(exponent + as_integer(broadcast(ROUNDER))) - ROUNDER;
    n = n - choose(subnormal, broadcast(SUBNORMAL_SHIFT), broadcast(0));

    vec s = f / (2 + f), s2 = s * s, half_square = (real)0.5 * f * f;
    vec tail = s * (half_square + s2 * polynomial(s2, log_tail, LOG_TERMS));
    vec y = n * LN2_HIGH - ((half_square - (tail + n * LN2_LOW)) - f);

    y = choose(less(x, broadcast((real)INFINITY)), y, x); /* inf and nan stay */
    y = choose(less(x, broadcast(SMALLEST_SUBNORMAL)), broadcast((real)-INFINITY), y);
    y = choose(less(x, broadcast(0)), broadcast((real)NAN), y);
    return y;
}

/* 1 / d to 6 % for 1 <= d <= 2: enough where it scales a correction that is below one ulp. */
ALWAYS_INLINE vec rough_reciprocal(vec d) { return (real)(24. / 17) - (real)(8. / 17) * d; }

/* numerator / (c + t), 1 <= c + t <= 2, corrected for the rounding of c + t. */
ALWAYS_INLINE vec divide_by_sum(vec numerator, real c, vec t)
{
    vec d = c + t;
    vec y = numerator / d, d_error = t - (d - c);
    return y - y * (d_error * rough_reciprocal(d));
}

/* tanh(|x|) = -t / (2 + t) with t = expm1(-2|x|), which loses nothing near 0.
   t + t_error is 2^n (1 + p) - 1; d tanh / dt = -2 / (2 + t)^2 carries the error over. */
ALWAYS_INLINE vec vec_tanh(vec x)
{
    vec n, p = exp_reduced(exp_clamped(-2 * absolute(x)), broadcast(0), &n);
    vec power_less_1 = scale(broadcast(1), n) - 1, scaled_p = scale(p, n);
    vec t = power_less_1 + scaled_p, t_error = sum_error(power_less_1, scaled_p, t);
    vec r = rough_reciprocal(2 + t);
    return copy_sign(divide_by_sum(-t, 2, t) - 2 * t_error * r * r, x);
}

/* 1 / (1 + exp(-x)), written with exp(-|x|), which cannot overflow: exp(x) / (1 + exp(x)) for x < 0. */
ALWAYS_INLINE vec vec_sigmoid(vec x)
{
    vec e = vec_exp(-absolute(x));
    return divide_by_sum(choose(less(x, broadcast(0)), e, broadcast(1)), 1, e);
}
