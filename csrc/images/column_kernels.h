/* im2col and col2im, for images [begin, end):

     im2col: col[batch * out_h * out_w, channels * filter_h * filter_w] = one window of the images in each row
     col2im: each pixel of the images = the sum of the entries of col to which im2col copies it

   A row of the matrix consists of segments, one for each channel and row of the window. A segment is filter_w pixels
   that are adjacent in the image. */
#ifndef ZERODL_IMAGES_COLUMN_KERNELS_H
#define ZERODL_IMAGES_COLUMN_KERNELS_H

#include <string.h>

#include "../internal/integers.h"
#include "../kernels/table.h"
#include "../internal/vector.h"

/* Pixels are copied in chunks of CHUNK: 4 float32 are one 16-byte move. Segments of up to two chunks need no loop. */
enum { CHUNK = 4 };

/* Copy n pixels in whole chunks. Up to chunk - 1 more pixels are read and written. */
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

/* Copy a window that lies inside the image to a row of the matrix. For each segment n >= filter_w pixels are copied,
   and the next segment overwrites the excess. Callers pass a constant n if they can, to have the copies unrolled. */
ALWAYS_INLINE void copy_inner_window(real *col, const real *image, struct zdl_windows w, ptrdiff_t top, ptrdiff_t left,
                                     ptrdiff_t n)
{
    const real *pixel = image + top * w.width + left;
    for (ptrdiff_t channel = 0; channel < w.channels; channel++, pixel += w.height * w.width)
        for (ptrdiff_t i = 0; i < w.filter_h; i++, col += w.filter_w)
            copy_pixels(col, pixel + i * w.width, n, CHUNK);
}

/* Copy any window to a row of the matrix: each segment is zeros, then pixels, then zeros. */
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

/* Copy the windows of one row of the output, which begin in row `top` of the image. Nothing may be written at col_end
   or after it, or read after the last image. So windows near these two ends are copied without excess. */
static void copy_windows(const columns *t, real *col, const real *image, ptrdiff_t top, const real *col_end)
{
    struct zdl_windows w = *t->w; /* a copy, which no store to col can change */
    ptrdiff_t k = w.channels * w.filter_h * w.filter_w, plane = w.height * w.width;
    const real *read_end = image + (w.channels - 1) * plane + between(0, top + w.filter_h, w.height) * w.width;
    bool last = t->image + w.batch * w.channels * plane - read_end < CHUNK;
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

/* Move the lanes of v down by one. The first is dropped, because its pixel is complete. The last becomes 0. */
#if LANES > 1
#define NEXT_LANE(i, h) ((i) + (h))
ALWAYS_INLINE vec next_pixel(vec v) { return SHUFFLED(v, broadcast(0), NEXT_LANE, 1); }
#else
ALWAYS_INLINE vec next_pixel(vec v)
{
    (void)v;
    return 0;
}
#endif

/* The segments that are added to one row of an image's channel. For each x < out_w there are `count` of them: the first
   is at first + x * k, and each other one `step` numbers after the one before. */
typedef struct {
    ptrdiff_t first, count, step, k;
} segments;

static segments segments_of_row(const columns *t, ptrdiff_t image, ptrdiff_t channel, ptrdiff_t row)
{
    const struct zdl_windows *w = t->w;
    ptrdiff_t k = w->channels * w->filter_h * w->filter_w;
    /* This row of pixels is row i of the windows at y, row i + stride of those at y - 1, and so on. There are no
       windows at y >= out_h. */
    ptrdiff_t y = (row + w->pad) / w->stride, i = (row + w->pad) % w->stride;
    ptrdiff_t count = between(0, (w->filter_h - i + w->stride - 1) / w->stride, y + 1);
    ptrdiff_t missing = between(0, y - t->out_h + 1, y);
    y -= missing;
    i += missing * w->stride;
    ptrdiff_t first = (image * t->out_h + y) * t->out_w * k + (channel * w->filter_h + i) * w->filter_w;
    return (segments){first, count - missing, w->stride * w->filter_w - t->out_w * k, k};
}

/* Add columns [j, j + LANES) of the segments to a row of pixels. Lane i of `sum` is what the windows so far add to
   pixel at + i. If `exact` is set, nothing is read beyond the end of a segment. */
ALWAYS_INLINE void add_segments(const columns *t, real *pixels, segments s, ptrdiff_t j, bool exact)
{
    const struct zdl_windows *w = t->w;
    ptrdiff_t at = j - w->pad, left = w->filter_w - j;
    vec sum = broadcast(0);
    for (ptrdiff_t x = 0; at < w->width; x++) {
        if (x < t->out_w) {
            vec column_sum = broadcast(0);
            const real *segment = t->col + s.first + x * s.k + j;
            for (ptrdiff_t i = 0; i < s.count; i++)
                column_sum += exact ? load_up_to(segment + i * s.step, left) : load(segment + i * s.step);
            sum += keep_up_to(column_sum, left);
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

/* Prefetch one of `parts` parts of the next image's matrix. With several channels, the segments of one channel are too
   far apart for the hardware prefetcher. */
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
