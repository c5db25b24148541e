package kennel

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

// Measures the time of calls with values of 200 bytes, and compares it with a map and a lock: go test -run '^$' -bench .

func keysOfCosts() [][]byte {
	keys := make([][]byte, 1000)
	for i := range keys {
		keys[i] = []byte(fmt.Sprintf("user:%d:profile", i))
	}
	return keys
}

func BenchmarkKennel(b *testing.B) {
	cache, err := Open(filepath.Join(b.TempDir(), "cost.cache"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer cache.Close()
	keys, value, room := keysOfCosts(), make([]byte, 200), make([]byte, 0, 256)
	for _, key := range keys {
		if err := cache.Set(key, value, 0); err != nil {
			b.Fatal(err)
		}
	}
	calls := map[string]func(key []byte) error{
		"AppendTo": func(key []byte) error { _, err := cache.AppendTo(room, key); return err },
		"Get":      func(key []byte) error { _, err := cache.Get(key); return err },
		"Set":      func(key []byte) error { return cache.Set(key, value, 0) },
	}
	for _, name := range []string{"AppendTo", "Get", "Set"} {
		b.Run(name, func(b *testing.B) {
			for i := 0; i < b.N; i++ {
				if err := calls[name](keys[i%len(keys)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMapWithLock(b *testing.B) {
	keys, value := keysOfCosts(), make([]byte, 200)
	values, lock := map[string][]byte{}, sync.RWMutex{}
	b.Run("Set", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			lock.Lock()
			values[string(keys[i%len(keys)])] = value
			lock.Unlock()
		}
	})
	b.Run("Get", func(b *testing.B) {
		for i := 0; i < b.N; i++ {
			lock.RLock()
			_ = values[string(keys[i%len(keys)])]
			lock.RUnlock()
		}
	})
}
