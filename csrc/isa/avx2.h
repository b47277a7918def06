#include "../internal/cpu.h"
#if HAVE_X86_LEVELS

/* Included before the target changes, so that functions in these headers keep the default target. */
#include <immintrin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif

#define VECTOR_AVX2
#define ISA_TABLE ZDL(avx2)
#include "../kernels/all.h"

#ifdef __clang__
#pragma clang attribute pop
#endif
#endif
