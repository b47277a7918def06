/* Central differences of a C function. */

#include <stdlib.h>
#include <string.h>

#include "parallel.h"
#include "zerodl.h"

struct differences {
    double *grad;
    double (*f)(const double *x, ptrdiff_t n, void *data);
    const double *x;
    ptrdiff_t n;
    double h;
    void *data;
    int failed;
};

static void differences_range(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct differences *t = task;
    double *x = malloc((size_t)t->n * sizeof *x);
    if (!x) {
        t->failed = 1;
        return;
    }
    memcpy(x, t->x, (size_t)t->n * sizeof *x);
    for (ptrdiff_t i = begin; i < end; i++) {
        x[i] = t->x[i] + t->h;
        double above = t->f(x, t->n, t->data);
        x[i] = t->x[i] - t->h;
        double below = t->f(x, t->n, t->data);
        x[i] = t->x[i];
        t->grad[i] = (above - below) / (2 * t->h);
    }
    free(x);
}

int zdl_numerical_gradient(double *grad, double (*f)(const double *x, ptrdiff_t n, void *data), const double *x,
                           ptrdiff_t n, double h, void *data)
{
    struct differences task = {grad, f, x, n, h, data, 0};
    /* What a call of f costs is unknown; it reads x at least. */
    zdl_parallel_for(n, zdl_threads_for((double)n * (double)n, 32768), differences_range, &task);
    return task.failed ? ZDL_NO_MEMORY : ZDL_OK;
}
