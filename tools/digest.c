/* Prints the results of every function of zerodl.h on fixed inputs, for the element type of -DREAL_BITS=32 or 64: a line
 * each, of its name, how another machine's results may differ, and the bits of every number. See tools/cross.sh. */
#ifndef REAL_BITS
#define REAL_BITS 64
#endif
#include "internal/real.h"
#include "zerodl.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* By some ulp of each number; or, where terms cancel, of the largest of the line. */
static const char EACH[] = "each", WHOLE[] = "whole";

enum { N = 1003, MANY = 12001 };
static real x[MANY], y[MANY], w[MANY], b[MANY], out[MANY], out2[MANY], out3[MANY], a[MANY], h[MANY];
static int64_t label[MANY];

static void print(const char *name, const char *unit, const real *v, ptrdiff_t n)
{
    printf("%s_f%d %s", name, REAL_BITS, unit);
    for (ptrdiff_t i = 0; i < n; i++) {
        real number = isnan(v[i]) ? (real)NAN : v[i]; /* one nan for all */
        unsigned_integer bits;
        memcpy(&bits, &number, sizeof bits);
        printf(" %0*" PRIx64, REAL_BITS / 4, (uint64_t)bits);
    }
    printf("\n");
}

static void print_integers(const char *name, const int64_t *v, ptrdiff_t n)
{
    printf("%s_f%d integers", name, REAL_BITS);
    for (ptrdiff_t i = 0; i < n; i++)
        printf(" %" PRIx64, (uint64_t)v[i]);
    printf("\n");
}

/* The same numbers on every machine: [0, 1) in steps of 2^-24, which a float has, too. */
static double uniform(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 40) / 16777216;
}

static void fill(real *v, ptrdiff_t n, double low, double high)
{
    for (ptrdiff_t i = 0; i < n; i++)
        v[i] = (real)(low + (high - low) * uniform());
}

/* What is special, then numbers of either sign and every size from 2^least to 2^most. */
static void fill_widely(real *v, ptrdiff_t n, int least, int most)
{
    const real special[] = {0, (real)-0.0, (real)INFINITY, (real)-INFINITY, (real)NAN, 1, -1};
    fill(v, n, -1, 1);
    for (ptrdiff_t i = 0; i < n; i++)
        v[i] = i < 7 ? special[i] : (real)ldexp(v[i], least + (int)((most - least + 1) * uniform()));
}

static void elementwise(void)
{
    static uint8_t mask[N];
    fill(y, N, -2, 2);
    fill_widely(x, N, REAL_BITS == 64 ? -1000 : -100, REAL_BITS == 64 ? 1000 : 100);
    ZDL(log)(out, x, N), print("log", EACH, out, N);
    ZDL(relu)(out, x, N), print("relu", EACH, out, N);
    ZDL(relu_grad)(out, x, N), print("relu_grad", EACH, out, N);
    ZDL(relu_backward)(out, y, x, N), print("relu_backward", EACH, out, N);
    ZDL(relu_mask)(out, mask, x, N), print("relu_mask", EACH, out, N);
    memcpy(out, y, sizeof out);
    ZDL(relu_mask_backward)(out, mask, N), print("relu_mask_backward", EACH, out, N);
    ZDL(step)(label, x, N), print_integers("step", label, N);
    fill_widely(x, N, -60, REAL_BITS == 64 ? 9 : 6);
    ZDL(exp)(out, x, N), print("exp", EACH, out, N);
    ZDL(tanh)(out, x, N), print("tanh", EACH, out, N);
    ZDL(sigmoid)(out, x, N), print("sigmoid", EACH, out, N);
    ZDL(sigmoid_grad)(out, x, N), print("sigmoid_grad", EACH, out, N);
    ZDL(sigmoid_backward)(out, y, x, N), print("sigmoid_backward", EACH, out, N);
    ZDL(tanh_backward)(out, y, x, N), print("tanh_backward", EACH, out, N);
}

/* The losses are printed in the type's precision, which is what they have. */
static void rows(ptrdiff_t m, ptrdiff_t n, double size)
{
    fill(x, m * n, -size, size), fill(y, m * n, 0.001, 1), fill(w, m * n, -1, 1);
    for (ptrdiff_t i = 0; i < m; i++)
        label[i] = i % n;
    double loss, losses[] = {ZDL(cross_entropy)(y, label, m, n), ZDL(softmax_cross_entropy)(out, x, label, m, n),
                             ZDL(sum_of_squares)(x, y, m * n)};
    for (int i = 0; i < 3; i++)
        out2[i] = (real)losses[i];
    print("losses", EACH, out2, 3);
    ZDL(softmax)(out, x, m, n), print("softmax", EACH, out, m * n);
    ZDL(log_softmax)(out, x, m, n), print("log_softmax", EACH, out, m * n);
    ZDL(softmax_backward)(out, w, y, m, n), print("softmax_backward", WHOLE, out, m * n);
    ZDL(softmax_cross_entropy_gradient)(&loss, out, x, label, m, n);
    print("softmax_cross_entropy_gradient", WHOLE, out, m * n);
    ZDL(softmax_cross_entropy_backward)(out, y, label, m, n);
    print("softmax_cross_entropy_backward", EACH, out, m * n);
    ZDL(softmax_cross_entropy_backward_dense)(out, y, w, m, n);
    print("softmax_cross_entropy_backward_dense", EACH, out, m * n);
}

static void products(ptrdiff_t m, ptrdiff_t k, ptrdiff_t n)
{
    static const int64_t offset[] = {1, 0};
    fill(a, m * k + 1, 0.5, 1), fill(b, k * n + 1, 0.5, 1), fill(h, n, 0.5, 1), fill(y, m * n, 0.5, 1);
    ZDL(matmul)(out, n, a, k, 1, b, 1, k, m, k, n), print("matmul", EACH, out, m * n);
    ZDL(matmul_stack)(out, a, offset, k, 1, b, offset, n, 1, 2, m, k, n), print("matmul_stack", EACH, out, 2 * m * n);
    for (int f = ZDL_IDENTITY; f <= ZDL_TANH; f++)
        ZDL(affine)(out, a, 1, m, b, n, 1, h, m, k, n, (enum zdl_activation)f), print("affine", EACH, out, m * n);
    ZDL(affine_backward)(out, out2, out3, y, a, k, 1, b, n, 1, m, k, n);
    print("affine_backward_dx", EACH, out, m * k);
    print("affine_backward_dw", EACH, out2, k * n), print("affine_backward_db", EACH, out3, n);
}

static void images(struct zdl_windows s, ptrdiff_t out_h, ptrdiff_t out_w)
{
    enum { FILTERS = 5 };
    ptrdiff_t pixels = s.batch * s.channels * s.height * s.width, places = s.batch * out_h * out_w;
    ptrdiff_t weights = s.channels * s.filter_h * s.filter_w;
    fill(x, pixels, -2, 2), fill(w, FILTERS * weights, -1, 1), fill(b, FILTERS, -1, 1),
        fill(y, places * weights, -1, 1);
    ZDL(convolution)(out, x, w, b, FILTERS, &s), print("convolution", WHOLE, out, places * FILTERS);
    ZDL(convolution_backward)(out, out2, out3, y, x, w, FILTERS, &s);
    print("convolution_backward_dx", WHOLE, out, pixels);
    print("convolution_backward_dw", WHOLE, out2, FILTERS * weights);
    print("convolution_backward_db", WHOLE, out3, FILTERS);
    ZDL(pooling)(out, label, x, &s), print("pooling", EACH, out, places * s.channels);
    print_integers("pooling_arg_max", label, places * s.channels);
    ZDL(pooling_backward)(out, y, label, &s), print("pooling_backward", WHOLE, out, pixels);
    ZDL(im2col)(out, x, &s), print("im2col", EACH, out, places * weights);
    ZDL(col2im)(out, y, &s), print("col2im", WHOLE, out, pixels);
}

static void normalization(void)
{
    enum { ROWS = 37, COLS = 75 };
    real gamma[COLS], beta[COLS], mean[COLS], variance[COLS], std[COLS];
    fill(x, ROWS * COLS, 0.5, 1), fill(gamma, COLS, 0.5, 1), fill(beta, COLS, 0.5, 1), fill(y, ROWS * COLS, 0.5, 1);
    ZDL(batch_norm)(out, out2, mean, variance, std, x, gamma, beta, ROWS, COLS);
    print("batch_norm", WHOLE, out, ROWS * COLS), print("batch_norm_xn", WHOLE, out2, ROWS * COLS);
    print("batch_norm_mean", EACH, mean, COLS), print("batch_norm_variance", EACH, variance, COLS);
    ZDL(batch_norm_backward)(out, out2, out3, y, x, gamma, beta, ROWS, COLS);
    print("batch_norm_backward_dx", WHOLE, out, ROWS * COLS);
    print("batch_norm_backward_dgamma", EACH, out2, COLS), print("batch_norm_backward_dbeta", EACH, out3, COLS);
}

static void network(void)
{
    enum { BATCH = 9, IN = 5, HIDDEN = 19, OUT = 3 };
    static const ptrdiff_t width[] = {IN, HIDDEN, OUT};
    real b2[OUT], dw2[HIDDEN * OUT], db1[HIDDEN], db2[OUT];
    const real *const weights[] = {w, a}, *const biases[] = {b, b2};
    real *const sums[] = {out, out2}, *const z[] = {h, out3}, *const dw[] = {y, dw2}, *const db[] = {db1, db2};
    const struct ZDL(network) net = {2, ZDL_TANH, width, weights, biases};
    fill(x, BATCH * IN, -1, 1), fill(w, IN * HIDDEN, -1, 1), fill(b, HIDDEN, -1, 1);
    fill(a, HIDDEN * OUT, -1, 1), fill(b2, OUT, -1, 1);
    for (int i = 0; i < BATCH; i++)
        label[i] = i % OUT;
    ZDL(network_predict)(out, x, IN, 1, BATCH, &net), print("network_predict", WHOLE, out, BATCH * OUT);
    ZDL(network_forward)(sums, z, x, IN, 1, BATCH, &net), print("network_forward", WHOLE, out2, BATCH * OUT);
    ZDL(network_gradient)(dw, db, sums, z, x, IN, 1, label, NULL, BATCH, &net);
    print("network_gradient", WHOLE, y, IN * HIDDEN);
#if REAL_BITS == 64
    zdl_network_numerical_gradient(dw, db, x, IN, 1, label, NULL, BATCH, 0.125, 1, 0, IN + 1 + HIDDEN + 1, &net);
    print("network_numerical_gradient", WHOLE, y, IN * HIDDEN);
#endif
}

static void optimizers(void)
{
    fill(x, N, -1, 1), fill(y, N, -1, 1), fill(w, N, -1, 1), fill(h, N, 0.5, 1);
    ZDL(sgd)(x, y, 0.1, N), print("sgd", WHOLE, x, N);
    ZDL(momentum)(x, w, y, 0.1, 0.9, N), print("momentum", WHOLE, x, N);
    ZDL(nesterov)(x, w, y, 0.1, 0.9, N), print("nesterov", WHOLE, x, N);
    ZDL(adagrad)(x, h, y, 0.1, N), print("adagrad", WHOLE, x, N);
    ZDL(rmsprop)(x, h, y, 0.1, 0.9, N), print("rmsprop", WHOLE, x, N);
    ZDL(adam)(x, w, h, y, 0.1, 0.9, 0.999, N), print("adam", WHOLE, x, N);
}

#if REAL_BITS == 64
static double sum_of_cubes(const double *v, ptrdiff_t n, void *data)
{
    double sum = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += *(const double *)data * v[i] * v[i] * v[i];
    return sum;
}

static void differences(void)
{
    double factor = 0.75;
    fill(x, 5, -1, 1), fill(y, 5, -1, 1);
    zdl_numerical_gradient(out, sum_of_cubes, x, 5, 1, &factor), print("numerical_gradient", EACH, out, 5);
    zdl_evaluate(out, sum_of_cubes, x, 5, y, 0, 5, 1, 1e3, &factor), print("evaluate", EACH, out, 5);
}
#endif

int main(void)
{
    printf("# %s, %s\n", zdl_compiler(), zdl_get_isa());
    elementwise();
    rows(100, 7, 10), rows(3, 1001, 10), rows(5, 75, 300), rows(40, 5, 300);
    products(13, 11, 21), products(1, 600, 20), products(7, 513, 5);
    images((struct zdl_windows){3, 2, 9, 11, 3, 3, 1, 1}, 9, 11);
    images((struct zdl_windows){2, 3, 8, 9, 2, 3, 2, 0}, 4, 4);
    normalization();
    network();
    optimizers();
#if REAL_BITS == 64
    differences();
#endif
    return !(ZDL(peak)(1) > 0);
}
