/* C[m, n] = activation(A[m, k] @ B[k, n] + bias[n]), for any strides of A and B. The rows of C are contiguous.

   The algorithm is that of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008). A
   micro-kernel computes a tile of C, TILE_ROWS x TILE_COLS, in registers. Blocks of A and B stay in cache while they
   are used. The micro-kernel broadcasts each element of A to a vector, so A can have any strides and is read in place.
   It loads whole vectors from the rows of B. If these rows are not contiguous, a block of B is first packed into panels
   of TILE_COLS columns. Rows that are a page or more apart compete for the same cache lines. Blocks of A or B with such
   rows are also packed, if they are used often enough.
   Every element of C is summed over k in the same order, whatever its tile. So a caller may split C anywhere.

     for each block of C's columns    (BLOCK_COLS)
       for each block of the sum over k    (BLOCK_DEPTH)
         for each block of C's rows    (A's block fits the L2 cache)
           for each panel of B    (it streams through the L1 cache, and is packed for the first block of rows)
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
/* A tile has TILE_ROWS x TILE_VECS accumulators, TILE_VECS vectors of B and one element of A in registers: 28 of 32
       with AVX-512 and NEON, 15 of 16 with AVX2 and SSE2. For each column of A it loads TILE_ROWS + TILE_VECS operands.
       Tiles of 8 x 3 and 12 x 2 do as many multiply_adds, but 8 x 3 loads 11 operands and 12 x 2 loads 14. On an Ice
       Lake, where 512-bit loads are the bottleneck, tiles in the L1 cache run at 80 and 71 GF/s (float64). */
#if defined VECTOR_AVX512 || defined __aarch64__
    TILE_ROWS = 8,
    TILE_VECS = 3,
#else
    TILE_ROWS = 6,
    TILE_VECS = 2,
#endif
    TILE_COLS = TILE_VECS * LANES,
#if defined VECTOR_AVX512
    TILE_STEP = LANES / 2, /* a tile reads a multiple of this many columns: its last vector may be a half vector */
#else
    TILE_STEP = LANES,
#endif
    /* Up to FEW_ROWS rows are computed over more columns than a tile: ROW_VECS vectors for one row, FEW_VECS for two or
       three. Three rows then have as many accumulators as a tile. */
    FEW_ROWS = 3,
    ROW_VECS = 8,
    FEW_VECS = TILE_ROWS * TILE_VECS / FEW_ROWS,
    /* The block sizes were measured with square matrices of 512 to 2048, on one thread of an Ice Lake (L1 48 KiB, L2
       1.25 MiB), in turns with OpenBLAS.
       BLOCK_DEPTH: if it is larger, the tiles of C are read and written less often, but less of a panel of B, which has
       96 KiB with AVX-512, fits the L1 cache. 256, 384, 512 and 1024 gave float64 50, 54, 54 and 49 GF/s at 2048, and
       float32 96, 95, 111 and 111.
       BLOCK_SIZE: the elements of a block of A, 192 KiB of float32 or 384 KiB of float64. Together with a panel of B it
       fits an L2 cache of 512 KiB. Half and twice as many changed nothing beyond the noise.
       BLOCK_COLS: the panels of B for one block of A, about 4 MiB, stream from the L3 cache.
       B_AHEAD: rows of B are prefetched this many rows ahead. With AVX-512, 16 rows have 3 KiB and take 200 cycles, the
       latency of the L3 cache. */
    BLOCK_DEPTH = 512,
    BLOCK_SIZE = 49152,
    BLOCK_TILES = BLOCK_SIZE / BLOCK_DEPTH / TILE_ROWS,
    BLOCK_COLS = (8192 / (int)sizeof(real) + TILE_COLS - 1) / TILE_COLS * TILE_COLS,
    B_AHEAD = 16,
    A_SIZE = 262144 / sizeof(real), /* up to this size, A is one block in L2: only one panel of B is kept packed */
    PAGE = 4096,
    /* A counts as mostly zeros if ENOUGH_ZEROS of ZERO_SAMPLES sampled elements are 0. With 50 % zeros, listing the
       nonzeros does not pay. Sampling takes 0.1 us, and LEAST_MULTIPLICATIONS take 4 us or more. The lists of STRIP
       rows, at most 128 KiB, stay in the L2 cache. */
    ZERO_SAMPLES = 64,
    ENOUGH_ZEROS = 40,
    LEAST_ROWS = 8,
    LEAST_MULTIPLICATIONS = 1 << 18,
    STRIP = 128,
};

/* c[cols] = sum, or c += sum if `add`. All vectors of sum are full, except that the last may be partial. */
ALWAYS_INLINE void store_row(real *c, const vec *sum, int vecs, ptrdiff_t cols, bool add)
{
    UNROLL for (int j = 0; j < vecs; j++, c += LANES, cols -= LANES)
        if (j < vecs - 1)
            store(c, (add ? load(c) : broadcast(0)) + sum[j]);
        else
            store_up_to(c, (add ? load_up_to(c, cols) : broadcast(0)) + sum[j], cols);
}

/* c[rows, cols] = a[rows, depth] @ b[depth, cols], or c += that if `add`; cols <= vecs * LANES. Rows of b are read in
   whole vectors. The function is inlined with constant `rows` and `vecs`: the loops over them are unrolled, and `sum`
   stays in registers. Three rows of a share one pointer p, as p, p + a.row and p + 2 * a.row, which saves registers. */
ALWAYS_INLINE void tile_product(int rows, int vecs, ptrdiff_t depth, matrix a, const real *b, ptrdiff_t b_row, real *c,
                                ptrdiff_t c_row, ptrdiff_t cols, bool add)
{
    vec sum[TILE_ROWS][TILE_VECS];
    const real *a_triple[(TILE_ROWS + 2) / 3];
    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            sum[i][j] = broadcast(0);
    UNROLL for (int i = 0; i < rows; i += 3)
        a_triple[i / 3] = a.at + i * a.row;

    UNROLL for (int i = 0; i < rows; i++)
        UNROLL for (int j = 0; j < vecs; j++)
            PREFETCH(c + i * c_row + j * LANES);

    UNROLL_BY_4 for (ptrdiff_t p = 0; p < depth; p++, b += b_row) {
        vec b_vec[TILE_VECS];
        UNROLL for (int j = 0; j < vecs; j++)
            b_vec[j] = load(b + j * LANES), PREFETCH(b + B_AHEAD * b_row + j * LANES);
        UNROLL for (int i = 0; i < rows; i++) {
            vec a_ip = broadcast(a_triple[i / 3][i % 3 * a.row]);
            UNROLL for (int j = 0; j < vecs; j++)
                sum[i][j] = multiply_add(a_ip, b_vec[j], sum[i][j]);
        }
        UNROLL for (int i = 0; i < rows; i += 3) {
            a_triple[i / 3] += a.col;
            HIDE_ADVANCE(a_triple[i / 3]);
        }
    }

    UNROLL for (int i = 0; i < rows; i++, c += c_row)
        store_row(c, sum[i], vecs, cols, add);
}

/* tile_product for at most FEW_ROWS rows, but over more columns. A tile of so few rows would have too few accumulators
   to hide the latency of multiply_add. More columns give more accumulators. Each sum runs in the same order as in a
   tile. If `index` is not NULL, it has `depth` indices, and only these columns of a and rows of b are multiplied. */
ALWAYS_INLINE void few_rows_product(int rows, int vecs, ptrdiff_t depth, const uint16_t *index, matrix a, matrix b,
                                    real *c, ptrdiff_t c_row, ptrdiff_t cols, bool add)
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
/* tile_product for cols <= LANES / 2. Many processors split a 512-bit operation into two, so half vectors cost half. */
ALWAYS_INLINE void half_tile_product(int rows, ptrdiff_t depth, matrix a, const real *b, ptrdiff_t b_row, real *c,
                                     ptrdiff_t c_row, ptrdiff_t cols, bool add)
{
    half_vec sum[TILE_ROWS];
    const real *a_triple[(TILE_ROWS + 2) / 3];
    UNROLL for (int i = 0; i < rows; i++)
        sum[i] = broadcast_half(0);
    UNROLL for (int i = 0; i < rows; i += 3)
        a_triple[i / 3] = a.at + i * a.row;
    for (ptrdiff_t p = 0; p < depth; p++, b += b_row) {
        half_vec b_half = load_half(b);
        UNROLL for (int i = 0; i < rows; i++)
            sum[i] = multiply_add_half(broadcast_half(a_triple[i / 3][i % 3 * a.row]), b_half, sum[i]);
        UNROLL for (int i = 0; i < rows; i += 3) {
            a_triple[i / 3] += a.col;
            HIDE_ADVANCE(a_triple[i / 3]);
        }
    }
    UNROLL for (int i = 0; i < rows; i++, c += c_row)
        store_part(c, (add ? load_part(c, cols) : broadcast(0)) + widened(sum[i]), cols);
}
#endif

/* Call tile_product with constant `rows` and `vecs`. With AVX-512, half a vector is computed for the last columns if
   they fit it. */
static void tile(int rows, ptrdiff_t depth, matrix a, const real *b, ptrdiff_t b_row, real *c, ptrdiff_t c_row,
                 ptrdiff_t cols, bool add)
{
#define TILE(R)                                                                                                        \
    case R:                                                                                                            \
        if (TILE_VECS == 3 && vecs == 3)                                                                               \
            tile_product(R, TILE_VECS, depth, a, b, b_row, c, c_row, least(cols, whole), add);                         \
        else if (vecs == 2)                                                                                            \
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
        TILE(7) TILE(8)
#endif
    }
#undef HALF_TILE
#undef TILE
}

/* pack_panel for a b with contiguous columns: transposes LANES x LANES elements at a time. */
static void pack_columns(real *panel, ptrdiff_t width, matrix b, ptrdiff_t depth, ptrdiff_t cols)
{
    for (ptrdiff_t p = 0; p < depth; p += LANES)
        for (ptrdiff_t first = 0; first < width; first += LANES) {
            vec v[LANES];
            UNROLL for (int j = 0; j < LANES; j++)
                v[j] = first + j < cols ? load_up_to(b.at + (first + j) * b.col + p, depth - p) : broadcast(0);
            transpose(v);
            UNROLL for (int i = 0; i < LANES; i++)
                if (p + i < depth)
                    store_up_to(panel + (p + i) * width + first, v[i], width - first);
        }
}

/* The first multiple of VECTOR_BYTES after `memory`. Loading a whole vector takes twice as long if it is unaligned. */
static real *aligned(void *memory)
{
    return (real *)((char *)memory + VECTOR_BYTES - (uintptr_t)memory % VECTOR_BYTES);
}

/* panel[p, j] = b[p, j] for p < depth, j < width, or 0 where j >= cols. */
static void pack_panel(real *panel, ptrdiff_t width, matrix b, ptrdiff_t depth, ptrdiff_t cols)
{
    if (b.row == 1 && b.col != 1) {
        pack_columns(panel, width, b, depth, cols);
        return;
    }
    for (ptrdiff_t p = 0; p < depth; p++, panel += width, b.at += b.row)
        if (b.col == 1)
            for (ptrdiff_t j = 0; j < width; j += LANES)
                store_up_to(panel + j, load_up_to(b.at + j, cols > j ? cols - j : 0), width - j);
        else
            for (ptrdiff_t j = 0; j < width; j++)
                panel[j] = j < cols ? b.at[j * b.col] : 0;
}

/* The block b[p : p + depth, j : j + cols] of B. Columns before `packed_from` are read in place. The others are packed
   into `packed`, one panel after the other. If panel_size is 0, each panel overwrites the one before it. packed_a has
   space for a block of tiles of A at this depth. It is NULL if A is read in place. */
struct block {
    ptrdiff_t p, j, depth, cols, packed_from, panel_size;
    real *packed, *packed_a;
    bool first, last; /* of the sum over k */
};

/* Whether few_rows_product computes C, reading B in place: for up to FEW_ROWS rows, or for any number below TILE_ROWS
   if tiles would need packed columns. So few rows do not repay packing. */
static bool has_few_rows(const product *t)
{
    return t->b.col == 1 && t->m < (t->n % TILE_COLS ? TILE_ROWS : FEW_ROWS + 1);
}

static bool pages_apart(ptrdiff_t stride)
{
    ptrdiff_t bytes = stride * (ptrdiff_t)sizeof(real);
    return bytes >= PAGE || bytes <= -PAGE;
}

/* Whether packing B pays: its rows lie so far apart that they compete for the same cache lines, and many rows of C read
   them. Packing makes them contiguous and aligned, and costs 1 ns for each element. On an Ice Lake, the float32 product
   (512, 512) @ (512, 512) runs at 135 GF/s with packing and 94 without. */
static bool packs_b(const product *t)
{
    return (pages_apart(t->b.row) && t->m > 4 * TILE_ROWS) || (pages_apart(4 * t->b.row) && t->m > 16 * TILE_ROWS);
}

/* The first of `cols` columns that is packed. All are packed if the rows of B are not contiguous, or if packing pays.
   Otherwise only an incomplete last panel is packed, and only if a tile would read beyond it. */
static ptrdiff_t first_packed(const product *t, ptrdiff_t cols)
{
    if (t->b.col != 1 || packs_b(t))
        return 0;
    return has_few_rows(t) || cols % TILE_STEP == 0 ? cols : cols - cols % TILE_COLS;
}

/* Whether A is packed. Packing costs as much as multiplying by a few columns, so it pays only if there are many.
   (256, 512) @ (512, 256) runs at 55.0 GF/s with packing and 51.0 without. */
static bool packs_a(const product *t) { return pages_apart(t->a.row) && t->n > 8 * TILE_COLS; }

/* The first row of tile q. The m rows are cut into as few tiles as possible, of at most `height` rows each and of about
   equal height. */
static ptrdiff_t tile_top(ptrdiff_t m, ptrdiff_t height, ptrdiff_t q)
{
    ptrdiff_t tiles = ceil_div(m, height);
    return m / tiles * q + least(q, m % tiles);
}

/* Pack the block's part of tiles [from, to) of A, one after the other. Each is packed as a panel of A's transpose, so
   that the columns of a tile are contiguous. */
static void pack_tiles(const product *t, const struct block *block, ptrdiff_t from, ptrdiff_t to)
{
    real *packed = block->packed_a;
    for (ptrdiff_t q = from; q < to; q++) {
        ptrdiff_t top = tile_top(t->m, TILE_ROWS, q), height = tile_top(t->m, TILE_ROWS, q + 1) - top;
        matrix a = submatrix(t->a, top, block->p);
        pack_panel(packed, height, (matrix){a.at, a.col, a.row}, block->depth, height);
        packed += height * block->depth;
    }
}

/* c[rows, cols] = activation(c + bias[cols]). Does nothing if bias is NULL. */
static void add_bias_and_activate(const product *t, real *c, ptrdiff_t rows, const real *bias, ptrdiff_t cols)
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

/* few_rows_product for one row, with constant `vecs`. */
static void one_row_product(int vecs, ptrdiff_t depth, const uint16_t *index, matrix a, matrix b, real *c,
                            ptrdiff_t cols, bool add)
{
#define ROW(V)                                                                                                         \
    case V:                                                                                                            \
        if (index)                                                                                                     \
            few_rows_product(1, V, depth, index, a, b, c, 0, cols, add);                                               \
        else                                                                                                           \
            few_rows_product(1, V, depth, NULL, a, b, c, 0, cols, add);                                                \
        break;

    switch (vecs) {
        ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7) ROW(8)
    }
#undef ROW
}

/* few_rows_product for two rows or three, with constant `vecs`. */
static void two_or_three_rows_product(int rows, int vecs, ptrdiff_t depth, matrix a, matrix b, real *c, ptrdiff_t c_row,
                                      ptrdiff_t cols, bool add)
{
#define ROWS(V)                                                                                                        \
    case V:                                                                                                            \
        if (rows == 2)                                                                                                 \
            few_rows_product(2, V, depth, NULL, a, b, c, c_row, cols, add);                                            \
        else                                                                                                           \
            few_rows_product(3, V, depth, NULL, a, b, c, c_row, cols, add);                                            \
        break;

    switch (vecs) {
        ROWS(1) ROWS(2) ROWS(3) ROWS(4)
#if defined VECTOR_AVX512 || defined __aarch64__
        ROWS(5) ROWS(6) ROWS(7) ROWS(8)
#endif
    }
#undef ROWS
}

/* Compute the block's columns of a C with few rows. */
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
                one_row_product(vecs, block->depth, NULL, a, b, c, width, !block->first);
            else
                two_or_three_rows_product((int)(next - top), vecs, block->depth, a, b, c, t->out_row, width,
                                          !block->first);
        }
        if (block->last)
            add_bias_and_activate(t, t->out + j, t->m, t->bias ? t->bias + j : NULL, width);
    }
}

/* Returns a pointer to the block's columns from j on, in B or in a packed panel, and stores their row stride in *row.
   If `pack` is set, a panel that is not read in place is packed first. */
static const real *panel_of(const product *t, const struct block *block, ptrdiff_t j, bool pack, ptrdiff_t *row)
{
    matrix b = submatrix(t->b, block->p, block->j + j);
    if (j < block->packed_from) {
        *row = b.row;
        return b.at;
    }
    real *panel = block->packed + (j - block->packed_from) / TILE_COLS * block->panel_size;
    if (pack)
        pack_panel(panel, TILE_COLS, b, block->depth, block->cols - j);
    *row = TILE_COLS;
    return panel;
}

/* Compute the block's columns of tiles [from, to) of C's rows. */
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
            tile((int)height, block->depth, a, panel, panel_row, c + top * t->out_row, t->out_row, width,
                 !block->first);
        }
        if (block->last)
            add_bias_and_activate(t, c + first_row * t->out_row, rows, t->bias ? t->bias + block->j + j : NULL, width);
    }
}

/* ---- Zeros in A, as in images of digits, are skipped: if b is finite, adding 0 * b does not change the sum ---- */

/* Whether the product is large enough for lists of A's nonzeros, and most of the sampled elements of A are 0. */
static bool is_mostly_zeros(const product *t)
{
    if (t->m < LEAST_ROWS || t->n < 3 * LANES || t->m * t->k < LEAST_MULTIPLICATIONS / t->n)
        return false;
    if (t->b.col != 1 || (t->a.col != 1 && t->a.row != 1))
        return false;
    int zeros = 0;
    for (ptrdiff_t i = 0; i < ZERO_SAMPLES; i++)
        zeros += *submatrix(t->a, i * t->m / ZERO_SAMPLES, i * 31 % ZERO_SAMPLES * t->k / ZERO_SAMPLES).at == 0;
    return zeros >= ENOUGH_ZEROS;
}

/* packed[p, j] = b[p, j], with rows padded to whole vectors. Returns whether all of b is finite. If it is not, zeros
   must not be skipped: 0 * inf is nan and must reach C. */
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

/* List the indices of the nonzeros of x[n] in ascending order, and return how many there are. `list` must have space
   for n + LANES. Meanwhile x + next is prefetched, because its elements are listed next. */
static ptrdiff_t list_nonzeros(uint16_t *list, const real *x, ptrdiff_t n, ptrdiff_t next)
{
    ptrdiff_t count = 0;
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        PREFETCH(x + i + next);
        count += store_places(list + count, load_up_to(x + i, n - i), (int)i);
    }
    return count;
}

/* lists[i, 0 : count[i]] = all p with a[i, p] != 0, for i < rows and p < depth. The columns of a are contiguous. */
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

/* Row i of C = the sum over the listed q of A[i, p + q] times row p + q of B; or += that if `add`. */
static void multiply_listed(const product *t, ptrdiff_t i, ptrdiff_t p, const uint16_t *list, ptrdiff_t count,
                            const real *packed, bool add)
{
    ptrdiff_t width = ceil_div(t->n, LANES) * LANES;
    for (ptrdiff_t j = 0; j < t->n; j += ROW_VECS * LANES) {
        ptrdiff_t cols = least(ROW_VECS * LANES, t->n - j);
        matrix b = {(real *)packed + p * width + j, width, 1};
        real *c = t->out + i * t->out_row + j;
        one_row_product((int)ceil_div(cols, LANES), count, list, submatrix(t->a, i, p), b, c, cols, add);
    }
}

/* Add the products of columns [p, p + depth) of A to rows [top, end) of C, which are at most STRIP. If p is 0, the rows
   are set instead. */
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

/* The size of the memory for the packed B, which is aligned, and for the lists of one row or of a strip. */
static ptrdiff_t bytes_without_zeros(const product *t, ptrdiff_t depths)
{
    ptrdiff_t packed = t->k * ceil_div(t->n, LANES) * VECTOR_BYTES, depth = ceil_div(t->k, depths);
    ptrdiff_t places = (t->a.row == 1 ? STRIP : 1) * depth + LANES;
    return VECTOR_BYTES + packed + places * (ptrdiff_t)sizeof(uint16_t);
}

/* matmul with the same sums, but without A's zeros. If B is not finite, it does nothing and returns false. */
static bool multiply_without_zeros(const product *t, ptrdiff_t depths, void *memory)
{
    real *packed = aligned(memory);
    uint16_t *lists = (uint16_t *)(packed + t->k * ceil_div(t->n, LANES) * LANES);
    if (!pack_finite(packed, t))
        return false;
    for (ptrdiff_t top = 0; top < t->m; top += STRIP) {
        ptrdiff_t end = least(top + STRIP, t->m);
        for (ptrdiff_t d = 0; d < depths; d++) {
            ptrdiff_t p = t->k * d / depths;
            multiply_strip(t, top, end, p, t->k * (d + 1) / depths - p, packed, lists);
        }
        add_bias_and_activate(t, t->out + top * t->out_row, end - top, t->bias, t->n);
    }
    return true;
}

/* Whether to compute C.T = b.T a.T instead. If C has one row, and the rows of b are not contiguous, C would need all of
   b packed for a single use. C.T reads b in place. */
static bool better_transposed(const product *t)
{
    return t->m == 1 && t->b.col != 1 && !t->bias;
}

static product transposed(product t)
{
    matrix a = {t.b.at, t.b.col, t.b.row}, b = {t.a.at, t.a.col, t.a.row};
    return (product){t.out, 1, a, b, t.n, t.k, 1, NULL, ZDL_IDENTITY};
}

/* out = activation(a @ b + bias); false if there is no memory for packing. */
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
        void *memory = malloc((size_t)bytes_without_zeros(t, depths));
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
    void *memory = a_size + b_size ? malloc((size_t)(a_size + b_size) * sizeof(real) + VECTOR_BYTES) : NULL;
    if (a_size + b_size && !memory)
        return false;
    real *packed = memory ? aligned(memory) : NULL;

    for (ptrdiff_t j = 0; j < t->n; j += BLOCK_COLS)
        for (ptrdiff_t d = 0; d < depths; d++) {
            ptrdiff_t p = t->k * d / depths, cols = least(BLOCK_COLS, t->n - j);
            ptrdiff_t block_depth = t->k * (d + 1) / depths - p;
            struct block block = {p, j, block_depth, cols, first_packed(t, cols), fits ? 0 : TILE_COLS * block_depth,
                                  packed, a_size ? packed + b_size : NULL, d == 0, d == depths - 1};
            if (has_few_rows(t))
                multiply_few_rows(t, &block);
            else
                for (ptrdiff_t q = 0; q < tiles; q += step)
                    multiply_tiles(t, &block, q, least(q + step, tiles));
        }
    free(memory);
    return true;
}

#endif
