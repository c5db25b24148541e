/* What C says in `kennel demo --languages`. */
#include <kennel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int failed(void) {
    fprintf(stderr, "%s\n", kennel_last_error());
    return 1;
}

static int set(kennel *cache, const char *name) {
    char key[64], value[64];
    snprintf(key, sizeof key, "hello:%s", name);
    snprintf(value, sizeof value, "%s says hello", name);
    return kennel_set(cache, key, strlen(key), value, strlen(value), 0) < 0 ? failed() : 0;
}

static int get(kennel *cache, int names, char **name) {
    for (int i = 0; i < names; i++) {
        char key[64], *value;
        snprintf(key, sizeof key, "hello:%s", name[i]);
        if (kennel_get(cache, key, strlen(key), &value, NULL) < 0)
            return failed();
        puts(value ? value : "-");
        kennel_free(value);
    }
    return 0;
}

static int create(kennel *cache, const char *name) {
    kennel_create_options how = KENNEL_CREATE_OPTIONS_INIT;
    kennel_claim claim;
    char *value, made[64];
    puts("ready");
    while (getchar() != EOF)
        ;
    switch (kennel_begin(cache, "made once", 9, &how, &value, NULL, &claim)) {
    case KENNEL_CREATE:
        puts("created");
        nanosleep(&(struct timespec){0, 200000000}, NULL);
        snprintf(made, sizeof made, "made by %s", name);
        if (kennel_complete(claim, made, strlen(made)) < 0)
            return failed();
        puts(made);
        break;
    case KENNEL_OK:
        puts(value);
        break;
    default:
        return failed();
    }
    kennel_free(value);
    return 0;
}

static int write_all(kennel *cache, const char *name) {
    puts("ready");
    for (unsigned n = 0;; n++) {
        char key[32], begin[40], new[96], *value;
        snprintf(key, sizeof key, "key %u", n % 100);
        snprintf(begin, sizeof begin, "%s by ", key);
        if (kennel_get(cache, key, strlen(key), &value, NULL) < 0)
            return failed();
        if (value && strncmp(value, begin, strlen(begin)) != 0) {
            fprintf(stderr, "%s is %s\n", key, value);
            return 1;
        }
        kennel_free(value);
        snprintf(new, sizeof new, "%s%s, %u", begin, name, n);
        if (kennel_set(cache, key, strlen(key), new, strlen(new), 0) < 0)
            return failed();
    }
}

int main(int argc, char **argv) {
    kennel *cache;
    const char *action = argc > 1 ? argv[1] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (strcmp(action, "version") == 0) {
        printf("C %ld\n", __STDC_VERSION__ / 100);
        return 0;
    }
    if (argc < 4 || kennel_open(argv[2], NULL, &cache) < 0)
        return failed();
    if (strcmp(action, "set") == 0)
        return set(cache, argv[3]);
    if (strcmp(action, "get") == 0)
        return get(cache, argc - 3, argv + 3);
    if (strcmp(action, "create") == 0)
        return create(cache, argv[3]);
    return write_all(cache, argv[3]);
}
