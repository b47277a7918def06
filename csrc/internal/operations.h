/* The public functions of one element type. Each cuts its output into pieces, and threads run the kernel of this
   machine's instruction set on each piece. */
#ifndef ZERODL_OPERATIONS_H
#define ZERODL_OPERATIONS_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch.h"

/* ---- Elementwise ---- */

static void by_elements(kernel *f, elementwise task, ptrdiff_t n, double grain)
{
    zdl_parallel_for(n, zdl_split_of((double)n, grain), f, &task);
}

static void unary(kernel *f, real *out, const real *x, ptrdiff_t n, double grain)
{
    by_elements(f, (elementwise){.out = out, .x = x}, n, grain);
}

static void binary(kernel *f, real *out, const real *x, const real *y, ptrdiff_t n)
{
    by_elements(f, (elementwise){.out = out, .x = x, .y = y}, n, GRAIN_ARITHMETIC);
}

void ZDL(exp)(real *out, const real *x, ptrdiff_t n) { unary(kernels()->exp, out, x, n, GRAIN_EXP); }
void ZDL(log)(real *out, const real *x, ptrdiff_t n) { unary(kernels()->log, out, x, n, GRAIN_EXP); }
void ZDL(tanh)(real *out, const real *x, ptrdiff_t n) { unary(kernels()->tanh, out, x, n, GRAIN_EXP); }
void ZDL(sigmoid)(real *out, const real *x, ptrdiff_t n) { unary(kernels()->sigmoid, out, x, n, GRAIN_EXP); }
void ZDL(sigmoid_grad)(real *out, const real *x, ptrdiff_t n) { unary(kernels()->sigmoid_grad, out, x, n, GRAIN_EXP); }
void ZDL(relu)(real *out, const real *x, ptrdiff_t n) { unary(kernels()->relu, out, x, n, GRAIN_ARITHMETIC); }
void ZDL(relu_grad)(real *out, const real *x, ptrdiff_t n) { unary(kernels()->relu_grad, out, x, n, GRAIN_ARITHMETIC); }

void ZDL(sigmoid_backward)(real *dx, const real *dout, const real *y, ptrdiff_t n)
{
    binary(kernels()->sigmoid_backward, dx, dout, y, n);
}

void ZDL(tanh_backward)(real *dx, const real *dout, const real *y, ptrdiff_t n)
{
    binary(kernels()->tanh_backward, dx, dout, y, n);
}

void ZDL(relu_backward)(real *dx, const real *dout, const real *y, ptrdiff_t n)
{
    binary(kernels()->relu_backward, dx, dout, y, n);
}

void ZDL(relu_mask)(real *out, uint8_t *mask, const real *x, ptrdiff_t n)
{
    by_elements(kernels()->relu_mask, (elementwise){.out = out, .mask = mask, .x = x}, n, GRAIN_ARITHMETIC);
}

void ZDL(relu_mask_backward)(real *dout, const uint8_t *mask, ptrdiff_t n)
{
    elementwise task = {.out = dout, .mask = (uint8_t *)mask};
    by_elements(kernels()->relu_mask_backward, task, n, GRAIN_ARITHMETIC);
}

void ZDL(step)(int64_t *out, const real *x, ptrdiff_t n)
{
    by_elements(kernels()->step, (elementwise){.integers = out, .x = x}, n, GRAIN_ARITHMETIC);
}

/* ---- Rows: softmax and the gradients of its loss ---- */

static void by_rows(kernel *f, rowwise task, ptrdiff_t rows, double grain)
{
    if (rows > 0 && task.cols > 0)
        zdl_parallel_for(rows, zdl_split_of((double)rows * (double)task.cols, grain), f, &task);
}

void ZDL(softmax)(real *out, const real *x, ptrdiff_t rows, ptrdiff_t cols)
{
    by_rows(kernels()->softmax, (rowwise){.out = out, .x = x, .cols = cols}, rows, GRAIN_EXP);
}

void ZDL(log_softmax)(real *out, const real *x, ptrdiff_t rows, ptrdiff_t cols)
{
    by_rows(kernels()->log_softmax, (rowwise){.out = out, .x = x, .cols = cols}, rows, GRAIN_EXP);
}

void ZDL(softmax_backward)(real *dx, const real *dout, const real *y, ptrdiff_t rows, ptrdiff_t cols)
{
    by_rows(kernels()->softmax_backward, (rowwise){.out = dx, .x = dout, .y = y, .cols = cols}, rows, GRAIN_ARITHMETIC);
}

void ZDL(softmax_cross_entropy_backward)(real *dx, const real *y, const int64_t *label, ptrdiff_t rows, ptrdiff_t cols)
{
    rowwise task = {.out = dx, .x = y, .label = label, .divisor = (real)rows, .cols = cols};
    by_rows(kernels()->subtract_label_divide, task, rows, GRAIN_ARITHMETIC);
}

void ZDL(softmax_cross_entropy_backward_dense)(real *dx, const real *y, const real *t, ptrdiff_t rows, ptrdiff_t cols)
{
    rowwise task = {.out = dx, .x = y, .y = t, .divisor = (real)rows, .cols = cols};
    by_rows(kernels()->subtract_divide, task, rows, GRAIN_ARITHMETIC);
}

/* ---- Losses ---- */

/* The sum is cut into at most PIECES pieces, of 16384 elements or more, and the pieces are added in order. The cut
   depends on n alone, so the result does not depend on the number of threads. */
enum { PIECES = 64 };

struct pieces {
    double sum[PIECES];
    const real *y, *t;
    ptrdiff_t n, piece;
};

static void pieces_range(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct pieces *p = task;
    for (ptrdiff_t i = begin; i < end; i++) {
        ptrdiff_t from = i * p->piece, left = p->n - from;
        p->sum[i] = kernels()->sum_of_squares(p->y + from, p->t + from, left < p->piece ? left : p->piece);
    }
}

double ZDL(sum_of_squares)(const real *y, const real *t, ptrdiff_t n)
{
    struct pieces task = {.y = y, .t = t, .n = n, .piece = n / PIECES < 16384 ? 16384 : n / PIECES + 1};
    ptrdiff_t count = (n + task.piece - 1) / task.piece;
    zdl_parallel_for(count, zdl_split_of((double)n, GRAIN_ARITHMETIC), pieces_range, &task);
    double sum = 0;
    for (ptrdiff_t i = 0; i < count; i++)
        sum += task.sum[i];
    return sum;
}

/* a + b. The rounding error is added to *error (Knuth's TwoSum). */
static double add_exactly(double a, double b, double *error)
{
    double sum = a + b, part = sum - a;
    *error += (a - (sum - part)) + (b - part);
    return sum;
}

/* log(y + 1e-7), corrected for the rounding error of y + 1e-7. Near y = 1, this error is a large part of the result. */
static double log_of_probability(double y)
{
    double error = 0, sum = add_exactly(y, 1e-7, &error);
    return sum > 0 && isfinite(sum) ? log(sum) + error / sum : log(sum);
}

/* -sum(log(p[i, label[i]] + 1e-7)) / rows, for rows that are `stride` apart. Without labels, p[i, 0] is taken. */
static double mean_loss(const real *p, ptrdiff_t stride, const int64_t *label, ptrdiff_t rows)
{
    double sum = 0, error = 0;
    for (ptrdiff_t i = 0; i < rows; i++)
        sum = add_exactly(sum, log_of_probability((double)p[i * stride + (label ? label[i] : 0)]), &error);
    return -(isfinite(sum) ? sum + error : sum) / (double)rows;
}

double ZDL(cross_entropy)(const real *y, const int64_t *label, ptrdiff_t rows, ptrdiff_t cols)
{
    return mean_loss(y, cols, label, rows);
}

double ZDL(softmax_cross_entropy)(real *y, const real *x, const int64_t *label, ptrdiff_t rows, ptrdiff_t cols)
{
    ZDL(softmax)(y, x, rows, cols);
    return ZDL(cross_entropy)(y, label, rows, cols);
}

int ZDL(softmax_cross_entropy_gradient)(double *loss, real *dx, const real *x, const int64_t *label, ptrdiff_t rows,
                                        ptrdiff_t cols)
{
    real *probability = malloc((size_t)(rows + 1) * sizeof(real));
    if (!probability)
        return ZDL_NO_MEMORY;
    rowwise task = {.out = dx, .probability = probability, .x = x, .label = label, .divisor = (real)rows, .cols = cols};
    by_rows(kernels()->softmax_label_gradient, task, rows, GRAIN_EXP);
    *loss = mean_loss(probability, 1, NULL, rows);
    free(probability);
    return ZDL_OK;
}

/* ---- Matrix products ---- */

struct split_product {
    product whole;
    ptrdiff_t row_pieces, col_pieces;
    atomic_int failed;
};

static product piece_of(const struct split_product *t, ptrdiff_t i)
{
    product piece = t->whole;
    ptrdiff_t row = i / t->col_pieces, col = i % t->col_pieces;
    ptrdiff_t top = piece.m * row / t->row_pieces, left = piece.n * col / t->col_pieces;
    piece.m = piece.m * (row + 1) / t->row_pieces - top;
    piece.n = piece.n * (col + 1) / t->col_pieces - left;
    piece.out += top * piece.out_row + left;
    piece.a = submatrix(piece.a, top, 0);
    piece.b = submatrix(piece.b, 0, left);
    piece.bias = piece.bias ? piece.bias + left : NULL;
    return piece;
}

/* If one thread computes all pieces, it computes the whole product at once, which costs less. */
static void product_range(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct split_product *t = task;
    bool whole = end - begin == t->row_pieces * t->col_pieces;
    for (ptrdiff_t i = begin; i < (whole ? begin + 1 : end); i++) {
        product piece = whole ? t->whole : piece_of(t, i);
        if (!kernels()->matmul(&piece))
            t->failed = 1;
    }
}

/* How many pieces of out each thread gets. If there are several, each has 6144 elements or more: smaller pieces waste
   more at edges that do not fill a tile of the kernel, and more pieces read more of a and b. */
static int pieces_per_thread(const product *whole, struct zdl_split split)
{
    double elements = (double)whole->m * (double)whole->n / split.threads;
    return (int)fmax(1, fmin(elements / 6144, split.pieces / split.threads));
}

/* Compute `out` in a grid of pieces. A piece reads its rows of a and its columns of b. Of all grids, the one with the
   fewest reads is taken, whose pieces are as square as possible. */
static int multiply(const product *whole)
{
    struct zdl_split split = zdl_split_of(2. * (double)whole->m * (double)whole->n * (double)whole->k, GRAIN_FLOPS);
    if (split.threads == 1)
        return kernels()->matmul(whole) ? ZDL_OK : ZDL_NO_MEMORY;
    struct split_product task = {*whole, 1, 1, 0};
    split.pieces = split.threads * pieces_per_thread(whole, split);
    double least_reads = INFINITY;
    for (int rows = 1; rows <= split.pieces; rows++) {
        double reads = (double)whole->m / rows + (double)whole->n / (split.pieces / rows);
        if (split.pieces % rows == 0 && reads < least_reads) {
            least_reads = reads;
            task.row_pieces = rows;
            task.col_pieces = split.pieces / rows;
        }
    }
    zdl_parallel_for(split.pieces, split, product_range, &task);
    return task.failed ? ZDL_NO_MEMORY : ZDL_OK;
}

int ZDL(affine)(real *out, const real *x, ptrdiff_t x_row, ptrdiff_t x_col, const real *w, ptrdiff_t w_row,
                ptrdiff_t w_col, const real *b, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n, enum zdl_activation activation)
{
    return multiply(&(product){out, n, {x, x_row, x_col}, {w, w_row, w_col}, m, k, n, b, activation});
}

int ZDL(matmul)(real *out, ptrdiff_t out_row, const real *a, ptrdiff_t a_row, ptrdiff_t a_col, const real *b,
                ptrdiff_t b_row, ptrdiff_t b_col, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n)
{
    return multiply(&(product){out, out_row, {a, a_row, a_col}, {b, b_row, b_col}, m, k, n, NULL, ZDL_IDENTITY});
}

struct stack {
    product first;
    const int64_t *a_offset, *b_offset;
    atomic_int failed;
};

static void stack_range(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct stack *t = task;
    for (ptrdiff_t s = begin; s < end; s++) {
        product one = t->first;
        one.out += s * one.m * one.n;
        one.a.at += t->a_offset[s];
        one.b.at += t->b_offset[s];
        if (!kernels()->matmul(&one))
            t->failed = 1;
    }
}

int ZDL(matmul_stack)(real *out, const real *a, const int64_t *a_offset, ptrdiff_t a_row, ptrdiff_t a_col,
                      const real *b, const int64_t *b_offset, ptrdiff_t b_row, ptrdiff_t b_col, ptrdiff_t stack,
                      ptrdiff_t m, ptrdiff_t k, ptrdiff_t n)
{
    product first = {out, n, {a, a_row, a_col}, {b, b_row, b_col}, m, k, n, NULL, ZDL_IDENTITY};
    struct stack task = {first, a_offset, b_offset, 0};
    double flops = 2. * (double)stack * (double)m * (double)n * (double)k;
    zdl_parallel_for(stack, zdl_split_of(flops, GRAIN_FLOPS), stack_range, &task);
    return task.failed ? ZDL_NO_MEMORY : ZDL_OK;
}

int ZDL(affine_backward)(real *dx, real *dw, real *db, const real *dout, const real *x, ptrdiff_t x_row,
                         ptrdiff_t x_col, const real *w, ptrdiff_t w_row, ptrdiff_t w_col, ptrdiff_t m, ptrdiff_t k,
                         ptrdiff_t n)
{
    column_sums sums = {db, dout, m, n};
    zdl_parallel_for(n, zdl_split_of((double)m * (double)n, GRAIN_ARITHMETIC), kernels()->sum_rows, &sums);
    if (dx && ZDL(matmul)(dx, k, dout, n, 1, w, w_col, w_row, m, n, k) != ZDL_OK)
        return ZDL_NO_MEMORY;
    return ZDL(matmul)(dw, n, x, x_col, x_row, dout, n, 1, k, m, n);
}

/* ---- Batch normalization ---- */

static void by_columns(kernel *f, void *task, ptrdiff_t rows, ptrdiff_t cols)
{
    struct zdl_split split = zdl_split_of((double)rows * (double)cols, GRAIN_ARITHMETIC);
    zdl_parallel_for((cols + COLUMN_PIECE - 1) / COLUMN_PIECE, split, f, task);
}

void ZDL(batch_norm)(real *out, real *xn, real *mean, real *variance, real *std, const real *x, const real *gamma,
                     const real *beta, ptrdiff_t rows, ptrdiff_t cols)
{
    batch_norm task = {out, xn, mean, variance, std, x, gamma, beta, rows, cols};
    by_columns(kernels()->batch_norm, &task, rows, cols);
}

void ZDL(batch_norm_backward)(real *dx, real *dgamma, real *dbeta, const real *dout, const real *xn, const real *gamma,
                              const real *std, ptrdiff_t rows, ptrdiff_t cols)
{
    batch_norm_backward task = {dx, dgamma, dbeta, dout, xn, gamma, std, rows, cols};
    by_columns(kernels()->batch_norm_backward, &task, rows, cols);
}

/* ---- Optimizers ---- */

struct step {
    kernel *f;
    optimizer_step whole;
};

enum { CACHE_LINE = 64 };

/* Run the step up to the first whole cache line, then on the rest. A vector that lies in two cache lines is loaded and
   stored twice. The parameter and its state are usually allocated in the same way and have the same alignment, so the
   second part is aligned for all of them. */
static void step_range(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct step *t = task;
    uintptr_t before = -(uintptr_t)(t->whole.param + begin) % CACHE_LINE; /* bytes to the first whole line */
    ptrdiff_t aligned = begin + (ptrdiff_t)(before / sizeof(real));
    if (aligned > end)
        aligned = end;
    t->f(&t->whole, begin, aligned);
    t->f(&t->whole, aligned, end);
}

static void optimize(kernel *f, optimizer_step whole, ptrdiff_t n)
{
    struct step task = {f, whole};
    zdl_parallel_for(n, zdl_split_of((double)n, GRAIN_ARITHMETIC), step_range, &task);
}

void ZDL(sgd)(real *param, const real *grad, double lr, ptrdiff_t n)
{
    optimize(kernels()->sgd, (optimizer_step){param, {NULL}, grad, lr, {0}}, n);
}

void ZDL(momentum)(real *param, real *v, const real *grad, double lr, double momentum, ptrdiff_t n)
{
    optimize(kernels()->momentum, (optimizer_step){param, {v}, grad, lr, {momentum}}, n);
}

void ZDL(nesterov)(real *param, real *v, const real *grad, double lr, double momentum, ptrdiff_t n)
{
    optimize(kernels()->nesterov, (optimizer_step){param, {v}, grad, lr, {momentum}}, n);
}

void ZDL(rmsprop)(real *param, real *h, const real *grad, double lr, double decay_rate, ptrdiff_t n)
{
    optimize(kernels()->rmsprop, (optimizer_step){param, {h}, grad, lr, {decay_rate}}, n);
}

void ZDL(adagrad)(real *param, real *h, const real *grad, double lr, ptrdiff_t n)
{
    optimize(kernels()->adagrad, (optimizer_step){param, {h}, grad, lr, {0}}, n);
}

void ZDL(adam)(real *param, real *m, real *v, const real *grad, double lr, double beta1, double beta2, ptrdiff_t n)
{
    optimize(kernels()->adam, (optimizer_step){param, {m, v}, grad, lr, {beta1, beta2}}, n);
}

/* ---- This machine's peak ---- */

struct peak {
    ptrdiff_t rounds;
    double flops; /* of one piece */
};

static void peak_range(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct peak *t = task;
    for (ptrdiff_t i = begin; i < end; i++) {
        double flops = kernels()->peak(t->rounds);
        if (i == 0)
            t->flops = flops;
    }
}

double ZDL(peak)(ptrdiff_t rounds)
{
    struct peak task = {rounds, 0};
    int threads = zdl_split_of(INFINITY, 1).threads;
    zdl_parallel_for(threads, (struct zdl_split){threads, threads, true}, peak_range, &task);
    return threads * task.flops;
}

#endif
