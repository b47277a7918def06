/* Convolution of images [batch, channels, height, width], and its gradients:

     out[i, f, y, x] = bias[f] + the sum over c, v, u of
                       weight[f, c, v, u] * image[i, c, y * stride + v - pad, x * stride + u - pad]

   For one image this is a product of matrices, weight[filters, K] @ patches[K, out_h * out_w] with
   K = channels * filter_h * filter_w. Row k of patches has the input pixels that weight k is multiplied by, one for
   each place of the output. With stride 1, the rows are read in place from a padded copy of the image. With other
   strides, patches are copied in parts that fit the cache (im2col, Chellapilla, Puri and Simard, 2006). */
#ifndef ZERODL_IMAGES_CONVOLUTION_H
#define ZERODL_IMAGES_CONVOLUTION_H

#include <stdlib.h>
#include <string.h>

#include "../internal/dispatch.h"
#include "../internal/integers.h"
#include "windows.h"

/* A part of a row of patches has the n pixels that one weight is multiplied by along one output row. Place x has
   pixel[x * stride] if begin <= x < end, else 0, from the padding. gather copies the pixels to this part; scatter adds
   it to them. */
typedef void patch_row_function(real *patches, real *pixel, ptrdiff_t stride, ptrdiff_t begin, ptrdiff_t end,
                                ptrdiff_t n);

static inline void gather(real *patches, real *pixel, ptrdiff_t stride, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t n)
{
    for (ptrdiff_t x = 0; x < begin; x++)
        patches[x] = 0;
    if (stride == 1)
        for (ptrdiff_t x = begin; x < end; x++)
            patches[x] = pixel[x];
    else
        for (ptrdiff_t x = begin; x < end; x++)
            patches[x] = pixel[x * stride];
    for (ptrdiff_t x = end; x < n; x++)
        patches[x] = 0;
}

static inline void scatter(real *patches, real *pixel, ptrdiff_t stride, ptrdiff_t begin, ptrdiff_t end, ptrdiff_t n)
{
    (void)n;
    if (stride == 1)
        for (ptrdiff_t x = begin; x < end; x++)
            pixel[x] += patches[x];
    else
        for (ptrdiff_t x = begin; x < end; x++)
            pixel[x * stride] += patches[x];
}

/* For one image, call f for each weight and each output row in [top, top + rows). patches is [K, rows, out_w]. */
static inline void each_patch_row(patch_row_function *f, real *patches, real *image, const windows *w, ptrdiff_t top,
                                  ptrdiff_t rows)
{
    ptrdiff_t n = out_width(w);
    for (ptrdiff_t k = 0; k < weights_of(w); k++) {
        ptrdiff_t channel = k / (w->filter_h * w->filter_w), i = k / w->filter_w % w->filter_h, j = k % w->filter_w;
        ptrdiff_t begin = between(0, (w->pad - j + w->stride - 1) / w->stride, n);
        ptrdiff_t end = between(begin, (w->width - 1 + w->pad - j + w->stride) / w->stride, n);
        for (ptrdiff_t y = top; y < top + rows; y++, patches += n) {
            ptrdiff_t row = y * w->stride + i - w->pad;
            bool inside = 0 <= row && row < w->height;
            real *pixel = image + (inside ? (channel * w->height + row) * w->width : 0) + j - w->pad;
            f(patches, pixel, w->stride, inside ? begin : 0, inside ? end : 0, n);
        }
    }
}

/* The images form GROUPS groups. The gradients of the weights are summed over the images of each group, then over the
   groups. The number of groups is fixed, so the results do not depend on the number of threads. 16 groups keep 16
   threads busy. */
enum { GROUPS = 16 };

struct convolution {
    const windows *w;
    ptrdiff_t filters;
    real *out, *dx; /* dx may be NULL */
    const real *x, *dout;
    const real *weight, *bias; /* [filters, K], [filters] */
    real *sums; /* [GROUPS, filters, K + 1]: the gradients of the weights, then those of the biases */
    const struct filters *bank, *bank_of_dx; /* NULL if padded images are not used */
    atomic_int failed;
};

/* ---- Any stride: the patches are copied ---- */

/* The number of output rows in a piece. [K + 1, rows, out_w] has at most 16384 numbers, which fit an L2 cache, unless
   one row alone has more. */
static ptrdiff_t rows_of_piece(const windows *w)
{
    ptrdiff_t row = (weights_of(w) + 1) * out_width(w);
    return between(1, 16384 / row, out_height(w));
}

static bool convolve_piece(const struct convolution *t, real *patches, ptrdiff_t image, ptrdiff_t top, ptrdiff_t rows)
{
    const windows *w = t->w;
    ptrdiff_t k = weights_of(w), row = out_width(w), out = places_of(w), places = rows * row;
    real *result = t->out + image * t->filters * out + top * row;
    each_patch_row(gather, patches, (real *)t->x + image * pixels_of(w), w, top, rows);
    product sums = {result, out, {t->weight, k, 1}, {patches, places, 1}, t->filters, k, places, NULL, ZDL_IDENTITY};
    if (!kernels()->matmul(&sums))
        return false;
    for (ptrdiff_t f = 0; f < t->filters; f++)
        for (ptrdiff_t p = 0; p < places; p++)
            result[f * out + p] += t->bias[f];
    return true;
}

/* Add patches @ dout.T, the gradients from a piece of one image's output, to the gradients of the image's group. A row
   of ones below the patches gives the gradients of the biases. */
static bool differentiate_weights(const struct convolution *t, real *gradients, real *sums, real *patches,
                                  ptrdiff_t image, ptrdiff_t top, ptrdiff_t rows)
{
    const windows *w = t->w;
    ptrdiff_t k = weights_of(w), n = t->filters, places = rows * out_width(w);
    const real *dout = t->dout + image * n * places_of(w) + top * out_width(w);
    each_patch_row(gather, patches, (real *)t->x + image * pixels_of(w), w, top, rows);
    for (ptrdiff_t p = 0; p < places; p++)
        patches[k * places + p] = 1;
    product of_weights = {sums, n, {patches, places, 1}, {dout, 1, places_of(w)}, k + 1, places, n, NULL, ZDL_IDENTITY};
    if (!kernels()->matmul(&of_weights))
        return false;
    for (ptrdiff_t f = 0; f < n; f++) {
        for (ptrdiff_t i = 0; i < k; i++)
            gradients[f * k + i] += sums[i * n + f];
        gradients[n * k + f] += sums[k * n + f];
    }
    return true;
}

/* Add the gradients of the patches, weight.T @ dout, to those of the image's pixels. */
static bool differentiate_pixels(const struct convolution *t, real *patches, ptrdiff_t image, ptrdiff_t top,
                                 ptrdiff_t rows)
{
    const windows *w = t->w;
    ptrdiff_t k = weights_of(w), places = rows * out_width(w), out = places_of(w);
    matrix dout = {t->dout + image * t->filters * out + top * out_width(w), out, 1};
    product of_patches = {patches, places, {t->weight, 1, k}, dout, k, t->filters, places, NULL, ZDL_IDENTITY};
    if (!kernels()->matmul(&of_patches))
        return false;
    each_patch_row(scatter, patches, t->dx + image * pixels_of(w), w, top, rows);
    return true;
}

static bool convolve_gathered(const struct convolution *t, ptrdiff_t begin, ptrdiff_t end)
{
    const windows *w = t->w;
    ptrdiff_t step = rows_of_piece(w), out_h = out_height(w);
    real *patches = malloc((size_t)(weights_of(w) * step * out_width(w)) * sizeof(real));
    bool done = patches != NULL;
    for (ptrdiff_t image = begin; image < end; image++)
        for (ptrdiff_t top = 0; done && top < out_h; top += step)
            done = convolve_piece(t, patches, image, top, between(0, out_h - top, step));
    free(patches);
    return done;
}

/* The gradients from images [begin, end). Those of the weights are added to `gradients`, unless it is NULL. Those of
   the pixels are written to t->dx if `pixels` is set. */
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
            real *patches = sums + k * t->filters;
            done = (!gradients || differentiate_weights(t, gradients, sums, patches, image, top, rows)) &&
                   (!pixels || differentiate_pixels(t, patches, image, top, rows));
        }
    free(sums);
    return done;
}

/* ---- Stride 1: padded images, whose patches are read in place ---- */

/* A padded image has `left` zeros between two rows. It has `top` rows of zeros between two channels, before the first
   and after the last. A window that extends beyond one side of the image reads the zeros before the next row or
   channel. `row` and `plane` are the distances of rows and of channels. A plane has a multiple of OVERRUN numbers,
   so that all channels are aligned if the first is. */
struct padded {
    ptrdiff_t channels, height, width, top, left, row, plane;
};

enum { OVERRUN = 16 }; /* lanes of the longest vector: kernels may read and write so many numbers too far */

static struct padded padded_images(const windows *w)
{
    ptrdiff_t row = w->width + w->pad, plane = ceil_div((w->height + w->pad) * row, OVERRUN) * OVERRUN;
    return (struct padded){w->channels, w->height, w->width, w->pad, w->pad, row, plane};
}

/* The padded layout of dout. Its rows and channels are as far apart as those of the padded images, so that moving by
   one place is the same step in both. */
static struct padded padded_outputs(const windows *w, ptrdiff_t filters)
{
    struct padded image = padded_images(w);
    ptrdiff_t top = w->filter_h - 1 - w->pad, left = w->filter_w - 1 - w->pad;
    return (struct padded){filters, out_height(w), out_width(w), top, left, image.row, image.plane};
}

static bool is_convolved_padded(const windows *w)
{
    return w->stride == 1 && w->pad < w->filter_h && w->pad < w->filter_w;
}

/* Memory, set to 0, for `images` padded images, for aligning them, and for reads beyond the last. NULL if there is no
   memory. */
static real *allocate_padded(const struct padded *v, ptrdiff_t images)
{
    return calloc((size_t)(images * v->channels * v->plane + (v->top + 1) * v->row + 2 * OVERRUN), sizeof(real));
}

/* Where padded images begin in `memory`, if their first number after the padding is to be aligned for all vectors.
   Loading a whole vector takes twice as long if it is not aligned. */
static real *aligned_images(real *memory, const struct padded *v)
{
    ptrdiff_t first = v->top * v->row + v->left;
    return memory + OVERRUN - ((uintptr_t)memory / sizeof(real) + (uintptr_t)first) % OVERRUN;
}

static void pad_image(real *to, const real *image, const struct padded *v)
{
    to += v->top * v->row + v->left;
    for (ptrdiff_t c = 0; c < v->channels; c++, to += v->plane, image += v->height * v->width)
        kernels()->copy_matrix(to, v->row, image, v->width, v->height, v->width);
}

/* Filters, packed for convolving padded images. */
struct filters {
    struct padded image;
    ptrdiff_t filters, weights, out_h, out_w;
    /* [panels, weights, filters of a panel] and [panels, filters of a panel], with zeros after the last filter */
    real *panels, *bias;
    ptrdiff_t at[]; /* [weights]: the pixel that a weight is multiplied by at place 0, as an offset in a padded image */
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

/* Pack filters that compute the channels of `out` from those of `image`, two layouts of padded images. If bias is NULL,
   the biases are 0. Returns NULL if there is no memory. */
static struct filters *make_filters(const struct padded *image, const struct padded *out, const windows *w,
                                    struct weights weight, const real *bias)
{
    ptrdiff_t area = w->filter_h * w->filter_w, weights = image->channels * area, filters = out->channels;
    ptrdiff_t height = kernels()->filters_of_panel, padded_filters = (filters + height - 1) / height * height;
    size_t offsets = sizeof(struct filters) + (size_t)weights * sizeof(ptrdiff_t);
    struct filters *bank = malloc(offsets + (size_t)(padded_filters * (weights + 1)) * sizeof(real));
    if (!bank)
        return NULL;
    real *panel = (real *)((char *)bank + offsets);
    *bank = (struct filters){
        *image, filters, weights, out->height, out->width, panel, panel + padded_filters * weights};
    for (ptrdiff_t k = 0; k < weights; k++)
        bank->at[k] = k / area * image->plane + k % area / w->filter_w * image->row + k % w->filter_w;
    for (ptrdiff_t top = 0; top < padded_filters; top += height)
        for (ptrdiff_t k = 0; k < weights; k++)
            for (ptrdiff_t f = top; f < top + height; f++)
                *panel++ = f < filters ? weight_at(&weight, f, k / area, k % area) : 0;
    for (ptrdiff_t f = 0; f < padded_filters; f++)
        bank->bias[f] = bias && f < filters ? bias[f] : 0;
    return bank;
}

/* The filters of the forward pass, from images to outputs. */
static struct filters *filters_of_images(const struct convolution *t)
{
    const struct padded image = padded_images(t->w), out = padded_outputs(t->w, t->filters);
    ptrdiff_t area = t->w->filter_h * t->w->filter_w;
    return make_filters(&image, &out, t->w, (struct weights){t->weight, t->w->channels * area, area, 1}, t->bias);
}

/* The filters that turn dout into dx: one for each channel of the image, with the weights of a filter in reverse
   order. */
static struct filters *filters_of_outputs(const struct convolution *t)
{
    const struct padded dx = padded_images(t->w), dout = padded_outputs(t->w, t->filters);
    ptrdiff_t area = t->w->filter_h * t->w->filter_w;
    struct weights turned = {t->weight + area - 1, area, t->w->channels * area, -1};
    return make_filters(&dout, &dx, t->w, turned, NULL);
}

/* The number of output rows that all filters compute before they go on: about 1024 numbers, so that the input of these
   rows stays in the L1 cache. */
static ptrdiff_t rows_of_block(const struct filters *bank) { return between(1, 1024 / bank->image.row, bank->out_h); }

/* Memory for the output rows of one panel of filters. NULL if there is no memory. */
static real *allocate_block(const struct filters *bank)
{
    ptrdiff_t row = rows_of_block(bank) * bank->image.row + OVERRUN;
    return malloc((size_t)(kernels()->filters_of_panel * row) * sizeof(real));
}

static void convolve_padded(real *out, const real *image, const struct filters *bank, real *block)
{
    ptrdiff_t height = kernels()->filters_of_panel, row = bank->image.row, step = rows_of_block(bank);
    ptrdiff_t block_row = step * row + OVERRUN, plane = bank->out_h * bank->out_w;
    for (ptrdiff_t top = 0; top < bank->out_h; top += step)
        for (ptrdiff_t first = 0; first < bank->filters; first += height) {
            ptrdiff_t rows = between(0, bank->out_h - top, step);
            convolution_panel panel = {
                block,    block_row,     (rows - 1) * row + bank->out_w,       image + top * row,
                bank->at, bank->weights, bank->panels + first * bank->weights, bank->bias + first};
            kernels()->convolve(&panel);
            for (ptrdiff_t f = 0; f < height && first + f < bank->filters; f++)
                kernels()->copy_matrix(out + (first + f) * plane + top * bank->out_w, bank->out_w,
                                       block + f * block_row, row, rows, bank->out_w);
        }
}

static bool convolve_images_padded(const struct convolution *t, ptrdiff_t begin, ptrdiff_t end)
{
    const struct filters *bank = t->bank;
    real *image = allocate_padded(&bank->image, 1), *block = allocate_block(bank);
    bool done = image && block;
    for (ptrdiff_t i = begin; done && i < end; i++) {
        pad_image(image, t->x + i * pixels_of(t->w), &bank->image);
        convolve_padded(t->out + i * t->filters * places_of(t->w), image, bank, block);
    }
    free(block);
    free(image);
    return done;
}

/* The number of images of `numbers` numbers that are worked on together: as many as fit 384 KiB of the L2 cache. */
static ptrdiff_t images_of_piece(ptrdiff_t numbers)
{
    return between(1, (ptrdiff_t)(393216 / sizeof(real)) / (numbers + 1), 64);
}

/* Add the gradients from images [first, first + images) to `gradients`, and set their dx. The images and their dout are
   copied to x and dout, which are padded. */
static void differentiate_padded(const struct convolution *t, real *gradients, real *x, real *dout, real *block,
                                 ptrdiff_t first, ptrdiff_t images)
{
    const windows *w = t->w;
    const struct padded in = padded_images(w), out = padded_outputs(w, t->filters);
    ptrdiff_t x_size = in.channels * in.plane, dout_size = out.channels * out.plane, k = weights_of(w);
    for (ptrdiff_t i = 0; i < images; i++) {
        const real *change = t->dout + (first + i) * t->filters * places_of(w);
        pad_image(x + i * x_size, t->x + (first + i) * pixels_of(w), &in);
        pad_image(dout + i * dout_size, change, &out);
        for (ptrdiff_t f = 0; f < t->filters; f++)
            gradients[t->filters * k + f] += (real)kernels()->sum_elements(change + f * places_of(w), places_of(w));
        if (t->bank_of_dx)
            convolve_padded(t->dx + (first + i) * pixels_of(w), dout + i * dout_size, t->bank_of_dx, block);
    }
    convolution_sums sums = {gradients, dout + out.top * out.row + out.left,    x,          images, dout_size,  x_size,
                             out.plane, (out.height - 1) * out.row + out.width, t->filters, k,      t->bank->at};
    kernels()->convolve_backward(&sums);
}

static bool differentiate_images_padded(const struct convolution *t, real *gradients, ptrdiff_t begin, ptrdiff_t end)
{
    const struct padded in = padded_images(t->w), out = padded_outputs(t->w, t->filters);
    ptrdiff_t step = between(0, images_of_piece(in.channels * in.plane + out.channels * out.plane), end - begin);
    real *x = allocate_padded(&in, step), *dout = allocate_padded(&out, step);
    real *block = allocate_block(t->bank_of_dx ? t->bank_of_dx : t->bank);
    bool done = x && dout && block;
    for (ptrdiff_t first = begin; done && first < end; first += step)
        differentiate_padded(t, gradients, x, aligned_images(dout, &out), block, first, between(0, end - first, step));
    free(block);
    free(dout);
    free(x);
    return done && (!t->dx || t->bank_of_dx || differentiate_gathered(t, NULL, true, begin, end));
}

/* ---- Any stride and stride 1 ---- */

static void convolve_images(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct convolution *t = task;
    if (!(t->bank ? convolve_images_padded(t, begin, end) : convolve_gathered(t, begin, end)))
        t->failed = 1;
}

static bool all_finite(const real *x, ptrdiff_t n)
{
    real sum = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        sum += x[i] * 0;
    return sum == 0;
}

/* In padded images, the zeros between rows are multiplied, too. If they meet an infinite number, 0 * inf makes a nan.
   So if the gradients are not finite, those of the weights are computed again from copied patches. */
static void differentiate_groups(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct convolution *t = task;
    ptrdiff_t size = t->filters * (weights_of(t->w) + 1);
    for (ptrdiff_t group = begin; group < end; group++) {
        ptrdiff_t first = t->w->batch * group / GROUPS, last = t->w->batch * (group + 1) / GROUPS;
        real *gradients = t->sums + group * size;
        bool done = first == last || !t->bank || differentiate_images_padded(t, gradients, first, last);
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

/* Whether a ptrdiff_t can hold the size in bytes of a padded image and of the patches of an output row. That the arrays
   exist does not ensure it: the images of an empty batch may have any size. */
static bool can_be_counted(const windows *w)
{
    double rows = (double)w->height + 2 * (double)w->pad, cols = (double)w->width + 2 * (double)w->pad;
    double patches = (double)w->filter_h * (double)w->filter_w * cols, image = rows * cols;
    return (double)w->channels * (patches > image ? patches : image) < (double)(PTRDIFF_MAX / 128);
}

int ZDL(convolution)(real *out, const real *x, const real *weight, const real *bias, ptrdiff_t filters,
                     const windows *w)
{
    if (w->batch == 0 || filters == 0)
        return ZDL_OK;
    if (!can_be_counted(w))
        return ZDL_NO_MEMORY;
    struct convolution task = {.w = w, .filters = filters, .out = out, .x = x, .weight = weight, .bias = bias};
    bool padded = is_convolved_padded(w);
    struct filters *bank = padded ? filters_of_images(&task) : NULL;
    if (padded && !bank)
        return ZDL_NO_MEMORY;
    task.bank = bank;
    zdl_parallel_for(w->batch, convolution_split(&task), convolve_images, &task);
    free(bank);
    return task.failed ? ZDL_NO_MEMORY : ZDL_OK;
}

/* dweight, dbias = the sums over all groups. */
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
    /* dx has a filter for each channel. If these are few, most of a panel is 0, so patches are copied instead. */
    bool padded = is_convolved_padded(w) && all_finite(weight, weights),
         few = 2 * w->channels < kernels()->filters_of_panel;
    struct filters *bank = padded ? filters_of_images(&task) : NULL;
    struct filters *bank_of_dx = padded && dx && !few ? filters_of_outputs(&task) : NULL;
    task.bank = bank, task.bank_of_dx = bank_of_dx;
    if (!sums || (padded && !bank) || (padded && dx && !few && !bank_of_dx))
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
