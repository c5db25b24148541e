/* Kennel\Item, a value with its metadata, and Kennel\Lock, a lock that ends with its object. */
#include "php_kennel.h"

zend_class_entry *kennel_item_ce, *kennel_lock_ce;

static zend_object_handlers lock_handlers;

typedef struct {
    kennel_key_lock lock;
    zend_object std;
} lock_object;

static lock_object *lock_of(zend_object *object) {
    return (lock_object *)((char *)object - XtOffsetOf(lock_object, std));
}

static zend_object *make_lock(zend_class_entry *ce) {
    lock_object *made = zend_object_alloc(sizeof *made, ce);
    made->lock = 0;
    zend_object_std_init(&made->std, ce);
    object_properties_init(&made->std, ce);
    made->std.handlers = &lock_handlers;
    return &made->std;
}

/* This function also runs after a fatal error, when destructors do not run. */
static void free_lock(zend_object *object) {
    if (lock_of(object)->lock != 0)
        kennel_unlock(lock_of(object)->lock);
    zend_object_std_dtor(object);
}

void php_kennel_new_lock(zval *object, kennel_key_lock lock) {
    object_init_ex(object, kennel_lock_ce);
    lock_of(Z_OBJ_P(object))->lock = lock;
}

static PHP_METHOD(Kennel_Lock, __construct) {
    ZEND_PARSE_PARAMETERS_NONE();
}

static PHP_METHOD(Kennel_Lock, release) {
    lock_object *own = lock_of(Z_OBJ_P(ZEND_THIS));
    kennel_key_lock lock = own->lock;
    ZEND_PARSE_PARAMETERS_NONE();
    own->lock = 0;
    RETURN_BOOL(lock != 0 && kennel_unlock(lock) == KENNEL_OK);
}

static double seconds(int64_t ms) {
    return (double)ms / 1000;
}

static void set_moment(zval *object, const char *name, int64_t moment_ms) {
    if (moment_ms == 0)
        zend_update_property_null(kennel_item_ce, Z_OBJ_P(object), name, strlen(name));
    else
        zend_update_property_double(kennel_item_ce, Z_OBJ_P(object), name, strlen(name), seconds(moment_ms));
}

void php_kennel_new_item(zval *object, zval *value, const kennel_item *item) {
    object_init_ex(object, kennel_item_ce);
    zend_update_property(kennel_item_ce, Z_OBJ_P(object), ZEND_STRL("value"), value);
    zend_update_property_long(kennel_item_ce, Z_OBJ_P(object), ZEND_STRL("stamp"), (zend_long)item->stamp);
    zend_update_property_bool(kennel_item_ce, Z_OBJ_P(object), ZEND_STRL("isStale"), item->is_stale);
    set_moment(object, "expires", item->expires_ms);
    set_moment(object, "staleFrom", item->soft_expires_ms);
    set_moment(object, "created", item->created_ms);
}

ZEND_BEGIN_ARG_INFO_EX(arginfo_construct, 0, 0, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_release, 0, 0, _IS_BOOL, 0)
ZEND_END_ARG_INFO()

static const zend_function_entry lock_methods[] = {
    PHP_ME(Kennel_Lock, __construct, arginfo_construct, ZEND_ACC_PRIVATE)
    PHP_ME(Kennel_Lock, release, arginfo_release, ZEND_ACC_PUBLIC)
    PHP_FE_END
};

void php_kennel_register_objects(void) {
    static const char *const moments[] = {"expires", "staleFrom", "created"};
    zend_class_entry ce;
    INIT_CLASS_ENTRY(ce, "Kennel\\Lock", lock_methods);
    kennel_lock_ce = zend_register_internal_class(&ce);
    kennel_lock_ce->create_object = make_lock;
    kennel_lock_ce->ce_flags |= ZEND_ACC_FINAL | ZEND_ACC_NO_DYNAMIC_PROPERTIES | ZEND_ACC_NOT_SERIALIZABLE;
    memcpy(&lock_handlers, &std_object_handlers, sizeof lock_handlers);
    lock_handlers.offset = XtOffsetOf(lock_object, std);
    lock_handlers.free_obj = free_lock;
    lock_handlers.clone_obj = NULL;
    INIT_CLASS_ENTRY(ce, "Kennel\\Item", NULL);
    kennel_item_ce = zend_register_internal_class(&ce);
    kennel_item_ce->ce_flags |= ZEND_ACC_FINAL;
    zend_declare_property_null(kennel_item_ce, ZEND_STRL("value"), ZEND_ACC_PUBLIC);
    zend_declare_property_long(kennel_item_ce, ZEND_STRL("stamp"), 0, ZEND_ACC_PUBLIC);
    zend_declare_property_bool(kennel_item_ce, ZEND_STRL("isStale"), 0, ZEND_ACC_PUBLIC);
    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++)
        zend_declare_property_null(kennel_item_ce, moments[i], strlen(moments[i]), ZEND_ACC_PUBLIC);
}
