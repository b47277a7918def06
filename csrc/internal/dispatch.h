/* The kernels of the instruction set in use, for one element type, and the least work that is worth a thread. */
#ifndef ZERODL_DISPATCH_H
#define ZERODL_DISPATCH_H

#include "cpu.h"
#include "../kernels/table.h"
#include "parallel.h"

static const struct ZDL(kernels) *const tables[] = {
    &ZDL(baseline),
#if HAVE_X86_LEVELS
    &ZDL(avx2),
    &ZDL(avx512),
#endif
};

static const struct ZDL(kernels) * kernels(void) { return tables[zdl_isa]; }

/* The least work of a piece, in elements or flops: 2 to 10 microseconds on one core, depending on its vectors. */
static const double GRAIN_ARITHMETIC = 131072. / sizeof(real), GRAIN_EXP = 65536. / sizeof(real),
                    GRAIN_FLOPS = 4e6 / sizeof(real);

#endif
