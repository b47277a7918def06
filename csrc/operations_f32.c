#define REAL_BITS 32
#include "operations.h"

#include "convolution.h"
#include "network.h"
