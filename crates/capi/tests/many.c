/* Calls for many keys, tags, namespaces that are removed, and what a creation tells of a value. Usage: many FOLDER */
#include "check.h"

static kennel *k;

static void is_flags(const char *key, uint32_t flags) {
    kennel_item item = KENNEL_ITEM_INIT;
    char buf[16];
    IS(kennel_get_item_into(k, T(key), buf, sizeof buf, &item), KENNEL_OK);
    CHECK(item.flags == flags);
}

static void test_many(void) {
    kennel_pair pairs[] = {
        {T("a"), T("1"), 0, 0}, {T("b"), "2\0", 2, 7, 0}, {T("c"), NULL, 0, 7, 0}, {T("a"), T("last"), 5, 0},
    };
    kennel_bytes keys[] = {{T("a")}, {T("none")}, {T("b")}, {T("c")}};
    kennel_item items[4] = {KENNEL_ITEM_INIT, KENNEL_ITEM_INIT, KENNEL_ITEM_INIT, KENNEL_ITEM_INIT};
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    char *memory = (char *)keys, *values[4] = {(char *)keys, (char *)keys, (char *)keys, (char *)keys};
    int results[4] = {9, 9, 9, 9};
    how.flags = 3;
    IS(kennel_set_multi(k, pairs, 3, &how, NULL), KENNEL_OK);
    is_flags("a", 3);
    IS(kennel_set_multi(k, pairs, 4, NULL, results), KENNEL_OK);
    for (int i = 0; i < 4; i++)
        IS(results[i], KENNEL_OK);
    IS(kennel_get_multi(k, keys, 4, values, items, &memory), KENNEL_OK);
    CHECK(strcmp(values[0], "last") == 0 && items[0].len == 4 && items[0].flags == 5 && items[0].size == sizeof items[0]);
    CHECK(values[1] == NULL && items[1].len == 0 && items[1].stamp == 0);
    CHECK(memcmp(values[2], "2\0", 3) == 0 && items[2].len == 2 && items[2].flags == 7 && items[2].stamp != 0);
    CHECK(values[3] != NULL && values[3][0] == 0 && items[3].len == 0 && items[3].flags == 7);
    CHECK(memory == values[0]);
    kennel_free(memory);
    IS(kennel_get_multi(k, keys, 2, values, NULL, &memory), KENNEL_OK);
    kennel_free(memory);
    IS(kennel_get_multi(k, keys + 1, 1, values, items, &memory), KENNEL_NONE);
    CHECK(values[0] == NULL && memory == NULL);
    IS(kennel_get_multi(k, keys, 1, values, items, NULL), KENNEL_E_BAD_OPTION);
    IS(kennel_get_multi(k, NULL, 0, NULL, NULL, &memory), KENNEL_NONE);
    IS(kennel_set_multi(k, NULL, 0, NULL, NULL), KENNEL_OK);
    IS(kennel_delete_multi(k, NULL, 0, NULL), KENNEL_NONE);
    /* What cannot be stored leaves the rest. */
    static char large[1 << 20];
    pairs[1].value = large;
    pairs[1].len = sizeof large;
    IS(kennel_set_multi(k, pairs, 3, NULL, results), KENNEL_E_TOO_LARGE);
    CHECK(results[0] == KENNEL_OK && results[1] == KENNEL_E_TOO_LARGE && results[2] == KENNEL_OK);
    CHECK(strcmp(kennel_last_advice(), "larger-items") == 0);
    IS(kennel_delete_multi(k, keys, 3, results), KENNEL_OK);
    CHECK(results[0] == KENNEL_OK && results[1] == KENNEL_NONE && results[2] == KENNEL_OK);
    IS(kennel_delete_multi(k, keys, 3, NULL), KENNEL_NONE);
    /* Mistakes. */
    pairs[1].len = 1;
    pairs[1].reserved = 1;
    IS(kennel_set_multi(k, pairs, 3, NULL, results), KENNEL_E_BAD_OPTION);
    CHECK(results[0] == KENNEL_NONE);
    pairs[1].reserved = 0;
    pairs[1].value = NULL;
    IS(kennel_set_multi(k, pairs, 3, NULL, NULL), KENNEL_E_BAD_OPTION);
    IS(kennel_set_multi(k, NULL, 3, NULL, NULL), KENNEL_E_BAD_OPTION);
    IS(kennel_set_multi(NULL, pairs, 1, NULL, NULL), KENNEL_E_BAD_HANDLE);
    IS(kennel_get_multi(k, NULL, 3, values, NULL, &memory), KENNEL_E_BAD_OPTION);
    IS(kennel_get_multi(k, keys, 3, NULL, NULL, &memory), KENNEL_E_BAD_OPTION);
    keys[1].data = NULL;
    IS(kennel_get_multi(k, keys, 3, values, NULL, &memory), KENNEL_E_BAD_OPTION);
    IS(kennel_delete_multi(k, keys, 3, NULL), KENNEL_E_BAD_OPTION);
    IS(kennel_contains(k, T("a")), KENNEL_NONE);
}

static void test_tags(void) {
    kennel_bytes tags[17], both[] = {{T("page:1")}, {T("user:7")}};
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    kennel_create_options create = KENNEL_CREATE_OPTIONS_INIT;
    kennel_claim claim;
    char *value;
    how.tags = both;
    how.tag_count = 2;
    IS(kennel_set_with(k, T("tagged"), T("1"), &how, NULL), KENNEL_OK);
    IS(kennel_set(k, T("plain"), T("1"), 0), KENNEL_OK);
    IS(kennel_invalidate_tags(k, both + 1, 1, 0), KENNEL_OK);
    IS(kennel_contains(k, T("tagged")), KENNEL_NONE);
    IS(kennel_contains(k, T("plain")), KENNEL_OK);
    /* Of what is created, by the options of the creation and by those of the value. */
    create.tags = both;
    create.tag_count = 1;
    IS(kennel_begin(k, T("made"), &create, &value, NULL, &claim), KENNEL_CREATE);
    IS(kennel_complete(claim, T("1")), KENNEL_OK);
    IS(kennel_invalidate_tags(k, both, 1, 1), KENNEL_OK);
    IS(kennel_begin(k, T("made"), NULL, &value, NULL, &claim), KENNEL_CREATE);
    CHECK(strcmp(value, "1") == 0);
    kennel_free(value);
    how.tags = both + 1;
    how.tag_count = 1;
    IS(kennel_complete_with(claim, T("2"), &how), KENNEL_OK);
    IS(kennel_invalidate_tags(k, both + 1, 1, 0), KENNEL_OK);
    IS(kennel_contains(k, T("made")), KENNEL_NONE);
    for (int i = 0; i < 17; i++)
        tags[i] = (kennel_bytes){&"abcdefghijklmnopq"[i], 1};
    how.tags = tags;
    how.tag_count = 17;
    IS(kennel_set_with(k, T("tagged"), T("1"), &how, NULL), KENNEL_E_TOO_MANY_TAGS);
    how.tag_count = 16;
    IS(kennel_set_with(k, T("tagged"), T("1"), &how, NULL), KENNEL_OK);
    how.tags = NULL;
    IS(kennel_set_with(k, T("tagged"), T("1"), &how, NULL), KENNEL_E_BAD_OPTION);
    IS(kennel_invalidate_tags(k, NULL, 1, 0), KENNEL_E_BAD_OPTION);
    IS(kennel_invalidate_tags(k, NULL, 0, 0), KENNEL_OK);
}

static void test_removed_namespace(void) {
    kennel *old, *next;
    IS(kennel_namespace(k, "old", 0, &old), KENNEL_OK);
    IS(kennel_namespace(k, "next", 0, &next), KENNEL_E_NAMESPACES_FULL);
    IS(kennel_set(old, T("a"), T("1"), 0), KENNEL_OK);
    IS(kennel_remove_namespace(k, "old"), KENNEL_OK);
    IS(kennel_remove_namespace(k, "old"), KENNEL_NONE);
    IS(kennel_contains(old, T("a")), KENNEL_NONE);
    IS(kennel_namespace(k, "next", 0, &next), KENNEL_OK);
    IS(kennel_set(old, T("a"), T("2"), 0), KENNEL_E_NAMESPACES_FULL);
    IS(kennel_remove_namespace(next, "next"), KENNEL_OK);
    IS(kennel_set(old, T("a"), T("2"), 0), KENNEL_OK);
    IS(kennel_remove_namespace(k, NULL), KENNEL_E_BAD_OPTION);
    IS(kennel_remove_namespace(k, ""), KENNEL_E_BAD_OPTION);
    IS(kennel_remove_namespace(NULL, "old"), KENNEL_E_BAD_HANDLE);
    kennel_close(old);
    kennel_close(next);
}

static void test_creations(void) {
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    kennel_item item = KENNEL_ITEM_INIT;
    kennel_request request;
    kennel_claim claim;
    char *value;
    how.flags = 9;
    IS(kennel_begin_item(k, T("item"), NULL, &value, &item, &claim), KENNEL_CREATE);
    CHECK(value == NULL && item.len == 0 && claim != 0);
    IS(kennel_complete_with(claim, T("value"), &how), KENNEL_OK);
    IS(kennel_begin_item(k, T("item"), NULL, &value, &item, &claim), KENNEL_OK);
    CHECK(item.len == 5 && item.flags == 9 && item.stamp != 0 && !item.is_stale && strcmp(value, "value") == 0);
    kennel_free(value);
    IS(kennel_invalidate(k, 1), KENNEL_OK);
    IS(kennel_ask(k, T("item"), NULL, &request), KENNEL_OK);
    IS(kennel_poll_item(request, &value, &item, &claim), KENNEL_CREATE);
    CHECK(item.len == 5 && item.flags == 9 && item.is_stale && strcmp(value, "value") == 0);
    kennel_free(value);
    IS(kennel_fail(claim), KENNEL_OK);
    IS(kennel_begin_item(k, T("item"), NULL, &value, NULL, &claim), KENNEL_E_BAD_OPTION);
    item.size = 1;
    IS(kennel_begin_item(k, T("item"), NULL, &value, &item, &claim), KENNEL_E_BAD_OPTION);
    CHECK(value == NULL && claim == 0);
}

static void test_options(const char *path) {
    kennel_options options = KENNEL_OPTIONS_INIT;
    kennel *other;
    kennel_bytes tag = {T("tag")};
    char *json;
    options.capacity = 1u << 20;
    options.bits = KENNEL_NAMESPACE_READS | KENNEL_NO_NAMESPACE_READS;
    IS(kennel_open(path, &options, &other), KENNEL_E_BAD_OPTION);
    CHECK(strstr(kennel_last_error(), "KENNEL_NO_NAMESPACE_READS") != NULL);
    options.bits = KENNEL_SAMPLES | KENNEL_NO_SAMPLES;
    IS(kennel_open(path, &options, &other), KENNEL_E_BAD_OPTION);
    options.bits = KENNEL_NO_TAGS;
    options.tags = 64;
    IS(kennel_open(path, &options, &other), KENNEL_E_BAD_OPTION);
    options.bits = 0;
    options.tags = 100;
    IS(kennel_open(path, &options, &other), KENNEL_E_BAD_OPTION);
    options.tags = 0;
    options.reserved = 1;
    IS(kennel_open(path, &options, &other), KENNEL_E_BAD_OPTION);
    options.reserved = 0;
    options.bits = KENNEL_NAMESPACE_READS | KENNEL_NO_SAMPLES | KENNEL_NO_TAGS;
    IS(kennel_open(path, &options, &other), KENNEL_OK);
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    how.tags = &tag;
    how.tag_count = 1;
    IS(kennel_set_with(other, T("a"), T("b"), &how, NULL), KENNEL_E_BAD_OPTION);
    IS(kennel_stats_json(other, &json), KENNEL_OK);
    CHECK(strstr(json, "\"tags\":0") != NULL);
    kennel_free(json);
    kennel_close(other);
    options.bits = 1u << 13;
    IS(kennel_destroy_with(path, &options), KENNEL_E_BAD_OPTION);
    options.bits = KENNEL_TRUST;
    IS(kennel_destroy_with(path, &options), KENNEL_OK);
    IS(kennel_destroy_with(path, NULL), KENNEL_NONE);
    options.bits = KENNEL_SAMPLES;
    options.tags = 64;
    IS(kennel_open(path, &options, &other), KENNEL_OK);
    IS(kennel_set_with(other, T("a"), T("b"), &how, NULL), KENNEL_OK);
    kennel_close(other);
    IS(kennel_destroy(path), KENNEL_OK);
}

int main(int argc, char **argv) {
    char path[4096], other[4200];
    kennel_options options = KENNEL_OPTIONS_INIT;
    CHECK(argc == 2);
    snprintf(path, sizeof path, "%s/many", argv[1]);
    snprintf(other, sizeof other, "%s.other", path);
    options.capacity = 2u << 20;
    options.namespaces = 1;
    IS(kennel_open(path, &options, &k), KENNEL_OK);
    test_many();
    test_tags();
    test_removed_namespace();
    test_creations();
    test_options(other);
    kennel_close(k);
    IS(kennel_destroy(path), KENNEL_OK);
    return 0;
}
