/* Matrix product after Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): one
   micro-kernel computes a tile of C, TILE_ROWS x TILE_COLS, in registers, and blocks of A and B stay in cache
   while they are used. A is read where it lies, whatever its strides: an element of it is broadcast to a vector,
   and any address does for that. B is read by vectors of a row; where its rows are not contiguous, a block of it is
   packed into panels of TILE_COLS columns first. So are blocks of either whose rows are pages apart, if they are used
   often: such rows compete for the same lines of the cache.
   The sum over k runs in one order whatever the tile, so a caller may split C freely.

     for each block of C's columns    (BLOCK_COLS)
       for each block of the sum over k    (BLOCK_DEPTH)
         for each block of C's rows    (A's block comes to the L2 cache)
           for each panel of B    (it comes to the L1 cache; at the first block of rows it is packed)
             for each tile of rows: C += A B, in registers */
#ifndef ZERODL_KERNELS_MATMUL_H
#define ZERODL_KERNELS_MATMUL_H

#include <stdlib.h>
#include <string.h>

#include "../internal/integers.h"
#include "../internal/vector.h"
#include "activation.h"
#include "table.h"

enum {
    /* The accumulators, TILE_ROWS x TILE_VECS, fill the registers but for a row of B and an element of A. */
#if defined VECTOR_AVX512 || defined __aarch64__
    TILE_ROWS = 12,
#else
    TILE_ROWS = 6,
#endif
    TILE_VECS = 2,
    TILE_COLS = TILE_VECS * LANES,
#if defined VECTOR_AVX512
    TILE_STEP = LANES / 2, /* columns that a tile reads at once: its last vector may be half of one */
#else
    TILE_STEP = LANES,
#endif
    /* A few rows have their sums in as many registers, for more columns. */
    FEW_ROWS = 3,
    ROW_VECS = 8,
    FEW_VECS = TILE_ROWS * TILE_VECS / FEW_ROWS,
    /* Blocks, measured on a Zen 4 with caches of 32 KiB and 1 MiB; GF/s of a square of 2048 on one thread.
       Depth: a tile of C is read and written once for each block of the sum, and its rows compete for the same lines of the
       cache. float64: 48.6 at 256, 51.3 at 512, 53.1 at 1024; float32: 96.8, 105.6, 109.4. A panel of B, 128 KiB, then
       streams through the L1 cache, which the processor foresees.
       Rows: A's are 192 KiB, and fit a second cache of 256 KiB. 4 times as many, float64: 50.1 for 52.0 there; 66.2 for
       63.9 on an Emerald Rapids, whose second cache is 2 MiB; float32: 136.6 for 141.3.
       B ahead: rows of B that are fetched before they are used. A square of 2048 has 68.7 GF/s with, 63 without there;
       float32 142.5, 128. 4 rows: 65.2 and 136.2; 32 rows: 68.1 and 141.1. */
    BLOCK_DEPTH = 1024,
    BLOCK_TILES = 192 / (int)sizeof(real) / TILE_ROWS,
    B_AHEAD = 16,
    A_SIZE = 262144 / sizeof(real), /* elements of an A that is one block: a panel of B is packed and used at once */
    BLOCK_COLS = 1024,
    /* Columns of A that are packed together: of TILE_ROWS rows they fit the L1 cache twice, with their copy. */
    PACK_DEPTH = 64,
    PAGE = 4096,
    /* A is mostly zeros if 40 of 64 elements are: at 50 % lists do not pay. A look takes 0.1 us, and this many
       multiplications 4 us or more. The lists of STRIP rows, 256 KiB at most, stay in the L2 cache. */
    LOOKS = 64,
    ENOUGH_ZEROS = 40,
    LEAST_ROWS = 8,
    LEAST_MULTIPLICATIONS = 1 << 18,
    STRIP = 128,
};

/* c[cols] = or += sum, of which all vectors but the last are whole. */
ALWAYS_INLINE void store_row(real *c, const vec *sum, int vecs, ptrdiff_t cols, bool add)
{
    UNROLL for (int j = 0; j < vecs; j++, c += LANES, cols -= LANES)
        if (j < vecs - 1)
            store(c, (add ? load(c) : broadcast(0)) + sum[j]);
        else
            store_up_to(c, (add ? load_up_to(c, cols) : broadcast(0)) + sum[j], cols);
}

/* c[rows, cols] = or += a[rows, depth] @ b[depth, cols], cols <= vecs * LANES. b's rows are read whole vectors wide.
   Inlined with constant `rows` and `vecs`, so the loops over them vanish and `sum` is registers. A third pointer
   into a for every third row: base, base + row and base + 2 row then need no more than these registers. */
ALWAYS_INLINE void tile_product(int rows, int vecs, ptrdiff_t depth, matrix a, const real *b, ptrdiff_t b_row, real *c,
                                ptrdiff_t c_row, ptrdiff_t cols, bool add)
{
    vec sum[TILE_ROWS][TILE_VECS];
    const real *a_third[TILE_ROWS / 3];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            sum[i][j] = broadcast(0);
    UNROLL for (int i = 0; i < rows; i += 3)
        a_third[i / 3] = a.at + i * a.row;

    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            PREFETCH(c + i * c_row + j * LANES);

    for (ptrdiff_t p = 0; p < depth; p++, b += b_row) {
        vec b_vec[TILE_VECS];
        UNROLL for (int j = 0; j < vecs; j++)
            b_vec[j] = load(b + j * LANES), PREFETCH(b + B_AHEAD * b_row + j * LANES);
        UNROLL for (int i = 0; i < rows; i++) {
            vec a_ip = broadcast(a_third[i / 3][i % 3 * a.row]);
            UNROLL for (int j = 0; j < vecs; j++)
                sum[i][j] = multiply_add(a_ip, b_vec[j], sum[i][j]);
        }
        UNROLL for (int i = 0; i < rows; i += 3)
            a_third[i / 3] += a.col;
    }

    UNROLL for (int i = 0; i < rows; i++, c += c_row)
        store_row(c, sum[i], vecs, cols, add);
}

/* c[rows, cols] = or += a[rows, depth] @ b[depth, cols] for a few rows, cols <= vecs * LANES: a tile of so few rows
   would keep the processor waiting for its few sums, and this has many. The sums run in the same order. With `index`, a
   list of `depth` places, the sum is over those columns of a and rows of b alone. */
ALWAYS_INLINE void wide_product(int rows, int vecs, ptrdiff_t depth, const uint16_t *index, matrix a, matrix b, real *c,
                                ptrdiff_t c_row, ptrdiff_t cols, bool add)
{
    ptrdiff_t last = cols - (vecs - 1) * LANES;
    vec sum[FEW_ROWS][ROW_VECS];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            sum[i][j] = broadcast(0);
    for (ptrdiff_t p = 0; p < depth; p++) {
        ptrdiff_t at = index ? index[p] : p;
        const real *a_p = a.at + at * a.col, *b_p = b.at + at * b.row;
        vec b_vec[ROW_VECS];
        UNROLL for (int j = 0; j < vecs; j++)
            b_vec[j] = j < vecs - 1 ? load(b_p + j * LANES) : load_up_to(b_p + j * LANES, last);
        if (rows > 1)
            UNROLL for (int j = 0; j < vecs; j++)
                KEEP_IN_REGISTER(b_vec[j]);
        UNROLL for (int i = 0; i < rows; i++) {
            vec a_ip = broadcast(a_p[i * a.row]);
            UNROLL for (int j = 0; j < vecs; j++)
                sum[i][j] = multiply_add(a_ip, b_vec[j], sum[i][j]);
        }
    }
    UNROLL for (int i = 0; i < rows; i++, c += c_row)
        store_row(c, sum[i], vecs, cols, add);
}

#if defined VECTOR_AVX512
/* tile_product for cols <= LANES / 2: many processors take two steps for a vector of 512 bits, and one for half of it. */
ALWAYS_INLINE void half_tile_product(int rows, ptrdiff_t depth, matrix a, const real *b, ptrdiff_t b_row, real *c,
                                     ptrdiff_t c_row, ptrdiff_t cols, bool add)
{
    half_vec sum[TILE_ROWS];
    const real *a_third[TILE_ROWS / 3];
    UNROLL for (int i = 0; i < rows; i++)
        sum[i] = broadcast_half(0);
    UNROLL for (int i = 0; i < rows; i += 3)
        a_third[i / 3] = a.at + i * a.row;
    for (ptrdiff_t p = 0; p < depth; p++, b += b_row) {
        half_vec b_half = load_half(b);
        UNROLL for (int i = 0; i < rows; i++)
            sum[i] = multiply_add_half(broadcast_half(a_third[i / 3][i % 3 * a.row]), b_half, sum[i]);
        UNROLL for (int i = 0; i < rows; i += 3)
            a_third[i / 3] += a.col;
    }
    UNROLL for (int i = 0; i < rows; i++, c += c_row)
        store_part(c, (add ? load_part(c, cols) : broadcast(0)) + widened(sum[i]), cols);
}
#endif

/* The product for the rows and columns that there are: of columns, whole vectors and, if it does, half of one. */
static void tile(int rows, ptrdiff_t depth, matrix a, const real *b, ptrdiff_t b_row, real *c, ptrdiff_t c_row,
                 ptrdiff_t cols, bool add)
{
#define TILE(R)                                                                                                        \
    case R:                                                                                                            \
        if (vecs == 2)                                                                                                 \
            tile_product(R, 2, depth, a, b, b_row, c, c_row, least(cols, whole), add);                                 \
        else if (vecs == 1)                                                                                            \
            tile_product(R, 1, depth, a, b, b_row, c, c_row, least(cols, whole), add);                                 \
        HALF_TILE(R)                                                                                                   \
        break;
#if defined VECTOR_AVX512
#define HALF_TILE(R)                                                                                                   \
    if (cols > whole)                                                                                                  \
        half_tile_product(R, depth, a, b + whole, b_row, c + whole, c_row, cols - whole, add);
    ptrdiff_t vecs = (cols + LANES / 2 - 1) / LANES, whole = vecs * LANES;
#else
#define HALF_TILE(R)
    ptrdiff_t vecs = ceil_div(cols, LANES), whole = vecs * LANES;
#endif

    switch (rows) {
        TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if defined VECTOR_AVX512 || defined __aarch64__
        TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif
    }
#undef HALF_TILE
#undef TILE
}

/* pack_panel where the columns of b are contiguous: LANES x LANES at a time. */
static void pack_columns(real *panel, matrix b, ptrdiff_t depth, ptrdiff_t cols)
{
    for (ptrdiff_t p = 0; p < depth; p += LANES)
        for (int first = 0; first < TILE_COLS; first += LANES) {
            vec v[LANES];
            UNROLL for (int j = 0; j < LANES; j++)
                v[j] = first + j < cols ? load_up_to(b.at + (first + j) * b.col + p, depth - p) : broadcast(0);
            transpose(v);
            UNROLL for (int i = 0; i < LANES; i++)
                if (p + i < depth)
                    store(panel + (p + i) * TILE_COLS + first, v[i]);
        }
}

/* panel[p, j] = b[p, j] for the first TILE_COLS columns; those from `cols` on are 0. */
static void pack_panel(real *panel, matrix b, ptrdiff_t depth, ptrdiff_t cols)
{
    if (b.row == 1 && b.col != 1) {
        pack_columns(panel, b, depth, cols);
        return;
    }
    for (ptrdiff_t p = 0; p < depth; p++, panel += TILE_COLS, b.at += b.row)
        if (b.col == 1)
            for (int j = 0; j < TILE_VECS; j++)
                store(panel + j * LANES, load_up_to(b.at + j * LANES, cols > j * LANES ? cols - j * LANES : 0));
        else
            for (ptrdiff_t j = 0; j < TILE_COLS; j++)
                panel[j] = j < cols ? b.at[j * b.col] : 0;
}

/* A block of B, b[p : p + depth, j : j + cols]: its columns from `packed_from` on come to `packed`, panel after panel or,
   where panel_size is 0, each in the place of the one before; the columns before them are read where they are. packed_a
   has room for some tiles of A at this depth, or is NULL where A is read where it is. */
struct block {
    ptrdiff_t p, j, depth, cols, packed_from, panel_size;
    real *packed, *packed_a;
    bool first, last; /* of the sum over k */
};

/* A few rows of C are computed by wide_product: less than a tile has, if that saves packing, for which they are few. */
static bool has_few_rows(const product *t)
{
    return t->b.col == 1 && t->m < (t->n % TILE_COLS ? TILE_ROWS : FEW_ROWS + 1);
}

static bool pages_apart(ptrdiff_t stride)
{
    ptrdiff_t bytes = stride * (ptrdiff_t)sizeof(real);
    return bytes >= PAGE || bytes <= -PAGE;
}

/* The first of `cols` columns that must be packed: all where the rows of B are not contiguous, or are pages apart and
   many rows of C read them; else those that do not fill a panel, unless tiles read no more than there is. */
static ptrdiff_t first_packed(const product *t, ptrdiff_t cols)
{
    if (t->b.col != 1 || (pages_apart(t->b.row) && t->m > 4 * TILE_ROWS))
        return 0;
    return has_few_rows(t) || cols % TILE_STEP == 0 ? cols : cols - cols % TILE_COLS;
}

/* Packing takes as long as the product with some columns. It pays: (256, 512) @ (512, 256) has 55.0 GF/s with, 51.0
   without. */
static bool packs_a(const product *t) { return pages_apart(t->a.row) && t->n > 8 * TILE_COLS; }

/* The first row of tile q, of as many tiles of equal height, at most `height`, as it takes. */
static ptrdiff_t tile_top(ptrdiff_t m, ptrdiff_t height, ptrdiff_t q)
{
    ptrdiff_t tiles = ceil_div(m, height);
    return m / tiles * q + least(q, m % tiles);
}

/* Tiles [from, to) of A, at the depth of the block, one after the other, each by columns. */
static void pack_tiles(const product *t, const struct block *block, ptrdiff_t from, ptrdiff_t to)
{
    real *packed = block->packed_a;
    for (ptrdiff_t q = from; q < to; q++) {
        ptrdiff_t top = tile_top(t->m, TILE_ROWS, q), height = tile_top(t->m, TILE_ROWS, q + 1) - top;
        matrix a = submatrix(t->a, top, block->p);
        for (ptrdiff_t begin = 0; begin < block->depth; begin += PACK_DEPTH)
            for (ptrdiff_t i = 0; i < height; i++)
                for (ptrdiff_t p = begin; p < least(begin + PACK_DEPTH, block->depth); p++)
                    packed[p * height + i] = a.at[i * a.row + p * a.col];
        packed += height * block->depth;
    }
}

/* c = activation(c + bias) for rows of `cols` elements, of which bias[0] belongs to the first. */
static void finish_rows(const product *t, real *c, ptrdiff_t rows, const real *bias, ptrdiff_t cols)
{
    if (!bias)
        return;
    for (; rows > 0; rows--, c += t->out_row)
        for (ptrdiff_t j = 0; j < cols; j += LANES) {
            vec v = load_up_to(c + j, cols - j) + load_up_to(bias + j, cols - j);
            switch (t->activation) {
            case ZDL_IDENTITY: break;
            case ZDL_SIGMOID: v = vec_sigmoid(v); break;
            case ZDL_RELU: v = vec_relu(v); break;
            case ZDL_TANH: v = vec_tanh(v); break;
            }
            store_up_to(c + j, v, cols - j);
        }
}

/* wide_product for one row. */
static void wide_row(int vecs, ptrdiff_t depth, const uint16_t *index, matrix a, matrix b, real *c, ptrdiff_t cols,
                     bool add)
{
#define ROW(V)                                                                                                         \
    case V:                                                                                                            \
        if (index)                                                                                                     \
            wide_product(1, V, depth, index, a, b, c, 0, cols, add);                                                   \
        else                                                                                                           \
            wide_product(1, V, depth, NULL, a, b, c, 0, cols, add);                                                    \
        break;

    switch (vecs) {
        ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7) ROW(8)
    }
#undef ROW
}

/* wide_product for two rows or three. */
static void wide_rows(int rows, int vecs, ptrdiff_t depth, matrix a, matrix b, real *c, ptrdiff_t c_row, ptrdiff_t cols,
                      bool add)
{
#define ROWS(V)                                                                                                        \
    case V:                                                                                                            \
        if (rows == 2)                                                                                                 \
            wide_product(2, V, depth, NULL, a, b, c, c_row, cols, add);                                                \
        else                                                                                                           \
            wide_product(3, V, depth, NULL, a, b, c, c_row, cols, add);                                                \
        break;

    switch (vecs) {
        ROWS(1) ROWS(2) ROWS(3) ROWS(4)
#if defined VECTOR_AVX512 || defined __aarch64__
        ROWS(5) ROWS(6) ROWS(7) ROWS(8)
#endif
    }
#undef ROWS
}

/* C's few rows, at the columns of the block. */
static void multiply_few_rows(const product *t, const struct block *block)
{
    ptrdiff_t most = (t->m == 1 ? ROW_VECS : FEW_VECS) * LANES;
    for (ptrdiff_t j = block->j, end = block->j + block->cols; j < end; j += most) {
        ptrdiff_t width = least(most, end - j);
        int vecs = (int)ceil_div(width, LANES);
        matrix b = submatrix(t->b, block->p, j);
        for (ptrdiff_t q = 0, top = 0, next; top < t->m; q++, top = next) {
            next = tile_top(t->m, FEW_ROWS, q + 1);
            matrix a = submatrix(t->a, top, block->p);
            real *c = t->out + top * t->out_row + j;
            if (next - top == 1)
                wide_row(vecs, block->depth, NULL, a, b, c, width, !block->first);
            else
                wide_rows((int)(next - top), vecs, block->depth, a, b, c, t->out_row, width, !block->first);
        }
        if (block->last)
            finish_rows(t, t->out + j, t->m, t->bias ? t->bias + j : NULL, width);
    }
}

/* The columns of the block from j on, as tiles read them; the distance of their rows is *row. */
static const real *panel_of(const product *t, const struct block *block, ptrdiff_t j, bool pack, ptrdiff_t *row)
{
    matrix b = submatrix(t->b, block->p, block->j + j);
    if (j < block->packed_from) {
        *row = b.row;
        return b.at;
    }
    real *panel = block->packed + (j - block->packed_from) / TILE_COLS * block->panel_size;
    if (pack)
        pack_panel(panel, b, block->depth, block->cols - j);
    *row = TILE_COLS;
    return panel;
}

/* C's tiles of rows [from, to), at the columns of the block. */
static void multiply_tiles(const product *t, const struct block *block, ptrdiff_t from, ptrdiff_t to)
{
    ptrdiff_t first_row = tile_top(t->m, TILE_ROWS, from), rows = tile_top(t->m, TILE_ROWS, to) - first_row;
    if (block->packed_a)
        pack_tiles(t, block, from, to);
    for (ptrdiff_t j = 0; j < block->cols; j += TILE_COLS) {
        ptrdiff_t width = least(TILE_COLS, block->cols - j), panel_row;
        const real *panel = panel_of(t, block, j, from == 0, &panel_row);
        real *c = t->out + block->j + j;
        for (ptrdiff_t q = from; q < to; q++) {
            ptrdiff_t top = tile_top(t->m, TILE_ROWS, q), height = tile_top(t->m, TILE_ROWS, q + 1) - top;
            matrix a = block->packed_a ? (matrix){block->packed_a + (top - first_row) * block->depth, 1, height}
                                       : submatrix(t->a, top, block->p);
            tile((int)height, block->depth, a, panel, panel_row, c + top * t->out_row, t->out_row, width, !block->first);
        }
        if (block->last)
            finish_rows(t, c + first_row * t->out_row, rows, t->bias ? t->bias + block->j + j : NULL, width);
    }
}

/* ---- Zeros in A, as in pictures of digits, are left out: 0 * b changes no sum that starts at 0, if b is finite ---- */

/* Whether most of A is 0, by a look here and there, where that is worth lists of the others. */
static bool is_mostly_zeros(const product *t)
{
    if (t->m < LEAST_ROWS || t->n < 3 * LANES || t->m * t->k < LEAST_MULTIPLICATIONS / t->n)
        return false;
    if (t->b.col != 1 || (t->a.col != 1 && t->a.row != 1))
        return false;
    int zeros = 0;
    for (ptrdiff_t i = 0; i < LOOKS; i++)
        zeros += *submatrix(t->a, i * t->m / LOOKS, i * 31 % LOOKS * t->k / LOOKS).at == 0;
    return zeros >= ENOUGH_ZEROS;
}

/* packed[p, j] = b[p, j], in whole vectors. Returns whether all are finite: 0 * inf is nan, which C must show. */
static bool pack_finite(real *packed, const product *t)
{
    vec sum = broadcast(0);
    for (ptrdiff_t p = 0; p < t->k; p++)
        for (ptrdiff_t j = 0; j < t->n; j += LANES, packed += LANES) {
            vec v = load_up_to(t->b.at + p * t->b.row + j, t->n - j);
            store(packed, v);
            sum = multiply_add(v, broadcast(0), sum);
        }
    return is_zero(sum);
}

/* The places of x that are not 0, in ascending order; returns how many. `list` has room for LANES more than n. What is to
   be listed next, `next` elements further on, comes from memory meanwhile. */
static ptrdiff_t list_nonzeros(uint16_t *list, const real *x, ptrdiff_t n, ptrdiff_t next)
{
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        PREFETCH(x + i + next);
        count += store_places(list + count, load_up_to(x + i, n - i), (int)i);
    }
    return count;
}

/* lists[i, 0 : count[i]] = the p where a[i, p] is not 0, for `rows` rows of a's columns, which are contiguous. */
static void list_by_rows(uint16_t *lists, int *count, matrix a, ptrdiff_t rows, ptrdiff_t depth)
{
    uint16_t column[STRIP + LANES];
    memset(count, 0, (size_t)rows * sizeof *count);
    for (ptrdiff_t p = 0; p < depth; p++) {
        ptrdiff_t found = list_nonzeros(column, a.at + p * a.col, rows, a.col);
        for (ptrdiff_t q = 0; q < found; q++) {
            ptrdiff_t i = column[q];
            lists[i * depth + count[i]++] = (uint16_t)p;
        }
    }
}

/* Row i of C, or what A's columns from p on add to it, by the list of those that are not 0. */
static void multiply_listed(const product *t, ptrdiff_t i, ptrdiff_t p, const uint16_t *list, ptrdiff_t count,
                            const real *packed, bool add)
{
    ptrdiff_t width = ceil_div(t->n, LANES) * LANES;
    for (ptrdiff_t j = 0; j < t->n; j += ROW_VECS * LANES) {
        ptrdiff_t cols = least(ROW_VECS * LANES, t->n - j);
        matrix b = {(real *)packed + p * width + j, width, 1};
        real *c = t->out + i * t->out_row + j;
        wide_row((int)ceil_div(cols, LANES), count, list, submatrix(t->a, i, p), b, c, cols, add);
    }
}

/* Rows [top, end) of C, at most STRIP, or what the columns of A from p on add to them. */
static void multiply_strip(const product *t, ptrdiff_t top, ptrdiff_t end, ptrdiff_t p, ptrdiff_t depth,
                           const real *packed, uint16_t *lists)
{
    int count[STRIP];
    if (t->a.row == 1)
        list_by_rows(lists, count, submatrix(t->a, top, p), end - top, depth);
    for (ptrdiff_t i = top; i < end; i++)
        if (t->a.row == 1) {
            multiply_listed(t, i, p, lists + (i - top) * depth, count[i - top], packed, p > 0);
        } else {
            ptrdiff_t found = list_nonzeros(lists, submatrix(t->a, i, p).at, depth, t->a.row);
            multiply_listed(t, i, p, lists, found, packed, p > 0);
        }
}

/* B in whole vectors, and the list of a row or those of a strip. */
static ptrdiff_t bytes_without_zeros(const product *t, ptrdiff_t depths)
{
    ptrdiff_t packed = t->k * ceil_div(t->n, LANES) * VECTOR_BYTES, depth = ceil_div(t->k, depths);
    ptrdiff_t places = (t->a.row == 1 ? STRIP : 1) * depth + LANES;
    return VECTOR_BYTES + packed + places * (ptrdiff_t)sizeof(uint16_t);
}

/* matmul by the same sums without A's zeros; false, with nothing done, where B is not finite. */
static bool multiply_without_zeros(const product *t, ptrdiff_t depths, char *memory)
{
    real *packed = (real *)(memory + VECTOR_BYTES - (uintptr_t)memory % VECTOR_BYTES); /* rows begin at whole vectors */
    uint16_t *lists = (uint16_t *)(packed + t->k * ceil_div(t->n, LANES) * LANES);
    if (!pack_finite(packed, t))
        return false;
    for (ptrdiff_t top = 0; top < t->m; top += STRIP) {
        ptrdiff_t end = least(top + STRIP, t->m);
        for (ptrdiff_t d = 0; d < depths; d++) {
            ptrdiff_t p = t->k * d / depths;
            multiply_strip(t, top, end, p, t->k * (d + 1) / depths - p, packed, lists);
        }
        finish_rows(t, t->out + top * t->out_row, end - top, t->bias, t->n);
    }
    return true;
}

/* One row of C from a transposed b would pack all of b to use it once; as C.T = b.T a.T it is read where it lies. */
static bool better_transposed(const product *t)
{
    return t->m == 1 && t->b.col != 1 && !t->bias;
}

static product transposed(product t)
{
    matrix a = {t.b.at, t.b.col, t.b.row}, b = {t.a.at, t.a.col, t.a.row};
    return (product){t.out, 1, a, b, t.n, t.k, 1, NULL, ZDL_IDENTITY};
}

/* out = activation(a @ b + bias); false where memory for packing is lacking. */
static bool matmul(const product *t)
{
    if (t->m == 0 || t->n == 0)
        return true;
    product swapped;
    if (better_transposed(t)) {
        swapped = transposed(*t);
        t = &swapped;
    }
    ptrdiff_t depths = t->k > 0 ? ceil_div(t->k, BLOCK_DEPTH) : 1, depth = ceil_div(t->k, depths);
    if (is_mostly_zeros(t)) {
        char *memory = malloc((size_t)bytes_without_zeros(t, depths));
        bool done = memory && multiply_without_zeros(t, depths, memory);
        free(memory);
        if (done || !memory)
            return done;
    }
    ptrdiff_t tiles = ceil_div(t->m, TILE_ROWS), to_pack = least(t->n - first_packed(t, t->n), BLOCK_COLS);
    bool fits = !packs_a(t) && t->m * depth <= A_SIZE;
    ptrdiff_t step = fits ? tiles : BLOCK_TILES, panel = TILE_COLS * depth;
    ptrdiff_t b_size = fits ? (to_pack > 0) * panel : ceil_div(to_pack, TILE_COLS) * panel;
    ptrdiff_t a_size = packs_a(t) ? BLOCK_TILES * TILE_ROWS * depth : 0;
    real *packed = a_size + b_size ? malloc((size_t)(a_size + b_size) * sizeof(real)) : NULL;
    if (a_size + b_size && !packed)
        return false;

    for (ptrdiff_t j = 0; j < t->n; j += BLOCK_COLS)
        for (ptrdiff_t d = 0; d < depths; d++) {
            ptrdiff_t p = t->k * d / depths, cols = least(BLOCK_COLS, t->n - j), block_depth = t->k * (d + 1) / depths - p;
            struct block block = {p, j, block_depth, cols, first_packed(t, cols), fits ? 0 : TILE_COLS * block_depth,
                                  packed, a_size ? packed + b_size : NULL, d == 0, d == depths - 1};
            if (has_few_rows(t))
                multiply_few_rows(t, &block);
            else
                for (ptrdiff_t q = 0; q < tiles; q += step)
                    multiply_tiles(t, &block, q, least(q + step, tiles));
        }
    free(packed);
    return true;
}

#endif
