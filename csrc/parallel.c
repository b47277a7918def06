#include "parallel.h"

#include "zerodl.h"

#ifdef _OPENMP

#include <omp.h>

#ifdef _MSC_VER
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL _Thread_local
#endif

/* OpenMP keeps a number of threads for each thread that calls it. zdl_set_num_threads means all of them: each takes
   the new number at its next call, unless threadpoolctl or omp_set_num_threads has given it another meanwhile. */
static volatile int requested, request_count;
static volatile int initial; /* OpenMP's own, which a thread has that nobody told anything */
static THREAD_LOCAL int seen_count, applied;

/* libgomp's threads do not survive a fork, and the child's first parallel region would wait for them for ever. */
static volatile int in_forked_child;

#if defined __unix__ || defined __APPLE__
#include <pthread.h>
static void after_fork(void) { in_forked_child = 1; }
__attribute__((constructor)) static void at_load(void)
{
    initial = omp_get_max_threads();
    pthread_atfork(NULL, NULL, after_fork);
}
#endif

int zdl_openmp(void) { return _OPENMP; }

static void apply(int n)
{
    omp_set_num_threads(n);
    applied = n;
    seen_count = request_count;
}

void zdl_set_num_threads(int n)
{
    if (!initial)
        initial = omp_get_max_threads();
    requested = n;
    request_count++;
    apply(n);
}

int zdl_get_num_threads(void)
{
    if (in_forked_child)
        return 1;
    if (seen_count != request_count && omp_get_max_threads() == (applied ? applied : initial))
        apply(requested);
    return omp_get_max_threads();
}

void zdl_parallel_for(ptrdiff_t n, int threads, range_function *f, void *task)
{
    if (n < threads)
        threads = (int)n;
    if (threads <= 1) {
        f(task, 0, n);
        return;
    }
#pragma omp parallel num_threads(threads)
    {
        ptrdiff_t count = omp_get_num_threads(), i = omp_get_thread_num();
        f(task, n / count * i + n % count * i / count, n / count * (i + 1) + n % count * (i + 1) / count);
    }
}

#else

int zdl_openmp(void) { return 0; }
void zdl_set_num_threads(int n) { (void)n; }
int zdl_get_num_threads(void) { return 1; }

void zdl_parallel_for(ptrdiff_t n, int threads, range_function *f, void *task)
{
    (void)threads;
    f(task, 0, n);
}

#endif

int zdl_threads_for(double work, double grain)
{
    if (work < 2 * grain)
        return 1;
    double most = work / grain;
    int available = zdl_get_num_threads();
    return most < available ? (int)most : available;
}
