#include "cpu.h"

#include <stdlib.h>
#include <string.h>

#include "zerodl.h"

static const char *const names[] = {"baseline", "avx2", "avx512"};
static int highest = ISA_BASELINE;
enum isa zdl_isa = ISA_BASELINE;

/* The index of a level that this machine has, else -1. */
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
#else
    return "unknown";
#endif
}

#if HAVE_X86_LEVELS
/* At load. The compiler's test asks the operating system too, which must save the wide registers. */
__attribute__((constructor)) static void choose_isa(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        highest = ISA_AVX2;
    if (highest == ISA_AVX2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        highest = ISA_AVX512;
    zdl_isa = (enum isa)highest;
    const char *forced = getenv("ZERODL_ISA");
    if (forced)
        zdl_set_isa(forced);
}
#endif
