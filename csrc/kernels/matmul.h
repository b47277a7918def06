/* Matrix product after Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008): one
   micro-kernel computes a tile of C, TILE_ROWS x TILE_COLS, in registers, and blocks of A and B stay in cache
   while they are used. A is read where it lies, whatever its strides: an element of it is broadcast to a vector,
   and any address does for that. B is read by vectors of a row; where its rows are not contiguous, a block of it is
   packed into panels of TILE_COLS columns first. So are blocks of either whose rows are pages apart, if they are used
   often: such rows compete for the same lines of the cache.
   The sum over k runs in one order whatever the tile, so a caller may split C freely.

     for each block of C's columns    (BLOCK_COLS)
       for each block of the sum over k    (BLOCK_DEPTH; B's block is packed here)
         for each block of C's rows    (BLOCK_TILES; A's block comes to the L2 cache)
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
    ROW_VECS = 8,
    BLOCK_DEPTH = 512,
    BLOCK_TILES = 24 / TILE_ROWS,
    BLOCK_COLS = 1024,
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

/* c[cols] = or += a[depth] @ b[depth, cols] for one row, cols <= ROW_VECS * LANES: a tile of one row would keep the
   processor waiting for its few sums, this has many. The sums run in the same order. */
ALWAYS_INLINE void row_product(int vecs, ptrdiff_t depth, matrix a, matrix b, real *c, ptrdiff_t cols, bool add)
{
    ptrdiff_t last = cols - (vecs - 1) * LANES;
    vec sum[ROW_VECS];
    UNROLL for (int j = 0; j < vecs; j++)
        sum[j] = broadcast(0);
    for (ptrdiff_t p = 0; p < depth; p++, a.at += a.col, b.at += b.row) {
        vec a_p = broadcast(*a.at);
        UNROLL for (int j = 0; j < vecs - 1; j++)
            sum[j] = multiply_add(a_p, load(b.at + j * LANES), sum[j]);
        sum[vecs - 1] = multiply_add(a_p, load_up_to(b.at + (vecs - 1) * LANES, last), sum[vecs - 1]);
    }
    UNROLL for (int j = 0; j < vecs; j++) {
        vec old = add ? load_up_to(c + j * LANES, cols - j * LANES) : broadcast(0);
        store_up_to(c + j * LANES, old + sum[j], cols - j * LANES);
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

/* A block of B, b[p : p + depth, j : j + cols]: its columns from `packed_from` on lie in `packed`, panel after panel, and
   the ones before them are read where they are. packed_a has room for some tiles of A at this depth, or is NULL where
   A is read where it is. */
struct block {
    ptrdiff_t p, j, depth, cols, packed_from;
    real *packed, *packed_a;
    bool first, last; /* of the sum over k */
};

/* The vectors of one row of C need no more than a row of B at a time, masked at its end. */
static bool is_one_row(const product *t) { return t->m == 1 && t->b.col == 1; }

static bool pages_apart(ptrdiff_t stride)
{
    ptrdiff_t bytes = stride * (ptrdiff_t)sizeof(real);
    return bytes >= PAGE || bytes <= -PAGE;
}

/* The first of `cols` columns that must be packed: all where the rows of B are not contiguous, or are pages apart and
   many rows of C read them; else those that do not fill a panel. */
static ptrdiff_t first_packed(const product *t, ptrdiff_t cols)
{
    if (t->b.col != 1 || (pages_apart(t->b.row) && t->m > 4 * TILE_ROWS))
        return 0;
    return is_one_row(t) ? cols : cols - cols % TILE_COLS;
}

static bool packs_a(const product *t) { return pages_apart(t->a.row) && t->n > 32 * TILE_COLS; }

/* The first row of tile q, of as many tiles of equal height as it takes. */
static ptrdiff_t tile_top(ptrdiff_t m, ptrdiff_t q)
{
    ptrdiff_t tiles = ceil_div(m, TILE_ROWS);
    return m / tiles * q + least(q, m % tiles);
}

/* Tiles [from, to) of A, at the depth of the block, one after the other, each by columns. */
static void pack_tiles(const product *t, const struct block *block, ptrdiff_t from, ptrdiff_t to)
{
    real *packed = block->packed_a;
    for (ptrdiff_t q = from; q < to; q++) {
        ptrdiff_t top = tile_top(t->m, q), height = tile_top(t->m, q + 1) - top;
        matrix a = submatrix(t->a, top, block->p);
        for (ptrdiff_t p = 0; p < block->depth; p++)
            for (ptrdiff_t i = 0; i < height; i++)
                *packed++ = a.at[i * a.row + p * a.col];
    }
}

static void pack_block(const product *t, const struct block *block)
{
    for (ptrdiff_t j = block->packed_from; j < block->cols; j += TILE_COLS)
        pack_panel(block->packed + (j - block->packed_from) * block->depth, submatrix(t->b, block->p, block->j + j),
                   block->depth, block->cols - j);
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

/* C's only row, at the columns of the block. */
static void multiply_row(const product *t, const struct block *block)
{
#define ROW(V)                                                                                                         \
    case V:                                                                                                            \
        row_product(V, block->depth, submatrix(t->a, 0, block->p), submatrix(t->b, block->p, j), t->out + j, width,    \
                    !block->first);                                                                                    \
        break;

    for (ptrdiff_t j = block->j, end = block->j + block->cols; j < end; j += ROW_VECS * LANES) {
        ptrdiff_t width = least(ROW_VECS * LANES, end - j);
        switch (ceil_div(width, LANES)) {
            ROW(1) ROW(2) ROW(3) ROW(4) ROW(5) ROW(6) ROW(7) ROW(8)
        }
        if (block->last)
            finish_rows(t, t->out + j, 1, t->bias ? t->bias + j : NULL, width);
    }
#undef ROW
}

/* C's tiles of rows [from, to), at the columns of the block. */
static void multiply_tiles(const product *t, const struct block *block, ptrdiff_t from, ptrdiff_t to)
{
    ptrdiff_t first_row = tile_top(t->m, from), rows = tile_top(t->m, to) - first_row;
    if (block->packed_a)
        pack_tiles(t, block, from, to);
    for (ptrdiff_t j = 0; j < block->cols; j += TILE_COLS) {
        ptrdiff_t width = least(TILE_COLS, block->cols - j);
        bool packed = j >= block->packed_from;
        const real *panel = packed ? block->packed + (j - block->packed_from) * block->depth
                                   : submatrix(t->b, block->p, block->j + j).at;
        real *c = t->out + block->j + j;
        for (ptrdiff_t q = from; q < to; q++) {
            ptrdiff_t top = tile_top(t->m, q), height = tile_top(t->m, q + 1) - top;
            matrix a = block->packed_a ? (matrix){block->packed_a + (top - first_row) * block->depth, 1, height}
                                       : submatrix(t->a, top, block->p);
            tile((int)height, block->depth, a, panel, packed ? TILE_COLS : t->b.row, c + top * t->out_row, t->out_row,
                 width, !block->first);
        }
        if (block->last)
            finish_rows(t, c + first_row * t->out_row, rows, t->bias ? t->bias + block->j + j : NULL, width);
    }
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
    ptrdiff_t tiles = ceil_div(t->m, TILE_ROWS), to_pack = least(t->n - first_packed(t, t->n), BLOCK_COLS);
    ptrdiff_t b_size = ceil_div(to_pack, TILE_COLS) * TILE_COLS * depth;
    ptrdiff_t a_size = packs_a(t) ? BLOCK_TILES * TILE_ROWS * depth : 0;
    real *packed = a_size + b_size ? malloc((size_t)(a_size + b_size) * sizeof(real)) : NULL;
    if (a_size + b_size && !packed)
        return false;

    for (ptrdiff_t j = 0; j < t->n; j += BLOCK_COLS)
        for (ptrdiff_t d = 0; d < depths; d++) {
            ptrdiff_t p = t->k * d / depths, cols = least(BLOCK_COLS, t->n - j);
            struct block block = {p, j, t->k * (d + 1) / depths - p, cols, first_packed(t, cols), packed,
                                    a_size ? packed + b_size : NULL, d == 0, d == depths - 1};
            pack_block(t, &block);
            if (is_one_row(t))
                multiply_row(t, &block);
            else
                for (ptrdiff_t q = 0; q < tiles; q += BLOCK_TILES)
                    multiply_tiles(t, &block, q, least(q + BLOCK_TILES, tiles));
        }
    free(packed);
    return true;
}
