/* Calls that answer at once. */
#include "addon.h"
#include <stdlib.h>

/* What get() returns instead of a length: MISS, or TOO_SMALL minus the length of a value that does not fit. */
enum { MISS = -1, TOO_SMALL = -2 };

static napi_value a_number(napi_env env, double number) {
    napi_value made = NULL;
    napi_create_double(env, number, &made);
    return made;
}

/* The length of a value; -1 for a miss; -2 minus the length for a value that does not fit. */
static napi_value length_of(environment *e, int result, size_t len) {
    if (result == KENNEL_OK)
        return a_number(e->env, (double)len);
    if (result == KENNEL_NONE)
        return a_number(e->env, MISS);
    if (result == KENNEL_E_BUFFER_TOO_SMALL)
        return a_number(e->env, TOO_SMALL - (double)len);
    return failed(e, result);
}

/* get(key, offset): writes the value to the pool. */
static napi_value get(napi_env env, napi_callback_info info) {
    napi_value args[2];
    bytes key;
    handle *h = called(env, info, 2, args);
    if (h == NULL || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    size_t len, offset = to_u32(env, args[1]);
    environment *e = h->of;
    size_t room = offset < e->pool_room ? e->pool_room - offset : 0;
    int result = kennel_get_into(h->k, key.at, key.len, e->pool + offset, room, &len);
    free_bytes(&key);
    return length_of(e, result, len);
}

/* look(key, offset): does the same as get(), and sets state[0] to whether the value is stale. */
static napi_value look(napi_env env, napi_callback_info info) {
    napi_value args[2];
    bytes key;
    handle *h = called(env, info, 2, args);
    if (h == NULL || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    size_t offset = to_u32(env, args[1]);
    environment *e = h->of;
    size_t room = offset < e->pool_room ? e->pool_room - offset : 0;
    kennel_item item = KENNEL_ITEM_INIT;
    int result = kennel_get_item_into(h->k, key.at, key.len, e->pool + offset, room, &item);
    e->state[0] = item.is_stale;
    free_bytes(&key);
    return length_of(e, result, item.len);
}

/* getInto(key, buffer): writes the value to the caller's buffer. */
static napi_value get_into(napi_env env, napi_callback_info info) {
    napi_value args[2];
    bytes key;
    handle *h = called(env, info, 2, args);
    if (h == NULL)
        return NULL;
    void *at;
    size_t room, len;
    napi_typedarray_type type;
    if (napi_get_typedarray_info(env, args[1], &type, &room, &at, NULL, NULL) != napi_ok || type != napi_uint8_array) {
        napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", "the target: expected a Buffer or a Uint8Array");
        return NULL;
    }
    if (!to_bytes(env, args[0], "the key", &key))
        return NULL;
    int result = kennel_get_into(h->k, key.at, key.len, at, room, &len);
    free_bytes(&key);
    return length_of(h->of, result, len);
}

/* getString(key) */
static napi_value get_string(napi_env env, napi_callback_info info) {
    napi_value args[1], made;
    bytes key;
    handle *h = called(env, info, 1, args);
    if (h == NULL || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    size_t len;
    char *value = NULL, *at = h->of->scratch;
    int result = kennel_get_into(h->k, key.at, key.len, at, SCRATCH, &len);
    if (result == KENNEL_E_BUFFER_TOO_SMALL) {
        result = kennel_get(h->k, key.at, key.len, &value, &len);
        at = value;
    }
    free_bytes(&key);
    if (result < 0)
        return failed(h->of, result);
    made = result == KENNEL_OK ? to_string(env, at, len) : undefined(env);
    kennel_free(value);
    return made;
}

/* getItem(key): [value, stamp, expires, softExpires, created, flags, isStale] */
static napi_value get_item(napi_env env, napi_callback_info info) {
    napi_value args[1], list, field;
    bytes key;
    handle *h = called(env, info, 1, args);
    if (h == NULL || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    char *value;
    kennel_item item = KENNEL_ITEM_INIT;
    int result = kennel_get_item(h->k, key.at, key.len, &value, &item);
    free_bytes(&key);
    if (result != KENNEL_OK)
        return result < 0 ? failed(h->of, result) : undefined(env);
    napi_create_array_with_length(env, 7, &list);
    napi_set_element(env, list, 0, to_buffer(env, value, item.len));
    kennel_free(value);
    napi_set_element(env, list, 1, from_u64(env, item.stamp));
    double numbers[] = {(double)item.expires_ms, (double)item.soft_expires_ms, (double)item.created_ms, item.flags};
    for (uint32_t i = 0; i < 4; i++)
        napi_set_element(env, list, 2 + i, a_number(env, numbers[i]));
    napi_get_boolean(env, item.is_stale != 0, &field);
    napi_set_element(env, list, 6, field);
    return list;
}

static napi_value has(napi_env env, napi_callback_info info) {
    napi_value args[1];
    bytes key;
    handle *h = called(env, info, 1, args);
    if (h == NULL || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    int result = kennel_contains(h->k, key.at, key.len);
    free_bytes(&key);
    return a_bool(h->of, result);
}

/* set(key, value, ttl) */
static napi_value set(napi_env env, napi_callback_info info) {
    napi_value args[3];
    bytes key, value;
    handle *h = called(env, info, 3, args);
    if (h == NULL || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    if (!to_bytes(env, args[1], "the value", &value)) {
        free_bytes(&key);
        return NULL;
    }
    int result = kennel_set(h->k, key.at, key.len, value.at, value.len, to_ms(env, args[2]));
    free_bytes(&key);
    free_bytes(&value);
    return result < 0 ? failed(h->of, result) : undefined(env);
}

/* store(how, key, value, ttl, softTtl, flags, tags, stamp): how is 0 to set, 1 to add, 2 to replace, 3 to compare and
 * swap. Returns undefined if the value was not stored; otherwise its stamp, or 0 for 1 and 2. */
static napi_value store(napi_env env, napi_callback_info info) {
    napi_value args[8];
    bytes key, value;
    many tags;
    uint64_t stamp = 0, expected = 0;
    int result;
    handle *h = called(env, info, 8, args);
    if (h == NULL)
        return NULL;
    uint32_t kind = to_u32(env, args[0]);
    if (kind == 3 && !to_u64(env, args[7], &expected))
        return NULL;
    if (!to_bytes(env, args[1], "the key", &key))
        return NULL;
    if (!to_bytes(env, args[2], "the value", &value)) {
        free_bytes(&key);
        return NULL;
    }
    if (!to_many(env, args[6], "a tag", &tags)) {
        free_bytes(&key);
        free_bytes(&value);
        return NULL;
    }
    kennel_set_options how = {sizeof how, to_ms(env, args[3]), to_ms(env, args[4]), to_u32(env, args[5]), 0, tags.each,
                              tags.count};
    if (kind == 0)
        result = kennel_set_with(h->k, key.at, key.len, value.at, value.len, &how, &stamp);
    else if (kind == 1)
        result = kennel_add(h->k, key.at, key.len, value.at, value.len, &how);
    else if (kind == 2)
        result = kennel_replace(h->k, key.at, key.len, value.at, value.len, &how);
    else
        result = kennel_compare_and_swap(h->k, key.at, key.len, expected, value.at, value.len, &how, &stamp);
    free_bytes(&key);
    free_bytes(&value);
    free_many(&tags);
    if (result != KENNEL_OK)
        return result < 0 ? failed(h->of, result) : undefined(env);
    return from_u64(env, stamp);
}

/* delete(key, stamp) */
static napi_value delete(napi_env env, napi_callback_info info) {
    napi_value args[2];
    bytes key;
    uint64_t stamp = 0;
    handle *h = called(env, info, 2, args);
    if (h == NULL)
        return NULL;
    bool always = is_undefined(env, args[1]);
    if ((!always && !to_u64(env, args[1], &stamp)) || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    int result =
        always ? kennel_delete(h->k, key.at, key.len) : kennel_compare_and_delete(h->k, key.at, key.len, stamp);
    free_bytes(&key);
    return a_bool(h->of, result);
}

/* touch(key, ttl) */
static napi_value touch(napi_env env, napi_callback_info info) {
    napi_value args[2];
    bytes key;
    handle *h = called(env, info, 2, args);
    if (h == NULL || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    int result = kennel_touch(h->k, key.at, key.len, to_ms(env, args[1]));
    free_bytes(&key);
    return a_bool(h->of, result);
}

/* count(key, isDown, delta, initial, ttl, tags): the new number, or undefined if the key has none */
static napi_value count(napi_env env, napi_callback_info info) {
    napi_value args[6];
    bytes key;
    many tags;
    bool is_down = false;
    uint64_t delta, initial = 0, number;
    int result;
    handle *h = called(env, info, 6, args);
    if (h == NULL || !to_u64(env, args[2], &delta))
        return NULL;
    napi_get_value_bool(env, args[1], &is_down);
    bool begins = !is_undefined(env, args[3]);
    if ((begins && !to_u64(env, args[3], &initial)) || !to_bytes(env, args[0], "the key", &key))
        return NULL;
    if (!to_many(env, args[5], "a tag", &tags)) {
        free_bytes(&key);
        return NULL;
    }
    kennel_set_options how = {sizeof how, to_ms(env, args[4]), 0, 0, 0, tags.each, tags.count};
    if (begins && is_down)
        result = kennel_decr_or(h->k, key.at, key.len, delta, initial, &how, &number);
    else if (begins)
        result = kennel_incr_or(h->k, key.at, key.len, delta, initial, &how, &number);
    else if (is_down)
        result = kennel_decr(h->k, key.at, key.len, delta, &number);
    else
        result = kennel_incr(h->k, key.at, key.len, delta, &number);
    free_bytes(&key);
    free_many(&tags);
    if (result != KENNEL_OK)
        return result < 0 ? failed(h->of, result) : undefined(env);
    return from_u64(env, number);
}

static napi_value invalidate(napi_env env, napi_callback_info info) {
    napi_value args[1];
    handle *h = called(env, info, 1, args);
    if (h == NULL)
        return NULL;
    bool soft = false;
    napi_get_value_bool(env, args[0], &soft);
    int result = kennel_invalidate(h->k, soft);
    return result < 0 ? failed(h->of, result) : undefined(env);
}

static napi_value stats(napi_env env, napi_callback_info info) {
    handle *h = called(env, info, 0, NULL);
    if (h == NULL)
        return NULL;
    char *text;
    int result = kennel_stats_json(h->k, &text);
    if (result < 0)
        return failed(h->of, result);
    napi_value made = to_string(env, text, strlen(text));
    kennel_free(text);
    return made;
}

static void end_keys(napi_env env, void *search, void *hint) {
    (void)env;
    (void)hint;
    kennel_end_list(*(kennel_listing *)search);
    free(search);
}

/* keys(prefix): a search, for nextKeys(). It ends with its last key, or when JavaScript collects it. */
static napi_value keys(napi_env env, napi_callback_info info) {
    napi_value args[1], made = NULL;
    bytes prefix;
    handle *h = called(env, info, 1, args);
    if (h == NULL || !to_bytes(env, args[0], "the prefix", &prefix))
        return NULL;
    kennel_listing listing;
    int result = kennel_list(h->k, prefix.at, prefix.len, &listing);
    free_bytes(&prefix);
    if (result < 0)
        return failed(h->of, result);
    kennel_listing *search = malloc(sizeof *search);
    if (search != NULL)
        *search = listing;
    if (search == NULL || napi_create_external(env, search, end_keys, NULL, &made) != napi_ok) {
        kennel_end_list(listing);
        free(search);
    }
    return made;
}

/* nextKeys(search, count): the next count keys, or fewer at the end */
static napi_value next_keys(napi_env env, napi_callback_info info) {
    napi_value args[2], list;
    handle *h = called(env, info, 2, args);
    void *search = NULL;
    if (h == NULL || napi_get_value_external(env, args[0], &search) != napi_ok)
        return NULL;
    uint32_t most = to_u32(env, args[1]);
    napi_create_array(env, &list);
    for (uint32_t i = 0; i < most; i++) {
        char *key;
        size_t len;
        int result = kennel_next(*(kennel_listing *)search, &key, &len, NULL);
        if (result < 0)
            return failed(h->of, result);
        if (result == KENNEL_NONE)
            break;
        napi_set_element(env, list, i, to_buffer(env, key, len));
        kennel_free(key);
    }
    return list;
}

/* namespace(name, ttl) */
static napi_value namespace(napi_env env, napi_callback_info info) {
    napi_value args[2];
    bytes name;
    handle *h = called(env, info, 2, args);
    if (h == NULL || !to_bytes(env, args[0], "the name", &name))
        return NULL;
    char text[SHORT_KEY + 1] = "";
    if (name.len < sizeof text)
        memcpy(text, name.at, name.len);
    free_bytes(&name);
    kennel *k;
    int result = kennel_namespace(h->k, text, to_ms(env, args[1]), &k);
    return result < 0 ? failed(h->of, result) : handle_object(h->of, k);
}

const method calls[] = {
    {"get", get}, {"look", look}, {"getInto", get_into}, {"getString", get_string}, {"getItem", get_item},
    {"has", has}, {"set", set}, {"store", store}, {"delete", delete}, {"touch", touch}, {"count", count},
    {"invalidate", invalidate}, {"stats", stats}, {"keys", keys}, {"nextKeys", next_keys}, {"namespace", namespace},
    {NULL, NULL},
};
