package kennel

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

var background = context.Background()

func newPath(t *testing.T) string {
	folder := t.TempDir()
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() {
		made, err := os.MkdirTemp("/dev/shm", "kennel-go-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(made) })
		folder = made
	}
	return filepath.Join(folder, "cache")
}

func open(t *testing.T) *Cache {
	cache, err := Open(newPath(t), nil)
	must(t, err)
	t.Cleanup(func() { cache.Close() })
	return cache
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func is(t *testing.T, err, expected error) {
	t.Helper()
	if !errors.Is(err, expected) {
		t.Fatalf("expected %v, found %v", expected, err)
	}
}

func same(t *testing.T, found, expected any) {
	t.Helper()
	if fmt.Sprint(found) != fmt.Sprint(expected) {
		t.Fatalf("expected %v, found %v", expected, found)
	}
}

func TestValues(t *testing.T) {
	cache := open(t)
	for _, key := range []string{"", "key", "with\x00zero"} {
		for _, value := range []string{"", "value", strings.Repeat("x", 100_000)} {
			must(t, cache.Set([]byte(key), []byte(value), 0))
			found, err := cache.Get([]byte(key))
			must(t, err)
			same(t, string(found), value)
			found, err = cache.AppendTo([]byte("before "), []byte(key))
			must(t, err)
			same(t, string(found), "before "+value)
		}
		yes, err := cache.Delete([]byte(key))
		must(t, err)
		same(t, yes, true)
		yes, _ = cache.Delete([]byte(key))
		same(t, yes, false)
		_, err = cache.Get([]byte(key))
		is(t, err, ErrMiss)
	}
	yes, err := cache.Add([]byte("a"), []byte("1"), 0)
	must(t, err)
	same(t, yes, true)
	yes, _ = cache.Add([]byte("a"), []byte("2"), 0)
	same(t, yes, false)
	must(t, cache.Set([]byte("short"), []byte("x"), 20*time.Millisecond))
	time.Sleep(40 * time.Millisecond)
	_, err = cache.Get([]byte("short"))
	is(t, err, ErrMiss)
	is(t, cache.Set([]byte("short"), nil, -time.Second), ErrBadOption)
	is(t, cache.Set(make([]byte, 70_000), nil, 0), ErrKeyTooLong)
	stats, err := cache.Stats()
	must(t, err)
	if !bytes.Contains(stats, []byte(`"hit_ratio"`)) {
		t.Fatal(string(stats))
	}
	same(t, Version(), "0.1.0")
}

func TestARoomThatFitsIsNotLeft(t *testing.T) {
	cache := open(t)
	must(t, cache.Set([]byte("key"), []byte("value"), 0))
	room := make([]byte, 0, 64)
	key := []byte("key")
	if count := testing.AllocsPerRun(100, func() { room, _ = cache.AppendTo(room[:0], key) }); count > 3 {
		t.Fatalf("%v allocations", count)
	}
	same(t, string(room), "value")
}

func TestNumbers(t *testing.T) {
	cache := open(t)
	_, err := cache.Incr([]byte("n"), 1)
	is(t, err, ErrMiss)
	number, err := cache.IncrOr([]byte("n"), 1, 5, time.Minute)
	must(t, err)
	same(t, number, 5)
	number, _ = cache.Incr([]byte("n"), 2)
	same(t, number, 7)
	_, err = cache.Incr([]byte("n"), ^uint64(0))
	is(t, err, ErrOverflow)
	must(t, cache.Set([]byte("n"), []byte("x"), 0))
	_, err = cache.Incr([]byte("n"), 1)
	is(t, err, ErrNotANumber)
}

func TestOpen(t *testing.T) {
	path := newPath(t)
	_, err := Open(path, &Options{Existing: true})
	is(t, err, ErrNotFound)
	var failure *Error
	if !errors.As(err, &failure) || !strings.Contains(failure.Advice, "Options.Existing") || strings.Contains(err.Error(), "KENNEL_") {
		t.Fatal(err)
	}
	cache, err := Open(path, &Options{Capacity: 4 << 20, Stripes: 4, Mode: 0o640, LockWait: time.Second})
	must(t, err)
	defer cache.Close()
	info, err := os.Stat(path)
	must(t, err)
	same(t, info.Mode().Perm(), os.FileMode(0o640))
	_, err = Open(path, &Options{Capacity: 8 << 20, SameSizes: true})
	is(t, err, ErrMismatch)
	reader, err := Open(path, &Options{ReadOnly: true})
	must(t, err)
	is(t, reader.Set([]byte("a"), nil, 0), ErrReadOnly)
	must(t, reader.Close())
	must(t, reader.Close())
	is(t, reader.Set([]byte("a"), nil, 0), ErrClosed)
	is(t, cache.Set([]byte("a"), make([]byte, 3<<20), 0), ErrTooLarge)
	_, err = Open("a\x00b", nil)
	is(t, err, ErrBadOption)
	_, err = Open(path, &Options{Locks: "spin"})
	is(t, err, ErrBadOption)
	_, err = Open(filepath.Dir(path), nil)
	is(t, err, ErrBadFile)
	yes, err := Destroy(path)
	must(t, err)
	same(t, yes, true)
	yes, _ = Destroy(path)
	same(t, yes, false)
}

func TestNamespaces(t *testing.T) {
	cache := open(t)
	pages, err := cache.Namespace("pages", time.Minute)
	must(t, err)
	must(t, pages.Set([]byte("a"), []byte("page"), 0))
	must(t, cache.Set([]byte("a"), []byte("top"), Never))
	must(t, pages.Invalidate(false))
	_, err = pages.Get([]byte("a"))
	is(t, err, ErrMiss)
	found, err := cache.Get([]byte("a"))
	must(t, err)
	same(t, string(found), "top")
}

func keysOf(names ...string) [][]byte {
	keys := make([][]byte, len(names))
	for i, name := range names {
		keys[i] = []byte(name)
	}
	return keys
}

func TestManyKeys(t *testing.T) {
	cache := open(t)
	big := strings.Repeat("x", 100_000)
	pairs := []Pair{{[]byte("a"), []byte("1")}, {nil, nil}, {[]byte("with\x00zero"), []byte(big)}, {[]byte("a"), []byte("last")}}
	must(t, cache.SetMulti(pairs, SetOptions{TTL: time.Minute, Flags: 3}))
	keys := keysOf("a", "none", "", "with\x00zero")
	found, err := cache.GetMulti(keys)
	must(t, err)
	same(t, len(found), 4)
	same(t, string(found[0]), "last")
	if found[1] != nil || found[2] == nil || len(found[2]) != 0 || string(found[3]) != big {
		t.Fatalf("%q %q %d bytes", found[1], found[2], len(found[3]))
	}
	removed, err := cache.DeleteMulti(keys)
	must(t, err)
	same(t, removed, 3)
	found, err = cache.GetMulti(keys)
	must(t, err)
	for _, value := range found {
		if value != nil {
			t.Fatalf("%q", value)
		}
	}
	removed, err = cache.DeleteMulti(keys)
	must(t, err)
	same(t, removed, 0)
	// Nothing to do.
	must(t, cache.SetMulti(nil, SetOptions{}))
	found, err = cache.GetMulti(nil)
	must(t, err)
	same(t, len(found), 0)
	removed, err = cache.DeleteMulti(nil)
	must(t, err)
	same(t, removed, 0)
	// Pairs and keys that cannot be stored or removed do not affect the others.
	long := make([]byte, 70_000)
	is(t, cache.SetMulti([]Pair{{[]byte("a"), nil}, {long, nil}, {[]byte("b"), nil}}, SetOptions{}), ErrKeyTooLong)
	removed, err = cache.DeleteMulti(append(keysOf("a"), long, []byte("b")))
	if removed != 2 {
		t.Fatalf("%d %v", removed, err)
	}
	must(t, cache.Close())
	_, err = cache.GetMulti(keys)
	is(t, err, ErrClosed)
	_, err = cache.DeleteMulti(nil)
	is(t, err, ErrClosed)
	is(t, cache.SetMulti(pairs, SetOptions{}), ErrClosed)
	is(t, cache.InvalidateTags(false, "a"), ErrClosed)
}

func TestTags(t *testing.T) {
	cache := open(t)
	pages, err := cache.Namespace("pages", 0)
	must(t, err)
	there := func(key string) bool {
		_, err := pages.Get([]byte(key))
		return err == nil
	}
	must(t, pages.SetWith([]byte("a"), []byte("1"), SetOptions{Tags: []string{"user:7", "größe"}}))
	must(t, pages.SetMulti([]Pair{{[]byte("b"), []byte("2")}, {[]byte("c"), []byte("3")}}, SetOptions{Tags: []string{"user:8"}}))
	must(t, cache.InvalidateTags(false))
	must(t, cache.InvalidateTags(false, "user:9"))
	same(t, fmt.Sprint(there("a"), there("b"), there("c")), "true true true")
	must(t, cache.InvalidateTags(false, "größe"))
	same(t, fmt.Sprint(there("a"), there("b"), there("c")), "false true true")
	must(t, pages.InvalidateTags(false, "user:7", "user:8"))
	same(t, fmt.Sprint(there("a"), there("b"), there("c")), "false false false")
	seventeen := strings.Split(strings.Repeat("t ", 17), " ")[:17]
	for i := range seventeen {
		seventeen[i] += strconv.Itoa(i)
	}
	is(t, pages.SetWith([]byte("a"), nil, SetOptions{Tags: seventeen}), ErrTooManyTags)
	must(t, pages.SetWith([]byte("a"), nil, SetOptions{Tags: seventeen[:16]}))
	// The tags of a created value. A soft invalidation makes the value stale.
	tagged := CreateOptions{Tags: []string{"user:7"}}
	makes := func(value string) func([]byte) ([]byte, error) {
		return func(stale []byte) ([]byte, error) { return append(stale, value...), nil }
	}
	value, err := pages.GetOrCreate(background, []byte("made"), tagged, makes("x"))
	must(t, err)
	same(t, string(value), "x")
	must(t, cache.InvalidateTags(true, "user:7"))
	value, err = pages.GetOrCreate(background, []byte("made"), tagged, makes("y"))
	must(t, err)
	same(t, string(value), "xy")
	must(t, cache.InvalidateTags(false, "user:7"))
	same(t, there("made"), false)
}

// A caller that asks after an invalidation does not get a value whose creation began before the invalidation.
func TestAnInvalidationInACreation(t *testing.T) {
	cache := open(t)
	key := []byte("key")
	began, end := make(chan struct{}), make(chan struct{})
	first := make(chan string)
	go func() {
		value, _ := cache.GetOrCreate(background, key, CreateOptions{Tags: []string{"user:7"}}, func([]byte) ([]byte, error) {
			close(began)
			<-end
			return []byte("old"), nil
		})
		first <- string(value)
	}()
	<-began
	must(t, cache.InvalidateTags(false, "user:7"))
	later := make(chan string)
	go func() {
		value, _ := cache.GetOrCreate(background, key, CreateOptions{}, func([]byte) ([]byte, error) { return []byte("new"), nil })
		later <- string(value)
	}()
	// Most likely the second caller has joined by then. If not, it cannot get the old value either.
	time.Sleep(20 * time.Millisecond)
	close(end)
	same(t, <-first, "old")
	same(t, <-later, "new")
	value, err := cache.Get(key)
	must(t, err)
	same(t, string(value), "new")
}

// The text of an error belongs to its call, whatever threads the goroutines run on.
func TestTextsOfManyGoroutines(t *testing.T) {
	cache := open(t)
	var group sync.WaitGroup
	for i := 0; i < 50; i++ {
		group.Add(1)
		go func(i int) {
			defer group.Done()
			for j := 0; j < 100; j++ {
				err := cache.Set(make([]byte, 70_000+i), nil, 0)
				if !strings.Contains(err.Error(), strconv.Itoa(70_000+i)) {
					t.Errorf("of %d: %v", 70_000+i, err)
				}
			}
		}(i)
	}
	group.Wait()
}

func TestOneCreates(t *testing.T) {
	cache := open(t)
	var created int32
	var group sync.WaitGroup
	for i := 0; i < 100; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			value, err := cache.GetOrCreate(background, []byte("key"), CreateOptions{}, func(stale []byte) ([]byte, error) {
				atomic.AddInt32(&created, 1)
				time.Sleep(50 * time.Millisecond)
				return []byte("made"), nil
			})
			if err != nil || string(value) != "made" {
				t.Errorf("%q %v", value, err)
			}
		}()
	}
	group.Wait()
	same(t, created, 1)
}

func TestCreators(t *testing.T) {
	cache := open(t)
	key, wrong := []byte("key"), errors.New("wrong")
	fails := func([]byte) ([]byte, error) { return nil, wrong }
	_, err := cache.GetOrCreate(background, key, CreateOptions{}, fails)
	is(t, err, wrong)
	func() {
		defer func() { same(t, recover(), "panic") }()
		cache.GetOrCreate(background, key, CreateOptions{}, func([]byte) ([]byte, error) { panic("panic") })
	}()
	nothing := func([]byte) ([]byte, error) { return nil, nil }
	_, err = cache.GetOrCreate(background, key, CreateOptions{AbsentTTL: time.Minute}, nothing)
	is(t, err, ErrMiss)
	_, err = cache.GetOrCreate(background, key, CreateOptions{}, fails)
	is(t, err, ErrMiss)
	big := make([]byte, 40<<20)
	value, err := cache.GetOrCreate(background, []byte("big"), CreateOptions{}, func([]byte) ([]byte, error) { return big, nil })
	must(t, err)
	same(t, len(value), len(big))
	_, err = cache.GetOrCreate(background, []byte("big"), CreateOptions{Strict: true}, func([]byte) ([]byte, error) { return big, nil })
	is(t, err, ErrTooLarge)
	must(t, cache.SetWith([]byte("stale"), []byte("old"), SetOptions{SoftTTL: time.Millisecond, Flags: 7}))
	time.Sleep(10 * time.Millisecond)
	value, err = cache.GetOrCreate(background, []byte("stale"), CreateOptions{}, func(stale []byte) ([]byte, error) {
		return append(stale, " and new"...), nil
	})
	must(t, err)
	same(t, string(value), "old and new")
}

func TestWaitsEndWithTheContext(t *testing.T) {
	path := newPath(t)
	cache, err := Open(path, nil)
	must(t, err)
	defer cache.Close()
	other, err := Open(path, nil)
	must(t, err)
	defer other.Close()
	end := make(chan struct{})
	claimed := make(chan struct{})
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		cache.GetOrCreate(background, []byte("key"), CreateOptions{}, func([]byte) ([]byte, error) {
			close(claimed)
			<-end
			return []byte("late"), nil
		})
	}()
	<-claimed
	brief, cancel := context.WithTimeout(background, 30*time.Millisecond)
	defer cancel()
	for _, one := range []*Cache{cache, other} {
		_, err = one.GetOrCreate(brief, []byte("key"), CreateOptions{}, nil)
		is(t, err, context.DeadlineExceeded)
		_, err = one.GetOrCreate(background, []byte("key"), CreateOptions{Wait: 30 * time.Millisecond, Strict: true}, nil)
		is(t, err, ErrTimedOut)
		value, err := one.GetOrCreate(background, []byte("key"), CreateOptions{Wait: 30 * time.Millisecond}, func([]byte) ([]byte, error) {
			return []byte("not stored"), nil
		})
		must(t, err)
		same(t, string(value), "not stored")
	}
	_, err = cache.Lock(brief, []byte("key"))
	is(t, err, context.DeadlineExceeded)
	close(end)
	<-finished
	lock, err := cache.Lock(background, []byte("key"))
	must(t, err)
	taken, err := other.TryLock([]byte("key"))
	must(t, err)
	if taken != nil {
		t.Fatal("locked twice")
	}
	same(t, lock.Release(), true)
	same(t, lock.Release(), false)
}

// This test program runs itself as other processes.
func TestProcesses(t *testing.T) {
	if path := os.Getenv("KENNEL_TEST_PATH"); path != "" {
		cache, err := Open(path, nil)
		must(t, err)
		value, err := cache.GetOrCreate(background, []byte("herd"), CreateOptions{}, func([]byte) ([]byte, error) {
			cache.IncrOr([]byte("created"), 1, 1, 0)
			if os.Getenv("KENNEL_TEST_HANG") != "" {
				select {}
			}
			time.Sleep(200 * time.Millisecond)
			return []byte("made"), nil
		})
		must(t, err)
		same(t, string(value), "made")
		return
	}
	path := newPath(t)
	cache, err := Open(path, nil)
	must(t, err)
	defer cache.Close()
	run := func(more ...string) *exec.Cmd {
		command := exec.Command(os.Args[0], "-test.run", "TestProcesses")
		command.Env = append(append(os.Environ(), "KENNEL_TEST_PATH="+path), more...)
		must(t, command.Start())
		return command
	}
	// The first creator is killed: another one takes over.
	killed := run("KENNEL_TEST_HANG=yes")
	for i := 0; ; i++ {
		if _, err := cache.Get([]byte("created")); err == nil {
			break
		} else if i > 1000 {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	herd := []*exec.Cmd{run(), run(), run()}
	must(t, killed.Process.Kill())
	killed.Wait()
	for _, one := range herd {
		must(t, one.Wait())
	}
	found, err := cache.Get([]byte("created"))
	must(t, err)
	same(t, string(found), "2")
}

// Begins to create a value in another goroutine. The function that it returns lets the creation end, and waits for it.
func beginCreation(t *testing.T, cache *Cache, key []byte, made string) (end func()) {
	begun, ends, done := make(chan bool), make(chan bool), make(chan bool)
	go func() {
		defer close(done)
		value, err := cache.GetOrCreate(background, key, CreateOptions{}, func([]byte) ([]byte, error) {
			close(begun)
			<-ends
			return []byte(made), nil
		})
		if err != nil || string(value) != made {
			t.Errorf("%q %v", value, err)
		}
	}()
	<-begun
	return func() {
		close(ends)
		<-done
	}
}

func TestAStaleValueIsAtHandWhileAnotherGoroutineCreates(t *testing.T) {
	cache := open(t)
	key := []byte("key")
	must(t, cache.Set(key, []byte("old"), Never))
	must(t, cache.Invalidate(true))
	end := beginCreation(t, cache, key, "new")
	value, err := cache.GetOrCreate(background, key, CreateOptions{Wait: time.Minute}, func([]byte) ([]byte, error) {
		t.Error("created twice")
		return nil, nil
	})
	end()
	must(t, err)
	same(t, string(value), "old")
}

func TestAValueWithoutProtectionIsStored(t *testing.T) {
	cache := open(t)
	key := []byte("key")
	end := beginCreation(t, cache, key, "first")
	how := CreateOptions{Wait: 20 * time.Millisecond, Unprotected: true, Strict: true}
	value, err := cache.GetOrCreate(background, key, how, func([]byte) ([]byte, error) { return []byte("second"), nil })
	must(t, err)
	same(t, string(value), "second")
	end()
	value, err = cache.Get(key)
	must(t, err)
	same(t, string(value), "second")
}
