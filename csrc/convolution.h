/* Convolution and pooling of images [batch, channels, height, width]. A convolution is a product of matrices: the
   weights [filters, K], K = channels filter_h filter_w, times what each of them sees at the places of the output, K rows
   of one image's [out_h, out_w]. These rows are made a piece at a time, small enough for the cache, and never kept. */

typedef struct zdl_windows windows;

static ptrdiff_t out_height(const windows *w) { return (w->height + 2 * w->pad - w->filter_h) / w->stride + 1; }
static ptrdiff_t out_width(const windows *w) { return (w->width + 2 * w->pad - w->filter_w) / w->stride + 1; }
static ptrdiff_t weights_of(const windows *w) { return w->channels * w->filter_h * w->filter_w; }

/* What a weight sees in a row of the output: pixel[x stride] for begin <= x < end, and else the zeros around the image. */
typedef void row_function(real *seen, real *pixel, ptrdiff_t stride, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t n);

static inline void gather(real *seen, real *pixel, ptrdiff_t stride, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t n)
{
    for (ptrdiff_t x = 0; x < begin; x++)
        seen[x] = 0;
    if (stride == 1)
        for (ptrdiff_t x = begin; x < end; x++)
            seen[x] = pixel[x];
    else
        for (ptrdiff_t x = begin; x < end; x++)
            seen[x] = pixel[x * stride];
    for (ptrdiff_t x = end; x < n; x++)
        seen[x] = 0;
}

static inline void scatter(real *seen, real *pixel, ptrdiff_t stride, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t n)
{
    (void)n;
    if (stride == 1)
        for (ptrdiff_t x = begin; x < end; x++)
            pixel[x] += seen[x];
    else
        for (ptrdiff_t x = begin; x < end; x++)
            pixel[x * stride] += seen[x];
}

static ptrdiff_t between(ptrdiff_t least, ptrdiff_t n, ptrdiff_t most) { return n < least ? least : n > most ? most : n; }

/* f for each weight and row of the output, from row `top` on, of one image: seen is [K, rows, out_w]. */
static inline void each_row(row_function *f, real *seen, real *image, const windows *w, ptrdiff_t top, ptrdiff_t rows)
{
    ptrdiff_t n = out_width(w);
    for (ptrdiff_t k = 0; k < weights_of(w); k++) {
        ptrdiff_t channel = k / (w->filter_h * w->filter_w), i = k / w->filter_w % w->filter_h, j = k % w->filter_w;
        ptrdiff_t begin = between(0, (w->pad - j + w->stride - 1) / w->stride, n);
        ptrdiff_t end = between(begin, (w->width - 1 + w->pad - j + w->stride) / w->stride, n);
        for (ptrdiff_t y = top; y < top + rows; y++, seen += n) {
            ptrdiff_t row = y * w->stride + i - w->pad;
            bool inside = 0 <= row && row < w->height;
            real *pixel = image + (inside ? (channel * w->height + row) * w->width : 0) + j - w->pad;
            f(seen, pixel, w->stride, inside ? begin : 0, inside ? end : 0, n);
        }
    }
}

/* Images are cut into groups, not by threads, so that sums over the groups do not depend on the threads. */
enum { GROUPS = 16 };

struct convolution {
    const windows *w;
    ptrdiff_t filters;
    real *out, *dx; /* dx may be NULL */
    const real *x, *dout;
    real *weight; /* [filters, K + 1]: the weights and the bias, or [GROUPS, filters, K + 1]: their gradients */
    const real *weight_of_dx; /* [filters, K] */
    int failed;
};

/* Rows of the output whose [K + 1, rows, out_w] is a piece for the cache. */
static ptrdiff_t rows_of_piece(const windows *w)
{
    ptrdiff_t row = (weights_of(w) + 1) * out_width(w);
    return between(1, 16384 / row, out_height(w));
}

/* What the weights see, and below it the ones that the bias sees. */
static void gather_piece(real *seen, const real *image, const windows *w, ptrdiff_t top, ptrdiff_t rows)
{
    each_row(gather, seen, (real *)image, w, top, rows);
    ptrdiff_t places = rows * out_width(w);
    for (ptrdiff_t p = 0; p < places; p++)
        seen[weights_of(w) * places + p] = 1;
}

static void convolve_images(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct convolution *t = task;
    const windows *w = t->w;
    ptrdiff_t k = weights_of(w) + 1, out_h = out_height(w), out_w = out_width(w), step = rows_of_piece(w);
    real *seen = malloc((size_t)(k * step * out_w) * sizeof(real));
    bool done = seen != NULL;
    for (ptrdiff_t image = begin; done && image < end; image++)
        for (ptrdiff_t top = 0; done && top < out_h; top += step) {
            ptrdiff_t rows = between(0, out_h - top, step), places = rows * out_w;
            gather_piece(seen, t->x + image * w->channels * w->height * w->width, w, top, rows);
            product sums = {t->out + image * t->filters * out_h * out_w + top * out_w, out_h * out_w,
                            {t->weight, k, 1}, {seen, places, 1}, t->filters, k, places, NULL, ZDL_IDENTITY};
            done = kernels()->matmul(&sums);
        }
    if (!done)
        t->failed = 1;
    free(seen);
}

/* The gradients that come from a piece of one image's output: those of the weights are added to dweight, and what the
   weights saw is replaced by its gradient, which is added to the image's. */
static bool differentiate_piece(struct convolution *t, real *dweight, real *sums, real *seen, ptrdiff_t image,
                                ptrdiff_t top, ptrdiff_t rows)
{
    const windows *w = t->w;
    ptrdiff_t k = weights_of(w) + 1, out = out_height(w) * out_width(w), places = rows * out_width(w);
    ptrdiff_t pixels = w->channels * w->height * w->width;
    matrix dout = {t->dout + image * t->filters * out + top * out_width(w), out, 1};
    gather_piece(seen, t->x + image * pixels, w, top, rows);
    product of_weights = {sums, k, dout, {seen, 1, places}, t->filters, places, k, NULL, ZDL_IDENTITY};
    if (!kernels()->matmul(&of_weights))
        return false;
    for (ptrdiff_t i = 0; i < t->filters * k; i++)
        dweight[i] += sums[i];
    if (!t->dx)
        return true;
    product of_seen = {seen, places, {t->weight_of_dx, 1, k - 1}, dout, k - 1, t->filters, places, NULL, ZDL_IDENTITY};
    if (!kernels()->matmul(&of_seen))
        return false;
    each_row(scatter, seen, t->dx + image * pixels, w, top, rows);
    return true;
}

static void differentiate_groups(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct convolution *t = task;
    const windows *w = t->w;
    ptrdiff_t size = t->filters * (weights_of(w) + 1), step = rows_of_piece(w);
    real *sums = malloc((size_t)(size + (weights_of(w) + 1) * step * out_width(w)) * sizeof(real));
    bool done = sums != NULL;
    for (ptrdiff_t group = begin; group < end; group++)
        for (ptrdiff_t image = w->batch * group / GROUPS; image < w->batch * (group + 1) / GROUPS; image++)
            for (ptrdiff_t top = 0; done && top < out_height(w); top += step)
                done = differentiate_piece(t, t->weight + group * size, sums, sums + size, image, top,
                                           between(0, out_height(w) - top, step));
    if (!done)
        t->failed = 1;
    free(sums);
}

static int convolution_threads(const struct convolution *t)
{
    double places = (double)t->w->batch * (double)(out_height(t->w) * out_width(t->w));
    return zdl_threads_for(2 * places * (double)t->filters * (double)weights_of(t->w), GRAIN_FLOPS);
}

int ZDL(convolution)(real *out, const real *x, const real *weight, const real *bias, ptrdiff_t filters, const windows *w)
{
    ptrdiff_t k = weights_of(w);
    real *weights = malloc((size_t)(filters * (k + 1) + 1) * sizeof(real));
    if (!weights)
        return ZDL_NO_MEMORY;
    for (ptrdiff_t f = 0; f < filters; f++) {
        memcpy(weights + f * (k + 1), weight + f * k, (size_t)k * sizeof(real));
        weights[f * (k + 1) + k] = bias[f];
    }
    struct convolution task = {.w = w, .filters = filters, .out = out, .x = x, .weight = weights};
    zdl_parallel_for(w->batch, convolution_threads(&task), convolve_images, &task);
    free(weights);
    return task.failed ? ZDL_NO_MEMORY : ZDL_OK;
}

int ZDL(convolution_backward)(real *dx, real *dweight, real *dbias, const real *dout, const real *x, const real *weight,
                              ptrdiff_t filters, const windows *w)
{
    ptrdiff_t k = weights_of(w), size = filters * (k + 1);
    real *sums = calloc((size_t)(GROUPS * size + 1), sizeof(real));
    if (!sums)
        return ZDL_NO_MEMORY;
    if (dx)
        memset(dx, 0, (size_t)(w->batch * w->channels * w->height * w->width) * sizeof(real));
    struct convolution task = {.w = w, .filters = filters, .dx = dx, .x = x, .dout = dout, .weight = sums,
                               .weight_of_dx = weight};
    zdl_parallel_for(GROUPS, convolution_threads(&task), differentiate_groups, &task);
    for (ptrdiff_t group = 1; group < GROUPS; group++)
        for (ptrdiff_t i = 0; i < size; i++)
            sums[i] += sums[group * size + i];
    for (ptrdiff_t f = 0; f < filters; f++) {
        memcpy(dweight + f * k, sums + f * (k + 1), (size_t)k * sizeof(real));
        dbias[f] = sums[f * (k + 1) + k];
    }
    free(sums);
    return task.failed ? ZDL_NO_MEMORY : ZDL_OK;
}
