/* Splitting a range over threads. parallel.c is the only file that knows them. */
#ifndef ZERODL_PARALLEL_H
#define ZERODL_PARALLEL_H

#include <stdbool.h>
#include <stddef.h>

/* Everything runs on the calling thread: by -DZDL_NO_THREADS, and where there are no threads or no atomic variables. */
#if defined __STDC_NO_ATOMICS__ || defined __TINYC__ || (defined __wasm__ && !defined _REENTRANT)
#undef ZDL_NO_THREADS
#define ZDL_NO_THREADS
#endif
#ifdef ZDL_NO_THREADS
typedef int atomic_int;
#else
#include <stdatomic.h>
#endif

/* Work on [begin, end) of the range; `task` is the caller's own. Several threads may be in it at once. */
typedef void range_function(void *task, ptrdiff_t begin, ptrdiff_t end);

/* Into how many pieces work is cut, on how many threads at most, and whether it is worth waking those that sleep. */
struct zdl_split {
    int pieces, threads;
    bool wakes;
};

/* The split of `work`. A piece should be `grain` of it or more, which is a few microseconds, and costs 0.05 more. */
struct zdl_split zdl_split_of(double work, double grain);

/* Call f on [0, n), cut into at most split.pieces pieces of about equal length. */
void zdl_parallel_for(ptrdiff_t n, struct zdl_split split, range_function *f, void *task);

#endif
