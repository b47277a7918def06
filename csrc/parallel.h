/* Splitting a range over threads. parallel.c is the only file that knows OpenMP. */
#ifndef ZERODL_PARALLEL_H
#define ZERODL_PARALLEL_H

#include <stddef.h>

/* Work on [begin, end) of the range; `task` is the caller's own. */
typedef void range_function(void *task, ptrdiff_t begin, ptrdiff_t end);

/* How many threads are worth starting for `work`, of which one thread should do at least `grain`. */
int zdl_threads_for(double work, double grain);

/* Call f on [0, n), cut into one piece for each of `threads` threads, or n pieces if these are fewer. */
void zdl_parallel_for(ptrdiff_t n, int threads, range_function *f, void *task);

#endif
