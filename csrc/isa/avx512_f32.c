/* float32 kernels for x86-64 with AVX-512. */
#define REAL_BITS 32
#include "avx512.h"
