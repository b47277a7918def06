#define REAL_BITS 64
#include "images/columns.h"
#include "images/convolution.h"
#include "images/pooling.h"
#include "net/differences.h"
#include "internal/operations.h"
