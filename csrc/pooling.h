/* The largest pixel of each window of images [batch, channels, height, width]. */

static void pool_range(void *task, ptrdiff_t begin, ptrdiff_t end) { kernels()->pool(task, begin, end); }

static void pool_backward_range(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    pooling *t = task;
    if (!kernels()->pool_backward(t, begin, end))
        t->outside = 1; /* all threads write the same value */
}

static void by_images(range_function *f, void *task, const windows *w)
{
    double seen = (double)w->batch * (double)weights_of(w) * (double)out_height(w) * (double)out_width(w);
    if (seen > 0) /* else there may be many places all the same, and nothing at any */
        zdl_parallel_for(w->batch, zdl_split_of(seen, GRAIN_ARITHMETIC), f, task);
}

void ZDL(pooling)(real *out, int64_t *arg_max, const real *x, const windows *w)
{
    pooling task = {w, out_height(w), out_width(w), .out = out, .arg_max = arg_max, .x = x};
    by_images(pool_range, &task, w);
}

int ZDL(pooling_backward)(real *dx, const real *dout, const int64_t *arg_max, const windows *w)
{
    pooling task = {w, out_height(w), out_width(w), .arg_max = (int64_t *)arg_max, .dx = dx, .dout = dout};
    by_images(pool_backward_range, &task, w);
    return task.outside ? ZDL_BAD_INDEX : ZDL_OK;
}
