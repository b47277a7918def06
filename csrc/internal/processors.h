/* How many processors this process may use. */
#ifndef ZERODL_PROCESSORS_H
#define ZERODL_PROCESSORS_H

struct processors {
    int count; /* at least 1 */
    const char *from;
};

/* The number that OMP_NUM_THREADS says. Else the number of processors in the affinity mask, or the CPU quota, rounded
   up, if that is less. */
struct processors zdl_find_processors(void);

/* The CPU time per time that the control groups of this process allow, in CPUs; HUGE_VAL if there is no limit. `root`
   is "", or for tests the directory of another /proc and /sys. */
double zdl_cpu_quota(const char *root);

#endif
