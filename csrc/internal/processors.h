/* How many processors this process may use. */
#ifndef ZERODL_PROCESSORS_H
#define ZERODL_PROCESSORS_H

struct processors {
    int count; /* at least 1 */
    const char *from;
};

/* The number in OMP_NUM_THREADS, if there is one. Otherwise the number of processors in the affinity mask or, if it is
   less, the CPU quota, rounded up. */
struct processors zdl_find_processors(void);

/* How many CPUs the control groups of this process let it use on average. HUGE_VAL if there is no limit. `root` is ""
   or, in tests, a directory with another /proc and /sys. */
double zdl_cpu_quota(const char *root);

#endif
