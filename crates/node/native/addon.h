/* The addon of the package: what its files share.
 *
 *  - addon.c: the module, handles, and the functions of a handle
 *  - values.c: keys and values of JavaScript as bytes, and back
 *  - calls.c: calls that answer at once
 *  - many.c: calls with many keys, and lists of tags
 *  - create.c: claims and locks
 *  - wait.c: the thread that waits, so that the event loop does not */
#ifndef KENNEL_ADDON_H
#define KENNEL_ADDON_H

#define NAPI_VERSION 8
#include <kennel.h>
#include <node_api.h>
#include <stdbool.h>
#include <string.h>

/* Values up to this length are copied by way of one buffer, which costs nothing to get. */
#define SCRATCH 65536
/* Keys up to this length need no memory of their own. */
#define SHORT_KEY 512

/* A claim or lock that JavaScript holds. */
typedef struct held {
    uint64_t number;
    bool is_lock;
} held;

/* An environment of JavaScript: the main thread's, or a worker's. Only its own thread uses it. */
typedef struct environment {
    napi_env env;
    napi_ref make_error; /* (number, facts, advice) => Error */
    napi_ref pool_ref;   /* keeps the pool alive */
    char *pool;          /* where get() writes its value */
    size_t pool_room;
    uint32_t *state; /* state[0]: whether the last value was stale */
    napi_ref state_ref;
    char *scratch;
    napi_threadsafe_function answers;
    unsigned waiting; /* how many waits keep the event loop alive */
    held *held;
    size_t held_count, held_room;
} environment;

/* An open cache. Only the thread of its environment counts who uses it. */
typedef struct handle {
    kennel *k; /* NULL once it is closed */
    environment *of;
    unsigned users;  /* JavaScript until close(), and waits: after the last one it is closed */
    unsigned owners; /* functions of JavaScript, and waits: after the last one the struct is freed */
    bool is_closed;
} handle;

/* addon.c */
void use(handle *h);
void unuse(handle *h);
/* The handle of a call, and its arguments; missing ones are undefined. */
handle *handle_of(napi_env env, napi_callback_info info, size_t count, napi_value *args);
/* The same, or NULL and an error if the cache is closed. */
handle *called(napi_env env, napi_callback_info info, size_t count, napi_value *args);
/* Throws the error of the last call, and returns NULL. */
napi_value failed(environment *e, int number);
napi_value error_of(environment *e, int number, const char *facts, const char *advice);
napi_value handle_object(environment *e, kennel *k);
/* Whether something was done; or throws. */
napi_value a_bool(environment *e, int result);
/* Remembers a claim or lock of JavaScript, so that it ends with the environment. */
void hold(environment *e, uint64_t number, bool is_lock);
void let_go(environment *e, uint64_t number);

/* values.c */
typedef struct bytes {
    const char *at;
    size_t len;
    char *own; /* to be freed */
    char fixed[SHORT_KEY];
} bytes;
/* The bytes of a string or a Uint8Array. False: an error is thrown. */
bool to_bytes(napi_env env, napi_value value, const char *what, bytes *out);
/* Where the bytes of a Buffer or a Uint8Array lie; false: it is none, and an error is thrown. */
bool array_bytes(napi_env env, napi_value value, const char *what, const void **out, size_t *len);
void free_bytes(bytes *b);
napi_value to_string(napi_env env, const char *at, size_t len);
napi_value to_buffer(napi_env env, const char *at, size_t len);
napi_value undefined(napi_env env);
int64_t to_ms(napi_env env, napi_value value);
uint32_t to_u32(napi_env env, napi_value value);
/* The number of a bigint. False: an error is thrown. */
bool to_u64(napi_env env, napi_value value, uint64_t *out);
napi_value from_u64(napi_env env, uint64_t number);
bool is_undefined(napi_env env, napi_value value);

/* many.c */
typedef struct many {
    kennel_bytes *each;
    size_t count;
    char *own; /* the characters of strings */
} many;
/* The bytes of each element of a list; undefined is an empty one. False: an error is thrown. */
bool to_many(napi_env env, napi_value list, const char *what, many *out);
void free_many(many *m);

/* The functions of a handle. */
typedef struct method {
    const char *name;
    napi_callback call;
} method;
extern const method calls[], many_calls[], creations[];

/* wait.c */
enum wait_kind { WAIT_CLAIM, WAIT_LOCK, WAIT_STORE };
typedef struct wait wait;
struct wait {
    wait *next;
    environment *of;
    handle *h;
    napi_deferred deferred;
    enum wait_kind kind;
    bool is_busy;              /* the thread asks for it */
    int64_t began, due, until; /* milliseconds; until < 0 is no end */
    uint64_t number;           /* request, or claim to be completed */
    int64_t max_age;           /* of a lock */
    kennel_set_options how;
    many tags;   /* which it names */
    char *bytes; /* the key of a lock, or a value */
    size_t bytes_len;
    /* The answer. */
    int result;
    char *value;
    size_t len;
    uint64_t got;
    char *facts;
    char *advice;
};
int64_t now_ms(void);
/* A wait, with its own copy of the bytes; or NULL. */
wait *new_wait(handle *h, enum wait_kind kind, int64_t wait_ms, const bytes *copied);
/* Gives a wait to the thread, and returns the promise of its answer, which frees the wait. */
napi_value begin_wait(wait *w);
bool prepare_waits(environment *e);
/* Gives up all waits of an environment that ends. */
void end_waits(environment *e);

/* create.c: what a wait answers */
napi_value answer_of(wait *w);

#endif
