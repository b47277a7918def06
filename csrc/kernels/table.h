/* The table of one ISA's kernels for one element type: what operations.h and the network headers call, a range of the output at a time. */
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

/* out[m, n] = activation(a[m, k] @ b[k, n] + bias[n]); the rows of out are out_row apart. bias is NULL for
   a mere product: then the activation is the identity. */
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

/* Elements of contiguous arrays; a kernel uses what it needs of them. */
typedef struct {
    real *out;
    const real *x, *y;
    uint8_t *mask;     /* written by relu_mask, read by its backward pass */
    int64_t *integers; /* the output of step */
} elementwise;

/* Rows of [rows, cols]; a kernel uses what it needs. */
typedef struct {
    real *out, *probability; /* probability[rows]: of each label */
    const real *x, *y;
    const int64_t *label;
    real divisor;
    ptrdiff_t cols;
} rowwise;

/* sum[j] = sum over i of x[i, j], for a matrix of this many rows, which are `stride` apart. */
typedef struct {
    real *sum;
    const real *x;
    ptrdiff_t rows, stride;
} column_sums;

/* The unit in which kernels of columns count: a few cache lines, the widest block of batch normalization. */
enum { COLUMN_PIECE = 512 / sizeof(real) };

/* Matrices are [rows, cols] and contiguous, vectors [cols]. */
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

/* A panel of filters_of_panel filters, on a run of places: out[f, q] = bias[f] + the sum over k of weight[k, f] x[at[k] + q].
   As many as a vector may be read and written beyond the run. */
typedef struct {
    real *out;
    ptrdiff_t out_row, places;
    const real *x;
    const ptrdiff_t *at;
    ptrdiff_t weights;
    const real *weight, *bias;
} convolution_panel;

/* dweight[f, k] += the sum over q of dout[f, q] x[at[k] + q], over the runs of so many images. The numbers from x on are
   x_image apart, those of dout dout_image, and in an image plane. */
typedef struct {
    real *dweight;
    const real *dout, *x;
    ptrdiff_t images, dout_image, x_image, plane, places, filters, weights;
    const ptrdiff_t *at;
} convolution_sums;

/* arg_max[batch, channels, out_h, out_w] is which pixel of its window an output is, row by row. */
typedef struct {
    const struct zdl_windows *w;
    ptrdiff_t out_h, out_w;
    real *out, *dx;
    int64_t *arg_max;
    const real *x, *dout;
    int outside; /* whether an index in arg_max is outside its window */
} pooling;

/* The matrix col[batch out_h out_w, channels filter_h filter_w] and the images that it is of; one of them is the result. */
typedef struct {
    const struct zdl_windows *w;
    ptrdiff_t out_h, out_w;
    real *col, *image;
} columns;

/* What an optimizer changes and reads: parameters, its state of each, gradients, and its rates besides lr. */
typedef struct {
    real *param, *state[2];
    const real *grad;
    double lr, rate[2];
} optimizer_step;

#if REAL_BITS == 64
/* What n samples score after a step of a parameter up, and down: score[side][c, k] + change[side][k] weight[c] for class
   c, with the rows of score `row` apart. As many as a vector may be read beyond the end of score and change,
   and of the labels, which are numbers. */
typedef struct {
    const real *score[2], *change[2], *weight;
    ptrdiff_t row, classes, n;
} stepped_scores;
#endif

struct ZDL(kernels) {
    kernel *exp, *log, *tanh, *sigmoid, *sigmoid_grad, *relu, *relu_grad, *step;                      /* elementwise */
    kernel *sigmoid_backward, *tanh_backward, *relu_backward, *relu_mask, *relu_mask_backward;        /* elementwise */
    kernel *softmax, *log_softmax, *softmax_backward, *softmax_label_gradient;                        /* rowwise */
    kernel *subtract_divide, *subtract_label_divide;                                                  /* rowwise */
    kernel *sum_rows;                                                                                 /* column_sums */
    kernel *batch_norm, *batch_norm_backward; /* of the same names; they count in COLUMN_PIECE */
    kernel *sgd, *momentum, *nesterov, *adagrad, *rmsprop, *adam; /* optimizer_step */
    kernel *pool, *pool_backward;                                 /* pooling, by images */
    kernel *im2col, *col2im;                                      /* columns, by images */
    double (*sum_of_squares)(const real *y, const real *t, ptrdiff_t n);
    bool (*matmul)(const product *t); /* false if memory is lacking */
    ptrdiff_t filters_of_panel;
    void (*convolve)(const convolution_panel *t);
    void (*convolve_backward)(const convolution_sums *t);
    void (*copy_rows)(real *out, ptrdiff_t out_row, const real *x, ptrdiff_t x_row, ptrdiff_t rows, ptrdiff_t cols);
    double (*total)(const real *x, ptrdiff_t n);
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
