<?php

/**
 * Declarations of everything that the extension "kennel" defines, for editors and analysers. A test compares them with
 * the extension.
 *
 * The functions are those of APCu with another prefix; docs/php.md says where they differ.
 */

namespace {
    /** Returns whether the cache that the settings name can be used. */
    function kennel_enabled(): bool {}

    /**
     * Stores a value, or all values of an array by their keys. `$ttl` is in seconds; with 0 the values do not expire.
     *
     * @return array|bool for a key, whether its value was stored; for an array, the keys that were not stored, with -1
     * each
     */
    function kennel_store(array|string $key, mixed $value = null, int $ttl = 0): array|bool {}

    /** Stores a value only if the key has none. Returns the same as `kennel_store()`. */
    function kennel_add(array|string $key, mixed $value = null, int $ttl = 0): array|bool {}

    /**
     * Returns the value of a key, or `false` for a miss. For an array of keys, returns an array of the values that
     * exist.
     */
    function kennel_fetch(array|string $key, &$success = null): mixed {}

    function kennel_exists(array|string $key): array|bool {}

    function kennel_delete(array|string $key): array|bool {}

    /** Adds to a number, and returns the new number. A missing number counts as 0. */
    function kennel_inc(string $key, int $step = 1, &$success = null, int $ttl = 0): int|float|false {}

    function kennel_dec(string $key, int $step = 1, &$success = null, int $ttl = 0): int|float|false {}

    /** Replaces the number of a key by `$new`, only if it is `$old`. Returns whether it was replaced. */
    function kennel_cas(string $key, int $old, int $new): bool {}

    /**
     * Returns the value of a key. If it is missing, exactly one caller across all processes creates it with
     * `$callback`.
     */
    function kennel_entry(string $key, callable $callback, int $ttl = 0): mixed {}

    function kennel_clear_cache(): bool {}

    function kennel_cache_info(bool $limited = false): array|false {}

    function kennel_sma_info(bool $limited = false): array|false {}

    function kennel_key_info(string $key): ?array {}

    /** Returns the message of the cache's last failure in this thread, or null. */
    function kennel_error(): ?string {}
}

namespace Kennel {
    /** A failure of the cache. Its code is one of these constants. */
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
        public const TOO_MANY_TAGS = -28;
        public const RESTING = -29;
        public const NO_HANDLE = -91;
        public const PANIC = -99;

        /** What was expected, and what was found. */
        public $facts = '';
        /** What to do about the failure, or ''. */
        public $remedy = '';
    }

    /** A value with its metadata. Times are in seconds since 1970. */
    final class Item
    {
        public $value = null;
        /** Identifies the write that stored the value, for `compareAndSwap()` and `compareAndDelete()`. */
        public $stamp = 0;
        public $isStale = false;
        /** When the value expires; null if it does not. */
        public $expires = null;
        /** When the value becomes stale; null if it does not. */
        public $staleFrom = null;
        /** When the value was created; null if this is not known. */
        public $created = null;
    }

    /** The lock of a key. It ends at the latest when this object is destroyed. */
    final class Lock
    {
        private function __construct() {}

        /** Releases the lock. Returns whether it still excluded other callers. */
        public function release(): bool {}
    }

    /**
     * A cache file, or a namespace in it. Times are in seconds. For a time to live, null stands for the default of the
     * namespace, and INF for no end.
     */
    final class Cache
    {
        /**
         * Opens a cache file, and creates it if it does not exist. A process opens each file only once, however many
         * objects use it.
         *
         * @param ?string $path the path of the file; null stands for the default path of this user
         * @param array $options `capacity`, `mean_item`, `stripes`, `seats`, `namespaces`, `claims`, `mode`, `locks`,
         *     `lock_wait`, `existing`, `read_only`, `verify_reads`, `trust`, `allow_network`, `same_sizes`
         */
        public function __construct(?string $path = null, array $options = []) {}

        /** Returns the cache that the settings name, which the functions use. */
        public static function default(): Cache {}

        /**
         * Removes a cache file. Returns whether there was one. In processes that have it open, reads miss from then on.
         */
        public static function destroy(?string $path = null): bool {}

        /** Returns a part of the file with keys of its own. `$ttl` is the default time to live of its values. */
        public function namespace(string $name, ?float $ttl = null): Cache {}

        /** Returns the value of a key, or the default for a miss. */
        public function get(string $key, mixed $default = null): mixed {}

        /** Returns the value of a key with its metadata, or null for a miss. */
        public function getItem(string $key): ?Item {}

        /** Returns an array of all keys with their values, and with the default for each miss. */
        public function getMultiple(array $keys, mixed $default = null): array {}

        public function has(string $key): bool {}

        /** Stores a value. After `$staleAfter` seconds it is stale, if this is given. */
        public function set(string $key, mixed $value, ?float $ttl = null, ?float $staleAfter = null): bool {}

        /** Stores a value only if the key has none. Returns whether it was stored. */
        public function add(string $key, mixed $value, ?float $ttl = null, ?float $staleAfter = null): bool {}

        /**
         * Stores all values with one call of the library. If some values cannot be stored, the others are stored, and
         * the exception for the first is thrown.
         */
        public function setMultiple(array $values, ?float $ttl = null): void {}

        /** Removes a key. Returns whether it had a value. */
        public function delete(string $key): bool {}

        /** Removes many keys. Returns how many of them had a value. */
        public function deleteMultiple(array $keys): int {}

        /**
         * Changes when the value of a key expires; with null it no longer expires. Returns whether the key has a value.
         */
        public function touch(string $key, ?float $ttl = null): bool {}

        /**
         * Adds to a number, and returns the new number. If the key has no value, stores and returns `$initial`; without
         * `$initial`, returns null.
         */
        public function increment(string $key, int $by = 1, ?int $initial = null, ?float $ttl = null): int|float|null {}

        public function decrement(string $key, int $by = 1, ?int $initial = null, ?float $ttl = null): int|float|null {}

        /** Stores a value only if the key's current value has this stamp. Returns the new stamp, or null. */
        public function compareAndSwap(string $key, int $stamp, mixed $value, ?float $ttl = null): ?int {}

        /** Removes a key only if its current value has this stamp. Returns whether it was removed. */
        public function compareAndDelete(string $key, int $stamp): bool {}

        /**
         * Returns the value of a key. If it is missing, exactly one caller across all processes creates it, and the
         * others wait for it.
         *
         * @param callable(string): mixed $create a function that gets the key and returns the value
         * @param array $options Times are in seconds.
         *     `stale_after`: when the value becomes stale. One caller then creates it again, and the others get the old
         *     value.
         *     `absent_ttl`: if `$create` returns null, how long to remember that the key has no value.
         *     `wait`: how long to wait for another creator; 30 by default.
         *     `unprotected`: when the wait is over, create the value even though another caller is creating it.
         *     `or_uncached`: if the cache fails, create the value and do not store it.
         *     `claim_max_age`: when another caller may create the value even if the creator still runs.
         *     `tags`: the names of the value's tags, up to 16.
         */
        public function getOrCreate(string $key, callable $create, ?float $ttl = null, array $options = []): mixed {}

        /**
         * Takes the lock of a key, which excludes all callers, in all processes, that lock the key or create its value.
         * Returns null if another caller still has it when the wait is over.
         *
         * @param ?float $wait how many seconds to wait; null waits without limit
         * @param ?float $maxAge after how many seconds another caller may take the lock over; null stands for never
         */
        public function lock(string $key, ?float $wait = null, ?float $maxAge = null): ?Lock {}

        /** Returns whether a caller in any process is creating the value of the key or holds its lock. */
        public function isClaimed(string $key): bool {}

        /** Returns the keys that begin with a prefix. This searches the whole file. */
        public function keys(string $prefix = ''): array {}

        /** Removes all values of the namespace, or of the whole file. With `$soft`, makes them stale instead. */
        public function invalidate(bool $soft = false): void {}

        /** Stores a value that bears up to 16 tags. */
        public function setTagged(string $key, mixed $value, array $tags, ?float $ttl = null, ?float $staleAfter = null): bool {}

        /**
         * Removes all values that bear one of the tags, for all processes and in all namespaces. With `$soft`, makes
         * them stale instead.
         */
        public function invalidateTags(array $tags, bool $soft = false): void {}

        /**
         * Removes a namespace with its values, so that the file has room for another one. Returns whether the file had
         * it. Objects of the namespace add it again when they write.
         */
        public function removeNamespace(string $name): bool {}

        /** Returns the statistics of the file, as "kennel stat --json" prints them. */
        public function stats(): array {}
    }
}
