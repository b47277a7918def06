/* Central differences of a C function: grad[i] = (f(x + h e_i) - f(x - h e_i)) / 2h, where e_i is the i-th unit
   vector. */

#include <stdlib.h>
#include <string.h>

#include "internal/parallel.h"
#include "zerodl.h"

static const double GRAIN = 4096; /* a piece takes this many nanoseconds or more, if `cost` is right */

struct evaluations {
    double *values;
    double (*f)(const double *x, ptrdiff_t n, void *data);
    const double *x;
    ptrdiff_t n;
    const double *points;
    ptrdiff_t begin, per_entry;
    void *data;
    atomic_int failed;
};

static void evaluate_range(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct evaluations *t = task;
    double *x = malloc((size_t)t->n * sizeof *x);
    if (!x) {
        t->failed = 1;
        return;
    }
    memcpy(x, t->x, (size_t)t->n * sizeof *x);
    for (ptrdiff_t k = t->begin + begin; k < t->begin + end; k++) {
        ptrdiff_t i = k / t->per_entry;
        x[i] = t->points[k];
        t->values[k] = t->f(x, t->n, t->data);
        x[i] = t->x[i];
    }
    free(x);
}

int zdl_evaluate(double *values, double (*f)(const double *x, ptrdiff_t n, void *data), const double *x, ptrdiff_t n,
                 const double *points, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t per_entry, double cost, void *data)
{
    struct evaluations task = {values, f, x, n, points, begin, per_entry, data, 0};
    zdl_parallel_for(end - begin, zdl_split_of((double)(end - begin) * cost, GRAIN), evaluate_range, &task);
    return task.failed ? ZDL_NO_MEMORY : ZDL_OK;
}

int zdl_numerical_gradient(double *grad, double (*f)(const double *x, ptrdiff_t n, void *data), const double *x,
                           ptrdiff_t n, double h, void *data)
{
    if (n == 0)
        return ZDL_OK;
    double *points = calloc((size_t)n, 4 * sizeof *points);
    if (!points)
        return ZDL_NO_MEMORY;
    double *values = points + 2 * n;
    for (ptrdiff_t i = 0; i < n; i++) {
        points[2 * i] = x[i] + h;
        points[2 * i + 1] = x[i] - h;
    }
    /* The cost of a call of f is unknown. f should at least read x, at about 2 numbers in a nanosecond. */
    int status = zdl_evaluate(values, f, x, n, points, 0, 2 * n, 2, (double)n / 2, data);
    for (ptrdiff_t i = 0; i < n && status == ZDL_OK; i++)
        grad[i] = (values[2 * i] - values[2 * i + 1]) / (2 * h);
    free(points);
    return status;
}
