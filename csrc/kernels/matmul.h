/* Matrix product after Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): one
   micro-kernel computes a tile of C, TILE_ROWS x TILE_COLS, in registers, and blocks of A and B stay in cache
   while they are used. A is read where it lies, whatever its strides: an element of it is broadcast to a vector,
   and any address does for that. B is read by vectors of a row; where its rows are not contiguous, or so far
   apart that every row is another page, a block of it is packed into panels of TILE_COLS columns first.
   The sum over k runs in one order whatever the tile, so a caller may split C freely.

     for each block of C's columns    (BLOCK_COLS)
       for each block of the sum over k    (BLOCK_DEPTH; B's block is packed here)
         for each block of C's rows    (BLOCK_ROWS; A's block comes to the L2 cache)
           for each panel of B    (it comes to the L1 cache)
             for each tile of rows: C += A B, in registers */

#include <stdlib.h>

enum {
    /* The accumulators, TILE_ROWS x TILE_VECS, fill the registers but for a row of B and an element of A. */
#if defined VECTOR_AVX512 || defined __aarch64__
    TILE_ROWS = 12,
#else
    TILE_ROWS = 6,
#endif
    TILE_VECS = 2,
    TILE_COLS = TILE_VECS * LANES,
    BLOCK_DEPTH = 256,
    BLOCK_ROWS = 192,
    BLOCK_COLS = 2048,
    PAGE = 4096,
};

ALWAYS_INLINE ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
ALWAYS_INLINE ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

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

    for (ptrdiff_t p = 0; p < depth; p++, b += b_row) {
        vec b_vec[TILE_VECS];
        UNROLL for (int j = 0; j < vecs; j++)
            b_vec[j] = load(b + j * LANES);
        UNROLL for (int i = 0; i < rows; i++) {
            vec a_ip = broadcast(a_third[i / 3][i % 3 * a.row]);
            UNROLL for (int j = 0; j < vecs; j++)
                sum[i][j] = multiply_add(a_ip, b_vec[j], sum[i][j]);
        }
        UNROLL for (int i = 0; i < rows; i += 3)
            a_third[i / 3] += a.col;
    }

    UNROLL for (int i = 0; i < rows; i++, c += c_row)
        UNROLL for (int j = 0; j < vecs; j++) {
            ptrdiff_t left = cols - j * LANES;
            vec old = add ? load_up_to(c + j * LANES, left) : broadcast(0);
            store_up_to(c + j * LANES, old + sum[i][j], left);
        }
}

/* tile_product for the rows and vectors that there are. */
static void tile(int rows, ptrdiff_t depth, matrix a, const real *b, ptrdiff_t b_row, real *c, ptrdiff_t c_row,
                 ptrdiff_t cols, bool add)
{
#define TILE(R)                                                                                                        \
    case R:                                                                                                            \
        if (cols > LANES)                                                                                              \
            tile_product(R, 2, depth, a, b, b_row, c, c_row, cols, add);                                               \
        else                                                                                                           \
            tile_product(R, 1, depth, a, b, b_row, c, c_row, cols, add);                                               \
        break;

    switch (rows) {
        TILE(1) TILE(2) TILE(3) TILE(4) TILE(5) TILE(6)
#if defined VECTOR_AVX512 || defined __aarch64__
        TILE(7) TILE(8) TILE(9) TILE(10) TILE(11) TILE(12)
#endif
    }
#undef TILE
}

/* panel[p, j] = b[p, j] for the first TILE_COLS columns; those from `cols` on are 0. */
static void pack_panel(real *panel, matrix b, ptrdiff_t depth, ptrdiff_t cols)
{
    for (ptrdiff_t p = 0; p < depth; p++, panel += TILE_COLS, b.at += b.row)
        if (b.col == 1)
            for (int j = 0; j < TILE_VECS; j++)
                store(panel + j * LANES, load_up_to(b.at + j * LANES, cols > j * LANES ? cols - j * LANES : 0));
        else
            for (ptrdiff_t j = 0; j < TILE_COLS; j++)
                panel[j] = j < cols ? b.at[j * b.col] : 0;
}

/* Whether a full panel of b must be packed for a C of m rows. */
static bool needs_packing(matrix b, ptrdiff_t m)
{
    ptrdiff_t bytes_between_rows = b.row * (ptrdiff_t)sizeof(real);
    return b.col != 1 || (m > 4 * TILE_ROWS && (bytes_between_rows >= PAGE || bytes_between_rows <= -PAGE));
}

/* c = activation(c + bias) over a block of rows; bias may be NULL. */
static void finish_block(real *c, ptrdiff_t c_row, ptrdiff_t rows, ptrdiff_t cols, const real *bias,
                         enum zdl_activation activation)
{
    for (; rows > 0; rows--, c += c_row)
        for (ptrdiff_t j = 0; j < cols; j += LANES) {
            vec v = load_up_to(c + j, cols - j);
            if (bias)
                v = v + load_up_to(bias + j, cols - j);
            switch (activation) {
            case ZDL_IDENTITY: break;
            case ZDL_SIGMOID: v = vec_sigmoid(v); break;
            case ZDL_RELU: v = vec_relu(v); break;
            case ZDL_TANH: v = vec_tanh(v); break;
            }
            store_up_to(c + j, v, cols - j);
        }
}

/* A block of the sum over k, ready for the tiles: the columns from `packed_from` on lie in `packed`, panel after
   panel; the ones before it are read from b itself. */
struct b_block {
    matrix b;
    const real *packed;
    ptrdiff_t packed_from, depth, cols;
    bool first, last; /* of the sum over k */
};

/* c[rows, cols] = or += a[rows, depth] @ block, and activation(c + bias) after the last block. */
static void multiply_block(real *c, ptrdiff_t c_row, matrix a, const struct b_block *block, ptrdiff_t rows,
                           const real *bias, enum zdl_activation activation)
{
    ptrdiff_t tiles = ceil_div(rows, TILE_ROWS);
    for (ptrdiff_t j = 0; j < block->cols; j += TILE_COLS) {
        ptrdiff_t width = least(TILE_COLS, block->cols - j);
        bool packed = j >= block->packed_from;
        const real *panel = packed ? block->packed + (j - block->packed_from) * block->depth : block->b.at + j;
        for (ptrdiff_t q = 0; q < tiles; q++) {
            ptrdiff_t i = rows * q / tiles, height = rows * (q + 1) / tiles - i;
            tile((int)height, block->depth, submatrix(a, i, 0), panel, packed ? TILE_COLS : block->b.row,
                 c + i * c_row + j, c_row, width, !block->first);
        }
        if (block->last && (bias || activation != ZDL_IDENTITY))
            finish_block(c + j, c_row, rows, width, bias ? bias + j : NULL, activation);
    }
}

/* c = activation(a @ b + bias) for (m, k) by (k, n); false where memory for packing is lacking. */
static bool matmul(real *c, ptrdiff_t c_row, matrix a, matrix b, ptrdiff_t m, ptrdiff_t k, ptrdiff_t n,
                   const real *bias, enum zdl_activation activation)
{
    ptrdiff_t depths = k > 0 ? ceil_div(k, BLOCK_DEPTH) : 1, heights = ceil_div(m, BLOCK_ROWS);
    bool pack_all = needs_packing(b, m);
    real *scratch = NULL;
    if (pack_all || n % TILE_COLS) {
        ptrdiff_t cols = pack_all ? least(n, BLOCK_COLS) : 1;
        scratch = malloc((size_t)(ceil_div(cols, TILE_COLS) * TILE_COLS * ceil_div(k, depths) + 1) * sizeof(real));
        if (!scratch)
            return false;
    }
    for (ptrdiff_t j = 0; j < n; j += BLOCK_COLS)
        for (ptrdiff_t q = 0; q < depths; q++) {
            ptrdiff_t p = k * q / depths, depth = k * (q + 1) / depths - p, cols = least(BLOCK_COLS, n - j);
            struct b_block block = {submatrix(b, p, j), scratch, pack_all ? 0 : cols - cols % TILE_COLS,
                                    depth, cols, q == 0, q == depths - 1};
            for (ptrdiff_t from = block.packed_from; from < cols; from += TILE_COLS)
                pack_panel(scratch + (from - block.packed_from) * depth, submatrix(b, p, j + from), depth, cols - from);
            for (ptrdiff_t r = 0; r < heights; r++) {
                ptrdiff_t i = m * r / heights, rows = m * (r + 1) / heights - i;
                multiply_block(c + i * c_row + j, c_row, submatrix(a, i, p), &block, rows, bias ? bias + j : NULL,
                               activation);
            }
        }
    free(scratch);
    return true;
}
