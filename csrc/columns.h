/* Images as matrices: a row for each place of the output. */

static void im2col_range(void *task, ptrdiff_t begin, ptrdiff_t end) { kernels()->im2col(task, begin, end); }
static void col2im_range(void *task, ptrdiff_t begin, ptrdiff_t end) { kernels()->col2im(task, begin, end); }

void ZDL(im2col)(real *col, const real *x, const windows *w)
{
    columns task = {w, out_height(w), out_width(w), col, (real *)x};
    by_images(im2col_range, &task, w);
}

void ZDL(col2im)(real *dx, const real *col, const windows *w)
{
    columns task = {w, out_height(w), out_width(w), (real *)col, dx};
    by_images(col2im_range, &task, w);
}
