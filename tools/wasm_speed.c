/* Times kernels beside the loops that one would write without them, on one thread: rows of a table of docs/wasm.md.
 * Each figure is the least of many rounds, in which the two take turns. See tools/wasm.sh. */
#include "zerodl.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { ROWS = 100, COLS = 1000, DEPTH = 784, UNITS = 50, ROUNDS = 30 };

static float x[ROWS * COLS], w[DEPTH * UNITS], out[ROWS * COLS], plain[ROWS * COLS];

static void kernel_sigmoid(void) { zdl_sigmoid_f32(out, x, ROWS * COLS); }
static void kernel_softmax(void) { zdl_softmax_f32(out, x, ROWS, COLS); }
static void kernel_matmul(void) { zdl_matmul_f32(out, UNITS, x, DEPTH, 1, w, UNITS, 1, ROWS, DEPTH, UNITS); }
static void kernel_relu(void) { zdl_relu_f32(out, x, ROWS * COLS); }

static void plain_sigmoid(void)
{
    for (int i = 0; i < ROWS * COLS; i++)
        plain[i] = 1 / (1 + expf(-x[i]));
}

static void plain_softmax(void)
{
    for (int i = 0; i < ROWS; i++) {
        const float *row = x + i * COLS;
        float most = row[0], sum = 0;
        for (int j = 1; j < COLS; j++)
            most = row[j] > most ? row[j] : most;
        for (int j = 0; j < COLS; j++)
            sum += plain[i * COLS + j] = expf(row[j] - most);
        for (int j = 0; j < COLS; j++)
            plain[i * COLS + j] /= sum;
    }
}

/* The inner loop runs along rows, so a compiler can use vectors. */
static void plain_matmul(void)
{
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < UNITS; j++)
            plain[i * UNITS + j] = 0;
        for (int p = 0; p < DEPTH; p++)
            for (int j = 0; j < UNITS; j++)
                plain[i * UNITS + j] += x[i * DEPTH + p] * w[p * UNITS + j];
    }
}

static void plain_relu(void)
{
    for (int i = 0; i < ROWS * COLS; i++)
        plain[i] = x[i] > 0 ? x[i] : 0;
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double time_of(void (*f)(void))
{
    double begin = seconds();
    for (int i = 0; i < 5; i++)
        f();
    return (seconds() - begin) / 5;
}

/* 0 if both give the same, within 1e-4 of the largest. */
static int compare(const char *name, int n, void (*kernel)(void), void (*loop)(void))
{
    double best = 1, best_loop = 1, largest = 0, apart = 0;
    for (int i = 0; i < ROUNDS; i++) {
        best = fmin(best, time_of(kernel));
        best_loop = fmin(best_loop, time_of(loop));
    }
    for (int i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)plain[i]));
        apart = fmax(apart, fabs((double)out[i] - (double)plain[i]));
    }
    printf("| %s | %.0f us | %.0f us | %.1fx |\n", name, 1e6 * best, 1e6 * best_loop, best_loop / best);
    return apart > 1e-4 * largest;
}

int main(void)
{
    for (int i = 0; i < ROWS * COLS; i++)
        x[i] = (float)(i * 37 % 101 - 50) / 10;
    for (int i = 0; i < DEPTH * UNITS; i++)
        w[i] = (float)(i * 13 % 29 - 14) / 10;
    return compare("sigmoid (100, 1000)", ROWS * COLS, kernel_sigmoid, plain_sigmoid) |
           compare("softmax (100, 1000)", ROWS * COLS, kernel_softmax, plain_softmax) |
           compare("matmul (100, 784)(784, 50)", ROWS * UNITS, kernel_matmul, plain_matmul) |
           compare("relu (100, 1000)", ROWS * COLS, kernel_relu, plain_relu);
}
