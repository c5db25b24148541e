/* Calls with many keys, and lists of tags. The lists come from lib/index.js, which has copied those of the program, so
 * no code of the program runs while they are read. */
#include "addon.h"
#include <stdlib.h>

static bool no_memory(napi_env env) {
    napi_throw_error(env, "ERR_KENNEL_NO_MEMORY", "there is no memory for a list");
    return false;
}

/* The characters of several strings, one after another. */
typedef struct characters {
    char *at;
    size_t used, room;
} characters;

static bool grow(napi_env env, characters *to, size_t needed) {
    size_t room = to->room * 2 > needed ? to->room * 2 : needed + 1024;
    char *more = realloc(to->at, room);
    if (more == NULL)
        return no_memory(env);
    to->at = more;
    to->room = room;
    return true;
}

/* Appends the characters of a string. Returns its length; -1 if the value is no string; -2 after it has thrown an
 * error. */
static int64_t add_string(napi_env env, napi_value value, characters *to) {
    size_t len, room = to->room - to->used;
    if (napi_get_value_string_utf8(env, value, to->at == NULL ? NULL : to->at + to->used, room, &len) != napi_ok)
        return -1;
    /* A character has at most four bytes, so a string that was cut off leaves at most three bytes of the room free. */
    if (len + 4 >= room) {
        napi_get_value_string_utf8(env, value, NULL, 0, &len);
        if (!grow(env, to, to->used + len + 1))
            return -2;
        napi_get_value_string_utf8(env, value, to->at + to->used, to->room - to->used, &len);
    }
    to->used += len;
    return (int64_t)len;
}

static bool add(napi_env env, napi_value value, const char *what, characters *to, kennel_bytes *out) {
    int64_t len = add_string(env, value, to);
    if (len != -1) {
        /* Its address is known only after all characters have been copied. */
        *out = (kennel_bytes){NULL, len < 0 ? 0 : (size_t)len};
        return len >= 0;
    }
    return array_bytes(env, value, what, &out->data, &out->len);
}

bool to_many(napi_env env, napi_value list, const char *what, many *out) {
    uint32_t count = 0;
    characters all = {NULL, 0, 0};
    *out = (many){NULL, 0, NULL};
    if (napi_get_array_length(env, list, &count) != napi_ok || count == 0)
        return true;
    out->each = calloc(count, sizeof *out->each);
    if (out->each == NULL)
        return no_memory(env);
    bool is_whole = true;
    for (uint32_t i = 0; is_whole && i < count; i++) {
        napi_value value;
        is_whole = napi_get_element(env, list, i, &value) == napi_ok && add(env, value, what, &all, &out->each[i]);
    }
    out->own = all.at;
    if (!is_whole) {
        free_many(out);
        return false;
    }
    out->count = count;
    const char *next = all.at;
    for (uint32_t i = 0; i < count; i++) {
        if (out->each[i].data != NULL)
            continue;
        out->each[i].data = next;
        next = next == NULL ? NULL : next + out->each[i].len;
    }
    return true;
}

void free_many(many *m) {
    free(m->each);
    free(m->own);
    *m = (many){NULL, 0, NULL};
}

/* setMany(keysAndValues, ttl, softTtl, flags, tags) */
static napi_value set_many(napi_env env, napi_callback_info info) {
    napi_value args[5], made = NULL;
    many given, tags;
    handle *h = called(env, info, 5, args);
    if (h == NULL || !to_many(env, args[0], "a key or a value", &given))
        return NULL;
    if (!to_many(env, args[4], "a tag", &tags)) {
        free_many(&given);
        return NULL;
    }
    kennel_set_options how = {sizeof how, to_ms(env, args[1]), to_ms(env, args[2]), to_u32(env, args[3]), 0, tags.each,
                              tags.count};
    size_t count = given.count / 2;
    kennel_pair *pairs = calloc(count + 1, sizeof *pairs);
    if (pairs == NULL) {
        no_memory(env);
    } else {
        for (size_t i = 0; i < count; i++) {
            const kennel_bytes *key = &given.each[2 * i], *value = key + 1;
            pairs[i] = (kennel_pair){key->data, key->len, value->data, value->len, 0, 0};
        }
        int result = kennel_set_multi(h->k, pairs, count, &how, NULL);
        made = result < 0 ? failed(h->of, result) : undefined(env);
    }
    free(pairs);
    free_many(&tags);
    free_many(&given);
    return made;
}

/* deleteMany(keys): how many of the keys had a value */
static napi_value delete_many(napi_env env, napi_callback_info info) {
    napi_value args[1], made = NULL;
    many keys;
    handle *h = called(env, info, 1, args);
    if (h == NULL || !to_many(env, args[0], "a key", &keys))
        return NULL;
    uint32_t removed = 0;
    int *results = calloc(keys.count + 1, sizeof *results);
    if (results == NULL) {
        no_memory(env);
    } else {
        int result = kennel_delete_multi(h->k, keys.each, keys.count, results);
        for (size_t i = 0; i < keys.count; i++)
            removed += results[i] == KENNEL_OK;
        if (result < 0)
            failed(h->of, result);
        else
            napi_create_uint32(env, removed, &made);
    }
    free(results);
    free_many(&keys);
    return made;
}

/* invalidateTags(tags, soft) */
static napi_value invalidate_tags(napi_env env, napi_callback_info info) {
    napi_value args[2];
    many tags;
    handle *h = called(env, info, 2, args);
    if (h == NULL || !to_many(env, args[0], "a tag", &tags))
        return NULL;
    bool soft = false;
    napi_get_value_bool(env, args[1], &soft);
    int result = kennel_invalidate_tags(h->k, tags.each, tags.count, soft);
    free_many(&tags);
    return result < 0 ? failed(h->of, result) : undefined(env);
}

const method many_calls[] = {
    {"setMany", set_many}, {"deleteMany", delete_many}, {"invalidateTags", invalidate_tags}, {NULL, NULL},
};
