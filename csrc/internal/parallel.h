/* Splitting a range over threads. parallel.c is the only file that uses threads. */
#ifndef ZERODL_PARALLEL_H
#define ZERODL_PARALLEL_H

#include <stdbool.h>
#include <stddef.h>

/* Everything runs on the calling thread with -DZDL_NO_THREADS, or if the platform lacks threads or atomic variables. */
#if defined __STDC_NO_ATOMICS__ || defined __TINYC__ || (defined __wasm__ && !defined _REENTRANT)
#undef ZDL_NO_THREADS
#define ZDL_NO_THREADS
#endif
#ifdef ZDL_NO_THREADS
typedef int atomic_int;
#else
#include <stdatomic.h>
#endif

/* Work on [begin, end) of the range. `task` is what the caller passed. Several threads may run the function at once. */
typedef void range_function(void *task, ptrdiff_t begin, ptrdiff_t end);

/* The number of pieces that work is cut into, the most threads to use, and whether to wake threads that sleep. */
struct zdl_split {
    int pieces, threads;
    bool wakes;
};

/* How to split `work`. Each piece has at least `grain` of it, in the same unit. A grain should take a few microseconds,
   because handing out a piece costs 0.05 microseconds. */
struct zdl_split zdl_split_of(double work, double grain);

/* Call f on [0, n), cut into at most split.pieces pieces of about equal length. */
void zdl_parallel_for(ptrdiff_t n, struct zdl_split split, range_function *f, void *task);

#endif
