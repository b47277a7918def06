/* What the kernels ask of a compiler. */
#ifndef ZERODL_COMPILER_H
#define ZERODL_COMPILER_H

#include <float.h>

/* Whether vectors, attributes and inline assembly are gcc's. clang has them also where it passes for MSVC. */
#if (defined __GNUC__ || defined __clang__) && !defined __TINYC__
#define HAVE_GNU_C 1
#else
#define HAVE_GNU_C 0
#endif

/* The kernels correct what rounding drops: they are wrong where a result is not rounded to its type, or is reordered.
   A method of 16 concerns _Float16 alone. tcc, which does not name its method, has x87 arithmetic on i386. */
#if defined __FAST_MATH__ || defined _M_FP_FAST
#error "zerodl needs IEEE arithmetic: compile without -ffast-math, -Ofast and /fp:fast"
#elif (FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16) || (defined __TINYC__ && defined __i386__)
#error "zerodl needs results rounded to their type: on i386, compile with -msse2 -mfpmath=sse"
#endif

/* As -ffp-contract=off, which clang-cl does not take. */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

#endif
