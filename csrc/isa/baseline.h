#define ISA_TABLE ZDL(baseline)
#include "../kernels/all.h"
