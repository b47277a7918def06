/* Optimizer steps, in place: one pass over the parameters [begin, end), their gradients and the optimizer's state. The
   operations have the order of zerodl_c/reference/optimizer.py, and what depends on the rates alone is computed in
   double, as there. So the results equal NumPy's to the bit. */
#ifndef ZERODL_KERNELS_OPTIMIZER_H
#define ZERODL_KERNELS_OPTIMIZER_H

#include "../internal/vector.h"
#include "table.h"

/* Added to a square root before dividing by it, as the book does, so that nothing is divided by 0. */
static const real EPSILON = (real)1e-7;

/* param -= lr * grad */
static void sgd(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const optimizer_step s = *(const optimizer_step *)task;
    real lr = (real)s.lr;
    for (ptrdiff_t i = begin; i < end; i += LANES) {
        ptrdiff_t left = end - i;
        vec grad = load_up_to(s.grad + i, left);
        store_up_to(s.param + i, load_up_to(s.param + i, left) - lr * grad, left);
    }
}

/* v = momentum v - lr grad; param += v */
static void momentum(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const optimizer_step s = *(const optimizer_step *)task;
    real lr = (real)s.lr, kept = (real)s.rate[0];
    for (ptrdiff_t i = begin; i < end; i += LANES) {
        ptrdiff_t left = end - i;
        vec v = kept * load_up_to(s.state[0] + i, left) - lr * load_up_to(s.grad + i, left);
        store_up_to(s.state[0] + i, v, left);
        store_up_to(s.param + i, load_up_to(s.param + i, left) + v, left);
    }
}

/* param += momentum^2 v - (1 + momentum) lr grad; v = momentum v - lr grad */
static void nesterov(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const optimizer_step s = *(const optimizer_step *)task;
    double momentum = s.rate[0];
    real lr = (real)s.lr, kept = (real)momentum;
    real ahead = (real)(momentum * momentum), ahead_lr = (real)((1 + momentum) * s.lr);
    for (ptrdiff_t i = begin; i < end; i += LANES) {
        ptrdiff_t left = end - i;
        vec grad = load_up_to(s.grad + i, left), v = load_up_to(s.state[0] + i, left);
        store_up_to(s.param + i, load_up_to(s.param + i, left) + ahead * v - ahead_lr * grad, left);
        store_up_to(s.state[0] + i, kept * v - lr * grad, left);
    }
}

/* h = kept h + taken grad^2; param -= lr grad / (sqrt(h) + 1e-7) */
ALWAYS_INLINE void divide_by_root(const optimizer_step *task, real kept, real taken, ptrdiff_t begin, ptrdiff_t end)
{
    const optimizer_step s = *task;
    real lr = (real)s.lr;
    for (ptrdiff_t i = begin; i < end; i += LANES) {
        ptrdiff_t left = end - i;
        vec grad = load_up_to(s.grad + i, left);
        vec h = load_up_to(s.state[0] + i, left) * kept + taken * grad * grad;
        store_up_to(s.state[0] + i, h, left);
        vec change = lr * grad / (square_root(h) + EPSILON);
        store_up_to(s.param + i, load_up_to(s.param + i, left) - change, left);
    }
}

/* h += grad^2; param -= lr grad / (sqrt(h) + 1e-7) */
static void adagrad(void *task, ptrdiff_t begin, ptrdiff_t end) { divide_by_root(task, 1, 1, begin, end); }

/* h = decay_rate h + (1 - decay_rate) grad^2; param -= lr grad / (sqrt(h) + 1e-7) */
static void rmsprop(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    double decay_rate = ((const optimizer_step *)task)->rate[0];
    divide_by_root(task, (real)decay_rate, (real)(1 - decay_rate), begin, end);
}

/* m += (1 - beta1) (grad - m); v += (1 - beta2) (grad^2 - v); param -= lr m / (sqrt(v) + 1e-7) */
static void adam(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const optimizer_step s = *(const optimizer_step *)task;
    real lr = (real)s.lr, taken1 = (real)(1 - s.rate[0]), taken2 = (real)(1 - s.rate[1]);
    for (ptrdiff_t i = begin; i < end; i += LANES) {
        ptrdiff_t left = end - i;
        vec grad = load_up_to(s.grad + i, left);
        vec m = load_up_to(s.state[0] + i, left), v = load_up_to(s.state[1] + i, left);
        m += taken1 * (grad - m);
        v += taken2 * (grad * grad - v);
        store_up_to(s.state[0] + i, m, left);
        store_up_to(s.state[1] + i, v, left);
        vec change = lr * m / (square_root(v) + EPSILON);
        store_up_to(s.param + i, load_up_to(s.param + i, left) - change, left);
    }
}

#endif
