/* The geometry of windows that move over images [batch, channels, height, width]. Each position of a window is a place:
   an entry of the output. */
#ifndef ZERODL_IMAGES_WINDOWS_H
#define ZERODL_IMAGES_WINDOWS_H

#include <stddef.h>

#include "../zerodl.h"

typedef struct zdl_windows windows;

static inline ptrdiff_t out_height(const windows *w) { return (w->height + 2 * w->pad - w->filter_h) / w->stride + 1; }
static inline ptrdiff_t out_width(const windows *w) { return (w->width + 2 * w->pad - w->filter_w) / w->stride + 1; }

/* The number of places of one output channel. */
static inline ptrdiff_t places_of(const windows *w) { return out_height(w) * out_width(w); }
/* The number of weights of a filter: the pixels of a window in all channels. */
static inline ptrdiff_t weights_of(const windows *w) { return w->channels * w->filter_h * w->filter_w; }
/* The number of pixels of an image in all channels. */
static inline ptrdiff_t pixels_of(const windows *w) { return w->channels * w->height * w->width; }

#endif
