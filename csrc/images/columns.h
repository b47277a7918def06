/* im2col and col2im: images as matrices with a row for each place of the output, and back. */
#ifndef ZERODL_IMAGES_COLUMNS_H
#define ZERODL_IMAGES_COLUMNS_H

#include "by_images.h"

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

#endif
