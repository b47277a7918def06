/* float64 kernels for any machine: SSE2 on x86-64, NEON on Arm64, whatever the compiler makes of it elsewhere. */
#define REAL_BITS 64
#include "baseline.h"
