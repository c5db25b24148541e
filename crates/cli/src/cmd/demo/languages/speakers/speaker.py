"""What Python says in `kennel demo --languages`."""

import sys
import time

import kennel


def version():
    print("Python", sys.version.split()[0])


def set_own(cache, name):
    cache.set(f"hello:{name}", f"{name} says hello")


def get_all(cache, *names):
    for name in names:
        value = cache.get(f"hello:{name}")
        print("-" if value is None else value.decode())


def create(cache, name):
    def creator():
        print("created", flush=True)
        time.sleep(0.2)
        return f"made by {name}"

    print("ready", flush=True)
    sys.stdin.read()
    print(cache.get_or_create("made once", creator).decode())


def write(cache, name):
    print("ready", flush=True)
    n = 0
    while True:
        key = f"key {n % 100}"
        value = cache.get(key)
        if value is not None and not value.startswith(f"{key} by ".encode()):
            sys.exit(f"{key} is {value!r}")
        cache.set(key, f"{key} by {name}, {n}")
        n += 1


if sys.argv[1] == "version":
    version()
else:
    action = {"set": set_own, "get": get_all, "create": create, "write": write}[sys.argv[1]]
    action(kennel.Cache(sys.argv[2], create=False), *sys.argv[3:])
