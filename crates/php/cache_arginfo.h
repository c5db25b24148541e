/* The parameters of Kennel\Cache's methods, as stubs/kennel.php declares them. */

#define DEFAULT_NULL(type, name) ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, name, type, 1, "null")
#define DEFAULT_OPTIONS ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, options, IS_ARRAY, 0, "[]")
#define KEY ZEND_ARG_TYPE_INFO(0, key, IS_STRING, 0)
#define VALUE ZEND_ARG_TYPE_INFO(0, value, IS_MIXED, 0)
#define DEFAULT_VALUE ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, default, IS_MIXED, 0, "null")

ZEND_BEGIN_ARG_INFO_EX(arginfo_construct, 0, 0, 0)
DEFAULT_NULL(IS_STRING, path)
DEFAULT_OPTIONS
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_OBJ_INFO_EX(arginfo_default, 0, 0, Kennel\\Cache, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_destroy, 0, 0, _IS_BOOL, 0)
DEFAULT_NULL(IS_STRING, path)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_OBJ_INFO_EX(arginfo_namespace, 0, 1, Kennel\\Cache, 0)
ZEND_ARG_TYPE_INFO(0, name, IS_STRING, 0)
DEFAULT_NULL(IS_DOUBLE, ttl)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_get, 0, 1, IS_MIXED, 0)
KEY
DEFAULT_VALUE
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_OBJ_INFO_EX(arginfo_getItem, 0, 1, Kennel\\Item, 1)
KEY
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_getMultiple, 0, 1, IS_ARRAY, 0)
ZEND_ARG_TYPE_INFO(0, keys, IS_ARRAY, 0)
DEFAULT_VALUE
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_of_key, 0, 1, _IS_BOOL, 0)
KEY
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_set, 0, 2, _IS_BOOL, 0)
KEY
VALUE
DEFAULT_NULL(IS_DOUBLE, ttl)
DEFAULT_NULL(IS_DOUBLE, staleAfter)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_setMultiple, 0, 1, IS_VOID, 0)
ZEND_ARG_TYPE_INFO(0, values, IS_ARRAY, 0)
DEFAULT_NULL(IS_DOUBLE, ttl)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_deleteMultiple, 0, 1, IS_LONG, 0)
ZEND_ARG_TYPE_INFO(0, keys, IS_ARRAY, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_touch, 0, 1, _IS_BOOL, 0)
KEY
DEFAULT_NULL(IS_DOUBLE, ttl)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_MASK_EX(arginfo_change, 0, 1, MAY_BE_LONG | MAY_BE_DOUBLE | MAY_BE_NULL)
KEY
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, by, IS_LONG, 0, "1")
DEFAULT_NULL(IS_LONG, initial)
DEFAULT_NULL(IS_DOUBLE, ttl)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_compareAndSwap, 0, 3, IS_LONG, 1)
KEY
ZEND_ARG_TYPE_INFO(0, stamp, IS_LONG, 0)
VALUE
DEFAULT_NULL(IS_DOUBLE, ttl)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_compareAndDelete, 0, 2, _IS_BOOL, 0)
KEY
ZEND_ARG_TYPE_INFO(0, stamp, IS_LONG, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_getOrCreate, 0, 2, IS_MIXED, 0)
KEY
ZEND_ARG_TYPE_INFO(0, create, IS_CALLABLE, 0)
DEFAULT_NULL(IS_DOUBLE, ttl)
DEFAULT_OPTIONS
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_OBJ_INFO_EX(arginfo_lock, 0, 1, Kennel\\Lock, 1)
KEY
DEFAULT_NULL(IS_DOUBLE, wait)
DEFAULT_NULL(IS_DOUBLE, maxAge)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_keys, 0, 0, IS_ARRAY, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, prefix, IS_STRING, 0, "''")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_invalidate, 0, 0, IS_VOID, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, soft, _IS_BOOL, 0, "false")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_setTagged, 0, 3, _IS_BOOL, 0)
ZEND_ARG_TYPE_INFO(0, key, IS_STRING, 0)
ZEND_ARG_TYPE_INFO(0, value, IS_MIXED, 0)
ZEND_ARG_TYPE_INFO(0, tags, IS_ARRAY, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, ttl, IS_DOUBLE, 1, "null")
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, staleAfter, IS_DOUBLE, 1, "null")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_invalidateTags, 0, 1, IS_VOID, 0)
ZEND_ARG_TYPE_INFO(0, tags, IS_ARRAY, 0)
ZEND_ARG_TYPE_INFO_WITH_DEFAULT_VALUE(0, soft, _IS_BOOL, 0, "false")
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_removeNamespace, 0, 1, _IS_BOOL, 0)
ZEND_ARG_TYPE_INFO(0, name, IS_STRING, 0)
ZEND_END_ARG_INFO()

ZEND_BEGIN_ARG_WITH_RETURN_TYPE_INFO_EX(arginfo_stats, 0, 0, IS_ARRAY, 0)
ZEND_END_ARG_INFO()

#define METHOD(name, arguments) PHP_ME(Kennel_Cache, name, arguments, ZEND_ACC_PUBLIC)

static const zend_function_entry cache_methods[] = {
    METHOD(__construct, arginfo_construct)
    PHP_ME(Kennel_Cache, default, arginfo_default, ZEND_ACC_PUBLIC | ZEND_ACC_STATIC)
    PHP_ME(Kennel_Cache, destroy, arginfo_destroy, ZEND_ACC_PUBLIC | ZEND_ACC_STATIC)
    METHOD(namespace, arginfo_namespace)
    METHOD(get, arginfo_get)
    METHOD(getItem, arginfo_getItem)
    METHOD(getMultiple, arginfo_getMultiple)
    METHOD(has, arginfo_of_key)
    METHOD(set, arginfo_set)
    METHOD(add, arginfo_set)
    METHOD(setMultiple, arginfo_setMultiple)
    METHOD(delete, arginfo_of_key)
    METHOD(deleteMultiple, arginfo_deleteMultiple)
    METHOD(touch, arginfo_touch)
    METHOD(increment, arginfo_change)
    METHOD(decrement, arginfo_change)
    METHOD(compareAndSwap, arginfo_compareAndSwap)
    METHOD(compareAndDelete, arginfo_compareAndDelete)
    METHOD(getOrCreate, arginfo_getOrCreate)
    METHOD(lock, arginfo_lock)
    METHOD(isClaimed, arginfo_of_key)
    METHOD(keys, arginfo_keys)
    METHOD(invalidate, arginfo_invalidate)
    METHOD(setTagged, arginfo_setTagged)
    METHOD(invalidateTags, arginfo_invalidateTags)
    METHOD(removeNamespace, arginfo_removeNamespace)
    METHOD(stats, arginfo_stats)
    PHP_FE_END
};
