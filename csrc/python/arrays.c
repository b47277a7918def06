#include "arrays.h"

#include "../images/windows.h"

#ifndef _MSC_VER /* there setuptools defines Py_GIL_DISABLED, and pyconfig.h must see Py_LIMITED_API */
#include <pyconfig.h>
#endif
#if !defined Py_GIL_DISABLED && !defined Py_DEBUG
#define Py_LIMITED_API 0x030a0000 /* as cffi compiles the rest of the extension */
#endif
#include <Python.h>

#include <numpy/ndarraytypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DIMS = 64 }; /* NumPy's limit; 32 before NumPy 2 */

/* What an array's object says, read once: the GIL is not held here, and another thread may change the array meanwhile.
   row and col are the strides of the last two dimensions, in elements. */
typedef struct {
    void *at;
    int type, dims; /* NPY_FLOAT, NPY_DOUBLE, NPY_INT64 or NPY_BOOL */
    ptrdiff_t size, rows, cols, row, col;
    bool contiguous, writable;
    npy_intp shape[MOST_DIMS];
} array;

static PyTypeObject *array_type;

void np_set_array_type(uintptr_t type) { array_type = (PyTypeObject *)type; }

static ptrdiff_t size_of(int type) { return type == NPY_BOOL ? 1 : type == NPY_FLOAT ? 4 : 8; }

static bool read_strides(array *a, const npy_intp *strides)
{
    ptrdiff_t itemsize = size_of(a->type);
    npy_intp row = strides[a->dims - 2], col = strides[a->dims - 1];
    a->rows = a->shape[a->dims - 2];
    a->cols = a->shape[a->dims - 1];
    if (a->rows < 2 || a->size == 0) /* of what is never stepped over NumPy may say anything */
        row = a->cols * itemsize;
    if (a->cols < 2 || a->size == 0)
        col = itemsize;
    a->row = row / itemsize;
    a->col = col / itemsize;
    return row % itemsize == 0 && col % itemsize == 0;
}

/* False for what is no array, or none that C can read where it lies. */
static bool read_array(array *a, uintptr_t object)
{
    PyArrayObject *source = (PyArrayObject *)object;
    if (Py_TYPE((PyObject *)object) != array_type)
        return false;
    const PyArray_Descr *dtype = PyArray_DESCR(source);
    const npy_intp *shape = PyArray_DIMS(source);
    int flags = PyArray_FLAGS(source), type = dtype->type_num, dims = PyArray_NDIM(source);
    if ((type != NPY_FLOAT && type != NPY_DOUBLE && type != NPY_INT64 && type != NPY_BOOL) ||
        !(flags & NPY_ARRAY_ALIGNED) || !PyArray_ISNBO(dtype->byteorder) || dims > MOST_DIMS)
        return false;
    a->at = PyArray_DATA(source);
    a->type = type;
    a->dims = dims;
    a->contiguous = (flags & NPY_ARRAY_C_CONTIGUOUS) != 0;
    a->writable = (flags & NPY_ARRAY_WRITEABLE) != 0;
    a->size = 1;
    for (int i = 0; i < dims; i++)
        a->size *= a->shape[i] = shape[i];
    bool strided = dims < 2 || read_strides(a, PyArray_STRIDES(source));
    /* A thread that assigns to shape or dtype frees the old one: then what was read here may have been anything. */
    PyArrayObject *volatile again = source;
    return strided && PyArray_DIMS(again) == shape && PyArray_DESCR(again) == dtype;
}

/* Arrays of one type, float32 or float64. */
static bool read_reals(array *arrays, const uintptr_t *objects, int count)
{
    for (int i = 0; i < count; i++)
        if (!read_array(&arrays[i], objects[i]) || arrays[i].type != arrays[0].type)
            return false;
    return arrays[0].type == NPY_FLOAT || arrays[0].type == NPY_DOUBLE;
}

static bool same_shape(const array *a, const array *b)
{
    return a->dims == b->dims && memcmp(a->shape, b->shape, (size_t)a->dims * sizeof(npy_intp)) == 0;
}

/* Contiguous arrays of one type and shape. */
static bool read_alike(array *arrays, const uintptr_t *objects, int count)
{
    if (!read_reals(arrays, objects, count))
        return false;
    for (int i = 0; i < count; i++)
        if (!arrays[i].contiguous || !same_shape(&arrays[i], &arrays[0]))
            return false;
    return true;
}

static bool is_matrix(const array *a, ptrdiff_t rows, ptrdiff_t cols)
{
    return a->dims == 2 && a->rows == rows && a->cols == cols;
}

static bool is_vector(const array *a, ptrdiff_t n) { return a->dims == 1 && a->size == n && a->contiguous; }

/* Whether two contiguous arrays of one type share memory. */
static bool overlap(const array *a, const array *b)
{
    uintptr_t itemsize = (uintptr_t)size_of(a->type);
    uintptr_t a_at = (uintptr_t)a->at, b_at = (uintptr_t)b->at;
    return a_at < b_at + (uintptr_t)b->size * itemsize && b_at < a_at + (uintptr_t)a->size * itemsize;
}

static bool is_double(const array *a) { return a->type == NPY_DOUBLE; }

/* The function of C's for the type of an array. */
#define BY_TYPE(a, f, ...) (is_double(a) ? f##_f64(__VA_ARGS__) : f##_f32(__VA_ARGS__))

/* ---- Elementwise ---- */

typedef void unary_f32(float *out, const float *x, ptrdiff_t n);
typedef void unary_f64(double *out, const double *x, ptrdiff_t n);
typedef void binary_f32(float *out, const float *x, const float *y, ptrdiff_t n);
typedef void binary_f64(double *out, const double *x, const double *y, ptrdiff_t n);

static int unary(unary_f32 *f32, unary_f64 *f64, uintptr_t out, uintptr_t x)
{
    array arrays[2];
    if (!read_alike(arrays, (uintptr_t[]){out, x}, 2))
        return NP_NOT_PLAIN;
    if (is_double(arrays))
        f64(arrays[0].at, arrays[1].at, arrays[0].size);
    else
        f32(arrays[0].at, arrays[1].at, arrays[0].size);
    return NP_OK;
}

static int binary(binary_f32 *f32, binary_f64 *f64, uintptr_t out, uintptr_t x, uintptr_t y)
{
    array arrays[3];
    if (!read_alike(arrays, (uintptr_t[]){out, x, y}, 3))
        return NP_NOT_PLAIN;
    if (is_double(arrays))
        f64(arrays[0].at, arrays[1].at, arrays[2].at, arrays[0].size);
    else
        f32(arrays[0].at, arrays[1].at, arrays[2].at, arrays[0].size);
    return NP_OK;
}

int np_sigmoid(uintptr_t out, uintptr_t x) { return unary(zdl_sigmoid_f32, zdl_sigmoid_f64, out, x); }
int np_sigmoid_grad(uintptr_t out, uintptr_t x) { return unary(zdl_sigmoid_grad_f32, zdl_sigmoid_grad_f64, out, x); }
int np_relu(uintptr_t out, uintptr_t x) { return unary(zdl_relu_f32, zdl_relu_f64, out, x); }
int np_relu_grad(uintptr_t out, uintptr_t x) { return unary(zdl_relu_grad_f32, zdl_relu_grad_f64, out, x); }
int np_tanh(uintptr_t out, uintptr_t x) { return unary(zdl_tanh_f32, zdl_tanh_f64, out, x); }

int np_step(uintptr_t out, uintptr_t x)
{
    array y, source;
    if (!read_array(&y, out) || !read_reals(&source, &x, 1) || y.type != NPY_INT64 || !same_shape(&y, &source) ||
        !y.contiguous || !source.contiguous)
        return NP_NOT_PLAIN;
    BY_TYPE(&source, zdl_step, y.at, source.at, y.size);
    return NP_OK;
}

/* A bool for each element of a contiguous array. */
static bool read_mask(array *mask, uintptr_t object, const array *of)
{
    return read_array(mask, object) && mask->type == NPY_BOOL && mask->contiguous && same_shape(mask, of);
}

int np_relu_mask(uintptr_t out, uintptr_t mask, uintptr_t x)
{
    array v[2], m;
    if (!read_alike(v, (uintptr_t[]){out, x}, 2) || !read_mask(&m, mask, v))
        return NP_NOT_PLAIN;
    BY_TYPE(v, zdl_relu_mask, v[0].at, m.at, v[1].at, v->size);
    return NP_OK;
}

int np_relu_mask_backward(uintptr_t dout, uintptr_t mask)
{
    array v, m;
    if (!read_alike(&v, &dout, 1) || !v.writable || !read_mask(&m, mask, &v))
        return NP_NOT_PLAIN;
    BY_TYPE(&v, zdl_relu_mask_backward, v.at, m.at, v.size);
    return NP_OK;
}

int np_sigmoid_backward(uintptr_t dx, uintptr_t dout, uintptr_t y)
{
    return binary(zdl_sigmoid_backward_f32, zdl_sigmoid_backward_f64, dx, dout, y);
}

int np_relu_backward(uintptr_t dx, uintptr_t dout, uintptr_t y)
{
    return binary(zdl_relu_backward_f32, zdl_relu_backward_f64, dx, dout, y);
}

int np_tanh_backward(uintptr_t dx, uintptr_t dout, uintptr_t y)
{
    return binary(zdl_tanh_backward_f32, zdl_tanh_backward_f64, dx, dout, y);
}

/* ---- Softmax ---- */

/* An array as rows along its last axis. */
static ptrdiff_t row_length(const array *a) { return a->dims ? a->shape[a->dims - 1] : 1; }
static ptrdiff_t row_count(const array *a) { return a->size ? a->size / row_length(a) : 0; }

typedef void rows_f32(float *out, const float *x, ptrdiff_t rows, ptrdiff_t cols);
typedef void rows_f64(double *out, const double *x, ptrdiff_t rows, ptrdiff_t cols);

static int by_rows(rows_f32 *f32, rows_f64 *f64, uintptr_t out, uintptr_t x)
{
    array v[2];
    if (!read_alike(v, (uintptr_t[]){out, x}, 2))
        return NP_NOT_PLAIN;
    if (is_double(v))
        f64(v[0].at, v[1].at, row_count(v), row_length(v));
    else
        f32(v[0].at, v[1].at, row_count(v), row_length(v));
    return NP_OK;
}

int np_softmax(uintptr_t out, uintptr_t x) { return by_rows(zdl_softmax_f32, zdl_softmax_f64, out, x); }
int np_log_softmax(uintptr_t out, uintptr_t x) { return by_rows(zdl_log_softmax_f32, zdl_log_softmax_f64, out, x); }

int np_softmax_backward(uintptr_t dx, uintptr_t dout, uintptr_t y)
{
    array v[3];
    if (!read_alike(v, (uintptr_t[]){dx, dout, y}, 3))
        return NP_NOT_PLAIN;
    BY_TYPE(v, zdl_softmax_backward, v[0].at, v[1].at, v[2].at, row_count(v), row_length(v));
    return NP_OK;
}

/* ---- Losses ---- */

enum { FEW_LABELS = 256 }; /* more of them are worth an allocation */

/* A copy of an array of labels: another thread may change the array after its labels are checked. */
typedef struct {
    int64_t *at, few[FEW_LABELS];
} labels;

static void free_labels(labels *label)
{
    if (label->at != label->few)
        free(label->at);
}

static bool allocate_labels(labels *label, ptrdiff_t rows)
{
    label->at = rows > FEW_LABELS ? malloc((size_t)rows * sizeof *label->at) : label->few;
    return label->at;
}

/* label[rows] int64, each in [0, cols). Unless it is NP_OK, there is nothing to be freed. */
static int read_labels(labels *label, uintptr_t object, ptrdiff_t rows, ptrdiff_t cols)
{
    array source;
    if (!read_array(&source, object) || source.type != NPY_INT64 || !is_vector(&source, rows))
        return NP_NOT_PLAIN;
    if (!allocate_labels(label, rows))
        return NP_NO_MEMORY;
    memcpy(label->at, source.at, (size_t)rows * sizeof *label->at);
    for (ptrdiff_t i = 0; i < rows; i++)
        if (label->at[i] < 0 || label->at[i] >= cols) {
            free_labels(label);
            return NP_NOT_PLAIN;
        }
    return NP_OK;
}

/* The place of the largest of `cols` numbers, or the first nan, as in NumPy's argmax. */
static int64_t arg_max(const array *a, ptrdiff_t row, ptrdiff_t cols)
{
    double largest = 0;
    int64_t at = 0;
    for (ptrdiff_t j = 0; j < cols && !isnan(largest); j++) {
        double x = is_double(a) ? ((const double *)a->at)[row * cols + j] : ((const float *)a->at)[row * cols + j];
        if (j == 0 || x > largest || isnan(x)) {
            largest = x;
            at = j;
        }
    }
    return at;
}

/* read_labels, or the labels of (rows, cols) one-hot rows. */
static int read_classes(labels *label, uintptr_t object, ptrdiff_t rows, ptrdiff_t cols)
{
    array hot;
    if (!read_alike(&hot, &object, 1) || !is_matrix(&hot, rows, cols))
        return read_labels(label, object, rows, cols);
    if (!allocate_labels(label, rows))
        return NP_NO_MEMORY;
    for (ptrdiff_t i = 0; i < rows; i++)
        label->at[i] = arg_max(&hot, i, cols);
    return NP_OK;
}

static bool read_scalar(array *a, uintptr_t object) { return read_reals(a, &object, 1) && a->size == 1; }

static void store_scalar(const array *scalar, double value)
{
    if (is_double(scalar))
        *(double *)scalar->at = value;
    else
        *(float *)scalar->at = (float)value;
}

int np_cross_entropy(uintptr_t loss, uintptr_t y, uintptr_t t)
{
    array scalar, p;
    labels label;
    if (!read_scalar(&scalar, loss) || !read_alike(&p, &y, 1) || p.dims != 2 || !p.size)
        return NP_NOT_PLAIN;
    int status = read_classes(&label, t, p.rows, p.cols);
    if (status != NP_OK)
        return status;
    store_scalar(&scalar, BY_TYPE(&p, zdl_cross_entropy, p.at, label.at, p.rows, p.cols));
    free_labels(&label);
    return NP_OK;
}

int np_softmax_cross_entropy(uintptr_t loss, uintptr_t y, uintptr_t x, uintptr_t t)
{
    array scalar, v[2];
    labels label;
    if (!read_scalar(&scalar, loss) || !read_alike(v, (uintptr_t[]){y, x}, 2) || v->dims != 2 || !v->size)
        return NP_NOT_PLAIN;
    int status = read_classes(&label, t, v->rows, v->cols);
    if (status != NP_OK)
        return status;
    store_scalar(&scalar, BY_TYPE(v, zdl_softmax_cross_entropy, v[0].at, v[1].at, label.at, v->rows, v->cols));
    free_labels(&label);
    return NP_OK;
}

int np_softmax_cross_entropy_gradient(uintptr_t loss, uintptr_t dx, uintptr_t x, uintptr_t t)
{
    array scalar, v[2];
    labels label;
    double value;
    if (!read_scalar(&scalar, loss) || !read_alike(v, (uintptr_t[]){dx, x}, 2) || v->dims != 2 || v->cols < 2 ||
        !v->size)
        return NP_NOT_PLAIN;
    int status = read_labels(&label, t, v->rows, v->cols);
    if (status != NP_OK)
        return status;
    status =
        BY_TYPE(v, zdl_softmax_cross_entropy_gradient, &value, v[0].at, v[1].at, label.at, v->rows, v->cols);
    if (status == ZDL_OK)
        store_scalar(&scalar, value);
    free_labels(&label);
    return status;
}

int np_softmax_cross_entropy_backward(uintptr_t dx, uintptr_t y, uintptr_t t)
{
    array v[3];
    labels label;
    if (!read_alike(v, (uintptr_t[]){dx, y}, 2) || v->dims != 2 || !v->size)
        return NP_NOT_PLAIN;
    ptrdiff_t rows = v->rows, cols = v->cols;
    int status = cols > 1 ? read_labels(&label, t, rows, cols) : NP_NOT_PLAIN; /* of one class t may mean probabilities */
    if (status == NP_OK) {
        BY_TYPE(v, zdl_softmax_cross_entropy_backward, v[0].at, v[1].at, label.at, rows, cols);
        free_labels(&label);
    } else if (status == NP_NOT_PLAIN && read_array(v + 2, t) && v[2].type == v->type && v[2].contiguous &&
               same_shape(v + 2, v)) {
        status = NP_OK;
        BY_TYPE(v, zdl_softmax_cross_entropy_backward_dense, v[0].at, v[1].at, v[2].at, rows, cols);
    }
    return status;
}

int np_sum_of_squares(uintptr_t total, uintptr_t y, uintptr_t t)
{
    array scalar, v[2];
    if (!read_scalar(&scalar, total) || !read_alike(v, (uintptr_t[]){y, t}, 2))
        return NP_NOT_PLAIN;
    store_scalar(&scalar, BY_TYPE(v, zdl_sum_of_squares, v[0].at, v[1].at, v->size));
    return NP_OK;
}

/* ---- Matrix products ---- */

int np_matmul(uintptr_t out, uintptr_t a, uintptr_t b)
{
    array v[3], *y = v, *l = v + 1, *r = v + 2;
    if (!read_reals(v, (uintptr_t[]){out, a, b}, 3) || l->dims != 2 || r->dims != 2 || l->cols != r->rows ||
        !is_matrix(y, l->rows, r->cols) || !y->contiguous)
        return NP_NOT_PLAIN;
    return BY_TYPE(y, zdl_matmul, y->at, y->cols, l->at, l->row, l->col, r->at, r->row, r->col, y->rows, l->cols,
                   y->cols);
}

int np_matmul_stack(uintptr_t out, uintptr_t a, uintptr_t a_offset, uintptr_t b, uintptr_t b_offset)
{
    array v[3], *y = v, *l = v + 1, *r = v + 2, p, q;
    if (!read_reals(v, (uintptr_t[]){out, a, b}, 3) || l->dims < 2 || r->dims < 2 || y->dims < 3 ||
        l->cols != r->rows || y->rows != l->rows || y->cols != r->cols || !y->contiguous ||
        !read_array(&p, a_offset) || !read_array(&q, b_offset) || p.type != NPY_INT64 || q.type != NPY_INT64 ||
        !p.contiguous || !q.contiguous || p.size != q.size || p.size * y->rows * y->cols != y->size)
        return NP_NOT_PLAIN;
    return BY_TYPE(y, zdl_matmul_stack, y->at, l->at, p.at, l->row, l->col, r->at, q.at, r->row, r->col, p.size,
                   y->rows, l->cols, y->cols);
}

int np_affine(uintptr_t out, uintptr_t x, uintptr_t w, uintptr_t b)
{
    array v[4], *y = v, *l = v + 1, *r = v + 2, *bias = v + 3;
    if (!read_reals(v, (uintptr_t[]){out, x, w, b}, 4) || l->dims != 2 || r->dims != 2 || l->cols != r->rows ||
        !is_matrix(y, l->rows, r->cols) || !y->contiguous || !is_vector(bias, y->cols))
        return NP_NOT_PLAIN;
    return BY_TYPE(y, zdl_affine, y->at, l->at, l->row, l->col, r->at, r->row, r->col, bias->at, y->rows, l->cols,
                   y->cols, ZDL_IDENTITY);
}

int np_affine_backward(uintptr_t dx, uintptr_t dw, uintptr_t db, uintptr_t dout, uintptr_t x, uintptr_t w)
{
    array v[6], *out = v + 3, *in = v + 4, *weight = v + 5;
    if (!read_reals(v, (uintptr_t[]){dx ? dx : x, dw, db, dout, x, w}, 6) || in->dims != 2 || weight->dims != 2 ||
        !is_matrix(out, in->rows, weight->cols) || in->cols != weight->rows || !out->contiguous ||
        !is_matrix(v, in->rows, in->cols) || !is_matrix(v + 1, weight->rows, weight->cols) ||
        (dx && !v[0].contiguous) || !v[1].contiguous || !is_vector(v + 2, weight->cols))
        return NP_NOT_PLAIN;
    if (!dx)
        v[0].at = NULL;
    return BY_TYPE(v, zdl_affine_backward, v[0].at, v[1].at, v[2].at, out->at, in->at, in->row, in->col, weight->at,
                   weight->row, weight->col, in->rows, in->cols, weight->cols);
}

/* ---- Images ---- */

/* Windows of images x, and whether there is a place for one. */
static bool read_windows(struct zdl_windows *w, const array *x, ptrdiff_t filter_h, ptrdiff_t filter_w,
                         ptrdiff_t stride, ptrdiff_t pad)
{
    if (x->dims != 4 || !x->contiguous || filter_h < 1 || filter_w < 1 || stride < 1 || pad < 0 || pad > PTRDIFF_MAX / 8)
        return false;
    ptrdiff_t no_second = x->shape[2] + x->shape[3] + 2 * pad + 1; /* place is that far from the first */
    stride = stride < no_second ? stride : no_second;
    *w = (struct zdl_windows){x->shape[0], x->shape[1], x->shape[2], x->shape[3], filter_h, filter_w, stride, pad};
    return w->height + 2 * pad >= filter_h && w->width + 2 * pad >= filter_w;
}

/* out_h, out_w */



/* Whether a is contiguous images (batch, channels, out_h, out_w) for these windows. */
static bool is_output(const array *a, const struct zdl_windows *w, ptrdiff_t channels)
{
    return a->dims == 4 && a->contiguous && a->shape[0] == w->batch && a->shape[1] == channels &&
           a->shape[2] == out_height(w) && a->shape[3] == out_width(w);
}

static bool is_indices(array *a, uintptr_t object, const array *of)
{
    return read_array(a, object) && a->type == NPY_INT64 && a->contiguous && same_shape(a, of);
}

int np_convolution(uintptr_t out, uintptr_t x, uintptr_t w, uintptr_t b, ptrdiff_t stride, ptrdiff_t pad)
{
    array v[4], *y = v, *in = v + 1, *weight = v + 2;
    struct zdl_windows windows;
    if (!read_reals(v, (uintptr_t[]){out, x, w, b}, 4) || weight->dims != 4 || !weight->contiguous ||
        !read_windows(&windows, in, weight->shape[2], weight->shape[3], stride, pad) ||
        weight->shape[1] != windows.channels || !is_output(y, &windows, weight->shape[0]) ||
        !is_vector(v + 3, weight->shape[0]))
        return NP_NOT_PLAIN;
    return BY_TYPE(y, zdl_convolution, y->at, in->at, weight->at, v[3].at, weight->shape[0], &windows);
}

int np_convolution_backward(uintptr_t dx, uintptr_t dw, uintptr_t db, uintptr_t dout, uintptr_t x, uintptr_t w,
                            ptrdiff_t stride, ptrdiff_t pad)
{
    array v[6], *dy = v + 3, *in = v + 4, *weight = v + 5;
    struct zdl_windows windows;
    if (!read_reals(v, (uintptr_t[]){dx, dw, db, dout, x, w}, 6) || weight->dims != 4 || !weight->contiguous ||
        !read_windows(&windows, in, weight->shape[2], weight->shape[3], stride, pad) ||
        weight->shape[1] != windows.channels || !is_output(dy, &windows, weight->shape[0]) ||
        !same_shape(v, in) || !v[0].contiguous || !same_shape(v + 1, weight) || !v[1].contiguous ||
        !is_vector(v + 2, weight->shape[0]))
        return NP_NOT_PLAIN;
    ptrdiff_t filters = weight->shape[0];
    return BY_TYPE(v, zdl_convolution_backward, v[0].at, v[1].at, v[2].at, dy->at, in->at, weight->at, filters,
                   &windows);
}

int np_pooling(uintptr_t out, uintptr_t arg_max, uintptr_t x, ptrdiff_t pool_h, ptrdiff_t pool_w, ptrdiff_t stride,
               ptrdiff_t pad)
{
    array v[2], indices;
    struct zdl_windows windows;
    if (!read_reals(v, (uintptr_t[]){out, x}, 2) || !read_windows(&windows, v + 1, pool_h, pool_w, stride, pad) ||
        !is_output(v, &windows, windows.channels) || !is_indices(&indices, arg_max, v))
        return NP_NOT_PLAIN;
    BY_TYPE(v, zdl_pooling, v[0].at, indices.at, v[1].at, &windows);
    return NP_OK;
}

int np_pooling_backward(uintptr_t dx, uintptr_t dout, uintptr_t arg_max, ptrdiff_t pool_h, ptrdiff_t pool_w,
                        ptrdiff_t stride, ptrdiff_t pad)
{
    array v[2], indices;
    struct zdl_windows windows;
    if (!read_reals(v, (uintptr_t[]){dx, dout}, 2) || !read_windows(&windows, v, pool_h, pool_w, stride, pad) ||
        !is_output(v + 1, &windows, windows.channels) || !is_indices(&indices, arg_max, v + 1))
        return NP_NOT_PLAIN;
    return BY_TYPE(v, zdl_pooling_backward, v[0].at, v[1].at, indices.at, &windows);
}

/* Whether col, contiguous, has a row for each window of the images. */
static bool are_columns(array *v, uintptr_t images, uintptr_t col, struct zdl_windows *w, ptrdiff_t filter_h,
                        ptrdiff_t filter_w, ptrdiff_t stride, ptrdiff_t pad)
{
    if (!read_reals(v, (uintptr_t[]){images, col}, 2) || !read_windows(w, v, filter_h, filter_w, stride, pad))
        return false;
    ptrdiff_t places = w->batch * out_height(w) * out_width(w);
    return v[1].contiguous && is_matrix(v + 1, places, w->channels * filter_h * filter_w);
}

int np_im2col(uintptr_t col, uintptr_t x, ptrdiff_t filter_h, ptrdiff_t filter_w, ptrdiff_t stride, ptrdiff_t pad)
{
    array v[2];
    struct zdl_windows windows;
    if (!are_columns(v, x, col, &windows, filter_h, filter_w, stride, pad))
        return NP_NOT_PLAIN;
    BY_TYPE(v, zdl_im2col, v[1].at, v[0].at, &windows);
    return NP_OK;
}

int np_col2im(uintptr_t dx, uintptr_t col, ptrdiff_t filter_h, ptrdiff_t filter_w, ptrdiff_t stride, ptrdiff_t pad)
{
    array v[2];
    struct zdl_windows windows;
    if (!are_columns(v, dx, col, &windows, filter_h, filter_w, stride, pad))
        return NP_NOT_PLAIN;
    BY_TYPE(v, zdl_col2im, v[0].at, v[1].at, &windows);
    return NP_OK;
}

/* ---- Batch normalization ---- */

/* Arrays of one type: `batches` of as many rows as the first has, each of as many numbers, then vectors of that many. */
static bool read_batches(array *arrays, const uintptr_t *objects, int batches, int count)
{
    if (!read_reals(arrays, objects, count) || arrays->size == 0 || arrays->dims == 0)
        return false;
    for (int i = 0; i < batches; i++)
        if (!arrays[i].contiguous || arrays[i].size != arrays->size || arrays[i].dims == 0 ||
            arrays[i].shape[0] != arrays->shape[0])
            return false;
    for (int i = batches; i < count; i++)
        if (!is_vector(&arrays[i], arrays->size / arrays->shape[0]))
            return false;
    return true;
}

int np_batch_norm(uintptr_t out, uintptr_t xn, uintptr_t mean, uintptr_t variance, uintptr_t std, uintptr_t x,
                  uintptr_t gamma, uintptr_t beta)
{
    array v[8];
    if (!read_batches(v, (uintptr_t[]){out, xn, x, mean, variance, std, gamma, beta}, 3, 8))
        return NP_NOT_PLAIN;
    ptrdiff_t rows = v->shape[0], cols = v->size / rows;
    BY_TYPE(v, zdl_batch_norm, v[0].at, v[1].at, v[3].at, v[4].at, v[5].at, v[2].at, v[6].at, v[7].at, rows, cols);
    return NP_OK;
}

int np_batch_norm_backward(uintptr_t dx, uintptr_t dgamma, uintptr_t dbeta, uintptr_t dout, uintptr_t xn,
                           uintptr_t gamma, uintptr_t std)
{
    array v[7];
    if (!read_batches(v, (uintptr_t[]){dx, dout, xn, dgamma, dbeta, gamma, std}, 3, 7))
        return NP_NOT_PLAIN;
    ptrdiff_t rows = v->shape[0], cols = v->size / rows;
    BY_TYPE(v, zdl_batch_norm_backward, v[0].at, v[3].at, v[4].at, v[1].at, v[2].at, v[5].at, v[6].at, rows, cols);
    return NP_OK;
}

/* ---- Networks ---- */

typedef union {
    float *f32;
    double *f64;
} pointer;

static pointer pointer_to(const array *a)
{
    return is_double(a) ? (pointer){.f64 = a->at} : (pointer){.f32 = a->at};
}

enum { FEW_LAYERS = 8 }; /* more of them are worth an allocation */

/* A net, its input, and where the arrays of each layer lie: [depth]; the widths are [depth + 1]. */
typedef struct {
    int depth;
    bool keeps_a;
    array x;
    pointer *w, *b, *a, *z, *dw, *db;
    ptrdiff_t *width;
    void *block; /* of all these, or NULL where they are few */
    pointer few[6 * FEW_LAYERS];
    ptrdiff_t few_widths[FEW_LAYERS + 1];
} net_arrays;

static bool allocate_layers(net_arrays *net, int depth)
{
    size_t most = (size_t)depth;
    net->depth = depth;
    net->w = net->few;
    net->width = net->few_widths;
    if (depth > FEW_LAYERS) {
        net->w = net->block = malloc(6 * most * sizeof(pointer) + (most + 1) * sizeof(ptrdiff_t));
        net->width = (ptrdiff_t *)(net->w + 6 * most);
    }
    net->b = net->w + most;
    net->a = net->b + most;
    net->z = net->a + most;
    net->dw = net->z + most;
    net->db = net->dw + most;
    return net->w != NULL;
}

/* For each layer a (width[l], width[l + 1]) and a (width[l + 1],) array: the parameters, or their gradients. */
static bool read_layers(const net_arrays *net, pointer *w, pointer *b, const uintptr_t *objects)
{
    for (int l = 0; l < net->depth; l++) {
        array v[2];
        if (!read_reals(v, objects + 2 * l, 2) || v->type != net->x.type ||
            !is_matrix(v, net->width[l], net->width[l + 1]) || !v->contiguous || !is_vector(v + 1, v->cols))
            return false;
        w[l] = pointer_to(v);
        b[l] = pointer_to(v + 1);
    }
    return true;
}

/* Whatever it returns, net->block is to be freed. */
static int read_net(net_arrays *net, uintptr_t x, const uintptr_t *params, int depth)
{
    net->block = NULL;
    if (depth < 1 || !read_reals(&net->x, &x, 1) || net->x.dims != 2)
        return NP_NOT_PLAIN;
    if (!allocate_layers(net, depth))
        return NP_NO_MEMORY;
    net->width[0] = net->x.cols;
    for (int l = 0; l < depth; l++) {
        array b;
        if (!read_array(&b, params[2 * l + 1]))
            return NP_NOT_PLAIN;
        net->width[l + 1] = b.size;
    }
    return read_layers(net, net->w, net->b, params) ? NP_OK : NP_NOT_PLAIN;
}

/* For each layer its a, if the sums are kept, and its z, (batch, width[l + 1]). */
static bool read_kept(net_arrays *net, const uintptr_t *kept, bool sums)
{
    int of_layer = sums ? 2 : 1;
    net->keeps_a = sums;
    for (int l = 0; l < net->depth; l++, kept += of_layer) {
        array v[2];
        if (!read_alike(v, kept, of_layer) || v->type != net->x.type ||
            !is_matrix(v, net->x.rows, net->width[l + 1]))
            return false;
        net->a[l] = pointer_to(v);
        net->z[l] = pointer_to(v + of_layer - 1);
    }
    return true;
}

static struct zdl_network_f32 network_f32(const net_arrays *net, enum zdl_activation hidden)
{
    return (struct zdl_network_f32){net->depth, hidden, net->width, (const float *const *)&net->w->f32,
                                    (const float *const *)&net->b->f32};
}

static struct zdl_network_f64 network_f64(const net_arrays *net, enum zdl_activation hidden)
{
    return (struct zdl_network_f64){net->depth, hidden, net->width, (const double *const *)&net->w->f64,
                                    (const double *const *)&net->b->f64};
}

static int predict(const net_arrays *net, uintptr_t y, enum zdl_activation hidden)
{
    const array *in = &net->x;
    array out;
    if (!read_array(&out, y) || out.type != in->type || !is_matrix(&out, in->rows, net->width[net->depth]) ||
        !out.contiguous)
        return NP_NOT_PLAIN;
    if (is_double(in)) {
        struct zdl_network_f64 f64 = network_f64(net, hidden);
        return zdl_network_predict_f64(out.at, in->at, in->row, in->col, in->rows, &f64);
    }
    struct zdl_network_f32 f32 = network_f32(net, hidden);
    return zdl_network_predict_f32(out.at, in->at, in->row, in->col, in->rows, &f32);
}

int np_network_predict(uintptr_t y, uintptr_t x, const uintptr_t *params, int depth, enum zdl_activation hidden)
{
    net_arrays net;
    int status = read_net(&net, x, params, depth);
    if (status == NP_OK)
        status = predict(&net, y, hidden);
    free(net.block);
    return status;
}

static int forward(net_arrays *net, const uintptr_t *kept, enum zdl_activation hidden)
{
    const array *in = &net->x;
    if (!read_kept(net, kept, true))
        return NP_NOT_PLAIN;
    if (is_double(in)) {
        struct zdl_network_f64 f64 = network_f64(net, hidden);
        return zdl_network_forward_f64(&net->a->f64, &net->z->f64, in->at, in->row, in->col, in->rows, &f64);
    }
    struct zdl_network_f32 f32 = network_f32(net, hidden);
    return zdl_network_forward_f32(&net->a->f32, &net->z->f32, in->at, in->row, in->col, in->rows, &f32);
}

int np_network_forward(const uintptr_t *kept, uintptr_t x, const uintptr_t *params, int depth,
                       enum zdl_activation hidden)
{
    net_arrays net;
    int status = read_net(&net, x, params, depth);
    if (status == NP_OK)
        status = forward(&net, kept, hidden);
    free(net.block);
    return status;
}

/* What a net is to give: labels, or numbers for each output. */
typedef struct {
    array dense;
    labels label;
    bool labelled;
} net_targets;

/* Unless it is NP_OK, there is nothing to be freed. */
static int read_targets(net_targets *targets, uintptr_t t, const net_arrays *net, bool may_be_labels)
{
    ptrdiff_t rows = net->x.rows, outputs = net->width[net->depth];
    int status = may_be_labels ? read_labels(&targets->label, t, rows, outputs) : NP_NOT_PLAIN;
    targets->labelled = status == NP_OK;
    targets->dense.at = NULL;
    if (status != NP_NOT_PLAIN)
        return status;
    bool dense = read_array(&targets->dense, t) && targets->dense.type == net->x.type && targets->dense.contiguous &&
                 is_matrix(&targets->dense, rows, outputs);
    return dense ? NP_OK : NP_NOT_PLAIN;
}

static int gradient(net_arrays *net, const uintptr_t *grads, const uintptr_t *kept, bool sums, uintptr_t t,
                    enum zdl_activation hidden)
{
    const array *in = &net->x;
    net_targets targets;
    if (!read_kept(net, kept, sums) || !read_layers(net, net->dw, net->db, grads) || !in->rows)
        return NP_NOT_PLAIN;
    int status = read_targets(&targets, t, net, net->width[net->depth] > 1); /* of one output t may mean probabilities */
    if (status != NP_OK)
        return status;
    const int64_t *label = targets.labelled ? targets.label.at : NULL;
    if (is_double(in)) {
        struct zdl_network_f64 f64 = network_f64(net, hidden);
        status = zdl_network_gradient_f64(&net->dw->f64, &net->db->f64, net->keeps_a ? &net->a->f64 : NULL,
                                          &net->z->f64, in->at, in->row, in->col, label, targets.dense.at, in->rows,
                                          &f64);
    } else {
        struct zdl_network_f32 f32 = network_f32(net, hidden);
        status = zdl_network_gradient_f32(&net->dw->f32, &net->db->f32, net->keeps_a ? &net->a->f32 : NULL,
                                          &net->z->f32, in->at, in->row, in->col, label, targets.dense.at, in->rows,
                                          &f32);
    }
    if (label)
        free_labels(&targets.label);
    return status;
}

int np_network_gradient(const uintptr_t *grads, const uintptr_t *kept, int sums, uintptr_t x, uintptr_t t,
                        const uintptr_t *params, int depth, enum zdl_activation hidden)
{
    net_arrays net;
    int status = read_net(&net, x, params, depth);
    if (status == NP_OK)
        status = gradient(&net, grads, kept, sums, t, hidden);
    free(net.block);
    return status;
}

int np_network_numerical_gradient(const uintptr_t *grads, uintptr_t x, uintptr_t t, const uintptr_t *params, int depth,
                                  enum zdl_activation hidden, double decay, double h, ptrdiff_t begin, ptrdiff_t end)
{
    net_arrays net;
    net_targets targets;
    const array *in = &net.x;
    int status = read_net(&net, x, params, depth);
    if (status == NP_OK && (!read_layers(&net, net.dw, net.db, grads) || !is_double(in) || !in->rows))
        status = NP_NOT_PLAIN;
    if (status == NP_OK)
        status = read_targets(&targets, t, &net, true);
    if (status == NP_OK) {
        struct zdl_network_f64 f64 = network_f64(&net, hidden);
        const int64_t *label = targets.labelled ? targets.label.at : NULL;
        status = zdl_network_numerical_gradient(&net.dw->f64, &net.db->f64, in->at, in->row, in->col, label,
                                                targets.dense.at, in->rows, decay, h, begin, end, &f64);
        if (label)
            free_labels(&targets.label);
    }
    free(net.block);
    return status;
}

/* ---- Optimizers ---- */

/* Alike; all but the last are written, and lie apart from each other and from it. */
static bool read_step(array *arrays, const uintptr_t *objects, int count)
{
    if (!read_alike(arrays, objects, count))
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

int np_sgd(uintptr_t param, uintptr_t grad, double lr)
{
    array v[2];
    if (!read_step(v, (uintptr_t[]){param, grad}, 2))
        return NP_NOT_PLAIN;
    BY_TYPE(v, zdl_sgd, v[0].at, v[1].at, lr, v->size);
    return NP_OK;
}

typedef void one_rate_f32(float *param, float *state, const float *grad, double lr, double rate, ptrdiff_t n);
typedef void one_rate_f64(double *param, double *state, const double *grad, double lr, double rate, ptrdiff_t n);

/* Of param, one state and grad, with one rate besides lr. */
static int one_rate(one_rate_f32 *f32, one_rate_f64 *f64, const uintptr_t *objects, double lr, double rate)
{
    array v[3];
    if (!read_step(v, objects, 3))
        return NP_NOT_PLAIN;
    if (is_double(v))
        f64(v[0].at, v[1].at, v[2].at, lr, rate, v->size);
    else
        f32(v[0].at, v[1].at, v[2].at, lr, rate, v->size);
    return NP_OK;
}

int np_momentum(uintptr_t param, uintptr_t v, uintptr_t grad, double lr, double momentum)
{
    return one_rate(zdl_momentum_f32, zdl_momentum_f64, (uintptr_t[]){param, v, grad}, lr, momentum);
}

int np_nesterov(uintptr_t param, uintptr_t v, uintptr_t grad, double lr, double momentum)
{
    return one_rate(zdl_nesterov_f32, zdl_nesterov_f64, (uintptr_t[]){param, v, grad}, lr, momentum);
}

int np_rmsprop(uintptr_t param, uintptr_t h, uintptr_t grad, double lr, double decay_rate)
{
    return one_rate(zdl_rmsprop_f32, zdl_rmsprop_f64, (uintptr_t[]){param, h, grad}, lr, decay_rate);
}

int np_adagrad(uintptr_t param, uintptr_t h, uintptr_t grad, double lr)
{
    array v[3];
    if (!read_step(v, (uintptr_t[]){param, h, grad}, 3))
        return NP_NOT_PLAIN;
    BY_TYPE(v, zdl_adagrad, v[0].at, v[1].at, v[2].at, lr, v->size);
    return NP_OK;
}

int np_adam(uintptr_t param, uintptr_t m, uintptr_t v, uintptr_t grad, double lr, double beta1, double beta2)
{
    array a[4];
    if (!read_step(a, (uintptr_t[]){param, m, v, grad}, 4))
        return NP_NOT_PLAIN;
    BY_TYPE(a, zdl_adam, a[0].at, a[1].at, a[2].at, a[3].at, lr, beta1, beta2, a->size);
    return NP_OK;
}
