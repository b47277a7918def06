/* The peak arithmetic speed of this machine, to compare other kernels with. */
#ifndef ZERODL_KERNELS_PEAK_H
#define ZERODL_KERNELS_PEAK_H

#include "../internal/vector.h"
#include "matmul.h"

/* Runs `rounds` multiply_adds on each of as many vectors as a tile of a matrix product keeps in registers. They are
   independent of each other, which hides their latency, and use no memory. Returns the flops done: 2 for each element
   of a multiply_add. Each value x becomes (x + 1) / 2 in every round, so it converges to 1. The result depends on all
   values, so the compiler cannot drop the work. */
static double peak(ptrdiff_t rounds)
{
    vec value[TILE_ROWS][TILE_VECS], half = broadcast((real)0.5), most = half;
    UNROLL for (int i = 0; i < TILE_ROWS; i++)
        UNROLL for (int j = 0; j < TILE_VECS; j++)
            value[i][j] = broadcast((real)(2 + i * TILE_VECS + j));
    for (ptrdiff_t r = 0; r < rounds; r++)
        UNROLL for (int i = 0; i < TILE_ROWS; i++)
            UNROLL for (int j = 0; j < TILE_VECS; j++)
                value[i][j] = multiply_add(value[i][j], half, half);
    UNROLL for (int i = 0; i < TILE_ROWS; i++)
        UNROLL for (int j = 0; j < TILE_VECS; j++)
            most = maximum(most, value[i][j]);
    double flops = (double)(2 * TILE_ROWS * TILE_COLS) * (double)rounds;
    return largest(most) >= 1 ? flops : 0;
}

#endif
