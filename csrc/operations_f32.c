#define REAL_BITS 32
#include "network.h"
