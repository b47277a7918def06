#define REAL_BITS 32
#include "operations.h"

#include "network.h"
