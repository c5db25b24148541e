/* Claims and locks. A call that must wait gives its wait to the waiting thread, and returns a promise. */
#include "addon.h"
#include <stdlib.h>

/* The array [result, value, claim], the answer of ask(). */
static napi_value found(environment *e, int result, const char *value, size_t len, uint64_t claim) {
    napi_env env = e->env;
    napi_value list, number;
    napi_create_array_with_length(env, 3, &list);
    napi_create_int32(env, result, &number);
    napi_set_element(env, list, 0, number);
    if (value != NULL)
        napi_set_element(env, list, 1, to_buffer(env, value, len));
    if (result == KENNEL_CREATE) {
        hold(e, claim, false);
        napi_set_element(env, list, 2, from_u64(env, claim));
    }
    return list;
}

static napi_value locked(environment *e, int result, uint64_t lock) {
    if (result != KENNEL_OK)
        return undefined(e->env);
    hold(e, lock, true);
    return from_u64(e->env, lock);
}

static napi_value stored(environment *e, int result) {
    napi_value made = NULL;
    napi_get_boolean(e->env, result == KENNEL_OK, &made);
    return made;
}

napi_value answer_of(wait *w) {
    switch (w->kind) {
    case WAIT_CLAIM:
        return found(w->of, w->result, w->value, w->len, w->got);
    case WAIT_LOCK:
        return locked(w->of, w->result, w->got);
    default:
        return stored(w->of, w->result);
    }
}

static napi_value no_memory(napi_env env) {
    napi_throw_error(env, "ERR_KENNEL_NO_MEMORY", "there is no memory for a wait");
    return NULL;
}

/* ask(key, ttl, softTtl, absentTtl, wait, claimMaxAge, flags, bits, tags): the answer, or the promise of it */
static napi_value ask(napi_env env, napi_callback_info info) {
    napi_value args[9];
    bytes key;
    many tags;
    handle *h = called(env, info, 9, args);
    if (h == NULL || !to_many(env, args[8], "a tag", &tags))
        return NULL;
    kennel_create_options how = {sizeof how, to_ms(env, args[1]), to_ms(env, args[2]), to_ms(env, args[3]),
                                 to_ms(env, args[4]), to_ms(env, args[5]), to_u32(env, args[6]), to_u32(env, args[7]),
                                 tags.each, tags.count};
    kennel_request request;
    if (!to_bytes(env, args[0], "the key", &key)) {
        free_many(&tags);
        return NULL;
    }
    int result = kennel_ask(h->k, key.at, key.len, &how, &request);
    free_bytes(&key);
    free_many(&tags);
    if (result < 0)
        return failed(h->of, result);
    char *value;
    size_t len;
    kennel_claim claim;
    result = kennel_poll(request, &value, &len, &claim);
    if (result == KENNEL_WAIT) {
        wait *w = new_wait(h, WAIT_CLAIM, KENNEL_FOREVER, NULL);
        if (w == NULL) {
            kennel_withdraw(request);
            return no_memory(env);
        }
        w->number = request;
        return begin_wait(w);
    }
    if (result < 0) {
        napi_value nothing = failed(h->of, result);
        if (result == KENNEL_E_NO_HANDLE)
            kennel_withdraw(request);
        return nothing;
    }
    napi_value answer = found(h->of, result, value, len, claim);
    kennel_free(value);
    return answer;
}

/* complete(claim, value, ttl, softTtl, flags, tags, lockWait): whether the value is stored, or the promise of that */
static napi_value complete(napi_env env, napi_callback_info info) {
    napi_value args[7];
    bytes value;
    many tags;
    uint64_t claim;
    handle *h = handle_of(env, info, 7, args);
    if (!to_u64(env, args[0], &claim) || !to_many(env, args[5], "a tag", &tags))
        return NULL;
    if (!to_bytes(env, args[1], "the value", &value)) {
        free_many(&tags);
        return NULL;
    }
    kennel_set_options how = {sizeof how, to_ms(env, args[2]), to_ms(env, args[3]), to_u32(env, args[4]), 0, tags.each,
                              tags.count};
    int result = kennel_try_complete(claim, value.at, value.len, &how);
    if (result == KENNEL_WAIT) {
        wait *w = new_wait(h, WAIT_STORE, to_ms(env, args[6]), &value);
        free_bytes(&value);
        if (w == NULL) {
            free_many(&tags);
            return no_memory(env);
        }
        w->number = claim;
        w->how = how;
        /* The wait takes over the memory of the tags, which are copies of strings. */
        w->tags = tags;
        let_go(h->of, claim);
        return begin_wait(w);
    }
    free_bytes(&value);
    free_many(&tags);
    if (result != KENNEL_E_BAD_OPTION)
        let_go(h->of, claim);
    return result < 0 ? failed(h->of, result) : stored(h->of, result);
}

/* Ends a claim or lock with a function of the library. */
static napi_value end(napi_env env, napi_callback_info info, int (*by)(uint64_t)) {
    napi_value args[1];
    uint64_t number;
    handle *h = handle_of(env, info, 1, args);
    if (!to_u64(env, args[0], &number))
        return NULL;
    let_go(h->of, number);
    return a_bool(h->of, by(number));
}

static napi_value complete_absent(napi_env env, napi_callback_info info) {
    return end(env, info, kennel_complete_absent);
}

static napi_value refuse(napi_env env, napi_callback_info info) {
    return end(env, info, kennel_refuse);
}

static napi_value fail(napi_env env, napi_callback_info info) {
    return end(env, info, kennel_fail);
}

static napi_value unlock(napi_env env, napi_callback_info info) {
    return end(env, info, kennel_unlock);
}

/* lock(key, wait, maxAge): the lock, undefined if another caller has it, or the promise of either */
static napi_value lock(napi_env env, napi_callback_info info) {
    napi_value args[3];
    bytes key;
    kennel_key_lock got;
    handle *h = called(env, info, 3, args);
    if (h == NULL || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    int64_t wait_ms = to_ms(env, args[1]), max_age = to_ms(env, args[2]);
    int result = kennel_lock(h->k, key.at, key.len, 0, max_age, &got);
    if (result == KENNEL_NONE && wait_ms != 0) {
        wait *w = new_wait(h, WAIT_LOCK, wait_ms, &key);
        free_bytes(&key);
        if (w == NULL)
            return no_memory(env);
        w->max_age = max_age;
        return begin_wait(w);
    }
    free_bytes(&key);
    return result < 0 ? failed(h->of, result) : locked(h->of, result, got);
}

static napi_value is_claimed(napi_env env, napi_callback_info info) {
    napi_value args[1];
    bytes key;
    handle *h = called(env, info, 1, args);
    if (h == NULL || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    int result = kennel_is_claimed(h->k, key.at, key.len);
    free_bytes(&key);
    return a_bool(h->of, result);
}

const method creations[] = {
    {"ask", ask}, {"complete", complete}, {"completeAbsent", complete_absent}, {"refuse", refuse}, {"fail", fail},
    {"lock", lock}, {"unlock", unlock}, {"isClaimed", is_claimed}, {NULL, NULL},
};
