/* Kennel\Exception, whose advice is worded for PHP. */
#include "php_kennel.h"
#include "ext/spl/spl_exceptions.h"

zend_class_entry *kennel_exception_ce;

static const struct {
    const char *name, *words;
} remedies[] = {
    {"create", "create it with \"kennel create\", or open it without the option \"existing\""},
    {"open-or-destroy", "open it, or remove it first with Kennel\\Cache::destroy()"},
    {"other-path", "this is no cache file, so it is left alone: choose another path, or remove it yourself"},
    {"other-path-or-remove", "this is no cache file, so it is left alone: choose another path, or remove it yourself if "
                             "you know that it once was one"},
    {"replace-lost", "a power failure can leave a file like this, and nothing is lost with it: remove it with "
                     "Kennel\\Cache::destroy()"},
    {"destroy-and-create", "it is a cache file of another format, or a damaged one: remove it with "
                           "Kennel\\Cache::destroy(), and open it again"},
    {"on-mismatch", "use the file as it is, without the option \"same_sizes\", or remove it with Kennel\\Cache::destroy()"},
    {"restore-locks", "the file was moved, linked or mounted without its lock directory, or that directory was deleted: "
                      "restore the directory, or remove the cache with Kennel\\Cache::destroy()"},
    {"not-lease", "use another file system (/dev/shm, a volume), or create the file with the option \"locks\" => \"file\""},
    {"share-handle", "create the file with another lock strategy for several processes"},
    {"trust", "if you trust everyone who can write to it, open it with the option \"trust\""},
    {"local-files", "use a local file system, or the option \"allow_network\" if only one host uses the file and you know "
                    "that its locks work"},
    {"more-seats", "create the file with more \"seats\""},
    {"larger-items", "fewer \"stripes\" or a larger \"capacity\" allow larger items"},
    {"wait-longer", "wait longer (the option \"wait\"), or create the value anyway (the option \"unprotected\")"},
    {"not-within", "within its creation or lock, do not create or lock the key again"},
    {"more-namespaces", "create the file with room for more \"namespaces\""},
};

static const char *remedy(const char *advice) {
    for (size_t i = 0; i < sizeof remedies / sizeof *remedies; i++) {
        if (strcmp(remedies[i].name, advice) == 0)
            return remedies[i].words;
    }
    return "";
}

void php_kennel_throw_text(int result, const char *facts, const char *advice) {
    const char *words = remedy(advice);
    zend_object *made = zend_throw_exception_ex(kennel_exception_ce, result, "%s%s%s", facts, *words ? "; " : "", words);
    zend_update_property_string(kennel_exception_ce, made, ZEND_STRL("facts"), facts);
    zend_update_property_string(kennel_exception_ce, made, ZEND_STRL("remedy"), words);
}

/* Throws the library's last failure as an exception, unless PHP has already thrown one. */
void php_kennel_throw(int result) {
    if (result != KENNEL_THROWN)
        php_kennel_throw_text(result, kennel_last_facts(), kennel_last_advice());
}

static const struct {
    const char *name;
    int number;
} codes[] = {
    {"IO", KENNEL_E_IO},
    {"NOT_FOUND", KENNEL_E_NOT_FOUND},
    {"EXISTS", KENNEL_E_EXISTS},
    {"BAD_FILE", KENNEL_E_BAD_FILE},
    {"MISMATCH", KENNEL_E_MISMATCH},
    {"LOCKS_LOST", KENNEL_E_LOCKS_LOST},
    {"LEASE_REFUSED", KENNEL_E_LEASE_REFUSED},
    {"UNKNOWN_STRATEGY", KENNEL_E_UNKNOWN_STRATEGY},
    {"OPEN_ELSEWHERE", KENNEL_E_OPEN_ELSEWHERE},
    {"NOT_TRUSTED", KENNEL_E_NOT_TRUSTED},
    {"NETWORK_FILESYSTEM", KENNEL_E_NETWORK_FILESYSTEM},
    {"NO_SPACE", KENNEL_E_NO_SPACE},
    {"SEATS_FULL", KENNEL_E_SEATS_FULL},
    {"BAD_OPTION", KENNEL_E_BAD_OPTION},
    {"KEY_TOO_LONG", KENNEL_E_KEY_TOO_LONG},
    {"TOO_LARGE", KENNEL_E_TOO_LARGE},
    {"NOT_A_NUMBER", KENNEL_E_NOT_A_NUMBER},
    {"OVERFLOW", KENNEL_E_OVERFLOW},
    {"BUSY", KENNEL_E_BUSY},
    {"TIMED_OUT", KENNEL_E_TIMED_OUT},
    {"OWN_CLAIM", KENNEL_E_OWN_CLAIM},
    {"NAMESPACES_FULL", KENNEL_E_NAMESPACES_FULL},
    {"READ_ONLY", KENNEL_E_READ_ONLY},
    {"NO_MEMORY", KENNEL_E_NO_MEMORY},
    {"TOO_MANY_TAGS", KENNEL_E_TOO_MANY_TAGS},
    {"RESTING", KENNEL_E_RESTING},
    {"NO_HANDLE", KENNEL_E_NO_HANDLE},
    {"PANIC", KENNEL_E_PANIC},
};

void php_kennel_register_exception(void) {
    zend_class_entry ce;
    INIT_CLASS_ENTRY(ce, "Kennel\\Exception", NULL);
    kennel_exception_ce = zend_register_internal_class_ex(&ce, spl_ce_RuntimeException);
    zend_declare_property_string(kennel_exception_ce, ZEND_STRL("facts"), "", ZEND_ACC_PUBLIC);
    zend_declare_property_string(kennel_exception_ce, ZEND_STRL("remedy"), "", ZEND_ACC_PUBLIC);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        zend_declare_class_constant_long(kennel_exception_ce, codes[i].name, strlen(codes[i].name), codes[i].number);
}
