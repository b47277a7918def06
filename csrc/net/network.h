/* A fully connected net in one call. For layers l = 0, ..., depth - 1, with z[-1] = x:

     a[l] = z[l - 1] @ w[l] + b[l]
     z[l] = hidden(a[l]) for l < depth - 1, z[depth - 1] = softmax(a[depth - 1])
     da[depth - 1] = (z[depth - 1] - target) / batch, da[l - 1] = (da[l] @ w[l].T) * hidden'(a[l - 1])
     dw[l] = z[l - 1].T @ da[l], db[l] = da[l] summed over its rows

   The batch is split over threads. Each thread takes its rows through all layers. */
#ifndef ZERODL_NET_NETWORK_H
#define ZERODL_NET_NETWORK_H

#include <stdlib.h>
#include <string.h>

#include "../internal/operations.h"

typedef struct ZDL(network) network;

/* One pass of a batch through a net: its inputs and outputs. */
struct pass {
    const network *net;
    matrix x;
    ptrdiff_t batch;
    real *const *a, *const *z; /* a is NULL if it is not kept */
    const int64_t *label;      /* the labels; if NULL, `targets` has a row for each sample */
    const real *targets;
    real *const *da; /* gradients of the loss with respect to a */
    real *const *dw, *const *db;
    atomic_int failed;
};

/* The inputs z[l - 1] of layer l, from row `row` of the batch on. */
static matrix inputs(const struct pass *pass, int l, ptrdiff_t row)
{
    ptrdiff_t width = pass->net->width[l];
    return l ? (matrix){pass->z[l - 1] + row * width, width, 1} : submatrix(pass->x, row, 0);
}

static void activate(enum zdl_activation activation, real *z, const real *a, ptrdiff_t n)
{
    elementwise task = {.out = z, .x = a};
    switch (activation) {
    case ZDL_IDENTITY: memcpy(z, a, (size_t)n * sizeof(real)); break;
    case ZDL_SIGMOID: kernels()->sigmoid(&task, 0, n); break;
    case ZDL_RELU: kernels()->relu(&task, 0, n); break;
    case ZDL_TANH: kernels()->tanh(&task, 0, n); break;
    }
}

/* da = dz times the activation's derivative, in place */
static void activate_backward(enum zdl_activation activation, real *da, const real *z, ptrdiff_t n)
{
    elementwise task = {.out = da, .x = da, .y = z};
    switch (activation) {
    case ZDL_IDENTITY: break;
    case ZDL_SIGMOID: kernels()->sigmoid_backward(&task, 0, n); break;
    case ZDL_RELU: kernels()->relu_backward(&task, 0, n); break;
    case ZDL_TANH: kernels()->tanh_backward(&task, 0, n); break;
    }
}

/* out[rows, width[l + 1]] = activation(x[rows, width[l]] @ w[l] + b[l]). False if there is no memory. */
static bool multiply_layer(real *out, matrix x, const network *net, int l, ptrdiff_t rows,
                           enum zdl_activation activation)
{
    ptrdiff_t k = net->width[l], n = net->width[l + 1];
    return kernels()->matmul(&(product){out, n, x, {net->w[l], n, 1}, rows, k, n, net->b[l], activation});
}

static void forward_rows(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct pass *pass = task;
    const network *net = pass->net;
    for (int l = 0; l < net->depth; l++) {
        ptrdiff_t n = net->width[l + 1], rows = end - begin;
        bool last = l == net->depth - 1;
        real *z = pass->z[l] + begin * n, *a = pass->a ? pass->a[l] + begin * n : z;
        enum zdl_activation activation = pass->a || last ? ZDL_IDENTITY : net->hidden;
        if (!multiply_layer(a, inputs(pass, l, begin), net, l, rows, activation))
            pass->failed = 1;
        if (last)
            kernels()->softmax(&(rowwise){.out = z, .x = a, .cols = n}, 0, rows);
        else if (pass->a)
            activate(net->hidden, z, a, rows * n);
    }
}

/* The forward pass, then the backward pass as far as da. */
static void forward_backward_rows(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct pass *pass = task;
    const network *net = pass->net;
    forward_rows(task, begin, end);
    int l = net->depth - 1;
    ptrdiff_t rows = end - begin, n = net->width[l + 1];
    rowwise loss = {.out = pass->da[l],
                    .x = pass->z[l],
                    .y = pass->targets,
                    .label = pass->label,
                    .divisor = (real)pass->batch,
                    .cols = n};
    (pass->label ? kernels()->subtract_label_divide : kernels()->subtract_divide)(&loss, begin, end);
    for (; l > 0; l--) {
        n = net->width[l + 1];
        ptrdiff_t k = net->width[l];
        matrix da = {pass->da[l] + begin * n, n, 1}, w_transposed = {net->w[l], 1, n};
        product dz = {pass->da[l - 1] + begin * k, k, da, w_transposed, rows, n, k, NULL, ZDL_IDENTITY};
        if (!kernels()->matmul(&dz))
            pass->failed = 1;
        activate_backward(net->hidden, dz.out, pass->z[l - 1] + begin * k, rows * k);
    }
}

/* dw = inputs.T @ da and db = da summed over its rows, for every layer. Each dw and each db is cut into SHARES shares,
   and weight_shares computes shares [begin, end). There are more shares than threads, so that all threads get about
   equal work. */
enum { SHARES = 64 };

static void weight_shares(void *task, ptrdiff_t begin, ptrdiff_t end)
{
    struct pass *pass = task;
    for (int l = 0; l < pass->net->depth; l++) {
        ptrdiff_t k = pass->net->width[l], n = pass->net->width[l + 1];
        ptrdiff_t top = k * begin / SHARES, left = n * begin / SHARES;
        matrix z = inputs(pass, l, 0), z_transposed = {z.at, z.col, z.row}, da = {pass->da[l], n, 1};
        product dw = {
            pass->dw[l] + top * n, n, submatrix(z_transposed, top, 0), da, k * end / SHARES - top, pass->batch, n, NULL,
            ZDL_IDENTITY};
        if (!kernels()->matmul(&dw))
            pass->failed = 1;
        kernels()->sum_rows(&(column_sums){pass->db[l], da.at, pass->batch, n}, left, n * end / SHARES);
    }
}

/* Call f on [0, n), split over threads. The work is estimated as `passes` matrix products of the batch with the weights
   of each layer. There are at most two pieces for each thread, because each piece packs the weights again in the
   backward pass. */
static void split(range_function *f, struct pass *pass, ptrdiff_t n, double passes)
{
    double weights = 0;
    for (int l = 0; l < pass->net->depth; l++)
        weights += (double)pass->net->width[l] * (double)pass->net->width[l + 1];
    struct zdl_split parts = zdl_split_of(2 * passes * weights * (double)pass->batch, GRAIN_FLOPS);
    if (parts.pieces > 2 * parts.threads)
        parts.pieces = 2 * parts.threads;
    zdl_parallel_for(n, parts, f, pass);
}

/* A (batch, width) matrix for the outputs of each of the first `layers` layers, in one allocation. NULL if it fails. */
static real **allocate_outputs(const network *net, int layers, ptrdiff_t batch)
{
    size_t pointers = (size_t)net->depth * sizeof(real *);
    double bytes = 0; /* a double does not overflow here */
    for (int l = 0; l < layers; l++)
        bytes += (double)batch * (double)net->width[l + 1] * (double)sizeof(real);
    real **outputs = bytes < (double)(PTRDIFF_MAX / 2) ? malloc(pointers + (size_t)bytes) : NULL;
    if (!outputs)
        return NULL;
    real *next = (real *)(outputs + net->depth);
    for (int l = 0; l < layers; l++, next += batch * net->width[l])
        outputs[l] = next;
    return outputs;
}

int ZDL(network_predict)(real *y, const real *x, ptrdiff_t x_row, ptrdiff_t x_col, ptrdiff_t batch, const network *net)
{
    real **z = allocate_outputs(net, net->depth - 1, batch);
    if (!z)
        return ZDL_NO_MEMORY;
    z[net->depth - 1] = y;
    int status = ZDL(network_forward)(NULL, z, x, x_row, x_col, batch, net);
    free(z);
    return status;
}

int ZDL(network_forward)(real *const *a, real *const *z, const real *x, ptrdiff_t x_row, ptrdiff_t x_col,
                         ptrdiff_t batch, const network *net)
{
    struct pass pass = {.net = net, .x = {x, x_row, x_col}, .batch = batch, .a = a, .z = z};
    split(forward_rows, &pass, batch, 1);
    return pass.failed ? ZDL_NO_MEMORY : ZDL_OK;
}

int ZDL(network_gradient)(real *const *dw, real *const *db, real *const *a, real *const *z, const real *x,
                          ptrdiff_t x_row, ptrdiff_t x_col, const int64_t *label, const real *t, ptrdiff_t batch,
                          const network *net)
{
    real **da = allocate_outputs(net, net->depth, batch);
    if (!da)
        return ZDL_NO_MEMORY;
    struct pass pass = {net, {x, x_row, x_col}, batch, a, z, label, t, da, dw, db, 0};
    split(forward_backward_rows, &pass, batch, 2);
    split(weight_shares, &pass, SHARES, 1);
    free(da);
    return pass.failed ? ZDL_NO_MEMORY : ZDL_OK;
}

#endif
