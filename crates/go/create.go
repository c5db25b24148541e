package kennel

/*
#include "bridge.h"
*/
import "C"

import (
	"context"
	"sync"
	"time"
	"unsafe"
)

// CreateOptions are the options of GetOrCreate. A time of 0 stands for the default.
type CreateOptions struct {
	TTL       time.Duration // how long the value lives, or Never
	SoftTTL   time.Duration // when it becomes stale; one caller then creates a new value, and the others get the old one
	AbsentTTL time.Duration // how long to remember that the key has no value; by default this is not remembered
	Wait      time.Duration // how long to wait for another creator; 30 s
	// When the wait is over, create the value even though another caller is creating it.
	Unprotected bool
	// If the cache itself fails, or the wait is over, return an error. By default the value is then created, and not
	// stored.
	Strict bool
	// The names of the value's tags, by which InvalidateTags finds it; at most 16. If one of them is invalidated while the
	// value is created, the caller gets the value, but it is not stored.
	Tags []string
}

// One creation of a key in this process, for which any number of goroutines wait.
type creation struct {
	ended chan struct{}
	// How the creation ended, and the value if it ended with one.
	is    int
	value []byte
}

const (
	isFailed = iota
	isValue
	isAbsent
)

type creations struct {
	lock sync.Mutex
	of   map[string]*creation
}

func newCreations() *creations {
	return &creations{of: make(map[string]*creation)}
}

// Returns the running creation of a key; or a new one and true, and then the caller ends it.
func (c *creations) join(key string) (*creation, bool) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if running, ok := c.of[key]; ok {
		return running, false
	}
	made := &creation{ended: make(chan struct{})}
	c.of[key] = made
	return made, true
}

func (c *creations) end(key string, ended *creation) {
	c.lock.Lock()
	if c.of[key] == ended {
		delete(c.of, key)
	}
	c.lock.Unlock()
	close(ended.ended)
}

// GetOrCreate returns the value of a key. If it is missing, exactly one caller across all processes creates it with the
// function create, and the others wait for it. The argument of create is the stale value, or nil. If create returns nil
// without an error, the key has no value, and the error is ErrMiss.
//
// If create fails or panics, only its own caller gets the error or the panic, and the next waiting caller calls its own
// function. Waiting blocks no thread, and ends when the context is done.
func (c *Cache) GetOrCreate(ctx context.Context, key []byte, how CreateOptions, create func(stale []byte) ([]byte, error)) ([]byte, error) {
	if how.Wait == 0 {
		how.Wait = 30 * time.Second
	}
	until := time.Now().Add(how.Wait)
	for {
		shared, isOurs := c.in.join(string(key))
		if isOurs {
			how.Wait = time.Until(until)
			return c.create(ctx, key, how, create, shared)
		}
		// While another goroutine creates a new value, the stale one is at hand.
		if value, err := c.Get(key); err == nil {
			return value, nil
		}
		timer := time.NewTimer(time.Until(until))
		select {
		case <-shared.ended:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-timer.C:
			if how.Unprotected {
				// The library then lets this caller create without a claim, and stores the value if nobody else has.
				how.Wait = 0
				return c.create(ctx, key, how, create, &creation{ended: make(chan struct{})})
			}
			if !how.Strict {
				return orMiss(create(nil))
			}
			return nil, &Error{Number: C.KENNEL_E_TIMED_OUT, Facts: "another caller still creates the value", Advice: advice["wait-longer"]}
		}
		switch shared.is {
		case isValue:
			return append([]byte{}, shared.value...), nil
		case isAbsent:
			return nil, ErrMiss
		}
	}
}

// Returns what a creator returned, with the error ErrMiss if it returned neither a value nor an error.
func orMiss(made []byte, err error) ([]byte, error) {
	if made == nil && err == nil {
		err = ErrMiss
	}
	return made, err
}

func (c *Cache) create(ctx context.Context, key []byte, how CreateOptions, create func([]byte) ([]byte, error), shared *creation) ([]byte, error) {
	defer c.in.end(string(key), shared)
	value, claim, err := c.claim(ctx, key, how)
	if claim == 0 {
		switch err {
		case nil:
			shared.is, shared.value = isValue, value
		case ErrMiss:
			shared.is = isAbsent
		}
		return value, err
	}
	// The claim ends whatever the creator does, even if it panics. This call does nothing if the claim has already ended.
	defer C.kennel_fail(claim)
	made, err := create(value)
	if err != nil {
		return nil, err
	}
	if made == nil {
		C.kennel_complete_absent(claim)
		shared.is = isAbsent
		return nil, ErrMiss
	}
	var f C.failure
	switch result := C.go_complete(claim, first(made), C.size_t(len(made)), &f); {
	case result == C.KENNEL_NONE:
		// The key was written or invalidated meanwhile, so the callers that have joined look again.
		return made, nil
	case result < 0:
		// The creator succeeded, so its caller gets the value although the cache cannot store it.
		if failure := failed(result, &f); how.Strict {
			return made, failure
		}
	}
	shared.is, shared.value = isValue, append([]byte{}, made...)
	return made, nil
}

// Returns the value of a key, or its claim with the stale value, if there is one.
func (c *Cache) claim(ctx context.Context, key []byte, how CreateOptions) ([]byte, C.kennel_claim, error) {
	request, err := c.ask(key, how)
	if err != nil {
		return nil, 0, err
	}
	for pause := time.Millisecond; ; {
		var value *C.char
		var n C.size_t
		var claim C.kennel_claim
		var f C.failure
		result := C.go_poll(request, &value, &n, &claim, &f)
		switch {
		case result == C.KENNEL_WAIT:
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				C.kennel_withdraw(request)
				return nil, 0, ctx.Err()
			}
			if pause < 20*time.Millisecond {
				pause += pause/4 + 1
			}
		case result < 0:
			return nil, 0, failed(result, &f)
		case result == C.KENNEL_NONE:
			return nil, 0, ErrMiss
		default:
			var found []byte
			if value != nil {
				found = append([]byte{}, unsafe.Slice((*byte)(unsafe.Pointer(value)), int(n))...)
				C.kennel_free(unsafe.Pointer(value))
			}
			return found, claim, nil
		}
	}
}

func (c *Cache) ask(key []byte, how CreateOptions) (C.kennel_request, error) {
	k, err := c.open()
	if err != nil {
		return 0, err
	}
	defer c.use.RUnlock()
	var bits C.uint32_t
	if how.Unprotected {
		bits |= C.KENNEL_UNPROTECTED
	}
	if !how.Strict {
		bits |= C.KENNEL_OR_UNCACHED
	}
	wait := how.Wait
	if wait < 0 {
		wait = 0
	}
	var request C.kennel_request
	var f C.failure
	tags, lens := joined(how.Tags)
	if result := C.go_ask(k, first(key), C.size_t(len(key)), C.int64_t(inMs(how.TTL)), C.int64_t(inMs(how.SoftTTL)),
		C.int64_t(inMs(how.AbsentTTL)), C.int64_t(inMs(wait)), bits, chars(tags), sizes(lens), C.size_t(len(lens)), &request, &f); result < 0 {
		return 0, failed(result, &f)
	}
	return request, nil
}

// A Lock is the lock of a key.
type Lock struct {
	number C.kennel_key_lock
}

// Release releases the lock, and returns whether it still excluded other callers.
func (l *Lock) Release() bool {
	return C.kennel_unlock(l.number) == C.KENNEL_OK
}

// TryLock takes the lock of a key, which excludes all callers, in all processes, that lock the key or create its value.
// It does not wait, and returns nil if another caller holds the lock or creates the value.
func (c *Cache) TryLock(key []byte) (*Lock, error) {
	k, err := c.open()
	if err != nil {
		return nil, err
	}
	defer c.use.RUnlock()
	var lock C.kennel_key_lock
	var f C.failure
	got, err := done(C.go_lock(k, first(key), C.size_t(len(key)), 0, &lock, &f), &f)
	if err != nil || !got {
		return nil, err
	}
	return &Lock{lock}, nil
}

// Lock takes the lock of a key as TryLock does, but waits for it until the context is done. Waiting blocks no thread.
func (c *Cache) Lock(ctx context.Context, key []byte) (*Lock, error) {
	for pause := time.Millisecond; ; {
		lock, err := c.TryLock(key)
		if lock != nil || err != nil {
			return lock, err
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
		if pause < 20*time.Millisecond {
			pause += pause/4 + 1
		}
	}
}
