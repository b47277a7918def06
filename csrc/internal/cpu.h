/* The instruction sets that this machine may have, and the one in use. */
#ifndef ZERODL_CPU_H
#define ZERODL_CPU_H

#include "compiler.h"

/* gcc on Windows does not align the stack for AVX vectors (gcc bug 54412), so it gets the baseline alone. */
#if HAVE_GNU_C && defined __x86_64__ && (defined __clang__ || !defined _WIN32)
#define HAVE_X86_LEVELS 1
#else
#define HAVE_X86_LEVELS 0
#endif

enum isa { ISA_BASELINE, ISA_AVX2, ISA_AVX512 };

/* The instruction set in use. */
extern enum isa zdl_isa;

#endif
