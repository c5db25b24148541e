// Package kennel is a cache in one memory-mapped file that the processes of a host share.
//
// Any number of goroutines may use a Cache at the same time. Keys and values are bytes, so programs in other languages
// can read what this package stores.
package kennel

/*
#cgo pkg-config: kennel
#include "bridge.h"
*/
import "C"

import (
	"math"
	"runtime"
	"sync"
	"time"
	"unsafe"
)

// Never is the time to live of a value that does not expire, whatever the default of the namespace is.
const Never time.Duration = math.MaxInt64

// Options are the options of Open. A zero value stands for the default. An existing file keeps its sizes.
type Options struct {
	Capacity   uint64        // how many bytes of items the file holds; 64 MiB
	MeanItem   uint64        // the mean size of a key and its value together in bytes; 256
	LockWait   time.Duration // how long a write waits for the lock of its stripe; 5 s
	Locks      string        // the lock strategy: "file" (default), "lease", "process", "none" or "rw-file"
	Stripes    uint32        // the number of stripes, a power of two; depends on the capacity
	Seats      uint32        // how many processes can have the file open for writing; 1024
	Namespaces uint32        // how many namespaces the file has room for; 64
	Mode       uint32        // the permission bits of a new file; 0600

	Existing     bool // do not create the file if it does not exist
	ReadOnly     bool // open the file for reading only
	VerifyReads  bool // check the checksum of each value that is read
	Trust        bool // open the file even if it belongs to another user, or another user can write to it
	AllowNetwork bool // use the file even if it is on a network file system
	SameSizes    bool // refuse an existing file whose sizes differ from these options
}

func (o *Options) bits() (bits C.uint32_t) {
	set := func(yes bool, bit C.uint32_t) {
		if yes {
			bits |= bit
		}
	}
	set(o.Existing, C.KENNEL_EXISTING)
	set(o.ReadOnly, C.KENNEL_READ_ONLY)
	set(o.VerifyReads, C.KENNEL_VERIFY_READS)
	set(o.Trust, C.KENNEL_TRUST)
	set(o.AllowNetwork, C.KENNEL_ALLOW_NETWORK)
	set(o.SameSizes, C.KENNEL_SAME_SIZES)
	return bits
}

// A Cache is an open file, or one namespace in it.
type Cache struct {
	use sync.RWMutex // Close locks it for writing, all other calls for reading
	k   *C.kennel
	in  *creations
}

// Open opens a cache file, and creates it if it does not exist. An empty path stands for the default cache file of this
// user. options may be nil.
func Open(path string, options *Options) (*Cache, error) {
	if options == nil {
		options = &Options{}
	}
	text, err := cText("path", path)
	if err != nil {
		return nil, err
	}
	locks, err := cText("locks", options.Locks)
	if err != nil {
		C.free(unsafe.Pointer(text))
		return nil, err
	}
	defer C.free(unsafe.Pointer(text))
	defer C.free(unsafe.Pointer(locks))
	given := C.kennel_options{
		size: C.sizeof_kennel_options, capacity: C.uint64_t(options.Capacity), mean_item: C.uint64_t(options.MeanItem),
		lock_wait_ms: C.int64_t(inMs(options.LockWait)), locks: locks, stripes: C.uint32_t(options.Stripes),
		seats: C.uint32_t(options.Seats), namespaces: C.uint32_t(options.Namespaces), mode: C.uint32_t(options.Mode),
		bits: options.bits(),
	}
	var k *C.kennel
	var f C.failure
	if result := C.go_open(text, &given, &k, &f); result < 0 {
		return nil, failed(result, &f)
	}
	return newCache(k), nil
}

func newCache(k *C.kennel) *Cache {
	cache := &Cache{k: k, in: newCreations()}
	runtime.SetFinalizer(cache, (*Cache).Close)
	return cache
}

// Destroy removes a cache file and its lock files, and returns whether there was one. An empty path stands for the
// default cache file of this user. Processes that have the file open get misses from then on.
func Destroy(path string) (bool, error) {
	text, err := cText("path", path)
	if err != nil {
		return false, err
	}
	defer C.free(unsafe.Pointer(text))
	var f C.failure
	return done(C.go_destroy(text, &f), &f)
}

// Namespace opens a part of the file with keys of its own, and creates it if the file does not have it. ttl is the
// default time to live of its values; with 0 they do not expire by default.
func (c *Cache) Namespace(name string, ttl time.Duration) (*Cache, error) {
	text, err := cText("name", name)
	if err != nil {
		return nil, err
	}
	defer C.free(unsafe.Pointer(text))
	k, err := c.open()
	if err != nil {
		return nil, err
	}
	defer c.use.RUnlock()
	var part *C.kennel
	var f C.failure
	if result := C.go_namespace(k, text, C.int64_t(inMs(ttl)), &part, &f); result < 0 {
		return nil, failed(result, &f)
	}
	return newCache(part), nil
}

// Close closes the cache, after it has waited for running calls. Later calls return ErrClosed.
func (c *Cache) Close() error {
	c.use.Lock()
	defer c.use.Unlock()
	C.kennel_close(c.k)
	c.k = nil
	runtime.SetFinalizer(c, nil)
	return nil
}

// Returns the handle. Unless it returns an error, it leaves c.use locked for reading.
func (c *Cache) open() (*C.kennel, error) {
	c.use.RLock()
	if c.k == nil {
		c.use.RUnlock()
		return nil, ErrClosed
	}
	return c.k, nil
}

// Returns the address of the first byte of a slice for C, or nil if the slice is empty.
func first(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Pointer(&b[0])
}

// Get returns the value of a key, or the error ErrMiss.
func (c *Cache) Get(key []byte) ([]byte, error) {
	return c.AppendTo(nil, key)
}

// AppendTo appends the value of a key to a slice. If the slice has enough room, nothing is allocated. If the key has no
// value, the error is ErrMiss, and the slice is returned unchanged.
func (c *Cache) AppendTo(to, key []byte) ([]byte, error) {
	k, err := c.open()
	if err != nil {
		return to, err
	}
	defer c.use.RUnlock()
	for {
		var len_ C.size_t
		var f C.failure
		free := to[len(to):cap(to)]
		switch result := C.go_get(k, first(key), C.size_t(len(key)), first(free), C.size_t(len(free)), &len_, &f); result {
		case C.KENNEL_OK:
			return to[:len(to)+int(len_)], nil
		case C.KENNEL_NONE:
			return to, ErrMiss
		case C.KENNEL_E_BUFFER_TOO_SMALL:
			more := make([]byte, len(to), len(to)+int(len_))
			copy(more, to)
			to = more
		default:
			return to, failed(result, &f)
		}
	}
}

// SetOptions are the options of a write. A time of 0 stands for the default of the namespace.
type SetOptions struct {
	TTL     time.Duration // how long the value lives, or Never
	SoftTTL time.Duration // after what time the value is stale
	Flags   uint32        // a number of yours that is stored with the value
	Tags    []string      // the names of the value's tags, by which InvalidateTags finds it; at most 16
}

// Set stores a value. A ttl of 0 stands for the default of the namespace.
func (c *Cache) Set(key, value []byte, ttl time.Duration) error {
	return c.SetWith(key, value, SetOptions{TTL: ttl})
}

// SetWith stores a value with options.
func (c *Cache) SetWith(key, value []byte, how SetOptions) error {
	k, err := c.open()
	if err != nil {
		return err
	}
	defer c.use.RUnlock()
	var f C.failure
	tags, lens := joined(how.Tags)
	_, err = done(C.go_set(k, first(key), C.size_t(len(key)), first(value), C.size_t(len(value)), C.int64_t(inMs(how.TTL)),
		C.int64_t(inMs(how.SoftTTL)), C.uint32_t(how.Flags), chars(tags), sizes(lens), C.size_t(len(lens)), &f), &f)
	return err
}

// Add stores a value only if the key has none, and returns whether it stored the value.
func (c *Cache) Add(key, value []byte, ttl time.Duration) (bool, error) {
	k, err := c.open()
	if err != nil {
		return false, err
	}
	defer c.use.RUnlock()
	var f C.failure
	return done(C.go_add(k, first(key), C.size_t(len(key)), first(value), C.size_t(len(value)), C.int64_t(inMs(ttl)), &f), &f)
}

// Delete removes a key, and returns whether it had a value.
func (c *Cache) Delete(key []byte) (bool, error) {
	k, err := c.open()
	if err != nil {
		return false, err
	}
	defer c.use.RUnlock()
	var f C.failure
	return done(C.go_delete(k, first(key), C.size_t(len(key)), &f), &f)
}

// Incr adds to a number, which is stored as decimal text, and returns the new number. If the key has no value, the
// error is ErrMiss.
func (c *Cache) Incr(key []byte, delta uint64) (uint64, error) {
	return c.incr(key, delta, false, 0, 0)
}

// IncrOr adds to a number and returns the new number. If the key has no value, it stores and returns initial instead,
// which expires after ttl.
func (c *Cache) IncrOr(key []byte, delta, initial uint64, ttl time.Duration) (uint64, error) {
	return c.incr(key, delta, true, initial, ttl)
}

func (c *Cache) incr(key []byte, delta uint64, begins bool, initial uint64, ttl time.Duration) (uint64, error) {
	k, err := c.open()
	if err != nil {
		return 0, err
	}
	defer c.use.RUnlock()
	var number C.uint64_t
	var f C.failure
	var start C.int
	if begins {
		start = 1
	}
	stored, err := done(C.go_incr(k, first(key), C.size_t(len(key)), C.uint64_t(delta), start, C.uint64_t(initial),
		C.int64_t(inMs(ttl)), &number, &f), &f)
	if err == nil && !stored {
		err = ErrMiss
	}
	return uint64(number), err
}

func flag(is bool) C.int {
	if is {
		return 1
	}
	return 0
}

// Invalidate removes all values of the namespace, or of the whole file, for all processes. If soft is true, it makes
// the values stale instead.
func (c *Cache) Invalidate(soft bool) error {
	k, err := c.open()
	if err != nil {
		return err
	}
	defer c.use.RUnlock()
	var f C.failure
	_, err = done(C.go_invalidate(k, flag(soft), &f), &f)
	return err
}

// InvalidateTags removes all values that bear one of the tags, in all namespaces of the file and for all processes. If
// soft is true, it makes the values stale instead.
func (c *Cache) InvalidateTags(soft bool, tags ...string) error {
	k, err := c.open()
	if err != nil {
		return err
	}
	defer c.use.RUnlock()
	var f C.failure
	names, lens := joined(tags)
	_, err = done(C.go_invalidate_tags(k, chars(names), sizes(lens), C.size_t(len(lens)), flag(soft), &f), &f)
	return err
}

// Stats returns the statistics of the file as JSON, as "kennel stat --json" prints them.
func (c *Cache) Stats() ([]byte, error) {
	k, err := c.open()
	if err != nil {
		return nil, err
	}
	defer c.use.RUnlock()
	var text *C.char
	var f C.failure
	if result := C.go_stats(k, &text, &f); result < 0 {
		return nil, failed(result, &f)
	}
	defer C.kennel_free(unsafe.Pointer(text))
	return []byte(C.GoString(text)), nil
}

// Version returns the version of the C library.
func Version() string {
	return C.GoString(C.kennel_version())
}
