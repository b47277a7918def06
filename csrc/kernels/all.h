/* All kernels, and the table of them, for the instruction set and element type that the including file has set. */

#include "../images/column_kernels.h"
#include "../images/convolution_kernels.h"
#include "../images/pooling_kernels.h"
#if REAL_BITS == 64
#include "../net/difference_kernels.h"
#endif
#include "activation.h"
#include "loss.h"
#include "matmul.h"
#include "normalization.h"
#include "optimizer.h"
#include "peak.h"
#include "softmax.h"
#include "table.h"

const struct ZDL(kernels) ISA_TABLE = {
    .exp = exp_all,
    .log = log_all,
    .tanh = tanh_all,
    .sigmoid = sigmoid,
    .sigmoid_grad = sigmoid_grad,
    .relu = relu,
    .relu_grad = relu_grad,
    .sigmoid_backward = sigmoid_backward,
    .tanh_backward = tanh_backward,
    .relu_backward = relu_backward,
    .relu_mask = relu_mask,
    .relu_mask_backward = relu_mask_backward,
    .step = step,
    .softmax = softmax,
    .log_softmax = log_softmax,
    .softmax_label_gradient = softmax_label_gradient,
    .softmax_backward = softmax_backward,
    .sum_of_squares = sum_of_squares,
    .subtract_divide = subtract_divide,
    .subtract_label_divide = subtract_label_divide,
    .sum_rows = sum_rows,
    .matmul = matmul,
    .batch_norm = batch_norm_columns,
    .batch_norm_backward = batch_norm_backward_columns,
    .sgd = sgd,
    .momentum = momentum,
    .nesterov = nesterov,
    .adagrad = adagrad,
    .rmsprop = rmsprop,
    .adam = adam,
    .filters_of_panel = FILTERS,
    .convolve = convolve,
    .convolve_backward = convolve_backward,
    .copy_matrix = copy_matrix,
    .sum_elements = sum_elements,
    .pool = pool,
    .pool_backward = pool_backward,
    .im2col = im2col,
    .col2im = col2im,
    .peak = peak,
#if REAL_BITS == 64
    .activate_sum = activate_sum,
    .activation_change = activation_change,
    .cross_entropy_difference = cross_entropy_difference,
#endif
};
