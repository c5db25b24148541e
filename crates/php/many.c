/* Calls for many keys, and lists of tags. PHP frees its own memory at the end of the request. The library's memory is
 * freed here, even if PHP jumps out after a fatal error. */
#include "php_kennel.h"

static zend_string *name_of(zval *name, const char *what) {
    ZVAL_DEREF(name);
    if (Z_TYPE_P(name) == IS_STRING)
        return zend_string_copy(Z_STR_P(name));
    if (Z_TYPE_P(name) == IS_LONG)
        return zend_long_to_str(Z_LVAL_P(name));
    zend_type_error("Kennel\\Cache: each %s must be a string, %s given", what, zend_zval_type_name(name));
    return NULL;
}

void php_kennel_free_names(kennel_names *names) {
    for (size_t i = 0; i < names->count; i++)
        zend_string_release(names->texts[i]);
    if (names->room > 0) {
        efree(names->texts);
        efree(names->bytes);
    }
    memset(names, 0, sizeof *names);
}

/* Collects the names in an array. Returns false after it has thrown an exception; then there is nothing to free. */
bool php_kennel_names(HashTable *list, const char *what, kennel_names *names) {
    zval *each;
    memset(names, 0, sizeof *names);
    names->room = zend_hash_num_elements(list);
    if (names->room == 0)
        return true;
    names->texts = safe_emalloc(names->room, sizeof *names->texts, 0);
    names->bytes = safe_emalloc(names->room, sizeof *names->bytes, 0);
    ZEND_HASH_FOREACH_VAL(list, each) {
        zend_string *text = name_of(each, what);
        if (text == NULL) {
            php_kennel_free_names(names);
            return false;
        }
        names->texts[names->count] = text;
        names->bytes[names->count].data = ZSTR_VAL(text);
        names->bytes[names->count++].len = ZSTR_LEN(text);
    }
    ZEND_HASH_FOREACH_END();
    return true;
}

/* Puts the values that were found into an array, under their keys. */
static int take_all(const kennel_names *names, char **values, const kennel_item *items, zval *otherwise, HashTable *into) {
    for (size_t i = 0; i < names->count; i++) {
        zval value;
        int result = KENNEL_NONE;
        if (values[i] != NULL)
            result = php_kennel_decode(&value, values[i], items[i].len, items[i].flags);
        if (result < 0)
            return result;
        if (result == KENNEL_NONE && otherwise != NULL)
            ZVAL_COPY(&value, otherwise);
        else if (result == KENNEL_NONE)
            ZVAL_NULL(&value);
        zend_symtable_update(into, names->texts[i], &value);
    }
    return KENNEL_OK;
}

int php_kennel_read_many(kennel *k, HashTable *keys, zval *otherwise, HashTable *into) {
    const kennel_item empty = KENNEL_ITEM_INIT;
    kennel_names names;
    kennel_item *items;
    char **values, *volatile memory = NULL;
    volatile int result;
    if (!php_kennel_names(keys, "key", &names))
        return KENNEL_THROWN;
    if (names.count == 0)
        return KENNEL_OK;
    items = safe_emalloc(names.count, sizeof *items, 0);
    values = safe_emalloc(names.count, sizeof *values, 0);
    for (size_t i = 0; i < names.count; i++)
        items[i] = empty;
    result = kennel_get_multi(k, names.bytes, names.count, values, items, (char **)&memory);
    if (result >= 0) {
        zend_try {
            result = take_all(&names, values, items, otherwise, into);
        }
        zend_catch {
            kennel_free(memory);
            zend_bailout();
        }
        zend_end_try();
    }
    kennel_free(memory);
    efree(values);
    efree(items);
    php_kennel_free_names(&names);
    return result;
}

int php_kennel_write_many(kennel *k, HashTable *given, int64_t ttl_ms) {
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    size_t room = zend_hash_num_elements(given), count = 0;
    kennel_encoded *encoded;
    zend_string **keys, *name;
    kennel_pair *pairs;
    zend_ulong number;
    zval *value, *copies;
    int result = KENNEL_OK;
    if (room == 0)
        return KENNEL_OK;
    how.ttl_ms = ttl_ms;
    encoded = safe_emalloc(room, sizeof *encoded, 0);
    keys = safe_emalloc(room, sizeof *keys, 0);
    pairs = safe_emalloc(room, sizeof *pairs, 0);
    copies = safe_emalloc(room, sizeof *copies, 0);
    ZEND_HASH_FOREACH_KEY_VAL(given, number, name, value) {
        /* Serializing a value may call code of the program, which may change other values that are references. */
        ZVAL_COPY_DEREF(&copies[count], value);
        if (!php_kennel_encode(&copies[count], &encoded[count])) {
            zval_ptr_dtor(&copies[count]);
            result = KENNEL_THROWN;
            break;
        }
        keys[count] = name != NULL ? zend_string_copy(name) : zend_long_to_str((zend_long)number);
        pairs[count] = (kennel_pair){ZSTR_VAL(keys[count]), ZSTR_LEN(keys[count]), encoded[count].at, encoded[count].len,
                                     encoded[count].flags, 0};
        count++;
    }
    ZEND_HASH_FOREACH_END();
    if (result == KENNEL_OK)
        result = kennel_set_multi(k, pairs, count, &how, NULL);
    for (size_t i = 0; i < count; i++) {
        php_kennel_encoded_free(&encoded[i]);
        zval_ptr_dtor(&copies[i]);
        zend_string_release(keys[i]);
    }
    efree(copies);
    efree(pairs);
    efree(keys);
    efree(encoded);
    return result;
}

/* Removes many keys, and sets removed to how many of them had a value. */
int php_kennel_delete_many(kennel *k, HashTable *keys, zend_long *removed) {
    kennel_names names;
    int result, *results;
    *removed = 0;
    if (!php_kennel_names(keys, "key", &names))
        return KENNEL_THROWN;
    if (names.count == 0)
        return KENNEL_OK;
    results = safe_emalloc(names.count, sizeof *results, 0);
    result = kennel_delete_multi(k, names.bytes, names.count, results);
    for (size_t i = 0; i < names.count; i++)
        *removed += results[i] == KENNEL_OK;
    efree(results);
    php_kennel_free_names(&names);
    return result;
}
