package kennel

/*
#include "bridge.h"
*/
import "C"

import (
	"errors"
	"strings"
	"time"
	"unsafe"
)

// ErrMiss is the error of a call that finds no value for a key.
var ErrMiss = errors.New("kennel: the key has no value")

// ErrClosed is the error of a call on a closed cache.
var ErrClosed = errors.New("kennel: the cache is closed")

// The kinds of errors, to compare with errors.Is.
var (
	ErrIO                = &Error{Number: C.KENNEL_E_IO}
	ErrNotFound          = &Error{Number: C.KENNEL_E_NOT_FOUND}
	ErrExists            = &Error{Number: C.KENNEL_E_EXISTS}
	ErrBadFile           = &Error{Number: C.KENNEL_E_BAD_FILE}
	ErrMismatch          = &Error{Number: C.KENNEL_E_MISMATCH}
	ErrLocksLost         = &Error{Number: C.KENNEL_E_LOCKS_LOST}
	ErrLeaseRefused      = &Error{Number: C.KENNEL_E_LEASE_REFUSED}
	ErrUnknownStrategy   = &Error{Number: C.KENNEL_E_UNKNOWN_STRATEGY}
	ErrOpenElsewhere     = &Error{Number: C.KENNEL_E_OPEN_ELSEWHERE}
	ErrNotTrusted        = &Error{Number: C.KENNEL_E_NOT_TRUSTED}
	ErrNetworkFilesystem = &Error{Number: C.KENNEL_E_NETWORK_FILESYSTEM}
	ErrNoSpace           = &Error{Number: C.KENNEL_E_NO_SPACE}
	ErrSeatsFull         = &Error{Number: C.KENNEL_E_SEATS_FULL}
	ErrBadOption         = &Error{Number: C.KENNEL_E_BAD_OPTION}
	ErrKeyTooLong        = &Error{Number: C.KENNEL_E_KEY_TOO_LONG}
	ErrTooLarge          = &Error{Number: C.KENNEL_E_TOO_LARGE}
	ErrNotANumber        = &Error{Number: C.KENNEL_E_NOT_A_NUMBER}
	ErrOverflow          = &Error{Number: C.KENNEL_E_OVERFLOW}
	ErrBusy              = &Error{Number: C.KENNEL_E_BUSY}
	ErrTimedOut          = &Error{Number: C.KENNEL_E_TIMED_OUT}
	ErrOwnClaim          = &Error{Number: C.KENNEL_E_OWN_CLAIM}
	ErrNamespacesFull    = &Error{Number: C.KENNEL_E_NAMESPACES_FULL}
	ErrReadOnly          = &Error{Number: C.KENNEL_E_READ_ONLY}
	ErrNoMemory          = &Error{Number: C.KENNEL_E_NO_MEMORY}
	ErrTooManyTags       = &Error{Number: C.KENNEL_E_TOO_MANY_TAGS}
	ErrResting           = &Error{Number: C.KENNEL_E_RESTING}
	ErrNoHandle          = &Error{Number: C.KENNEL_E_NO_HANDLE}
	ErrPanic             = &Error{Number: C.KENNEL_E_PANIC}
)

// An Error is a failure of the cache.
type Error struct {
	Number int    // the number of the error in the C header kennel.h
	Facts  string // what was expected, and what was found
	Advice string // what to do about it, or ""
}

func (e *Error) Error() string {
	if e.Advice == "" {
		return "kennel: " + e.Facts
	}
	return "kennel: " + e.Facts + "; " + e.Advice
}

// Is tells whether both errors are of the same kind. It compares their numbers.
func (e *Error) Is(target error) bool {
	other, ok := target.(*Error)
	return ok && other.Number == e.Number
}

// What to do about an error, by the library's name of the advice.
var advice = map[string]string{
	"create":               `create one with "kennel create", or open it without Options.Existing`,
	"open-or-destroy":      "open it, or remove it first with Destroy",
	"other-path":           "this is no cache file, so it is left alone: choose another path, or remove it yourself",
	"other-path-or-remove": "this is no cache file, so it is left alone: choose another path, or remove it yourself if you know that it once was one",
	"replace-lost":         "a power failure can leave a file like this, and nothing is lost with it: remove it with Destroy",
	"destroy-and-create":   "it is a cache file of another format, or a damaged one: remove it with Destroy, and open it again",
	"on-mismatch":          "use the file as it is, without Options.SameSizes, or remove it with Destroy",
	"restore-locks":        "the file was moved, linked or mounted without its lock directory, or that directory was deleted: restore the directory, or remove the cache with Destroy",
	"not-lease":            `use another file system (/dev/shm, a volume), or create the file with Options.Locks = "file"`,
	"share-handle":         "share that Cache within the process, or create the file with other locks for several processes",
	"trust":                "if you trust everyone who can write to it, open it with Options.Trust",
	"local-files":          "use a local file system, or Options.AllowNetwork if only one host uses it and you know that its locks work",
	"more-seats":           "create the file with more seats (Options.Seats)",
	"larger-items":         "fewer stripes or a larger capacity allow larger items",
	"wait-longer":          "wait longer (CreateOptions.Wait), or create the value anyway (CreateOptions.Unprotected)",
	"not-within":           "within its creation or lock, do not create or lock the key again",
	"more-namespaces":      "create the file with room for more (Options.Namespaces)",
}

// The error of a failed call.
func failed(result C.int, f *C.failure) error {
	err := &Error{Number: int(result), Facts: C.GoString(f.facts), Advice: advice[C.GoString(f.advice)]}
	C.free(unsafe.Pointer(f.facts))
	C.free(unsafe.Pointer(f.advice))
	return err
}

// Returns whether the call did something, or its error.
func done(result C.int, f *C.failure) (bool, error) {
	if result < 0 {
		return false, failed(result, f)
	}
	return result != C.KENNEL_NONE, nil
}

// A copy of a text for C, which the caller frees, or nil if the text is empty.
func cText(what, text string) (*C.char, error) {
	if text == "" {
		return nil, nil
	}
	if strings.IndexByte(text, 0) >= 0 {
		return nil, &Error{Number: C.KENNEL_E_BAD_OPTION, Facts: what + ": expected a text without a zero byte"}
	}
	return C.CString(text), nil
}

// A time in milliseconds, rounded up. 0 stands for the default, and Never for no end. The library refuses negative
// times.
func inMs(d time.Duration) int64 {
	if d == Never {
		return C.KENNEL_NEVER
	}
	if d < 0 {
		return -2
	}
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}
