/* How many processors this process may use: OMP_NUM_THREADS, the affinity mask, the CPU quota of its control groups. */

#if defined __linux__ && !defined _GNU_SOURCE
#define _GNU_SOURCE /* for sched_getaffinity */
#endif

#include "internal/parallel.h"

#ifndef ZDL_NO_THREADS

#include "internal/processors.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <windows.h>
#else
#include <sched.h>
#include <unistd.h>
#endif

/* The first number of OMP_NUM_THREADS, as in "4" and "4,2"; 0 if there is no valid one. */
static int from_environment(void)
{
    const char *text = getenv("OMP_NUM_THREADS");
    char *end;
    long n = text ? strtol(text, &end, 10) : 0;
    if (n < 1 || !strchr(", \t", *end)) /* strchr also finds the end of the string */
        return 0;
    return n < INT_MAX ? (int)n : INT_MAX;
}

#ifdef _WIN32

/* If the affinity of a process is restricted, it runs in one processor group. */
static int available(void)
{
    DWORD_PTR mask, all;
    int count = 0;
    if (!GetProcessAffinityMask(GetCurrentProcess(), &mask, &all) || mask == all)
        return (int)GetActiveProcessorCount(ALL_PROCESSOR_GROUPS);
    for (; mask; mask &= mask - 1)
        count++;
    return count;
}

#else

static int available(void)
{
#ifdef __linux__
    cpu_set_t set[64]; /* 65,536 processors */
    if (sched_getaffinity(0, sizeof set, set) == 0)
        return CPU_COUNT_S(sizeof set, set);
#endif
    return (int)sysconf(_SC_NPROCESSORS_ONLN);
}

#endif

enum { LONGEST = 4096 }; /* the longest path, as in Linux */

/* Reads the first two numbers of a control group's file; returns how many there are. */
static int read_numbers(const char *group, const char *name, double *first, double *second)
{
    char path[LONGEST];
    FILE *file = snprintf(path, sizeof path, "%s/%s", group, name) < LONGEST ? fopen(path, "r") : NULL;
    int count = file ? fscanf(file, "%lf %lf", first, second) : 0;
    if (file)
        fclose(file);
    return count;
}

/* Version 2 has one file for quota and period, with "150000 100000" or "max 100000". Version 1 has two files, with -1
   for no limit. */
static double quota_of_group(const char *group)
{
    double quota, period, none;
    if (read_numbers(group, "cpu.max", &quota, &period) == 2)
        return quota / period;
    if (read_numbers(group, "cpu.cfs_quota_us", &quota, &none) == 1 && quota > 0 &&
        read_numbers(group, "cpu.cfs_period_us", &period, &none) == 1)
        return quota / period;
    return HUGE_VAL;
}

/* The least quota of a group and of its parents, up to the one that is mounted. */
static double quota_of_path(const char *root, const char *mount, const char *path)
{
    char group[LONGEST];
    double least = HUGE_VAL;
    int top = snprintf(group, sizeof group, "%s/sys/fs/cgroup%s", root, mount);
    if (top + (int)strlen(path) >= LONGEST)
        return least;
    strcpy(group + top, path);
    for (char *end = group + strlen(group); end && end >= group + top; end = strrchr(group, '/')) {
        *end = '\0';
        least = fmin(least, quota_of_group(group));
    }
    return least;
}

double zdl_cpu_quota(const char *root)
{
    char line[LONGEST], path[LONGEST], names[LONGEST + 2] = ",";
    double least = HUGE_VAL;
    FILE *file = snprintf(path, sizeof path, "%s/proc/self/cgroup", root) < LONGEST ? fopen(path, "r") : NULL;
    while (file && fgets(line, sizeof line, file)) /* number:controllers:/path, without controllers in version 2 */
        if (sscanf(line, "0::%[^\n]", path) == 1)
            least = fmin(least, quota_of_path(root, "", path));
        else if (sscanf(line, "%*d:%[^:]:%[^\n]", names + 1, path) == 2 && strstr(strcat(names, ","), ",cpu,"))
            least = fmin(least, quota_of_path(root, "/cpu", path));
    if (file)
        fclose(file);
    return least;
}

struct processors zdl_find_processors(void)
{
    int requested = from_environment(), count = available();
    double quota = ceil(zdl_cpu_quota(""));
    if (requested)
        return (struct processors){requested, "OMP_NUM_THREADS"};
    if (quota < count)
        return (struct processors){quota < 1 ? 1 : (int)quota, "CPU quota"};
    return (struct processors){count < 1 ? 1 : count, "available processors"};
}

#endif
