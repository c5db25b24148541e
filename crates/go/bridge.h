/* The functions that the Go files call.
 *
 * The library keeps the texts of the last failure for each thread, and a goroutine may move to another thread between
 * two calls. So each function here makes a call and copies the texts of its failure in one step. */
#ifndef KENNEL_GO_BRIDGE_H
#define KENNEL_GO_BRIDGE_H

#include <kennel.h>
#include <stdlib.h>
#include <string.h>

typedef struct failure {
	char *facts, *advice;
} failure;

static inline char *copied(const char *text) {
	size_t len = strlen(text) + 1;
	char *copy = malloc(len);
	if (copy != NULL)
		memcpy(copy, text, len);
	return copy;
}

static inline int told(int result, failure *f) {
	if (result < 0 && result != KENNEL_E_BUFFER_TOO_SMALL) {
		f->facts = copied(kennel_last_facts());
		f->advice = copied(kennel_last_advice());
	}
	return result;
}

/* Go passes many keys as one array of their bytes, one key after another, and an array of their lengths, because Go
 * must not pass memory that contains pointers to Go memory to C. Writes the address and length of each key to an array,
 * which the caller frees; NULL if there are no keys. */
static inline int each(const char *bytes, const size_t *lens, size_t count, kennel_bytes **out, failure *f) {
	*out = NULL;
	if (count == 0)
		return KENNEL_OK;
	kennel_bytes *made = calloc(count, sizeof *made);
	if (made == NULL) {
		f->facts = copied("there is no memory for a list");
		return KENNEL_E_NO_MEMORY;
	}
	for (size_t i = 0; i < count; bytes += lens[i++])
		made[i] = (kennel_bytes){bytes, lens[i]};
	*out = made;
	return KENNEL_OK;
}

static inline int go_open(const char *path, const kennel_options *o, kennel **out, failure *f) {
	return told(kennel_open(path, o, out), f);
}
static inline int go_destroy(const char *path, failure *f) {
	return told(kennel_destroy(path), f);
}
static inline int go_namespace(const kennel *k, const char *name, int64_t ttl, kennel **out, failure *f) {
	return told(kennel_namespace(k, name, ttl, out), f);
}
static inline int go_get(const kennel *k, const void *key, size_t n, void *buf, size_t room, size_t *len, failure *f) {
	return told(kennel_get_into(k, key, n, buf, room, len), f);
}
static inline int go_set(const kennel *k, const void *key, size_t n, const void *value, size_t len, int64_t ttl, int64_t soft,
                  uint32_t flags, const char *tags, const size_t *lens, size_t count, failure *f) {
	kennel_set_options how = {sizeof how, ttl, soft, flags, 0, NULL, count};
	kennel_bytes *names;
	int result = each(tags, lens, count, &names, f);
	if (result < 0)
		return result;
	how.tags = names;
	result = told(kennel_set_with(k, key, n, value, len, &how, NULL), f);
	free(names);
	return result;
}
static inline int go_add(const kennel *k, const void *key, size_t n, const void *value, size_t len, int64_t ttl, failure *f) {
	kennel_set_options how = {sizeof how, ttl, 0, 0, 0, NULL, 0};
	return told(kennel_add(k, key, n, value, len, &how), f);
}
/* bytes has each key followed by its value, and byte_lens their lengths. */
static inline int go_set_multi(const kennel *k, const char *bytes, const size_t *byte_lens, size_t pairs, int64_t ttl, int64_t soft,
                  uint32_t flags, const char *tags, const size_t *lens, size_t count, failure *f) {
	kennel_set_options how = {sizeof how, ttl, soft, flags, 0, NULL, count};
	kennel_bytes *names;
	int result = each(tags, lens, count, &names, f);
	if (result < 0)
		return result;
	how.tags = names;
	kennel_pair *made = calloc(pairs + 1, sizeof *made);
	if (made == NULL) {
		f->facts = copied("there is no memory for a list");
		result = KENNEL_E_NO_MEMORY;
	} else {
		for (size_t i = 0; i < pairs; i++, byte_lens += 2) {
			made[i] = (kennel_pair){bytes, byte_lens[0], bytes + byte_lens[0], byte_lens[1], 0, 0};
			bytes += byte_lens[0] + byte_lens[1];
		}
		result = told(kennel_set_multi(k, made, pairs, &how, NULL), f);
	}
	free(made);
	free(names);
	return result;
}
static inline int go_delete(const kennel *k, const void *key, size_t n, failure *f) {
	return told(kennel_delete(k, key, n), f);
}
static inline int go_get_multi(const kennel *k, const char *keys, const size_t *lens, size_t count, char **values,
                  kennel_item *items, char **memory, failure *f) {
	static const kennel_item empty = KENNEL_ITEM_INIT;
	kennel_bytes *names;
	int result = each(keys, lens, count, &names, f);
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++)
		items[i] = empty;
	result = told(kennel_get_multi(k, names, count, values, items, memory), f);
	free(names);
	return result;
}
static inline int go_delete_multi(const kennel *k, const char *keys, const size_t *lens, size_t count, int *results, failure *f) {
	kennel_bytes *names;
	int result = each(keys, lens, count, &names, f);
	if (result < 0)
		return result;
	result = told(kennel_delete_multi(k, names, count, results), f);
	free(names);
	return result;
}
static inline int go_incr(const kennel *k, const void *key, size_t n, uint64_t delta, int begins, uint64_t initial, int64_t ttl,
                   uint64_t *number, failure *f) {
	kennel_set_options how = {sizeof how, ttl, 0, 0, 0, NULL, 0};
	if (begins)
		return told(kennel_incr_or(k, key, n, delta, initial, &how, number), f);
	return told(kennel_incr(k, key, n, delta, number), f);
}
static inline int go_ask(const kennel *k, const void *key, size_t n, int64_t ttl, int64_t soft, int64_t absent,
                         int64_t wait, uint32_t bits, const char *tags, const size_t *lens, size_t count,
                         kennel_request *request, failure *f) {
	kennel_create_options how = {sizeof how, ttl, soft, absent, wait, 0, 0, bits, NULL, count};
	kennel_bytes *names;
	int result = each(tags, lens, count, &names, f);
	if (result < 0)
		return result;
	how.tags = names;
	result = told(kennel_ask(k, key, n, &how, request), f);
	free(names);
	return result;
}
static inline int go_poll(kennel_request request, char **value, size_t *len, kennel_claim *claim, failure *f) {
	return told(kennel_poll(request, value, len, claim), f);
}
static inline int go_complete(kennel_claim claim, const void *value, size_t len, failure *f) {
	return told(kennel_complete(claim, value, len), f);
}
static inline int go_lock(const kennel *k, const void *key, size_t n, int64_t wait, kennel_key_lock *lock, failure *f) {
	return told(kennel_lock(k, key, n, wait, 0, lock), f);
}
static inline int go_invalidate(const kennel *k, int soft, failure *f) {
	return told(kennel_invalidate(k, soft), f);
}
static inline int go_invalidate_tags(const kennel *k, const char *tags, const size_t *lens, size_t count, int soft, failure *f) {
	kennel_bytes *names;
	int result = each(tags, lens, count, &names, f);
	if (result < 0)
		return result;
	result = told(kennel_invalidate_tags(k, names, count, soft), f);
	free(names);
	return result;
}
static inline int go_stats(const kennel *k, char **out, failure *f) {
	return told(kennel_stats_json(k, out), f);
}

#endif
