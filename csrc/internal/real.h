/* The element type that a file is compiled for. The file defines REAL_BITS as 32 or 64 before it includes this one. Its
   code is written once, over `real`. Only names that the linker sees contain the type: ZDL(name). */
#ifndef ZERODL_REAL_H
#define ZERODL_REAL_H

#include <stddef.h>
#include <stdint.h>

#include "compiler.h"

#if REAL_BITS == 64
typedef double real;
typedef int64_t integer;
typedef uint64_t unsigned_integer;
#define ZDL(name) zdl_##name##_f64
enum { MANTISSA_BITS = 52, EXPONENT_BIAS = 1023 };
#else
typedef float real;
typedef int32_t integer;
typedef uint32_t unsigned_integer;
#define ZDL(name) zdl_##name##_f32
enum { MANTISSA_BITS = 23, EXPONENT_BIAS = 127 };
#endif

#endif
