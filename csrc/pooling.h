/* The largest pixel of each window of images [batch, channels, height, width]. */

struct pooling {
    const windows *w;
    real *out;
    int64_t *arg_max; /* [batch, out_h, out_w, channels]: which pixel of the window, row by row */
    const real *x;
    real *dx;
    const real *dout;
    int failed;
};

/* Rows of one channel's output, from `top` on. */
static void pool_piece(const struct pooling *t, ptrdiff_t plane, ptrdiff_t top, ptrdiff_t rows, real *seen)
{
    windows w = *t->w;
    ptrdiff_t channels = w.channels, out = out_height(&w) * out_width(&w), first = top * out_width(&w);
    w.channels = 1;
    ptrdiff_t k = weights_of(&w), places = rows * out_width(&w);
    each_row(gather, seen, (real *)t->x + plane * w.height * w.width, &w, top, rows);
    kernels()->largest_of(seen, seen + k * places, k, places);
    memcpy(t->out + plane * out + first, seen, (size_t)places * sizeof(real));
    int64_t *arg_max = t->arg_max + (plane / channels * out + first) * channels + plane % channels;
    for (ptrdiff_t p = 0; p < places; p++)
        arg_max[p * channels] = (int64_t)seen[k * places + p];
}

static void pool_images(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct pooling *t = task;
    windows plane = *t->w;
    plane.channels = 1;
    ptrdiff_t out_h = out_height(&plane), step = rows_of_piece(&plane);
    real *seen = malloc((size_t)((weights_of(&plane) + 1) * step * out_width(&plane)) * sizeof(real));
    if (!seen) {
        t->failed = 1;
        return;
    }
    for (ptrdiff_t p = begin * t->w->channels; p < end * t->w->channels; p++)
        for (ptrdiff_t top = 0; top < out_h; top += step)
            pool_piece(t, p, top, between(0, out_h - top, step), seen);
    free(seen);
}

static void pool_images_backward(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const struct pooling *t = task;
    const windows *w = t->w;
    ptrdiff_t out_h = out_height(w), out_w = out_width(w), pixels = w->height * w->width;
    memset(t->dx + begin * w->channels * pixels, 0, (size_t)((end - begin) * w->channels * pixels) * sizeof(real));
    for (ptrdiff_t plane = begin * w->channels; plane < end * w->channels; plane++)
        for (ptrdiff_t y = 0; y < out_h; y++)
            for (ptrdiff_t x = 0; x < out_w; x++) {
                ptrdiff_t place = ((plane / w->channels * out_h + y) * out_w + x) * w->channels + plane % w->channels;
                ptrdiff_t at = (ptrdiff_t)t->arg_max[place];
                ptrdiff_t row = y * w->stride - w->pad + at / w->filter_w, col = x * w->stride - w->pad + at % w->filter_w;
                if (0 <= row && row < w->height && 0 <= col && col < w->width)
                    t->dx[plane * pixels + row * w->width + col] += t->dout[(plane * out_h + y) * out_w + x];
            }
}

static void by_images(range_function *f, void *task, const windows *w)
{
    double seen = (double)w->batch * (double)(weights_of(w) * out_height(w) * out_width(w));
    zdl_parallel_for(w->batch, zdl_threads_for(seen, GRAIN_ARITHMETIC), f, task);
}

int ZDL(pooling)(real *out, int64_t *arg_max, const real *x, const windows *w)
{
    struct pooling task = {.w = w, .out = out, .arg_max = arg_max, .x = x};
    by_images(pool_images, &task, w);
    return task.failed ? ZDL_NO_MEMORY : ZDL_OK;
}

void ZDL(pooling_backward)(real *dx, const real *dout, const int64_t *arg_max, const windows *w)
{
    struct pooling task = {.w = w, .dx = dx, .dout = dout, .arg_max = (int64_t *)arg_max};
    by_images(pool_images_backward, &task, w);
}
