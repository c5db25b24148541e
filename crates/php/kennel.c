/* The module: settings, handles that stay open for the life of the process, and the ends of requests. */
#include "php_kennel.h"
#include "ext/standard/info.h"
#include "php_ini.h"

ZEND_DECLARE_MODULE_GLOBALS(kennel)

PHP_INI_BEGIN()
STD_PHP_INI_BOOLEAN("kennel.enabled", "1", PHP_INI_SYSTEM, OnUpdateBool, enabled, zend_kennel_globals, kennel_globals)
STD_PHP_INI_ENTRY("kennel.path", "", PHP_INI_SYSTEM, OnUpdateString, path, zend_kennel_globals, kennel_globals)
STD_PHP_INI_ENTRY("kennel.namespace", "", PHP_INI_SYSTEM, OnUpdateString, space, zend_kennel_globals, kennel_globals)
STD_PHP_INI_ENTRY("kennel.locks", "", PHP_INI_SYSTEM, OnUpdateString, locks, zend_kennel_globals, kennel_globals)
STD_PHP_INI_ENTRY("kennel.capacity", "0", PHP_INI_SYSTEM, OnUpdateLong, capacity, zend_kennel_globals, kennel_globals)
STD_PHP_INI_ENTRY("kennel.mean_item", "0", PHP_INI_SYSTEM, OnUpdateLong, mean_item, zend_kennel_globals, kennel_globals)
STD_PHP_INI_ENTRY("kennel.mode", "0", PHP_INI_SYSTEM, OnUpdateLong, mode, zend_kennel_globals, kennel_globals)
STD_PHP_INI_BOOLEAN("kennel.trust", "0", PHP_INI_SYSTEM, OnUpdateBool, trust, zend_kennel_globals, kennel_globals)
PHP_INI_END()

static void close_handle(zval *handle) {
    kennel_close(Z_PTR_P(handle));
}

static PHP_GINIT_FUNCTION(kennel) {
#if defined(ZTS) && defined(COMPILE_DL_KENNEL)
    ZEND_TSRMLS_CACHE_UPDATE();
#endif
    memset(kennel_globals, 0, sizeof *kennel_globals);
    zend_hash_init(&kennel_globals->handles, 8, NULL, close_handle, 1);
    kennel_globals->buffer = pemalloc(KENNEL_BUFFER, 1);
}

static PHP_GSHUTDOWN_FUNCTION(kennel) {
    zend_hash_destroy(&kennel_globals->handles);
    pefree(kennel_globals->buffer, 1);
    free(kennel_globals->opened);
}

/* The name that identifies a handle. It is made of a path and options, or of the name of a handle and a namespace. */
static zend_string *name_of(const char *path, const kennel_options *options) {
    smart_str name = {0};
    smart_str_appendl(&name, "file", sizeof "file");
    smart_str_appends(&name, path != NULL ? path : "");
    smart_str_appendc(&name, 0);
    smart_str_append_printf(&name, "%lu %lu %ld %u %u %u %u %u %u %s", (unsigned long)options->capacity,
                            (unsigned long)options->mean_item, (long)options->lock_wait_ms, options->stripes,
                            options->seats, options->namespaces, options->claims, options->mode, options->bits,
                            options->locks != NULL ? options->locks : "");
    smart_str_0(&name);
    return name.s;
}

static int kept(zend_string *name, int result, kennel *k, kennel **out) {
    if (result == KENNEL_OK) {
        /* The hash needs a copy of the name that outlives the request. */
        zend_string *persistent = zend_string_init(ZSTR_VAL(name), ZSTR_LEN(name), 1);
        zval handle;
        ZVAL_PTR(&handle, k);
        zend_hash_update(&KENNEL_G(handles), persistent, &handle);
        zend_string_release_ex(persistent, 1);
        *out = k;
    }
    zend_string_release(name);
    return result;
}

/* Opens a file. A new file gets the lock strategy "lease", with which a write makes no system call, unless the file
 * system does not allow it. An existing file keeps its own strategy. */
static int open_file(const char *path, const kennel_options *options, kennel **k) {
    kennel_options with_lease = *options;
    int result;
    if (options->locks != NULL)
        return kennel_open(path, options, k);
    with_lease.locks = "lease";
    result = kennel_open(path, &with_lease, k);
    return result == KENNEL_E_LEASE_REFUSED || result == KENNEL_E_MISMATCH ? kennel_open(path, options, k) : result;
}

/* Returns an open handle. It stays open until the process ends, so that a later request need not open the file
 * again. */
int php_kennel_handle(const char *path, const kennel_options *options, kennel **out) {
    zend_string *name = name_of(path, options);
    kennel *k = NULL;
    int result;
    *out = zend_hash_find_ptr(&KENNEL_G(handles), name);
    if (*out != NULL) {
        zend_string_release(name);
        return KENNEL_OK;
    }
    result = open_file(path, options, &k);
    return kept(name, result, k, out);
}

int php_kennel_handle_of_namespace(kennel *of, const char *name, int64_t ttl_ms, kennel **out) {
    zend_string *full = strpprintf(0, "namespace %p " ZEND_LONG_FMT " %s", (void *)of, (zend_long)ttl_ms, name);
    kennel *k = NULL;
    int result;
    *out = zend_hash_find_ptr(&KENNEL_G(handles), full);
    if (*out != NULL) {
        zend_string_release(full);
        return KENNEL_OK;
    }
    result = kennel_namespace(of, name, ttl_ms, &k);
    return kept(full, result, k, out);
}

/* Makes sure that the next handle of a path is a new one. Objects may still use the old handle, so it stays open under
 * another name. */
void php_kennel_forget(const char *path) {
    zend_string *name, *prefix = strpprintf(0, "file%c%s%c", 0, path != NULL ? path : "", 0);
    zval *handle;
    HashTable old;
    KENNEL_G(cache) = NULL;
    zend_hash_init(&old, 8, NULL, NULL, 0);
    ZEND_HASH_FOREACH_STR_KEY_VAL(&KENNEL_G(handles), name, handle) {
        if (ZSTR_LEN(name) >= ZSTR_LEN(prefix) && memcmp(ZSTR_VAL(name), ZSTR_VAL(prefix), ZSTR_LEN(prefix)) == 0)
            zend_hash_add(&old, name, handle);
    }
    ZEND_HASH_FOREACH_END();
    ZEND_HASH_FOREACH_STR_KEY_VAL(&old, name, handle) {
        zend_string *other = strpprintf(0, "old %p", Z_PTR_P(handle)), *persistent;
        persistent = zend_string_init(ZSTR_VAL(other), ZSTR_LEN(other), 1);
        zend_hash_update(&KENNEL_G(handles), persistent, handle);
        zend_string_release_ex(persistent, 1);
        zend_string_release(other);
        KENNEL_G(handles).pDestructor = NULL;
        zend_hash_del(&KENNEL_G(handles), name);
        KENNEL_G(handles).pDestructor = close_handle;
    }
    ZEND_HASH_FOREACH_END();
    zend_hash_destroy(&old);
    zend_string_release(prefix);
}

static const char *or_null(const char *text) {
    return text != NULL && *text != 0 ? text : NULL;
}

/* Opens the cache that the settings name, if it is not open. */
int php_kennel_open(void) {
    kennel_options options = KENNEL_OPTIONS_INIT;
    kennel *file;
    int result;
    if (KENNEL_G(cache) != NULL)
        return KENNEL_OK;
    options.capacity = (uint64_t)MAX(KENNEL_G(capacity), 0);
    options.mean_item = (uint64_t)MAX(KENNEL_G(mean_item), 0);
    options.mode = (uint32_t)MAX(KENNEL_G(mode), 0);
    options.locks = or_null(KENNEL_G(locks));
    options.bits = KENNEL_G(trust) ? KENNEL_TRUST : 0;
    result = php_kennel_handle(or_null(KENNEL_G(path)), &options, &file);
    if (result == KENNEL_OK && or_null(KENNEL_G(space)) != NULL)
        return php_kennel_handle_of_namespace(file, KENNEL_G(space), 0, &KENNEL_G(cache));
    KENNEL_G(cache) = result == KENNEL_OK ? file : NULL;
    return result;
}

/* The cache that the settings name, or NULL. It is opened at its first use, because FPM starts its workers as root and
 * changes the user afterwards. If it cannot be opened, there is one warning in each request. */
kennel *php_kennel_default(void) {
    if (EXPECTED(KENNEL_G(cache) != NULL))
        return KENNEL_G(cache);
    if (!KENNEL_G(enabled) || KENNEL_G(failed))
        return NULL;
    if (php_kennel_open() < 0) {
        KENNEL_G(failed) = true;
        php_error_docref(NULL, E_WARNING, "The cache cannot be opened: %s", kennel_last_facts());
    }
    return KENNEL_G(cache);
}

static void free_claim(zval *entry) {
    efree(Z_PTR_P(entry));
}

static PHP_RINIT_FUNCTION(kennel) {
    char *settings;
#if defined(ZTS) && defined(COMPILE_DL_KENNEL)
    ZEND_TSRMLS_CACHE_UPDATE();
#endif
    zend_hash_init(&KENNEL_G(creating), 8, NULL, free_claim, 0);
    KENNEL_G(failed) = false;
    /* A server that has settings for each host may have changed them since the last request. */
    spprintf(&settings, 0, "%s\n%s", KENNEL_G(path) != NULL ? KENNEL_G(path) : "",
             KENNEL_G(space) != NULL ? KENNEL_G(space) : "");
    if (KENNEL_G(opened) == NULL || strcmp(KENNEL_G(opened), settings) != 0) {
        KENNEL_G(cache) = NULL;
        free(KENNEL_G(opened));
        KENNEL_G(opened) = strdup(settings);
    }
    if (!KENNEL_G(enabled))
        KENNEL_G(cache) = NULL;
    efree(settings);
    return SUCCESS;
}

/* A claim that is left at the end of a request belongs to a fiber that a fatal error destroyed. */
static PHP_RSHUTDOWN_FUNCTION(kennel) {
    php_kennel_end_claims();
    zend_hash_destroy(&KENNEL_G(creating));
    return SUCCESS;
}

static PHP_MINIT_FUNCTION(kennel) {
    REGISTER_INI_ENTRIES();
    php_kennel_register_exception();
    php_kennel_register_objects();
    php_kennel_register_cache();
    return SUCCESS;
}

static PHP_MSHUTDOWN_FUNCTION(kennel) {
    UNREGISTER_INI_ENTRIES();
    return SUCCESS;
}

static PHP_MINFO_FUNCTION(kennel) {
    php_info_print_table_start();
    php_info_print_table_row(2, "Kennel", KENNEL_G(enabled) ? "enabled" : "disabled");
    php_info_print_table_row(2, "Version of the library", kennel_version());
    php_info_print_table_row(2, "Open", KENNEL_G(cache) != NULL ? "yes" : "at the first use");
    php_info_print_table_end();
    DISPLAY_INI_ENTRIES();
}

static const zend_module_dep dependencies[] = {ZEND_MOD_REQUIRED("json") ZEND_MOD_END};

zend_module_entry kennel_module_entry = {
    STANDARD_MODULE_HEADER_EX,
    NULL,
    dependencies,
    "kennel",
    kennel_functions,
    PHP_MINIT(kennel),
    PHP_MSHUTDOWN(kennel),
    PHP_RINIT(kennel),
    PHP_RSHUTDOWN(kennel),
    PHP_MINFO(kennel),
    "0.1.0",
    PHP_MODULE_GLOBALS(kennel),
    PHP_GINIT(kennel),
    PHP_GSHUTDOWN(kennel),
    NULL,
    STANDARD_MODULE_PROPERTIES_EX,
};

#ifdef COMPILE_DL_KENNEL
#ifdef ZTS
ZEND_TSRMLS_CACHE_DEFINE()
#endif
ZEND_GET_MODULE(kennel)
#endif
