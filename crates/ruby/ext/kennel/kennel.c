/* The extension: calls of the C library for Ruby. No call waits for another process, except that a write waits for the
 * lock of its stripe. All other waits are in lib/kennel/cache.rb, between calls, so that other threads and fibers run
 * meanwhile. */
#include <kennel.h>
#include <ruby.h>
#include <ruby/encoding.h>

/* Values up to this length are copied through the stack. */
#define SMALL 4096

typedef struct holder {
    kennel *k;
} holder;

static VALUE error_class;

static void close_holder(void *data) {
    holder *h = data;
    kennel_close(h->k);
    xfree(h);
}

static const rb_data_type_t type = {"Kennel::Cache", {NULL, close_holder, NULL}, NULL, NULL, RUBY_TYPED_FREE_IMMEDIATELY};

static VALUE allocate(VALUE class) {
    holder *h;
    return TypedData_Make_Struct(class, holder, &type, h);
}

/* Raises a Kennel::Error with these parts. */
static void raise_error(int number, const char *facts, const char *advice) {
    VALUE args[] = {INT2NUM(number), rb_utf8_str_new_cstr(facts), rb_utf8_str_new_cstr(advice)};
    rb_exc_raise(rb_class_new_instance(3, args, error_class));
}

static int checked(int result) {
    if (result < 0)
        raise_error(result, kennel_last_facts(), kennel_last_advice());
    return result;
}

static const kennel *cache_of(VALUE self) {
    holder *h;
    TypedData_Get_Struct(self, holder, &type, h);
    if (h->k == NULL)
        raise_error(KENNEL_E_BAD_HANDLE, "the cache is closed", "");
    return h->k;
}

#define BYTES(string) RSTRING_PTR(string), (size_t)RSTRING_LEN(string)

static VALUE truth(int result) {
    return checked(result) == KENNEL_NONE ? Qfalse : Qtrue;
}

static VALUE text(const char *at, size_t len) {
    return rb_utf8_str_new(at, (long)len);
}

/* A value in memory of the library, which is freed even if Ruby raises an exception. */
struct found {
    char *value;
    size_t len;
};

static VALUE copy_found(VALUE at) {
    struct found *found = (struct found *)at;
    return text(found->value, found->len);
}

static VALUE free_found(VALUE at) {
    kennel_free(((struct found *)at)->value);
    return Qnil;
}

static VALUE take(struct found *found) {
    return rb_ensure(copy_found, (VALUE)found, free_found, (VALUE)found);
}

/* The strings of a list, or of nil for none, and the addresses of their bytes. The list is a copy with frozen strings,
 * so it does not change, and it keeps the bytes alive. */
struct names {
    VALUE list, held;
    kennel_bytes *at;
    size_t count;
};

static struct names names_of(VALUE given) {
    struct names names = {rb_ary_new(), 0, NULL, 0};
    if (!NIL_P(given)) {
        Check_Type(given, T_ARRAY);
        for (long i = 0; i < RARRAY_LEN(given); i++) {
            VALUE each = rb_ary_entry(given, i);
            rb_ary_push(names.list, rb_str_new_frozen(StringValue(each)));
        }
    }
    names.count = (size_t)RARRAY_LEN(names.list);
    names.at = rb_alloc_tmp_buffer_with_count(&names.held, (names.count + 1) * sizeof *names.at, names.count + 1);
    for (size_t i = 0; i < names.count; i++) {
        VALUE each = rb_ary_entry(names.list, (long)i);
        names.at[i] = (kennel_bytes){RSTRING_PTR(each), (size_t)RSTRING_LEN(each)};
    }
    return names;
}

/* Frees the names after their last use. After an exception, Ruby's garbage collector frees them. */
static void free_names(struct names *names) {
    rb_free_tmp_buffer(&names->held);
    RB_GC_GUARD(names->list);
}

/* _open(path, locks, [capacity, mean_item, lock_wait, stripes, seats, namespaces, claims, mode, bits]) */
static VALUE cache_open(VALUE self, VALUE path, VALUE locks, VALUE numbers) {
    holder *h;
    TypedData_Get_Struct(self, holder, &type, h);
    kennel_options options = KENNEL_OPTIONS_INIT;
    Check_Type(numbers, T_ARRAY);
    options.capacity = NUM2ULL(rb_ary_entry(numbers, 0));
    options.mean_item = NUM2ULL(rb_ary_entry(numbers, 1));
    options.lock_wait_ms = NUM2LL(rb_ary_entry(numbers, 2));
    uint32_t *fields[] = {&options.stripes, &options.seats, &options.namespaces, &options.claims, &options.mode,
                          &options.bits};
    for (int i = 0; i < 6; i++)
        *fields[i] = NUM2UINT(rb_ary_entry(numbers, 3 + i));
    options.locks = NIL_P(locks) ? NULL : StringValueCStr(locks);
    const char *name = NIL_P(path) ? NULL : StringValueCStr(path);
    kennel_close(h->k);
    h->k = NULL;
    checked(kennel_open(name, &options, &h->k));
    return self;
}

static VALUE cache_close(VALUE self) {
    holder *h;
    TypedData_Get_Struct(self, holder, &type, h);
    kennel_close(h->k);
    h->k = NULL;
    return Qnil;
}

static VALUE destroy(VALUE class, VALUE path) {
    return truth(kennel_destroy(NIL_P(path) ? NULL : StringValueCStr(path)));
}

static VALUE part(VALUE self, VALUE name, VALUE ttl) {
    VALUE made = allocate(rb_obj_class(self));
    holder *h;
    TypedData_Get_Struct(made, holder, &type, h);
    checked(kennel_namespace(cache_of(self), StringValueCStr(name), NUM2LL(ttl), &h->k));
    return made;
}

static VALUE get(VALUE self, VALUE key) {
    char small[SMALL];
    struct found found;
    const kennel *k = cache_of(self);
    StringValue(key);
    int result = kennel_get_into(k, BYTES(key), small, sizeof small, &found.len);
    if (result == KENNEL_OK)
        return text(small, found.len);
    if (result == KENNEL_E_BUFFER_TOO_SMALL)
        result = kennel_get(k, BYTES(key), &found.value, &found.len);
    return checked(result) == KENNEL_OK ? take(&found) : Qnil;
}

/* The values of many keys, in one block of memory of the library. */
struct many {
    VALUE keys;
    char **values, *memory;
    kennel_item *items;
};

static VALUE copy_many(VALUE at) {
    struct many *many = (struct many *)at;
    VALUE found = rb_hash_new();
    for (long i = 0; i < RARRAY_LEN(many->keys); i++) {
        if (many->values[i] != NULL)
            rb_hash_aset(found, rb_ary_entry(many->keys, i), text(many->values[i], many->items[i].len));
    }
    return found;
}

static VALUE free_many(VALUE at) {
    kennel_free(((struct many *)at)->memory);
    return Qnil;
}

/* _get_multi(keys): a hash of the keys that have a value, with their values */
static VALUE get_multi(VALUE self, VALUE keys) {
    static const kennel_item empty = KENNEL_ITEM_INIT;
    struct names names = names_of(keys);
    struct many many = {names.list, NULL, NULL, NULL};
    VALUE held[2];
    many.values = ALLOCV_N(char *, held[0], names.count + 1);
    many.items = ALLOCV_N(kennel_item, held[1], names.count + 1);
    for (size_t i = 0; i < names.count; i++)
        many.items[i] = empty;
    checked(kennel_get_multi(cache_of(self), names.at, names.count, many.values, many.items, &many.memory));
    VALUE found = rb_ensure(copy_many, (VALUE)&many, free_many, (VALUE)&many);
    for (int i = 0; i < 2; i++)
        ALLOCV_END(held[i]);
    free_names(&names);
    return found;
}

/* _set_multi(keys_and_values, ttl, soft_ttl, flags, tags) */
static VALUE set_multi(VALUE self, VALUE list, VALUE ttl, VALUE soft_ttl, VALUE flags, VALUE names_of_tags) {
    struct names parts = names_of(list), tags = names_of(names_of_tags);
    kennel_set_options how = {sizeof how, NUM2LL(ttl), NUM2LL(soft_ttl), NUM2UINT(flags), 0, tags.at, tags.count};
    size_t count = parts.count / 2;
    VALUE held;
    kennel_pair *pairs = ALLOCV_N(kennel_pair, held, count + 1);
    for (size_t i = 0; i < count; i++) {
        const kennel_bytes *key = &parts.at[2 * i], *value = key + 1;
        pairs[i] = (kennel_pair){key->data, key->len, value->data, value->len, 0, 0};
    }
    int result = kennel_set_multi(cache_of(self), pairs, count, &how, NULL);
    ALLOCV_END(held);
    free_names(&tags);
    free_names(&parts);
    return truth(result);
}

/* _delete_multi(keys): how many of the keys had a value */
static VALUE delete_multi(VALUE self, VALUE keys) {
    struct names names = names_of(keys);
    VALUE held;
    int *results = ALLOCV_N(int, held, names.count + 1);
    int result = kennel_delete_multi(cache_of(self), names.at, names.count, results);
    size_t removed = 0;
    for (size_t i = 0; i < names.count; i++)
        removed += results[i] == KENNEL_OK;
    ALLOCV_END(held);
    free_names(&names);
    checked(result);
    return SIZET2NUM(removed);
}

static VALUE has(VALUE self, VALUE key) {
    StringValue(key);
    return truth(kennel_contains(cache_of(self), BYTES(key)));
}

/* _store(how, key, value, ttl, soft_ttl, flags, tags): how is 0 to set, 1 to add, 2 to replace */
static VALUE store(VALUE self, VALUE kind, VALUE key, VALUE value, VALUE ttl, VALUE soft_ttl, VALUE flags, VALUE tags) {
    kennel_set_options how = {sizeof how, NUM2LL(ttl), NUM2LL(soft_ttl), NUM2UINT(flags), 0, NULL, 0};
    int what = NUM2INT(kind), result;
    struct names names = {Qnil, 0, NULL, 0};
    StringValue(key);
    StringValue(value);
    if (!NIL_P(tags))
        names = names_of(tags);
    how.tags = names.at;
    how.tag_count = names.count;
    const kennel *k = cache_of(self);
    if (what == 0)
        result = kennel_set_with(k, BYTES(key), BYTES(value), &how, NULL);
    else if (what == 1)
        result = kennel_add(k, BYTES(key), BYTES(value), &how);
    else
        result = kennel_replace(k, BYTES(key), BYTES(value), &how);
    if (!NIL_P(tags))
        free_names(&names);
    return truth(result);
}

static VALUE delete(VALUE self, VALUE key) {
    StringValue(key);
    return truth(kennel_delete(cache_of(self), BYTES(key)));
}

static VALUE touch(VALUE self, VALUE key, VALUE ttl) {
    StringValue(key);
    return truth(kennel_touch(cache_of(self), BYTES(key), NUM2LL(ttl)));
}

/* _count(key, is_down, delta, initial, ttl, tags) */
static VALUE count(VALUE self, VALUE key, VALUE is_down, VALUE delta, VALUE initial, VALUE ttl, VALUE tags) {
    uint64_t number, by = NUM2ULL(delta), first = NIL_P(initial) ? 0 : NUM2ULL(initial);
    int64_t expires = NUM2LL(ttl);
    int result;
    StringValue(key);
    struct names names = names_of(tags);
    kennel_set_options how = {sizeof how, expires, 0, 0, 0, names.at, names.count};
    const kennel *k = cache_of(self);
    if (NIL_P(initial))
        result = RTEST(is_down) ? kennel_decr(k, BYTES(key), by, &number) : kennel_incr(k, BYTES(key), by, &number);
    else if (RTEST(is_down))
        result = kennel_decr_or(k, BYTES(key), by, first, &how, &number);
    else
        result = kennel_incr_or(k, BYTES(key), by, first, &how, &number);
    free_names(&names);
    return checked(result) == KENNEL_OK ? ULL2NUM(number) : Qnil;
}

/* _ask(key, ttl, soft_ttl, absent_ttl, wait, bits, tags): a request */
static VALUE ask(VALUE self, VALUE key, VALUE ttl, VALUE soft_ttl, VALUE absent_ttl, VALUE wait, VALUE bits, VALUE tags) {
    kennel_create_options how = {sizeof how, NUM2LL(ttl), NUM2LL(soft_ttl), NUM2LL(absent_ttl), NUM2LL(wait), 0, 0,
                                 NUM2UINT(bits), NULL, 0};
    kennel_request request;
    StringValue(key);
    struct names names = names_of(tags);
    how.tags = names.at;
    how.tag_count = names.count;
    int result = kennel_ask(cache_of(self), BYTES(key), &how, &request);
    free_names(&names);
    checked(result);
    return ULL2NUM(request);
}

/* _poll(request): nil while there is no answer; then [value, claim], each of which may be nil */
static VALUE poll(VALUE self, VALUE request) {
    struct found found;
    kennel_claim claim;
    int result = checked(kennel_poll(NUM2ULL(request), &found.value, &found.len, &claim));
    if (result == KENNEL_WAIT)
        return Qnil;
    VALUE value = found.value == NULL ? Qnil : take(&found);
    return rb_assoc_new(value, claim == 0 ? Qnil : ULL2NUM(claim));
}

static VALUE withdraw(VALUE self, VALUE request) {
    return kennel_withdraw(NUM2ULL(request)) == KENNEL_OK ? Qtrue : Qfalse;
}

static VALUE complete(VALUE self, VALUE claim, VALUE value) {
    uint64_t number = NUM2ULL(claim);
    if (NIL_P(value))
        return truth(kennel_complete_absent(number));
    StringValue(value);
    return truth(kennel_complete(number, BYTES(value)));
}

/* _fail(claim): ends a claim; does nothing if the claim has already ended */
static VALUE fail(VALUE self, VALUE claim) {
    return kennel_fail(NUM2ULL(claim)) == KENNEL_OK ? Qtrue : Qfalse;
}

/* _lock(key, max_age): the number of the lock, or nil if another caller has it */
static VALUE lock(VALUE self, VALUE key, VALUE max_age) {
    kennel_key_lock got;
    StringValue(key);
    int result = checked(kennel_lock(cache_of(self), BYTES(key), 0, NUM2LL(max_age), &got));
    return result == KENNEL_OK ? ULL2NUM(got) : Qnil;
}

static VALUE unlock(VALUE self, VALUE number) {
    return kennel_unlock(NUM2ULL(number)) == KENNEL_OK ? Qtrue : Qfalse;
}

static VALUE is_claimed(VALUE self, VALUE key) {
    StringValue(key);
    return truth(kennel_is_claimed(cache_of(self), BYTES(key)));
}

static VALUE invalidate(VALUE self, VALUE soft) {
    checked(kennel_invalidate(cache_of(self), RTEST(soft)));
    return Qnil;
}

static VALUE invalidate_tags(VALUE self, VALUE tags, VALUE soft) {
    struct names names = names_of(tags);
    int result = kennel_invalidate_tags(cache_of(self), names.at, names.count, RTEST(soft));
    free_names(&names);
    checked(result);
    return Qnil;
}

static VALUE stats(VALUE self) {
    struct found found;
    checked(kennel_stats_json(cache_of(self), &found.value));
    found.len = strlen(found.value);
    return take(&found);
}

static VALUE list_keys(VALUE at) {
    VALUE list = rb_ary_new();
    struct found found;
    while (checked(kennel_next(*(kennel_listing *)at, &found.value, &found.len, NULL)) == KENNEL_OK)
        rb_ary_push(list, take(&found));
    return list;
}

static VALUE end_list(VALUE at) {
    kennel_end_list(*(kennel_listing *)at);
    return Qnil;
}

static VALUE keys(VALUE self, VALUE prefix) {
    kennel_listing listing;
    StringValue(prefix);
    checked(kennel_list(cache_of(self), BYTES(prefix), &listing));
    return rb_ensure(list_keys, (VALUE)&listing, end_list, (VALUE)&listing);
}

void Init_kennel(void) {
    VALUE module = rb_define_module("Kennel"), class = rb_define_class_under(module, "Cache", rb_cObject);
    error_class = rb_const_get(module, rb_intern("Error"));
    rb_gc_register_mark_object(error_class);
    rb_define_const(module, "LIBRARY_VERSION", rb_str_freeze(rb_utf8_str_new_cstr(kennel_version())));
    rb_define_singleton_method(module, "_destroy", destroy, 1);
    rb_define_alloc_func(class, allocate);
    rb_define_method(class, "get", get, 1);
    rb_define_method(class, "key?", has, 1);
    rb_define_method(class, "delete", delete, 1);
    rb_define_method(class, "claimed?", is_claimed, 1);
    rb_define_method(class, "close", cache_close, 0);
    rb_define_private_method(class, "_open", cache_open, 3);
    rb_define_private_method(class, "_get_multi", get_multi, 1);
    rb_define_private_method(class, "_part", part, 2);
    rb_define_private_method(class, "_store", store, 7);
    rb_define_private_method(class, "_set_multi", set_multi, 5);
    rb_define_private_method(class, "_delete_multi", delete_multi, 1);
    rb_define_private_method(class, "_touch", touch, 2);
    rb_define_private_method(class, "_count", count, 6);
    rb_define_private_method(class, "_ask", ask, 7);
    rb_define_private_method(class, "_poll", poll, 1);
    rb_define_private_method(class, "_withdraw", withdraw, 1);
    rb_define_private_method(class, "_complete", complete, 2);
    rb_define_private_method(class, "_fail", fail, 1);
    rb_define_private_method(class, "_lock", lock, 2);
    rb_define_private_method(class, "_unlock", unlock, 1);
    rb_define_private_method(class, "_invalidate", invalidate, 1);
    rb_define_private_method(class, "_invalidate_tags", invalidate_tags, 2);
    rb_define_private_method(class, "_stats", stats, 0);
    rb_define_private_method(class, "_keys", keys, 1);
}
