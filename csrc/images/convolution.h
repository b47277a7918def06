/* Convolution of images [batch, channels, height, width]. A convolution is a product of matrices: the
   weights [filters, K], K = channels filter_h filter_w, times what each of them sees at the places of the output, K rows
   of one image's [out_h, out_w]. With stride 1 these rows are read from the image itself, with zeros around it. Else they
   are made a piece at a time, small enough for the cache, and never kept. */
#ifndef ZERODL_IMAGES_CONVOLUTION_H
#define ZERODL_IMAGES_CONVOLUTION_H

#include <stdlib.h>
#include <string.h>

#include "../internal/dispatch.h"
#include "../internal/integers.h"
#include "windows.h"

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
    const real *weight, *bias; /* [filters, K], [filters] */
    real *sums;                /* [GROUPS, filters, K + 1]: the gradients of the weights, then those of the biases */
    const struct filters *bank, *bank_of_dx; /* NULL where the images cannot be wide */
    atomic_int failed;
};

/* ---- Any stride: what the weights see is gathered ---- */

/* Rows of the output whose [K + 1, rows, out_w] is a piece for the cache. */
static ptrdiff_t rows_of_piece(const windows *w)
{
    ptrdiff_t row = (weights_of(w) + 1) * out_width(w);
    return between(1, 16384 / row, out_height(w));
}

static bool convolve_piece(const struct convolution *t, real *seen, ptrdiff_t image, ptrdiff_t top, ptrdiff_t rows)
{
    const windows *w = t->w;
    ptrdiff_t k = weights_of(w), row = out_width(w), out = places_of(w), places = rows * row;
    real *result = t->out + image * t->filters * out + top * row;
    each_row(gather, seen, (real *)t->x + image * pixels_of(w), w, top, rows);
    product sums = {result, out, {t->weight, k, 1}, {seen, places, 1}, t->filters, k, places, NULL, ZDL_IDENTITY};
    if (!kernels()->matmul(&sums))
        return false;
    for (ptrdiff_t f = 0; f < t->filters; f++)
        for (ptrdiff_t p = 0; p < places; p++)
            result[f * out + p] += t->bias[f];
    return true;
}

/* The gradients that come from a piece of one image's output are added to those of its group: what the weights see, and
   below it the ones that the bias sees, times dout. */
static bool differentiate_weights(const struct convolution *t, real *gradients, real *sums, real *seen, ptrdiff_t image,
                                  ptrdiff_t top, ptrdiff_t rows)
{
    const windows *w = t->w;
    ptrdiff_t k = weights_of(w), n = t->filters, places = rows * out_width(w);
    const real *dout = t->dout + image * n * places_of(w) + top * out_width(w);
    each_row(gather, seen, (real *)t->x + image * pixels_of(w), w, top, rows);
    for (ptrdiff_t p = 0; p < places; p++)
        seen[k * places + p] = 1;
    product of_weights = {sums, n, {seen, places, 1}, {dout, 1, places_of(w)}, k + 1, places, n, NULL, ZDL_IDENTITY};
    if (!kernels()->matmul(&of_weights))
        return false;
    for (ptrdiff_t f = 0; f < n; f++) {
        for (ptrdiff_t i = 0; i < k; i++)
            gradients[f * k + i] += sums[i * n + f];
        gradients[n * k + f] += sums[k * n + f];
    }
    return true;
}

/* The gradient of what the weights see is added to the image's. */
static bool differentiate_pixels(const struct convolution *t, real *seen, ptrdiff_t image, ptrdiff_t top,
                                 ptrdiff_t rows)
{
    const windows *w = t->w;
    ptrdiff_t k = weights_of(w), places = rows * out_width(w), out = places_of(w);
    matrix dout = {t->dout + image * t->filters * out + top * out_width(w), out, 1};
    product of_seen = {seen, places, {t->weight, 1, k}, dout, k, t->filters, places, NULL, ZDL_IDENTITY};
    if (!kernels()->matmul(&of_seen))
        return false;
    each_row(scatter, seen, t->dx + image * pixels_of(w), w, top, rows);
    return true;
}

static bool convolve_gathered(const struct convolution *t, ptrdiff_t begin, ptrdiff_t end)
{
    const windows *w = t->w;
    ptrdiff_t step = rows_of_piece(w), out_h = out_height(w);
    real *seen = malloc((size_t)(weights_of(w) * step * out_width(w)) * sizeof(real));
    bool done = seen != NULL;
    for (ptrdiff_t image = begin; image < end; image++)
        for (ptrdiff_t top = 0; done && top < out_h; top += step)
            done = convolve_piece(t, seen, image, top, between(0, out_h - top, step));
    free(seen);
    return done;
}

/* The gradients of images begin to end: those of the weights are added to `gradients`, unless it is NULL, those of x are
   set if `pixels`. */
static bool differentiate_gathered(const struct convolution *t, real *gradients, bool pixels, ptrdiff_t begin,
                                   ptrdiff_t end)
{
    const windows *w = t->w;
    ptrdiff_t k = weights_of(w) + 1, step = rows_of_piece(w), out_h = out_height(w), size = pixels_of(w);
    real *sums = malloc((size_t)(k * (t->filters + step * out_width(w))) * sizeof(real));
    bool done = sums != NULL;
    if (pixels)
        memset(t->dx + begin * size, 0, (size_t)((end - begin) * size) * sizeof(real));
    for (ptrdiff_t image = begin; image < end; image++)
        for (ptrdiff_t top = 0; done && top < out_h; top += step) {
            ptrdiff_t rows = between(0, out_h - top, step);
            real *seen = sums + k * t->filters;
            done = (!gradients || differentiate_weights(t, gradients, sums, seen, image, top, rows)) &&
                   (!pixels || differentiate_pixels(t, seen, image, top, rows));
        }
    free(sums);
    return done;
}

/* ---- Stride 1: a wide image needs no gathering ---- */

/* A wide image has `left` zeros between two rows, and `top` rows of zeros between two channels, before the first and
   after the last: so a window that leaves the image on one side finds the zeros of the next row or channel. */
struct wide {
    ptrdiff_t channels, height, width, top, left, row, plane;
};

enum { WIDEST = 16 }; /* lanes of a vector, which are read and written beyond a run */

static struct wide wide_images(const windows *w)
{
    ptrdiff_t row = w->width + w->pad;
    return (struct wide){w->channels, w->height, w->width, w->pad, w->pad, row, (w->height + w->pad) * row};
}

/* Of dout: its rows and planes are as long as those of the images, so that places are as far apart in both. */
static struct wide wide_outputs(const windows *w, ptrdiff_t filters)
{
    struct wide image = wide_images(w);
    ptrdiff_t top = w->filter_h - 1 - w->pad, left = w->filter_w - 1 - w->pad;
    return (struct wide){filters, out_height(w), out_width(w), top, left, image.row, image.plane};
}

static bool can_be_wide(const windows *w) { return w->stride == 1 && w->pad < w->filter_h && w->pad < w->filter_w; }

/* Room for so many wide images, and for what is read beyond the last; zeros. NULL if memory is lacking. */
static real *allocate_wide(const struct wide *v, ptrdiff_t images)
{
    return calloc((size_t)(images * v->channels * v->plane + (v->top + 1) * v->row + WIDEST), sizeof(real));
}

static void widen(real *to, const real *image, const struct wide *v)
{
    to += v->top * v->row + v->left;
    for (ptrdiff_t c = 0; c < v->channels; c++, to += v->plane, image += v->height * v->width)
        kernels()->copy_rows(to, v->row, image, v->width, v->height, v->width);
}

/* Filters to convolve wide images with. */
struct filters {
    struct wide image;
    ptrdiff_t filters, weights, out_h, out_w;
    real *panels, *bias; /* [panels, weights, height of a panel], 0 where there is no filter, and [panels, height] */
    ptrdiff_t at[];      /* where in an image a weight first looks: [weights] */
};

/* Weight i of filter f for channel c is at[f * filter + c * channel + i * pixel]. */
struct weights {
    const real *at;
    ptrdiff_t filter, channel, pixel;
};

static real weight_at(const struct weights *w, ptrdiff_t filter, ptrdiff_t channel, ptrdiff_t pixel)
{
    return w->at[filter * w->filter + channel * w->channel + pixel * w->pixel];
}

/* Filters that make the channels of `out`, not wide, of a wide image. bias may be NULL; NULL if memory is lacking. */
static struct filters *make_filters(const struct wide *image, const struct wide *out, const windows *w,
                                    struct weights weight, const real *bias)
{
    ptrdiff_t area = w->filter_h * w->filter_w, weights = image->channels * area, filters = out->channels;
    ptrdiff_t height = kernels()->filters_of_panel, padded = (filters + height - 1) / height * height;
    size_t offsets = sizeof(struct filters) + (size_t)weights * sizeof(ptrdiff_t);
    struct filters *bank = malloc(offsets + (size_t)(padded * (weights + 1)) * sizeof(real));
    if (!bank)
        return NULL;
    real *panel = (real *)((char *)bank + offsets);
    *bank = (struct filters){*image, filters, weights, out->height, out->width, panel, panel + padded * weights};
    for (ptrdiff_t k = 0; k < weights; k++)
        bank->at[k] = k / area * image->plane + k % area / w->filter_w * image->row + k % w->filter_w;
    for (ptrdiff_t top = 0; top < padded; top += height)
        for (ptrdiff_t k = 0; k < weights; k++)
            for (ptrdiff_t f = top; f < top + height; f++)
                *panel++ = f < filters ? weight_at(&weight, f, k / area, k % area) : 0;
    for (ptrdiff_t f = 0; f < padded; f++)
        bank->bias[f] = bias && f < filters ? bias[f] : 0;
    return bank;
}

/* The filters as they are, from images to outputs. */
static struct filters *filters_of_images(const struct convolution *t)
{
    const struct wide image = wide_images(t->w), out = wide_outputs(t->w, t->filters);
    ptrdiff_t area = t->w->filter_h * t->w->filter_w;
    return make_filters(&image, &out, t->w, (struct weights){t->weight, t->w->channels * area, area, 1}, t->bias);
}

/* The filters that make dx of dout: one for each channel, turned around. */
static struct filters *filters_of_outputs(const struct convolution *t)
{
    const struct wide dx = wide_images(t->w), dout = wide_outputs(t->w, t->filters);
    ptrdiff_t area = t->w->filter_h * t->w->filter_w;
    struct weights turned = {t->weight + area - 1, area, t->w->channels * area, -1};
    return make_filters(&dout, &dx, t->w, turned, NULL);
}

/* Rows of the output that are computed at a time, by all filters. */
static ptrdiff_t rows_of_block(const struct filters *bank) { return between(1, 1024 / bank->image.row, bank->out_h); }

/* Room for what one panel makes of a block. */
static real *allocate_block(const struct filters *bank)
{
    ptrdiff_t row = rows_of_block(bank) * bank->image.row + WIDEST;
    return malloc((size_t)(kernels()->filters_of_panel * row) * sizeof(real));
}

static void convolve_wide(real *out, const real *image, const struct filters *bank, real *block)
{
    ptrdiff_t height = kernels()->filters_of_panel, row = bank->image.row, step = rows_of_block(bank);
    ptrdiff_t block_row = step * row + WIDEST, plane = bank->out_h * bank->out_w;
    for (ptrdiff_t top = 0; top < bank->out_h; top += step)
        for (ptrdiff_t first = 0; first < bank->filters; first += height) {
            ptrdiff_t rows = between(0, bank->out_h - top, step);
            convolution_panel panel = {block, block_row, (rows - 1) * row + bank->out_w, image + top * row, bank->at,
                                       bank->weights, bank->panels + first * bank->weights, bank->bias + first};
            kernels()->convolve(&panel);
            for (ptrdiff_t f = 0; f < height && first + f < bank->filters; f++)
                kernels()->copy_rows(out + (first + f) * plane + top * bank->out_w, bank->out_w, block + f * block_row,
                                     row, rows, bank->out_w);
        }
}

static bool convolve_images_wide(const struct convolution *t, ptrdiff_t begin, ptrdiff_t end)
{
    const struct filters *bank = t->bank;
    real *image = allocate_wide(&bank->image, 1), *block = allocate_block(bank);
    bool done = image && block;
    for (ptrdiff_t i = begin; done && i < end; i++) {
        widen(image, t->x + i * pixels_of(t->w), &bank->image);
        convolve_wide(t->out + i * t->filters * places_of(t->w), image, bank, block);
    }
    free(block);
    free(image);
    return done;
}

/* Images of so many numbers that are differentiated together: as many as the second cache holds. */
static ptrdiff_t images_of_piece(ptrdiff_t numbers)
{
    return between(1, (ptrdiff_t)(393216 / sizeof(real)) / (numbers + 1), 64);
}

/* The gradients that come from so many images, from `first` on; x and dout have room for them. */
static void differentiate_wide(const struct convolution *t, real *gradients, real *x, real *dout, real *block,
                               ptrdiff_t first, ptrdiff_t images)
{
    const windows *w = t->w;
    const struct wide in = wide_images(w), out = wide_outputs(w, t->filters);
    ptrdiff_t x_size = in.channels * in.plane, dout_size = out.channels * out.plane, k = weights_of(w);
    for (ptrdiff_t i = 0; i < images; i++) {
        const real *change = t->dout + (first + i) * t->filters * places_of(w);
        widen(x + i * x_size, t->x + (first + i) * pixels_of(w), &in);
        widen(dout + i * dout_size, change, &out);
        for (ptrdiff_t f = 0; f < t->filters; f++)
            gradients[t->filters * k + f] += (real)kernels()->total(change + f * places_of(w), places_of(w));
        if (t->bank_of_dx)
            convolve_wide(t->dx + (first + i) * pixels_of(w), dout + i * dout_size, t->bank_of_dx, block);
    }
    convolution_sums sums = {gradients, dout + out.top * out.row + out.left, x, images, dout_size, x_size, out.plane,
                             (out.height - 1) * out.row + out.width, t->filters, k, t->bank->at};
    kernels()->convolve_backward(&sums);
}

static bool differentiate_images_wide(const struct convolution *t, real *gradients, ptrdiff_t begin, ptrdiff_t end)
{
    const struct wide in = wide_images(t->w), out = wide_outputs(t->w, t->filters);
    ptrdiff_t step = between(0, images_of_piece(in.channels * in.plane + out.channels * out.plane), end - begin);
    real *x = allocate_wide(&in, step), *dout = allocate_wide(&out, step);
    real *block = allocate_block(t->bank_of_dx ? t->bank_of_dx : t->bank);
    bool done = x && dout && block;
    for (ptrdiff_t first = begin; done && first < end; first += step)
        differentiate_wide(t, gradients, x, dout, block, first, between(0, end - first, step));
    free(block);
    free(dout);
    free(x);
    return done && (!t->dx || t->bank_of_dx || differentiate_gathered(t, NULL, true, begin, end));
}

/* ---- Both ---- */

static void convolve_images(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct convolution *t = task;
    if (!(t->bank ? convolve_images_wide(t, begin, end) : convolve_gathered(t, begin, end)))
        t->failed = 1;
}

static bool all_finite(const real *x, ptrdiff_t n)
{
    real sum = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += x[i] * 0;
    return sum == 0;
}

/* In wide images the zeros between rows are multiplied, too. Where that makes a nan, of an infinite number, the weights
   are differentiated once more, without. */
static void differentiate_groups(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct convolution *t = task;
    ptrdiff_t size = t->filters * (weights_of(t->w) + 1);
    for (ptrdiff_t group = begin; group < end; group++) {
        ptrdiff_t first = t->w->batch * group / GROUPS, last = t->w->batch * (group + 1) / GROUPS;
        real *gradients = t->sums + group * size;
        bool done = first == last || !t->bank || differentiate_images_wide(t, gradients, first, last);
        if (first < last && (!t->bank || !all_finite(gradients, size))) {
            memset(gradients, 0, (size_t)size * sizeof(real));
            done &= differentiate_gathered(t, gradients, t->dx && !t->bank, first, last);
        }
        if (!done)
            t->failed = 1;
    }
}

static struct zdl_split convolution_split(const struct convolution *t)
{
    double places = (double)t->w->batch * (double)places_of(t->w);
    return zdl_split_of(2 * places * (double)t->filters * (double)weights_of(t->w), GRAIN_FLOPS);
}

/* Whether a ptrdiff_t can count the bytes of an image with the zeros around it, and of what the weights see in a row: a
   batch of no images may be of any size. */
static bool can_be_counted(const windows *w)
{
    double rows = (double)w->height + 2 * (double)w->pad, cols = (double)w->width + 2 * (double)w->pad;
    double seen = (double)w->filter_h * (double)w->filter_w * cols, image = rows * cols;
    return (double)w->channels * (seen > image ? seen : image) < (double)(PTRDIFF_MAX / 128);
}

int ZDL(convolution)(real *out, const real *x, const real *weight, const real *bias, ptrdiff_t filters,
                     const windows *w)
{
    if (w->batch == 0 || filters == 0)
        return ZDL_OK;
    if (!can_be_counted(w))
        return ZDL_NO_MEMORY;
    struct convolution task = {.w = w, .filters = filters, .out = out, .x = x, .weight = weight, .bias = bias};
    bool wide = can_be_wide(w);
    struct filters *bank = wide ? filters_of_images(&task) : NULL;
    if (wide && !bank)
        return ZDL_NO_MEMORY;
    task.bank = bank;
    zdl_parallel_for(w->batch, convolution_split(&task), convolve_images, &task);
    free(bank);
    return task.failed ? ZDL_NO_MEMORY : ZDL_OK;
}

/* The sums of all groups, to dweight and dbias. */
static void add_groups(real *dweight, real *dbias, real *sums, ptrdiff_t weights, ptrdiff_t filters)
{
    ptrdiff_t size = weights + filters;
    for (ptrdiff_t group = 1; group < GROUPS; group++)
        for (ptrdiff_t i = 0; i < size; i++)
            sums[i] += sums[group * size + i];
    memcpy(dweight, sums, (size_t)weights * sizeof(real));
    memcpy(dbias, sums + weights, (size_t)filters * sizeof(real));
}

int ZDL(convolution_backward)(real *dx, real *dweight, real *dbias, const real *dout, const real *x, const real *weight,
                              ptrdiff_t filters, const windows *w)
{
    if (!can_be_counted(w))
        return ZDL_NO_MEMORY;
    if (filters == 0) {
        if (dx)
            memset(dx, 0, (size_t)(w->batch * pixels_of(w)) * sizeof(real));
        return ZDL_OK;
    }
    ptrdiff_t weights = filters * weights_of(w);
    real *sums = calloc((size_t)(GROUPS * (weights + filters) + 1), sizeof(real));
    struct convolution task = {
        .w = w, .filters = filters, .dx = dx, .x = x, .dout = dout, .weight = weight, .sums = sums};
    /* A panel for few channels would compute zeros for the most part: they are gathered. */
    bool wide = can_be_wide(w) && all_finite(weight, weights), few = 2 * w->channels < kernels()->filters_of_panel;
    struct filters *bank = wide ? filters_of_images(&task) : NULL;
    struct filters *bank_of_dx = wide && dx && !few ? filters_of_outputs(&task) : NULL;
    task.bank = bank, task.bank_of_dx = bank_of_dx;
    if (!sums || (wide && !bank) || (wide && dx && !few && !bank_of_dx))
        task.failed = 1;
    else
        zdl_parallel_for(GROUPS, convolution_split(&task), differentiate_groups, &task);
    if (!task.failed)
        add_groups(dweight, dbias, sums, weights, filters);
    free(sums);
    free(bank_of_dx);
    free(bank);
    return task.failed ? ZDL_NO_MEMORY : ZDL_OK;
}

#endif
