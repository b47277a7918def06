#define REAL_BITS 32
#include "images/columns.h"
#include "images/convolution.h"
#include "images/pooling.h"
#include "net/network.h"
#include "internal/operations.h"
