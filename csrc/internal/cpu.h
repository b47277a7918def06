/* Which instruction sets this machine has, and which one is in use. */
#ifndef ZERODL_CPU_H
#define ZERODL_CPU_H

#include "compiler.h"

/* Not for gcc on Windows, which does not align the stack for wide vectors (gcc bug 54412). */
#if HAVE_GNU_C && defined __x86_64__ && (defined __clang__ || !defined _WIN32)
#define HAVE_X86_LEVELS 1
#else
#define HAVE_X86_LEVELS 0
#endif

enum isa { ISA_BASELINE, ISA_AVX2, ISA_AVX512 };

/* The level in use. */
extern enum isa zdl_isa;

#endif
