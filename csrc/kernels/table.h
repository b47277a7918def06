/* The table of kernels of one instruction set and element type, and the tasks that they take. internal/operations.h,
   images/ and net/ call kernels through it, each call for a range of the output. */
#ifndef ZERODL_TABLE_H
#define ZERODL_TABLE_H

#include <stdbool.h>

#include "../internal/real.h"
#include "../zerodl.h"

/* Element (i, j) is at[i * row + j * col]. */
typedef struct {
    const real *at;
    ptrdiff_t row, col;
} matrix;

static inline matrix submatrix(matrix a, ptrdiff_t i, ptrdiff_t j)
{
    a.at += i * a.row + j * a.col;
    return a;
}

/* out[m, n] = activation(a[m, k] @ b[k, n] + bias[n]); the rows of out are out_row apart. If bias is NULL, out = a @ b,
   and the activation must be the identity. */
typedef struct {
    real *out;
    ptrdiff_t out_row;
    matrix a, b;
    ptrdiff_t m, k, n;
    const real *bias;
    enum zdl_activation activation;
} product;

/* A kernel computes [begin, end) of the output of its task: elements, rows, columns or images. */
typedef void kernel(void *task, ptrdiff_t begin, ptrdiff_t end);

/* Contiguous arrays of the same length; each kernel uses those that it needs. */
typedef struct {
    real *out;
    const real *x, *y;
    uint8_t *mask; /* written by relu_mask, read by its backward pass */
    int64_t *integers; /* the output of step */
} elementwise;

/* Contiguous arrays [rows, cols] and vectors [rows]; each kernel uses those that it needs. */
typedef struct {
    real *out, *probability; /* probability[rows]: that of each row's label */
    const real *x, *y;
    const int64_t *label;
    real divisor;
    ptrdiff_t cols;
} rowwise;

/* sum[j] = the sum over i of x[i, j], for a matrix of `rows` rows that are `stride` apart. */
typedef struct {
    real *sum;
    const real *x;
    ptrdiff_t rows, stride;
} column_sums;

/* The begin and end of the kernels of batch normalization count pieces of this many columns: 512 bytes, 8 cache lines,
   which are the widest block of the kernels. */
enum { COLUMN_PIECE = 512 / sizeof(real) };

/* Matrices are [rows, cols] and contiguous: out, xn, x, dx, dout. The others are vectors [cols]. */
typedef struct {
    real *out, *xn, *mean, *variance, *std;
    const real *x, *gamma, *beta;
    ptrdiff_t rows, cols;
} batch_norm;

typedef struct {
    real *dx, *dgamma, *dbeta;
    const real *dout, *xn, *gamma, *std;
    ptrdiff_t rows, cols;
} batch_norm_backward;

/* out[f, q] = bias[f] + the sum over k < weights of weight[k, f] * x[at[k] + q], for a panel of filters_of_panel
   filters and q < places. Up to a vector beyond the last place may be read and written. */
typedef struct {
    real *out;
    ptrdiff_t out_row, places;
    const real *x;
    const ptrdiff_t *at;
    ptrdiff_t weights;
    const real *weight, *bias;
} convolution_panel;

/* dweight[f, k] += the sum over images i and q < places of dout[i, f, q] * x[i, at[k] + q]. Consecutive images are
   x_image apart in x and dout_image apart in dout, and consecutive filters are `plane` apart in dout. */
typedef struct {
    real *dweight;
    const real *dout, *x;
    ptrdiff_t images, dout_image, x_image, plane, places, filters, weights;
    const ptrdiff_t *at;
} convolution_sums;

/* arg_max[batch, channels, out_h, out_w] = the index of an output's pixel in its window, counted row by row. */
typedef struct {
    const struct zdl_windows *w;
    ptrdiff_t out_h, out_w;
    real *out, *dx;
    int64_t *arg_max;
    const real *x, *dout;
    int outside; /* set if an index in arg_max is outside its window */
} pooling;

/* col[batch * out_h * out_w, channels * filter_h * filter_w] and image[batch, channels, height, width]: im2col writes
   col, col2im writes image. */
typedef struct {
    const struct zdl_windows *w;
    ptrdiff_t out_h, out_w;
    real *col, *image;
} columns;

/* Parameters, the optimizer's state of each, their gradients, the learning rate and the optimizer's other rates. */
typedef struct {
    real *param, *state[2];
    const real *grad;
    double lr, rate[2];
} optimizer_step;

#if REAL_BITS == 64
/* The scores of n samples after a step of a parameter up (side 0) and down (side 1). Sample k scores score[side][c,
   k] + change[side][k] * weight[c] for class c. The rows of score are `row` apart. Up to a vector beyond the end of
   score, change and the labels may be read. */
typedef struct {
    const real *score[2], *change[2], *weight;
    ptrdiff_t row, classes, n;
} stepped_scores;
#endif

struct ZDL(kernels) {
    kernel *exp, *log, *tanh, *sigmoid, *sigmoid_grad, *relu, *relu_grad, *step; /* elementwise */
    kernel *sigmoid_backward, *tanh_backward, *relu_backward, *relu_mask, *relu_mask_backward; /* elementwise */
    kernel *softmax, *log_softmax, *softmax_backward, *softmax_label_gradient; /* rowwise */
    kernel *subtract_divide, *subtract_label_divide; /* rowwise */
    kernel *sum_rows; /* column_sums */
    kernel *batch_norm, *batch_norm_backward; /* structs of these names, by pieces of COLUMN_PIECE columns */
    kernel *sgd, *momentum, *nesterov, *adagrad, *rmsprop, *adam; /* optimizer_step */
    kernel *pool, *pool_backward; /* pooling, by images */
    kernel *im2col, *col2im; /* columns, by images */
    double (*sum_of_squares)(const real *y, const real *t, ptrdiff_t n);
    bool (*matmul)(const product *t); /* false if there is no memory */
    ptrdiff_t filters_of_panel;
    void (*convolve)(const convolution_panel *t);
    void (*convolve_backward)(const convolution_sums *t);
    void (*copy_matrix)(real *out, ptrdiff_t out_row, const real *x, ptrdiff_t x_row, ptrdiff_t rows, ptrdiff_t cols);
    double (*sum_elements)(const real *x, ptrdiff_t n);
    double (*peak)(ptrdiff_t rounds);
#if REAL_BITS == 64
    void (*activate_sum)(real *out, const real *a, real s, const real *v, enum zdl_activation f, ptrdiff_t n);
    void (*activation_change)(real *out, const real *a, const real *z, real s, const real *v, enum zdl_activation f,
                              ptrdiff_t n);
    double (*cross_entropy_difference)(const stepped_scores *s, const real *label);
#endif
};

/* One per ISA: isa/<name>_f32.c and isa/<name>_f64.c. */
extern const struct ZDL(kernels) ZDL(baseline), ZDL(avx2), ZDL(avx512);

#endif
