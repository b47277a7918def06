#define REAL_BITS 64
#include "network.h"
