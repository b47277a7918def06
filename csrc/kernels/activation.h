/* Activations over n contiguous elements, and their backward passes. out may be an input, but no other overlap.
   map1 and map2 are inlined with a constant f, so each kernel below is its own loop. */

ALWAYS_INLINE void map1(vec f(vec), real *out, const real *x, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += LANES)
        store_up_to(out + i, f(load_up_to(x + i, n - i)), n - i);
}

ALWAYS_INLINE void map2(vec f(vec, vec), real *out, const real *x, const real *y, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i += LANES)
        store_up_to(out + i, f(load_up_to(x + i, n - i), load_up_to(y + i, n - i)), n - i);
}

/* e / (1 + e)^2 with e = exp(-|x|): (1 - s) s, without the cancellation in 1 - s. */
ALWAYS_INLINE vec vec_sigmoid_grad(vec x)
{
    vec e = vec_exp(-absolute(x)), d = 1 + e;
    return e / (d * d);
}

/* 0 where x <= 0, else x: nan passes, -0.0 becomes 0. */
ALWAYS_INLINE vec vec_relu(vec x) { return choose(less_equal(x, broadcast(0)), broadcast(0), x); }

/* 1 where x >= 0, else 0. */
ALWAYS_INLINE vec vec_relu_grad(vec x)
{
    return choose(less_equal(broadcast(0), x), broadcast(1), broadcast(0));
}

ALWAYS_INLINE vec vec_sigmoid_backward(vec dout, vec y) { return dout * (1 - y) * y; }
ALWAYS_INLINE vec vec_tanh_backward(vec dout, vec y) { return dout * (1 - y * y); }

/* 0 where y <= 0, else dout. */
ALWAYS_INLINE vec vec_relu_backward(vec dout, vec y)
{
    return choose(less_equal(y, broadcast(0)), broadcast(0), dout);
}

static void exp_all(real *out, const real *x, ptrdiff_t n) { map1(vec_exp, out, x, n); }
static void log_all(real *out, const real *x, ptrdiff_t n) { map1(vec_log, out, x, n); }
static void tanh_all(real *out, const real *x, ptrdiff_t n) { map1(vec_tanh, out, x, n); }

/* sigmoid with its two halves interleaved: the exponentials of the next GROUP vectors, the quotients of these. Each half
   is short enough for the processor to overlap; the whole would wait for itself. */
static void sigmoid(real *out, const real *x, ptrdiff_t n)
{
    enum { GROUP = 4, STEP = GROUP * LANES };
    ptrdiff_t i = 0;
    if (n >= STEP) {
        vec e[GROUP];
        UNROLL for (int g = 0; g < GROUP; g++)
            e[g] = sigmoid_exp(load(x + g * LANES));
        for (; i + 2 * STEP <= n; i += STEP)
            UNROLL for (int g = 0; g < GROUP; g++) {
                vec next = sigmoid_exp(load(x + i + STEP + g * LANES));
                store(out + i + g * LANES, sigmoid_of_exp(load(x + i + g * LANES), e[g]));
                e[g] = next;
            }
        UNROLL for (int g = 0; g < GROUP; g++)
            store(out + i + g * LANES, sigmoid_of_exp(load(x + i + g * LANES), e[g]));
        i += STEP;
    }
    map1(vec_sigmoid, out + i, x + i, n - i);
}

static void sigmoid_grad(real *out, const real *x, ptrdiff_t n) { map1(vec_sigmoid_grad, out, x, n); }
static void relu(real *out, const real *x, ptrdiff_t n) { map1(vec_relu, out, x, n); }
static void relu_grad(real *out, const real *x, ptrdiff_t n) { map1(vec_relu_grad, out, x, n); }

static void sigmoid_backward(real *dx, const real *dout, const real *y, ptrdiff_t n)
{
    map2(vec_sigmoid_backward, dx, dout, y, n);
}

static void tanh_backward(real *dx, const real *dout, const real *y, ptrdiff_t n)
{
    map2(vec_tanh_backward, dx, dout, y, n);
}

static void relu_backward(real *dx, const real *dout, const real *y, ptrdiff_t n)
{
    map2(vec_relu_backward, dx, dout, y, n);
}

/* relu, and off = 1 where x <= 0, else 0. Plain loops, for the compiler to make vectors of two widths of. */
static void relu_mask(real *out, uint8_t *off, const real *x, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        bool zero = x[i] <= 0;
        out[i] = zero ? 0 : x[i];
        off[i] = zero;
    }
}

/* dout = 0 where it is off. */
static void relu_mask_backward(real *dout, const uint8_t *off, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        dout[i] = off[i] ? 0 : dout[i];
}

/* 1 where x > 0, else 0, as integers. */
static void step(int64_t *out, const real *x, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = x[i] > 0;
}
