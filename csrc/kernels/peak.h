/* The fastest arithmetic that this machine has, to hold other kernels against. */
#ifndef ZERODL_KERNELS_PEAK_H
#define ZERODL_KERNELS_PEAK_H

#include "../internal/vector.h"
#include "matmul.h"

/* `rounds` multiply_adds on each of as many vectors as a tile of a matrix product keeps in registers: independent of
   one another, so that their latency is hidden, and without any memory. Returns the flops done, 2 for each element of
   a multiply_add. Every value goes from where it starts to 1, by halves, and stays there; that the result depends on
   all of them keeps the compiler from dropping the work. */
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
