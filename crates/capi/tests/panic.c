/* Rule 5: no panic leaves the library. `kennel_test_panic` makes every function of this thread panic. Usage: panic FOLDER */
#include "check.h"

void kennel_test_panic(int yes);

static void *room(void *ctx, size_t len) {
    (void)len;
    return ctx;
}

#define PANICS(call) IS(call, KENNEL_E_PANIC)

int main(int argc, char **argv) {
    char path[4096], buf[8], *value = buf;
    size_t len = 1;
    kennel *k, *other = NULL;
    kennel_item item = KENNEL_ITEM_INIT;
    uint64_t number = 1, claim;
    CHECK(argc == 2);
    snprintf(path, sizeof path, "%s/panic", argv[1]);
    IS(kennel_open(path, NULL, &k), KENNEL_OK);
    IS(kennel_begin(k, T("claimed"), NULL, &value, &len, &claim), KENNEL_CREATE);
    kennel_test_panic(1);
    other = k;
    PANICS(kennel_open(path, NULL, &other));
    CHECK(other == NULL && strstr(kennel_last_error(), "planted") != NULL);
    PANICS(kennel_destroy(path));
    PANICS(kennel_namespace(k, "n", 0, &other));
    PANICS(kennel_get_into(k, T("a"), buf, sizeof buf, &len));
    value = buf;
    PANICS(kennel_get(k, T("a"), &value, &len));
    CHECK(value == NULL && len == 0);
    PANICS(kennel_get_with(k, T("a"), room, buf));
    PANICS(kennel_get_item(k, T("a"), &value, &item));
    PANICS(kennel_get_item_into(k, T("a"), buf, sizeof buf, &item));
    PANICS(kennel_get_item_with(k, T("a"), room, buf, &item));
    PANICS(kennel_contains(k, T("a")));
    PANICS(kennel_set(k, T("a"), T("b"), 0));
    PANICS(kennel_set_with(k, T("a"), T("b"), NULL, &number));
    CHECK(number == 0);
    PANICS(kennel_add(k, T("a"), T("b"), NULL));
    PANICS(kennel_replace(k, T("a"), T("b"), NULL));
    PANICS(kennel_compare_and_swap(k, T("a"), 1, T("b"), NULL, &number));
    PANICS(kennel_compare_and_delete(k, T("a"), 1));
    PANICS(kennel_delete(k, T("a")));
    PANICS(kennel_touch(k, T("a"), 1));
    PANICS(kennel_incr(k, T("a"), 1, &number));
    PANICS(kennel_decr(k, T("a"), 1, &number));
    PANICS(kennel_incr_or(k, T("a"), 1, 1, NULL, &number));
    PANICS(kennel_decr_or(k, T("a"), 1, 1, NULL, &number));
    PANICS(kennel_list(k, NULL, 0, &number));
    PANICS(kennel_next(1, &value, &len, &item));
    PANICS(kennel_end_list(1));
    PANICS(kennel_begin(k, T("a"), NULL, &value, &len, &number));
    PANICS(kennel_ask(k, T("a"), NULL, &number));
    PANICS(kennel_poll(1, &value, &len, &number));
    PANICS(kennel_withdraw(1));
    PANICS(kennel_complete(claim, T("b")));
    PANICS(kennel_complete_with(claim, T("b"), NULL));
    PANICS(kennel_try_complete(claim, T("b"), NULL));
    PANICS(kennel_complete_absent(claim));
    PANICS(kennel_refuse(claim));
    PANICS(kennel_fail(claim));
    PANICS(kennel_lock(k, T("a"), 0, 0, &number));
    PANICS(kennel_unlock(claim));
    PANICS(kennel_is_claimed(k, T("a")));
    PANICS(kennel_invalidate(k, 0));
    PANICS(kennel_stats_json(k, &value));
    kennel_test_panic(0);
    /* The library goes on. */
    IS(kennel_complete(claim, T("b")), KENNEL_OK);
    IS(kennel_contains(k, T("claimed")), KENNEL_OK);
    kennel_close(k);
    IS(kennel_destroy(path), KENNEL_OK);
    return 0;
}
