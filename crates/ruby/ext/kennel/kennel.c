/* The extension: calls of the C library for Ruby. None of them waits for another process, except a write for a stripe's
 * lock; lib/kennel.rb waits between calls, so that other threads and fibers go on. */
#include <kennel.h>
#include <ruby.h>
#include <ruby/encoding.h>

/* Values up to this length are copied by way of the stack. */
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

/* Raises Kennel::Error with its parts. */
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

/* A value in memory of the library, which is freed whatever happens. */
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

static VALUE has(VALUE self, VALUE key) {
    StringValue(key);
    return truth(kennel_contains(cache_of(self), BYTES(key)));
}

/* _store(how, key, value, ttl, soft_ttl, flags): 0 sets, 1 adds, 2 replaces */
static VALUE store(VALUE self, VALUE kind, VALUE key, VALUE value, VALUE ttl, VALUE soft_ttl, VALUE flags) {
    kennel_set_options how = {sizeof how, NUM2LL(ttl), NUM2LL(soft_ttl), NUM2UINT(flags), 0};
    const kennel *k = cache_of(self);
    StringValue(key);
    StringValue(value);
    switch (NUM2INT(kind)) {
    case 0:
        return truth(kennel_set_with(k, BYTES(key), BYTES(value), &how, NULL));
    case 1:
        return truth(kennel_add(k, BYTES(key), BYTES(value), &how));
    default:
        return truth(kennel_replace(k, BYTES(key), BYTES(value), &how));
    }
}

static VALUE delete(VALUE self, VALUE key) {
    StringValue(key);
    return truth(kennel_delete(cache_of(self), BYTES(key)));
}

static VALUE touch(VALUE self, VALUE key, VALUE ttl) {
    StringValue(key);
    return truth(kennel_touch(cache_of(self), BYTES(key), NUM2LL(ttl)));
}

/* _count(key, is_down, delta, initial, ttl) */
static VALUE count(VALUE self, VALUE key, VALUE is_down, VALUE delta, VALUE initial, VALUE ttl) {
    kennel_set_options how = {sizeof how, NUM2LL(ttl), 0, 0, 0};
    const kennel *k = cache_of(self);
    uint64_t number, by = NUM2ULL(delta), first = NIL_P(initial) ? 0 : NUM2ULL(initial);
    int result;
    StringValue(key);
    if (NIL_P(initial))
        result = RTEST(is_down) ? kennel_decr(k, BYTES(key), by, &number) : kennel_incr(k, BYTES(key), by, &number);
    else if (RTEST(is_down))
        result = kennel_decr_or(k, BYTES(key), by, first, &how, &number);
    else
        result = kennel_incr_or(k, BYTES(key), by, first, &how, &number);
    return checked(result) == KENNEL_OK ? ULL2NUM(number) : Qnil;
}

/* _ask(key, ttl, soft_ttl, absent_ttl, wait, bits): a request */
static VALUE ask(VALUE self, VALUE key, VALUE ttl, VALUE soft_ttl, VALUE absent_ttl, VALUE wait, VALUE bits) {
    kennel_create_options how = {sizeof how, NUM2LL(ttl), NUM2LL(soft_ttl), NUM2LL(absent_ttl), NUM2LL(wait), 0, 0,
                                 NUM2UINT(bits)};
    kennel_request request;
    StringValue(key);
    checked(kennel_ask(cache_of(self), BYTES(key), &how, &request));
    return ULL2NUM(request);
}

/* _poll(request): nil: not yet; else [value, claim], each of which may be nil */
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

/* A claim that has ended is not ended again. */
static VALUE fail(VALUE self, VALUE claim) {
    return kennel_fail(NUM2ULL(claim)) == KENNEL_OK ? Qtrue : Qfalse;
}

/* _lock(key, max_age): a lock, or nil */
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
    rb_define_private_method(class, "_part", part, 2);
    rb_define_private_method(class, "_store", store, 6);
    rb_define_private_method(class, "_touch", touch, 2);
    rb_define_private_method(class, "_count", count, 5);
    rb_define_private_method(class, "_ask", ask, 6);
    rb_define_private_method(class, "_poll", poll, 1);
    rb_define_private_method(class, "_withdraw", withdraw, 1);
    rb_define_private_method(class, "_complete", complete, 2);
    rb_define_private_method(class, "_fail", fail, 1);
    rb_define_private_method(class, "_lock", lock, 2);
    rb_define_private_method(class, "_unlock", unlock, 1);
    rb_define_private_method(class, "_invalidate", invalidate, 1);
    rb_define_private_method(class, "_stats", stats, 0);
    rb_define_private_method(class, "_keys", keys, 1);
}
