/* What calls of the C library cost, for values of 200 bytes.
 *
 *     cc -O2 cost.c $(pkg-config --cflags --libs kennel) -o cost && ./cost /dev/shm/cost.cache
 *
 * Each figure is the best of many short rounds: on a busy machine most rounds are disturbed, and the best ones are not.
 */
#define _POSIX_C_SOURCE 200809L
#include <kennel.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { KEYS = 1000, CALLS = 2000, ROUNDS = 200, VALUE = 200 };

static kennel *cache;
static char keys[KEYS][32];
static char value[VALUE];
static unsigned long sum; /* what was read, so that no read is left out */

static void get_into(const char *key, size_t n) {
    char into[VALUE];
    size_t len = 0;
    kennel_get_into(cache, key, n, into, sizeof into, &len);
    sum += len;
}

static void get(const char *key, size_t n) {
    char *found;
    size_t len = 0;
    kennel_get(cache, key, n, &found, &len);
    kennel_free(found);
    sum += len;
}

static void miss(const char *key, size_t n) {
    char into[VALUE];
    size_t len = 0;
    (void)key;
    (void)n;
    sum += kennel_get_into(cache, "no such key", 11, into, sizeof into, &len) != KENNEL_NONE;
}

static void set(const char *key, size_t n) { sum += kennel_set(cache, key, n, value, VALUE, 0) < 0; }

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e9 + time.tv_nsec;
}

static void measure(const char *name, void (*call)(const char *, size_t)) {
    double best = 1e18;
    for (int round = 0; round < ROUNDS; round++) {
        double since = now();
        for (int i = 0; i < CALLS; i++)
            call(keys[i % KEYS], strlen(keys[i % KEYS]));
        since = (now() - since) / CALLS;
        best = since < best ? since : best;
    }
    printf("%-12s %-12s %6.0f ns\n", "kennel", name, best);
}

int main(int argc, char **argv) {
    if (argc != 2 || kennel_open(argv[1], NULL, &cache) < 0) {
        fprintf(stderr, "usage: cost FILE\n%s\n", argc == 2 ? kennel_last_error() : "");
        return 1;
    }
    memset(value, 'v', VALUE);
    for (int i = 0; i < KEYS; i++) {
        snprintf(keys[i], sizeof keys[i], "user:%d:profile", i);
        set(keys[i], strlen(keys[i]));
    }
    measure("get_into", get_into);
    measure("get", get);
    measure("a miss", miss);
    measure("set", set);
    kennel_close(cache);
    return sum == 0;
}
