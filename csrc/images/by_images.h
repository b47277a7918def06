/* Work on windows of images that is split by images. */
#ifndef ZERODL_IMAGES_BY_IMAGES_H
#define ZERODL_IMAGES_BY_IMAGES_H

#include "../internal/dispatch.h"
#include "windows.h"

static void by_images(range_function *f, void *task, const windows *w)
{
    double seen = (double)w->batch * (double)weights_of(w) * (double)places_of(w);
    if (seen > 0) /* else there may be many places all the same, and nothing at any */
        zdl_parallel_for(w->batch, zdl_split_of(seen, GRAIN_ARITHMETIC), f, task);
}

#endif
