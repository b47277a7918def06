/* What the kernels require of a compiler. */
#ifndef ZERODL_COMPILER_H
#define ZERODL_COMPILER_H

#include <float.h>

/* Whether the compiler has gcc's vectors, attributes and inline assembly. clang has them even if it poses as MSVC. */
#if (defined __GNUC__ || defined __clang__) && !defined __TINYC__
#define HAVE_GNU_C 1
#else
#define HAVE_GNU_C 0
#endif

/* The kernels compute rounding errors, which are wrong if the compiler keeps extra precision or reorders operations. An
   FLT_EVAL_METHOD of 16 concerns _Float16 alone. tcc does not define it, but uses x87 arithmetic on i386. */
#if defined __FAST_MATH__ || defined _M_FP_FAST
#error "zerodl needs IEEE arithmetic: compile without -ffast-math, -Ofast and /fp:fast"
#elif (FLT_EVAL_METHOD != 0 && FLT_EVAL_METHOD != 16) || (defined __TINYC__ && defined __i386__)
#error "zerodl needs results rounded to their type: on i386, compile with -msse2 -mfpmath=sse"
#endif

/* The same as -ffp-contract=off, which clang-cl does not accept. */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#endif

#endif
