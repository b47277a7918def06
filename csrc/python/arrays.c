/* Reading NumPy's arrays: what their objects say is read once, and checked here. */
#include "read.h"

#include <stdlib.h>

static PyTypeObject *array_type;

void np_set_array_type(uintptr_t type) { array_type = (PyTypeObject *)type; }

/* The bytes of an element, or 0 for types that C does not read. */
static ptrdiff_t size_of(int type)
{
    switch (type) {
    case NPY_BOOL:
    case NPY_UBYTE: return 1;
    case NPY_FLOAT:
    case NPY_INT: return 4;
    case NPY_DOUBLE:
    case NPY_INT64: return 8;
    }
    return 0;
}

/* Read rows, columns and their strides. False if a stride is no multiple of the element's size. */
static bool read_matrix(array *a, const npy_intp *strides)
{
    ptrdiff_t itemsize = size_of(a->type);
    npy_intp row = strides[a->dims - 2], col = strides[a->dims - 1];
    a->rows = a->shape[a->dims - 2];
    a->cols = a->shape[a->dims - 1];
    /* NumPy promises nothing about a stride that is never used. */
    if (a->rows < 2 || a->size == 0)
        row = a->cols * itemsize;
    if (a->cols < 2 || a->size == 0)
        col = itemsize;
    a->row_stride = row / itemsize;
    a->col_stride = col / itemsize;
    return row % itemsize == 0 && col % itemsize == 0;
}

bool read_array(array *a, uintptr_t object)
{
    PyArrayObject *source = (PyArrayObject *)object;
    if (Py_TYPE((PyObject *)object) != array_type)
        return false;
    const PyArray_Descr *dtype = PyArray_DESCR(source);
    const npy_intp *shape = PyArray_DIMS(source);
    int flags = PyArray_FLAGS(source), type = dtype->type_num, dims = PyArray_NDIM(source);
    if (!size_of(type) || !(flags & NPY_ARRAY_ALIGNED) || !PyArray_ISNBO(dtype->byteorder) || dims > MAX_DIMS)
        return false;
    a->data = PyArray_DATA(source);
    a->type = type;
    a->dims = dims;
    a->contiguous = (flags & NPY_ARRAY_C_CONTIGUOUS) != 0;
    a->writable = (flags & NPY_ARRAY_WRITEABLE) != 0;
    a->size = 1;
    for (int i = 0; i < dims; i++)
        a->size *= a->shape[i] = shape[i];
    bool fits = dims < 2 || read_matrix(a, PyArray_STRIDES(source));
    /* If another thread has assigned to shape or dtype, the old one is freed, and what was read may be anything. */
    PyArrayObject *volatile again = source;
    return fits && PyArray_DIMS(again) == shape && PyArray_DESCR(again) == dtype;
}

bool read_reals(array *arrays, const uintptr_t *objects, int count)
{
    for (int i = 0; i < count; i++)
        if (!read_array(&arrays[i], objects[i]) || arrays[i].type != arrays[0].type)
            return false;
    return arrays[0].type == NPY_FLOAT || arrays[0].type == NPY_DOUBLE;
}

bool read_one_shape(array *arrays, const uintptr_t *objects, int count)
{
    if (!read_reals(arrays, objects, count))
        return false;
    for (int i = 0; i < count; i++)
        if (!arrays[i].contiguous || !same_shape(&arrays[i], &arrays[0]))
            return false;
    return true;
}

bool allocate_labels(labels *label, ptrdiff_t rows)
{
    label->data = rows > FEW_LABELS ? malloc((size_t)rows * sizeof *label->data) : label->few;
    return label->data;
}

void free_labels(labels *label)
{
    if (label->data != label->few)
        free(label->data);
}

/* Label i of an array of integers. Images of digits come with labels of 8 bits. */
static int64_t label_at(const array *source, ptrdiff_t i)
{
    switch (source->type) {
    case NPY_UBYTE: return ((const uint8_t *)source->data)[i];
    case NPY_INT: return ((const int32_t *)source->data)[i];
    }
    return ((const int64_t *)source->data)[i];
}

int read_labels(labels *label, uintptr_t object, ptrdiff_t rows, ptrdiff_t cols)
{
    array source;
    if (!read_array(&source, object) || !is_vector(&source, rows) ||
        (source.type != NPY_INT64 && source.type != NPY_INT && source.type != NPY_UBYTE))
        return NP_NOT_PLAIN;
    if (!allocate_labels(label, rows))
        return NP_NO_MEMORY;
    for (ptrdiff_t i = 0; i < rows; i++) {
        label->data[i] = label_at(&source, i);
        if (label->data[i] < 0 || label->data[i] >= cols) {
            free_labels(label);
            return NP_NOT_PLAIN;
        }
    }
    return NP_OK;
}
