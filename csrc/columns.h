/* Images as matrices: a row for each place of the output. */

struct columns {
    const windows *w;
    real *col, *image;
    bool back; /* from col to image, adding up */
};

/* One row of a window: its pixels lie side by side in the image, but for those around it. */
static void move_row(const struct columns *t, real *col, real *pixel, ptrdiff_t begin, ptrdiff_t end)
{
    if (t->back)
        for (ptrdiff_t j = begin; j < end; j++)
            pixel[j] += col[j];
    else
        for (ptrdiff_t j = 0; j < t->w->filter_w; j++)
            col[j] = begin <= j && j < end ? pixel[j] : 0;
}

static void move_images(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    const struct columns *t = task;
    const windows *w = t->w;
    ptrdiff_t out_h = out_height(w), out_w = out_width(w), k = weights_of(w), lines = w->channels * w->filter_h;
    for (ptrdiff_t place = begin * out_h * out_w; place < end * out_h * out_w; place++) {
        ptrdiff_t left = place % out_w * w->stride - w->pad, top = place / out_w % out_h * w->stride - w->pad;
        real *image = t->image + place / (out_h * out_w) * w->channels * w->height * w->width;
        for (ptrdiff_t line = 0; line < lines; line++) {
            ptrdiff_t row = top + line % w->filter_h;
            bool inside = 0 <= row && row < w->height;
            real *pixel = image + (inside ? (line / w->filter_h * w->height + row) * w->width : 0) + left;
            move_row(t, t->col + place * k + line * w->filter_w, pixel, inside ? between(0, -left, w->filter_w) : 0,
                     inside ? between(0, w->width - left, w->filter_w) : 0);
        }
    }
}

void ZDL(im2col)(real *col, const real *x, const windows *w)
{
    struct columns task = {w, col, (real *)x, false};
    by_images(move_images, &task, w);
}

void ZDL(col2im)(real *dx, const real *col, const windows *w)
{
    memset(dx, 0, (size_t)(w->batch * w->channels * w->height * w->width) * sizeof(real));
    struct columns task = {w, (real *)col, dx, true};
    by_images(move_images, &task, w);
}
