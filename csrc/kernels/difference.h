/* What central differences of a network's loss need, over samples or units in a row. */

ALWAYS_INLINE void map_sum(vec f(vec), real *out, const real *a, real s, const real *v, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += LANES)
        store_up_to(out + i, f(multiply_add(broadcast(s), load_up_to(v + i, n - i), load_up_to(a + i, n - i))), n - i);
}

ALWAYS_INLINE vec identity(vec x) { return x; }

/* out = f(a + s v), for n elements */
static void activate_sum(real *out, const real *a, real s, const real *v, enum zdl_activation f, ptrdiff_t n)
{
    switch (f) {
    case ZDL_IDENTITY: map_sum(identity, out, a, s, v, n); break;
    case ZDL_SIGMOID: map_sum(vec_sigmoid, out, a, s, v, n); break;
    case ZDL_RELU: map_sum(vec_relu, out, a, s, v, n); break;
    case ZDL_TANH: map_sum(vec_tanh, out, a, s, v, n); break;
    }
}

/* out[i, k] = a[i, k] + u[i] v[k], for m rows, out_row and a_row apart, of n */
static void add_outer(real *out, ptrdiff_t out_row, const real *a, ptrdiff_t a_row, const real *u, const real *v,
                      ptrdiff_t m, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < m; i++)
        map_sum(identity, out + i * out_row, a + i * a_row, u[i], v, n);
}

/* softmax(x)[label] + 1e-7 for columns x of `classes` numbers, `row` apart, of which there are n <= LANES. */
ALWAYS_INLINE vec label_probability(const real *x, ptrdiff_t row, ptrdiff_t classes, const int64_t *label, ptrdiff_t n)
{
    vec max = load_up_to(x, n), sum = broadcast(0), of_label;
    for (ptrdiff_t c = 1; c < classes; c++)
        max = maximum(load_up_to(x + c * row, n), max);
    real at_label[LANES] = {0};
    for (ptrdiff_t k = 0; k < n; k++)
        at_label[k] = x[label[k] * row + k];
    of_label = load(at_label);
    /* Below the least normal power a term is nothing beside the largest, 1. */
#define TERM(v) exp_normal(maximum(broadcast(EXP_SMALLEST_NORMAL), (v) - max), broadcast(EXP_ROUNDER))
    for (ptrdiff_t c = 0; c < classes; c++)
        sum += TERM(load_up_to(x + c * row, n));
    return TERM(of_label) / sum + (real)1e-7;
#undef TERM
}

/* out[k] = the cross-entropy of column k of `above` less that of `below`, for n columns of `classes` scores, `row` apart */
static void cross_entropy_difference(real *out, const real *above, const real *below, ptrdiff_t row, ptrdiff_t classes,
                                     const int64_t *label, ptrdiff_t n)
{
    for (ptrdiff_t k = 0; k < n; k += LANES) {
        ptrdiff_t count = n - k < LANES ? n - k : LANES;
        vec p = label_probability(above + k, row, classes, label + k, count);
        vec q = label_probability(below + k, row, classes, label + k, count);
        store_up_to(out + k, vec_log(q / p), count);
    }
}
