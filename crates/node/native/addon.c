/* The module, handles, and the functions of a handle. */
#include "addon.h"
#include <stdlib.h>

void hold(environment *e, uint64_t number, bool is_lock) {
    if (e->held_count == e->held_room) {
        size_t room = e->held_room * 2 + 16;
        held *more = realloc(e->held, room * sizeof *more);
        if (more == NULL)
            return; /* Then the claim or lock ends with the process. */
        e->held = more;
        e->held_room = room;
    }
    e->held[e->held_count++] = (held){number, is_lock};
}

void let_go(environment *e, uint64_t number) {
    for (size_t i = e->held_count; i-- > 0;) {
        if (e->held[i].number == number) {
            e->held[i] = e->held[--e->held_count];
            return;
        }
    }
}

/* Ends the claims and locks that JavaScript holds, so that other processes need not find out that their owner is
 * gone. */
static void end_held(environment *e) {
    while (e->held_count > 0) {
        held last = e->held[--e->held_count];
        if (last.is_lock)
            kennel_unlock(last.number);
        else
            kennel_fail(last.number);
    }
}

void use(handle *h) {
    h->users++;
    h->owners++;
}

static void disown(handle *h) {
    if (--h->owners == 0) {
        kennel_close(h->k);
        free(h);
    }
}

static void unuse_only(handle *h) {
    if (--h->users == 0) {
        kennel_close(h->k);
        h->k = NULL;
    }
}

void unuse(handle *h) {
    unuse_only(h);
    disown(h);
}

handle *handle_of(napi_env env, napi_callback_info info, size_t count, napi_value *args) {
    void *data = NULL;
    napi_get_cb_info(env, info, &count, args, NULL, &data);
    return data;
}

handle *called(napi_env env, napi_callback_info info, size_t count, napi_value *args) {
    handle *h = handle_of(env, info, count, args);
    if (!h->is_closed)
        return h;
    napi_throw(env, error_of(h->of, KENNEL_E_BAD_HANDLE, "the cache is closed", ""));
    return NULL;
}

napi_value error_of(environment *e, int number, const char *facts, const char *advice) {
    napi_value make, receiver, args[3], made = NULL;
    napi_get_reference_value(e->env, e->make_error, &make);
    napi_get_undefined(e->env, &receiver);
    napi_create_int32(e->env, number, &args[0]);
    napi_create_string_utf8(e->env, facts, NAPI_AUTO_LENGTH, &args[1]);
    napi_create_string_utf8(e->env, advice, NAPI_AUTO_LENGTH, &args[2]);
    napi_call_function(e->env, receiver, make, 3, args, &made);
    return made;
}

napi_value failed(environment *e, int number) {
    napi_value error = error_of(e, number, kennel_last_facts(), kennel_last_advice());
    if (error != NULL)
        napi_throw(e->env, error);
    return NULL;
}

napi_value a_bool(environment *e, int result) {
    if (result < 0)
        return failed(e, result);
    napi_value made = NULL;
    napi_get_boolean(e->env, result != KENNEL_NONE, &made);
    return made;
}

static napi_value close(napi_env env, napi_callback_info info) {
    handle *h = handle_of(env, info, 0, NULL);
    if (!h->is_closed) {
        h->is_closed = true;
        unuse_only(h);
    }
    return undefined(env);
}

static void function_is_gone(napi_env env, void *data, void *hint) {
    (void)env;
    (void)hint;
    disown(data);
}

static bool add_methods(environment *e, napi_value object, handle *h, const method *methods) {
    for (; methods->name != NULL; methods++) {
        napi_value function;
        napi_env env = e->env;
        if (napi_create_function(env, methods->name, NAPI_AUTO_LENGTH, methods->call, h, &function) != napi_ok ||
            napi_add_finalizer(env, function, h, function_is_gone, NULL, NULL) != napi_ok)
            return false;
        h->owners++;
        napi_set_named_property(env, object, methods->name, function);
    }
    return true;
}

static const method closing[] = {{"close", close}, {NULL, NULL}};

/* An object whose functions have the handle as their data, which is the fastest way from a call to its handle. */
napi_value handle_object(environment *e, kennel *k) {
    napi_value object = NULL;
    handle *h = calloc(1, sizeof *h);
    if (h == NULL) {
        kennel_close(k);
        napi_throw_error(e->env, "ERR_KENNEL_NO_MEMORY", "there is no memory for a cache");
        return NULL;
    }
    *h = (handle){k, e, 1, 1, false};
    napi_create_object(e->env, &object);
    if (!add_methods(e, object, h, calls) || !add_methods(e, object, h, many_calls) ||
        !add_methods(e, object, h, creations) || !add_methods(e, object, h, closing))
        object = NULL;
    disown(h);
    return object;
}

static environment *environment_of(napi_env env) {
    void *e = NULL;
    napi_get_instance_data(env, &e);
    return e;
}

/* open(path, capacity, meanItem, lockWait, locks, stripes, seats, namespaces, claims, mode, bits) */
static napi_value open(napi_env env, napi_callback_info info) {
    size_t argc = 11;
    napi_value args[11];
    bytes path, locks;
    environment *e = environment_of(env);
    napi_get_cb_info(env, info, &argc, args, NULL, NULL);
    bool by_default = is_undefined(env, args[0]), has_locks = !is_undefined(env, args[4]);
    path.own = locks.own = NULL;
    kennel_options options = KENNEL_OPTIONS_INIT;
    options.capacity = (uint64_t)to_ms(env, args[1]);
    options.mean_item = (uint64_t)to_ms(env, args[2]);
    options.lock_wait_ms = to_ms(env, args[3]);
    uint32_t *fields[] = {&options.stripes, &options.seats, &options.namespaces, &options.claims, &options.mode,
                          &options.bits};
    for (int i = 0; i < 6; i++)
        *fields[i] = to_u32(env, args[5 + i]);
    kennel *k = NULL;
    int result = KENNEL_E_BAD_OPTION;
    /* The JavaScript code has put a zero byte at the end of each text. */
    if ((by_default || to_bytes(env, args[0], "the path", &path)) &&
        (!has_locks || to_bytes(env, args[4], "locks", &locks))) {
        options.locks = has_locks ? locks.at : NULL;
        result = kennel_open(by_default ? NULL : path.at, &options, &k);
        if (result < 0)
            failed(e, result);
    }
    free_bytes(&path);
    free_bytes(&locks);
    return result < 0 ? NULL : handle_object(e, k);
}

/* destroy(path) */
static napi_value destroy(napi_env env, napi_callback_info info) {
    size_t argc = 1;
    napi_value args[1];
    bytes path;
    path.own = NULL;
    napi_get_cb_info(env, info, &argc, args, NULL, NULL);
    bool by_default = is_undefined(env, args[0]);
    if (!by_default && !to_bytes(env, args[0], "the path", &path))
        return NULL;
    int result = kennel_destroy(by_default ? NULL : path.at);
    free_bytes(&path);
    return a_bool(environment_of(env), result);
}

static napi_value version(napi_env env, napi_callback_info info) {
    (void)info;
    return to_string(env, kennel_version(), strlen(kennel_version()));
}

/* setUp(makeError, pool, state) */
static napi_value set_up(napi_env env, napi_callback_info info) {
    size_t argc = 3, len;
    napi_value args[3];
    void *at;
    environment *e = environment_of(env);
    napi_get_cb_info(env, info, &argc, args, NULL, NULL);
    napi_create_reference(env, args[0], 1, &e->make_error);
    napi_create_reference(env, args[1], 1, &e->pool_ref);
    napi_create_reference(env, args[2], 1, &e->state_ref);
    napi_get_typedarray_info(env, args[1], NULL, &e->pool_room, &at, NULL, NULL);
    e->pool = at;
    napi_get_typedarray_info(env, args[2], NULL, &len, &at, NULL, NULL);
    e->state = at;
    return undefined(env);
}

/* usePool(pool): a new pool, because the last one is full */
static napi_value use_pool(napi_env env, napi_callback_info info) {
    size_t argc = 1;
    napi_value args[1];
    void *at;
    environment *e = environment_of(env);
    napi_get_cb_info(env, info, &argc, args, NULL, NULL);
    napi_delete_reference(env, e->pool_ref);
    napi_create_reference(env, args[0], 1, &e->pool_ref);
    napi_get_typedarray_info(env, args[0], NULL, &e->pool_room, &at, NULL, NULL);
    e->pool = at;
    return undefined(env);
}

static napi_value end_all(napi_env env, napi_callback_info info) {
    (void)info;
    end_held(environment_of(env));
    return undefined(env);
}

static void end_environment(void *data) {
    environment *e = data;
    end_waits(e);
    end_held(e);
}

static void free_environment(napi_env env, void *data, void *hint) {
    (void)env;
    (void)hint;
    environment *e = data;
    free(e->held);
    free(e->scratch);
    free(e);
}

NAPI_MODULE_INIT() {
    static const method functions[] = {{"open", open}, {"destroy", destroy}, {"version", version}, {"setUp", set_up},
                                       {"usePool", use_pool}, {"endAll", end_all}};
    environment *e = calloc(1, sizeof *e);
    char *scratch = malloc(SCRATCH);
    if (e == NULL || scratch == NULL) {
        free(e);
        free(scratch);
        napi_throw_error(env, "ERR_KENNEL_NO_MEMORY", "there is no memory for Kennel");
        return NULL;
    }
    e->env = env;
    e->scratch = scratch;
    napi_set_instance_data(env, e, free_environment, NULL);
    if (!prepare_waits(e))
        return NULL;
    napi_add_env_cleanup_hook(env, end_environment, e);
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        napi_value function;
        napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function);
        napi_set_named_property(env, exports, functions[i].name, function);
    }
    return exports;
}
