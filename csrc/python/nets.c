/* The functions of zerodl.h for fully connected nets, on NumPy's arrays. */
#include "read.h"

#include <stdlib.h>

typedef union {
    float *f32;
    double *f64;
} pointer;

static pointer pointer_to(const array *a)
{
    return is_double(a) ? (pointer){.f64 = a->data} : (pointer){.f32 = a->data};
}

enum { FEW_LAYERS = 8 }; /* the pointers of so many lie on the stack: an allocation costs more than a small layer */

/* A net as C's functions take it. x is its input. Layer l has width[l] inputs and the arrays w[l] to db[l]. The last
   layer has width[depth] outputs. The targets are in label or in dense, and the other is NULL. */
typedef struct {
    array x;
    int depth;
    ptrdiff_t *width;
    pointer *w, *b, *a, *z, *dw, *db;
    union {
        struct zdl_network_f32 f32;
        struct zdl_network_f64 f64;
    } network; /* of x's type */
    const int64_t *label;
    const void *dense;
    labels label_copy;
    void *block; /* with the pointers and widths, or NULL if they are few */
    pointer few_pointers[6 * FEW_LAYERS];
    ptrdiff_t few_widths[FEW_LAYERS + 1];
} net_arrays;

static void release(net_arrays *net)
{
    if (net->label)
        free_labels(&net->label_copy);
    free(net->block);
}

static bool allocate_layers(net_arrays *net, int depth)
{
    size_t layers = (size_t)depth;
    pointer *pointers = net->few_pointers;
    net->width = net->few_widths;
    if (depth > FEW_LAYERS) {
        pointers = net->block = malloc(6 * layers * sizeof(pointer) + (layers + 1) * sizeof(ptrdiff_t));
        if (!pointers)
            return false;
        net->width = (ptrdiff_t *)(pointers + 6 * layers);
    }
    net->depth = depth;
    net->w = pointers;
    net->b = pointers + layers;
    net->a = pointers + 2 * layers;
    net->z = pointers + 3 * layers;
    net->dw = pointers + 4 * layers;
    net->db = pointers + 5 * layers;
    return true;
}

/* Read the parameters or their gradients: for each layer l, arrays (width[l], width[l + 1]) and (width[l + 1],). The
   parameters are read first, and set the widths. */
static bool read_layers(const net_arrays *net, pointer *ws, pointer *bs, const uintptr_t *objects)
{
    for (int l = 0; l < net->depth; l++) {
        uintptr_t w = objects[2 * l], b = objects[2 * l + 1];
        OPERANDS(op, w, b);
        if (!READ(reals, op) || op.w.type != net->x.type)
            return false;
        if (ws == net->w)
            net->width[l + 1] = op.b.size;
        if (!is_matrix(&op.w, net->width[l], net->width[l + 1]) || !is_vector(&op.b, op.w.cols))
            return false;
        ws[l] = pointer_to(&op.w);
        bs[l] = pointer_to(&op.b);
    }
    return true;
}

/* Reads x and the parameters. The net must be released, whatever the status. */
static int read_net(net_arrays *net, uintptr_t x, const uintptr_t *params, int depth, enum zdl_activation hidden)
{
    net->block = NULL;
    net->label = NULL;
    if (depth < 1 || !read_reals(&net->x, &x, 1) || net->x.dims != 2)
        return NP_NOT_PLAIN;
    if (!allocate_layers(net, depth))
        return NP_NO_MEMORY;
    net->width[0] = net->x.cols;
    if (!read_layers(net, net->w, net->b, params))
        return NP_NOT_PLAIN;
    if (is_double(&net->x))
        net->network.f64 = (struct zdl_network_f64){depth, hidden, net->width, (void *)net->w, (void *)net->b};
    else
        net->network.f32 = (struct zdl_network_f32){depth, hidden, net->width, (void *)net->w, (void *)net->b};
    return NP_OK;
}

/* Read z of each layer and, if the sums are kept, a before z. Both are (batch, width[l + 1]). Without sums, net->a is
   NULL. */
static bool read_kept(net_arrays *net, const uintptr_t *kept, bool sums)
{
    int count = sums ? 2 : 1;
    for (int l = 0; l < net->depth; l++, kept += count) {
        uintptr_t z = kept[count - 1], a = kept[0];
        OPERANDS(op, z, a);
        if (!read_one_shape(op.all, op_objects, count) || op.z.type != net->x.type ||
            !is_matrix(&op.z, net->x.rows, net->width[l + 1]))
            return false;
        net->z[l] = pointer_to(&op.z);
        if (sums)
            net->a[l] = pointer_to(&op.a);
    }
    if (!sums)
        net->a = NULL;
    return true;
}

/* Read a label for each sample, or a number for each output of each sample. */
static int read_targets(net_arrays *net, uintptr_t t, bool may_be_labels)
{
    ptrdiff_t rows = net->x.rows, outputs = net->width[net->depth];
    array dense;
    int status = may_be_labels ? read_labels(&net->label_copy, t, rows, outputs) : NP_NOT_PLAIN;
    if (status == NP_OK)
        net->label = net->label_copy.data;
    net->dense = NULL;
    if (status != NP_NOT_PLAIN)
        return status;
    if (!read_array(&dense, t) || dense.type != net->x.type || !is_matrix(&dense, rows, outputs))
        return NP_NOT_PLAIN;
    net->dense = dense.data;
    return NP_OK;
}

/* In the calls below, a void * stands for pointers to float or double, or for the network. C converts it to what the
   function of the net's type takes. */

int np_network_predict(uintptr_t y, uintptr_t x, const uintptr_t *params, int depth, enum zdl_activation hidden)
{
    net_arrays net;
    array out;
    int status = read_net(&net, x, params, depth, hidden);
    if (status == NP_OK &&
        (!read_array(&out, y) || out.type != net.x.type || !is_matrix(&out, net.x.rows, net.width[depth])))
        status = NP_NOT_PLAIN;
    if (status == NP_OK)
        status = BY_TYPE(&net.x, zdl_network_predict, out.data, STRIDED(net.x), net.x.rows, (const void *)&net.network);
    release(&net);
    return status;
}

int np_network_forward(const uintptr_t *kept, uintptr_t x, const uintptr_t *params, int depth,
                       enum zdl_activation hidden)
{
    net_arrays net;
    int status = read_net(&net, x, params, depth, hidden);
    if (status == NP_OK && !read_kept(&net, kept, true))
        status = NP_NOT_PLAIN;
    if (status == NP_OK)
        status = BY_TYPE(&net.x, zdl_network_forward, (void *)net.a, (void *)net.z, STRIDED(net.x), net.x.rows,
                         (const void *)&net.network);
    release(&net);
    return status;
}

int np_network_gradient(const uintptr_t *grads, const uintptr_t *kept, int sums, uintptr_t x, uintptr_t t,
                        const uintptr_t *params, int depth, enum zdl_activation hidden)
{
    net_arrays net;
    int status = read_net(&net, x, params, depth, hidden);
    if (status == NP_OK && (!net.x.rows || !read_kept(&net, kept, sums) || !read_layers(&net, net.dw, net.db, grads)))
        status = NP_NOT_PLAIN;
    if (status == NP_OK)
        status = read_targets(&net, t, net.width[depth] > 1); /* t of one output may be labels or probabilities */
    if (status == NP_OK)
        status = BY_TYPE(&net.x, zdl_network_gradient, (void *)net.dw, (void *)net.db, (void *)net.a, (void *)net.z,
                         STRIDED(net.x), net.label, net.dense, net.x.rows, (const void *)&net.network);
    release(&net);
    return status;
}

int np_network_numerical_gradient(const uintptr_t *grads, uintptr_t x, uintptr_t t, const uintptr_t *params, int depth,
                                  enum zdl_activation hidden, double decay, double h, ptrdiff_t begin, ptrdiff_t end)
{
    net_arrays net;
    int status = read_net(&net, x, params, depth, hidden);
    if (status == NP_OK && (!net.x.rows || !is_double(&net.x) || !read_layers(&net, net.dw, net.db, grads)))
        status = NP_NOT_PLAIN;
    if (status == NP_OK)
        status = read_targets(&net, t, true);
    if (status == NP_OK)
        status = zdl_network_numerical_gradient(&net.dw->f64, &net.db->f64, STRIDED(net.x), net.label, net.dense,
                                                net.x.rows, decay, h, begin, end, &net.network.f64);
    release(&net);
    return status;
}
