// What Go says in `kennel demo --languages`.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"runtime"
	"strings"
	"time"

	"kennel"
)

func set(cache *kennel.Cache, name string) error {
	return cache.Set([]byte("hello:"+name), []byte(name+" says hello"), 0)
}

func get(cache *kennel.Cache, names []string) error {
	for _, name := range names {
		value, err := cache.Get([]byte("hello:" + name))
		if errors.Is(err, kennel.ErrMiss) {
			value = []byte("-")
		} else if err != nil {
			return err
		}
		fmt.Printf("%s\n", value)
	}
	return nil
}

func create(cache *kennel.Cache, name string) error {
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
	made, err := cache.GetOrCreate(context.Background(), []byte("made once"), kennel.CreateOptions{},
		func([]byte) ([]byte, error) {
			fmt.Println("created")
			time.Sleep(200 * time.Millisecond)
			return []byte("made by " + name), nil
		})
	fmt.Printf("%s\n", made)
	return err
}

func write(cache *kennel.Cache, name string) error {
	fmt.Println("ready")
	for n := 0; ; n++ {
		key := fmt.Sprintf("key %d", n%100)
		value, err := cache.Get([]byte(key))
		if err == nil && !bytes.HasPrefix(value, []byte(key+" by ")) {
			return fmt.Errorf("%s is %s", key, value)
		}
		if err := cache.Set([]byte(key), []byte(fmt.Sprintf("%s by %s, %d", key, name, n)), 0); err != nil {
			return err
		}
	}
}

func main() {
	log.SetFlags(0)
	if os.Args[1] == "version" {
		fmt.Println("Go", strings.TrimPrefix(runtime.Version(), "go"))
		return
	}
	cache, err := kennel.Open(os.Args[2], nil)
	if err == nil {
		names := os.Args[3:]
		switch os.Args[1] {
		case "set":
			err = set(cache, names[0])
		case "get":
			err = get(cache, names)
		case "create":
			err = create(cache, names[0])
		case "write":
			err = write(cache, names[0])
		}
	}
	if err != nil {
		log.Fatal(err)
	}
}
