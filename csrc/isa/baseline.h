#include <math.h>
#include <stdlib.h>
#include <string.h>

/* gcc may spill two floats to an MMX register, which makes the x87 unit unusable for long double. */
#if defined __GNUC__ && !defined __clang__ && defined __x86_64__
#pragma GCC target("no-mmx")
#endif

#define ISA_TABLE ZDL(baseline)
#include "../kernels/all.h"
