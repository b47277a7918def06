/* The functions that Python calls. Each takes the addresses of NumPy's array objects, id(array), outputs first, then
   inputs. It reads dtype, shape and strides itself, and calls the function of zerodl.h that it is named after. The
   arrays must have one dtype, float32 or float64, native byte order and shapes that fit. They must be aligned, and
   C-contiguous unless a comment says `strided`. Labels may be int64, int32 or uint8. If the arrays are anything else,
   the function does nothing and returns NP_NOT_PLAIN. Then Python converts them and calls again, or raises the error
   that says what is wrong. Otherwise the function returns NP_OK, NP_NO_MEMORY or NP_BAD_INDEX.
   The caller holds a reference to each array, in a local variable. cffi has released the GIL, so another thread may
   change an array meanwhile. So what its object says is read once, and labels are copied before they are checked. */
#ifndef ZERODL_ARRAYS_H
#define ZERODL_ARRAYS_H

#include "../zerodl.h"

enum np_status { NP_OK = ZDL_OK, NP_NO_MEMORY = ZDL_NO_MEMORY, NP_BAD_INDEX = ZDL_BAD_INDEX, NP_NOT_PLAIN };

/* To be called once, before all others, with the address of the type numpy.ndarray. */
void np_set_array_type(uintptr_t type);

/* ---- Elementwise: arrays of one shape ---- */

int np_sigmoid(uintptr_t out, uintptr_t x);
int np_sigmoid_grad(uintptr_t out, uintptr_t x);
int np_relu(uintptr_t out, uintptr_t x);
int np_relu_grad(uintptr_t out, uintptr_t x);
int np_tanh(uintptr_t out, uintptr_t x);
int np_step(uintptr_t out, uintptr_t x); /* out is int64 */
int np_relu_mask(uintptr_t out, uintptr_t mask, uintptr_t x); /* mask is bool */
int np_relu_mask_backward(uintptr_t dout, uintptr_t mask);    /* mask is bool, dout is writable */
int np_sigmoid_backward(uintptr_t dx, uintptr_t dout, uintptr_t y);
int np_relu_backward(uintptr_t dx, uintptr_t dout, uintptr_t y);
int np_tanh_backward(uintptr_t dx, uintptr_t dout, uintptr_t y);

/* ---- Softmax over the last axis: arrays of one shape ---- */

int np_softmax(uintptr_t out, uintptr_t x);
int np_log_softmax(uintptr_t out, uintptr_t x);
int np_softmax_backward(uintptr_t dx, uintptr_t dout, uintptr_t y);

/* ---- Losses: the loss is a 0-d output, y and x are (rows, cols), not empty ---- */

/* t is (rows,) labels, each in [0, cols), or one-hot rows of floats */
int np_cross_entropy(uintptr_t loss, uintptr_t y, uintptr_t t);
int np_softmax_cross_entropy(uintptr_t loss, uintptr_t y, uintptr_t x, uintptr_t t);
/* t is (rows,) labels */
int np_softmax_cross_entropy_gradient(uintptr_t loss, uintptr_t dx, uintptr_t x, uintptr_t t);
/* t is (rows,) labels, or (rows, cols) of y's dtype */
int np_softmax_cross_entropy_backward(uintptr_t dx, uintptr_t y, uintptr_t t);
/* total is 0-d float64; y and t are of one shape */
int np_sum_of_squares(uintptr_t total, uintptr_t y, uintptr_t t);

/* ---- Matrix products: inputs of two dimensions are strided ---- */

int np_matmul(uintptr_t out, uintptr_t a, uintptr_t b);
/* a and b may have more dimensions; the offsets are int64, one for each matrix of out */
int np_matmul_stack(uintptr_t out, uintptr_t a, uintptr_t a_offset, uintptr_t b, uintptr_t b_offset);
int np_affine(uintptr_t out, uintptr_t x, uintptr_t w, uintptr_t b);
/* dx may be 0 */
int np_affine_backward(uintptr_t dx, uintptr_t dw, uintptr_t db, uintptr_t dout, uintptr_t x, uintptr_t w);

/* ---- Images (batch, channels, height, width), as in zerodl.h; arg_max is int64 of out's shape ---- */

int np_convolution(uintptr_t out, uintptr_t x, uintptr_t w, uintptr_t b, ptrdiff_t stride, ptrdiff_t pad);
int np_convolution_backward(uintptr_t dx, uintptr_t dw, uintptr_t db, uintptr_t dout, uintptr_t x, uintptr_t w,
                            ptrdiff_t stride, ptrdiff_t pad);
int np_pooling(uintptr_t out, uintptr_t arg_max, uintptr_t x, ptrdiff_t pool_h, ptrdiff_t pool_w, ptrdiff_t stride,
               ptrdiff_t pad);
int np_pooling_backward(uintptr_t dx, uintptr_t dout, uintptr_t arg_max, ptrdiff_t pool_h, ptrdiff_t pool_w,
                        ptrdiff_t stride, ptrdiff_t pad); /* NP_BAD_INDEX if arg_max has an index outside its window */
int np_im2col(uintptr_t col, uintptr_t x, ptrdiff_t filter_h, ptrdiff_t filter_w, ptrdiff_t stride, ptrdiff_t pad);
int np_col2im(uintptr_t dx, uintptr_t col, ptrdiff_t filter_h, ptrdiff_t filter_w, ptrdiff_t stride, ptrdiff_t pad);

/* ---- Batch normalization: batches are (rows, ...), each row of cols numbers, not empty; vectors are (cols,) ---- */

int np_batch_norm(uintptr_t out, uintptr_t xn, uintptr_t mean, uintptr_t variance, uintptr_t std, uintptr_t x,
                  uintptr_t gamma, uintptr_t beta);
int np_batch_norm_backward(uintptr_t dx, uintptr_t dgamma, uintptr_t dbeta, uintptr_t dout, uintptr_t xn,
                           uintptr_t gamma, uintptr_t std);

/* ---- Networks: params are w, b of the first layer, w, b of the second, ... ---- */

int np_network_predict(uintptr_t y, uintptr_t x, const uintptr_t *params, int depth, enum zdl_activation hidden);
/* kept are a, z of the first layer, ... */
int np_network_forward(const uintptr_t *kept, uintptr_t x, const uintptr_t *params, int depth,
                       enum zdl_activation hidden);
/* grads are dw, db of the first layer, ...; kept are z alone if `sums` is 0; t is as in
   np_softmax_cross_entropy_backward */
int np_network_gradient(const uintptr_t *grads, const uintptr_t *kept, int sums, uintptr_t x, uintptr_t t,
                        const uintptr_t *params, int depth, enum zdl_activation hidden);

/* All are float64, but t may be (rows,) labels. If it is (rows, cols), the loss is half the sum of squares. begin and
   end are as in zdl_network_numerical_gradient. */
int np_network_numerical_gradient(const uintptr_t *grads, uintptr_t x, uintptr_t t, const uintptr_t *params, int depth,
                                  enum zdl_activation hidden, double decay, double h, ptrdiff_t begin, ptrdiff_t end);

/* ---- Optimizers: arrays of one shape that share no memory; all but grad change in place ---- */

int np_sgd(uintptr_t param, uintptr_t grad, double lr);
int np_momentum(uintptr_t param, uintptr_t v, uintptr_t grad, double lr, double momentum);
int np_nesterov(uintptr_t param, uintptr_t v, uintptr_t grad, double lr, double momentum);
int np_adagrad(uintptr_t param, uintptr_t h, uintptr_t grad, double lr);
int np_rmsprop(uintptr_t param, uintptr_t h, uintptr_t grad, double lr, double decay_rate);
int np_adam(uintptr_t param, uintptr_t m, uintptr_t v, uintptr_t grad, double lr, double beta1, double beta2);

#endif
