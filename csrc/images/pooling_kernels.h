/* Max pooling, for images [begin, end):

     out[batch, channels, out_h, out_w] = the largest pixel of each window; arg_max = its index in the window
     backward: dx = 0, then each dout is added to the dx of the pixel at its arg_max

   Each lane of a vector computes one place in a row of the output. */
#ifndef ZERODL_IMAGES_POOLING_KERNELS_H
#define ZERODL_IMAGES_POOLING_KERNELS_H

#include <math.h>
#include <string.h>

#include "../kernels/table.h"
#include "../internal/vector.h"

/* Lane i of the result is p[2 * i]. */
#if LANES > 1
#define EVEN_LANE(i, h) (2 * (i))
ALWAYS_INLINE vec every_second(const real *p) { return SHUFFLED(load(p), load(p + LANES), EVEN_LANE, 0); }
#else
ALWAYS_INLINE vec every_second(const real *p) { return load(p); }
#endif

/* Lane i < n of the result is the pixel at this row and column col + i * stride, or 0 if it is outside the image. */
static vec pixels_or_zeros(const struct zdl_windows *w, const real *plane, ptrdiff_t row, ptrdiff_t col, ptrdiff_t n)
{
    real lane[LANES] = {0};
    for (ptrdiff_t i = 0; 0 <= row && row < w->height && i < n; i++, col += w->stride)
        if (0 <= col && col < w->width)
            lane[i] = plane[row * w->width + col];
    return load(lane);
}

/* Returns the largest pixels of n windows, and stores their indices in the windows in *which. The first window is at
   (top, left). Of equal pixels, the first counts. If there is a nan, the first nan counts. `stride` is the windows'
   stride if it is 1 or 2, all windows lie inside the image, and whole vectors may be read there. Otherwise it is 0. The
   function is inlined with constant `stride`, and for 2 x 2 windows with constant filter_h and filter_w. */
ALWAYS_INLINE vec largest_of(vec *which, const struct zdl_windows *w, const real *plane, ptrdiff_t top, ptrdiff_t left,
                             ptrdiff_t n, int stride, ptrdiff_t filter_h, ptrdiff_t filter_w)
{
    vec most = broadcast(0), index = broadcast(0), k = broadcast(0);
    for (ptrdiff_t i = 0; i < filter_h; i++)
        for (ptrdiff_t j = 0; j < filter_w; j++, k += 1) {
            const real *pixel = plane + (top + i) * w->width + left + j;
            vec v = stride == 1   ? load(pixel)
                    : stride == 2 ? every_second(pixel)
                                  : pixels_or_zeros(w, plane, top + i, left + j, n);
            if (i + j == 0)
                most = v;
            mask larger = (mask)(~less_equal(v, most) & equal(most, most));
            index = choose(larger, k, index);
            most = choose(larger, v, most);
        }
    *which = index;
    return most;
}

/* The index of the pixel `most` in its window, for windows with more pixels than a real can count exactly. */
static ptrdiff_t find_largest(const struct zdl_windows *w, const real *plane, ptrdiff_t top, ptrdiff_t left, real most)
{
    ptrdiff_t at = 0, last = w->filter_h * w->filter_w - 1;
    for (; at < last; at++) {
        real pixel = first_lane(pixels_or_zeros(w, plane, top + at / w->filter_w, left + at % w->filter_w, 1));
        if (pixel == most || isnan(pixel))
            break;
    }
    return at;
}

/* Compute row y of one output channel. `plane` is its index among the channels of all images. */
static void pool_row(const pooling *t, ptrdiff_t plane, ptrdiff_t y)
{
    const struct zdl_windows *w = t->w;
    const real *x = t->x + plane * w->height * w->width, *end = t->x + w->batch * w->channels * w->height * w->width;
    ptrdiff_t first = (plane * t->out_h + y) * t->out_w;
    real *out = t->out + first, index[LANES];
    int64_t *arg_max = t->arg_max + first;
    ptrdiff_t top = y * w->stride - w->pad, bottom = top + w->filter_h - 1;
    bool is_counted = w->filter_h <= ((int64_t)1 << MANTISSA_BITS) / w->filter_w; /* a real can count the pixels */
    for (ptrdiff_t at = 0; at < t->out_w; at += LANES) {
        ptrdiff_t n = t->out_w - at < LANES ? t->out_w - at : LANES;
        ptrdiff_t left = at * w->stride - w->pad, right = left + (n - 1) * w->stride + w->filter_w - 1;
        bool inside = 0 <= top && bottom < w->height && 0 <= left && right < w->width;
        inside = inside && bottom * w->width + left + w->filter_w - 1 + LANES * w->stride <= end - x;
        int stride = inside && w->stride <= 2 ? (int)w->stride : 0;
        ptrdiff_t h = w->filter_h, v = w->filter_w;
        vec which, most = stride == 2 && h == 2 && v == 2 ? largest_of(&which, w, x, top, left, n, 2, 2, 2)
                          : stride == 2                   ? largest_of(&which, w, x, top, left, n, 2, h, v)
                          : stride == 1                   ? largest_of(&which, w, x, top, left, n, 1, h, v)
                                                          : largest_of(&which, w, x, top, left, n, 0, h, v);
        store_up_to(out + at, most, n);
        store(index, which);
        if (n == LANES)
            for (int i = 0; i < LANES; i++) /* a constant number, so that the compiler vectorizes the loop */
                arg_max[at + i] = (int64_t)index[i];
        else
            for (ptrdiff_t i = 0; i < n; i++)
                arg_max[at + i] = (int64_t)index[i];
        for (ptrdiff_t i = 0; !is_counted && i < n; i++)
            arg_max[at + i] = find_largest(w, x, top, left + i * w->stride, out[at + i]);
    }
}

static void pool(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const pooling *t = task;
    for (ptrdiff_t plane = begin * t->w->channels; plane < end * t->w->channels; plane++)
        for (ptrdiff_t y = 0; y < t->out_h; y++)
            pool_row(t, plane, y);
}

/* For windows of up to this many pixels, a table has the offsets of the pixels, which avoids a division. */
enum { SMALL_WINDOW = 64 };

/* The distance of pixel `at` of a window from the window's first pixel. */
static ptrdiff_t offset_in_window(const struct zdl_windows *w, ptrdiff_t at)
{
    return at / w->filter_w * w->width + at % w->filter_w;
}

/* Add row y of a channel's dout to the channel's dx. With padding, the largest pixel may lie outside the image; its
   gradient is dropped. Returns false if an index is outside its window. */
static bool pool_row_backward(const pooling *t, real *dx, ptrdiff_t plane, ptrdiff_t y, const ptrdiff_t *offset)
{
    const struct zdl_windows w = *t->w;
    const int64_t *arg_max = t->arg_max + (plane * t->out_h + y) * t->out_w;
    const real *dout = t->dout + (plane * t->out_h + y) * t->out_w;
    ptrdiff_t top = y * w.stride - w.pad, size = w.filter_h * w.filter_w;
    bool inside = true;
    for (ptrdiff_t x = 0, left = -w.pad; x < t->out_w; x++, left += w.stride) {
        ptrdiff_t at = (ptrdiff_t)arg_max[x];
        if (at < 0 || at >= size) {
            inside = false;
            continue;
        }
        if (w.pad) {
            ptrdiff_t row = top + at / w.filter_w, col = left + at % w.filter_w;
            if (row < 0 || row >= w.height || col < 0 || col >= w.width)
                continue;
        }
        dx[top * w.width + left + (offset ? offset[at] : offset_in_window(&w, at))] += dout[x];
    }
    return inside;
}

static void pool_backward(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    pooling *t = task;
    ptrdiff_t channels = t->w->channels, pixels = t->w->height * t->w->width, offset[SMALL_WINDOW];
    bool small = t->w->filter_h * t->w->filter_w <= SMALL_WINDOW, inside = true;
    for (ptrdiff_t at = 0; small && at < t->w->filter_h * t->w->filter_w; at++)
        offset[at] = offset_in_window(t->w, at);
    for (ptrdiff_t plane = begin * channels; plane < end * channels; plane++) {
        memset(t->dx + plane * pixels, 0, (size_t)pixels * sizeof(real));
        for (ptrdiff_t y = 0; y < t->out_h; y++)
            inside &= pool_row_backward(t, t->dx + plane * pixels, plane, y, small ? offset : NULL);
    }
    if (!inside)
        t->outside = 1; /* all threads write the same value */
}

#endif
