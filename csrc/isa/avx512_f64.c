/* float64 kernels for x86-64 with AVX-512. */
#define REAL_BITS 64
#include "avx512.h"
