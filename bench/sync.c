/* Preloaded into the database server. Replaces each sync to disk by a wait of exactly SYNC_US microseconds.
 *
 * The sync time of a shared disk wanders between 0.3 and 4 ms, which hides every other difference. Network
 * storage such as EBS takes a steady time. Nothing reaches the disk in time, so this is for benchmarks only. */
#include <stdlib.h>
#include <time.h>

static int wait_exactly(void)
{
    static long microseconds = -1;
    struct timespec until;

    if (microseconds < 0) {
        const char *given = getenv("SYNC_US");
        microseconds = given ? atol(given) : 0;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += microseconds * 1000L;
    while (until.tv_nsec >= 1000000000L) {
        until.tv_nsec -= 1000000000L;
        until.tv_sec++;
    }
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL)) { /* interrupted by a signal */
    }
    return 0;
}

int fsync(int file) { (void)file; return wait_exactly(); }
int fdatasync(int file) { (void)file; return wait_exactly(); }
