/** @file kennel.h
 *  @brief Kennel: a cache in one memory-mapped file that the processes of a host share.
 *
 *  @section conventions Conventions
 *
 *  - **Results.** A negative result is an error. 0 (#KENNEL_NONE) means "nothing": a miss, not had, not stored. A
 *    positive result means "done". A miss is never an error. The number of an error never changes its meaning. Treat
 *    negative numbers that you do not know as errors, too.
 *  - **Text.** kennel_last_error() describes the last failure of the calling thread.
 *  - **Memory.** Free new memory that a function returns with kennel_free(). It comes from malloc, and has one zero
 *    byte behind the value. The library keeps no pointer to memory that you pass in. Out parameters are written on
 *    every return: on an error and on #KENNEL_NONE with NULL or 0, unless the function's description says otherwise.
 *  - **Keys and values** are bytes with a length; zero bytes are allowed. With a length of 0 the pointer may be NULL. A key
 *    has at most 65535 bytes.
 *  - **Threads.** Threads may share a handle, and call any function at any time, except that no thread may use a handle
 *    during or after its kennel_close(). Claims, locks, requests and listings may be used by any thread, not only by
 *    the one that got them.
 *  - **fork.** A child may go on using an inherited handle, and may close it. Claims, locks and requests stay the parent's:
 *    in the child, ending one does nothing.
 *  - **Errors that many functions return**, which their descriptions call "errors of a write": #KENNEL_E_BUSY if another
 *    thread or process held the stripe's lock for too long, #KENNEL_E_TOO_LARGE, #KENNEL_E_KEY_TOO_LONG,
 *    #KENNEL_E_READ_ONLY, #KENNEL_E_NOT_FOUND, #KENNEL_E_LOCKS_LOST and #KENNEL_E_IO if files were removed or cannot be used.
 *    Every function may return #KENNEL_E_BAD_OPTION for an invalid argument, #KENNEL_E_BAD_HANDLE for a cache that is NULL,
 *    and #KENNEL_E_PANIC for a defect in Kennel.
 *
 *  @section versions Versions
 *
 *  The name of the shared library has a number, which changes when an interface breaks. Structs begin with their size, and
 *  grow at their end only: begin each with its _INIT. The file's format has a version of its own; a library that does not
 *  know a file's format refuses it (#KENNEL_E_BAD_FILE).
 */
#ifndef KENNEL_H
#define KENNEL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/** An open cache file, or one namespace in it. */
typedef struct kennel kennel;

/** The right to create the value of a key: a number, never 0, that is not used twice in a process. */
typedef uint64_t kennel_claim;

/** The lock of a key: a number like a claim's. */
typedef uint64_t kennel_key_lock;

/** A request for a claim, by kennel_ask(): a number like a claim's. */
typedef uint64_t kennel_request;

/** A listing of items: a number like a claim's. */
typedef uint64_t kennel_listing;

/** Returns memory for a value of @p len bytes, or NULL if there is none. The function must not unwind or jump out of
 *  the call. It may use the cache. */
typedef void *(*kennel_room)(void *ctx, size_t len);

/** @name Results */
/**@{*/
#define KENNEL_NONE 0   /**< Nothing: a miss, not had, not stored. */
#define KENNEL_OK 1     /**< Done. */
#define KENNEL_CREATE 2 /**< The value is yours to create. */
#define KENNEL_WAIT 3   /**< Not yet: ask again. */

#define KENNEL_E_IO (-1)                  /**< The operating system refused something. */
#define KENNEL_E_NOT_FOUND (-2)           /**< There is no file at the path, or it was removed. */
#define KENNEL_E_EXISTS (-3)              /**< There is a file at the path already. */
#define KENNEL_E_BAD_FILE (-4)            /**< No cache file, one of another format, or a damaged one. */
#define KENNEL_E_MISMATCH (-5)            /**< The file differs from the options (#KENNEL_SAME_SIZES). */
#define KENNEL_E_LOCKS_LOST (-6)          /**< The lock files that belong to the cache file are gone. */
#define KENNEL_E_LEASE_REFUSED (-7)       /**< Lock strategy "lease" is not safe on this file system. */
#define KENNEL_E_UNKNOWN_STRATEGY (-8)    /**< This library does not have the file's lock strategy. */
#define KENNEL_E_OPEN_ELSEWHERE (-9)      /**< Lock strategy "process": the file is open already. */
#define KENNEL_E_NOT_TRUSTED (-10)        /**< Another user could have written the file (#KENNEL_TRUST). */
#define KENNEL_E_NETWORK_FILESYSTEM (-11) /**< A network file system (#KENNEL_ALLOW_NETWORK). */
#define KENNEL_E_NO_SPACE (-12)           /**< The file system has no room for the file. */
#define KENNEL_E_SEATS_FULL (-13)         /**< Processes that have the file open hold all its seats. */
#define KENNEL_E_BAD_OPTION (-14)         /**< An argument or option is invalid. */
#define KENNEL_E_KEY_TOO_LONG (-15)       /**< The key is too long. */
#define KENNEL_E_TOO_LARGE (-16)          /**< The item is too large for this file. */
#define KENNEL_E_NOT_A_NUMBER (-17)       /**< The value is not a number in decimal digits. */
#define KENNEL_E_OVERFLOW (-18)           /**< The number would be below 0 or above 2^64 - 1; it is unchanged. */
#define KENNEL_E_BUSY (-19)               /**< The stripe stayed locked for too long; nothing was written. */
#define KENNEL_E_TIMED_OUT (-20)          /**< Another caller still creates the value. */
#define KENNEL_E_OWN_CLAIM (-21)          /**< The owner has claimed the key already. */
#define KENNEL_E_NAMESPACES_FULL (-22)    /**< The file has no room for another namespace. */
#define KENNEL_E_CODEC (-23)              /**< A typed value cannot be read; no function of this header returns it. */
#define KENNEL_E_READ_ONLY (-24)          /**< The cache was opened with #KENNEL_READ_ONLY. */
#define KENNEL_E_NO_MEMORY (-25)          /**< There is no memory for the value. */
#define KENNEL_E_BUFFER_TOO_SMALL (-26)   /**< The buffer is too small; the length is written. */
#define KENNEL_E_NOT_RESIZED (-27)        /**< A resize was refused; no function of this header returns it. */
#define KENNEL_E_TOO_MANY_TAGS (-28)      /**< A value has more tags than a file can keep. */
#define KENNEL_E_RESTING (-29)            /**< Creations of the key failed; the next may begin only later. */
#define KENNEL_E_FAILED_ELSEWHERE (-30)   /**< Another caller's creation failed; no function here returns it. */
#define KENNEL_E_BAD_HANDLE (-90)         /**< The cache is NULL; or no such claim, lock, request or listing. */
#define KENNEL_E_NO_HANDLE (-91)          /**< The process holds 4096 claims, locks, requests and listings. */
#define KENNEL_E_PANIC (-99)              /**< A defect in Kennel. */
/**@}*/

/** @name Times
 *  A time to live is in milliseconds. 0 is the default of the namespace, or no end if the namespace has no default. */
/**@{*/
#define KENNEL_NEVER (-1)   /**< A time to live without an end, whatever the namespace's default is. */
#define KENNEL_FOREVER (-1) /**< A wait without a limit. */
/**@}*/

/** Bytes of yours: a key or the name of a tag, as an element of an array. It does not grow. */
typedef struct kennel_bytes {
    const void *data;
    size_t len;
} kennel_bytes;

/** A key and its value, as an element of an array. It does not grow. */
typedef struct kennel_pair {
    const void *key;
    size_t n;
    const void *value;
    size_t len;
    uint32_t flags;    /**< a number of yours, as in kennel_set_options; 0: that of the options */
    uint32_t reserved; /**< 0 */
} kennel_pair;

/** @name Bits of kennel_options */
/**@{*/
#define KENNEL_EXISTING 1u       /**< Do not create a file. */
#define KENNEL_READ_ONLY 2u      /**< Open an existing file for reading only; writes nothing, not even counters. */
#define KENNEL_VERIFY_READS 4u   /**< Check the checksum of each value that is read. */
#define KENNEL_TRUST 8u          /**< Open a file that another user could have written. */
#define KENNEL_ALLOW_NETWORK 16u /**< Use a file on a network file system. */
#define KENNEL_SAME_SIZES 32u    /**< Refuse a file that differs from these options. Without this it is used as it is. */
#define KENNEL_LARGE_PAGES 64u   /**< Use large pages even if the file system gives none by itself, and on disks. */
#define KENNEL_SMALL_PAGES 128u  /**< Use no large pages. */
/** A new file counts the hits and misses of each namespace. Without this bit and the next one, it does so if the
 *  counters take at most a fiftieth of its capacity. */
#define KENNEL_NAMESPACE_READS 256u
#define KENNEL_NO_NAMESPACE_READS 512u /**< A new file does not count them. */
/** A new file has room for samples of what is read, for "kennel advise" and "kennel top --tap". Without this bit and
 *  the next one, it has room for them if they take little of its capacity. */
#define KENNEL_SAMPLES 1024u
#define KENNEL_NO_SAMPLES 2048u /**< A new file has no room for samples. */
#define KENNEL_NO_TAGS 4096u    /**< Values of a new file cannot bear tags. */
/**@}*/

/** How a cache file is opened or created. 0 is the default of each field. An existing file keeps its sizes. */
typedef struct kennel_options {
    size_t size;          /**< sizeof(kennel_options) */
    uint64_t capacity;    /**< bytes of items; 64 MiB */
    uint64_t mean_item;   /**< mean bytes of a key and its value; 256 */
    int64_t lock_wait_ms; /**< how long a write waits for a stripe's lock; 5000 */
    const char *locks;    /**< lock strategy: "file", "lease", "process", "none" or "rw-file" */
    uint32_t stripes;     /**< a power of two; depends on the capacity */
    uint32_t seats;       /**< how many processes can open the file; 1024 */
    uint32_t namespaces;  /**< room for namespaces; 64 */
    uint32_t claims;      /**< keys of a stripe that can be created or locked at a time; 64 */
    uint32_t mode;        /**< permission bits of a new file; 0600 */
    uint32_t bits;        /**< #KENNEL_EXISTING and others */
    uint32_t tags;        /**< length of the tables of tags, a power of two; in longer ones, fewer tags share a place */
    uint32_t reserved;    /**< 0 */
} kennel_options;
#define KENNEL_OPTIONS_INIT { sizeof(kennel_options), 0, 0, 0, NULL, 0, 0, 0, 0, 0, 0, 0, 0 }

/** How a value is stored. */
typedef struct kennel_set_options {
    size_t size;         /**< sizeof(kennel_set_options) */
    int64_t ttl_ms;      /**< when it expires, or #KENNEL_NEVER */
    int64_t soft_ttl_ms; /**< when it becomes stale, or #KENNEL_NEVER */
    uint32_t flags;      /**< a number of yours; if it is not 0, it takes 24 bytes */
    uint32_t reserved;   /**< 0 */
    const kennel_bytes *tags; /**< names of tags, by which kennel_invalidate_tags() finds the value; at most 16 */
    size_t tag_count;    /**< how many tags there are */
} kennel_set_options;
#define KENNEL_SET_OPTIONS_INIT { sizeof(kennel_set_options), 0, 0, 0, 0, NULL, 0 }

/** @name Bits of kennel_create_options */
/**@{*/
#define KENNEL_UNPROTECTED 1u /**< After the wait, create the value even if another caller still creates it. */
#define KENNEL_OR_UNCACHED 2u /**< If the cache itself fails, create the value all the same; it is not stored. */
#define KENNEL_NEEDS_VALUE 4u /**< Treat a key that is known to have no value as a miss. */
/**@}*/

/** How a missing value is created. */
typedef struct kennel_create_options {
    size_t size;              /**< sizeof(kennel_create_options) */
    int64_t ttl_ms;           /**< when the created value expires, or #KENNEL_NEVER */
    int64_t soft_ttl_ms;      /**< when it becomes stale, or #KENNEL_NEVER */
    int64_t absent_ttl_ms;    /**< how long to remember that there is no value; 0: it is not remembered */
    int64_t wait_ms;          /**< how long to wait for another creator: 30000; 0 is no wait, or #KENNEL_FOREVER */
    int64_t claim_max_age_ms; /**< after how long others may take over a live owner's claim; 0: 5 minutes */
    uint32_t flags;           /**< a number of yours */
    uint32_t bits;            /**< #KENNEL_UNPROTECTED and others */
    const kennel_bytes *tags; /**< names of tags of the created value; at most 16 */
    size_t tag_count;         /**< how many tags there are */
} kennel_create_options;
#define KENNEL_CREATE_OPTIONS_INIT { sizeof(kennel_create_options), 0, 0, 0, 30000, 0, 0, 0, NULL, 0 }

/** What the cache knows of a value. Moments are milliseconds since 1970; 0 is none. */
typedef struct kennel_item {
    size_t size;             /**< sizeof(kennel_item), set by the caller */
    size_t len;              /**< length of the value */
    uint64_t stamp;          /**< identifies this write of the key: see kennel_compare_and_swap() */
    int64_t expires_ms;      /**< when the value expires */
    int64_t soft_expires_ms; /**< when it becomes stale */
    int64_t created_ms;      /**< when it was created, if that is known */
    uint32_t flags;          /**< what was stored with it */
    uint32_t is_stale;       /**< 1 if it is stale, else 0 */
} kennel_item;
#define KENNEL_ITEM_INIT { sizeof(kennel_item), 0, 0, 0, 0, 0, 0, 0 }

/** @brief The version of the library, such as "0.1.0".
 *  @return a text that stays valid for ever */
const char *kennel_version(void);

/** @brief The text of the calling thread's last failure: what was expected, what was found, and what to do.
 *  @return a text that stays valid until the next failure of a function in this thread; "" before the first one */
const char *kennel_last_error(void);

/** @brief The text of the calling thread's last failure without the advice: what was expected, and what was found. This
 *         is for bindings of other languages, which turn kennel_last_advice() into advice in their own terms.
 *  @return a text that stays valid as long as that of kennel_last_error() */
const char *kennel_last_facts(void);

/** @brief The name of the advice for the calling thread's last failure, or "" if there is none: "create",
 *         "open-or-destroy", "other-path", "other-path-or-remove", "replace-lost", "destroy-and-create", "on-mismatch",
 *         "restore-locks", "not-lease", "share-handle", "trust", "local-files", "more-seats", "larger-items",
 *         "wait-longer", "not-within" or "more-namespaces". Later versions have more names.
 *  @return a text that stays valid as long as that of kennel_last_error() */
const char *kennel_last_advice(void);

/** @brief Frees memory that a function of this library returned.
 *  @param[in] memory the memory, or NULL */
void kennel_free(void *memory);

/** @brief Opens a cache file, or creates it if there is none. If several processes do so at the same time,
 *         one of them creates it.
 *  @param[in] path the file, or NULL for the default path of this user
 *  @param[in] options how, or NULL
 *  @param[out] out the handle, which kennel_close() closes
 *  @retval KENNEL_OK it is open
 *  @retval KENNEL_E_NOT_FOUND no file, with #KENNEL_EXISTING or #KENNEL_READ_ONLY
 *  @retval KENNEL_E_BAD_FILE no cache file, one of another format, or a damaged one
 *  @retval KENNEL_E_MISMATCH it differs from the options, with #KENNEL_SAME_SIZES
 *  @retval KENNEL_E_NOT_TRUSTED another user could have written it
 *  @retval KENNEL_E_NO_SPACE, KENNEL_E_NETWORK_FILESYSTEM, KENNEL_E_LEASE_REFUSED, KENNEL_E_UNKNOWN_STRATEGY,
 *          KENNEL_E_OPEN_ELSEWHERE, KENNEL_E_SEATS_FULL, KENNEL_E_LOCKS_LOST, KENNEL_E_BUSY, KENNEL_E_IO */
int kennel_open(const char *path, const kennel_options *options, kennel **out);

/** @brief Closes a handle. Claims, locks, requests and listings that were got with it stay valid.
 *  @param[in] k the handle, or NULL. No other thread may use it. */
void kennel_close(kennel *k);

/** @brief Removes a cache file and its locks. Processes that have it open miss from then on.
 *  @param[in] path the file, or NULL for the default path of this user
 *  @retval KENNEL_OK it is removed
 *  @retval KENNEL_NONE there is none
 *  @retval KENNEL_E_BAD_FILE it is no cache file, and is left alone
 *  @retval KENNEL_E_NOT_TRUSTED, KENNEL_E_IO */
int kennel_destroy(const char *path);

/** @brief kennel_destroy() with options.
 *  @param[in] path the file, or NULL for the default path of this user
 *  @param[in] options #KENNEL_TRUST removes a file that another user could have written, and #KENNEL_ALLOW_NETWORK one on a
 *             network file system; or NULL
 *  @retval "as kennel_destroy()" */
int kennel_destroy_with(const char *path, const kennel_options *options);

/** @brief Opens a named part of the file with keys and a default time to live of its own, which can be invalidated as a
 *         whole. All functions take such a handle.
 *  @param[in] k any handle of the file
 *  @param[in] name 1 to 128 bytes of UTF-8
 *  @param[in] ttl_ms the default time to live of values stored with this handle; 0: that of its entry in the file
 *  @param[out] out the handle, which kennel_close() closes
 *  @retval KENNEL_OK it is open
 *  @retval KENNEL_E_NAMESPACES_FULL; and the errors of a write */
int kennel_namespace(const kennel *k, const char *name, int64_t ttl_ms, kennel **out);

/** @brief Removes a namespace with all its values, for all processes, and makes room for another name. Handles of it stay
 *         valid: their reads miss, and their next write adds the namespace again.
 *  @param[in] k any handle of the file
 *  @param[in] name its name
 *  @retval KENNEL_OK it is removed
 *  @retval KENNEL_NONE the file has no namespace of that name
 *  @retval KENNEL_E_BAD_OPTION no namespace can have that name; or it keeps words of a far tier, and can only be invalidated
 *  @retval "errors of a write" */
int kennel_remove_namespace(const kennel *k, const char *name);

/** @brief Copies the value of a key to a buffer. This allocates no memory.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[out] buf,room the buffer; with @p room 0, @p buf may be NULL
 *  @param[out] len the length of the value, also if it does not fit; may be NULL
 *  @retval KENNEL_OK the value is in @p buf
 *  @retval KENNEL_NONE a miss
 *  @retval KENNEL_E_BUFFER_TOO_SMALL @p len says how much room it needs; nothing is copied */
int kennel_get_into(const kennel *k, const void *key, size_t n, void *buf, size_t room, size_t *len);

/** @brief Copies the value of a key to new memory.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[out] value the value, which kennel_free() frees
 *  @param[out] len its length; may be NULL
 *  @retval KENNEL_OK it is there
 *  @retval KENNEL_NONE a miss
 *  @retval KENNEL_E_NO_MEMORY */
int kennel_get(const kennel *k, const void *key, size_t n, char **value, size_t *len);

/** @brief Copies the value of a key to memory that a function of yours returns, for runtimes with memory of their own.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] room the function. If the value changes meanwhile, the function is called again. Only the memory that it
 *             returned last holds the value, and only after #KENNEL_OK. Free all of this memory yourself, whatever the
 *             result is: this library does not.
 *  @param[in] ctx is passed to @p room
 *  @retval KENNEL_OK the value is in the memory that @p room returned last
 *  @retval KENNEL_NONE a miss
 *  @retval KENNEL_E_NO_MEMORY @p room returned NULL */
int kennel_get_with(const kennel *k, const void *key, size_t n, kennel_room room, void *ctx);

/** @brief kennel_get() with what the cache knows of the value.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[out] value the value, which kennel_free() frees
 *  @param[in,out] item its length, flags, stamp and times; begin with #KENNEL_ITEM_INIT
 *  @retval KENNEL_OK it is there
 *  @retval KENNEL_NONE a miss
 *  @retval KENNEL_E_NO_MEMORY */
int kennel_get_item(const kennel *k, const void *key, size_t n, char **value, kennel_item *item);

/** @brief kennel_get_into() with what the cache knows of the value.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[out] buf,room the buffer
 *  @param[in,out] item as for kennel_get_item(); its length is written also if the value does not fit
 *  @retval KENNEL_OK the value is in @p buf
 *  @retval KENNEL_NONE a miss
 *  @retval KENNEL_E_BUFFER_TOO_SMALL nothing is copied */
int kennel_get_item_into(const kennel *k, const void *key, size_t n, void *buf, size_t room, kennel_item *item);

/** @brief kennel_get_with() with what the cache knows of the value.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] room,ctx as for kennel_get_with()
 *  @param[in,out] item as for kennel_get_item()
 *  @retval KENNEL_OK the value is in the memory that @p room returned last
 *  @retval KENNEL_NONE a miss
 *  @retval KENNEL_E_NO_MEMORY @p room returned NULL */
int kennel_get_item_with(const kennel *k, const void *key, size_t n, kennel_room room, void *ctx, kennel_item *item);

/** @brief Copies the values of many keys to one piece of new memory. If they are not in the processor's caches, this is
 *         faster than a kennel_get_item() for each: the memory of the next keys is fetched while one value is copied.
 *  @param[in] k the cache
 *  @param[in] keys,count the keys
 *  @param[out] values @p count pointers: each value, with one zero byte behind it, or NULL for a miss
 *  @param[in,out] items @p count items, each begun with #KENNEL_ITEM_INIT: what the cache knows of each value; or NULL
 *  @param[out] memory the memory of all values, which kennel_free() frees
 *  @retval KENNEL_OK at least one is there
 *  @retval KENNEL_NONE all are misses
 *  @retval KENNEL_E_NO_MEMORY nothing is handed out */
int kennel_get_multi(const kennel *k, const kennel_bytes *keys, size_t count, char **values, kennel_item *items,
                     char **memory);

/** @brief Tells whether a key has a value. This counts as a use of the key.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @retval KENNEL_OK it has
 *  @retval KENNEL_NONE it has not */
int kennel_contains(const kennel *k, const void *key, size_t n);

/** @brief Stores a value.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] value,len the value
 *  @param[in] ttl_ms when it expires: milliseconds, 0 for the default, or #KENNEL_NEVER
 *  @retval KENNEL_OK it is stored
 *  @retval "errors of a write" */
int kennel_set(const kennel *k, const void *key, size_t n, const void *value, size_t len, int64_t ttl_ms);

/** @brief Stores a value with options.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] value,len the value
 *  @param[in] how options, or NULL
 *  @param[out] stamp its stamp; may be NULL
 *  @retval KENNEL_OK it is stored
 *  @retval "errors of a write" */
int kennel_set_with(const kennel *k, const void *key, size_t n, const void *value, size_t len,
                    const kennel_set_options *how, uint64_t *stamp);

/** @brief Stores many values, one by one, in their order. This is faster than a kennel_set_with() for each, most of all
 *         for consecutive pairs with the same flags.
 *  @param[in] k the cache
 *  @param[in] pairs,count keys, values and flags
 *  @param[in] how options of all of them, or NULL
 *  @param[out] results @p count numbers: #KENNEL_OK or an error for each pair; may be NULL
 *  @retval KENNEL_OK all are stored
 *  @retval "errors of a write" the first one; others may be stored, as @p results says */
int kennel_set_multi(const kennel *k, const kennel_pair *pairs, size_t count, const kennel_set_options *how, int *results);

/** @brief Stores a value if the key has none.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] value,len the value
 *  @param[in] how options, or NULL
 *  @retval KENNEL_OK it is stored
 *  @retval KENNEL_NONE the key has a value
 *  @retval "errors of a write" */
int kennel_add(const kennel *k, const void *key, size_t n, const void *value, size_t len,
               const kennel_set_options *how);

/** @brief Stores a value if the key has one.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] value,len the value
 *  @param[in] how options, or NULL
 *  @retval KENNEL_OK it is stored
 *  @retval KENNEL_NONE the key has no value
 *  @retval "errors of a write" */
int kennel_replace(const kennel *k, const void *key, size_t n, const void *value, size_t len,
                   const kennel_set_options *how);

/** @brief Stores a value if the key still has the value with this stamp.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] stamp the stamp of kennel_get_item() or kennel_set_with()
 *  @param[in] value,len the new value
 *  @param[in] how options, or NULL
 *  @param[out] new_stamp the stamp of the new value; may be NULL
 *  @retval KENNEL_OK it is stored
 *  @retval KENNEL_NONE the key has no value, or another one
 *  @retval "errors of a write" */
int kennel_compare_and_swap(const kennel *k, const void *key, size_t n, uint64_t stamp, const void *value, size_t len,
                            const kennel_set_options *how, uint64_t *new_stamp);

/** @brief Removes a key if it still has the value with this stamp.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] stamp the stamp of kennel_get_item() or kennel_set_with()
 *  @retval KENNEL_OK it is removed
 *  @retval KENNEL_NONE the key has no value, or another one
 *  @retval "errors of a write" */
int kennel_compare_and_delete(const kennel *k, const void *key, size_t n, uint64_t stamp);

/** @brief Removes a key.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @retval KENNEL_OK it is removed
 *  @retval KENNEL_NONE it had no value
 *  @retval "errors of a write" */
int kennel_delete(const kennel *k, const void *key, size_t n);

/** @brief Removes many keys.
 *  @param[in] k the cache
 *  @param[in] keys,count the keys
 *  @param[out] results @p count numbers: #KENNEL_OK, #KENNEL_NONE if the key had no value, or an error; may be NULL
 *  @retval KENNEL_OK at least one is removed
 *  @retval KENNEL_NONE none had a value
 *  @retval "errors of a write" the first one; others may be removed, as @p results says */
int kennel_delete_multi(const kennel *k, const kennel_bytes *keys, size_t count, int *results);

/** @brief Changes when a key expires.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] ttl_ms milliseconds from now; 0 and #KENNEL_NEVER are no end
 *  @retval KENNEL_OK it is changed
 *  @retval KENNEL_NONE the key has no value
 *  @retval "errors of a write" */
int kennel_touch(const kennel *k, const void *key, size_t n, int64_t ttl_ms);

/** @brief Adds to a number, which is stored as decimal digits. Its expiry and flags stay.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] delta what to add
 *  @param[out] number the sum; may be NULL
 *  @retval KENNEL_OK it is stored
 *  @retval KENNEL_NONE the key has no value
 *  @retval KENNEL_E_NOT_A_NUMBER, KENNEL_E_OVERFLOW; and the errors of a write */
int kennel_incr(const kennel *k, const void *key, size_t n, uint64_t delta, uint64_t *number);

/** @brief Subtracts from a number: the counterpart of kennel_incr().
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] delta what to subtract
 *  @param[out] number the difference; may be NULL
 *  @retval KENNEL_OK it is stored
 *  @retval KENNEL_NONE the key has no value
 *  @retval KENNEL_E_NOT_A_NUMBER, KENNEL_E_OVERFLOW; and the errors of a write */
int kennel_decr(const kennel *k, const void *key, size_t n, uint64_t delta, uint64_t *number);

/** @brief Adds to a number, or stores a first one if the key has no value, in one step: no other caller's change
 *         is lost.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] delta what to add to a number that is there
 *  @param[in] initial what to store if none is there; @p delta is not added to it
 *  @param[in] how options of a first number, or NULL. The expiry of a number that is there stays.
 *  @param[out] number the number that is stored now; may be NULL
 *  @retval KENNEL_OK it is stored
 *  @retval KENNEL_E_NOT_A_NUMBER, KENNEL_E_OVERFLOW; and the errors of a write */
int kennel_incr_or(const kennel *k, const void *key, size_t n, uint64_t delta, uint64_t initial,
                   const kennel_set_options *how, uint64_t *number);

/** @brief Subtracts from a number, or stores a first one: the counterpart of kennel_incr_or().
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] delta what to subtract from a number that is there
 *  @param[in] initial what to store if none is there
 *  @param[in] how options of a first number, or NULL
 *  @param[out] number the number that is stored now; may be NULL
 *  @retval KENNEL_OK it is stored
 *  @retval KENNEL_E_NOT_A_NUMBER, KENNEL_E_OVERFLOW; and the errors of a write */
int kennel_decr_or(const kennel *k, const void *key, size_t n, uint64_t delta, uint64_t initial,
                   const kennel_set_options *how, uint64_t *number);

/** @brief Gets the value of a key, or the right to create it. Of all callers in all processes one gets that right; the others
 *         wait for its value, or get the stale one. Each call is an owner of its own, whichever thread makes
 *         it.
 *
 *  If the owner of a claim dies, a waiting caller gets the claim within a second.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] how options, or NULL
 *  @param[out] value the value, which kennel_free() frees; with #KENNEL_CREATE a stale one, or NULL
 *  @param[out] len its length; may be NULL
 *  @param[out] claim with #KENNEL_CREATE the claim, which kennel_complete() or another function ends; else 0
 *  @retval KENNEL_OK @p value is the value; it may be stale
 *  @retval KENNEL_CREATE the value is yours to create
 *  @retval KENNEL_NONE the cache remembers that the key has no value
 *  @retval KENNEL_E_TIMED_OUT another caller still creates it, after wait_ms
 *  @retval KENNEL_E_NO_HANDLE, KENNEL_E_NO_MEMORY; and the errors of a write */
int kennel_begin(const kennel *k, const void *key, size_t n, const kennel_create_options *how, char **value,
                 size_t *len, kennel_claim *claim);

/** @brief kennel_begin() with what the cache knows of the value.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] how options, or NULL
 *  @param[out] value,claim as for kennel_begin()
 *  @param[in,out] item length, flags, stamp and times of @p value; begin with #KENNEL_ITEM_INIT
 *  @retval "results of kennel_begin()" */
int kennel_begin_item(const kennel *k, const void *key, size_t n, const kennel_create_options *how, char **value,
                      kennel_item *item, kennel_claim *claim);

/** @brief Begins a kennel_begin() that never waits, for event loops: call kennel_poll() for its answer.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] how options, or NULL; wait_ms begins now
 *  @param[out] request the request, which ends with its answer or by kennel_withdraw()
 *  @retval KENNEL_OK it has begun
 *  @retval KENNEL_E_NO_HANDLE */
int kennel_ask(const kennel *k, const void *key, size_t n, const kennel_create_options *how, kennel_request *request);

/** @brief Asks for the answer to a request. Ask again every 1 to 20 milliseconds.
 *  @param[in] request the request. No two threads may ask for it at a time.
 *  @param[out] value,len,claim as for kennel_begin()
 *  @retval KENNEL_WAIT not yet; after any other result the request has ended, except #KENNEL_E_NO_HANDLE and
 *          #KENNEL_E_BAD_OPTION
 *  @retval "results of kennel_begin()"
 *  @retval KENNEL_E_BAD_HANDLE it has ended */
int kennel_poll(kennel_request request, char **value, size_t *len, kennel_claim *claim);

/** @brief kennel_poll() with what the cache knows of the value.
 *  @param[in] request the request
 *  @param[out] value,claim as for kennel_begin()
 *  @param[in,out] item as for kennel_begin_item()
 *  @retval "as kennel_poll()" */
int kennel_poll_item(kennel_request request, char **value, kennel_item *item, kennel_claim *claim);

/** @brief Ends a request without an answer.
 *  @param[in] request the request
 *  @retval KENNEL_OK it has ended
 *  @retval KENNEL_E_BAD_HANDLE it had ended before */
int kennel_withdraw(kennel_request request);

/** @brief Stores a created value, ends the claim, and wakes the callers that wait.
 *  @param[in] claim the claim. It ends, whatever the result is.
 *  @param[in] value,len the value
 *  @retval KENNEL_OK it is stored
 *  @retval KENNEL_NONE it is not stored: the key was written, deleted or invalidated meanwhile, or the cache failed and
 *          #KENNEL_OR_UNCACHED was set
 *  @retval KENNEL_E_BAD_HANDLE the claim had ended before
 *  @retval "errors of a write" the next caller that waits creates the value */
int kennel_complete(kennel_claim claim, const void *value, size_t len);

/** @brief kennel_complete() with options of this value.
 *  @param[in] claim the claim. It ends, unless an argument is invalid.
 *  @param[in] value,len the value
 *  @param[in] how options; a time of 0, and flags of 0, are those that kennel_begin() was given
 *  @retval "as kennel_complete()" */
int kennel_complete_with(kennel_claim claim, const void *value, size_t len, const kennel_set_options *how);

/** @brief kennel_complete_with() that does not wait for a lock, for event loops.
 *  @param[in] claim the claim
 *  @param[in] value,len the value
 *  @param[in] how options, or NULL
 *  @retval KENNEL_WAIT another caller holds the lock; the claim is still held: try again
 *  @retval "as kennel_complete()" */
int kennel_try_complete(kennel_claim claim, const void *value, size_t len, const kennel_set_options *how);

/** @brief Stores that the key has no value, for the absent_ttl_ms of kennel_begin(), and ends the claim.
 *  @param[in] claim the claim
 *  @retval KENNEL_OK it is remembered
 *  @retval KENNEL_NONE it is not: there was no absent_ttl_ms, or as for kennel_complete()
 *  @retval "as kennel_complete()" */
int kennel_complete_absent(kennel_claim claim);

/** @brief Ends a claim whose value must not be stored: each caller that waits creates its own.
 *  @param[in] claim the claim
 *  @retval KENNEL_OK it has ended
 *  @retval KENNEL_E_BAD_HANDLE it had ended before */
int kennel_refuse(kennel_claim claim);

/** @brief Ends a claim whose creation failed: the next caller that waits creates the value.
 *  @param[in] claim the claim
 *  @retval KENNEL_OK it has ended
 *  @retval KENNEL_E_BAD_HANDLE it had ended before */
int kennel_fail(kennel_claim claim);

/** @brief Locks a key against all callers that lock or create it, in all processes. Its value can be read and written.
 *         The lock of a process that dies ends within a second.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @param[in] wait_ms how long to wait; 0 is no wait, or #KENNEL_FOREVER
 *  @param[in] max_age_ms after how long others may take the lock over although its owner is alive; 0: never
 *  @param[out] lock the lock, which kennel_unlock() releases
 *  @retval KENNEL_OK the key is locked
 *  @retval KENNEL_NONE another caller still has it after wait_ms
 *  @retval KENNEL_E_NO_HANDLE; and the errors of a write */
int kennel_lock(const kennel *k, const void *key, size_t n, int64_t wait_ms, int64_t max_age_ms,
                kennel_key_lock *lock);

/** @brief Releases a lock.
 *  @param[in] lock the lock
 *  @retval KENNEL_OK it is released
 *  @retval KENNEL_NONE it was not exclusive any more: it was older than max_age_ms, or its file was replaced
 *  @retval KENNEL_E_BAD_HANDLE it was released before */
int kennel_unlock(kennel_key_lock lock);

/** @brief Tells whether a caller creates or locks a key at this moment.
 *  @param[in] k the cache
 *  @param[in] key,n the key
 *  @retval KENNEL_OK a caller does
 *  @retval KENNEL_NONE no caller does */
int kennel_is_claimed(const kennel *k, const void *key, size_t n);

/** @brief Begins to list the items of a cache. Nothing is locked, and reading the list does not count as a use of the keys.
 *  @param[in] k the cache; on a handle of a namespace, only its items are listed
 *  @param[in] prefix,n what the keys begin with; with @p n 0, all are listed. The whole file is searched in any case.
 *  @param[out] listing the listing, which ends with its last item or by kennel_end_list()
 *  @retval KENNEL_OK it has begun
 *  @retval KENNEL_E_NO_HANDLE */
int kennel_list(const kennel *k, const void *prefix, size_t n, kennel_listing *listing);

/** @brief The next item of a listing, in no particular order. What is written meanwhile may or may not be listed.
 *  @param[in] listing the listing. No two threads may ask for its items at a time.
 *  @param[out] key the key, which kennel_free() frees
 *  @param[out] n its length; may be NULL
 *  @param[in,out] item what the cache knows of the value; may be NULL
 *  @retval KENNEL_OK it is there
 *  @retval KENNEL_NONE there are no more; the listing has ended
 *  @retval KENNEL_E_NO_MEMORY
 *  @retval KENNEL_E_BAD_HANDLE it had ended before */
int kennel_next(kennel_listing listing, char **key, size_t *n, kennel_item *item);

/** @brief Ends a listing before its last item.
 *  @param[in] listing the listing
 *  @retval KENNEL_OK it has ended
 *  @retval KENNEL_E_BAD_HANDLE it had ended before */
int kennel_end_list(kennel_listing listing);

/** @brief Invalidates all values of the handle's namespace, or of the file, for all processes, in the same short time for
 *         any number of values.
 *  @param[in] k the cache
 *  @param[in] soft 0: the values are gone; else they are stale
 *  @retval KENNEL_OK done
 *  @retval "errors of a write" */
int kennel_invalidate(const kennel *k, int soft);

/** @brief Invalidates the values that bear at least one of these tags, in any namespace, for all processes, in the same
 *         short time for any number of values.
 *  @param[in] k the cache
 *  @param[in] tags,count the names of the tags
 *  @param[in] soft 0: the values are gone; else they are stale
 *  @retval KENNEL_OK done
 *  @retval KENNEL_E_BAD_OPTION values of this file cannot bear tags
 *  @retval "errors of a write" */
int kennel_invalidate_tags(const kennel *k, const kennel_bytes *tags, size_t count, int soft);

/** @brief The statistics of the file as JSON: what "kennel stat --json" prints.
 *  @param[in] k the cache
 *  @param[out] out the text, which kennel_free() frees
 *  @retval KENNEL_OK it is there
 *  @retval KENNEL_E_NO_MEMORY */
int kennel_stats_json(const kennel *k, char **out);

#ifdef __cplusplus
}
#endif

#endif
