/* Integer functions that both the kernels and their callers need. */
#ifndef ZERODL_INTEGERS_H
#define ZERODL_INTEGERS_H

#include <stddef.h>

static inline ptrdiff_t least(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
/* n, but at least `low` and at most `high` */
static inline ptrdiff_t between(ptrdiff_t low, ptrdiff_t n, ptrdiff_t high) { return n < low ? low : least(n, high); }

/* a / b, rounded up */
static inline ptrdiff_t ceil_div(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

#endif
