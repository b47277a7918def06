/* NumPy's arrays as C reads them: what operations.c and nets.c share. */
#ifndef ZERODL_READ_H
#define ZERODL_READ_H

#include "arrays.h"

#ifndef _MSC_VER /* with MSVC, setuptools defines Py_GIL_DISABLED, and pyconfig.h must see Py_LIMITED_API */
#include <pyconfig.h>
#endif
#if !defined Py_GIL_DISABLED && !defined Py_DEBUG
#define Py_LIMITED_API 0x030a0000 /* as cffi compiles the rest of the extension */
#endif
#include <Python.h>

#include <numpy/ndarraytypes.h>
#include <stdbool.h>
#include <string.h>

enum { MAX_DIMS = 64 }; /* NumPy's limit; 32 before NumPy 2 */

/* What an array's object says, read once: the GIL is not held here, and another thread may change the array meanwhile.
   Rows and columns are the last two dimensions, if there are two; their strides are in elements. */
typedef struct {
    void *data;
    int type, dims; /* NPY_FLOAT or NPY_DOUBLE; NPY_INT64, NPY_INT or NPY_UBYTE; or NPY_BOOL */
    ptrdiff_t size, rows, cols, row_stride, col_stride;
    bool contiguous, writable;
    npy_intp shape[MAX_DIMS];
} array;

/* False if the object is not an array, or if C cannot read it in place. */
bool read_array(array *a, uintptr_t object);
/* Arrays of one type, float32 or float64. */
bool read_reals(array *arrays, const uintptr_t *objects, int count);
/* Contiguous arrays of one type, float32 or float64, and one shape. */
bool read_one_shape(array *arrays, const uintptr_t *objects, int count);

/* OPERANDS(op, out, x) declares the arrays op.out and op.x for parameters out and x, which are addresses of objects.
   The arrays are also op.all[0] and op.all[1]. READ(reals, op) reads both with read_reals. */
#define OPERANDS(op, ...)                                                                                              \
    const uintptr_t op##_objects[] = {__VA_ARGS__};                                                                    \
    union {                                                                                                            \
        struct {                                                                                                       \
            array __VA_ARGS__;                                                                                         \
        };                                                                                                             \
        array all[sizeof op##_objects / sizeof *op##_objects];                                                         \
    } op
#define READ(kind, op) read_##kind(op.all, op##_objects, (int)(sizeof op.all / sizeof *op.all))

static inline bool is_double(const array *a) { return a->type == NPY_DOUBLE; }

/* Calls f_f64 or f_f32, by the type of an array. */
#define BY_TYPE(a, f, ...) (is_double(a) ? f##_f64(__VA_ARGS__) : f##_f32(__VA_ARGS__))
/* The same for functions that cannot fail and return nothing. The value is NP_OK. */
#define CALL(a, f, ...) (BY_TYPE(a, f, __VA_ARGS__), NP_OK)

/* A matrix as C's functions take it. */
#define STRIDED(a) (a).data, (a).row_stride, (a).col_stride

static inline bool same_shape(const array *a, const array *b)
{
    return a->dims == b->dims && memcmp(a->shape, b->shape, (size_t)a->dims * sizeof(npy_intp)) == 0;
}

/* Whether an array is contiguous and of this shape. */
static inline bool is_vector(const array *a, ptrdiff_t n) { return a->dims == 1 && a->size == n && a->contiguous; }
static inline bool is_matrix(const array *a, ptrdiff_t rows, ptrdiff_t cols)
{
    return a->dims == 2 && a->rows == rows && a->cols == cols && a->contiguous;
}

enum { FEW_LABELS = 256 }; /* so many lie on the stack: an allocation would cost more than the copy */

/* A copy of an array of labels: another thread may change the array after its labels are checked. */
typedef struct {
    int64_t *data, few[FEW_LABELS];
} labels;

bool allocate_labels(labels *label, ptrdiff_t rows);
void free_labels(labels *label);
/* Copies label[rows], integers, each in [0, cols). free_labels is needed only after NP_OK. */
int read_labels(labels *label, uintptr_t object, ptrdiff_t rows, ptrdiff_t cols);

#endif
