/* To be preloaded into Python (glibc): the core's allocations, counted, and failing from one of them on. The core is the shared
   library whose name has _zerodl in it; what others allocate goes its usual way. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void __libc_free(void *p);

enum { MOST = 64 };

static atomic_bool watching;
static atomic_long allocations;
static _Atomic(void *) living[MOST]; /* what the core has not freed: who frees it is not always to be seen */
static long first_failure;

/* From now on allocations are counted, and after so many they fail. */
void watch_allocations(long enough)
{
    for (int i = 0; i < MOST; i++)
        living[i] = NULL;
    allocations = 0;
    first_failure = enough;
    watching = true;
}

/* Stop watching; returns how many allocations there were. *left is how many of them were not freed. */
long stop_watching(long *left)
{
    watching = false;
    *left = 0;
    for (int i = 0; i < MOST; i++)
        *left += living[i] != NULL;
    return allocations;
}

/* Put `to` in place of some `from`, if there is one. */
static void replace(void *from, void *to)
{
    for (int i = 0; i < MOST; i++) {
        void *expected = from;
        if (living[i] == from && atomic_compare_exchange_strong(&living[i], &expected, to))
            return;
    }
}

static bool is_core(void *caller)
{
    Dl_info library;
    return watching && dladdr(caller, &library) && strstr(library.dli_fname, "_zerodl");
}

static bool fails(void) { return allocations++ >= first_failure; }

static void *keep(void *p)
{
    if (p)
        replace(NULL, p);
    return p;
}

void *malloc(size_t size)
{
    if (!is_core(__builtin_return_address(0)))
        return __libc_malloc(size);
    return fails() ? NULL : keep(__libc_malloc(size));
}

void *calloc(size_t n, size_t size)
{
    if (!is_core(__builtin_return_address(0)))
        return __libc_calloc(n, size);
    return fails() ? NULL : keep(__libc_calloc(n, size));
}

void free(void *p)
{
    if (watching && p)
        replace(p, NULL);
    __libc_free(p);
}
