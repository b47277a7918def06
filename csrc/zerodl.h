/* zerodl: the kernels of a small neural-network engine, for float32 and float64, on the CPU.
 *
 * Arrays are row-major and contiguous, unless strides are given (in elements; any sign). Outputs come first, then
 * inputs, then sizes. The output of an elementwise or row-wise function may be one of its inputs; other overlaps are
 * not allowed.
 * Every function may be called from many threads at once. Results do not depend on the number of threads.
 * Functions that return int return ZDL_OK, which is 0, or another status with the outputs undefined.
 * This header is plain C: Python's cffi reads the same lines. To read on, begin with csrc/README.md. */
#ifndef ZERODL_H
#define ZERODL_H

#define ZERODL_VERSION "0.1.0"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum zdl_status { ZDL_OK, ZDL_NO_MEMORY, ZDL_BAD_INDEX };
enum zdl_activation { ZDL_IDENTITY, ZDL_SIGMOID, ZDL_RELU, ZDL_TANH };

/* ---- This machine ---- */

/* Level i = 0, 1, ... of the instruction sets that this machine has, slowest first; NULL past the last. */
const char *zdl_isa_level(int i);
/* The level in use: the highest, or what the environment variable ZERODL_ISA names. */
const char *zdl_get_isa(void);
/* Use another level; returns -1 if this machine lacks it. No other thread may compute meanwhile. */
int zdl_set_isa(const char *level);
/* 1 if ZERODL_ISA names a level that this machine lacks (the highest is then in use), else 0. */
int zdl_isa_refused(void);
const char *zdl_compiler(void);
/* Set the most threads that a call uses, n > 0, for calls from all threads. The default is OMP_NUM_THREADS, else the
   number of processors that the affinity and the CPU quota of the process allow. */
void zdl_set_num_threads(int n);
/* The same for calls from this thread alone, until it calls zdl_set_num_threads. */
void zdl_limit_this_thread(int n);
int zdl_get_num_threads(void);
/* Where that number comes from: "available processors", "CPU quota", "OMP_NUM_THREADS", "set_num_threads",
   "limit of this thread" or "built without threads". */
const char *zdl_threads_from(void);
/* For measuring the peak speed: multiplies and adds in registers, on every thread, as fast as the level in use can.
   Returns the flops done, which are proportional to rounds and threads. */
double zdl_peak_f32(ptrdiff_t rounds);
double zdl_peak_f64(ptrdiff_t rounds);

/* ---- Elementwise, n elements ---- */

void zdl_exp_f32(float *out, const float *x, ptrdiff_t n);
void zdl_exp_f64(double *out, const double *x, ptrdiff_t n);
void zdl_log_f32(float *out, const float *x, ptrdiff_t n);
void zdl_log_f64(double *out, const double *x, ptrdiff_t n);
void zdl_tanh_f32(float *out, const float *x, ptrdiff_t n);
void zdl_tanh_f64(double *out, const double *x, ptrdiff_t n);
/* dx = dout (1 - y^2), with y = tanh(x) */
void zdl_tanh_backward_f32(float *dx, const float *dout, const float *y, ptrdiff_t n);
void zdl_tanh_backward_f64(double *dx, const double *dout, const double *y, ptrdiff_t n);
/* 1 / (1 + exp(-x)) */
void zdl_sigmoid_f32(float *out, const float *x, ptrdiff_t n);
void zdl_sigmoid_f64(double *out, const double *x, ptrdiff_t n);
/* (1 - s) s with s = sigmoid(x), of the input x */
void zdl_sigmoid_grad_f32(float *out, const float *x, ptrdiff_t n);
void zdl_sigmoid_grad_f64(double *out, const double *x, ptrdiff_t n);
/* dx = dout (1 - y) y, with y = sigmoid(x) */
void zdl_sigmoid_backward_f32(float *dx, const float *dout, const float *y, ptrdiff_t n);
void zdl_sigmoid_backward_f64(double *dx, const double *dout, const double *y, ptrdiff_t n);
/* 0 where x <= 0, else x */
void zdl_relu_f32(float *out, const float *x, ptrdiff_t n);
void zdl_relu_f64(double *out, const double *x, ptrdiff_t n);
/* 1 where x >= 0, else 0 */
void zdl_relu_grad_f32(float *out, const float *x, ptrdiff_t n);
void zdl_relu_grad_f64(double *out, const double *x, ptrdiff_t n);
/* dx = 0 where y <= 0, else dout, with y = relu(x) */
void zdl_relu_backward_f32(float *dx, const float *dout, const float *y, ptrdiff_t n);
void zdl_relu_backward_f64(double *dx, const double *dout, const double *y, ptrdiff_t n);
/* For a layer: relu, and mask = 1 where x <= 0, else 0. The backward pass sets dout to 0 where the mask is 1. */
void zdl_relu_mask_f32(float *out, uint8_t *mask, const float *x, ptrdiff_t n);
void zdl_relu_mask_f64(double *out, uint8_t *mask, const double *x, ptrdiff_t n);
void zdl_relu_mask_backward_f32(float *dout, const uint8_t *mask, ptrdiff_t n);
void zdl_relu_mask_backward_f64(double *dout, const uint8_t *mask, ptrdiff_t n);
/* 1 where x > 0, else 0 */
void zdl_step_f32(int64_t *out, const float *x, ptrdiff_t n);
void zdl_step_f64(int64_t *out, const double *x, ptrdiff_t n);

/* ---- Softmax over each row of a (rows, cols) matrix ---- */

void zdl_softmax_f32(float *out, const float *x, ptrdiff_t rows, ptrdiff_t cols);
void zdl_softmax_f64(double *out, const double *x, ptrdiff_t rows, ptrdiff_t cols);
/* log(softmax(x)), accurate even where softmax(x) is 0 or nearly 1 */
void zdl_log_softmax_f32(float *out, const float *x, ptrdiff_t rows, ptrdiff_t cols);
void zdl_log_softmax_f64(double *out, const double *x, ptrdiff_t rows, ptrdiff_t cols);
/* dx = y (dout - sum(dout y) over the row), with y = softmax(x) */
void zdl_softmax_backward_f32(float *dx, const float *dout, const float *y, ptrdiff_t rows, ptrdiff_t cols);
void zdl_softmax_backward_f64(double *dx, const double *dout, const double *y, ptrdiff_t rows, ptrdiff_t cols);

/* ---- Losses ---- */

/* Sum of (y - t)^2 over n elements. */
double zdl_sum_of_squares_f32(const float *y, const float *t, ptrdiff_t n);
double zdl_sum_of_squares_f64(const double *y, const double *t, ptrdiff_t n);
/* -sum(log(y[i, label[i]] + 1e-7)) / rows; every label is in [0, cols). */
double zdl_cross_entropy_f32(const float *y, const int64_t *label, ptrdiff_t rows, ptrdiff_t cols);
double zdl_cross_entropy_f64(const double *y, const int64_t *label, ptrdiff_t rows, ptrdiff_t cols);
/* y = softmax(x) by rows; returns the cross-entropy of y. */
double zdl_softmax_cross_entropy_f32(float *y, const float *x, const int64_t *label, ptrdiff_t rows, ptrdiff_t cols);
double zdl_softmax_cross_entropy_f64(double *y, const double *x, const int64_t *label, ptrdiff_t rows, ptrdiff_t cols);
/* dx = (y - one_hot(label)) / rows */
void zdl_softmax_cross_entropy_backward_f32(float *dx, const float *y, const int64_t *label, ptrdiff_t rows,
                                            ptrdiff_t cols);
void zdl_softmax_cross_entropy_backward_f64(double *dx, const double *y, const int64_t *label, ptrdiff_t rows,
                                            ptrdiff_t cols);
/* Both in one pass: *loss = the cross-entropy of softmax(x), dx = its gradient. */
int zdl_softmax_cross_entropy_gradient_f32(double *loss, float *dx, const float *x, const int64_t *label,
                                           ptrdiff_t rows, ptrdiff_t cols);
int zdl_softmax_cross_entropy_gradient_f64(double *loss, double *dx, const double *x, const int64_t *label,
                                           ptrdiff_t rows, ptrdiff_t cols);
/* dx = (y - t) / rows, for targets t[rows, cols] that need not be one-hot */
void zdl_softmax_cross_entropy_backward_dense_f32(float *dx, const float *y, const float *t, ptrdiff_t rows,
                                                  ptrdiff_t cols);
void zdl_softmax_cross_entropy_backward_dense_f64(double *dx, const double *y, const double *t, ptrdiff_t rows,
                                                  ptrdiff_t cols);

/* ---- Matrix products: element (i, j) of a is a[i * a_row + j * a_col] ---- */

/* out[m, n] = a[m, k] @ b[k, n]; the rows of out are out_row apart. */
int zdl_matmul_f32(float *out, ptrdiff_t out_row, const float *a, ptrdiff_t a_row, ptrdiff_t a_col, const float *b,
                   ptrdiff_t b_row, ptrdiff_t b_col, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n);
int zdl_matmul_f64(double *out, ptrdiff_t out_row, const double *a, ptrdiff_t a_row, ptrdiff_t a_col, const double *b,
                   ptrdiff_t b_row, ptrdiff_t b_col, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n);
/* out[s] = a[s] @ b[s] for s in [0, stack): out[s] is contiguous, a[s] begins at a[a_offset[s]], b[s] likewise. */
int zdl_matmul_stack_f32(float *out, const float *a, const int64_t *a_offset, ptrdiff_t a_row, ptrdiff_t a_col,
                         const float *b, const int64_t *b_offset, ptrdiff_t b_row, ptrdiff_t b_col, ptrdiff_t stack,
                         ptrdiff_t m, ptrdiff_t k, ptrdiff_t n);
int zdl_matmul_stack_f64(double *out, const double *a, const int64_t *a_offset, ptrdiff_t a_row, ptrdiff_t a_col,
                         const double *b, const int64_t *b_offset, ptrdiff_t b_row, ptrdiff_t b_col, ptrdiff_t stack,
                         ptrdiff_t m, ptrdiff_t k, ptrdiff_t n);
/* out[m, n] = activation(x[m, k] @ w[k, n] + b[n]) */
int zdl_affine_f32(float *out, const float *x, ptrdiff_t x_row, ptrdiff_t x_col, const float *w, ptrdiff_t w_row,
                   ptrdiff_t w_col, const float *b, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n,
                   enum zdl_activation activation);
int zdl_affine_f64(double *out, const double *x, ptrdiff_t x_row, ptrdiff_t x_col, const double *w, ptrdiff_t w_row,
                   ptrdiff_t w_col, const double *b, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n,
                   enum zdl_activation activation);
/* dx[m, k] = dout @ w.T, unless dx is NULL; dw[k, n] = x.T @ dout; db[n] = dout summed over its rows */
int zdl_affine_backward_f32(float *dx, float *dw, float *db, const float *dout, const float *x, ptrdiff_t x_row,
                            ptrdiff_t x_col, const float *w, ptrdiff_t w_row, ptrdiff_t w_col, ptrdiff_t m, ptrdiff_t k,
                            ptrdiff_t n);
int zdl_affine_backward_f64(double *dx, double *dw, double *db, const double *dout, const double *x, ptrdiff_t x_row,
                            ptrdiff_t x_col, const double *w, ptrdiff_t w_row, ptrdiff_t w_col, ptrdiff_t m,
                            ptrdiff_t k, ptrdiff_t n);

/* ---- Images [batch, channels, height, width] ---- */

/* Windows of filter_h x filter_w pixels, `stride` pixels apart, with `pad` zeros around each image. There are out_h x
   out_w of them: out_h = (height + 2 pad - filter_h) / stride + 1, with the quotient rounded down, and out_w
   likewise. */
struct zdl_windows {
    ptrdiff_t batch, channels, height, width, filter_h, filter_w, stride, pad;
};
/* out[batch, filters, out_h, out_w], with weight[filters, channels, filter_h, filter_w] and bias[filters] */
int zdl_convolution_f32(float *out, const float *x, const float *weight, const float *bias, ptrdiff_t filters,
                        const struct zdl_windows *w);
/* dx may be NULL */
int zdl_convolution_backward_f32(float *dx, float *dweight, float *dbias, const float *dout, const float *x,
                                 const float *weight, ptrdiff_t filters, const struct zdl_windows *w);
/* out[batch, channels, out_h, out_w] = the largest pixels; arg_max, of out's shape = which of its window, row by row */
void zdl_pooling_f32(float *out, int64_t *arg_max, const float *x, const struct zdl_windows *w);
/* Returns ZDL_BAD_INDEX if arg_max has an index outside its window. */
int zdl_pooling_backward_f32(float *dx, const float *dout, const int64_t *arg_max, const struct zdl_windows *w);
/* col[batch * out_h * out_w, channels * filter_h * filter_w] = the windows as rows, and back, where overlaps add up */
void zdl_im2col_f32(float *col, const float *x, const struct zdl_windows *w);
void zdl_col2im_f32(float *dx, const float *col, const struct zdl_windows *w);
/* out[batch, filters, out_h, out_w], with weight[filters, channels, filter_h, filter_w] and bias[filters] */
int zdl_convolution_f64(double *out, const double *x, const double *weight, const double *bias, ptrdiff_t filters,
                        const struct zdl_windows *w);
/* dx may be NULL */
int zdl_convolution_backward_f64(double *dx, double *dweight, double *dbias, const double *dout, const double *x,
                                 const double *weight, ptrdiff_t filters, const struct zdl_windows *w);
/* out[batch, channels, out_h, out_w] = the largest pixels; arg_max, of out's shape = which of its window, row by row */
void zdl_pooling_f64(double *out, int64_t *arg_max, const double *x, const struct zdl_windows *w);
int zdl_pooling_backward_f64(double *dx, const double *dout, const int64_t *arg_max, const struct zdl_windows *w);
/* col[batch * out_h * out_w, channels * filter_h * filter_w] = the windows as rows, and back, where overlaps add up */
void zdl_im2col_f64(double *col, const double *x, const struct zdl_windows *w);
void zdl_col2im_f64(double *dx, const double *col, const struct zdl_windows *w);
/* ---- Batch normalization of each column of a (rows, cols) matrix, rows > 0; the vectors have cols ---- */

/* xn = (x - mean) / std and out = gamma xn + beta, with the mean and variance of each column,
   std = sqrt(variance + 1e-6) */
void zdl_batch_norm_f32(float *out, float *xn, float *mean, float *variance, float *std, const float *x,
                        const float *gamma, const float *beta, ptrdiff_t rows, ptrdiff_t cols);
void zdl_batch_norm_f64(double *out, double *xn, double *mean, double *variance, double *std, const double *x,
                        const double *gamma, const double *beta, ptrdiff_t rows, ptrdiff_t cols);
/* dgamma = sum(dout xn) and dbeta = sum(dout) over the rows, dx = gamma / std (dout - (dbeta + xn dgamma) / rows) */
void zdl_batch_norm_backward_f32(float *dx, float *dgamma, float *dbeta, const float *dout, const float *xn,
                                 const float *gamma, const float *std, ptrdiff_t rows, ptrdiff_t cols);
void zdl_batch_norm_backward_f64(double *dx, double *dgamma, double *dbeta, const double *dout, const double *xn,
                                 const double *gamma, const double *std, ptrdiff_t rows, ptrdiff_t cols);

/* ---- Networks: fully connected; softmax follows the last layer, `hidden` the others ---- */

/* Layer l takes width[l] numbers to width[l + 1]: w[l] is [width[l], width[l + 1]], b[l] is [width[l + 1]]. */
struct zdl_network_f32 {
    int depth; /* layers */
    enum zdl_activation hidden;
    const ptrdiff_t *width;
    const float *const *w, *const *b;
};
struct zdl_network_f64 {
    int depth; /* layers */
    enum zdl_activation hidden;
    const ptrdiff_t *width;
    const double *const *w, *const *b;
};
/* y[batch, width[depth]] = the probabilities for x[batch, width[0]] */
int zdl_network_predict_f32(float *y, const float *x, ptrdiff_t x_row, ptrdiff_t x_col, ptrdiff_t batch,
                            const struct zdl_network_f32 *net);
int zdl_network_predict_f64(double *y, const double *x, ptrdiff_t x_row, ptrdiff_t x_col, ptrdiff_t batch,
                            const struct zdl_network_f64 *net);
/* For every layer, a[l] = z[l - 1] @ w[l] + b[l], with x for z[-1], and z[l] = its activation, both [batch,
   width[l + 1]]. a may be NULL, which saves a pass. */
int zdl_network_forward_f32(float *const *a, float *const *z, const float *x, ptrdiff_t x_row, ptrdiff_t x_col,
                            ptrdiff_t batch, const struct zdl_network_f32 *net);
int zdl_network_forward_f64(double *const *a, double *const *z, const double *x, ptrdiff_t x_row, ptrdiff_t x_col,
                            ptrdiff_t batch, const struct zdl_network_f64 *net);
/* dw[l], db[l] = the gradients of softmax_cross_entropy for label[batch] or, if that is NULL, for t[batch,
   width[depth]]. a and z are as in forward. */
int zdl_network_gradient_f32(float *const *dw, float *const *db, float *const *a, float *const *z, const float *x,
                             ptrdiff_t x_row, ptrdiff_t x_col, const int64_t *label, const float *t, ptrdiff_t batch,
                             const struct zdl_network_f32 *net);
int zdl_network_gradient_f64(double *const *dw, double *const *db, double *const *a, double *const *z, const double *x,
                             ptrdiff_t x_row, ptrdiff_t x_col, const int64_t *label, const double *t, ptrdiff_t batch,
                             const struct zdl_network_f64 *net);

/* dw[l], db[l] = (L(p + h) - L(p - h)) / 2h for each parameter p. L is the mean cross-entropy of softmax(a[depth - 1])
   for label[batch]. If label is NULL, it is half the sum of squares of a[depth - 1] - t. To either, decay / 2 times the
   sum of squares of all w[l] is added. For both losses only what the parameter affects is computed again.
   The inputs of all layers are numbered in order, and the bias counts as the last input of its layer, so there are
   width[0] + 1 + ... + width[depth - 1] + 1. Only the gradients of the weights from inputs [begin, end) are written. */
int zdl_network_numerical_gradient(double *const *dw, double *const *db, const double *x, ptrdiff_t x_row,
                                   ptrdiff_t x_col, const int64_t *label, const double *t, ptrdiff_t batch,
                                   double decay, double h, ptrdiff_t begin, ptrdiff_t end,
                                   const struct zdl_network_f64 *net);

/* ---- Optimizers: update n parameters, and the optimizer's state of each, in place ---- */

/* param -= lr * grad */
void zdl_sgd_f32(float *param, const float *grad, double lr, ptrdiff_t n);
void zdl_sgd_f64(double *param, const double *grad, double lr, ptrdiff_t n);
/* v = momentum v - lr grad; param += v */
void zdl_momentum_f32(float *param, float *v, const float *grad, double lr, double momentum, ptrdiff_t n);
void zdl_momentum_f64(double *param, double *v, const double *grad, double lr, double momentum, ptrdiff_t n);
/* param += momentum^2 v - (1 + momentum) lr grad; v = momentum v - lr grad */
void zdl_nesterov_f32(float *param, float *v, const float *grad, double lr, double momentum, ptrdiff_t n);
void zdl_nesterov_f64(double *param, double *v, const double *grad, double lr, double momentum, ptrdiff_t n);
/* h += grad^2; param -= lr grad / (sqrt(h) + 1e-7) */
void zdl_adagrad_f32(float *param, float *h, const float *grad, double lr, ptrdiff_t n);
void zdl_adagrad_f64(double *param, double *h, const double *grad, double lr, ptrdiff_t n);
/* h = decay_rate h + (1 - decay_rate) grad^2; param -= lr grad / (sqrt(h) + 1e-7) */
void zdl_rmsprop_f32(float *param, float *h, const float *grad, double lr, double decay_rate, ptrdiff_t n);
void zdl_rmsprop_f64(double *param, double *h, const double *grad, double lr, double decay_rate, ptrdiff_t n);
/* m += (1 - beta1) (grad - m); v += (1 - beta2) (grad^2 - v); param -= lr m / (sqrt(v) + 1e-7). For update
   t = 1, 2, ... of Adam, pass lr sqrt(1 - beta2^t) / (1 - beta1^t) as lr. */
void zdl_adam_f32(float *param, float *m, float *v, const float *grad, double lr, double beta1, double beta2,
                  ptrdiff_t n);
void zdl_adam_f64(double *param, double *m, double *v, const double *grad, double lr, double beta1, double beta2,
                  ptrdiff_t n);

/* ---- Central differences ---- */

/* grad[i] = (f(x + h e_i) - f(x - h e_i)) / 2h for n variables, where e_i is the i-th unit vector. f(x, n, data) is
   called from several threads at once, each with its own copy of x; x itself is not changed. f may call the functions
   of this header. If f forks, it must not return in the child. */
int zdl_numerical_gradient(double *grad, double (*f)(const double *x, ptrdiff_t n, void *data), const double *x,
                           ptrdiff_t n, double h, void *data);
/* For other formulas, and for calls that do a part of the work: values[k] = f(x with x[k / per_entry] = points[k]) for
   k in [begin, end). f is called from several threads as above, if that is worth it for `cost`, the approximate
   nanoseconds of a call of f. */
int zdl_evaluate(double *values, double (*f)(const double *x, ptrdiff_t n, void *data), const double *x, ptrdiff_t n,
                 const double *points, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t per_entry, double cost, void *data);

#ifdef __cplusplus
}
#endif

#endif
