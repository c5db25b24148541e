/* The class Kennel\Cache. A miss is null or the caller's default; a failure of the cache is a Kennel\Exception. */
#include "php_kennel.h"
#include "zend_interfaces.h"

zend_class_entry *kennel_cache_ce;

static zend_object_handlers cache_handlers;

typedef struct {
    kennel *k; /* belongs to the process, so no object closes it */
    zend_object std;
} cache_object;

static cache_object *cache_of(zend_object *object) {
    return (cache_object *)((char *)object - XtOffsetOf(cache_object, std));
}

static zend_object *make_cache(zend_class_entry *ce) {
    cache_object *made = zend_object_alloc(sizeof *made, ce);
    made->k = NULL;
    zend_object_std_init(&made->std, ce);
    object_properties_init(&made->std, ce);
    made->std.handlers = &cache_handlers;
    return &made->std;
}

static kennel *this_cache(zval *this) {
    kennel *k = cache_of(Z_OBJ_P(this))->k;
    if (UNEXPECTED(k == NULL))
        zend_throw_error(NULL, "The constructor of Kennel\\Cache was not called");
    return k;
}

#define CACHE_OF_THIS(k) \
    kennel *k = this_cache(ZEND_THIS); \
    if (UNEXPECTED(k == NULL)) \
        RETURN_THROWS()

/* Throws if the result is an error. Otherwise returns whether the call did something. */
static void return_done(zval *return_value, int result) {
    if (UNEXPECTED(result < 0)) {
        php_kennel_throw(result);
        return;
    }
    ZVAL_BOOL(return_value, result != KENNEL_NONE);
}

/* Converts seconds to milliseconds. null stands for the default, INF for no end. Returns false after it has thrown. */
static bool ttl_of(double seconds, bool is_default, uint32_t argument, int64_t *ttl_ms) {
    *ttl_ms = 0;
    if (is_default)
        return true;
    if (!(seconds > 0)) {
        zend_argument_value_error(argument, "must be greater than 0");
        return false;
    }
    *ttl_ms = php_kennel_seconds(seconds);
    return true;
}

/* Converts a wait in seconds to milliseconds. INF waits without limit, 0 does not wait. */
static bool wait_of(double seconds, const char *name, int64_t *wait_ms) {
    if (!(seconds >= 0)) {
        zend_value_error("%s must not be less than 0", name);
        return false;
    }
    *wait_ms = seconds > 0 ? php_kennel_seconds(seconds) : 0;
    return true;
}

/* Takes one option of an array. Returns false after it has thrown an exception. */
typedef bool (*take_option)(void *into, zend_string *name, zval *value);

static bool each_option(HashTable *options, void *into, take_option take) {
    zend_string *name;
    zval *value;
    if (options == NULL)
        return true;
    ZEND_HASH_FOREACH_STR_KEY_VAL(options, name, value) {
        ZVAL_DEREF(value);
        if (name == NULL || !take(into, name, value)) {
            if (!EG(exception))
                zend_value_error("Unknown option \"%s\"", name != NULL ? ZSTR_VAL(name) : "");
            return false;
        }
    }
    ZEND_HASH_FOREACH_END();
    return true;
}

static bool take_size(zend_string *name, zval *value, zend_long most, zend_long *size) {
    *size = Z_TYPE_P(value) == IS_LONG ? Z_LVAL_P(value) : -1;
    if (*size < 0 || *size > most)
        zend_value_error("Option \"%s\" must be an int from 0 to " ZEND_LONG_FMT, ZSTR_VAL(name), most);
    return !EG(exception);
}

static bool take_of_file(void *into, zend_string *name, zval *value) {
    static const struct {
        const char *name;
        uint32_t bit;
    } bits[] = {
        {"existing", KENNEL_EXISTING},         {"read_only", KENNEL_READ_ONLY},
        {"verify_reads", KENNEL_VERIFY_READS}, {"trust", KENNEL_TRUST},
        {"allow_network", KENNEL_ALLOW_NETWORK}, {"same_sizes", KENNEL_SAME_SIZES},
    };
    kennel_options *options = into;
    const struct {
        const char *name;
        uint32_t *number;
    } numbers[] = {
        {"stripes", &options->stripes}, {"seats", &options->seats}, {"namespaces", &options->namespaces},
        {"claims", &options->claims},   {"mode", &options->mode},
    };
    zend_long size;
    for (size_t i = 0; i < sizeof bits / sizeof *bits; i++) {
        if (strcmp(ZSTR_VAL(name), bits[i].name) == 0) {
            options->bits |= zend_is_true(value) ? bits[i].bit : 0;
            return true;
        }
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (strcmp(ZSTR_VAL(name), numbers[i].name) == 0) {
            if (!take_size(name, value, UINT32_MAX, &size))
                return false;
            *numbers[i].number = (uint32_t)size;
            return true;
        }
    }
    if (strcmp(ZSTR_VAL(name), "locks") == 0 && Z_TYPE_P(value) == IS_STRING) {
        options->locks = Z_STRVAL_P(value);
        return true;
    }
    if (strcmp(ZSTR_VAL(name), "lock_wait") == 0)
        return wait_of(zval_get_double(value), "Option \"lock_wait\"", &options->lock_wait_ms);
    if (strcmp(ZSTR_VAL(name), "capacity") == 0 && take_size(name, value, ZEND_LONG_MAX, &size))
        options->capacity = (uint64_t)size;
    else if (strcmp(ZSTR_VAL(name), "mean_item") == 0 && take_size(name, value, ZEND_LONG_MAX, &size))
        options->mean_item = (uint64_t)size;
    else
        return false;
    return true;
}

static PHP_METHOD(Kennel_Cache, __construct) {
    kennel_options options = KENNEL_OPTIONS_INIT;
    zend_string *path = NULL;
    HashTable *given = NULL;
    int result;
    ZEND_PARSE_PARAMETERS_START(0, 2)
    Z_PARAM_OPTIONAL
    Z_PARAM_PATH_STR_OR_NULL(path)
    Z_PARAM_ARRAY_HT(given)
    ZEND_PARSE_PARAMETERS_END();
    if (!each_option(given, &options, take_of_file))
        RETURN_THROWS();
    result = php_kennel_handle(path != NULL ? ZSTR_VAL(path) : NULL, &options, &cache_of(Z_OBJ_P(ZEND_THIS))->k);
    if (result < 0)
        php_kennel_throw(result);
}

static PHP_METHOD(Kennel_Cache, default) {
    int result;
    ZEND_PARSE_PARAMETERS_NONE();
    if (!KENNEL_G(enabled)) {
        php_kennel_throw_text(KENNEL_E_BAD_OPTION, "the setting kennel.enabled is off", "");
        RETURN_THROWS();
    }
    result = php_kennel_open();
    if (result < 0) {
        php_kennel_throw(result);
        RETURN_THROWS();
    }
    object_init_ex(return_value, kennel_cache_ce);
    cache_of(Z_OBJ_P(return_value))->k = KENNEL_G(cache);
}

static PHP_METHOD(Kennel_Cache, destroy) {
    zend_string *path = NULL;
    ZEND_PARSE_PARAMETERS_START(0, 1)
    Z_PARAM_OPTIONAL
    Z_PARAM_PATH_STR_OR_NULL(path)
    ZEND_PARSE_PARAMETERS_END();
    php_kennel_forget(path != NULL ? ZSTR_VAL(path) : NULL);
    return_done(return_value, kennel_destroy(path != NULL ? ZSTR_VAL(path) : NULL));
}

static PHP_METHOD(Kennel_Cache, namespace) {
    zend_string *name;
    double ttl = 0;
    bool is_default = true;
    int64_t ttl_ms;
    kennel *made;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_PATH_STR(name)
    Z_PARAM_OPTIONAL
    Z_PARAM_DOUBLE_OR_NULL(ttl, is_default)
    ZEND_PARSE_PARAMETERS_END();
    if (!ttl_of(ttl, is_default, 2, &ttl_ms))
        RETURN_THROWS();
    result = php_kennel_handle_of_namespace(k, ZSTR_VAL(name), MAX(ttl_ms, 0), &made);
    if (result < 0) {
        php_kennel_throw(result);
        RETURN_THROWS();
    }
    object_init_ex(return_value, kennel_cache_ce);
    cache_of(Z_OBJ_P(return_value))->k = made;
}

static PHP_METHOD(Kennel_Cache, get) {
    zend_string *key;
    zval *otherwise = NULL;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_STR(key)
    Z_PARAM_OPTIONAL
    Z_PARAM_ZVAL(otherwise)
    ZEND_PARSE_PARAMETERS_END();
    result = php_kennel_read(k, key, return_value);
    if (EXPECTED(result == KENNEL_OK))
        return;
    if (result < 0)
        php_kennel_throw(result);
    else if (otherwise != NULL)
        ZVAL_COPY(return_value, otherwise);
}

static PHP_METHOD(Kennel_Cache, getItem) {
    kennel_item item = KENNEL_ITEM_INIT;
    zend_string *key;
    zval value;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_STR(key)
    ZEND_PARSE_PARAMETERS_END();
    result = php_kennel_read_item(k, key, &value, &item);
    if (result == KENNEL_OK) {
        php_kennel_new_item(return_value, &value, &item);
        zval_ptr_dtor(&value);
    } else if (result < 0) {
        php_kennel_throw(result);
    }
}

static PHP_METHOD(Kennel_Cache, getMultiple) {
    HashTable *keys;
    zval *otherwise = NULL;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_ARRAY_HT(keys)
    Z_PARAM_OPTIONAL
    Z_PARAM_ZVAL(otherwise)
    ZEND_PARSE_PARAMETERS_END();
    array_init_size(return_value, zend_hash_num_elements(keys));
    result = php_kennel_read_many(k, keys, otherwise, Z_ARRVAL_P(return_value));
    if (result < 0)
        php_kennel_throw(result);
}

static PHP_METHOD(Kennel_Cache, has) {
    zend_string *key;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_STR(key)
    ZEND_PARSE_PARAMETERS_END();
    return_done(return_value, kennel_contains(k, ZSTR_VAL(key), ZSTR_LEN(key)));
}

/* set() or add(), with a time after which the value is stale, or with tags. */
static int write_with(kennel *k, zend_string *key, zval *value, const kennel_set_options *times, bool only_new) {
    kennel_set_options how = *times;
    kennel_encoded bytes;
    int result;
    if (!only_new && how.soft_ttl_ms == 0 && how.tag_count == 0)
        return php_kennel_write(k, key, value, how.ttl_ms);
    if (!php_kennel_encode(value, &bytes))
        return KENNEL_THROWN;
    how.flags = bytes.flags;
    result = only_new ? kennel_add(k, ZSTR_VAL(key), ZSTR_LEN(key), bytes.at, bytes.len, &how)
                      : kennel_set_with(k, ZSTR_VAL(key), ZSTR_LEN(key), bytes.at, bytes.len, &how, NULL);
    php_kennel_encoded_free(&bytes);
    return result;
}

static void set(INTERNAL_FUNCTION_PARAMETERS, bool only_new) {
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    zend_string *key;
    zval *value;
    double ttl = 0, stale = 0;
    bool is_default = true, never_stale = true;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(2, 4)
    Z_PARAM_STR(key)
    Z_PARAM_ZVAL(value)
    Z_PARAM_OPTIONAL
    Z_PARAM_DOUBLE_OR_NULL(ttl, is_default)
    Z_PARAM_DOUBLE_OR_NULL(stale, never_stale)
    ZEND_PARSE_PARAMETERS_END();
    if (!ttl_of(ttl, is_default, 3, &how.ttl_ms) || !ttl_of(stale, never_stale, 4, &how.soft_ttl_ms))
        RETURN_THROWS();
    return_done(return_value, write_with(k, key, value, &how, only_new));
}

static PHP_METHOD(Kennel_Cache, set) {
    set(INTERNAL_FUNCTION_PARAM_PASSTHRU, false);
}

static PHP_METHOD(Kennel_Cache, add) {
    set(INTERNAL_FUNCTION_PARAM_PASSTHRU, true);
}

static PHP_METHOD(Kennel_Cache, setMultiple) {
    HashTable *values;
    double ttl = 0;
    bool is_default = true;
    int64_t ttl_ms;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_ARRAY_HT(values)
    Z_PARAM_OPTIONAL
    Z_PARAM_DOUBLE_OR_NULL(ttl, is_default)
    ZEND_PARSE_PARAMETERS_END();
    if (!ttl_of(ttl, is_default, 2, &ttl_ms))
        RETURN_THROWS();
    result = php_kennel_write_many(k, values, ttl_ms);
    if (result < 0)
        php_kennel_throw(result);
}

static PHP_METHOD(Kennel_Cache, setTagged) {
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    zend_string *key;
    zval *value;
    HashTable *tags;
    kennel_names names;
    double ttl = 0, stale = 0;
    bool is_default = true, never_stale = true;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(3, 5)
    Z_PARAM_STR(key)
    Z_PARAM_ZVAL(value)
    Z_PARAM_ARRAY_HT(tags)
    Z_PARAM_OPTIONAL
    Z_PARAM_DOUBLE_OR_NULL(ttl, is_default)
    Z_PARAM_DOUBLE_OR_NULL(stale, never_stale)
    ZEND_PARSE_PARAMETERS_END();
    if (!ttl_of(ttl, is_default, 4, &how.ttl_ms) || !ttl_of(stale, never_stale, 5, &how.soft_ttl_ms) ||
        !php_kennel_names(tags, "tag", &names))
        RETURN_THROWS();
    how.tags = names.bytes;
    how.tag_count = names.count;
    return_done(return_value, write_with(k, key, value, &how, false));
    php_kennel_free_names(&names);
}

static PHP_METHOD(Kennel_Cache, delete) {
    zend_string *key;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_STR(key)
    ZEND_PARSE_PARAMETERS_END();
    return_done(return_value, kennel_delete(k, ZSTR_VAL(key), ZSTR_LEN(key)));
}

static PHP_METHOD(Kennel_Cache, deleteMultiple) {
    HashTable *keys;
    zend_long removed;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_ARRAY_HT(keys)
    ZEND_PARSE_PARAMETERS_END();
    result = php_kennel_delete_many(k, keys, &removed);
    if (result < 0) {
        php_kennel_throw(result);
        RETURN_THROWS();
    }
    RETURN_LONG(removed);
}

static PHP_METHOD(Kennel_Cache, touch) {
    zend_string *key;
    double ttl = 0;
    bool is_default = true;
    int64_t ttl_ms;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_STR(key)
    Z_PARAM_OPTIONAL
    Z_PARAM_DOUBLE_OR_NULL(ttl, is_default)
    ZEND_PARSE_PARAMETERS_END();
    if (!ttl_of(ttl, is_default, 2, &ttl_ms))
        RETURN_THROWS();
    return_done(return_value, kennel_touch(k, ZSTR_VAL(key), ZSTR_LEN(key), ttl_ms != 0 ? ttl_ms : KENNEL_NEVER));
}

static void change(INTERNAL_FUNCTION_PARAMETERS, bool minus) {
    zend_string *key;
    zend_long by = 1, initial = 0;
    bool no_initial = true, is_default = true;
    double ttl = 0;
    int64_t ttl_ms;
    zval number;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 4)
    Z_PARAM_STR(key)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(by)
    Z_PARAM_LONG_OR_NULL(initial, no_initial)
    Z_PARAM_DOUBLE_OR_NULL(ttl, is_default)
    ZEND_PARSE_PARAMETERS_END();
    if (by == ZEND_LONG_MIN) {
        zend_argument_value_error(2, "must be greater than PHP_INT_MIN");
        RETURN_THROWS();
    }
    if (!ttl_of(ttl, is_default, 4, &ttl_ms))
        RETURN_THROWS();
    result = php_kennel_change(k, key, minus ? -by : by, no_initial ? NULL : &initial, ttl_ms, &number);
    if (result == KENNEL_OK)
        RETURN_COPY_VALUE(&number);
    if (result == KENNEL_E_NOT_A_NUMBER)
        php_kennel_throw_text(result, "the value of this key is not a number", "");
    else if (result == KENNEL_E_OVERFLOW)
        php_kennel_throw_text(result, "the number would not be an int of PHP; it is as it was", "");
    else if (result < 0)
        php_kennel_throw(result);
}

static PHP_METHOD(Kennel_Cache, increment) {
    change(INTERNAL_FUNCTION_PARAM_PASSTHRU, false);
}

static PHP_METHOD(Kennel_Cache, decrement) {
    change(INTERNAL_FUNCTION_PARAM_PASSTHRU, true);
}

static PHP_METHOD(Kennel_Cache, compareAndSwap) {
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    kennel_encoded bytes;
    zend_string *key;
    zend_long stamp;
    uint64_t new_stamp;
    zval *value;
    double ttl = 0;
    bool is_default = true;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(3, 4)
    Z_PARAM_STR(key)
    Z_PARAM_LONG(stamp)
    Z_PARAM_ZVAL(value)
    Z_PARAM_OPTIONAL
    Z_PARAM_DOUBLE_OR_NULL(ttl, is_default)
    ZEND_PARSE_PARAMETERS_END();
    if (!ttl_of(ttl, is_default, 4, &how.ttl_ms) || !php_kennel_encode(value, &bytes))
        RETURN_THROWS();
    how.flags = bytes.flags;
    result = kennel_compare_and_swap(k, ZSTR_VAL(key), ZSTR_LEN(key), (uint64_t)stamp, bytes.at, bytes.len, &how,
                                     &new_stamp);
    php_kennel_encoded_free(&bytes);
    if (result == KENNEL_OK)
        RETURN_LONG((zend_long)new_stamp);
    if (result < 0)
        php_kennel_throw(result);
}

static PHP_METHOD(Kennel_Cache, compareAndDelete) {
    zend_string *key;
    zend_long stamp;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(2, 2)
    Z_PARAM_STR(key)
    Z_PARAM_LONG(stamp)
    ZEND_PARSE_PARAMETERS_END();
    return_done(return_value, kennel_compare_and_delete(k, ZSTR_VAL(key), ZSTR_LEN(key), (uint64_t)stamp));
}

static bool take_ms(zend_string *name, zval *value, int64_t *ms) {
    double seconds = zval_get_double(value);
    *ms = 0;
    if (Z_TYPE_P(value) == IS_NULL)
        return true;
    if (!(seconds > 0))
        zend_value_error("Option \"%s\" must be greater than 0", ZSTR_VAL(name));
    else
        *ms = php_kennel_seconds(seconds);
    return !EG(exception);
}

static bool take_how(void *into, zend_string *name, zval *value) {
    kennel_how *how = into;
    if (strcmp(ZSTR_VAL(name), "stale_after") == 0)
        return take_ms(name, value, &how->options.soft_ttl_ms);
    if (strcmp(ZSTR_VAL(name), "absent_ttl") == 0)
        return take_ms(name, value, &how->options.absent_ttl_ms);
    if (strcmp(ZSTR_VAL(name), "claim_max_age") == 0) {
        if (!take_ms(name, value, &how->options.claim_max_age_ms))
            return false;
        if (how->options.claim_max_age_ms == KENNEL_NEVER)
            zend_value_error("Option \"claim_max_age\" must be finite");
        return !EG(exception);
    }
    if (strcmp(ZSTR_VAL(name), "tags") == 0 && Z_TYPE_P(value) == IS_ARRAY && how->tags.room == 0) {
        if (!php_kennel_names(Z_ARRVAL_P(value), "tag", &how->tags))
            return false;
        how->options.tags = how->tags.bytes;
        how->options.tag_count = how->tags.count;
        return true;
    }
    if (strcmp(ZSTR_VAL(name), "wait") == 0)
        return wait_of(zval_get_double(value), "Option \"wait\"", &how->wait_ms);
    if (strcmp(ZSTR_VAL(name), "unprotected") == 0)
        how->unprotected = zend_is_true(value);
    else if (strcmp(ZSTR_VAL(name), "or_uncached") == 0)
        how->or_uncached = zend_is_true(value);
    else
        return false;
    return true;
}

static PHP_METHOD(Kennel_Cache, getOrCreate) {
    kennel_how how = {KENNEL_CREATE_OPTIONS_INIT, 30000, false, false, {0, 0, NULL, NULL}};
    zend_fcall_info fci;
    zend_fcall_info_cache fcc;
    zend_string *key;
    HashTable *options = NULL;
    double ttl = 0;
    bool is_default = true;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(2, 4)
    Z_PARAM_STR(key)
    Z_PARAM_FUNC(fci, fcc)
    Z_PARAM_OPTIONAL
    Z_PARAM_DOUBLE_OR_NULL(ttl, is_default)
    Z_PARAM_ARRAY_HT(options)
    ZEND_PARSE_PARAMETERS_END();
    if (!ttl_of(ttl, is_default, 3, &how.options.ttl_ms) || !each_option(options, &how, take_how)) {
        php_kennel_free_names(&how.tags);
        RETURN_THROWS();
    }
    result = php_kennel_create(k, key, &fci, &fcc, &how, return_value);
    php_kennel_free_names(&how.tags);
    if (result < 0)
        php_kennel_throw(result);
}

static PHP_METHOD(Kennel_Cache, lock) {
    zend_string *key;
    kennel_key_lock lock;
    double wait = 0, max_age = 0;
    bool forever = true, no_max = true;
    int64_t wait_ms = KENNEL_FOREVER, max_age_ms;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 3)
    Z_PARAM_STR(key)
    Z_PARAM_OPTIONAL
    Z_PARAM_DOUBLE_OR_NULL(wait, forever)
    Z_PARAM_DOUBLE_OR_NULL(max_age, no_max)
    ZEND_PARSE_PARAMETERS_END();
    if ((!forever && !wait_of(wait, "The wait", &wait_ms)) || !ttl_of(max_age, no_max, 3, &max_age_ms))
        RETURN_THROWS();
    result = php_kennel_wait_for_lock(k, key, wait_ms, MAX(max_age_ms, 0), &lock);
    if (result == KENNEL_OK)
        php_kennel_new_lock(return_value, lock);
    else if (result < 0)
        php_kennel_throw(result);
}

static PHP_METHOD(Kennel_Cache, isClaimed) {
    zend_string *key;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_STR(key)
    ZEND_PARSE_PARAMETERS_END();
    return_done(return_value, kennel_is_claimed(k, ZSTR_VAL(key), ZSTR_LEN(key)));
}

static PHP_METHOD(Kennel_Cache, keys) {
    zend_string *prefix = NULL;
    kennel_listing listing;
    char *key;
    size_t n;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(0, 1)
    Z_PARAM_OPTIONAL
    Z_PARAM_STR(prefix)
    ZEND_PARSE_PARAMETERS_END();
    array_init(return_value);
    result = kennel_list(k, prefix != NULL ? ZSTR_VAL(prefix) : NULL, prefix != NULL ? ZSTR_LEN(prefix) : 0, &listing);
    while (result == KENNEL_OK && (result = kennel_next(listing, &key, &n, NULL)) == KENNEL_OK) {
        add_next_index_stringl(return_value, key, n);
        kennel_free(key);
    }
    if (result < 0)
        php_kennel_throw(result);
}

static PHP_METHOD(Kennel_Cache, invalidate) {
    bool soft = false;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(0, 1)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(soft)
    ZEND_PARSE_PARAMETERS_END();
    result = kennel_invalidate(k, soft);
    if (result < 0)
        php_kennel_throw(result);
}

static PHP_METHOD(Kennel_Cache, invalidateTags) {
    HashTable *tags;
    kennel_names names;
    bool soft = false;
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_ARRAY_HT(tags)
    Z_PARAM_OPTIONAL
    Z_PARAM_BOOL(soft)
    ZEND_PARSE_PARAMETERS_END();
    if (!php_kennel_names(tags, "tag", &names))
        RETURN_THROWS();
    result = kennel_invalidate_tags(k, names.bytes, names.count, soft);
    php_kennel_free_names(&names);
    if (result < 0)
        php_kennel_throw(result);
}

static PHP_METHOD(Kennel_Cache, removeNamespace) {
    zend_string *name;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_PATH_STR(name)
    ZEND_PARSE_PARAMETERS_END();
    return_done(return_value, kennel_remove_namespace(k, ZSTR_VAL(name)));
}

static PHP_METHOD(Kennel_Cache, stats) {
    int result;
    CACHE_OF_THIS(k);
    ZEND_PARSE_PARAMETERS_NONE();
    result = php_kennel_stats(k, return_value);
    if (result < 0)
        php_kennel_throw(result);
}

#include "cache_arginfo.h"

void php_kennel_register_cache(void) {
    zend_class_entry ce;
    INIT_CLASS_ENTRY(ce, "Kennel\\Cache", cache_methods);
    kennel_cache_ce = zend_register_internal_class(&ce);
    kennel_cache_ce->create_object = make_cache;
    kennel_cache_ce->ce_flags |= ZEND_ACC_FINAL | ZEND_ACC_NO_DYNAMIC_PROPERTIES | ZEND_ACC_NOT_SERIALIZABLE;
    memcpy(&cache_handlers, &std_object_handlers, sizeof cache_handlers);
    cache_handlers.offset = XtOffsetOf(cache_object, std);
    cache_handlers.clone_obj = NULL;
}
