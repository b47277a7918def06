/* Splitting work on windows over threads, by images. */
#ifndef ZERODL_IMAGES_BY_IMAGES_H
#define ZERODL_IMAGES_BY_IMAGES_H

#include "../internal/dispatch.h"
#include "windows.h"

static void by_images(range_function *f, void *task, const windows *w)
{
    double pixels_read = (double)w->batch * (double)weights_of(w) * (double)places_of(w);
    if (pixels_read > 0) /* else there may still be places, but no pixels to read there */
        zdl_parallel_for(w->batch, zdl_split_of(pixels_read, GRAIN_ARITHMETIC), f, task);
}

#endif
