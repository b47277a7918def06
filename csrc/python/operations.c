/* The operations of zerodl.h on NumPy's arrays, in the order of arrays.h. Each reads its operands, checks their shapes,
   and calls the function for their type. */
#include "read.h"

#include "../images/windows.h"

#include <math.h>

/* ---- Elementwise ---- */

/* Defines np_NAME, which reads its operands with read_KIND and calls zdl_NAME_f32 or zdl_NAME_f64 with the arguments
   after `operands`. */
#define OPERATION(name, kind, parameters, operands, ...)                                                               \
    int np_##name parameters                                                                                           \
    {                                                                                                                  \
        OPERANDS operands;                                                                                             \
        return READ(kind, op) ? CALL(op.all, zdl_##name, __VA_ARGS__) : NP_NOT_PLAIN;                                  \
    }

#define UNARY(name, ...)                                                                                               \
    OPERATION(name, one_shape, (uintptr_t out, uintptr_t x), (op, out, x), op.out.data, op.x.data, __VA_ARGS__)
#define BACKWARD(name, ...)                                                                                            \
    OPERATION(name, one_shape, (uintptr_t dx, uintptr_t dout, uintptr_t y), (op, dx, dout, y), op.dx.data,             \
              op.dout.data, op.y.data, __VA_ARGS__)

UNARY(sigmoid, op.x.size)
UNARY(sigmoid_grad, op.x.size)
UNARY(relu, op.x.size)
UNARY(relu_grad, op.x.size)
UNARY(tanh, op.x.size)
BACKWARD(sigmoid_backward, op.y.size)
BACKWARD(relu_backward, op.y.size)
BACKWARD(tanh_backward, op.y.size)

/* A contiguous array of this type and of the shape of another. */
static bool read_as(array *a, uintptr_t object, int type, const array *shape)
{
    return read_array(a, object) && a->type == type && a->contiguous && same_shape(a, shape);
}

int np_step(uintptr_t out, uintptr_t x)
{
    array in, step;
    if (!read_one_shape(&in, &x, 1) || !read_as(&step, out, NPY_INT64, &in))
        return NP_NOT_PLAIN;
    return CALL(&in, zdl_step, step.data, in.data, in.size);
}

int np_relu_mask(uintptr_t out, uintptr_t mask, uintptr_t x)
{
    OPERANDS(op, out, x);
    array flags;
    if (!READ(one_shape, op) || !read_as(&flags, mask, NPY_BOOL, &op.x))
        return NP_NOT_PLAIN;
    return CALL(&op.x, zdl_relu_mask, op.out.data, flags.data, op.x.data, op.x.size);
}

int np_relu_mask_backward(uintptr_t dout, uintptr_t mask)
{
    array gradient, flags;
    if (!read_one_shape(&gradient, &dout, 1) || !gradient.writable || !read_as(&flags, mask, NPY_BOOL, &gradient))
        return NP_NOT_PLAIN;
    return CALL(&gradient, zdl_relu_mask_backward, gradient.data, flags.data, gradient.size);
}

/* ---- Softmax ---- */

/* The rows of an array along its last axis. */
static ptrdiff_t row_length(const array *a) { return a->dims ? a->shape[a->dims - 1] : 1; }
static ptrdiff_t row_count(const array *a) { return a->size ? a->size / row_length(a) : 0; }

UNARY(softmax, row_count(&op.x), row_length(&op.x))
UNARY(log_softmax, row_count(&op.x), row_length(&op.x))
BACKWARD(softmax_backward, row_count(&op.y), row_length(&op.y))

/* ---- Losses ---- */

/* The index of the largest of `cols` numbers in a row, or of the first nan, as in NumPy's argmax. */
static int64_t largest_of_row(const array *a, ptrdiff_t row, ptrdiff_t cols)
{
    double largest = 0;
    int64_t index = 0;
    for (ptrdiff_t j = 0; j < cols && !isnan(largest); j++) {
        ptrdiff_t i = row * cols + j;
        double x = is_double(a) ? ((const double *)a->data)[i] : ((const float *)a->data)[i];
        if (j == 0 || x > largest || isnan(x)) {
            largest = x;
            index = j;
        }
    }
    return index;
}

/* read_labels, but `object` may also be one-hot rows (rows, cols). */
static int read_classes(labels *label, uintptr_t object, ptrdiff_t rows, ptrdiff_t cols)
{
    array one_hot;
    if (!read_one_shape(&one_hot, &object, 1) || !is_matrix(&one_hot, rows, cols))
        return read_labels(label, object, rows, cols);
    if (!allocate_labels(label, rows))
        return NP_NO_MEMORY;
    for (ptrdiff_t i = 0; i < rows; i++)
        label->data[i] = largest_of_row(&one_hot, i, cols);
    return NP_OK;
}

static bool read_scalar(array *a, uintptr_t object) { return read_reals(a, &object, 1) && a->size == 1; }

static void store_scalar(const array *scalar, double value)
{
    if (is_double(scalar))
        *(double *)scalar->data = value;
    else
        *(float *)scalar->data = (float)value;
}

static bool has_samples(const array *a) { return a->dims == 2 && a->size > 0; }

/* The cross-entropy of y, after setting y to softmax(x) if `softmax` is true. */
static int cross_entropy(uintptr_t loss, uintptr_t y, uintptr_t x, uintptr_t t, bool softmax)
{
    OPERANDS(op, y, x);
    array mean;
    labels label;
    if (!read_scalar(&mean, loss) || !READ(one_shape, op) || !has_samples(&op.x))
        return NP_NOT_PLAIN;
    ptrdiff_t rows = op.x.rows, cols = op.x.cols;
    int status = read_classes(&label, t, rows, cols);
    if (status == NP_OK) {
        store_scalar(&mean,
                     softmax ? BY_TYPE(&op.x, zdl_softmax_cross_entropy, op.y.data, op.x.data, label.data, rows, cols)
                             : BY_TYPE(&op.x, zdl_cross_entropy, op.y.data, label.data, rows, cols));
        free_labels(&label);
    }
    return status;
}

int np_cross_entropy(uintptr_t loss, uintptr_t y, uintptr_t t) { return cross_entropy(loss, y, y, t, false); }

int np_softmax_cross_entropy(uintptr_t loss, uintptr_t y, uintptr_t x, uintptr_t t)
{
    return cross_entropy(loss, y, x, t, true);
}

int np_softmax_cross_entropy_gradient(uintptr_t loss, uintptr_t dx, uintptr_t x, uintptr_t t)
{
    OPERANDS(op, dx, x);
    array mean;
    labels label;
    double value;
    if (!read_scalar(&mean, loss) || !READ(one_shape, op) || !has_samples(&op.x) || op.x.cols < 2)
        return NP_NOT_PLAIN;
    ptrdiff_t rows = op.x.rows, cols = op.x.cols;
    int status = read_labels(&label, t, rows, cols);
    if (status != NP_OK)
        return status;
    status = BY_TYPE(&op.x, zdl_softmax_cross_entropy_gradient, &value, op.dx.data, op.x.data, label.data, rows, cols);
    if (status == NP_OK)
        store_scalar(&mean, value);
    free_labels(&label);
    return status;
}

int np_softmax_cross_entropy_backward(uintptr_t dx, uintptr_t y, uintptr_t t)
{
    OPERANDS(op, dx, y);
    array targets;
    labels label;
    if (!READ(one_shape, op) || !has_samples(&op.y))
        return NP_NOT_PLAIN;
    ptrdiff_t rows = op.y.rows, cols = op.y.cols;
    /* With one class an int64 t may be labels or probabilities: Python decides. */
    int status = cols > 1 ? read_labels(&label, t, rows, cols) : NP_NOT_PLAIN;
    if (status == NP_OK) {
        BY_TYPE(&op.y, zdl_softmax_cross_entropy_backward, op.dx.data, op.y.data, label.data, rows, cols);
        free_labels(&label);
    } else if (status == NP_NOT_PLAIN && read_as(&targets, t, op.y.type, &op.y)) {
        BY_TYPE(&op.y, zdl_softmax_cross_entropy_backward_dense, op.dx.data, op.y.data, targets.data, rows, cols);
        status = NP_OK;
    }
    return status;
}

int np_sum_of_squares(uintptr_t total, uintptr_t y, uintptr_t t)
{
    OPERANDS(op, y, t);
    array sum;
    if (!read_scalar(&sum, total) || !READ(one_shape, op))
        return NP_NOT_PLAIN;
    store_scalar(&sum, BY_TYPE(&op.y, zdl_sum_of_squares, op.y.data, op.t.data, op.y.size));
    return NP_OK;
}

/* ---- Matrix products ---- */

/* Whether a @ b is a product of two matrices. */
static bool can_multiply(const array *a, const array *b) { return a->dims == 2 && b->dims == 2 && a->cols == b->rows; }

int np_matmul(uintptr_t out, uintptr_t a, uintptr_t b)
{
    OPERANDS(op, out, a, b);
    if (!READ(reals, op) || !can_multiply(&op.a, &op.b) || !is_matrix(&op.out, op.a.rows, op.b.cols))
        return NP_NOT_PLAIN;
    return BY_TYPE(&op.out, zdl_matmul, op.out.data, op.out.cols, STRIDED(op.a), STRIDED(op.b), op.a.rows, op.a.cols,
                   op.b.cols);
}

static bool read_offsets(array *a, uintptr_t object)
{
    return read_array(a, object) && a->type == NPY_INT64 && a->contiguous;
}

int np_matmul_stack(uintptr_t out, uintptr_t a, uintptr_t a_offset, uintptr_t b, uintptr_t b_offset)
{
    OPERANDS(op, out, a, b);
    array a_begin, b_begin;
    bool fits = READ(reals, op) && op.a.dims >= 2 && op.b.dims >= 2 && op.a.cols == op.b.rows && op.out.dims >= 3 &&
                op.out.rows == op.a.rows && op.out.cols == op.b.cols && op.out.contiguous;
    if (!fits || !read_offsets(&a_begin, a_offset) || !read_offsets(&b_begin, b_offset) ||
        a_begin.size != b_begin.size || a_begin.size * op.out.rows * op.out.cols != op.out.size)
        return NP_NOT_PLAIN;
    return BY_TYPE(&op.out, zdl_matmul_stack, op.out.data, op.a.data, a_begin.data, op.a.row_stride, op.a.col_stride,
                   op.b.data, b_begin.data, op.b.row_stride, op.b.col_stride, a_begin.size, op.a.rows, op.a.cols,
                   op.b.cols);
}

int np_affine(uintptr_t out, uintptr_t x, uintptr_t w, uintptr_t b)
{
    OPERANDS(op, out, x, w, b);
    if (!READ(reals, op) || !can_multiply(&op.x, &op.w) || !is_matrix(&op.out, op.x.rows, op.w.cols) ||
        !is_vector(&op.b, op.w.cols))
        return NP_NOT_PLAIN;
    return BY_TYPE(&op.out, zdl_affine, op.out.data, STRIDED(op.x), STRIDED(op.w), op.b.data, op.x.rows, op.x.cols,
                   op.w.cols, ZDL_IDENTITY);
}

int np_affine_backward(uintptr_t dx, uintptr_t dw, uintptr_t db, uintptr_t dout, uintptr_t x, uintptr_t w)
{
    bool wants_dx = dx != 0;
    dx = wants_dx ? dx : x; /* a null address cannot be read */
    OPERANDS(op, dx, dw, db, dout, x, w);
    bool fits = READ(reals, op) && can_multiply(&op.x, &op.w) && is_matrix(&op.dout, op.x.rows, op.w.cols) &&
                (is_matrix(&op.dx, op.x.rows, op.x.cols) || !wants_dx) && is_matrix(&op.dw, op.w.rows, op.w.cols) &&
                is_vector(&op.db, op.w.cols);
    if (!fits)
        return NP_NOT_PLAIN;
    return BY_TYPE(&op.x, zdl_affine_backward, wants_dx ? op.dx.data : NULL, op.dw.data, op.db.data, op.dout.data,
                   STRIDED(op.x), STRIDED(op.w), op.x.rows, op.x.cols, op.w.cols);
}

/* ---- Images ---- */

/* Windows over the images x. False if there is no place for even one. */
static bool read_windows(windows *w, const array *x, ptrdiff_t filter_h, ptrdiff_t filter_w, ptrdiff_t stride,
                         ptrdiff_t pad)
{
    if (x->dims != 4 || !x->contiguous || filter_h < 1 || filter_w < 1 || stride < 1 || pad < 0 ||
        pad > PTRDIFF_MAX / 8)
        return false;
    /* All strides beyond the padded image give one place. The least of them is taken, so that nothing overflows. */
    ptrdiff_t beyond = x->shape[2] + x->shape[3] + 2 * pad + 1;
    stride = stride < beyond ? stride : beyond;
    *w = (windows){x->shape[0], x->shape[1], x->shape[2], x->shape[3], filter_h, filter_w, stride, pad};
    return w->height + 2 * pad >= filter_h && w->width + 2 * pad >= filter_w;
}

/* Windows of filters (filters, channels, filter_h, filter_w) over the images x. */
static bool read_filters(windows *w, const array *x, const array *filters, ptrdiff_t stride, ptrdiff_t pad)
{
    return filters->dims == 4 && filters->contiguous &&
           read_windows(w, x, filters->shape[2], filters->shape[3], stride, pad) && filters->shape[1] == w->channels;
}

/* Whether an array is contiguous and (batch, channels, out_h, out_w), as these windows' output is. */
static bool is_output(const array *a, const windows *w, ptrdiff_t channels)
{
    return a->dims == 4 && a->contiguous && a->shape[0] == w->batch && a->shape[1] == channels &&
           a->shape[2] == out_height(w) && a->shape[3] == out_width(w);
}

int np_convolution(uintptr_t out, uintptr_t x, uintptr_t w, uintptr_t b, ptrdiff_t stride, ptrdiff_t pad)
{
    OPERANDS(op, out, x, w, b);
    windows geometry;
    if (!READ(reals, op) || !read_filters(&geometry, &op.x, &op.w, stride, pad))
        return NP_NOT_PLAIN;
    ptrdiff_t filters = op.w.shape[0];
    if (!is_output(&op.out, &geometry, filters) || !is_vector(&op.b, filters))
        return NP_NOT_PLAIN;
    return BY_TYPE(&op.x, zdl_convolution, op.out.data, op.x.data, op.w.data, op.b.data, filters, &geometry);
}

int np_convolution_backward(uintptr_t dx, uintptr_t dw, uintptr_t db, uintptr_t dout, uintptr_t x, uintptr_t w,
                            ptrdiff_t stride, ptrdiff_t pad)
{
    OPERANDS(op, dx, dw, db, dout, x, w);
    windows geometry;
    if (!READ(reals, op) || !read_filters(&geometry, &op.x, &op.w, stride, pad))
        return NP_NOT_PLAIN;
    ptrdiff_t filters = op.w.shape[0];
    if (!is_output(&op.dout, &geometry, filters) || !same_shape(&op.dx, &op.x) || !op.dx.contiguous ||
        !same_shape(&op.dw, &op.w) || !op.dw.contiguous || !is_vector(&op.db, filters))
        return NP_NOT_PLAIN;
    return BY_TYPE(&op.x, zdl_convolution_backward, op.dx.data, op.dw.data, op.db.data, op.dout.data, op.x.data,
                   op.w.data, filters, &geometry);
}

int np_pooling(uintptr_t out, uintptr_t arg_max, uintptr_t x, ptrdiff_t pool_h, ptrdiff_t pool_w, ptrdiff_t stride,
               ptrdiff_t pad)
{
    OPERANDS(op, out, x);
    array indices;
    windows geometry;
    if (!READ(reals, op) || !read_windows(&geometry, &op.x, pool_h, pool_w, stride, pad) ||
        !is_output(&op.out, &geometry, geometry.channels) || !read_as(&indices, arg_max, NPY_INT64, &op.out))
        return NP_NOT_PLAIN;
    return CALL(&op.x, zdl_pooling, op.out.data, indices.data, op.x.data, &geometry);
}

int np_pooling_backward(uintptr_t dx, uintptr_t dout, uintptr_t arg_max, ptrdiff_t pool_h, ptrdiff_t pool_w,
                        ptrdiff_t stride, ptrdiff_t pad)
{
    OPERANDS(op, dx, dout);
    array indices;
    windows geometry;
    if (!READ(reals, op) || !read_windows(&geometry, &op.dx, pool_h, pool_w, stride, pad) ||
        !is_output(&op.dout, &geometry, geometry.channels) || !read_as(&indices, arg_max, NPY_INT64, &op.dout))
        return NP_NOT_PLAIN;
    return BY_TYPE(&op.dx, zdl_pooling_backward, op.dx.data, op.dout.data, indices.data, &geometry);
}

/* Whether col is contiguous and has a row for each window. */
static bool is_columns(const array *col, const windows *w)
{
    return is_matrix(col, w->batch * places_of(w), weights_of(w));
}

int np_im2col(uintptr_t col, uintptr_t x, ptrdiff_t filter_h, ptrdiff_t filter_w, ptrdiff_t stride, ptrdiff_t pad)
{
    OPERANDS(op, col, x);
    windows geometry;
    if (!READ(reals, op) || !read_windows(&geometry, &op.x, filter_h, filter_w, stride, pad) ||
        !is_columns(&op.col, &geometry))
        return NP_NOT_PLAIN;
    return CALL(&op.x, zdl_im2col, op.col.data, op.x.data, &geometry);
}

int np_col2im(uintptr_t dx, uintptr_t col, ptrdiff_t filter_h, ptrdiff_t filter_w, ptrdiff_t stride, ptrdiff_t pad)
{
    OPERANDS(op, dx, col);
    windows geometry;
    if (!READ(reals, op) || !read_windows(&geometry, &op.dx, filter_h, filter_w, stride, pad) ||
        !is_columns(&op.col, &geometry))
        return NP_NOT_PLAIN;
    return CALL(&op.dx, zdl_col2im, op.dx.data, op.col.data, &geometry);
}

/* ---- Batch normalization ---- */

/* Whether an array is contiguous and (rows, ...), with `cols` numbers in each row. */
static bool is_batch(const array *a, ptrdiff_t rows, ptrdiff_t cols)
{
    return a->contiguous && a->dims > 0 && a->shape[0] == rows && a->size == rows * cols;
}

int np_batch_norm(uintptr_t out, uintptr_t xn, uintptr_t mean, uintptr_t variance, uintptr_t std, uintptr_t x,
                  uintptr_t gamma, uintptr_t beta)
{
    OPERANDS(op, out, xn, mean, variance, std, x, gamma, beta);
    if (!READ(reals, op) || op.x.dims == 0 || op.x.size == 0)
        return NP_NOT_PLAIN;
    ptrdiff_t rows = op.x.shape[0], cols = op.x.size / rows;
    if (!is_batch(&op.out, rows, cols) || !is_batch(&op.xn, rows, cols) || !is_batch(&op.x, rows, cols) ||
        !is_vector(&op.mean, cols) || !is_vector(&op.variance, cols) || !is_vector(&op.std, cols) ||
        !is_vector(&op.gamma, cols) || !is_vector(&op.beta, cols))
        return NP_NOT_PLAIN;
    return CALL(&op.x, zdl_batch_norm, op.out.data, op.xn.data, op.mean.data, op.variance.data, op.std.data, op.x.data,
                op.gamma.data, op.beta.data, rows, cols);
}

int np_batch_norm_backward(uintptr_t dx, uintptr_t dgamma, uintptr_t dbeta, uintptr_t dout, uintptr_t xn,
                           uintptr_t gamma, uintptr_t std)
{
    OPERANDS(op, dx, dgamma, dbeta, dout, xn, gamma, std);
    if (!READ(reals, op) || op.dout.dims == 0 || op.dout.size == 0)
        return NP_NOT_PLAIN;
    ptrdiff_t rows = op.dout.shape[0], cols = op.dout.size / rows;
    if (!is_batch(&op.dx, rows, cols) || !is_batch(&op.dout, rows, cols) || !is_batch(&op.xn, rows, cols) ||
        !is_vector(&op.dgamma, cols) || !is_vector(&op.dbeta, cols) || !is_vector(&op.gamma, cols) ||
        !is_vector(&op.std, cols))
        return NP_NOT_PLAIN;
    return CALL(&op.dout, zdl_batch_norm_backward, op.dx.data, op.dgamma.data, op.dbeta.data, op.dout.data, op.xn.data,
                op.gamma.data, op.std.data, rows, cols);
}

/* ---- Optimizers ---- */

/* Whether two contiguous arrays of one type, float32 or float64, share memory. */
static bool overlap(const array *a, const array *b)
{
    uintptr_t itemsize = is_double(a) ? sizeof(double) : sizeof(float);
    uintptr_t a_begin = (uintptr_t)a->data, b_begin = (uintptr_t)b->data;
    return a_begin < b_begin + (uintptr_t)b->size * itemsize && b_begin < a_begin + (uintptr_t)a->size * itemsize;
}

/* Arrays of one shape that share no memory. All but the last, the gradient, are written. */
static bool read_step(array *arrays, const uintptr_t *objects, int count)
{
    if (!read_one_shape(arrays, objects, count))
        return false;
    for (int i = 0; i < count - 1; i++) {
        if (!arrays[i].writable)
            return false;
        for (int j = i + 1; j < count; j++)
            if (overlap(&arrays[i], &arrays[j]))
                return false;
    }
    return true;
}

#define STEP_WITH_RATE(name, state, rate)                                                                              \
    OPERATION(name, step, (uintptr_t param, uintptr_t state, uintptr_t grad, double lr, double rate),                  \
              (op, param, state, grad), op.param.data, op.state.data, op.grad.data, lr, rate, op.param.size)

OPERATION(sgd, step, (uintptr_t param, uintptr_t grad, double lr), (op, param, grad), op.param.data, op.grad.data, lr,
          op.param.size)
STEP_WITH_RATE(momentum, v, momentum)
STEP_WITH_RATE(nesterov, v, momentum)
OPERATION(adagrad, step, (uintptr_t param, uintptr_t h, uintptr_t grad, double lr), (op, param, h, grad), op.param.data,
          op.h.data, op.grad.data, lr, op.param.size)
STEP_WITH_RATE(rmsprop, h, decay_rate)
OPERATION(adam, step,
          (uintptr_t param, uintptr_t m, uintptr_t v, uintptr_t grad, double lr, double beta1, double beta2),
          (op, param, m, v, grad), op.param.data, op.m.data, op.v.data, op.grad.data, lr, beta1, beta2, op.param.size)
