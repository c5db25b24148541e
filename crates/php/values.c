/* Values of PHP as bytes, and back. Texts are stored as they are; ints and all else have a flag. */
#include "php_kennel.h"

/* Returns false if serializing threw an exception. */
bool php_kennel_encode(zval *value, kennel_bytes *bytes) {
    php_serialize_data_t data;
    ZVAL_DEREF(value);
    memset(&bytes->text, 0, sizeof bytes->text);
    switch (Z_TYPE_P(value)) {
    case IS_STRING:
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
        PHP_VAR_SERIALIZE_INIT(data);
        php_var_serialize(&bytes->text, value, &data);
        PHP_VAR_SERIALIZE_DESTROY(data);
        if (EG(exception)) {
            smart_str_free(&bytes->text);
            return false;
        }
        smart_str_0(&bytes->text);
        bytes->at = bytes->text.s != NULL ? ZSTR_VAL(bytes->text.s) : "";
        bytes->len = bytes->text.s != NULL ? ZSTR_LEN(bytes->text.s) : 0;
        bytes->flags = KENNEL_SERIALIZED;
        return true;
    }
}

void php_kennel_bytes_free(kennel_bytes *bytes) {
    smart_str_free(&bytes->text);
}

/* Unserializing may call the program, which may read the cache again: so the bytes must be a copy. */
static int unserialize(zval *value, zend_string *copy) {
    php_unserialize_data_t data;
    const unsigned char *at = (const unsigned char *)ZSTR_VAL(copy), *end = at + ZSTR_LEN(copy);
    int done;
    PHP_VAR_UNSERIALIZE_INIT(data);
    done = php_var_unserialize(value, &at, end, &data);
    /* Wakes objects up. */
    PHP_VAR_UNSERIALIZE_DESTROY(data);
    zend_string_release(copy);
    if (done && !EG(exception))
        return KENNEL_OK;
    zval_ptr_dtor(value);
    ZVAL_NULL(value);
    return EG(exception) ? KENNEL_THROWN : KENNEL_NONE;
}

static void decode_int(zval *value, const char *at, size_t len) {
    zend_long number;
    double large;
    switch (is_numeric_string(at, len, &number, &large, false)) {
    case IS_LONG:
        ZVAL_LONG(value, number);
        break;
    case IS_DOUBLE:
        ZVAL_DOUBLE(value, large);
        break;
    default:
        ZVAL_STRINGL(value, at, len);
    }
}

/* A value that PHP cannot read is a miss. The flags of other programs are theirs: their values are texts here. */
int php_kennel_decode(zval *value, const char *at, size_t len, uint32_t flags) {
    switch (flags) {
    case KENNEL_SERIALIZED:
        ZVAL_NULL(value);
        return unserialize(value, zend_string_init(at, len, 0));
    case KENNEL_INT: {
        char digits[64];
        if (len < sizeof digits) {
            memcpy(digits, at, len);
            digits[len] = 0;
            decode_int(value, digits, len);
            return KENNEL_OK;
        }
        break;
    }
    default:
        break;
    }
    ZVAL_STRINGL_FAST(value, at, len);
    return KENNEL_OK;
}

/* A value that does not fit into the buffer. No function of PHP is called within the library: if there is no memory, PHP
 * jumps out of its allocator. */
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
        if (item->flags == KENNEL_SERIALIZED) {
            ZVAL_NULL(value);
            return unserialize(value, text);
        }
        ZVAL_STR(value, text);
    } while (result == KENNEL_E_BUFFER_TOO_SMALL);
    return result;
}

/* Reads a value. With any other result than KENNEL_OK it is null. */
int php_kennel_read(kennel *k, zend_string *key, zval *value, kennel_item *item) {
    char *buffer = KENNEL_G(buffer);
    int result = kennel_get_item_into(k, ZSTR_VAL(key), ZSTR_LEN(key), buffer, KENNEL_BUFFER, item);
    if (EXPECTED(result == KENNEL_OK))
        return php_kennel_decode(value, buffer, item->len, item->flags);
    ZVAL_NULL(value);
    return result == KENNEL_E_BUFFER_TOO_SMALL ? read_large(k, key, value, item) : result;
}

int php_kennel_write(kennel *k, zend_string *key, zval *value, int64_t ttl_ms) {
    kennel_bytes bytes;
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
    php_kennel_bytes_free(&bytes);
    return result;
}

int php_kennel_write_new(kennel *k, zend_string *key, zval *value, int64_t ttl_ms) {
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    kennel_bytes bytes;
    int result;
    if (!php_kennel_encode(value, &bytes))
        return KENNEL_THROWN;
    how.ttl_ms = ttl_ms;
    how.flags = bytes.flags;
    result = kennel_add(k, ZSTR_VAL(key), ZSTR_LEN(key), bytes.at, bytes.len, &how);
    php_kennel_bytes_free(&bytes);
    return result;
}

/* Seconds as milliseconds, at least one. */
int64_t php_kennel_seconds(double seconds) {
    double ms = seconds * 1000;
    return ms >= 9e18 ? KENNEL_NEVER : ms < 1 ? 1 : (int64_t)ms;
}
