/* The addon of the package: the declarations that its files share.
 *
 *  - addon.c: the module, handles, and the functions of a handle
 *  - values.c: keys and values of JavaScript as bytes, and back
 *  - calls.c: calls that answer at once
 *  - many.c: calls with many keys, and lists of tags
 *  - create.c: claims and locks
 *  - wait.c: the thread that waits, so that the event loop does not have to wait */
#ifndef KENNEL_ADDON_H
#define KENNEL_ADDON_H

#define NAPI_VERSION 8
#include <kennel.h>
#include <node_api.h>
#include <stdbool.h>
#include <string.h>

/* Values up to this length are copied through one buffer per environment, which needs no allocation. */
#define SCRATCH 65536
/* Keys up to this length need no allocated memory. */
#define SHORT_KEY 512

/* A claim or lock that JavaScript holds. */
typedef struct held {
    uint64_t number;
    bool is_lock;
} held;

/* A JavaScript environment, of the main thread or of a worker. Only its own thread uses it. */
typedef struct environment {
    napi_env env;
    napi_ref make_error; /* (number, facts, advice) => Error */
    napi_ref pool_ref;   /* keeps the pool alive */
    char *pool;          /* where get() writes its value */
    size_t pool_room;
    uint32_t *state; /* state[0]: whether the value that look() found last was stale */
    napi_ref state_ref;
    char *scratch;
    napi_threadsafe_function answers;
    unsigned waiting; /* how many waits keep the event loop alive */
    held *held;
    size_t held_count, held_room;
} environment;

/* An open cache. Only the thread of its environment changes the counts of users and owners. */
typedef struct handle {
    kennel *k; /* NULL once it is closed */
    environment *of;
    unsigned users;  /* JavaScript until close(), and waits: after the last one k is closed */
    unsigned owners; /* JavaScript functions, and waits: after the last one the struct is freed */
    bool is_closed;
} handle;

/* addon.c */
void use(handle *h);
void unuse(handle *h);
/* The handle of a call. Writes its arguments to args; missing ones are undefined. */
handle *handle_of(napi_env env, napi_callback_info info, size_t count, napi_value *args);
/* The same, or NULL and an error if the cache is closed. */
handle *called(napi_env env, napi_callback_info info, size_t count, napi_value *args);
/* Throws the error of the last call, and returns NULL. */
napi_value failed(environment *e, int number);
napi_value error_of(environment *e, int number, const char *facts, const char *advice);
napi_value handle_object(environment *e, kennel *k);
/* A boolean: whether the call did something. Throws if the result is an error. */
napi_value a_bool(environment *e, int result);
/* Remembers a claim or lock that JavaScript holds, so that it ends with the environment. */
void hold(environment *e, uint64_t number, bool is_lock);
void let_go(environment *e, uint64_t number);

/* values.c */
typedef struct bytes {
    const char *at;
    size_t len;
    char *own; /* allocated memory, or NULL; free_bytes() frees it */
    char fixed[SHORT_KEY];
} bytes;
/* The bytes of a string or a Uint8Array. Returns false after it has thrown an error. */
bool to_bytes(napi_env env, napi_value value, const char *what, bytes *out);
/* The address and length of the bytes of a Buffer or a Uint8Array. Returns false after it has thrown an error, if the
 * value is neither. */
bool array_bytes(napi_env env, napi_value value, const char *what, const void **out, size_t *len);
void free_bytes(bytes *b);
napi_value to_string(napi_env env, const char *at, size_t len);
napi_value to_buffer(napi_env env, const char *at, size_t len);
napi_value undefined(napi_env env);
int64_t to_ms(napi_env env, napi_value value);
uint32_t to_u32(napi_env env, napi_value value);
/* The number of a bigint. Returns false after it has thrown an error. */
bool to_u64(napi_env env, napi_value value, uint64_t *out);
napi_value from_u64(napi_env env, uint64_t number);
bool is_undefined(napi_env env, napi_value value);

/* many.c */
typedef struct many {
    kennel_bytes *each;
    size_t count;
    char *own; /* the characters of strings */
} many;
/* The bytes of each element of a list; undefined counts as an empty list. Returns false after it has thrown an
 * error. */
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
    bool is_busy;              /* whether the waiting thread is asking for this wait now */
    int64_t began, due, until; /* milliseconds of now_ms(); until < 0 is no end */
    uint64_t number;           /* the request, or the claim to complete */
    int64_t max_age;           /* the maximum age of a lock, in milliseconds */
    kennel_set_options how;
    many tags;   /* the tags that how names */
    char *bytes; /* the key of a lock, or a value to store */
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
/* A new wait, with its own copy of the bytes, or NULL if there is no memory. */
wait *new_wait(handle *h, enum wait_kind kind, int64_t wait_ms, const bytes *copied);
/* Gives a wait to the waiting thread, and returns the promise of its answer. The answer frees the wait. */
napi_value begin_wait(wait *w);
bool prepare_waits(environment *e);
/* Gives up all waits of an environment that ends. */
void end_waits(environment *e);

/* create.c: the value with which a wait resolves its promise */
napi_value answer_of(wait *w);

#endif
