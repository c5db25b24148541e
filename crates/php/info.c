/* Information about the cache, in the form of APCu's arrays where APCu has them. */
#include "php_kennel.h"
#include "ext/json/php_json.h"

/* The statistics that "kennel stat --json" prints, as a PHP array. */
int php_kennel_stats(kennel *k, zval *stats) {
    char *text;
    int result = kennel_stats_json(k, &text);
    ZVAL_NULL(stats);
    if (result != KENNEL_OK)
        return result;
    php_json_decode(stats, text, strlen(text), true, PHP_JSON_PARSER_DEFAULT_DEPTH);
    kennel_free(text);
    return EG(exception) ? KENNEL_THROWN : Z_TYPE_P(stats) == IS_ARRAY ? KENNEL_OK : KENNEL_NONE;
}

static zend_long number(zval *of, const char *name) {
    zval *found = of != NULL && Z_TYPE_P(of) == IS_ARRAY ? zend_hash_str_find(Z_ARRVAL_P(of), name, strlen(name)) : NULL;
    return found != NULL ? zval_get_long(found) : 0;
}

static zend_long seconds_left(const kennel_item *item) {
    return item->expires_ms != 0 ? MAX(item->expires_ms / 1000 - (zend_long)time(NULL), 0) : 0;
}

static void add_item(zval *list, const char *key, size_t n, const kennel_item *item) {
    zval entry;
    array_init(&entry);
    add_assoc_stringl(&entry, "info", key, n);
    add_assoc_long(&entry, "ttl", seconds_left(item));
    add_assoc_long(&entry, "expiration_time", item->expires_ms / 1000);
    add_assoc_long(&entry, "creation_time", item->created_ms / 1000);
    add_assoc_long(&entry, "mem_size", (zend_long)item->len);
    add_next_index_zval(list, &entry);
}

static void add_list(kennel *k, zval *info) {
    kennel_item item = KENNEL_ITEM_INIT;
    kennel_listing listing;
    char *key;
    size_t n;
    zval list;
    array_init(&list);
    if (kennel_list(k, NULL, 0, &listing) == KENNEL_OK) {
        while (kennel_next(listing, &key, &n, &item) == KENNEL_OK) {
            add_item(&list, key, n, &item);
            kennel_free(key);
        }
    }
    add_assoc_zval(info, "cache_list", &list);
}

PHP_FUNCTION(kennel_cache_info) {
    bool limited = false;
    zval stats, *counters;
    kennel *k;
    ZEND_PARSE_PARAMETERS_START(0, 1)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(limited)
    ZEND_PARSE_PARAMETERS_END();
    if ((k = php_kennel_default()) == NULL || php_kennel_stats(k, &stats) != KENNEL_OK)
        RETURN_FALSE;
    counters = zend_hash_str_find(Z_ARRVAL(stats), ZEND_STRL("counters"));
    array_init(return_value);
    add_assoc_long(return_value, "num_slots", number(&stats, "slots"));
    add_assoc_long(return_value, "ttl", 0);
    add_assoc_long(return_value, "num_hits", number(counters, "hits"));
    add_assoc_long(return_value, "num_misses", number(counters, "misses"));
    add_assoc_long(return_value, "num_inserts", number(counters, "sets"));
    add_assoc_long(return_value, "num_entries", number(&stats, "items"));
    add_assoc_long(return_value, "expunges", 0);
    add_assoc_long(return_value, "evictions",
                   number(counters, "evictions_small") + number(counters, "evictions_main") +
                       number(counters, "evictions_index"));
    add_assoc_long(return_value, "start_time", number(&stats, "created_ms") / 1000);
    add_assoc_long(return_value, "mem_size", number(&stats, "used_bytes"));
    add_assoc_string(return_value, "memory_type", "mmap");
    if (!limited)
        add_list(k, return_value);
    zval_ptr_dtor(&stats);
}

PHP_FUNCTION(kennel_sma_info) {
    bool limited = false;
    zval stats;
    kennel *k;
    ZEND_PARSE_PARAMETERS_START(0, 1)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(limited)
    ZEND_PARSE_PARAMETERS_END();
    if ((k = php_kennel_default()) == NULL || php_kennel_stats(k, &stats) != KENNEL_OK)
        RETURN_FALSE;
    array_init(return_value);
    add_assoc_long(return_value, "num_seg", 1);
    add_assoc_long(return_value, "seg_size", number(&stats, "capacity"));
    add_assoc_long(return_value, "avail_mem", MAX(number(&stats, "capacity") - number(&stats, "used_bytes"), 0));
    zval_ptr_dtor(&stats);
}

PHP_FUNCTION(kennel_key_info) {
    kennel_item item = KENNEL_ITEM_INIT;
    zend_string *key;
    char *value;
    kennel *k;
    int result;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_STR(key)
    ZEND_PARSE_PARAMETERS_END();
    if ((k = php_kennel_default()) == NULL)
        RETURN_NULL();
    result = kennel_get_item(k, ZSTR_VAL(key), ZSTR_LEN(key), &value, &item);
    kennel_free(value);
    if (result != KENNEL_OK)
        RETURN_NULL();
    array_init(return_value);
    add_assoc_long(return_value, "creation_time", item.created_ms / 1000);
    add_assoc_long(return_value, "mtime", item.created_ms / 1000);
    add_assoc_long(return_value, "expiration_time", item.expires_ms / 1000);
    add_assoc_long(return_value, "ttl", seconds_left(&item));
    add_assoc_long(return_value, "mem_size", (zend_long)item.len);
}
