#define FFI_SCOPE "kennel"
#define FFI_LIB "libkennel.so.0"

typedef struct kennel kennel;
typedef uint64_t kennel_claim;
typedef uint64_t kennel_key_lock;
typedef uint64_t kennel_request;
typedef uint64_t kennel_listing;

typedef struct kennel_bytes {
    const void *data;
    size_t len;
} kennel_bytes;
typedef struct kennel_pair {
    const void *key;
    size_t n;
    const void *value;
    size_t len;
    uint32_t flags;
    uint32_t reserved;
} kennel_pair;
typedef struct kennel_options {
    size_t size;
    uint64_t capacity;
    uint64_t mean_item;
    int64_t lock_wait_ms;
    const char *locks;
    uint32_t stripes;
    uint32_t seats;
    uint32_t namespaces;
    uint32_t claims;
    uint32_t mode;
    uint32_t bits;
    uint32_t tags;
    uint32_t reserved;
} kennel_options;
typedef struct kennel_set_options {
    size_t size;
    int64_t ttl_ms;
    int64_t soft_ttl_ms;
    uint32_t flags;
    uint32_t reserved;
    const kennel_bytes *tags;
    size_t tag_count;
} kennel_set_options;
typedef struct kennel_create_options {
    size_t size;
    int64_t ttl_ms;
    int64_t soft_ttl_ms;
    int64_t absent_ttl_ms;
    int64_t wait_ms;
    int64_t claim_max_age_ms;
    uint32_t flags;
    uint32_t bits;
    const kennel_bytes *tags;
    size_t tag_count;
} kennel_create_options;
typedef struct kennel_item {
    size_t size;
    size_t len;
    uint64_t stamp;
    int64_t expires_ms;
    int64_t soft_expires_ms;
    int64_t created_ms;
    uint32_t flags;
    uint32_t is_stale;
} kennel_item;

const char *kennel_last_facts(void);
const char *kennel_last_advice(void);
void kennel_free(void *memory);
int kennel_open(const char *path, const kennel_options *options, kennel **out);
int kennel_destroy(const char *path);
int kennel_namespace(const kennel *k, const char *name, int64_t ttl_ms, kennel **out);
int kennel_get_item(const kennel *k, const void *key, size_t n, char **value, kennel_item *item);
int kennel_get_item_into(const kennel *k, const void *key, size_t n, void *buf, size_t room, kennel_item *item);
int kennel_contains(const kennel *k, const void *key, size_t n);
int kennel_set(const kennel *k, const void *key, size_t n, const void *value, size_t len, int64_t ttl_ms);
int kennel_set_with(const kennel *k, const void *key, size_t n, const void *value, size_t len, const
    kennel_set_options *how, uint64_t *stamp);
int kennel_add(const kennel *k, const void *key, size_t n, const void *value, size_t len, const kennel_set_options
    *how);
int kennel_compare_and_swap(const kennel *k, const void *key, size_t n, uint64_t stamp, const void *value, size_t
    len, const kennel_set_options *how, uint64_t *new_stamp);
int kennel_compare_and_delete(const kennel *k, const void *key, size_t n, uint64_t stamp);
int kennel_delete(const kennel *k, const void *key, size_t n);
int kennel_touch(const kennel *k, const void *key, size_t n, int64_t ttl_ms);
int kennel_incr(const kennel *k, const void *key, size_t n, uint64_t delta, uint64_t *number);
int kennel_decr(const kennel *k, const void *key, size_t n, uint64_t delta, uint64_t *number);
int kennel_incr_or(const kennel *k, const void *key, size_t n, uint64_t delta, uint64_t initial, const
    kennel_set_options *how, uint64_t *number);
int kennel_decr_or(const kennel *k, const void *key, size_t n, uint64_t delta, uint64_t initial, const
    kennel_set_options *how, uint64_t *number);
int kennel_begin_item(const kennel *k, const void *key, size_t n, const kennel_create_options *how, char **value,
    kennel_item *item, kennel_claim *claim);
int kennel_complete_with(kennel_claim claim, const void *value, size_t len, const kennel_set_options *how);
int kennel_complete_absent(kennel_claim claim);
int kennel_fail(kennel_claim claim);
int kennel_lock(const kennel *k, const void *key, size_t n, int64_t wait_ms, int64_t max_age_ms, kennel_key_lock
    *lock);
int kennel_unlock(kennel_key_lock lock);
int kennel_is_claimed(const kennel *k, const void *key, size_t n);
int kennel_list(const kennel *k, const void *prefix, size_t n, kennel_listing *listing);
int kennel_next(kennel_listing listing, char **key, size_t *n, kennel_item *item);
int kennel_invalidate(const kennel *k, int soft);
int kennel_invalidate_tags(const kennel *k, const kennel_bytes *tags, size_t count, int soft);
int kennel_remove_namespace(const kennel *k, const char *name);
int kennel_get_multi(const kennel *k, const kennel_bytes *keys, size_t count, char **values, kennel_item *items, char
    **memory);
int kennel_set_multi(const kennel *k, const kennel_pair *pairs, size_t count, const kennel_set_options *how, int *results);
int kennel_delete_multi(const kennel *k, const kennel_bytes *keys, size_t count, int *results);
int kennel_stats_json(const kennel *k, char **out);
