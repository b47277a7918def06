/* Central differences of a fully connected net's loss L, for every parameter p: (L(p + h) - L(p - h)) / 2h.

   The weight from input i of a layer to its unit j affects only the sum of this unit, and only in samples whose input i
   is not 0. For the step up and the step down, only what the weight affects is computed again, up to the loss. All else
   is computed once and reused. A bias is treated as the weight of one more input, which is always 1. */
#ifndef ZERODL_NET_DIFFERENCES_H
#define ZERODL_NET_DIFFERENCES_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "network.h"

struct differences {
    const network *net;
    matrix x;
    ptrdiff_t batch;
    real *const *a;                /* each layer's sums without a step: [batch, width[l + 1]] */
    real *const *a_t, *const *z_t; /* the transposed sums and outputs: [width[l + 1], batch] */
    const int64_t *label;
    const real *targets;
    real decay, h, loss;
    real *const *dw, *const *db;
    ptrdiff_t begin, count, stride; /* inputs [begin, begin + count), visited with this stride */
    atomic_int failed;
};

/* Block sizes. At most SAMPLES samples x UNITS units are worked on at a time, and at most PAIRS pairs: a pair is a unit
   and a sample in which its output changes. A workspace of this size fits the L2 cache. Kernels may read and write up
   to SLACK numbers beyond the end of an array, as many as the longest vector has. */
enum { SAMPLES = 256, UNITS = 8, PAIRS = 256, SLACK = 16 };

/* The memory of one piece of work. In arrays of two, [0] is for the step up and [1] for the step down. */
struct workspace {
    ptrdiff_t sample[SAMPLES]; /* the samples whose current input is not 0 */
    real label[SAMPLES + SLACK], input[SAMPLES + SLACK];
    real a[UNITS][SAMPLES + SLACK], z[UNITS][SAMPLES + SLACK], change[UNITS][2][SAMPLES + SLACK];
    real *one_hot; /* [classes] */
    real *score; /* [classes, SAMPLES]: sums of the last layer, for these samples */
    /* For units with layers between them and the scores: the pairs, and their outputs [2 * PAIRS, largest width]. */
    ptrdiff_t pairs, pair_sample[PAIRS], pair_unit[PAIRS];
    real pair_label[PAIRS + SLACK], pair_change[2][PAIRS], no_change[PAIRS + SLACK];
    real *rows, *next_rows, *pair_score[2];
};

static real parameter(const struct differences *t, int l, ptrdiff_t i, ptrdiff_t j)
{
    ptrdiff_t n = t->net->width[l + 1];
    return i == t->net->width[l] ? t->net->b[l][j] : t->net->w[l][i * n + j];
}

/* Input i of layer l for a sample. The input after the last is 1, for the bias. */
static real input_of(const struct differences *t, int l, ptrdiff_t i, ptrdiff_t sample)
{
    if (i == t->net->width[l])
        return 1;
    return l ? t->z_t[l - 1][i * t->batch + sample] : t->x.at[sample * t->x.row + i * t->x.col];
}

/* Find up to SAMPLES samples, from *next on, whose input i of layer l is not 0, and copy what is needed of these
   samples to the workspace. Returns how many there are. */
static ptrdiff_t find_samples(struct workspace *w, const struct differences *t, int l, ptrdiff_t i, ptrdiff_t *next)
{
    ptrdiff_t count = 0;
    for (; *next < t->batch && count < SAMPLES; ++*next) {
        real input = input_of(t, l, i, *next);
        w->sample[count] = *next;
        w->input[count] = input;
        w->label[count] = t->label ? (real)t->label[*next] : 0;
        count += input != 0; /* nan counts */
    }
    const real *sums = t->a_t[t->net->depth - 1];
    for (ptrdiff_t c = 0; c < t->net->width[t->net->depth]; c++)
        for (ptrdiff_t k = 0; k < count; k++)
            w->score[c * SAMPLES + k] = sums[c * t->batch + w->sample[k]];
    return count;
}

/* What is left of a step after rounding. It is 0 for an infinite weight. */
static real step_taken(real from, real to) { return from == to ? 0 : to - from; }

/* For each unit in [first, first + units) of layer l and each of `count` samples: change = the change of the unit's
   output by a step of the weight from input i to this unit. */
static void change_units(struct workspace *w, const struct differences *t, int l, ptrdiff_t i, ptrdiff_t first,
                         ptrdiff_t units, ptrdiff_t count)
{
    bool last = l == t->net->depth - 1;
    for (ptrdiff_t u = 0; u < units; u++) {
        const real *a = t->a_t[l] + (first + u) * t->batch, *z = last ? a : t->z_t[l] + (first + u) * t->batch;
        for (ptrdiff_t k = 0; k < count; k++) {
            w->a[u][k] = a[w->sample[k]];
            w->z[u][k] = z[w->sample[k]];
        }
    }
    for (ptrdiff_t u = 0; u < units; u++) {
        real weight = parameter(t, l, i, first + u);
        real step[2] = {step_taken(weight, weight + t->h), step_taken(weight, weight - t->h)};
        for (int side = 0; side < 2; side++)
            kernels()->activation_change(w->change[u][side], w->a[u], w->z[u], step[side], w->input,
                                         last ? ZDL_IDENTITY : t->net->hidden, count);
    }
}

/* The loss after the step up minus the loss after the step down, summed over the samples of s. The targets are in
   `label` or, if t->label is NULL, in the rows of t->targets that `sample` lists. */
static real compare_losses(const struct differences *t, stepped_scores s, const real *label, const ptrdiff_t *sample)
{
    if (t->label)
        return kernels()->cross_entropy_difference(&s, label);
    real sum = 0;
    for (ptrdiff_t k = 0; k < s.n; k++)
        for (ptrdiff_t c = 0; c < s.classes; c++) {
            real target = t->targets[sample[k] * s.classes + c];
            real up = s.score[0][c * s.row + k] + s.change[0][k] * s.weight[c] - target;
            real down = s.score[1][c * s.row + k] + s.change[1][k] * s.weight[c] - target;
            sum += (up - down) * (up + down) / 2;
        }
    return sum;
}

/* compare_losses for a unit of one of the last two layers. A unit of the last layer changes one score. A unit of the
   layer before changes all scores, each in proportion to one weight. */
static real compare_directly(struct workspace *w, const struct differences *t, int l, ptrdiff_t first, ptrdiff_t u,
                             ptrdiff_t count)
{
    int last = t->net->depth - 1;
    ptrdiff_t classes = t->net->width[last + 1], j = first + u;
    if (l == last)
        w->one_hot[j] = 1;
    stepped_scores s = {{w->score, w->score},
                        {w->change[u][0], w->change[u][1]},
                        l == last ? w->one_hot : t->net->w[last] + j * classes,
                        SAMPLES,
                        classes,
                        count};
    real difference = compare_losses(t, s, w->label, w->sample);
    if (l == last)
        w->one_hot[j] = 0;
    return difference;
}

/* Add to the pairs those samples in which unit first + u changes. The output of a relu often does not change. */
static void add_pairs(struct workspace *w, ptrdiff_t first, ptrdiff_t u, ptrdiff_t count)
{
    for (ptrdiff_t k = 0; k < count; k++) {
        ptrdiff_t q = w->pairs;
        real up = w->change[u][0][k], down = w->change[u][1][k];
        w->pair_sample[q] = w->sample[k];
        w->pair_unit[q] = first + u;
        w->pair_label[q] = w->label[k];
        w->pair_change[0][q] = up;
        w->pair_change[1][q] = down;
        w->pairs += up != 0 || down != 0;
    }
}

/* Take the changed outputs of layer l through the layers after it, to the scores of the pairs in pair_score. The rows
   of the step up come first, then those of the step down. False if there is no memory. */
static bool forward_pairs(struct workspace *w, const struct differences *t, int l)
{
    const network *net = t->net;
    ptrdiff_t n = net->width[l + 2], rows = 2 * w->pairs;
    for (ptrdiff_t r = 0; r < rows; r++) {
        ptrdiff_t q = r % w->pairs;
        kernels()->activate_sum(w->rows + r * n, t->a[l + 1] + w->pair_sample[q] * n, w->pair_change[r / w->pairs][q],
                                net->w[l + 1] + w->pair_unit[q] * n, net->hidden, n);
    }
    for (int d = l + 2; d < net->depth; d++) {
        enum zdl_activation activation = d == net->depth - 1 ? ZDL_IDENTITY : net->hidden;
        real *next = w->next_rows;
        if (!multiply_layer(next, (matrix){w->rows, n, 1}, net, d, rows, activation))
            return false;
        w->next_rows = w->rows;
        w->rows = next;
        n = net->width[d + 1];
    }
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t c = 0; c < n; c++)
            w->pair_score[r / w->pairs][c * PAIRS + r % w->pairs] = w->rows[r * n + c];
    return true;
}

/* sum[j] += the differences of the losses over the pairs of each unit j. Then empties the pairs. */
static bool compare_by_layers(real *sum, struct workspace *w, const struct differences *t, int l)
{
    if (w->pairs && !forward_pairs(w, t, l))
        return false;
    for (ptrdiff_t q = 0, end; q < w->pairs; q = end) {
        for (end = q + 1; end < w->pairs && w->pair_unit[end] == w->pair_unit[q];)
            end++;
        stepped_scores s = {{w->pair_score[0] + q, w->pair_score[1] + q},
                            {w->no_change, w->no_change},
                            w->one_hot,
                            PAIRS,
                            t->net->width[t->net->depth],
                            end - q};
        sum[w->pair_unit[q]] += compare_losses(t, s, w->pair_label + q, w->pair_sample + q);
    }
    w->pairs = 0;
    return true;
}

/* sum[j] += the difference of the losses over all samples, for the weight from input i to each unit j of layer l. */
static bool add_differences(real *sum, struct workspace *w, const struct differences *t, int l, ptrdiff_t i)
{
    ptrdiff_t n = t->net->width[l + 1];
    for (ptrdiff_t next = 0; next < t->batch;) {
        ptrdiff_t count = find_samples(w, t, l, i, &next);
        for (ptrdiff_t first = 0; count && first < n; first += UNITS) {
            ptrdiff_t units = n - first < UNITS ? n - first : UNITS;
            change_units(w, t, l, i, first, units, count);
            for (ptrdiff_t u = 0; u < units; u++) {
                if (l + 2 >= t->net->depth) {
                    sum[first + u] += compare_directly(w, t, l, first, u, count);
                    continue;
                }
                if (w->pairs + count > PAIRS && !compare_by_layers(sum, w, t, l))
                    return false;
                add_pairs(w, first, u, count);
            }
        }
        if (!compare_by_layers(sum, w, t, l))
            return false;
    }
    return true;
}

static bool differentiate_input(struct workspace *w, const struct differences *t, int l, ptrdiff_t i)
{
    ptrdiff_t n = t->net->width[l + 1];
    bool bias = i == t->net->width[l];
    real *grad = bias ? t->db[l] : t->dw[l] + i * n;
    for (ptrdiff_t j = 0; j < n; j++)
        grad[j] = isfinite(t->loss) ? 0 : (real)NAN;
    if (isfinite(t->loss) && !add_differences(grad, w, t, l, i))
        return false;
    for (ptrdiff_t j = 0; j < n; j++) {
        real weight = parameter(t, l, i, j), up = weight + t->h, down = weight - t->h;
        real of_squares = bias || t->decay == 0 ? 0 : t->decay * (up - down) * (up + down) / 2;
        grad[j] = (grad[j] / (t->label ? (real)t->batch : 1) + of_squares) / (2 * t->h);
    }
    return true;
}

/* NULL if there is no memory */
static struct workspace *allocate_workspace(const network *net)
{
    size_t classes = (size_t)net->width[net->depth], widest = classes;
    for (int l = 1; l < net->depth; l++)
        widest = (size_t)net->width[l] > widest ? (size_t)net->width[l] : widest;
    size_t scores = classes * PAIRS + SLACK, rows = net->depth > 2 ? 2 * PAIRS * widest : 0;
    struct workspace *w = calloc(1, sizeof *w + (classes + 3 * scores + 2 * rows) * sizeof(real));
    if (!w)
        return NULL;
    w->one_hot = (real *)(w + 1);
    w->score = w->one_hot + classes;
    w->pair_score[0] = w->score + scores;
    w->pair_score[1] = w->pair_score[0] + scores;
    w->rows = w->pair_score[1] + scores;
    w->next_rows = w->rows + rows;
    return w;
}

static void differences_range(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct differences *t = task;
    struct workspace *w = allocate_workspace(t->net);
    bool done = w != NULL;
    for (ptrdiff_t e = begin; done && e < end; e++) {
        ptrdiff_t i = t->begin + e * t->stride % t->count;
        int l = 0;
        for (; i > t->net->width[l]; l++)
            i -= t->net->width[l] + 1;
        done = differentiate_input(w, t, l, i);
    }
    if (!done)
        t->failed = 1;
    free(w);
}

/* A stride through `count` inputs, modulo count, that visits each of them once and mixes them well. Inputs that cost
   more lie side by side, so without mixing, some pieces would take longer. The stride is the first number above 0.618
   count, the golden section, that is coprime to count. */
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

/* The loss without a step, or twice the loss for targets. Only whether it is finite matters. */
static real loss_of(const struct differences *t, real *const *z)
{
    int last = t->net->depth - 1;
    ptrdiff_t classes = t->net->width[last + 1];
    double loss = t->label ? ZDL(cross_entropy)(z[last], t->label, t->batch, classes)
                           : ZDL(sum_of_squares)(t->a[last], t->targets, t->batch * classes);
    for (int l = 0; t->decay != 0 && l <= last; l++)
        for (ptrdiff_t i = 0; i < t->net->width[l] * t->net->width[l + 1]; i++)
            loss += t->decay * t->net->w[l][i] * t->net->w[l][i];
    return loss;
}

/* Transpose each layer's outputs from [batch, width[l + 1]] to [width[l + 1], batch]. */
static void transpose_outputs(real *const *transposed, real *const *outputs, const network *net, ptrdiff_t batch)
{
    for (int l = 0; l < net->depth; l++)
        for (ptrdiff_t i = 0; i < batch; i++)
            for (ptrdiff_t j = 0; j < net->width[l + 1]; j++)
                transposed[l][j * batch + i] = outputs[l][i * net->width[l + 1] + j];
}

int zdl_network_numerical_gradient(double *const *dw, double *const *db, const double *x, ptrdiff_t x_row,
                                   ptrdiff_t x_col, const int64_t *label, const double *t, ptrdiff_t batch,
                                   double decay, double h, ptrdiff_t begin, ptrdiff_t end, const network *net)
{
    real **outputs[4]; /* a, z, and both transposed */
    bool allocated = true;
    for (int k = 0; k < 4; k++)
        allocated = (outputs[k] = allocate_outputs(net, net->depth, batch)) && allocated;
    int status = allocated ? ZDL(network_forward)(outputs[0], outputs[1], x, x_row, x_col, batch, net) : ZDL_NO_MEMORY;
    if (status == ZDL_OK && begin < end) {
        transpose_outputs(outputs[2], outputs[0], net, batch);
        transpose_outputs(outputs[3], outputs[1], net, batch);
        struct differences task = {.net = net,
                                   .x = {x, x_row, x_col},
                                   .batch = batch,
                                   .a = outputs[0],
                                   .a_t = outputs[2],
                                   .z_t = outputs[3],
                                   .label = label,
                                   .targets = t,
                                   .decay = decay,
                                   .h = h,
                                   .dw = dw,
                                   .db = db,
                                   .begin = begin,
                                   .count = end - begin,
                                   .stride = mixing_stride(end - begin)};
        task.loss = loss_of(&task, outputs[1]);
        double losses = 2 * (double)batch * (double)task.count * (double)net->width[net->depth];
        /* Each piece allocates and clears a workspace first, so pieces are 4 times as large as for exp. */
        zdl_parallel_for(task.count, zdl_split_of(losses, 4 * GRAIN_EXP), differences_range, &task);
        status = task.failed ? ZDL_NO_MEMORY : ZDL_OK;
    }
    for (int k = 0; k < 4; k++)
        free(outputs[k]);
    return status;
}

#endif
