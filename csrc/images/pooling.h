/* Max pooling: the largest pixel of each window of images [batch, channels, height, width]. */
#ifndef ZERODL_IMAGES_POOLING_H
#define ZERODL_IMAGES_POOLING_H

#include "by_images.h"

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
