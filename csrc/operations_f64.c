#define REAL_BITS 64
#include "images/by_images.h"
#include "images/convolution.h"
#include "net/differences.h"
#include "internal/operations.h"
