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

/* In two loops over a block in cache: each is short enough for the processor to overlap its iterations. */
static void sigmoid(real *out, const real *x, ptrdiff_t n)
{
    enum { BLOCK = 256 };
    for (; n > 0; n -= BLOCK, out += BLOCK, x += BLOCK) {
        ptrdiff_t size = n < BLOCK ? n : BLOCK;
        map1(sigmoid_exp, out, x, size);
        map1(sigmoid_of_exp, out, out, size);
    }
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

/* 1 where x > 0, else 0, as integers. */
static void step(int64_t *out, const real *x, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = x[i] > 0;
}
