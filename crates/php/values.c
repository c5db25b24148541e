/* Converts PHP values to bytes and back. Text is stored unchanged. */
#include "php_kennel.h"

static bool is_serialized(const char *at, size_t len) {
    return len >= KENNEL_SERIALIZED_LEN && memcmp(at, KENNEL_SERIALIZED, KENNEL_SERIALIZED_LEN) == 0;
}

/* Converts a value to bytes. Returns false if serializing it threw an exception. */
bool php_kennel_encode(zval *value, kennel_encoded *bytes) {
    php_serialize_data_t data;
    ZVAL_DEREF(value);
    memset(&bytes->text, 0, sizeof bytes->text);
    switch (Z_TYPE_P(value)) {
    case IS_STRING:
        if (UNEXPECTED(is_serialized(Z_STRVAL_P(value), Z_STRLEN_P(value))))
            break;
        bytes->at = Z_STRVAL_P(value);
        bytes->len = Z_STRLEN_P(value);
        bytes->flags = 0;
        return true;
    case IS_LONG:
        bytes->at = zend_print_long_to_buf(bytes->digits + sizeof bytes->digits - 1, Z_LVAL_P(value));
        bytes->len = bytes->digits + sizeof bytes->digits - 1 - bytes->at;
        bytes->flags = KENNEL_INT;
        return true;
    default:
        break;
    }
    smart_str_appendl(&bytes->text, KENNEL_SERIALIZED, KENNEL_SERIALIZED_LEN);
    PHP_VAR_SERIALIZE_INIT(data);
    php_var_serialize(&bytes->text, value, &data);
    PHP_VAR_SERIALIZE_DESTROY(data);
    if (EG(exception)) {
        smart_str_free(&bytes->text);
        return false;
    }
    bytes->at = ZSTR_VAL(bytes->text.s);
    bytes->len = ZSTR_LEN(bytes->text.s);
    bytes->flags = 0;
    return true;
}

void php_kennel_encoded_free(kennel_encoded *bytes) {
    smart_str_free(&bytes->text);
}

/* The bytes must be a copy, because unserializing may call code of the program, which may read the cache again. */
static int unserialize(zval *value, zend_string *copy) {
    php_unserialize_data_t data;
    const unsigned char *start = (const unsigned char *)ZSTR_VAL(copy), *end = start + ZSTR_LEN(copy);
    const unsigned char *at = start + KENNEL_SERIALIZED_LEN;
    int done;
    ZVAL_NULL(value);
    PHP_VAR_UNSERIALIZE_INIT(data);
    done = php_var_unserialize(value, &at, end, &data);
    /* This calls __wakeup() and __unserialize() of the new objects. */
    PHP_VAR_UNSERIALIZE_DESTROY(data);
    zend_string_release(copy);
    if (done && !EG(exception))
        return KENNEL_OK;
    zval_ptr_dtor(value);
    ZVAL_NULL(value);
    return EG(exception) ? KENNEL_THROWN : KENNEL_NONE;
}

/* Whether the bytes of a value could be those of an int. */
static bool could_be_int(const char *at, size_t len) {
    size_t i = len > 0 && at[0] == '-';
    if (len > 20 || i == len)
        return false;
    while (i < len && at[i] >= '0' && at[i] <= '9')
        i++;
    return i == len;
}

static void decode_int(zval *value, const char *at, size_t len) {
    char digits[24];
    zend_long number;
    double large;
    memcpy(digits, at, len);
    digits[len] = 0;
    if (is_numeric_string(digits, len, &number, &large, false) == IS_LONG)
        ZVAL_LONG(value, number);
    else
        ZVAL_DOUBLE(value, large);
}

/* Converts bytes to a value. A value that PHP cannot read is a miss. Flags with another meaning belong to other
 * programs. */
int php_kennel_decode(zval *value, const char *at, size_t len, uint32_t flags) {
    if (UNEXPECTED(is_serialized(at, len)))
        return unserialize(value, zend_string_init(at, len, 0));
    if (flags == KENNEL_INT && could_be_int(at, len))
        decode_int(value, at, len);
    else
        ZVAL_STRINGL_FAST(value, at, len);
    return KENNEL_OK;
}

/* Reads a value that does not fit into the buffer. Its memory is allocated outside of the library, because PHP jumps
 * out of its allocator if there is no memory. */
static int read_large(kennel *k, zend_string *key, zval *value, kennel_item *item) {
    int result;
    do {
        zend_string *text = zend_string_alloc(item->len, 0);
        result = kennel_get_item_into(k, ZSTR_VAL(key), ZSTR_LEN(key), ZSTR_VAL(text), ZSTR_LEN(text), item);
        if (result != KENNEL_OK) {
            zend_string_efree(text);
            continue;
        }
        if (item->len < ZSTR_LEN(text))
            text = zend_string_truncate(text, item->len, 0);
        ZSTR_VAL(text)[item->len] = 0;
        if (is_serialized(ZSTR_VAL(text), item->len))
            return unserialize(value, text);
        ZVAL_STR(value, text);
    } while (result == KENNEL_E_BUFFER_TOO_SMALL);
    return result;
}

/* Reads a value with its metadata. If the result is not KENNEL_OK, the value is null. */
int php_kennel_read_item(kennel *k, zend_string *key, zval *value, kennel_item *item) {
    char *buffer = KENNEL_G(buffer);
    int result = kennel_get_item_into(k, ZSTR_VAL(key), ZSTR_LEN(key), buffer, KENNEL_BUFFER, item);
    if (EXPECTED(result == KENNEL_OK))
        return php_kennel_decode(value, buffer, item->len, item->flags);
    ZVAL_NULL(value);
    return result == KENNEL_E_BUFFER_TOO_SMALL ? read_large(k, key, value, item) : result;
}

/* Reads a value. Only a value that could be an int is looked up a second time, for its flags. */
int php_kennel_read(kennel *k, zend_string *key, zval *value) {
    kennel_item item = KENNEL_ITEM_INIT;
    char *buffer = KENNEL_G(buffer);
    size_t len;
    int result = kennel_get_into(k, ZSTR_VAL(key), ZSTR_LEN(key), buffer, KENNEL_BUFFER, &len);
    if (EXPECTED(result == KENNEL_OK))
        return UNEXPECTED(could_be_int(buffer, len)) ? php_kennel_read_item(k, key, value, &item)
                                                     : php_kennel_decode(value, buffer, len, 0);
    ZVAL_NULL(value);
    item.len = len;
    return result == KENNEL_E_BUFFER_TOO_SMALL ? read_large(k, key, value, &item) : result;
}

int php_kennel_write(kennel *k, zend_string *key, zval *value, int64_t ttl_ms) {
    kennel_encoded bytes;
    int result;
    if (UNEXPECTED(!php_kennel_encode(value, &bytes)))
        return KENNEL_THROWN;
    if (bytes.flags == 0) {
        result = kennel_set(k, ZSTR_VAL(key), ZSTR_LEN(key), bytes.at, bytes.len, ttl_ms);
    } else {
        kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
        how.ttl_ms = ttl_ms;
        how.flags = bytes.flags;
        result = kennel_set_with(k, ZSTR_VAL(key), ZSTR_LEN(key), bytes.at, bytes.len, &how, NULL);
    }
    php_kennel_encoded_free(&bytes);
    return result;
}

int php_kennel_write_new(kennel *k, zend_string *key, zval *value, int64_t ttl_ms) {
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    kennel_encoded bytes;
    int result;
    if (!php_kennel_encode(value, &bytes))
        return KENNEL_THROWN;
    how.ttl_ms = ttl_ms;
    how.flags = bytes.flags;
    result = kennel_add(k, ZSTR_VAL(key), ZSTR_LEN(key), bytes.at, bytes.len, &how);
    php_kennel_encoded_free(&bytes);
    return result;
}

/* Converts seconds to milliseconds, at least 1. */
int64_t php_kennel_seconds(double seconds) {
    double ms = seconds * 1000;
    return ms >= 9e18 ? KENNEL_NEVER : ms < 1 ? 1 : (int64_t)ms;
}
