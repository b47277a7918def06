/* im2col copies images to a matrix with a row for each place of the output. col2im adds the rows of such a matrix to
   images. Max pooling takes the largest pixel of each window. Their work is split over threads by images. */
#ifndef ZERODL_IMAGES_BY_IMAGES_H
#define ZERODL_IMAGES_BY_IMAGES_H

#include "../internal/dispatch.h"
#include "windows.h"

static void by_images(range_function *f, void *task, const windows *w)
{
    double pixels_read = (double)w->batch * (double)weights_of(w) * (double)places_of(w);
    if (pixels_read > 0) /* otherwise no pixels are read, although there may be places */
        zdl_parallel_for(w->batch, zdl_split_of(pixels_read, GRAIN_ARITHMETIC), f, task);
}

void ZDL(im2col)(real *col, const real *x, const windows *w)
{
    columns task = {w, out_height(w), out_width(w), col, (real *)x};
    by_images(kernels()->im2col, &task, w);
}

void ZDL(col2im)(real *dx, const real *col, const windows *w)
{
    columns task = {w, out_height(w), out_width(w), (real *)col, dx};
    by_images(kernels()->col2im, &task, w);
}

void ZDL(pooling)(real *out, int64_t *arg_max, const real *x, const windows *w)
{
    pooling task = {w, out_height(w), out_width(w), .out = out, .arg_max = arg_max, .x = x};
    by_images(kernels()->pool, &task, w);
}

int ZDL(pooling_backward)(real *dx, const real *dout, const int64_t *arg_max, const windows *w)
{
    pooling task = {w, out_height(w), out_width(w), .arg_max = (int64_t *)arg_max, .dx = dx, .dout = dout};
    by_images(kernels()->pool_backward, &task, w);
    return task.outside ? ZDL_BAD_INDEX : ZDL_OK;
}

#endif
