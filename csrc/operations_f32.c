#define REAL_BITS 32
#include "operations.h"

#include "convolution.h"
#include "pooling.h"
#include "columns.h"
#include "network.h"
