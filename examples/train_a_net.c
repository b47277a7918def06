/* Trains a net in C alone. Its two layers, 2 -> tanh 32 -> softmax 3, learn to tell points on three spirals apart.
 * README.md shows how to build it. */
#include "zerodl.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CLASSES = 3, SAMPLES = 300, INPUTS = 2, HIDDEN = 32, STEPS = 400 };
/* One array holds all parameters, so that the optimizer takes one call. These are the places where each begins. */
enum { W1 = 0, B1 = W1 + INPUTS * HIDDEN, W2 = B1 + HIDDEN, B2 = W2 + HIDDEN * CLASSES, PARAMS = B2 + CLASSES };

struct training {
    double x[SAMPLES * INPUTS];
    int64_t label[SAMPLES];
    double param[PARAMS], grad[PARAMS], m[PARAMS], v[PARAMS]; /* m and v are Adam's */
    double hidden[SAMPLES * HIDDEN], y[SAMPLES * CLASSES];    /* the layers' outputs */
};

/* Random numbers that are the same on every machine. */
static double uniform(double low, double high)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return low + (high - low) * (double)(state >> 11) / 9007199254740992.0;
}

static void draw_spirals(struct training *t)
{
    for (int i = 0; i < SAMPLES; i++) {
        double radius = (double)(i + 1) / (double)SAMPLES;
        int arm = i % CLASSES;
        double angle = 5 * radius + arm * 2.0944 + uniform(-0.3, 0.3);
        t->x[2 * i] = radius * cos(angle);
        t->x[2 * i + 1] = radius * sin(angle);
        t->label[i] = arm;
    }
}

static void draw_weights(struct training *t)
{
    for (int i = W1; i < B1; i++)
        t->param[i] = uniform(-1, 1);
    for (int i = W2; i < B2; i++)
        t->param[i] = uniform(-0.1, 0.1);
}

/* m and v start at 0. Adam's learning rate makes up for this. */
static void update(struct training *t, int step)
{
    double lr = 0.02 * sqrt(1 - pow(0.999, step)) / (1 - pow(0.9, step));
    zdl_adam_f64(t->param, t->m, t->v, t->grad, lr, 0.9, 0.999, PARAMS);
}

static int correct(const struct training *t)
{
    int count = 0;
    for (int i = 0; i < SAMPLES; i++) {
        const double *y = t->y + CLASSES * i;
        int best = 0;
        for (int k = 1; k < CLASSES; k++)
            best = y[k] > y[best] ? k : best;
        count += best == t->label[i];
    }
    return count;
}

static int train(struct training *t)
{
    const ptrdiff_t width[] = {INPUTS, HIDDEN, CLASSES};
    const double *const w[] = {t->param + W1, t->param + W2}, *const b[] = {t->param + B1, t->param + B2};
    const struct zdl_network_f64 net = {2, ZDL_TANH, width, w, b};
    double *const dw[] = {t->grad + W1, t->grad + W2}, *const db[] = {t->grad + B1, t->grad + B2};
    double *const z[] = {t->hidden, t->y};

    for (int step = 0; step <= STEPS; step++) {
        int status = zdl_network_gradient_f64(dw, db, NULL, z, t->x, INPUTS, 1, t->label, NULL, SAMPLES, &net);
        if (status != ZDL_OK)
            return status;
        if (step % 50 == 0) {
            double loss = zdl_cross_entropy_f64(t->y, t->label, SAMPLES, CLASSES);
            printf("step %3d  loss %.4f  correct %d of %d\n", step, loss, correct(t), SAMPLES);
        }
        update(t, step + 1);
    }
    return ZDL_OK;
}

int main(void)
{
    struct training *t = calloc(1, sizeof *t);
    int status = ZDL_NO_MEMORY;
    if (t) {
        draw_spirals(t);
        draw_weights(t);
        status = train(t);
        free(t);
    }
    if (status != ZDL_OK)
        fprintf(stderr, "train_a_net: out of memory\n");
    return status == ZDL_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
