/* Central differences of a fully connected net's loss, of every parameter. The weight from input i of a layer to its unit
   j changes the sums of that unit alone, and only in the samples whose input i is not 0. What it changes is computed anew
   up to the loss, above and below; what it does not change is kept. A bias is the weight of one more input, which is 1. */

struct differences {
    const network *net;
    matrix x;
    ptrdiff_t batch;
    real *const *a, *const *z; /* each layer's sums and outputs as they are */
    const int64_t *label;
    const real *t;
    real decay, h, loss;
    real *const *dw, *const *db;
    ptrdiff_t begin, count, stride; /* the inputs to be worked on, and the order */
    int failed;
};

enum { PAIRS = 256 };

/* What a thread works on: samples that one input reaches, each paired with some of the units. Arrays of 2 PAIRS hold
   what belongs to the weight's step up, and PAIRS further on what belongs to its step down. */
struct pairs {
    ptrdiff_t reached[PAIRS]; /* samples */
    real input[PAIRS];        /* of the reached samples */
    ptrdiff_t sample[PAIRS], unit[PAIRS];
    real a[PAIRS], z[PAIRS], change[2 * PAIRS]; /* the unit's sum and output, and the change of the output */
    int64_t label[PAIRS];
    real difference[PAIRS]; /* of the losses */
    ptrdiff_t classes;
    real *output;  /* [classes, PAIRS]: sums of the last layer, of the reached samples */
    real *score;   /* [classes, 2 PAIRS]: what becomes of them */
    real *one_hot; /* [classes] */
    real *rows, *next_rows; /* [2 PAIRS, the widest layer]: a layer's outputs, and the next layer's */
};

static real input_of(const struct differences *t, int l, ptrdiff_t i, ptrdiff_t sample)
{
    ptrdiff_t width = t->net->width[l];
    if (i == width)
        return 1;
    return l ? t->z[l - 1][sample * width + i] : t->x.at[sample * t->x.row + i * t->x.col];
}

static real parameter(const struct differences *t, int l, ptrdiff_t i, ptrdiff_t j)
{
    ptrdiff_t n = t->net->width[l + 1];
    return i == t->net->width[l] ? t->net->b[l][j] : t->net->w[l][i * n + j];
}

/* Find samples from *next on that input i of layer l reaches, PAIRS at most; returns how many. */
static ptrdiff_t reach(struct pairs *p, const struct differences *t, int l, ptrdiff_t i, ptrdiff_t *next)
{
    ptrdiff_t count = 0;
    for (; *next < t->batch && count < PAIRS; ++*next) {
        real input = input_of(t, l, i, *next);
        p->reached[count] = *next;
        p->input[count] = input;
        count += input != 0; /* nan does reach */
    }
    const real *sums = t->a[t->net->depth - 1];
    for (ptrdiff_t c = 0; c < p->classes; c++)
        for (ptrdiff_t k = 0; k < count; k++)
            p->output[c * PAIRS + k] = sums[p->reached[k] * p->classes + c];
    return count;
}

/* Pair `units` units from `first` on with the reached samples, and see how the steps of their weights change them. */
static void change_units(struct pairs *p, const struct differences *t, int l, ptrdiff_t i, ptrdiff_t first,
                         ptrdiff_t units, ptrdiff_t reached)
{
    ptrdiff_t n = t->net->width[l + 1];
    bool last = l == t->net->depth - 1;
    const real *outputs = last ? t->a[l] : t->z[l];
    for (ptrdiff_t k = 0; k < reached; k++)
        for (ptrdiff_t j = 0, q = k; j < units; j++, q += reached) {
            p->sample[q] = p->reached[k];
            p->unit[q] = first + j;
            p->a[q] = t->a[l][p->reached[k] * n + first + j];
            p->z[q] = outputs[p->reached[k] * n + first + j];
        }
    for (ptrdiff_t j = 0, q = 0; j < units; j++, q += reached) {
        real w = parameter(t, l, i, first + j), up = (w + t->h) - w, down = (w - t->h) - w;
        enum zdl_activation f = last ? ZDL_IDENTITY : t->net->hidden;
        kernels()->activate_sum(p->change + q, p->a + q, up, p->input, f, reached);
        kernels()->activate_sum(p->change + PAIRS + q, p->a + q, down, p->input, f, reached);
    }
    for (ptrdiff_t q = 0; q < units * reached; q++) {
        bool fixed = isinf(p->a[q]); /* whatever the weight of an infinite input */
        p->change[q] = fixed ? 0 : p->change[q] - p->z[q];
        p->change[PAIRS + q] = fixed ? 0 : p->change[PAIRS + q] - p->z[q];
    }
}

/* The scores, where the units are those of the last layer, or feed it. */
static void score_at_once(struct pairs *p, const struct differences *t, int l, ptrdiff_t pairs, ptrdiff_t reached)
{
    int last = t->net->depth - 1;
    for (ptrdiff_t q = 0; q < pairs; q += reached) {
        ptrdiff_t unit = p->unit[q];
        if (l == last)
            p->one_hot[unit] = 1;
        const real *weights = l == last ? p->one_hot : t->net->w[last] + unit * p->classes;
        for (ptrdiff_t side = q; side < 2 * PAIRS; side += PAIRS)
            kernels()->add_outer(p->score + side, 2 * PAIRS, p->output, PAIRS, weights, p->change + side, p->classes,
                                 reached);
        if (l == last)
            p->one_hot[unit] = 0;
    }
}

/* Drop the pairs whose units do not change, as those of relu often do not; returns how many are left. */
static ptrdiff_t keep_changed(struct pairs *p, ptrdiff_t pairs)
{
    ptrdiff_t kept = 0;
    for (ptrdiff_t q = 0; q < pairs; q++) {
        real up = p->change[q], down = p->change[PAIRS + q];
        p->sample[kept] = p->sample[q];
        p->unit[kept] = p->unit[q];
        p->change[kept] = up;
        p->change[PAIRS + kept] = down;
        kept += up != 0 || down != 0;
    }
    return kept;
}

/* The scores, where layers lie between. */
static bool score_by_layers(struct pairs *p, const struct differences *t, int l, ptrdiff_t pairs)
{
    const network *net = t->net;
    ptrdiff_t n = net->width[l + 2], rows = 2 * pairs;
    for (ptrdiff_t r = 0; r < rows; r++) {
        ptrdiff_t q = r < pairs ? r : r - pairs;
        real change = p->change[r < pairs ? q : PAIRS + q];
        kernels()->activate_sum(p->rows + r * n, t->a[l + 1] + p->sample[q] * n, change,
                                net->w[l + 1] + p->unit[q] * n, net->hidden, n);
    }
    for (int d = l + 2; d < net->depth; d++) {
        ptrdiff_t k = n;
        n = net->width[d + 1];
        product sums = {p->next_rows, n, {p->rows, k, 1}, {net->w[d], n, 1}, rows, k, n, net->b[d],
                        d == net->depth - 1 ? ZDL_IDENTITY : net->hidden};
        if (!kernels()->matmul(&sums))
            return false;
        p->next_rows = p->rows;
        p->rows = sums.out;
    }
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = 0; c < n; c++)
            p->score[c * 2 * PAIRS + (r < pairs ? r : PAIRS + r - pairs)] = p->rows[r * n + c];
    return true;
}

static void compare_losses(struct pairs *p, const struct differences *t, ptrdiff_t pairs)
{
    if (t->label) {
        for (ptrdiff_t q = 0; q < pairs; q++)
            p->label[q] = t->label[p->sample[q]];
        kernels()->cross_entropy_difference(p->difference, p->score, p->score + PAIRS, 2 * PAIRS, p->classes, p->label,
                                            pairs);
        return;
    }
    for (ptrdiff_t q = 0; q < pairs; q++) {
        p->difference[q] = 0;
        for (ptrdiff_t c = 0; c < p->classes; c++) {
            const real *score = p->score + c * 2 * PAIRS + q;
            real target = t->t[p->sample[q] * p->classes + c], up = score[0] - target, down = score[PAIRS] - target;
            p->difference[q] += (up - down) * (up + down) / 2;
        }
    }
}

/* sum[j] += the differences of the losses of all samples, for each weight from input i. */
static bool add_differences(real *sum, struct pairs *p, const struct differences *t, int l, ptrdiff_t i)
{
    ptrdiff_t n = t->net->width[l + 1];
    for (ptrdiff_t next = 0, reached; next < t->batch;) {
        reached = reach(p, t, l, i, &next);
        ptrdiff_t step = reached ? PAIRS / reached : n;
        for (ptrdiff_t first = 0; reached && first < n; first += step) {
            ptrdiff_t units = first + step < n ? step : n - first, pairs = units * reached;
            change_units(p, t, l, i, first, units, reached);
            if (l + 2 >= t->net->depth)
                score_at_once(p, t, l, pairs, reached);
            else if (!score_by_layers(p, t, l, pairs = keep_changed(p, pairs)))
                return false;
            compare_losses(p, t, pairs);
            for (ptrdiff_t q = 0; q < pairs; q++)
                sum[p->unit[q]] += p->difference[q];
        }
    }
    return true;
}

static bool differentiate_input(struct pairs *p, const struct differences *t, int l, ptrdiff_t i)
{
    ptrdiff_t n = t->net->width[l + 1];
    bool bias = i == t->net->width[l];
    real *grad = bias ? t->db[l] : t->dw[l] + i * n;
    for (ptrdiff_t j = 0; j < n; j++)
        grad[j] = isfinite(t->loss) ? 0 : (real)NAN;
    if (isfinite(t->loss) && !add_differences(grad, p, t, l, i))
        return false;
    for (ptrdiff_t j = 0; j < n; j++) {
        real w = parameter(t, l, i, j), up = w + t->h, down = w - t->h;
        real of_squares = bias || t->decay == 0 ? 0 : t->decay * (up - down) * (up + down) / 2;
        grad[j] = (grad[j] / (t->label ? (real)t->batch : 1) + of_squares) / (2 * t->h);
    }
    return true;
}

/* NULL if memory is lacking */
static struct pairs *allocate_pairs(const network *net)
{
    size_t classes = (size_t)net->width[net->depth], widest = classes;
    for (int l = 1; l < net->depth; l++)
        widest = (size_t)net->width[l] > widest ? (size_t)net->width[l] : widest;
    size_t rows = net->depth > 2 ? 2 * PAIRS * widest : 0;
    struct pairs *p = calloc(1, sizeof *p + (classes * (3 * PAIRS + 1) + 2 * rows) * sizeof(real));
    if (!p)
        return NULL;
    p->classes = (ptrdiff_t)classes;
    p->output = (real *)(p + 1);
    p->score = p->output + classes * PAIRS;
    p->rows = p->score + classes * 2 * PAIRS;
    p->next_rows = p->rows + rows;
    p->one_hot = p->next_rows + rows;
    return p;
}

static void differences_range(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct differences *t = task;
    struct pairs *p = allocate_pairs(t->net);
    bool done = p != NULL;
    for (ptrdiff_t e = begin; done && e < end; e++) {
        ptrdiff_t i = t->begin + e * t->stride % t->count;
        int l = 0;
        for (; i > t->net->width[l]; l++)
            i -= t->net->width[l] + 1;
        done = differentiate_input(p, t, l, i);
    }
    if (!done)
        t->failed = 1;
    free(p);
}

/* A stride through `count` inputs that meets each of them once, and mixes them well: some cost more than others, and
   those lie side by side. */
static ptrdiff_t mixing_stride(ptrdiff_t count)
{
    for (ptrdiff_t stride = (ptrdiff_t)(0.618 * (double)count) + 1;; stride++) {
        ptrdiff_t a = stride, b = count;
        while (b) {
            ptrdiff_t rest = a % b;
            a = b;
            b = rest;
        }
        if (a == 1)
            return stride;
    }
}

static real loss_of(const struct differences *t)
{
    int last = t->net->depth - 1;
    ptrdiff_t classes = t->net->width[last + 1];
    double loss = t->label ? ZDL(cross_entropy)(t->z[last], t->label, t->batch, classes)
                           : ZDL(sum_of_squares)(t->a[last], t->t, t->batch * classes);
    for (int l = 0; t->decay != 0 && l <= last; l++)
        for (ptrdiff_t i = 0; i < t->net->width[l] * t->net->width[l + 1]; i++)
            loss += t->decay * t->net->w[l][i] * t->net->w[l][i];
    return loss;
}

int zdl_network_numerical_gradient(double *const *dw, double *const *db, const double *x, ptrdiff_t x_row,
                                   ptrdiff_t x_col, const int64_t *label, const double *t, ptrdiff_t batch,
                                   double decay, double h, ptrdiff_t begin, ptrdiff_t end, const network *net)
{
    real **a = allocate_outputs(net, net->depth, batch), **z = allocate_outputs(net, net->depth, batch);
    int status = a && z ? ZDL(network_forward)(a, z, x, x_row, x_col, batch, net) : ZDL_NO_MEMORY;
    if (status == ZDL_OK && begin < end) {
        struct differences task = {net, {x, x_row, x_col}, batch, a, z, label, t, decay, h, 0,
                                   dw, db, begin, end - begin, mixing_stride(end - begin), 0};
        task.loss = loss_of(&task);
        double losses = 2 * (double)batch * (double)task.count * (double)net->width[net->depth];
        zdl_parallel_for(task.count, zdl_threads_for(losses, GRAIN_EXP), differences_range, &task);
        status = task.failed ? ZDL_NO_MEMORY : ZDL_OK;
    }
    free(a);
    free(z);
    return status;
}
