package kennel

/*
#include "bridge.h"
*/
import "C"

import (
	"unsafe"
)

// Returns the bytes of texts or slices, one after another, and their lengths.
func joined[T ~string | ~[]byte](each []T) (bytes []byte, lens []C.size_t) {
	if len(each) == 0 {
		return nil, nil
	}
	all := 0
	for _, one := range each {
		all += len(one)
	}
	bytes, lens = make([]byte, 0, all), make([]C.size_t, len(each))
	for i, one := range each {
		bytes, lens[i] = append(bytes, one...), C.size_t(len(one))
	}
	return bytes, lens
}

func chars(bytes []byte) *C.char {
	return (*C.char)(first(bytes))
}

func sizes(lens []C.size_t) *C.size_t {
	if len(lens) == 0 {
		return nil
	}
	return &lens[0]
}

// GetMulti returns the values of many keys with one call, in the order of the keys. A miss is nil, and an empty value
// is an empty slice that is not nil.
func (c *Cache) GetMulti(keys [][]byte) ([][]byte, error) {
	k, err := c.open()
	if err != nil {
		return nil, err
	}
	defer c.use.RUnlock()
	found := make([][]byte, len(keys))
	if len(keys) == 0 {
		return found, nil
	}
	bytes, lens := joined(keys)
	values, items := make([]*C.char, len(keys)), make([]C.kennel_item, len(keys))
	var memory *C.char
	var f C.failure
	if result := C.go_get_multi(k, chars(bytes), &lens[0], C.size_t(len(keys)), &values[0], &items[0], &memory, &f); result < 0 {
		return nil, failed(result, &f)
	}
	defer C.kennel_free(unsafe.Pointer(memory))
	for i, value := range values {
		if value != nil {
			found[i] = append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(value)), int(items[i].len))...)
		}
	}
	return found, nil
}

// A Pair is a key and its value.
type Pair struct {
	Key, Value []byte
}

// SetMulti stores many values with the same options and one call, in their order. If some values cannot be stored, the
// others are stored, and the first error is returned.
func (c *Cache) SetMulti(pairs []Pair, how SetOptions) error {
	k, err := c.open()
	if err != nil {
		return err
	}
	defer c.use.RUnlock()
	parts := make([][]byte, 0, 2*len(pairs))
	for _, pair := range pairs {
		parts = append(parts, pair.Key, pair.Value)
	}
	bytes, lens := joined(parts)
	tags, tagLens := joined(how.Tags)
	var f C.failure
	_, err = done(C.go_set_multi(k, chars(bytes), sizes(lens), C.size_t(len(pairs)), C.int64_t(inMs(how.TTL)),
		C.int64_t(inMs(how.SoftTTL)), C.uint32_t(how.Flags), chars(tags), sizes(tagLens), C.size_t(len(tagLens)), &f), &f)
	return err
}

// DeleteMulti removes many keys with one call, and returns how many of them had a value. If some keys cannot be
// removed, the others are removed, and the first error is returned.
func (c *Cache) DeleteMulti(keys [][]byte) (int, error) {
	k, err := c.open()
	if err != nil {
		return 0, err
	}
	defer c.use.RUnlock()
	bytes, lens := joined(keys)
	results := make([]C.int, len(keys)+1)
	var f C.failure
	_, err = done(C.go_delete_multi(k, chars(bytes), sizes(lens), C.size_t(len(keys)), &results[0], &f), &f)
	removed := 0
	for _, result := range results {
		if result == C.KENNEL_OK {
			removed++
		}
	}
	return removed, err
}
