/* How many processors this process may use. */
#ifndef ZERODL_PROCESSORS_H
#define ZERODL_PROCESSORS_H

struct processors {
    int count; /* at least 1 */
    const char *from;
};

/* OMP_NUM_THREADS, else the processors of its affinity, and of them as many as its CPU quota is worth, rounded up. */
struct processors zdl_find_processors(void);

/* The CPUs' worth of time that the control groups of this process allow it, or HUGE_VAL. `root` is "", or where another
   /proc and /sys are. */
double zdl_cpu_quota(const char *root);

#endif
