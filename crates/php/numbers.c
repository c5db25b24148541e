/* Numbers. The library adds atomically to numbers from 0 to 2^64 - 1. For numbers below 0, this file reads the value
 * and exchanges it. */
#include "php_kennel.h"
#include <sys/time.h>

static int64_t now_ms(void) {
    struct timeval now;
    gettimeofday(&now, NULL);
    return (int64_t)now.tv_sec * 1000 + now.tv_usec / 1000;
}

/* How many milliseconds remain until a stored moment. */
static int64_t left(int64_t moment_ms) {
    return moment_ms == 0 ? KENNEL_NEVER : MAX(moment_ms - now_ms(), 1);
}

static int read_number(kennel *k, zend_string *key, zend_long *number, kennel_item *item) {
    char digits[32];
    int result = kennel_get_item_into(k, ZSTR_VAL(key), ZSTR_LEN(key), digits, sizeof digits - 1, item);
    double large;
    if (result == KENNEL_E_BUFFER_TOO_SMALL)
        return KENNEL_E_NOT_A_NUMBER;
    if (result != KENNEL_OK)
        return result;
    digits[item->len] = 0;
    if (item->flags != 0 && item->flags != KENNEL_INT)
        return KENNEL_E_NOT_A_NUMBER;
    switch (is_numeric_string(digits, item->len, number, &large, false)) {
    case IS_LONG:
        return KENNEL_OK;
    case IS_DOUBLE:
        return KENNEL_E_OVERFLOW;
    default:
        return KENNEL_E_NOT_A_NUMBER;
    }
}

/* Stores a number if the value is still the one that was read. The remaining time to live stays the same. */
static int write_number(kennel *k, zend_string *key, zend_long number, const kennel_item *item) {
    kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
    kennel_encoded bytes;
    zval value;
    ZVAL_LONG(&value, number);
    php_kennel_encode(&value, &bytes);
    how.ttl_ms = left(item->expires_ms);
    how.soft_ttl_ms = left(item->soft_expires_ms);
    how.flags = item->flags;
    return kennel_compare_and_swap(k, ZSTR_VAL(key), ZSTR_LEN(key), item->stamp, bytes.at, bytes.len, &how, NULL);
}

static int exchange_sum(kennel *k, zend_string *key, zend_long by, const zend_long *initial, int64_t ttl_ms,
                        zval *number) {
    for (;;) {
        kennel_item item = KENNEL_ITEM_INIT;
        zend_long sum;
        int result = read_number(k, key, &sum, &item);
        if (result == KENNEL_NONE) {
            if (initial == NULL)
                return KENNEL_NONE;
            ZVAL_LONG(number, *initial);
            result = php_kennel_write_new(k, key, number, ttl_ms);
        } else if (result == KENNEL_OK) {
            if (by > 0 ? sum > ZEND_LONG_MAX - by : sum < ZEND_LONG_MIN - by)
                return KENNEL_E_OVERFLOW;
            ZVAL_LONG(number, sum + by);
            result = write_number(k, key, sum + by, &item);
        }
        /* Another process has changed the value meanwhile, so try again. */
        if (result != KENNEL_NONE)
            return result;
    }
}

/* Adds to a number, or stores the initial number if the key has none. A sum that does not fit in an int becomes a
 * float. */
int php_kennel_change(kennel *k, zend_string *key, zend_long by, const zend_long *initial, int64_t ttl_ms, zval *number) {
    uint64_t sum, amount = by < 0 ? 0 - (uint64_t)by : (uint64_t)by;
    int result;
    if (initial != NULL && *initial < 0)
        return exchange_sum(k, key, by, initial, ttl_ms, number);
    if (initial != NULL) {
        kennel_set_options how = KENNEL_SET_OPTIONS_INIT;
        how.ttl_ms = ttl_ms;
        how.flags = KENNEL_INT;
        result = (by < 0 ? kennel_decr_or : kennel_incr_or)(k, ZSTR_VAL(key), ZSTR_LEN(key), amount, (uint64_t)*initial,
                                                            &how, &sum);
    } else {
        result = (by < 0 ? kennel_decr : kennel_incr)(k, ZSTR_VAL(key), ZSTR_LEN(key), amount, &sum);
    }
    if (result == KENNEL_E_NOT_A_NUMBER || result == KENNEL_E_OVERFLOW)
        return exchange_sum(k, key, by, initial, ttl_ms, number);
    if (result == KENNEL_OK) {
        if (sum > (uint64_t)ZEND_LONG_MAX)
            ZVAL_DOUBLE(number, (double)sum);
        else
            ZVAL_LONG(number, (zend_long)sum);
    }
    return result;
}

/* Replaces a number if it is the old one. */
int php_kennel_exchange(kennel *k, zend_string *key, zend_long old, zend_long new_number) {
    for (;;) {
        kennel_item item = KENNEL_ITEM_INIT;
        zend_long number;
        int result = read_number(k, key, &number, &item);
        if (result != KENNEL_OK)
            return result;
        if (number != old)
            return KENNEL_NONE;
        result = write_number(k, key, new_number, &item);
        if (result != KENNEL_NONE)
            return result;
    }
}
