/* The functions kennel_*, with the parameters and results of APCu's functions. They do not throw if the cache fails. */
#include "php_kennel.h"

/* A key of an array that maps keys to values. Like APCu, this accepts numbers, too. */
static zend_string *array_key(zend_string *key, zend_ulong number) {
    return key != NULL ? zend_string_copy(key) : zend_long_to_str((zend_long)number);
}

/* A key in a list of keys, or NULL if it is neither a string nor a number. */
static zend_string *listed_key(zval *key) {
    ZVAL_DEREF(key);
    return Z_TYPE_P(key) == IS_STRING ? zend_string_copy(Z_STR_P(key))
           : Z_TYPE_P(key) == IS_LONG ? zend_long_to_str(Z_LVAL_P(key))
                                      : NULL;
}

/* Converts APCu's time to live, in seconds, to milliseconds; 0 stands for no end. Returns false for a negative time,
 * which removes the value. */
static bool ttl_of(zend_long seconds, int64_t *ttl_ms) {
    *ttl_ms = seconds > ZEND_LONG_MAX / 1000 ? KENNEL_NEVER : seconds * 1000;
    return seconds >= 0;
}

PHP_FUNCTION(kennel_enabled) {
    ZEND_PARSE_PARAMETERS_NONE();
    RETURN_BOOL(KENNEL_G(enabled) && php_kennel_default() != NULL);
}

typedef int (*kennel_writer)(kennel *k, zend_string *key, zval *value, int64_t ttl_ms);

static int remove_instead(kennel *k, zend_string *key, zval *value, int64_t ttl_ms) {
    return kennel_delete(k, ZSTR_VAL(key), ZSTR_LEN(key)) < 0 ? KENNEL_NONE : KENNEL_OK;
}

static void store(INTERNAL_FUNCTION_PARAMETERS, kennel_writer writer) {
    zend_string *key, *name;
    HashTable *values;
    zend_ulong number;
    zval *value = NULL, none;
    zend_long ttl = 0;
    int64_t ttl_ms;
    kennel *k;
    ZEND_PARSE_PARAMETERS_START(1, 3)
    Z_PARAM_ARRAY_HT_OR_STR(values, key)
    Z_PARAM_OPTIONAL
    Z_PARAM_ZVAL(value)
    Z_PARAM_LONG(ttl)
    ZEND_PARSE_PARAMETERS_END();
    if (UNEXPECTED((k = php_kennel_default()) == NULL))
        RETURN_FALSE;
    if (UNEXPECTED(!ttl_of(ttl, &ttl_ms)))
        writer = remove_instead;
    if (key != NULL) {
        ZVAL_NULL(&none);
        RETURN_BOOL(writer(k, key, value != NULL ? value : &none, ttl_ms) == KENNEL_OK);
    }
    array_init(return_value);
    ZEND_HASH_FOREACH_KEY_VAL(values, number, name, value) {
        zend_string *own = array_key(name, number);
        if (writer(k, own, value, ttl_ms) != KENNEL_OK)
            add_assoc_long_ex(return_value, ZSTR_VAL(own), ZSTR_LEN(own), -1);
        zend_string_release(own);
        if (EG(exception))
            break;
    }
    ZEND_HASH_FOREACH_END();
}

PHP_FUNCTION(kennel_store) {
    store(INTERNAL_FUNCTION_PARAM_PASSTHRU, php_kennel_write);
}

PHP_FUNCTION(kennel_add) {
    store(INTERNAL_FUNCTION_PARAM_PASSTHRU, php_kennel_write_new);
}

PHP_FUNCTION(kennel_fetch) {
    zend_string *key;
    HashTable *keys;
    zval *success = NULL, *each;
    kennel *k;
    ZEND_PARSE_PARAMETERS_START(1, 2)
    Z_PARAM_ARRAY_HT_OR_STR(keys, key)
    Z_PARAM_OPTIONAL
    Z_PARAM_ZVAL(success)
    ZEND_PARSE_PARAMETERS_END();
    k = php_kennel_default();
    if (success != NULL)
        ZEND_TRY_ASSIGN_REF_BOOL(success, k != NULL && key == NULL);
    if (UNEXPECTED(k == NULL))
        RETURN_FALSE;
    if (key != NULL) {
        if (php_kennel_read(k, key, return_value) != KENNEL_OK)
            RETURN_FALSE;
        if (success != NULL)
            ZEND_TRY_ASSIGN_REF_TRUE(success);
        return;
    }
    array_init(return_value);
    ZEND_HASH_FOREACH_VAL(keys, each) {
        zend_string *own = listed_key(each);
        zval value;
        if (own == NULL) {
            php_error_docref(NULL, E_WARNING, "each key must be a string");
            continue;
        }
        if (php_kennel_read(k, own, &value) == KENNEL_OK)
            zend_symtable_update(Z_ARRVAL_P(return_value), own, &value);
        zend_string_release(own);
        if (EG(exception))
            break;
    }
    ZEND_HASH_FOREACH_END();
}

PHP_FUNCTION(kennel_exists) {
    zend_string *key;
    HashTable *keys;
    zval *each;
    kennel *k;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_ARRAY_HT_OR_STR(keys, key)
    ZEND_PARSE_PARAMETERS_END();
    if ((k = php_kennel_default()) == NULL)
        RETURN_FALSE;
    if (key != NULL)
        RETURN_BOOL(kennel_contains(k, ZSTR_VAL(key), ZSTR_LEN(key)) == KENNEL_OK);
    array_init(return_value);
    ZEND_HASH_FOREACH_VAL(keys, each) {
        zend_string *own = listed_key(each);
        zval yes;
        ZVAL_TRUE(&yes);
        if (own == NULL) {
            php_error_docref(NULL, E_WARNING, "each key must be a string");
            continue;
        }
        if (kennel_contains(k, ZSTR_VAL(own), ZSTR_LEN(own)) == KENNEL_OK)
            zend_symtable_update(Z_ARRVAL_P(return_value), own, &yes);
        zend_string_release(own);
    }
    ZEND_HASH_FOREACH_END();
}

PHP_FUNCTION(kennel_delete) {
    zend_string *key;
    HashTable *keys;
    zval *each;
    kennel *k;
    ZEND_PARSE_PARAMETERS_START(1, 1)
    Z_PARAM_ARRAY_HT_OR_STR(keys, key)
    ZEND_PARSE_PARAMETERS_END();
    if ((k = php_kennel_default()) == NULL)
        RETURN_FALSE;
    if (key != NULL)
        RETURN_BOOL(kennel_delete(k, ZSTR_VAL(key), ZSTR_LEN(key)) == KENNEL_OK);
    array_init(return_value);
    ZEND_HASH_FOREACH_VAL(keys, each) {
        zend_string *own = listed_key(each);
        if (own == NULL)
            php_error_docref(NULL, E_WARNING, "each key must be a string");
        if (own == NULL || kennel_delete(k, ZSTR_VAL(own), ZSTR_LEN(own)) != KENNEL_OK) {
            Z_TRY_ADDREF_P(each);
            add_next_index_zval(return_value, each);
        }
        if (own != NULL)
            zend_string_release(own);
    }
    ZEND_HASH_FOREACH_END();
}

static void add(INTERNAL_FUNCTION_PARAMETERS, bool minus) {
    zend_string *key;
    zend_long step = 1, ttl = 0;
    zval *success = NULL, number;
    int64_t ttl_ms;
    kennel *k;
    int result = KENNEL_NONE;
    ZEND_PARSE_PARAMETERS_START(1, 4)
    Z_PARAM_STR(key)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(step)
    Z_PARAM_ZVAL(success)
    Z_PARAM_LONG(ttl)
    ZEND_PARSE_PARAMETERS_END();
    ZVAL_FALSE(&number);
    k = php_kennel_default();
    if (k != NULL && (!minus || step != ZEND_LONG_MIN)) {
        if (minus)
            step = -step;
        ttl_of(MAX(ttl, 0), &ttl_ms);
        result = php_kennel_change(k, key, step, &step, ttl_ms, &number);
    }
    if (success != NULL)
        ZEND_TRY_ASSIGN_REF_BOOL(success, result == KENNEL_OK);
    if (result != KENNEL_OK)
        RETURN_FALSE;
    RETURN_COPY_VALUE(&number);
}

PHP_FUNCTION(kennel_inc) {
    add(INTERNAL_FUNCTION_PARAM_PASSTHRU, false);
}

PHP_FUNCTION(kennel_dec) {
    add(INTERNAL_FUNCTION_PARAM_PASSTHRU, true);
}

PHP_FUNCTION(kennel_cas) {
    zend_string *key;
    zend_long old, new_number;
    kennel *k;
    ZEND_PARSE_PARAMETERS_START(3, 3)
    Z_PARAM_STR(key)
    Z_PARAM_LONG(old)
    Z_PARAM_LONG(new_number)
    ZEND_PARSE_PARAMETERS_END();
    if ((k = php_kennel_default()) == NULL)
        RETURN_FALSE;
    RETURN_BOOL(php_kennel_exchange(k, key, old, new_number) == KENNEL_OK);
}

PHP_FUNCTION(kennel_entry) {
    zend_string *key;
    zend_fcall_info fci;
    zend_fcall_info_cache fcc;
    zend_long ttl = 0;
    kennel_how how = {KENNEL_CREATE_OPTIONS_INIT, 30000, true, true, {0, 0, NULL, NULL}};
    kennel *k;
    ZEND_PARSE_PARAMETERS_START(2, 3)
    Z_PARAM_STR(key)
    Z_PARAM_FUNC(fci, fcc)
    Z_PARAM_OPTIONAL
    Z_PARAM_LONG(ttl)
    ZEND_PARSE_PARAMETERS_END();
    if ((k = php_kennel_default()) == NULL) {
        zval parameter;
        ZVAL_STR_COPY(&parameter, key);
        fci.params = &parameter;
        fci.param_count = 1;
        fci.retval = return_value;
        zend_call_function(&fci, &fcc);
        zval_ptr_dtor(&parameter);
        return;
    }
    ttl_of(MAX(ttl, 0), &how.options.ttl_ms);
    php_kennel_create(k, key, &fci, &fcc, &how, return_value);
}

PHP_FUNCTION(kennel_clear_cache) {
    kennel *k;
    ZEND_PARSE_PARAMETERS_NONE();
    RETURN_BOOL((k = php_kennel_default()) != NULL && kennel_invalidate(k, 0) == KENNEL_OK);
}

/* Returns why the last call in this thread failed. */
PHP_FUNCTION(kennel_error) {
    ZEND_PARSE_PARAMETERS_NONE();
    if (*kennel_last_facts() == 0)
        RETURN_NULL();
    RETURN_STRING(kennel_last_facts());
}

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_bool, 0, 0, _IS_BOOL, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_error, 0, 0, IS_STRING, 1)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arginfo_store, 0, 1, MAY_BE_ARRAY | MAY_BE_BOOL)
ZEND_ARG_TYPE_MASK(0, key, MAY_BE_ARRAY | MAY_BE_STRING, NULL)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, value, IS_MIXED, 0, "null")
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, ttl, IS_LONG, 0, "0")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_fetch, 0, 1, IS_MIXED, 0)
ZEND_ARG_TYPE_MASK(0, key, MAY_BE_ARRAY | MAY_BE_STRING, NULL)
ZEND_ARG_INFO_WITH_DEFAULT_VALUE(1, success, "null")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arginfo_keys, 0, 1, MAY_BE_ARRAY | MAY_BE_BOOL)
ZEND_ARG_TYPE_MASK(0, key, MAY_BE_ARRAY | MAY_BE_STRING, NULL)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arginfo_inc, 0, 1, MAY_BE_LONG | MAY_BE_DOUBLE | MAY_BE_FALSE)
ZEND_ARG_TYPE_INFO(0, key, IS_STRING, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, step, IS_LONG, 0, "1")
ZEND_ARG_INFO_WITH_DEFAULT_VALUE(1, success, "null")
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, ttl, IS_LONG, 0, "0")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_cas, 0, 3, _IS_BOOL, 0)
ZEND_ARG_TYPE_INFO(0, key, IS_STRING, 0)
ZEND_ARG_TYPE_INFO(0, old, IS_LONG, 0)
ZEND_ARG_TYPE_INFO(0, new, IS_LONG, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_entry, 0, 2, IS_MIXED, 0)
ZEND_ARG_TYPE_INFO(0, key, IS_STRING, 0)
ZEND_ARG_TYPE_INFO(0, callback, IS_CALLABLE, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, ttl, IS_LONG, 0, "0")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arginfo_info, 0, 0, MAY_BE_ARRAY | MAY_BE_FALSE)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, limited, _IS_BOOL, 0, "false")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_key_info, 0, 1, IS_ARRAY, 1)
ZEND_ARG_TYPE_INFO(0, key, IS_STRING, 0)
ZEND_END_ARG_INFO()

const zend_function_entry kennel_functions[] = {
    PHP_FE(kennel_enabled, arginfo_bool)
    PHP_FE(kennel_store, arginfo_store)
    PHP_FE(kennel_add, arginfo_store)
    PHP_FE(kennel_fetch, arginfo_fetch)
    PHP_FE(kennel_exists, arginfo_keys)
    PHP_FE(kennel_delete, arginfo_keys)
    PHP_FE(kennel_inc, arginfo_inc)
    PHP_FE(kennel_dec, arginfo_inc)
    PHP_FE(kennel_cas, arginfo_cas)
    PHP_FE(kennel_entry, arginfo_entry)
    PHP_FE(kennel_clear_cache, arginfo_bool)
    PHP_FE(kennel_cache_info, arginfo_info)
    PHP_FE(kennel_sma_info, arginfo_info)
    PHP_FE(kennel_key_info, arginfo_key_info)
    PHP_FE(kennel_error, arginfo_error)
    PHP_FE_END
};
