/* The functions and the rules of kennel.h. Usage: test FOLDER */
#define _GNU_SOURCE
#include "check.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char path[4096], *folder;
static kennel *k;

static void pause_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&time, &time) != 0 && errno == EINTR) {
    }
}

static void must_end_well(pid_t child) {
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "a child ended with the status %d\n", status);
        abort();
    }
}

static void is_value(const char *key, const char *expected) {
    char *value;
    size_t len;
    IS(kennel_get(k, T(key), &value, &len), KENNEL_OK);
    CHECK(len == strlen(expected) && strcmp(value, expected) == 0);
    kennel_free(value);
}

/* Rules 1, 2 and 10: results, texts, sizes. */
static void test_open(void) {
    kennel_options options = KENNEL_OPTIONS_INIT;
    kennel *other = (kennel *)path;
    char missing[4200];
    snprintf(missing, sizeof missing, "%s.missing", path);
    options.bits = KENNEL_EXISTING;
    IS(kennel_open(missing, &options, &other), KENNEL_E_NOT_FOUND);
    CHECK(other == NULL);
    CHECK(strstr(kennel_last_error(), "KENNEL_EXISTING") != NULL && strstr(kennel_last_error(), "::") == NULL);
    options.bits = 1u << 31;
    IS(kennel_open(missing, &options, &other), KENNEL_E_BAD_OPTION);
    options.bits = 0;
    options.locks = "spin";
    IS(kennel_open(missing, &options, &other), KENNEL_E_BAD_OPTION);
    options.locks = NULL;
    options.lock_wait_ms = -5;
    IS(kennel_open(missing, &options, &other), KENNEL_E_BAD_OPTION);
    options.lock_wait_ms = 20000;
    options.capacity = 4u << 20;
    options.stripes = 4;
    options.seats = 64;
    IS(kennel_open(path, &options, &k), KENNEL_OK);
    /* Another program asks for another size: it uses the file as it is. */
    options.capacity = 8u << 20;
    IS(kennel_open(path, &options, &other), KENNEL_OK);
    kennel_close(other);
    options.bits = KENNEL_SAME_SIZES;
    IS(kennel_open(path, &options, &other), KENNEL_E_MISMATCH);
    CHECK(strstr(kennel_last_error(), "KENNEL_SAME_SIZES") != NULL && strstr(kennel_last_error(), "::") == NULL);
    IS(kennel_open(path, NULL, NULL), KENNEL_E_BAD_OPTION);
    IS(kennel_open(folder, NULL, &other), KENNEL_E_BAD_FILE);
    options.bits = KENNEL_LARGE_PAGES | KENNEL_SMALL_PAGES;
    IS(kennel_open(path, &options, &other), KENNEL_E_BAD_OPTION);
    options.bits = KENNEL_LARGE_PAGES;
    IS(kennel_open(path, &options, &other), KENNEL_OK);
    kennel_close(other);
    options.bits = KENNEL_READ_ONLY | KENNEL_SMALL_PAGES;
    IS(kennel_open(path, &options, &other), KENNEL_OK);
    IS(kennel_set(other, T("a"), T("b"), 0), KENNEL_E_READ_ONLY);
    kennel_close(other);
    kennel_close(NULL);
    IS(kennel_destroy(missing), KENNEL_NONE);
    CHECK(strcmp(kennel_version(), "0.1.0") == 0);
}

/* Rule 3: memory. */
static void *give_room(void *ctx, size_t len) {
    void **last = ctx;
    free(*last);
    return *last = malloc(len + 1);
}

static void *give_nothing(void *ctx, size_t len) {
    *(size_t *)ctx = len;
    return NULL;
}

static void test_values(void) {
    char buf[8], *value = buf;
    size_t len = 99;
    void *made = NULL;
    IS(kennel_set(k, T("key"), "va\0ue", 5, 0), KENNEL_OK);
    IS(kennel_get(k, T("key"), &value, &len), KENNEL_OK);
    CHECK(len == 5 && memcmp(value, "va\0ue", 6) == 0);
    kennel_free(value);
    IS(kennel_get(k, T("none"), &value, &len), KENNEL_NONE);
    CHECK(value == NULL && len == 0);
    kennel_free(NULL);
    IS(kennel_get(k, T("key"), NULL, &len), KENNEL_E_BAD_OPTION);
    IS(kennel_get(k, NULL, 3, &value, &len), KENNEL_E_BAD_OPTION);
    CHECK(value == NULL && len == 0);
    IS(kennel_get(NULL, T("key"), &value, &len), KENNEL_E_BAD_HANDLE);

    memset(buf, 'x', sizeof buf);
    IS(kennel_get_into(k, T("key"), buf, sizeof buf, &len), KENNEL_OK);
    CHECK(len == 5 && memcmp(buf, "va\0uexxx", 8) == 0);
    IS(kennel_get_into(k, T("key"), buf, 4, &len), KENNEL_E_BUFFER_TOO_SMALL);
    CHECK(len == 5 && buf[4] == 'e');
    IS(kennel_get_into(k, T("key"), NULL, 0, &len), KENNEL_E_BUFFER_TOO_SMALL);
    CHECK(len == 5);
    IS(kennel_get_into(k, T("none"), buf, 8, &len), KENNEL_NONE);
    CHECK(len == 0);
    IS(kennel_get_into(k, T("key"), NULL, 8, NULL), KENNEL_E_BAD_OPTION);

    IS(kennel_get_with(k, T("key"), give_room, &made), KENNEL_OK);
    CHECK(memcmp(made, "va\0ue", 5) == 0);
    IS(kennel_get_with(k, T("none"), give_room, &made), KENNEL_NONE);
    IS(kennel_get_with(k, T("key"), give_nothing, &len), KENNEL_E_NO_MEMORY);
    CHECK(len == 5);
    IS(kennel_get_with(k, T("key"), NULL, NULL), KENNEL_E_BAD_OPTION);
    free(made);

    IS(kennel_set(k, "", 0, NULL, 0, KENNEL_NEVER), KENNEL_OK);
    IS(kennel_get(k, NULL, 0, &value, &len), KENNEL_OK);
    CHECK(len == 0 && *value == 0);
    kennel_free(value);
    IS(kennel_set(k, T("key"), NULL, 5, 0), KENNEL_E_BAD_OPTION);
    IS(kennel_set(k, T("key"), T("v"), -7), KENNEL_E_BAD_OPTION);
    IS(kennel_contains(k, T("key")), KENNEL_OK);
    IS(kennel_delete(k, T("key")), KENNEL_OK);
    IS(kennel_delete(k, T("key")), KENNEL_NONE);
    IS(kennel_contains(k, T("key")), KENNEL_NONE);
    IS(kennel_set(k, T("short"), T("v"), 20), KENNEL_OK);
    IS(kennel_set(k, T("long"), T("v"), 60000), KENNEL_OK);
    IS(kennel_set(k, T("touched"), T("v"), 60000), KENNEL_OK);
    IS(kennel_touch(k, T("long"), KENNEL_NEVER), KENNEL_OK);
    IS(kennel_touch(k, T("touched"), 20), KENNEL_OK);
    IS(kennel_touch(k, T("none"), 5), KENNEL_NONE);
    pause_ms(30);
    IS(kennel_contains(k, T("short")), KENNEL_NONE);
    IS(kennel_contains(k, T("touched")), KENNEL_NONE);
    is_value("long", "v");
    kennel_item item = KENNEL_ITEM_INIT;
    IS(kennel_get_item_into(k, T("long"), buf, 8, &item), KENNEL_OK);
    CHECK(item.expires_ms == 0);

    char *big = calloc(1, 70000);
    IS(kennel_set(k, big, 70000, "", 0, 0), KENNEL_E_KEY_TOO_LONG);
    free(big);
    big = calloc(1, 3u << 20);
    IS(kennel_set(k, T("big"), big, 3u << 20, 0), KENNEL_E_TOO_LARGE);
    CHECK(strstr(kennel_last_error(), "larger capacity") != NULL);
    free(big);
}

static void test_items(void) {
    kennel_item item = KENNEL_ITEM_INIT, other = KENNEL_ITEM_INIT;
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    char buf[8], *value;
    void *made = NULL;
    uint64_t stamp, next;
    how.ttl_ms = 60000;
    how.soft_ttl_ms = 30000;
    how.flags = 7;
    IS(kennel_set_with(k, T("item"), T("value"), &how, &stamp), KENNEL_OK);
    IS(kennel_get_item(k, T("item"), &value, &item), KENNEL_OK);
    CHECK(strcmp(value, "value") == 0 && item.len == 5 && item.flags == 7 && item.stamp == stamp && !item.is_stale);
    /* Each time is counted from a look at the clock of its own. */
    CHECK(labs((long)(item.expires_ms - item.soft_expires_ms) - 30000) < 10000 && item.created_ms > 0);
    CHECK(item.size == sizeof item);
    kennel_free(value);
    IS(kennel_get_item_into(k, T("item"), buf, 8, &other), KENNEL_OK);
    CHECK(memcmp(buf, "value", 5) == 0 && memcmp(&item, &other, sizeof item) == 0);
    IS(kennel_get_item_into(k, T("item"), buf, 3, &other), KENNEL_E_BUFFER_TOO_SMALL);
    CHECK(other.len == 5 && other.stamp == 0);
    IS(kennel_get_item_with(k, T("item"), give_room, &made, &other), KENNEL_OK);
    CHECK(memcmp(made, "value", 5) == 0 && memcmp(&item, &other, sizeof item) == 0);
    free(made);
    IS(kennel_get_item(k, T("none"), &value, &other), KENNEL_NONE);
    CHECK(value == NULL && other.len == 0 && other.flags == 0);
    IS(kennel_get_item(k, T("item"), &value, NULL), KENNEL_E_BAD_OPTION);

    IS(kennel_compare_and_swap(k, T("item"), stamp + 1, T("no"), NULL, &next), KENNEL_NONE);
    CHECK(next == 0);
    IS(kennel_compare_and_swap(k, T("item"), stamp, T("yes"), NULL, &next), KENNEL_OK);
    is_value("item", "yes");
    IS(kennel_compare_and_delete(k, T("item"), stamp), KENNEL_NONE);
    IS(kennel_compare_and_delete(k, T("item"), next), KENNEL_OK);
    IS(kennel_compare_and_delete(k, T("item"), next), KENNEL_NONE);
    IS(kennel_replace(k, T("item"), T("a"), NULL), KENNEL_NONE);
    IS(kennel_add(k, T("item"), T("b"), NULL), KENNEL_OK);
    IS(kennel_add(k, T("item"), T("c"), NULL), KENNEL_NONE);
    IS(kennel_replace(k, T("item"), T("d"), &how), KENNEL_OK);
    is_value("item", "d");
    how.reserved = 1;
    IS(kennel_replace(k, T("item"), T("e"), &how), KENNEL_E_BAD_OPTION);
}

static void test_numbers(void) {
    uint64_t number = 9;
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    kennel_item item = KENNEL_ITEM_INIT;
    char buf[8];
    IS(kennel_incr(k, T("n"), 1, &number), KENNEL_NONE);
    CHECK(number == 0);
    how.ttl_ms = 60000;
    IS(kennel_incr_or(k, T("n"), 5, 10, &how, &number), KENNEL_OK);
    CHECK(number == 10);
    IS(kennel_incr_or(k, T("n"), 5, 10, NULL, &number), KENNEL_OK);
    CHECK(number == 15);
    IS(kennel_get_item_into(k, T("n"), buf, 8, &item), KENNEL_OK);
    CHECK(item.expires_ms > 0);
    IS(kennel_decr(k, T("n"), 1, NULL), KENNEL_OK);
    IS(kennel_decr_or(k, T("n"), 4, 0, NULL, &number), KENNEL_OK);
    CHECK(number == 10);
    IS(kennel_decr(k, T("n"), 11, &number), KENNEL_E_OVERFLOW);
    CHECK(number == 0);
    IS(kennel_set(k, T("n"), T("ten"), 0), KENNEL_OK);
    IS(kennel_incr_or(k, T("n"), 1, 1, NULL, &number), KENNEL_E_NOT_A_NUMBER);
}

/* Rule 6: claims are numbers. */
static void test_claims(void) {
    kennel_create_options how = KENNEL_CREATE_OPTIONS_INIT;
    kennel_claim claim, other;
    kennel_request request;
    kennel_key_lock lock, second;
    char *value;
    size_t len;
    IS(kennel_begin(k, T("c"), NULL, &value, &len, &claim), KENNEL_CREATE);
    CHECK(value == NULL && len == 0 && claim != 0);
    IS(kennel_is_claimed(k, T("c")), KENNEL_OK);
    how.wait_ms = 0;
    IS(kennel_begin(k, T("c"), &how, &value, &len, &other), KENNEL_E_TIMED_OUT);
    CHECK(other == 0 && strstr(kennel_last_error(), "KENNEL_UNPROTECTED") != NULL);
    IS(kennel_unlock(claim), KENNEL_E_BAD_HANDLE);
    IS(kennel_complete(claim, T("made")), KENNEL_OK);
    IS(kennel_complete(claim, T("twice")), KENNEL_E_BAD_HANDLE);
    IS(kennel_fail(claim), KENNEL_E_BAD_HANDLE);
    IS(kennel_fail(0), KENNEL_E_BAD_HANDLE);
    IS(kennel_refuse(UINT64_MAX), KENNEL_E_BAD_HANDLE);
    IS(kennel_complete(12345, T("foreign")), KENNEL_E_BAD_HANDLE);
    IS(kennel_begin(k, T("c"), &how, &value, &len, &claim), KENNEL_OK);
    CHECK(strcmp(value, "made") == 0 && len == 4 && claim == 0);
    kennel_free(value);
    /* A stale value goes along with the claim. */
    IS(kennel_invalidate(k, 1), KENNEL_OK);
    IS(kennel_begin(k, T("c"), &how, &value, NULL, &claim), KENNEL_CREATE);
    CHECK(strcmp(value, "made") == 0);
    kennel_free(value);
    IS(kennel_begin(k, T("c"), &how, &value, NULL, &other), KENNEL_OK);
    kennel_free(value);
    /* A write ends the creation. */
    IS(kennel_set(k, T("c"), T("written"), 0), KENNEL_OK);
    IS(kennel_complete(claim, T("late")), KENNEL_NONE);
    is_value("c", "written");
    /* Absence, failure, refusal, options of the value. */
    how.absent_ttl_ms = 60000;
    IS(kennel_begin(k, T("absent"), &how, &value, NULL, &claim), KENNEL_CREATE);
    IS(kennel_complete_absent(claim), KENNEL_OK);
    IS(kennel_begin(k, T("absent"), &how, &value, NULL, &claim), KENNEL_NONE);
    how.bits = KENNEL_NEEDS_VALUE;
    IS(kennel_begin(k, T("absent"), &how, &value, NULL, &claim), KENNEL_CREATE);
    IS(kennel_fail(claim), KENNEL_OK);
    IS(kennel_begin(k, T("absent"), &how, &value, NULL, &claim), KENNEL_CREATE);
    IS(kennel_refuse(claim), KENNEL_OK);
    IS(kennel_begin(k, T("absent"), &how, &value, NULL, &claim), KENNEL_CREATE);
    kennel_set_options of_value = KENNEL_SET_OPTIONS_INIT;
    of_value.flags = 3;
    IS(kennel_complete_with(claim, T("there"), &of_value), KENNEL_OK);
    kennel_item item = KENNEL_ITEM_INIT;
    IS(kennel_get_item(k, T("absent"), &value, &item), KENNEL_OK);
    CHECK(item.flags == 3 && item.expires_ms == 0);
    kennel_free(value);
    how.bits = 1u << 20;
    IS(kennel_begin(k, T("x"), &how, &value, NULL, &claim), KENNEL_E_BAD_OPTION);
    how.bits = 0;
    how.wait_ms = -2;
    IS(kennel_begin(k, T("x"), &how, &value, NULL, &claim), KENNEL_E_BAD_OPTION);
    /* A request never waits. */
    IS(kennel_begin(k, T("r"), NULL, &value, NULL, &claim), KENNEL_CREATE);
    IS(kennel_ask(k, T("r"), NULL, &request), KENNEL_OK);
    IS(kennel_poll(request, &value, &len, &other), KENNEL_WAIT);
    CHECK(value == NULL && other == 0);
    IS(kennel_try_complete(claim, T("r"), NULL), KENNEL_OK);
    IS(kennel_poll(request, &value, &len, &other), KENNEL_OK);
    CHECK(strcmp(value, "r") == 0);
    kennel_free(value);
    IS(kennel_poll(request, &value, &len, &other), KENNEL_E_BAD_HANDLE);
    IS(kennel_ask(k, T("r2"), NULL, &request), KENNEL_OK);
    IS(kennel_poll(request, &value, &len, &other), KENNEL_CREATE);
    IS(kennel_fail(other), KENNEL_OK);
    IS(kennel_ask(k, T("r2"), NULL, &request), KENNEL_OK);
    IS(kennel_withdraw(request), KENNEL_OK);
    IS(kennel_withdraw(request), KENNEL_E_BAD_HANDLE);
    /* Rule 7: two calls of one thread are two owners. */
    IS(kennel_lock(k, T("l"), 0, 0, &lock), KENNEL_OK);
    IS(kennel_lock(k, T("l"), 20, 0, &second), KENNEL_NONE);
    CHECK(second == 0);
    IS(kennel_unlock(lock), KENNEL_OK);
    IS(kennel_unlock(lock), KENNEL_E_BAD_HANDLE);
    IS(kennel_lock(k, T("l"), 0, 100, &lock), KENNEL_OK);
    IS(kennel_lock(k, T("l"), KENNEL_FOREVER, 0, &second), KENNEL_OK);
    IS(kennel_unlock(lock), KENNEL_NONE);
    IS(kennel_unlock(second), KENNEL_OK);
}

static void test_all_handles(void) {
    static kennel_request requests[4096];
    kennel_request more;
    kennel_claim claim;
    char *value;
    for (int i = 0; i < 4096; i++)
        IS(kennel_ask(k, T("h"), NULL, &requests[i]), KENNEL_OK);
    IS(kennel_ask(k, T("h"), NULL, &more), KENNEL_E_NO_HANDLE);
    IS(kennel_begin(k, T("h"), NULL, &value, NULL, &claim), KENNEL_E_NO_HANDLE);
    IS(kennel_is_claimed(k, T("h")), KENNEL_NONE);
    for (int i = 0; i < 4096; i++)
        IS(kennel_withdraw(requests[i]), KENNEL_OK);
}

static void test_namespaces(void) {
    kennel *pages, *none;
    char *json;
    IS(kennel_namespace(k, "pages", 60000, &pages), KENNEL_OK);
    IS(kennel_namespace(k, "", 0, &none), KENNEL_E_BAD_OPTION);
    IS(kennel_namespace(k, NULL, 0, &none), KENNEL_E_BAD_OPTION);
    IS(kennel_namespace(k, "\xff", 0, &none), KENNEL_E_BAD_OPTION);
    CHECK(none == NULL);
    IS(kennel_set(pages, T("a"), T("b"), 0), KENNEL_OK);
    IS(kennel_contains(k, T("a")), KENNEL_NONE);
    IS(kennel_invalidate(pages, 0), KENNEL_OK);
    IS(kennel_contains(pages, T("a")), KENNEL_NONE);
    IS(kennel_contains(k, T("long")), KENNEL_OK);
    kennel_close(pages);
    IS(kennel_stats_json(k, &json), KENNEL_OK);
    CHECK(json[0] == '{' && strstr(json, "\"capacity\":4194304") != NULL && strstr(json, "\"pages\"") != NULL);
    kennel_free(json);
}

/* Rule 2: the text is the thread's. */
static void test_listing(void) {
    kennel *things;
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    kennel_item item = KENNEL_ITEM_INIT;
    kennel_listing listing;
    char name[16], *key = name;
    size_t n;
    int seen = 0;
    IS(kennel_namespace(k, "things", 0, &things), KENNEL_OK);
    how.ttl_ms = 60000;
    how.soft_ttl_ms = 1;
    how.flags = 7;
    for (int i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "%s:%d", i % 3 == 0 ? "a" : "b", i);
        IS(kennel_set_with(things, T(name), T("value"), &how, NULL), KENNEL_OK);
    }
    pause_ms(20);
    IS(kennel_list(things, T("a:"), &listing), KENNEL_OK);
    while (kennel_next(listing, &key, &n, &item) == KENNEL_OK) {
        CHECK(n == strlen(key) && strncmp(key, "a:", 2) == 0 && atoi(key + 2) % 3 == 0);
        CHECK(item.len == 5 && item.flags == 7 && item.stamp != 0 && item.expires_ms > 0 && item.is_stale == 1);
        kennel_free(key);
        seen++;
    }
    CHECK(seen == 100 && key == NULL && n == 0 && item.len == 0);
    IS(kennel_next(listing, &key, &n, &item), KENNEL_E_BAD_HANDLE);
    IS(kennel_list(things, NULL, 0, &listing), KENNEL_OK);
    IS(kennel_next(listing, &key, NULL, NULL), KENNEL_OK);
    kennel_free(key);
    IS(kennel_fail(listing), KENNEL_E_BAD_HANDLE);
    IS(kennel_next(listing, NULL, NULL, NULL), KENNEL_E_BAD_OPTION);
    IS(kennel_end_list(listing), KENNEL_OK);
    IS(kennel_end_list(listing), KENNEL_E_BAD_HANDLE);
    IS(kennel_list(things, T("a"), NULL), KENNEL_E_BAD_OPTION);
    IS(kennel_list(NULL, T("a"), &listing), KENNEL_E_BAD_HANDLE);
    CHECK(listing == 0);
    kennel_close(things);
}

/* What bindings of other languages word themselves. */
static void test_parts_of_texts(void) {
    char *huge = calloc(1, 32 << 20);
    CHECK(huge != NULL);
    IS(kennel_set(k, T("huge"), huge, 32 << 20, 0), KENNEL_E_TOO_LARGE);
    free(huge);
    CHECK(strcmp(kennel_last_advice(), "larger-items") == 0);
    CHECK(strncmp(kennel_last_error(), kennel_last_facts(), strlen(kennel_last_facts())) == 0);
    CHECK(strstr(kennel_last_error(), "stripes") != NULL && strstr(kennel_last_facts(), "; ") == NULL);
    IS(kennel_fail(0), KENNEL_E_BAD_HANDLE);
    CHECK(kennel_last_advice()[0] == 0 && strcmp(kennel_last_error(), kennel_last_facts()) == 0);
}

static void *fails_otherwise(void *unused) {
    CHECK(kennel_last_error()[0] == 0);
    IS(kennel_fail(0), KENNEL_E_BAD_HANDLE);
    return unused;
}

static void test_texts(void) {
    char before[400];
    pthread_t thread;
    IS(kennel_set(k, T("a"), NULL, 4, 0), KENNEL_E_BAD_OPTION);
    snprintf(before, sizeof before, "%s", kennel_last_error());
    CHECK(strstr(before, "value") != NULL);
    CHECK(pthread_create(&thread, NULL, fails_otherwise, NULL) == 0 && pthread_join(thread, NULL) == 0);
    IS(kennel_contains(k, T("a")), KENNEL_NONE);
    CHECK(strcmp(before, kennel_last_error()) == 0);
}

/* A herd: processes and threads ask for one key, and one of them creates. */
static int *created;

static void *of_herd(void *unused) {
    kennel_claim claim;
    char *value;
    int got = kennel_begin(k, T("herd"), NULL, &value, NULL, &claim);
    if (got == KENNEL_CREATE) {
        __atomic_add_fetch(created, 1, __ATOMIC_SEQ_CST);
        pause_ms(100);
        IS(kennel_complete(claim, T("one")), KENNEL_OK);
    } else {
        IS(got, KENNEL_OK);
        CHECK(strcmp(value, "one") == 0);
        kennel_free(value);
    }
    return unused;
}

static void test_herd(void) {
    pid_t children[4];
    created = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(created != MAP_FAILED);
    for (int i = 0; i < 4; i++) {
        if ((children[i] = fork()) == 0) {
            pthread_t threads[4];
            for (int j = 0; j < 4; j++)
                CHECK(pthread_create(&threads[j], NULL, of_herd, NULL) == 0);
            for (int j = 0; j < 4; j++)
                CHECK(pthread_join(threads[j], NULL) == 0);
            _exit(0);
        }
    }
    for (int i = 0; i < 4; i++)
        must_end_well(children[i]);
    CHECK(*created == 1);
    munmap(created, 4096);
}

/* The owner of a claim is killed: the next caller creates. */
static void test_killed_owner(void) {
    int ready[2];
    char byte, *value;
    kennel_claim claim;
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        IS(kennel_begin(k, T("killed"), NULL, &value, NULL, &claim), KENNEL_CREATE);
        CHECK(write(ready[1], "x", 1) == 1);
        for (;;)
            pause();
    }
    CHECK(read(ready[0], &byte, 1) == 1);
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, NULL, 0) == child);
    IS(kennel_begin(k, T("killed"), NULL, &value, NULL, &claim), KENNEL_CREATE);
    IS(kennel_complete(claim, T("after")), KENNEL_OK);
    is_value("killed", "after");
    close(ready[0]);
    close(ready[1]);
}

/* Rule 8: fork. A child uses and closes what it inherited; the parent's claim is not its own. */
static void *spins(void *stop) {
    while (!__atomic_load_n((int *)stop, __ATOMIC_RELAXED)) {
        kennel_key_lock lock;
        if (kennel_lock(k, T("spin"), 0, 0, &lock) == KENNEL_OK)
            kennel_unlock(lock);
        pause_ms(1);
    }
    return NULL;
}

static void test_fork(void) {
    kennel_claim claim, other;
    char *value;
    int stop = 0;
    pthread_t thread;
    IS(kennel_begin(k, T("forked"), NULL, &value, NULL, &claim), KENNEL_CREATE);
    CHECK(pthread_create(&thread, NULL, spins, &stop) == 0);
    for (int i = 0; i < 20; i++) {
        pid_t child = fork();
        if (child == 0) {
            kennel_create_options how = KENNEL_CREATE_OPTIONS_INIT;
            IS(kennel_complete(claim, T("of the child")), KENNEL_NONE);
            IS(kennel_set(k, T("child"), T("was here"), 0), KENNEL_OK);
            IS(kennel_begin(k, T("of child"), NULL, &value, NULL, &other), KENNEL_CREATE);
            IS(kennel_fail(other), KENNEL_OK);
            how.wait_ms = 0;
            /* Busy: the parent's other thread holds the stripe's own lock all the time. */
            int got = kennel_begin(k, T("forked"), &how, &value, NULL, &other);
            CHECK(got == KENNEL_E_TIMED_OUT || got == KENNEL_E_BUSY);
            kennel_close(k);
            _exit(0);
        }
        must_end_well(child);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    CHECK(pthread_join(thread, NULL) == 0);
    is_value("child", "was here");
    IS(kennel_complete(claim, T("of the parent")), KENNEL_OK);
    is_value("forked", "of the parent");
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    folder = argv[1];
    snprintf(path, sizeof path, "%s/cache", folder);
    CHECK(kennel_last_error()[0] == 0);
    test_open();
    test_values();
    test_items();
    test_numbers();
    test_claims();
    test_all_handles();
    test_namespaces();
    test_listing();
    test_texts();
    test_parts_of_texts();
    test_herd();
    test_killed_owner();
    test_fork();
    kennel_close(k);
    IS(kennel_destroy(path), KENNEL_OK);
    puts("kennel: all functions do what the header says");
    return 0;
}
