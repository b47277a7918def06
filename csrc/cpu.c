/* Which instruction sets this machine has. The best one, or the one that ZERODL_ISA names, is chosen when the library
   is loaded. */

#include "internal/cpu.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "zerodl.h"

#if HAVE_X86_LEVELS
#include <cpuid.h>
#endif

static const char *const names[] = {"baseline", "avx2", "avx512"};
static int highest = ISA_BASELINE;
enum isa zdl_isa = ISA_BASELINE;

/* The index of the level with this name, or -1 if this machine lacks it. */
static int find_level(const char *name)
{
    for (int i = 0; i <= highest; i++)
        if (strcmp(name, names[i]) == 0)
            return i;
    return -1;
}

const char *zdl_isa_level(int i) { return i >= 0 && i <= highest ? names[i] : NULL; }
const char *zdl_get_isa(void) { return names[zdl_isa]; }

int zdl_set_isa(const char *level)
{
    int found = find_level(level);
    if (found >= 0)
        zdl_isa = (enum isa)found;
    return found < 0 ? -1 : 0;
}

int zdl_isa_refused(void)
{
    const char *forced = getenv("ZERODL_ISA");
    return forced && *forced && find_level(forced) < 0;
}

const char *zdl_compiler(void)
{
#if defined __clang__
    return "clang " __clang_version__;
#elif defined __GNUC__
    return "gcc " __VERSION__;
#elif defined _MSC_VER
    return "MSVC";
#elif defined __TINYC__
    return "tcc";
#else
    return "unknown";
#endif
}

#if HAVE_X86_LEVELS
/* Bits of cpuid leaves 1 and 7. Their names in <cpuid.h> differ between compilers. YMM and ZMM are the registers that
   the system must save for AVX and for AVX-512. */
static const unsigned FMA = 1u << 12, OSXSAVE = 1u << 27;
static const unsigned AVX2 = 1u << 5, AVX512_F_DQ_BW_VL = 1u << 16 | 1u << 17 | 1u << 30 | 1u << 31;
static const unsigned YMM = 0x06, ZMM = 0xe6;

static unsigned saved_registers(void)
{
    unsigned low, high;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
#ifdef __APPLE__ /* macOS saves the AVX-512 registers only once they are used */
    low |= ZMM;
#endif
    return low;
}

static bool has(unsigned bits, unsigned all) { return (bits & all) == all; }

/* This does not use __builtin_cpu_supports, which needs a library that clang-cl does not link and zig lacks in part. */
static enum isa highest_of_machine(void)
{
    unsigned eax, ebx, ecx, edx, saved = 0;
    if (__get_cpuid(1, &eax, &ebx, &ecx, &edx) && has(ecx, FMA | OSXSAVE))
        saved = saved_registers();
    if (!has(saved, YMM) || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || !has(ebx, AVX2))
        return ISA_BASELINE;
    return has(ebx, AVX512_F_DQ_BW_VL) && has(saved, ZMM) ? ISA_AVX512 : ISA_AVX2;
}

/* Runs when the library is loaded. */
__attribute__((constructor)) static void choose_isa(void)
{
    highest = (int)highest_of_machine();
    zdl_isa = (enum isa)highest;
    const char *forced = getenv("ZERODL_ISA");
    if (forced)
        zdl_set_isa(forced);
}
#endif
