/* The largest errors of exp, log, tanh and sigmoid over all 2^32 float32, at each instruction set that this machine has:

       cc -O2 -std=gnu11 -ffp-contract=off -pthread -Icsrc -o every_float32 tools/every_float32.c $(find csrc -name '*.c'
           -not -path '*python*') -lm
       ./every_float32

   prints the table of docs/numbers.md after some minutes, and ends with 1 if an error is over 2 ulp, or a nan is no nan.
   The truth is that of the C library's double functions, whose ulp is 2^-29 of a float32's.
   It takes all processors, a process for each, on Linux and macOS. */

#define _GNU_SOURCE
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "zerodl.h"

enum { BLOCK = 4096, FUNCTIONS = 4, MOST_LEVELS = 4 }; /* a block is too small for the library's own threads */

struct worst {
    double error; /* in ulp; infinite where one is nan and the other is not */
    float x;
};

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

static const struct {
    const char *name;
    void (*kernel)(float *out, const float *x, ptrdiff_t n);
    double (*truth)(double x);
} functions[FUNCTIONS] = {{"exp", zdl_exp_f32, exp},
                          {"log", zdl_log_f32, log},
                          {"tanh", zdl_tanh_f32, tanh},
                          {"sigmoid", zdl_sigmoid_f32, sigmoid}};

/* What is beyond the largest float32 counts as 2^128, an ulp past it. */
static double bounded(double x) { return fmin(fmax(x, -0x1p128), 0x1p128); }

/* |y - truth| in units of float32's last place at the truth. */
static double error_of(float y, double truth)
{
    if (isnan(y) || isnan(truth))
        return isnan(y) && isnan(truth) ? 0 : INFINITY;
    truth = bounded(truth);
    int exponent = -126;
    if (fabs(truth) >= 0x1p-126) {
        frexp(fabs(truth) < 0x1p127 ? truth : 0x1p127, &exponent);
        exponent--;
    }
    return ldexp(fabs(bounded(y) - truth), 23 - exponent);
}

/* Block `first` of the patterns through one function, at every level. */
static void measure(struct worst *worst, int function, uint32_t first, int levels)
{
    static float x[BLOCK], y[BLOCK];
    static double truth[BLOCK];
    for (uint32_t i = 0; i < BLOCK; i++) {
        uint32_t bits = first + i;
        memcpy(&x[i], &bits, sizeof bits);
        truth[i] = functions[function].truth((double)x[i]);
    }
    for (int level = 0; level < levels; level++) {
        zdl_set_isa(zdl_isa_level(level));
        functions[function].kernel(y, x, BLOCK);
        for (int i = 0; i < BLOCK; i++) {
            if (y[i] == (float)truth[i] && worst[level].error >= 0.5)
                continue; /* rounded correctly: no worse */
            double error = error_of(y[i], truth[i]);
            if (error > worst[level].error)
                worst[level] = (struct worst){error, x[i]};
        }
    }
}

static void measure_share(struct worst (*worst)[MOST_LEVELS], long process, long processes, int levels)
{
    for (uint64_t block = (uint64_t)process; block < (1ull << 32) / BLOCK; block += (uint64_t)processes)
        for (int function = 0; function < FUNCTIONS; function++)
            measure(worst[function], function, (uint32_t)(block * BLOCK), levels);
}

/* Prints the row of one function; returns whether it is within 2 ulp. */
static int report(int function, int levels, struct worst (*worst)[FUNCTIONS][MOST_LEVELS], long processes)
{
    int within = 1;
    printf("| %s |", functions[function].name);
    for (int level = 0; level < levels; level++) {
        struct worst most = worst[0][function][level];
        for (long p = 1; p < processes; p++)
            if (worst[p][function][level].error > most.error)
                most = worst[p][function][level];
        printf(" %.3f at %.9g |", most.error, (double)most.x);
        within &= most.error <= 2;
    }
    puts("");
    return within;
}

int main(void)
{
    int levels = 0;
    while (levels < MOST_LEVELS && zdl_isa_level(levels))
        levels++;
    long processes = sysconf(_SC_NPROCESSORS_ONLN);
    struct worst(*worst)[FUNCTIONS][MOST_LEVELS] = mmap(NULL, (size_t)processes * sizeof *worst, PROT_READ | PROT_WRITE,
                                                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (worst == MAP_FAILED)
        return perror("every_float32"), 2;
    for (long p = 0; p < processes; p++) {
        pid_t child = fork();
        if (child < 0)
            return perror("every_float32"), 2;
        if (child == 0) {
            measure_share(worst[p], p, processes, levels);
            _exit(0);
        }
    }
    int status, failed = 0;
    while (wait(&status) > 0)
        failed |= status != 0;
    if (failed)
        return fputs("every_float32: a process was ended\n", stderr), 2;

    int within = 1;
    printf("| |");
    for (int level = 0; level < levels; level++)
        printf(" %s |", zdl_isa_level(level));
    printf("\n|%.*s\n", 6 * (levels + 1), " --- | --- | --- | --- | --- |");
    for (int function = 0; function < FUNCTIONS; function++)
        within &= report(function, levels, worst, processes);
    return within ? 0 : 1;
}
