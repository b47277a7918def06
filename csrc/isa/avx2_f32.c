/* float32 kernels for x86-64 with AVX2 and FMA. */
#define REAL_BITS 32
#include "avx2.h"
