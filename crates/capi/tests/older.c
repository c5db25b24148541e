/* Rule 9: programs of an older and of a newer header. Their structs are shorter, or longer. Usage: older FOLDER */
#include "check.h"
#include <stddef.h>

int main(int argc, char **argv) {
    char path[4096], *value;
    kennel *k;
    CHECK(argc == 2);
    snprintf(path, sizeof path, "%s/older", argv[1]);

    /* The first fields alone; what follows them in memory is not the program's. */
    struct { size_t size; uint64_t capacity; uint64_t poison[8]; } options = {2 * sizeof(size_t), 4u << 20, {0}};
    memset(options.poison, 0xff, sizeof options.poison);
    IS(kennel_open(path, (const kennel_options *)&options, &k), KENNEL_OK);
    struct { size_t size; int64_t ttl_ms; uint64_t poison[4]; } how = {2 * sizeof(size_t), 60000, {0}};
    memset(how.poison, 0xff, sizeof how.poison);
    IS(kennel_set_with(k, T("key"), T("value"), (const kennel_set_options *)&how, NULL), KENNEL_OK);
    /* A shorter item is written as far as it goes. */
    struct { size_t size; size_t len; uint64_t stamp; uint64_t beyond[8]; } item = {3 * sizeof(size_t), 0, 0, {0}};
    memset(item.beyond, 0x77, sizeof item.beyond);
    IS(kennel_get_item(k, T("key"), &value, (kennel_item *)&item), KENNEL_OK);
    CHECK(item.size == 3 * sizeof(size_t) && item.len == 5 && item.stamp != 0);
    for (int i = 0; i < 8; i++)
        CHECK(item.beyond[i] == 0x7777777777777777u);
    kennel_free(value);
    /* A create struct without its later fields waits 30 s by default, so that a value is there for it. */
    struct { size_t size; int64_t ttl_ms; } begin = {2 * sizeof(size_t), 0};
    kennel_claim claim;
    IS(kennel_begin(k, T("key"), (const kennel_create_options *)&begin, &value, NULL, &claim), KENNEL_OK);
    kennel_free(value);

    /* A newer header: zeros in what this library does not know are fine, other things are not. */
    struct { kennel_set_options known; uint64_t added; } newer = {KENNEL_SET_OPTIONS_INIT, 0};
    newer.known.size = sizeof newer;
    IS(kennel_set_with(k, T("key"), T("v"), &newer.known, NULL), KENNEL_OK);
    newer.added = 1;
    IS(kennel_set_with(k, T("key"), T("v"), &newer.known, NULL), KENNEL_E_BAD_OPTION);
    struct { kennel_item known; uint64_t added; } longer = {KENNEL_ITEM_INIT, 5};
    longer.known.size = sizeof longer;
    IS(kennel_get_item(k, T("key"), &value, &longer.known), KENNEL_OK);
    CHECK(longer.known.len == 1 && longer.known.size == sizeof longer && longer.added == 5);
    kennel_free(value);

    /* Without a size. */
    kennel_set_options none = {0, 0, 0, 0, 0, NULL, 0};
    IS(kennel_set_with(k, T("key"), T("v"), &none, NULL), KENNEL_E_BAD_OPTION);
    kennel_item empty = {0, 0, 0, 0, 0, 0, 0, 0};
    IS(kennel_get_item(k, T("key"), &value, &empty), KENNEL_E_BAD_OPTION);
    CHECK(value == NULL);
    /* Items of an older header in an array lie closer together. */
    struct { size_t size; size_t len; uint64_t stamp; } items[3] = {{24, 9, 9}, {24, 9, 9}, {24, 9, 9}};
    kennel_bytes keys[] = {{T("key")}, {T("none")}, {T("key")}};
    char *values[3], *memory;
    IS(kennel_get_multi(k, keys, 3, values, (kennel_item *)items, &memory), KENNEL_OK);
    CHECK(items[0].len == 1 && items[1].len == 0 && items[2].len == 1 && items[2].size == 24 && items[1].stamp == 0);
    kennel_free(memory);
    items[1].size = 32;
    IS(kennel_get_multi(k, keys, 3, values, (kennel_item *)items, &memory), KENNEL_E_BAD_OPTION);
    items[0].size = 3;
    IS(kennel_get_multi(k, keys, 3, values, (kennel_item *)items, &memory), KENNEL_E_BAD_OPTION);
    CHECK(values[0] == NULL && values[2] == NULL);
    kennel_close(k);
    IS(kennel_destroy(path), KENNEL_OK);
    return 0;
}
