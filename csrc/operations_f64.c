#define REAL_BITS 64
#include "operations.h"

#include "convolution.h"
#include "pooling.h"
#include "columns.h"
#include "network.h"
#include "network_difference.h"
