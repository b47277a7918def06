/* Activations of the elements [begin, end) of contiguous arrays, and their backward passes:

     sigmoid(x) = 1 / (1 + exp(-x))      sigmoid_backward: dx = dout (1 - y) y, y = sigmoid(x)
     tanh(x)                             tanh_backward: dx = dout (1 - y^2), y = tanh(x)
     relu(x) = x > 0 ? x : 0             relu_backward: dx = y > 0 ? dout : 0, y = relu(x)

   out may be one of the inputs; they must not overlap in another way. map1 and map2 are inlined with a constant f, so
   each kernel below is a loop of its own. */
#ifndef ZERODL_KERNELS_ACTIVATION_H
#define ZERODL_KERNELS_ACTIVATION_H

#include "../internal/vector.h"
#include "exp.h"
#include "table.h"

/* out = f(x) */
ALWAYS_INLINE void map1(vec f(vec), const elementwise *task, ptrdiff_t begin, ptrdiff_t end)
{
    const elementwise t = *task; /* a copy, which no store to out can change */
    for (ptrdiff_t i = begin; i < end; i += LANES)
        store_up_to(t.out + i, f(load_up_to(t.x + i, end - i)), end - i);
}

/* out = f(x, y) */
ALWAYS_INLINE void map2(vec f(vec, vec), const elementwise *task, ptrdiff_t begin, ptrdiff_t end)
{
    const elementwise t = *task;
    for (ptrdiff_t i = begin; i < end; i += LANES)
        store_up_to(t.out + i, f(load_up_to(t.x + i, end - i), load_up_to(t.y + i, end - i)), end - i);
}

/* (1 - s) s with s = sigmoid(x), as e / (1 + e)^2 with e = exp(-|x|), which avoids the cancellation in 1 - s. */
ALWAYS_INLINE vec vec_sigmoid_grad(vec x)
{
    vec e = vec_exp(-absolute(x)), d = 1 + e;
    return e / (d * d);
}

/* 0 where x <= 0, else x: nan stays nan, and -0.0 becomes 0. */
ALWAYS_INLINE vec vec_relu(vec x) { return choose(less_equal(x, broadcast(0)), broadcast(0), x); }

/* 1 where x >= 0, else 0. */
ALWAYS_INLINE vec vec_relu_grad(vec x) { return choose(less_equal(broadcast(0), x), broadcast(1), broadcast(0)); }

ALWAYS_INLINE vec vec_sigmoid_backward(vec dout, vec y) { return dout * (1 - y) * y; }
ALWAYS_INLINE vec vec_tanh_backward(vec dout, vec y) { return dout * (1 - y * y); }

/* 0 where y <= 0, else dout. */
ALWAYS_INLINE vec vec_relu_backward(vec dout, vec y) { return choose(less_equal(y, broadcast(0)), broadcast(0), dout); }

static void exp_all(void *task, ptrdiff_t begin, ptrdiff_t end) { map1(vec_exp, task, begin, end); }
static void log_all(void *task, ptrdiff_t begin, ptrdiff_t end) { map1(vec_log, task, begin, end); }
static void tanh_all(void *task, ptrdiff_t begin, ptrdiff_t end) { map1(vec_tanh, task, begin, end); }

/* sigmoid with its two halves interleaved: while the quotients of GROUP vectors are computed, so are the exponentials
   of the next GROUP. Each half is a short enough chain of operations for the processor to overlap several. The two in
   sequence are too long a chain for that. */
static void sigmoid(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    enum { GROUP = 4, STEP = GROUP * LANES };
    const elementwise *t = task;
    real *out = t->out + begin;
    const real *x = t->x + begin;
    ptrdiff_t i = 0, n = end - begin;
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
    map1(vec_sigmoid, t, begin + i, end);
}

static void sigmoid_grad(void *task, ptrdiff_t begin, ptrdiff_t end) { map1(vec_sigmoid_grad, task, begin, end); }
static void relu(void *task, ptrdiff_t begin, ptrdiff_t end) { map1(vec_relu, task, begin, end); }
static void relu_grad(void *task, ptrdiff_t begin, ptrdiff_t end) { map1(vec_relu_grad, task, begin, end); }

static void sigmoid_backward(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    map2(vec_sigmoid_backward, task, begin, end);
}

static void tanh_backward(void *task, ptrdiff_t begin, ptrdiff_t end) { map2(vec_tanh_backward, task, begin, end); }
static void relu_backward(void *task, ptrdiff_t begin, ptrdiff_t end) { map2(vec_relu_backward, task, begin, end); }

/* relu, and mask = 1 where x <= 0, else 0. This is a scalar loop: the compiler vectorizes it over elements of two
   sizes. */
static void relu_mask(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const elementwise t = *(const elementwise *)task;
    for (ptrdiff_t i = begin; i < end; i++) {
        bool zero = t.x[i] <= 0;
        t.out[i] = zero ? 0 : t.x[i];
        t.mask[i] = zero;
    }
}

/* out = 0 where mask is 1, in place. */
static void relu_mask_backward(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const elementwise t = *(const elementwise *)task;
    for (ptrdiff_t i = begin; i < end; i++)
        t.out[i] = t.mask[i] ? 0 : t.out[i];
}

/* 1 where x > 0, else 0, as integers. */
static void step(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const elementwise t = *(const elementwise *)task;
    for (ptrdiff_t i = begin; i < end; i++)
        t.integers[i] = t.x[i] > 0;
}

#endif
