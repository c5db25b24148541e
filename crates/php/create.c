/* Exactly one caller across all processes creates a missing value. Its claim ends however the creator ends: with a
 * result, an exception, exit, a fatal error, or at the memory limit or the time limit. */
#include "php_kennel.h"
#include "zend_fibers.h"
#include <time.h>

/* A wait consists of parts of this length. Between them PHP handles signals and its time limit. */
#define PART_MS 100

typedef struct {
    kennel_claim claim;
    zend_fiber *fiber;
} creation;

static int64_t clock_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Does what PHP does between two opcodes: handles signals and the time limit. */
static bool interrupted(void) {
#if PHP_VERSION_ID >= 80200
    if (zend_atomic_bool_exchange_ex(&EG(vm_interrupt), false)) {
        if (zend_atomic_bool_load_ex(&EG(timed_out)))
            zend_timeout();
#else
    if (EG(vm_interrupt)) {
        EG(vm_interrupt) = false;
        if (EG(timed_out))
            zend_timeout();
#endif
        if (zend_interrupt_function != NULL)
            zend_interrupt_function(EG(current_execute_data));
    }
    return EG(exception) != NULL;
}

/* Returns the length of the next part of a wait, in milliseconds. */
static int64_t part(int64_t wait_ms, int64_t since) {
    int64_t rest = wait_ms == KENNEL_FOREVER ? PART_MS : since + wait_ms - clock_ms();
    return rest < 0 ? 0 : MIN(rest, PART_MS);
}

/* Begins a creation, and waits in parts. If the result is KENNEL_OK, found is the value, in memory of the library. */
static int begin(kennel *k, zend_string *key, const kennel_how *how, char **found, kennel_item *item, kennel_claim *claim) {
    kennel_create_options options = how->options;
    int64_t since = clock_ms();
    for (;;) {
        int result;
        options.wait_ms = part(how->wait_ms, since);
        result = kennel_begin_item(k, ZSTR_VAL(key), ZSTR_LEN(key), &options, found, item, claim);
        if (result == KENNEL_OK)
            return result;
        kennel_free(*found);
        if (result != KENNEL_E_TIMED_OUT || options.wait_ms < PART_MS)
            return result;
        if (interrupted())
            return KENNEL_THROWN;
    }
}

/* Decodes a value that another caller has created. Frees its memory, even if PHP jumps out after a fatal error. */
static int take(char *found, const kennel_item *item, zval *value) {
    volatile int result = KENNEL_NONE;
    zend_try {
        result = php_kennel_decode(value, found, item->len, item->flags);
    }
    zend_catch {
        kennel_free(found);
        zend_bailout();
    }
    zend_end_try();
    kennel_free(found);
    return result;
}

int php_kennel_wait_for_lock(kennel *k, zend_string *key, int64_t wait_ms, int64_t max_age_ms, kennel_key_lock *lock) {
    int64_t since = clock_ms();
    for (;;) {
        int64_t wait = part(wait_ms, since);
        int result = kennel_lock(k, ZSTR_VAL(key), ZSTR_LEN(key), wait, max_age_ms, lock);
        if (result != KENNEL_NONE || wait < PART_MS)
            return result;
        if (interrupted())
            return KENNEL_THROWN;
    }
}

/* Calls the creator. Returns KENNEL_THROWN after an exception; exit is an exception, too. */
static int call(zend_string *key, zend_fcall_info *fci, zend_fcall_info_cache *fcc, zval *value) {
    zval parameter;
    int result;
    ZVAL_STR_COPY(&parameter, key);
    ZVAL_UNDEF(value);
    fci->params = &parameter;
    fci->param_count = 1;
    fci->retval = value;
    result = zend_call_function(fci, fcc);
    zval_ptr_dtor(&parameter);
    if (result == SUCCESS && !EG(exception) && !Z_ISUNDEF_P(value))
        return KENNEL_OK;
    zval_ptr_dtor(value);
    ZVAL_NULL(value);
    return KENNEL_THROWN;
}

/* Stores a created value. The caller gets the value even if it cannot be stored. */
static int complete(kennel_claim claim, const kennel_how *how, zval *value) {
    kennel_set_options as = KENNEL_SET_OPTIONS_INIT;
    kennel_encoded bytes;
    if (how->options.absent_ttl_ms != 0 && Z_TYPE_P(value) == IS_NULL) {
        kennel_complete_absent(claim);
        return KENNEL_OK;
    }
    if (!php_kennel_encode(value, &bytes)) {
        kennel_fail(claim);
        return KENNEL_THROWN;
    }
    as.flags = bytes.flags;
    kennel_complete_with(claim, bytes.at, bytes.len, &as);
    php_kennel_encoded_free(&bytes);
    return KENNEL_OK;
}

static int create_with(kennel_claim claim, zend_string *name, zend_string *key, zend_fcall_info *fci,
                       zend_fcall_info_cache *fcc, const kennel_how *how, zval *value) {
    creation *own = emalloc(sizeof *own);
    volatile int result = KENNEL_THROWN;
    volatile bool bailed = false;
    own->claim = claim;
    own->fiber = EG(active_fiber);
    zend_hash_update_ptr(&KENNEL_G(creating), name, own);
    zend_try {
        result = call(key, fci, fcc, value);
        if (result == KENNEL_OK)
            result = complete(claim, how, value);
        else
            kennel_fail(claim);
    }
    zend_catch {
        bailed = true;
    }
    zend_end_try();
    if (bailed) {
        /* This does nothing if the claim was completed. */
        kennel_fail(claim);
        zend_bailout();
    }
    zend_hash_del(&KENNEL_G(creating), name);
    return result;
}

/* Ends the claims that are left at the end of a request. */
void php_kennel_end_claims(void) {
    creation *own;
    ZEND_HASH_FOREACH_PTR(&KENNEL_G(creating), own) {
        kennel_fail(own->claim);
    }
    ZEND_HASH_FOREACH_END();
}

static int claim_and_create(kennel *k, zend_string *name, zend_string *key, zend_fcall_info *fci,
                            zend_fcall_info_cache *fcc, const kennel_how *how, zval *value) {
    for (;;) {
        kennel_item item = KENNEL_ITEM_INIT;
        kennel_claim claim;
        char *found;
        int result = begin(k, key, how, &found, &item, &claim);
        switch (result) {
        case KENNEL_CREATE:
            return create_with(claim, name, key, fci, fcc, how, value);
        case KENNEL_OK:
            /* Another caller has created the value. If PHP cannot read it, remove it and try again. */
            result = take(found, &item, value);
            if (result != KENNEL_NONE)
                return result;
            kennel_compare_and_delete(k, ZSTR_VAL(key), ZSTR_LEN(key), item.stamp);
            break;
        case KENNEL_NONE:
            ZVAL_NULL(value);
            return KENNEL_OK;
        case KENNEL_THROWN:
            return result;
        default:
            if (result == KENNEL_E_TIMED_OUT ? how->unprotected : result != KENNEL_E_RESTING && how->or_uncached)
                return call(key, fci, fcc, value);
            return result;
        }
    }
}

int php_kennel_create(kennel *k, zend_string *key, zend_fcall_info *fci, zend_fcall_info_cache *fcc, const kennel_how *how,
                  zval *value) {
    kennel_item item = KENNEL_ITEM_INIT;
    creation *own;
    zend_string *name;
    int result = php_kennel_read_item(k, key, value, &item);
    if (result == KENNEL_OK && !item.is_stale)
        return result;
    if (result == KENNEL_THROWN)
        return result;
    zval_ptr_dtor(value);
    ZVAL_NULL(value);
    if (result == KENNEL_NONE && item.len != 0)
        kennel_compare_and_delete(k, ZSTR_VAL(key), ZSTR_LEN(key), item.stamp);
    name = zend_string_concat2((const char *)&k, sizeof k, ZSTR_VAL(key), ZSTR_LEN(key));
    own = zend_hash_find_ptr(&KENNEL_G(creating), name);
    if (own == NULL) {
        result = claim_and_create(k, name, key, fci, fcc, how, value);
    } else if (own->fiber == EG(active_fiber)) {
        php_kennel_throw_text(KENNEL_E_OWN_CLAIM, "this creator is already creating the key", "not-within");
        result = KENNEL_THROWN;
    } else {
        /* Another fiber is creating the value. Waiting would keep that fiber from running. */
        result = call(key, fci, fcc, value);
    }
    zend_string_release(name);
    return result;
}
