/* Preloaded into the database server. Replaces each sync to disk by a wait of SYNC_US microseconds.
 *
 * The sync time of a shared disk varies between 0.3 and 4 ms, which hides every other difference. Network
 * storage such as EBS takes a steady time. Nothing reaches the disk in time, so this is for benchmarks only.
 *
 * Linux may end a wait up to 50 us late, to handle several timers at once. A slack of 1 ns turns that off. What
 * remains is the time in which the thread wakes up: about 10 to 20 us where a core is free. */
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

/* Runs in the server's first thread. The others inherit the slack. */
__attribute__((constructor)) static void wait_without_slack(void)
{
    prctl(PR_SET_TIMERSLACK, 1UL);
}

static int wait_for_sync(void)
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

int fsync(int file) { (void)file; return wait_for_sync(); }
int fdatasync(int file) { (void)file; return wait_for_sync(); }
