/* Images as matrices and back. The matrix has a row for each place of the output, and a row has segments of filter_w
   pixels that lie side by side in the image: one for each channel and row of the window. */
#ifndef ZERODL_IMAGES_COLUMN_KERNELS_H
#define ZERODL_IMAGES_COLUMN_KERNELS_H

#include <string.h>

#include "../internal/integers.h"
#include "../kernels/table.h"
#include "../internal/vector.h"

enum { CHUNK = 4 };

/* n pixels, a chunk at a time: up to chunk - 1 more are read and written. */
ALWAYS_INLINE void copy_pixels(real *col, const real *pixel, ptrdiff_t n, int chunk)
{
    for (ptrdiff_t j = 0; j < n; j += chunk)
        memcpy(col + j, pixel + j, (size_t)chunk * sizeof(real));
}

ALWAYS_INLINE void clear_pixels(real *col, ptrdiff_t n, int chunk)
{
    for (ptrdiff_t j = 0; j < n; j += chunk)
        memset(col + j, 0, (size_t)chunk * sizeof(real));
}

/* A row of the matrix, for a window inside the image. What is written beyond a segment, the next one overwrites; so `n`
   may be filter_w, or as many chunks, of a number that the compiler knows. */
ALWAYS_INLINE void copy_inner_window(real *col, const real *image, struct zdl_windows w, ptrdiff_t top, ptrdiff_t left,
                                     ptrdiff_t n)
{
    const real *pixel = image + top * w.width + left;
    for (ptrdiff_t channel = 0; channel < w.channels; channel++, pixel += w.height * w.width)
        for (ptrdiff_t i = 0; i < w.filter_h; i++, col += w.filter_w)
            copy_pixels(col, pixel + i * w.width, n, CHUNK);
}

/* A row of the matrix, for any window: each segment is zeros, pixels and zeros. */
ALWAYS_INLINE void copy_window(real *col, const real *image, struct zdl_windows w, ptrdiff_t top, ptrdiff_t left,
                               int chunk)
{
    ptrdiff_t begin = between(0, -left, w.filter_w), end = between(0, w.width - left, w.filter_w);
    for (ptrdiff_t channel = 0; channel < w.channels; channel++, image += w.height * w.width)
        for (ptrdiff_t row = top; row < top + w.filter_h; row++, col += w.filter_w) {
            bool inside = 0 <= row && row < w.height;
            clear_pixels(col, inside ? begin : w.filter_w, chunk);
            if (inside) {
                copy_pixels(col + begin, image + row * w.width + left + begin, end - begin, chunk);
                clear_pixels(col + end, w.filter_w - end, chunk);
            }
        }
}

/* The rows of the matrix for a row of the output. Only those up to col_end may be written. */
static void copy_windows(const columns *t, real *col, const real *image, ptrdiff_t top, const real *col_end)
{
    struct zdl_windows w = *t->w; /* a copy, for no store may change it */
    ptrdiff_t k = w.channels * w.filter_h * w.filter_w, plane = w.height * w.width;
    const real *seen_end = image + (w.channels - 1) * plane + between(0, top + w.filter_h, w.height) * w.width;
    bool last = t->image + w.batch * w.channels * plane - seen_end < CHUNK;
    bool inside = 0 <= top && top + w.filter_h <= w.height;
    for (ptrdiff_t x = 0; x < t->out_w; x++, col += k) {
        ptrdiff_t left = x * w.stride - w.pad;
        if (last || col_end - col < k + CHUNK)
            copy_window(col, image, w, top, left, 1);
        else if (!inside || left < 0 || left + w.filter_w > w.width)
            copy_window(col, image, w, top, left, CHUNK);
        else if (w.filter_w <= CHUNK)
            copy_inner_window(col, image, w, top, left, CHUNK);
        else if (w.filter_w <= 2 * CHUNK)
            copy_inner_window(col, image, w, top, left, 2 * CHUNK);
        else
            copy_inner_window(col, image, w, top, left, w.filter_w);
    }
}

static void im2col(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const columns *t = task;
    const struct zdl_windows *w = t->w;
    ptrdiff_t row = t->out_w * w->channels * w->filter_h * w->filter_w;
    for (ptrdiff_t i = begin; i < end; i++)
        for (ptrdiff_t y = 0; y < t->out_h; y++)
            copy_windows(t, t->col + (i * t->out_h + y) * row, t->image + i * w->channels * w->height * w->width,
                         y * w->stride - w->pad, t->col + end * t->out_h * row);
}

/* Without the first lane, which is for the pixel that is done; the others move up to theirs. */
#if LANES > 1
#define NEXT_LANE(i, h) ((i) + (h))
ALWAYS_INLINE vec next_pixel(vec v) { return SHUFFLED(v, broadcast(0), NEXT_LANE, 1); }
#else
ALWAYS_INLINE vec next_pixel(vec v) { (void)v; return 0; }
#endif

/* What a channel's row of an image sums: for each place x of the output, `count` segments that are `step` apart; the
   first of these is at `first` + x k in the matrix. */
typedef struct {
    ptrdiff_t first, count, step, k;
} segments;

static segments segments_of_row(const columns *t, ptrdiff_t image, ptrdiff_t channel, ptrdiff_t row)
{
    const struct zdl_windows *w = t->w;
    ptrdiff_t k = w->channels * w->filter_h * w->filter_w;
    /* row i of the windows at y, then row i + stride of those at y - 1, and so on; the windows begin at out_h - 1 */
    ptrdiff_t y = (row + w->pad) / w->stride, i = (row + w->pad) % w->stride;
    ptrdiff_t count = between(0, (w->filter_h - i + w->stride - 1) / w->stride, y + 1);
    ptrdiff_t missing = between(0, y - t->out_h + 1, y);
    y -= missing;
    i += missing * w->stride;
    ptrdiff_t first = (image * t->out_h + y) * t->out_w * k + (channel * w->filter_h + i) * w->filter_w;
    return (segments){first, count - missing, w->stride * w->filter_w - t->out_w * k, k};
}

/* Add to the row the columns of the segments from j on, as many as fit into a vector. The lanes of `sum` are what the
   windows so far give to pixel `at` and those right of it. Not to read beyond the segments, `exact` is needed. */
ALWAYS_INLINE void add_segments(const columns *t, real *pixels, segments s, ptrdiff_t j, bool exact)
{
    const struct zdl_windows *w = t->w;
    ptrdiff_t at = j - w->pad, left = w->filter_w - j;
    vec sum = broadcast(0);
    for (ptrdiff_t x = 0; at < w->width; x++) {
        if (x < t->out_w) {
            vec seen = broadcast(0);
            const real *segment = t->col + s.first + x * s.k + j;
            for (ptrdiff_t i = 0; i < s.count; i++)
                seen += exact ? load_up_to(segment + i * s.step, left) : load(segment + i * s.step);
            sum += keep_up_to(seen, left);
        }
        for (ptrdiff_t moved = 0; moved < w->stride && at < w->width; moved++, at++) {
            if (at >= 0)
                pixels[at] += first_lane(sum);
            sum = next_pixel(sum);
        }
    }
}

static void sum_row(const columns *t, real *pixels, segments s)
{
    const struct zdl_windows *w = t->w;
    memset(pixels, 0, (size_t)w->width * sizeof(real));
    for (ptrdiff_t j = 0; s.count > 0 && j < w->filter_w; j += LANES) {
        ptrdiff_t last = s.first + (t->out_w - 1) * s.k + j;
        if (w->batch * t->out_h * t->out_w * s.k - last < LANES)
            add_segments(t, pixels, s, j, true);
        else
            add_segments(t, pixels, s, j, false);
    }
}

/* Get a part of the next image's matrix. The segments of one of many channels are too far apart for the processor to
   foresee them. */
static void prefetch_part(const real *col, ptrdiff_t part, ptrdiff_t parts, ptrdiff_t size)
{
    for (ptrdiff_t i = size * part / parts; i < size * (part + 1) / parts; i += 64 / (ptrdiff_t)sizeof(real))
        PREFETCH(col + i);
}

static void col2im(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const columns *t = task;
    const struct zdl_windows *w = t->w;
    ptrdiff_t size = t->out_h * t->out_w * w->channels * w->filter_h * w->filter_w, rows = w->channels * w->height;
    for (ptrdiff_t i = begin; i < end; i++)
        for (ptrdiff_t row = 0; row < rows; row++) {
            if (i + 1 < end && w->channels > 1)
                prefetch_part(t->col + (i + 1) * size, row, rows, size);
            sum_row(t, t->image + (i * rows + row) * w->width, segments_of_row(t, i, row / w->height, row % w->height));
        }
}

#endif
