/* Every allocation of csrc/ fails in turn, for the element type REAL_BITS. tests/test_allocation.py compiles csrc/ and
   this with malloc, calloc and free renamed to those below.
   Each case calls a function with arrays that lie between guards, with its first allocation failing, then with its second,
   and so on until none is left to fail. The status must be ZDL_NO_MEMORY where one has failed, and nowhere else;
   nothing may stay allocated, and the guards must be what they were. The program prints how often an allocation failed,
   or what was wrong, and then ends with 1. */

#undef malloc
#undef calloc
#undef free
#include <limits.h>
#include <math.h>
#include <sanitizer/asan_interface.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal/real.h"
#include "zerodl.h"

/* ---- What csrc/ allocates with ---- */

static const size_t LARGEST = (size_t)1 << 30; /* as on a machine that has no more, whatever the system promises */
static atomic_long allocations, failures, living;
static long first_failure = -1, last_failure = -1; /* the allocations to fail, counted from 0 */

static bool fails(void)
{
    long i = allocations++;
    bool failing = first_failure <= i && i <= last_failure;
    failures += failing;
    return failing;
}

static void *count(void *p)
{
    living += p != NULL;
    return p;
}

void *failing_malloc(size_t size) { return fails() || size > LARGEST ? NULL : count(malloc(size)); }
void *failing_calloc(size_t n, size_t size) { return fails() || n > LARGEST / size ? NULL : count(calloc(n, size)); }
void counting_free(void *p)
{
    living -= p != NULL;
    free(p);
}

/* ---- Arrays between guards ---- */

enum { MOST_ARRAYS = 64, GUARD = 256, PATTERN = 0xA5 };

static struct {
    unsigned char *block;
    size_t size;
} arrays[MOST_ARRAYS];
static int array_count;

static void *array(size_t size)
{
    unsigned char *block = malloc(GUARD + size + GUARD);
    if (!block || array_count == MOST_ARRAYS)
        abort();
    memset(block, PATTERN, GUARD + size + GUARD);
    ASAN_POISON_MEMORY_REGION(block, GUARD);
    ASAN_POISON_MEMORY_REGION(block + GUARD + size, GUARD);
    arrays[array_count].block = block;
    arrays[array_count++].size = size;
    return block + GUARD;
}

/* Frees all arrays; returns whether their guards were untouched, of which AddressSanitizer does not see all. */
static bool release_arrays(void)
{
    bool intact = true;
    while (array_count > 0) {
        unsigned char *block = arrays[--array_count].block, *end = block + GUARD + arrays[array_count].size;
        ASAN_UNPOISON_MEMORY_REGION(block, GUARD);
        ASAN_UNPOISON_MEMORY_REGION(end, GUARD);
        for (int i = 0; i < GUARD; i++)
            intact = intact && block[i] == PATTERN && end[i] == PATTERN;
        free(block);
    }
    return intact;
}

/* n numbers between -1 and 1. */
static real *reals(ptrdiff_t n)
{
    real *x = array((size_t)n * sizeof *x);
    for (ptrdiff_t i = 0; i < n; i++)
        x[i] = (real)((i * 37 + 11) % 101 - 50) / 50;
    return x;
}

/* Row numbers, around and around. */
static int64_t *labels(ptrdiff_t rows, ptrdiff_t classes)
{
    int64_t *label = array((size_t)rows * sizeof *label);
    for (ptrdiff_t i = 0; i < rows; i++)
        label[i] = i % classes;
    return label;
}

/* ---- Matrix products, on every way that needs memory ---- */

static int multiply(ptrdiff_t m, ptrdiff_t k, ptrdiff_t n, bool a_transposed, bool b_transposed)
{
    const real *a = reals(m * k), *b = reals(k * n);
    return ZDL(matmul)(reals(m * n), n, a, a_transposed ? 1 : k, a_transposed ? m : 1, b, b_transposed ? 1 : n,
                       b_transposed ? k : 1, m, k, n);
}

static int matmul_of_edges(void) { return multiply(97, 103, 107, false, false); }
static int matmul_of_few(void) { return multiply(13, 3, 5, false, false); }
static int matmul_transposed(void) { return multiply(97, 103, 107, true, true); }
static int matmul_of_one_row(void) { return multiply(1, 701, 801, false, true); }
static int matmul_of_one_column(void) { return multiply(901, 801, 1, false, false); }
static int matmul_of_blocks(void) { return multiply(30, 1030, 1100, false, true); }
/* Rows that are pages apart: of b, and of a, for which n must be large, also in the pieces of two threads. */
static int matmul_of_pages(void) { return multiply(64, 30, 1024, false, false); }

static int matmul_of_pages_of_a(void)
{
    ptrdiff_t m = 20, k = 40, n = 8 * 1056, row = 1024;
    return ZDL(matmul)(reals(m * n), n, reals(m * row), row, 1, reals(k * n), n, 1, m, k, n);
}

static int matmul_without_zeros(void)
{
    ptrdiff_t m = 100, k = 784, n = 64;
    real *digits = reals(m * k);
    memset(digits, 0, (size_t)(m * k) * sizeof *digits);
    return ZDL(matmul)(reals(m * n), n, digits, k, 1, reals(k * n), n, 1, m, k, n);
}

static int matmul_strided(void)
{
    ptrdiff_t m = 61, k = 67, n = 71;
    return ZDL(matmul)(reals(m * n), n, reals(m * k * 2), k * 2, 2, reals(k * n * 3), n * 3, 3, m, k, n);
}

static int matmul_stack(void)
{
    ptrdiff_t stack = 9, m = 31, k = 33, n = 35;
    int64_t *a_offset = labels(stack, 2), *b_offset = labels(stack, 3);
    return ZDL(matmul_stack)(reals(stack * m * n), reals(m * k + 1), a_offset, k, 1, reals(k * n + 2), b_offset, n, 1,
                             stack, m, k, n);
}

static int affine(void)
{
    ptrdiff_t m = 97, k = 103, n = 107;
    int status = ZDL_OK;
    for (enum zdl_activation f = ZDL_IDENTITY; f <= ZDL_TANH && status == ZDL_OK; f++)
        status = ZDL(affine)(reals(m * n), reals(m * k), k, 1, reals(k * n), n, 1, reals(n), m, k, n, f);
    return status;
}

static int differentiate_affine(real *dx)
{
    ptrdiff_t m = 97, k = 103, n = 107;
    return ZDL(affine_backward)(dx, reals(k * n), reals(n), reals(m * n), reals(m * k), k, 1, reals(k * n), n, 1, m, k,
                                n);
}

static int affine_backward(void) { return differentiate_affine(reals(97 * 103)); }
static int affine_backward_without_dx(void) { return differentiate_affine(NULL); }

/* ---- Images ---- */

static ptrdiff_t places(const struct zdl_windows *w)
{
    return ((w->height + 2 * w->pad - w->filter_h) / w->stride + 1) *
           ((w->width + 2 * w->pad - w->filter_w) / w->stride + 1);
}

static int convolve(struct zdl_windows w)
{
    ptrdiff_t filters = 13, weights = w.channels * w.filter_h * w.filter_w;
    return ZDL(convolution)(reals(w.batch * filters * places(&w)), reals(w.batch * w.channels * w.height * w.width),
                            reals(filters * weights), reals(filters), filters, &w);
}

/* With a first weight and a first pixel of these. */
static int differentiate(struct zdl_windows w, bool needs_dx, real weight, real pixel)
{
    ptrdiff_t filters = 13, weights = filters * w.channels * w.filter_h * w.filter_w;
    ptrdiff_t pixels = w.batch * w.channels * w.height * w.width;
    real *of_weights = reals(weights), *x = reals(pixels);
    of_weights[0] = weight;
    x[0] = pixel;
    return ZDL(convolution_backward)(needs_dx ? reals(pixels) : NULL, reals(weights), reals(filters),
                                     reals(w.batch * filters * places(&w)), x, of_weights, filters, &w);
}

static const struct zdl_windows few_channels = {17, 2, 11, 12, 3, 3, 1, 1}, many_channels = {13, 17, 5, 6, 3, 2, 1, 1},
                                stride_2 = {19, 3, 13, 15, 3, 3, 2, 1}, wide_pad = {5, 3, 5, 7, 2, 2, 1, 2};

static int convolution_of_few_channels(void) { return convolve(few_channels); }
static int convolution_of_many_channels(void) { return convolve(many_channels); }
static int convolution_of_stride_2(void) { return convolve(stride_2); }
static int convolution_of_wide_pad(void) { return convolve(wide_pad); }
static int backward_of_few_channels(void) { return differentiate(few_channels, true, 1, 1); }
static int backward_of_many_channels(void) { return differentiate(many_channels, true, 1, 1); }
static int backward_without_dx(void) { return differentiate(many_channels, false, 1, 1); }
static int backward_of_stride_2(void) { return differentiate(stride_2, true, 1, 1); }
static int backward_of_wide_pad(void) { return differentiate(wide_pad, true, 1, 1); }
static int backward_of_an_infinite_weight(void) { return differentiate(many_channels, true, (real)INFINITY, 1); }
static int backward_of_an_infinite_pixel(void) { return differentiate(many_channels, true, 1, (real)INFINITY); }

/* ---- Losses and networks ---- */

static int softmax_cross_entropy_gradient(void)
{
    double loss;
    return ZDL(softmax_cross_entropy_gradient)(&loss, reals(1000 * 20), reals(1000 * 20), labels(1000, 20), 1000, 20);
}

/* A net, and what its layers keep and get. */
enum { DEPTH = 4 };
static struct ZDL(network) net;
static ptrdiff_t width[DEPTH + 1];
static real *w[DEPTH], *b[DEPTH], *a[DEPTH], *z[DEPTH], *dw[DEPTH], *db[DEPTH];

static void make_net(int depth, enum zdl_activation hidden, ptrdiff_t inputs, ptrdiff_t units, ptrdiff_t batch)
{
    width[0] = inputs;
    for (int l = 0; l < depth; l++) {
        ptrdiff_t k = width[l], n = width[l + 1] = units + l;
        w[l] = reals(k * n), b[l] = reals(n), a[l] = reals(batch * n), z[l] = reals(batch * n);
        dw[l] = reals(k * n), db[l] = reals(n);
    }
    net = (struct ZDL(network)){depth, hidden, width, (const real *const *)w, (const real *const *)b};
}

static int predict(int depth)
{
    make_net(depth, ZDL_RELU, 61, 67, 163);
    return ZDL(network_predict)(reals(163 * width[depth]), reals(163 * 61), 61, 1, 163, &net);
}

static int predict_of_one_layer(void) { return predict(1); }
static int predict_of_layers(void) { return predict(DEPTH); }

static int forward(real *const *sums)
{
    make_net(3, ZDL_TANH, 61, 67, 163);
    return ZDL(network_forward)(sums, z, reals(163 * 61), 1, 163, 163, &net);
}

static int forward_with_sums(void) { return forward(a); }
static int forward_without_sums(void) { return forward(NULL); }

static int gradient_of_labels(void)
{
    make_net(3, ZDL_SIGMOID, 61, 67, 163);
    return ZDL(network_gradient)(dw, db, a, z, reals(163 * 61), 61, 1, labels(163, 67), NULL, 163, &net);
}

static int gradient_of_targets(void)
{
    make_net(3, ZDL_IDENTITY, 61, 67, 163);
    return ZDL(network_gradient)(dw, db, NULL, z, reals(163 * 61), 61, 1, NULL, reals(163 * 69), 163, &net);
}

#if REAL_BITS == 64

static int central_differences(int depth, bool labelled)
{
    ptrdiff_t batch = 150, inputs = 0;
    make_net(depth, ZDL_RELU, 3, 5, batch);
    for (int l = 0; l < depth; l++)
        inputs += width[l] + 1;
    return zdl_network_numerical_gradient(dw, db, reals(batch * 3), 3, 1, labelled ? labels(batch, 5) : NULL,
                                          labelled ? NULL : reals(batch * width[depth]), batch, 0.1, 1e-4, 0, inputs,
                                          &net);
}

static int differences_of_one_layer(void) { return central_differences(1, true); }
static int differences_of_two_layers(void) { return central_differences(2, false); }
static int differences_of_three_layers(void) { return central_differences(3, true); }

static double sum_of(const double *x, ptrdiff_t n, void *data)
{
    (void)data;
    return x[0] + x[n - 1];
}

static int numerical_gradient(void) { return zdl_numerical_gradient(reals(300), sum_of, reals(300), 300, 1e-4, NULL); }

static int evaluate(void)
{
    return zdl_evaluate(reals(300), sum_of, reals(100), 100, reals(300), 0, 300, 3, 1e6, NULL);
}

#endif

static const struct {
    const char *name;
    int (*call)(void);
} cases[] = {
#define CASE(name) {#name, name}
    CASE(matmul_of_edges),
    CASE(matmul_of_few),
    CASE(matmul_transposed),
    CASE(matmul_of_one_row),
    CASE(matmul_of_one_column),
    CASE(matmul_of_blocks),
    CASE(matmul_of_pages),
    CASE(matmul_of_pages_of_a),
    CASE(matmul_without_zeros),
    CASE(matmul_strided),
    CASE(matmul_stack),
    CASE(affine),
    CASE(affine_backward),
    CASE(affine_backward_without_dx),
    CASE(convolution_of_few_channels),
    CASE(convolution_of_many_channels),
    CASE(convolution_of_stride_2),
    CASE(convolution_of_wide_pad),
    CASE(backward_of_few_channels),
    CASE(backward_of_many_channels),
    CASE(backward_without_dx),
    CASE(backward_of_stride_2),
    CASE(backward_of_wide_pad),
    CASE(backward_of_an_infinite_weight),
    CASE(backward_of_an_infinite_pixel),
    CASE(softmax_cross_entropy_gradient),
    CASE(predict_of_one_layer),
    CASE(predict_of_layers),
    CASE(forward_with_sums),
    CASE(forward_without_sums),
    CASE(gradient_of_labels),
    CASE(gradient_of_targets),
#if REAL_BITS == 64
    CASE(differences_of_one_layer),
    CASE(differences_of_two_layers),
    CASE(differences_of_three_layers),
    CASE(numerical_gradient),
    CASE(evaluate),
#endif
#undef CASE
};

/* ---- Products of sizes that no integer holds: of arrays that are not there, for nothing of them may be read ---- */

static int gather_too_much(struct zdl_windows windows) { return ZDL(convolution)(NULL, NULL, NULL, NULL, 1, &windows); }

static int differentiate_too_much(struct zdl_windows windows)
{
    return ZDL(convolution_backward)(NULL, NULL, NULL, NULL, NULL, NULL, 1, &windows);
}

/* Of 31 weights and the one for the bias, each seeing 2^59 places: no bytes, if they are counted so. */
static const struct zdl_windows wraps_to_0 = {1, 1, 1, ((ptrdiff_t)1 << 60) + 29, 1, 31, 2, 0};
static const struct zdl_windows wraps_to_few = {1, 1, (ptrdiff_t)1 << 62, 4, 1, 1, 1, 0};

static int convolution_that_wraps_to_0(void) { return gather_too_much(wraps_to_0); }
static int convolution_that_wraps_to_few(void) { return gather_too_much(wraps_to_few); }
static int backward_that_wraps_to_0(void) { return differentiate_too_much(wraps_to_0); }
static int backward_that_wraps_to_few(void) { return differentiate_too_much(wraps_to_few); }

static int net_of_too_large_a_batch(void)
{
    make_net(2, ZDL_RELU, 3, 4, 1);
    return ZDL(network_gradient)(dw, db, NULL, z, NULL, 3, 1, NULL, NULL, (ptrdiff_t)(SIZE_MAX / sizeof(real) / 9 + 1),
                                 &net);
}

#if REAL_BITS == 64
static int points_that_are_too_many(void)
{
    return zdl_numerical_gradient(NULL, sum_of, NULL, (ptrdiff_t)1 << 59, 1e-4, NULL);
}
#endif

static const struct {
    const char *name;
    int (*call)(void);
} too_large[] = {
#define CASE(name) {#name, name}
    CASE(convolution_that_wraps_to_0), CASE(convolution_that_wraps_to_few), CASE(backward_that_wraps_to_0),
    CASE(backward_that_wraps_to_few),  CASE(net_of_too_large_a_batch),
#if REAL_BITS == 64
    CASE(points_that_are_too_many),
#endif
#undef CASE
};

/* ---- All of it ---- */

/* Run a case with the allocations first to last failing; ends the program where anything is wrong. */
static void run(const char *name, int (*call)(void), long first, long last)
{
    long before = living;
    allocations = failures = 0;
    first_failure = first, last_failure = last;
    int status = call();
    bool intact = release_arrays();
    const char *wrong = status != (failures ? ZDL_NO_MEMORY : ZDL_OK) ? "the wrong status"
                        : living != before                            ? "memory that was not freed"
                        : !intact                                     ? "a write out of bounds"
                                                                      : NULL;
    if (wrong) {
        printf("%s, %s, %d threads, allocation %ld of %ld failing: %s\n", name, zdl_get_isa(), zdl_get_num_threads(),
               first, (long)allocations, wrong);
        exit(1);
    }
}

/* Returns how many allocations of a case failed in turn, each alone, and with all that follow. */
static long fail_in_turn(const char *name, int (*call)(void))
{
    run(name, call, -1, -1);
    if (allocations == 0) {
        printf("%s, %s, %d threads: it allocates nothing\n", name, zdl_get_isa(), zdl_get_num_threads());
        exit(1);
    }
    for (long k = 0;; k++) {
        run(name, call, k, k);
        if (failures == 0)
            return k;
        run(name, call, k, LONG_MAX);
    }
}

int main(void)
{
    for (int i = 0; i < (int)(sizeof too_large / sizeof *too_large); i++) {
        int status = too_large[i].call();
        if (status != ZDL_NO_MEMORY || living != 0 || !release_arrays())
            return printf("%s: status %d\n", too_large[i].name, status), 1;
    }
    long count = 0;
    for (int level = 0; zdl_isa_level(level); level++)
        for (int threads = 1; threads <= 2; threads++) {
            zdl_set_isa(zdl_isa_level(level));
            zdl_set_num_threads(threads);
            matmul_of_edges(); /* what the threads themselves allocate, they keep */
            release_arrays();
            for (int i = 0; i < (int)(sizeof cases / sizeof *cases); i++)
                count += fail_in_turn(cases[i].name, cases[i].call);
        }
    printf("%ld allocations failed\n", count);
    return 0;
}
