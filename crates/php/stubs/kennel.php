<?php

/**
 * What the extension "kennel" defines, for editors and analysers. A test compares it with the extension.
 *
 * The functions are those of APCu with another prefix; docs/php.md says where they differ.
 */

namespace {
    /** Whether the cache of the settings can be used. */
    function kennel_enabled(): bool {}

    /** Stores a value, or all values of an array. `$ttl` is in seconds; 0 is no end. */
    function kennel_store(array|string $key, mixed $value = null, int $ttl = 0): array|bool {}

    /** Stores a value if the key has none. */
    function kennel_add(array|string $key, mixed $value = null, int $ttl = 0): array|bool {}

    /** The value of a key, or `false`; of an array of keys, those that are there. */
    function kennel_fetch(array|string $key, &$success = null): mixed {}

    function kennel_exists(array|string $key): array|bool {}

    function kennel_delete(array|string $key): array|bool {}

    /** Adds to a number. A missing one begins at 0. */
    function kennel_inc(string $key, int $step = 1, &$success = null, int $ttl = 0): int|float|false {}

    function kennel_dec(string $key, int $step = 1, &$success = null, int $ttl = 0): int|float|false {}

    /** Stores a number if another one is there. */
    function kennel_cas(string $key, int $old, int $new): bool {}

    /** The value of a key, which one caller of all processes creates if it is missing. */
    function kennel_entry(string $key, callable $callback, int $ttl = 0): mixed {}

    function kennel_clear_cache(): bool {}

    function kennel_cache_info(bool $limited = false): array|false {}

    function kennel_sma_info(bool $limited = false): array|false {}

    function kennel_key_info(string $key): ?array {}

    /** What the last failure of the cache was. */
    function kennel_error(): ?string {}
}

namespace Kennel {
    /** A failure of the cache. Its code is one of the constants. */
    class Exception extends \RuntimeException
    {
        public const IO = -1;
        public const NOT_FOUND = -2;
        public const EXISTS = -3;
        public const BAD_FILE = -4;
        public const MISMATCH = -5;
        public const LOCKS_LOST = -6;
        public const LEASE_REFUSED = -7;
        public const UNKNOWN_STRATEGY = -8;
        public const OPEN_ELSEWHERE = -9;
        public const NOT_TRUSTED = -10;
        public const NETWORK_FILESYSTEM = -11;
        public const NO_SPACE = -12;
        public const SEATS_FULL = -13;
        public const BAD_OPTION = -14;
        public const KEY_TOO_LONG = -15;
        public const TOO_LARGE = -16;
        public const NOT_A_NUMBER = -17;
        public const OVERFLOW = -18;
        public const BUSY = -19;
        public const TIMED_OUT = -20;
        public const OWN_CLAIM = -21;
        public const NAMESPACES_FULL = -22;
        public const READ_ONLY = -24;
        public const NO_MEMORY = -25;
        public const RESTING = -29;
        public const NO_HANDLE = -91;
        public const PANIC = -99;

        /** What was expected, and what was found. */
        public $facts = '';
        /** What to do about it, or ''. */
        public $remedy = '';
    }

    /** A value and what the cache knows of it. Moments are seconds since 1970, or null. */
    final class Item
    {
        public $value = null;
        /** Identifies this write of the key. */
        public $stamp = 0;
        public $isStale = false;
        public $expires = null;
        public $staleFrom = null;
        public $created = null;
    }

    /** The lock of a key. It ends with this object at the latest. */
    final class Lock
    {
        private function __construct() {}

        /** Returns false if it excluded nobody any more. */
        public function release(): bool {}
    }

    /** A cache file, or a namespace in it. Times are seconds: null is the default of the namespace, INF never. */
    final class Cache
    {
        /**
         * Opens a cache file, or creates it. Each process opens a file once, whatever the number of objects.
         *
         * @param ?string $path null: the default path of this user
         * @param array $options `capacity`, `mean_item`, `stripes`, `seats`, `namespaces`, `claims`, `mode`, `locks`,
         *     `lock_wait`, `existing`, `read_only`, `verify_reads`, `trust`, `allow_network`, `same_sizes`
         */
        public function __construct(?string $path = null, array $options = []) {}

        /** The cache of the settings, which the functions use. */
        public static function default(): Cache {}

        /** Removes a cache file. Processes that have it open miss from then on. */
        public static function destroy(?string $path = null): bool {}

        /** A part of the file with keys and a default time to live of its own. */
        public function namespace(string $name, ?float $ttl = null): Cache {}

        public function get(string $key, mixed $default = null): mixed {}

        public function getItem(string $key): ?Item {}

        /** All keys, those that are missing with the default. */
        public function getMultiple(array $keys, mixed $default = null): array {}

        public function has(string $key): bool {}

        public function set(string $key, mixed $value, ?float $ttl = null, ?float $staleAfter = null): bool {}

        /** Stores a value if the key has none. */
        public function add(string $key, mixed $value, ?float $ttl = null, ?float $staleAfter = null): bool {}

        /** Stores all values in one call. If some cannot be stored, the others are, and the exception is that of the first. */
        public function setMultiple(array $values, ?float $ttl = null): void {}

        public function delete(string $key): bool {}

        /** Returns how many had a value. */
        public function deleteMultiple(array $keys): int {}

        /** Changes when a key expires; null: never. */
        public function touch(string $key, ?float $ttl = null): bool {}

        /** Adds to a number, or stores `$initial`. Without it, a missing number is null. */
        public function increment(string $key, int $by = 1, ?int $initial = null, ?float $ttl = null): int|float|null {}

        public function decrement(string $key, int $by = 1, ?int $initial = null, ?float $ttl = null): int|float|null {}

        /** Stores a value if the key's value has this stamp. Returns the new stamp, or null. */
        public function compareAndSwap(string $key, int $stamp, mixed $value, ?float $ttl = null): ?int {}

        public function compareAndDelete(string $key, int $stamp): bool {}

        /**
         * The value of a key, which one caller of all processes creates if it is missing.
         *
         * @param callable(string): mixed $create gets the key
         * @param array $options `stale_after`: seconds after which one caller creates it again, while the others get the
         *     old value; `absent_ttl`: how long to remember that there is no value, which null says; `wait`: for another
         *     creator, 30 seconds; `unprotected`: create it after the wait although another caller does, too;
         *     `or_uncached`: if the cache fails, create it without storing it; `claim_max_age`: when others may take
         *     over although the creator lives; `tags`: of the created value, up to 16
         */
        public function getOrCreate(string $key, callable $create, ?float $ttl = null, array $options = []): mixed {}

        /** Locks a key against all that lock or create it, or returns null after the wait. null is no limit. */
        public function lock(string $key, ?float $wait = null, ?float $maxAge = null): ?Lock {}

        /** Whether somebody creates or locks the key. */
        public function isClaimed(string $key): bool {}

        /** The keys that begin with a prefix. The whole file is searched. */
        public function keys(string $prefix = ''): array {}

        /** Removes all values of the namespace, or of the file; with `$soft` they are stale. */
        public function invalidate(bool $soft = false): void {}

        /** Stores a value that bears up to 16 tags. */
        public function setTagged(string $key, mixed $value, array $tags, ?float $ttl = null, ?float $staleAfter = null): bool {}

        /** Removes the values that bear one of the tags, in all processes and namespaces; with `$soft` they are stale. */
        public function invalidateTags(array $tags, bool $soft = false): void {}

        /** Removes a namespace with its values, to make room for another one. Its objects add it again when they write. */
        public function removeNamespace(string $name): bool {}

        /** What "kennel stat --json" prints. */
        public function stats(): array {}
    }
}
