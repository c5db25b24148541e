/* Keys and values of JavaScript as bytes, and back. */
#include "addon.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

napi_value undefined(napi_env env) {
    napi_value made;
    napi_get_undefined(env, &made);
    return made;
}

bool is_undefined(napi_env env, napi_value value) {
    napi_valuetype type;
    return napi_typeof(env, value, &type) == napi_ok && type == napi_undefined;
}

static bool no_memory(napi_env env) {
    napi_throw_error(env, "ERR_KENNEL_NO_MEMORY", "there is no memory for a key or a value");
    return false;
}

/* The characters of a string that is too long for the fixed room. */
static bool long_string(napi_env env, napi_value value, bytes *out) {
    if (napi_get_value_string_utf8(env, value, NULL, 0, &out->len) != napi_ok)
        return false;
    out->own = malloc(out->len + 1);
    if (out->own == NULL)
        return no_memory(env);
    out->at = out->own;
    return napi_get_value_string_utf8(env, value, out->own, out->len + 1, &out->len) == napi_ok;
}

bool array_bytes(napi_env env, napi_value value, const char *what, const void **out, size_t *len) {
    bool is_array = false;
    napi_typedarray_type type;
    void *at = NULL;
    if (napi_is_typedarray(env, value, &is_array) == napi_ok && is_array &&
        napi_get_typedarray_info(env, value, &type, len, &at, NULL, NULL) == napi_ok && type == napi_uint8_array) {
        *out = at;
        return true;
    }
    char text[80];
    snprintf(text, sizeof text, "%s: expected a string, a Buffer or a Uint8Array", what);
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
    return false;
}

bool to_bytes(napi_env env, napi_value value, const char *what, bytes *out) {
    out->own = NULL;
    out->at = out->fixed;
    napi_status status = napi_get_value_string_utf8(env, value, out->fixed, SHORT_KEY, &out->len);
    if (status == napi_ok) {
        /* A character has at most four bytes, so a string that was cut off leaves at most three bytes of the room
         * free. */
        return out->len + 4 < SHORT_KEY || long_string(env, value, out);
    }
    const void *at;
    if (!array_bytes(env, value, what, &at, &out->len))
        return false;
    out->at = at;
    return true;
}

void free_bytes(bytes *b) {
    free(b->own);
    b->own = NULL;
}

static bool is_ascii(const char *at, size_t len) {
    uint64_t all = 0, word;
    for (; len >= 8; at += 8, len -= 8) {
        memcpy(&word, at, 8);
        all |= word;
    }
    for (; len > 0; at++, len--)
        all |= (unsigned char)*at;
    return (all & UINT64_C(0x8080808080808080)) == 0;
}

napi_value to_string(napi_env env, const char *at, size_t len) {
    napi_value made = NULL;
    /* ASCII is also Latin-1, and this function is much faster. */
    if (is_ascii(at, len))
        napi_create_string_latin1(env, at, len, &made);
    else
        napi_create_string_utf8(env, at, len, &made);
    return made;
}

napi_value to_buffer(napi_env env, const char *at, size_t len) {
    napi_value made = NULL;
    napi_create_buffer_copy(env, len, at, NULL, &made);
    return made;
}

int64_t to_ms(napi_env env, napi_value value) {
    double number = 0;
    napi_get_value_double(env, value, &number);
    if (isinf(number))
        return number > 0 ? KENNEL_NEVER : INT64_MIN;
    return (int64_t)ceil(number);
}

uint32_t to_u32(napi_env env, napi_value value) {
    uint32_t number = 0;
    napi_get_value_uint32(env, value, &number);
    return number;
}

bool to_u64(napi_env env, napi_value value, uint64_t *out) {
    bool is_exact = false;
    if (napi_get_value_bigint_uint64(env, value, out, &is_exact) == napi_ok && is_exact)
        return true;
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", "expected a bigint from 0 to 2n ** 64n - 1n");
    return false;
}

napi_value from_u64(napi_env env, uint64_t number) {
    napi_value made = NULL;
    napi_create_bigint_uint64(env, number, &made);
    return made;
}
