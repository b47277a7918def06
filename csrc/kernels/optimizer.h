/* Optimizer steps: one pass over n parameters, in place. */

/* param -= lr * grad */
static void sgd(real *param, const real *grad, real lr, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += LANES)
        store_up_to(param + i, load_up_to(param + i, n - i) - lr * load_up_to(grad + i, n - i), n - i);
}
