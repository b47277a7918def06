/* A pool of threads. Nobody ever waits for a thread that has not begun to work.
 *
 * A call cuts its work into pieces, a few for each thread, and publishes it in `job` and `ticket`. Whoever has time
 * claims the next piece by counting `ticket` down: the caller, which begins at once, and helper threads. A helper that
 * comes late finds no piece left, which delays nobody. In the end the caller waits only for pieces that helpers have
 * begun. A helper reads `job` only after it has claimed a piece, and the caller returns only after that piece is
 * reported as done. So each call may overwrite `job`.
 *
 * There is one job at a time. A caller that finds the pool busy computes alone. Such a caller is another thread of
 * the program, or a piece of the job that itself calls the library. Nobody waits for the pool, so nothing can deadlock.
 *
 * Helpers are started when they are first needed. After each job they spin for a moment, because another call often
 * follows. Then they sleep, at no cost. Waking one takes the caller some microseconds, and the helper arrives tens of
 * microseconds later. So a call wakes helpers only if it is long, or if calls have followed each other for a while. A
 * short call after a pause computes alone.
 *
 * If another program takes a helper's core in the middle of a piece, the caller has to wait for milliseconds. It sleeps
 * meanwhile, so that the helper can use the caller's core. If a call took longer than it would have alone, the
 * following calls compute alone for ten times the time lost. So at most a tenth of the time is lost in the long run.
 *
 * After a fork the child has only the forking thread, so the child starts a new pool. Helpers leave signals to the
 * program's own threads. They end when the library is unloaded. */

#include "internal/parallel.h"

#include <math.h>
#include <stdint.h>

#include "internal/processors.h"
#include "zerodl.h"

enum { MOST_THREADS = 1024 }; /* about the processors of the largest machines */

#ifdef ZDL_NO_THREADS

void zdl_set_num_threads(int n) { (void)n; }
void zdl_limit_this_thread(int n) { (void)n; }
int zdl_get_num_threads(void) { return 1; }
const char *zdl_threads_from(void) { return "built without threads"; }

void zdl_parallel_for(ptrdiff_t n, struct zdl_split split, range_function *f, void *task)
{
    (void)split;
    f(task, 0, n);
}

#else

/* ---- Locks, conditions and clocks: Windows and POSIX ---- */

#ifdef _WIN32

#include <windows.h>

#define THREAD_FUNCTION DWORD WINAPI
typedef CONDITION_VARIABLE condition;
static SRWLOCK guard = SRWLOCK_INIT;
static condition new_job = CONDITION_VARIABLE_INIT, all_done = CONDITION_VARIABLE_INIT;

static void lock(void) { AcquireSRWLockExclusive(&guard); }
static bool try_lock(void) { return TryAcquireSRWLockExclusive(&guard); }
static void unlock(void) { ReleaseSRWLockExclusive(&guard); }
static void sleep_on(condition *c) { SleepConditionVariableSRW(c, &guard, INFINITE, 0); }
static void wake(condition *c) { WakeConditionVariable(c); }

static int64_t now(void)
{
    LARGE_INTEGER ticks, per_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&per_second);
    return (int64_t)((double)ticks.QuadPart / (double)per_second.QuadPart * 1e9);
}

#else

#include <pthread.h>
#include <signal.h>
#include <time.h>

#define THREAD_FUNCTION void *
typedef pthread_cond_t condition;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static condition new_job = PTHREAD_COND_INITIALIZER, all_done = PTHREAD_COND_INITIALIZER;

static void lock(void) { pthread_mutex_lock(&guard); }
static bool try_lock(void) { return pthread_mutex_trylock(&guard) == 0; }
static void unlock(void) { pthread_mutex_unlock(&guard); }
static void sleep_on(condition *c) { pthread_cond_wait(c, &guard); }
static void wake(condition *c) { pthread_cond_signal(c); }

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif

/* ---- How many threads ---- */

#ifdef _MSC_VER
#define THREAD_LOCAL __declspec(thread)
#else
#define THREAD_LOCAL _Thread_local
#endif

static atomic_int requested;    /* 0: not set */
static THREAD_LOCAL int limit; /* 0: none */

/* The processors are counted once. If two threads count them at the same time, both find the same number. */
static struct processors processors(void)
{
    static atomic_int count;
    static const char *_Atomic from;
    if (!count) {
        struct processors found = zdl_find_processors();
        from = found.from;
        count = found.count;
    }
    return (struct processors){count, from};
}

static int most_threads(void) { return requested ? requested : processors().count; }

void zdl_set_num_threads(int n)
{
    requested = n;
    limit = 0;
}

void zdl_limit_this_thread(int n) { limit = n == most_threads() ? 0 : n; }
int zdl_get_num_threads(void) { return limit ? limit : most_threads(); }

const char *zdl_threads_from(void)
{
    return limit ? "limit of this thread" : requested ? "set_num_threads" : processors().from;
}

/* ---- The job ---- */

enum {
    SPIN = 50000,     /* nanoseconds: about the time to wake a thread, and the time Python needs between two calls */
    STREAM = 200000,  /* nanoseconds of calls without a pause, after which more calls are expected */
    ALONE = 50000000, /* the most nanoseconds to compute alone, because the lost time is only an estimate */
};
static const uint64_t SEAT = (uint64_t)1 << 32;

static struct {
    range_function *f;
    void *task;
    ptrdiff_t n, pieces;
} job;
static _Alignas(64) _Atomic uint64_t ticket; /* SEAT * (helpers that may still join) + pieces not begun */
static _Alignas(64) atomic_int unfinished;   /* pieces not reported as done */
static atomic_bool busy, stopping;           /* the thread that set busy may change job and helpers */
static atomic_int asleep;                    /* the number of helpers that sleep */
static int helpers;
static _Atomic int64_t last_end, stream_begin, alone_until; /* times of calls that were long enough to split */

/* Claim a piece. Returns how many pieces were left, including this one, or 0. A helper's first claim of a job also
   takes a seat: `seat` is SEAT then, else 0. */
static int claim(uint64_t seat)
{
    uint64_t current = ticket;
    while ((uint32_t)current && current >= seat)
        if (atomic_compare_exchange_weak(&ticket, &current, current - seat - 1))
            return (int)(uint32_t)current;
    return 0;
}

/* Where piece i begins. Long pieces begin at multiples of 16, to keep vectors and cache lines whole. */
static ptrdiff_t begin_of(ptrdiff_t i)
{
    ptrdiff_t length = job.n / job.pieces, at = length * i + job.n % job.pieces * i / job.pieces;
    return length >= 1024 && i < job.pieces ? at / 16 * 16 : at;
}

/* Do the piece that was claimed, then claim and do others until none is left. Returns how many it did. */
static int do_pieces(int left)
{
    int count = 0;
    for (; left; left = claim(0), count++) {
        ptrdiff_t i = job.pieces - left;
        job.f(job.task, begin_of(i), begin_of(i + 1));
    }
    return count;
}

/* ---- Helpers ---- */

/* Spin, then sleep, until there is a piece to claim. Returns the result of the claim, or 0 if the helper must end. A
   helper that was woken wakes two others if pieces and seats are left. */
static int next_piece(void)
{
    int left;
    for (int64_t end = now() + SPIN; now() < end;)
        if ((left = claim(SEAT)))
            return left;
    lock();
    asleep++;
    while (!(left = claim(SEAT)) && !stopping)
        sleep_on(&new_job);
    asleep--;
    for (int i = 0; i < 2 && left > 1 && ticket >= SEAT; i++)
        wake(&new_job);
    unlock();
    return left;
}

static THREAD_FUNCTION help(void *unused)
{
    (void)unused;
    for (int left; (left = next_piece());) {
        int count = do_pieces(left);
        if (atomic_fetch_sub(&unfinished, count) == count) {
            lock();
            wake(&all_done);
            unlock();
        }
    }
    return 0;
}

#ifdef _WIN32

/* Starting a helper keeps the library loaded, because threads cannot be joined while Windows unloads it. */
static bool start_helper(void)
{
    static const DWORD flags = GET_MODULE_HANDLE_EX_FLAG_PIN | GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS;
    HMODULE self;
    GetModuleHandleExA(flags, (const char *)&guard, &self);
    HANDLE helper = CreateThread(NULL, 0, help, NULL, 0, NULL);
    return helper && CloseHandle(helper);
}

#else

static pthread_t helper[MOST_THREADS];

static void after_fork(void)
{
    guard = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    new_job = all_done = (condition)PTHREAD_COND_INITIALIZER;
    busy = false;
    ticket = 0;
    unfinished = asleep = helpers = 0;
    alone_until = 0;
}

/* The helper blocks all signals but those of its own errors, which a debugger or faulthandler may handle. */
static bool start_helper(void)
{
    static const int errors[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    static bool forks_safely;
    sigset_t blocked, before;
    if (!forks_safely)
        forks_safely = pthread_atfork(NULL, NULL, after_fork) == 0;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        sigdelset(&blocked, errors[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    bool started = pthread_create(&helper[helpers], NULL, help, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

/* End the helpers, unless a call still computes: then the whole process is ending. */
__attribute__((destructor)) static void at_unload(void)
{
    if (atomic_exchange(&busy, true))
        return;
    lock();
    stopping = true;
    pthread_cond_broadcast(&new_job);
    unlock();
    while (helpers)
        pthread_join(helper[--helpers], NULL);
}

#endif

/* Unless `needed` helpers are awake, wake two, which wake the others. If the lock is taken, a helper is about to sleep
   or to find work. Then nobody is woken, and the caller goes on. */
static void wake_helpers(int needed)
{
    if (!asleep || helpers - asleep >= needed || !try_lock())
        return;
    wake(&new_job);
    wake(&new_job);
    unlock();
}

/* ---- Calls ---- */

/* Take the pool if helpers are awake or worth waking. Afterwards split->wakes says whether to wake them. If a helper
   cannot be started, the call does without it. */
static bool take_pool(struct zdl_split *split, int64_t begin)
{
    if (begin - last_end > SPIN)
        stream_begin = begin;
    split->wakes |= begin - stream_begin > STREAM;
    if (begin < alone_until || busy || atomic_exchange(&busy, true))
        return false;
    while (split->wakes && helpers < split->threads - 1 && start_helper())
        helpers++;
    if (helpers > (split->wakes ? 0 : asleep))
        return true;
    busy = false;
    return false;
}

/* Wait for the pieces that helpers have begun. Spin for `piece`, the nanoseconds that a piece took this thread, and
   SPIN more. A helper that takes longer may lack a core, so then sleep. */
static void wait_for_helpers(int64_t piece)
{
    for (int64_t end = now() + piece + SPIN; now() < end;)
        if (!unfinished)
            return;
    lock();
    while (unfinished)
        sleep_on(&all_done);
    unlock();
}

/* Do the job with the helpers. This thread does `count` pieces in `own` nanoseconds. From this follow how long it would
   have taken alone, and how much time was lost. */
static void do_together(struct zdl_split split, int64_t begin)
{
    unfinished = (int)job.pieces;
    ticket = (uint64_t)(split.threads - 1) * SEAT + (uint64_t)job.pieces;
    if (split.wakes)
        wake_helpers(split.threads - 1);
    int count = do_pieces(claim(0));
    int64_t own = now() - begin;
    if (atomic_fetch_sub(&unfinished, count) != count)
        wait_for_helpers(count ? own / count : 0);
    int64_t end = now();
    double alone = count ? (double)own / count * (double)job.pieces : INFINITY, lost = (double)(end - begin) - alone;
    alone_until = end + (int64_t)fmin(fmax(10 * lost, 0), ALONE);
}

void zdl_parallel_for(ptrdiff_t n, struct zdl_split split, range_function *f, void *task)
{
    if (n < split.pieces)
        split.pieces = (int)n;
    if (split.pieces < 2 || split.threads < 2) {
        f(task, 0, n);
        return;
    }
    int64_t begin = now();
    if (take_pool(&split, begin)) {
        job.f = f, job.task = task, job.n = n, job.pieces = split.pieces;
        do_together(split, begin);
        busy = false;
    } else {
        f(task, 0, n);
    }
    last_end = now();
}

#endif

/* The most pieces for each thread. With more, threads wait less for the last one, but each piece costs a little. */
static const double PIECES = 4;
/* Work of this many grains, 60 microseconds or more, is worth waking threads for. Waking one takes 3 microseconds, and
   when it arrives, half of the work is left. */
static const double WAKES = 32;

struct zdl_split zdl_split_of(double work, double grain)
{
    double grains = work / grain;
    if (!(grains >= 2))
        return (struct zdl_split){1, 1, false};
    int threads = (int)fmin(fmin(grains, zdl_get_num_threads()), MOST_THREADS);
    return (struct zdl_split){threads * (int)fmin(grains / threads, PIECES), threads, grains >= WAKES};
}
