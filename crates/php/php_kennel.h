/* Declarations that the files of the extension share. */
#ifndef PHP_KENNEL_H
#define PHP_KENNEL_H

#include "php.h"
#include "ext/standard/php_var.h"
#include "zend_exceptions.h"
#include "zend_smart_str.h"
#include <kennel.h>

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

extern zend_module_entry kennel_module_entry;
#define phpext_kennel_ptr &kennel_module_entry

/* The flags of an int, which is stored as decimal digits. Flags take 24 bytes, and reading them takes longer. So any
 * other value that is not text has no flags, but begins with bytes with which no text in UTF-8 begins. The output of
 * serialize() follows these bytes. */
#define KENNEL_INT 0x50480001u
#define KENNEL_SERIALIZED "\xffPHP"
#define KENNEL_SERIALIZED_LEN 4

/* A result in addition to those of the library: PHP has thrown an exception. */
#define KENNEL_THROWN (-1000)

/* Values up to this length are copied through a buffer of this process, which needs a single lookup. */
#define KENNEL_BUFFER 16384

ZEND_BEGIN_MODULE_GLOBALS(kennel)
    bool enabled;
    bool trust;
    char *path;
    char *locks;
    char *space;
    zend_long capacity;
    zend_long mean_item;
    zend_long mode;
    kennel *cache;      /* the cache that the settings name */
    char *opened;       /* the settings with which it was opened */
    bool failed;        /* whether it could not be opened in this request */
    HashTable handles;  /* all open handles of this process, by their names: see name_of() */
    HashTable creating; /* the claims of this request, by handle and key */
    char *buffer;
ZEND_END_MODULE_GLOBALS(kennel)

ZEND_EXTERN_MODULE_GLOBALS(kennel)
#define KENNEL_G(v) ZEND_MODULE_GLOBALS_ACCESSOR(kennel, v)

#if defined(ZTS) && defined(COMPILE_DL_KENNEL)
ZEND_TSRMLS_CACHE_EXTERN()
#endif

/* The names in a PHP array, in the form that the library takes. */
typedef struct {
    size_t count, room;
    zend_string **texts;
    kennel_bytes *bytes;
} kennel_names;

/* How a missing value is created. */
typedef struct {
    kennel_create_options options;
    int64_t wait_ms;
    bool or_uncached; /* whether to create the value without storing it if the cache fails */
    bool unprotected; /* whether to create the value when the wait is over */
    kennel_names tags;
} kennel_how;

/* A value in its stored form. */
typedef struct {
    const char *at;
    size_t len;
    uint32_t flags;
    char digits[24];
    smart_str text;
} kennel_encoded;

extern zend_class_entry *kennel_exception_ce, *kennel_cache_ce, *kennel_item_ce, *kennel_lock_ce;

/* kennel.c */
int php_kennel_open(void);
kennel *php_kennel_default(void);
int php_kennel_handle(const char *path, const kennel_options *options, kennel **out);
int php_kennel_handle_of_namespace(kennel *of, const char *name, int64_t ttl_ms, kennel **out);
void php_kennel_forget(const char *path);

/* errors.c */
void php_kennel_throw(int result);
void php_kennel_throw_text(int result, const char *facts, const char *advice);
void php_kennel_register_exception(void);

/* values.c */
bool php_kennel_encode(zval *value, kennel_encoded *bytes);
void php_kennel_encoded_free(kennel_encoded *bytes);
int php_kennel_read(kennel *k, zend_string *key, zval *value);
int php_kennel_read_item(kennel *k, zend_string *key, zval *value, kennel_item *item);
int php_kennel_write(kennel *k, zend_string *key, zval *value, int64_t ttl_ms);
int php_kennel_write_new(kennel *k, zend_string *key, zval *value, int64_t ttl_ms);
int php_kennel_decode(zval *value, const char *at, size_t len, uint32_t flags);
int64_t php_kennel_seconds(double seconds);

/* many.c */
bool php_kennel_names(HashTable *list, const char *what, kennel_names *names);
void php_kennel_free_names(kennel_names *names);
int php_kennel_read_many(kennel *k, HashTable *keys, zval *otherwise, HashTable *into);
int php_kennel_write_many(kennel *k, HashTable *given, int64_t ttl_ms);
int php_kennel_delete_many(kennel *k, HashTable *keys, zend_long *removed);

/* numbers.c */
int php_kennel_change(kennel *k, zend_string *key, zend_long by, const zend_long *initial, int64_t ttl_ms, zval *number);
int php_kennel_exchange(kennel *k, zend_string *key, zend_long old, zend_long new_number);

/* create.c */
int php_kennel_create(kennel *k, zend_string *key, zend_fcall_info *fci, zend_fcall_info_cache *fcc, const kennel_how *how,
                  zval *value);
int php_kennel_wait_for_lock(kennel *k, zend_string *key, int64_t wait_ms, int64_t max_age_ms, kennel_key_lock *lock);
void php_kennel_end_claims(void);

/* functions.c, info.c, cache.c, objects.c */
extern const zend_function_entry kennel_functions[];
int php_kennel_stats(kennel *k, zval *stats);
PHP_FUNCTION(kennel_cache_info);
PHP_FUNCTION(kennel_sma_info);
PHP_FUNCTION(kennel_key_info);
void php_kennel_register_cache(void);
void php_kennel_register_objects(void);
void php_kennel_new_lock(zval *object, kennel_key_lock lock);
void php_kennel_new_item(zval *object, zval *value, const kennel_item *item);

#endif
