#define REAL_BITS 32
#include "images/by_images.h"
#include "images/convolution.h"
#include "net/network.h"
#include "internal/operations.h"
