<?php

declare(strict_types=1);

namespace Kennel;

use FFI;
use FFI\CData;
use Kennel\Ffi\Library;
use Kennel\Ffi\Values;

/**
 * A cache file, or a namespace in it. This class does the same as the extension's class, over FFI, and is loaded only
 * if the extension is not. stubs/kennel.php describes its methods.
 */
final class Cache
{
    private const NONE = 0;
    private const OK = 1;
    private const CREATE = 2;
    private const BUFFER_TOO_SMALL = -26;
    private const BITS = [
        'existing' => 1, 'read_only' => 2, 'verify_reads' => 4, 'trust' => 8, 'allow_network' => 16, 'same_sizes' => 32,
    ];
    /** A wait consists of parts of this length, in milliseconds. Between them PHP handles signals. */
    private const PART_MS = 100;

    /** @var array<string, CData> open handles of this process */
    private static array $handles = [];
    /** @var array<string, true> the keys that are being created in this process */
    private static array $creating = [];

    private CData $k;
    private string $name;

    public function __construct(?string $path = null, array $options = [])
    {
        $this->name = 'file ' . $path . "\0" . serialize($options);
        $this->k = self::$handles[$this->name] ??= self::open($path, $options);
    }

    private static function open(?string $path, array $options): CData
    {
        $struct = Library::struct('kennel_options');
        $text = Library::memory('lease');
        foreach ($options as $name => $value) {
            if (isset(self::BITS[$name])) {
                $struct->bits |= $value ? self::BITS[$name] : 0;
            } elseif ($name === 'locks') {
                $struct->locks = FFI::cast('char *', $text = Library::memory($value));
            } elseif ($name === 'lock_wait') {
                $struct->lock_wait_ms = Values::wait((float) $value, 'Option "lock_wait"');
            } elseif (in_array($name, ['capacity', 'mean_item', 'stripes', 'seats', 'namespaces', 'claims', 'mode'], true)) {
                if (!is_int($value) || $value < 0) {
                    throw new \ValueError("Option \"$name\" must be an int from 0");
                }
                $struct->$name = $value;
            } else {
                throw new \ValueError("Unknown option \"$name\"");
            }
        }
        $out = Library::get()->new('kennel *');
        $open = fn () => Library::get()->kennel_open($path, FFI::addr($struct), FFI::addr($out));
        if (!isset($options['locks'])) {
            // Prefer "lease", because a write with it makes no system call. An existing file keeps its own strategy.
            $struct->locks = FFI::cast('char *', $text);
            $result = $open();
            if ($result !== Exception::LEASE_REFUSED && $result !== Exception::MISMATCH) {
                Library::check($result);
                return $out;
            }
            $struct->locks = null;
        }
        Library::check($open());
        return $out;
    }

    /** Returns the cache at the default path of this user, because without the extension there are no settings. */
    public static function default(): self
    {
        return new self();
    }

    public static function destroy(?string $path = null): bool
    {
        $of = 'file ' . $path . "\0";
        self::$handles = array_filter(self::$handles, fn ($name) => !str_starts_with($name, $of), ARRAY_FILTER_USE_KEY);
        return Library::check(Library::get()->kennel_destroy($path)) === self::OK;
    }

    public function namespace(string $name, ?float $ttl = null): self
    {
        $made = clone $this;
        $ttl_ms = max(0, Values::ttl($ttl, '$ttl'));
        $made->name = $this->name . "\0$ttl_ms $name";
        $made->k = self::$handles[$made->name] ??= $this->openNamespace($name, $ttl_ms);
        return $made;
    }

    private function openNamespace(string $name, int $ttl_ms): CData
    {
        $out = Library::get()->new('kennel *');
        Library::check(Library::get()->kennel_namespace($this->k, $name, $ttl_ms, FFI::addr($out)));
        return $out;
    }

    /** Reads a value. Returns its metadata, or null for a miss. */
    private function read(string $key, mixed &$value): ?CData
    {
        $ffi = Library::get();
        $item = Library::struct('kennel_item');
        $buffer = Library::buffer();
        $result = $ffi->kennel_get_item_into($this->k, $key, strlen($key), $buffer, Library::BUFFER, FFI::addr($item));
        while ($result === self::BUFFER_TOO_SMALL) {
            $room = $item->len;
            $buffer = $ffi->new("char[$room]");
            $result = $ffi->kennel_get_item_into($this->k, $key, strlen($key), $buffer, $room, FFI::addr($item));
        }
        if (Library::check($result) === self::NONE) {
            return null;
        }
        $bytes = $item->len > 0 ? FFI::string($buffer, $item->len) : '';
        return Values::decode($bytes, $item->flags, $value) ? $item : null;
    }

    public function get(string $key, mixed $default = null): mixed
    {
        return $this->read($key, $value) !== null ? $value : $default;
    }

    public function getItem(string $key): ?Item
    {
        $found = $this->read($key, $value);
        if ($found === null) {
            return null;
        }
        $item = new Item();
        $item->value = $value;
        $item->stamp = $found->stamp;
        $item->isStale = $found->is_stale === 1;
        $item->expires = $found->expires_ms !== 0 ? $found->expires_ms / 1000 : null;
        $item->staleFrom = $found->soft_expires_ms !== 0 ? $found->soft_expires_ms / 1000 : null;
        $item->created = $found->created_ms !== 0 ? $found->created_ms / 1000 : null;
        return $item;
    }

    public function getMultiple(array $keys, mixed $default = null): array
    {
        if ($keys === []) {
            return [];
        }
        [$texts, $kept] = Library::texts($keys, 'key');
        $ffi = Library::get();
        $count = count($keys);
        $items = $ffi->new("kennel_item[$count]");
        for ($i = 0; $i < $count; $i++) {
            $items[$i]->size = FFI::sizeof($items[$i]);
        }
        $values = $ffi->new("char *[$count]");
        $memory = $ffi->new('char *');
        Library::check($ffi->kennel_get_multi($this->k, $texts, $count, $values, $items, FFI::addr($memory)));
        $found = [];
        try {
            foreach (array_values($keys) as $i => $key) {
                $has = $values[$i] !== null && !FFI::isNull($values[$i])
                    && Values::decode(FFI::string($values[$i], $items[$i]->len), $items[$i]->flags, $value);
                $found[$key] = $has ? $value : $default;
            }
        } finally {
            $ffi->kennel_free($memory);
        }
        return $found;
    }

    public function has(string $key): bool
    {
        return Library::check(Library::get()->kennel_contains($this->k, $key, strlen($key))) === self::OK;
    }

    private static function how(int $flags, ?float $ttl, ?float $staleAfter = null): CData
    {
        $how = Library::struct('kennel_set_options');
        $how->ttl_ms = Values::ttl($ttl, '$ttl');
        $how->soft_ttl_ms = Values::ttl($staleAfter, '$staleAfter');
        $how->flags = $flags;
        return $how;
    }

    public function set(string $key, mixed $value, ?float $ttl = null, ?float $staleAfter = null): bool
    {
        [$bytes, $flags] = Values::encode($value);
        $ffi = Library::get();
        if ($flags === 0 && $staleAfter === null) {
            $ttl_ms = Values::ttl($ttl, '$ttl');
            return Library::check($ffi->kennel_set($this->k, $key, strlen($key), $bytes, strlen($bytes), $ttl_ms)) === self::OK;
        }
        $how = FFI::addr(self::how($flags, $ttl, $staleAfter));
        $result = $ffi->kennel_set_with($this->k, $key, strlen($key), $bytes, strlen($bytes), $how, null);
        return Library::check($result) === self::OK;
    }

    public function add(string $key, mixed $value, ?float $ttl = null, ?float $staleAfter = null): bool
    {
        [$bytes, $flags] = Values::encode($value);
        $how = FFI::addr(self::how($flags, $ttl, $staleAfter));
        $result = Library::get()->kennel_add($this->k, $key, strlen($key), $bytes, strlen($bytes), $how);
        return Library::check($result) === self::OK;
    }

    public function setTagged(string $key, mixed $value, array $tags, ?float $ttl = null, ?float $staleAfter = null): bool
    {
        [$bytes, $flags] = Values::encode($value);
        $how = self::how($flags, $ttl, $staleAfter);
        [$texts, $kept] = Library::texts($tags, 'tag');
        if ($texts !== null) {
            $how->tags = FFI::addr($texts[0]);
        }
        $how->tag_count = count($tags);
        $result = Library::get()->kennel_set_with(
            $this->k, $key, strlen($key), $bytes, strlen($bytes), FFI::addr($how), null,
        );
        return Library::check($result) === self::OK;
    }

    public function setMultiple(array $values, ?float $ttl = null): void
    {
        $how = self::how(0, $ttl);
        if ($values === []) {
            return;
        }
        $all = '';
        $parts = [];
        foreach ($values as $key => $value) {
            [$bytes, $flags] = Values::encode($value);
            $key = (string) $key;
            $parts[] = [strlen($key), strlen($bytes), $flags];
            $all .= $key . $bytes;
        }
        $ffi = Library::get();
        $memory = Library::memory($all);
        $count = count($parts);
        $pairs = $ffi->new("kennel_pair[$count]");
        $at = 0;
        foreach ($parts as $i => [$n, $len, $flags]) {
            $pair = $pairs[$i];
            $pair->key = FFI::addr($memory[$at]);
            $pair->n = $n;
            $pair->value = FFI::addr($memory[$at + $n]);
            $pair->len = $len;
            $pair->flags = $flags;
            $at += $n + $len;
        }
        Library::check($ffi->kennel_set_multi($this->k, $pairs, $count, FFI::addr($how), null));
    }

    public function delete(string $key): bool
    {
        return Library::check(Library::get()->kennel_delete($this->k, $key, strlen($key))) === self::OK;
    }

    public function deleteMultiple(array $keys): int
    {
        if ($keys === []) {
            return 0;
        }
        [$texts, $kept] = Library::texts($keys, 'key');
        $ffi = Library::get();
        $count = count($keys);
        $results = $ffi->new("int[$count]");
        Library::check($ffi->kennel_delete_multi($this->k, $texts, $count, $results));
        $removed = 0;
        for ($i = 0; $i < $count; $i++) {
            $removed += $results[$i] === self::OK ? 1 : 0;
        }
        return $removed;
    }

    public function touch(string $key, ?float $ttl = null): bool
    {
        $ttl_ms = $ttl === null ? -1 : Values::ttl($ttl, '$ttl');
        return Library::check(Library::get()->kennel_touch($this->k, $key, strlen($key), $ttl_ms)) === self::OK;
    }

    public function increment(string $key, int $by = 1, ?int $initial = null, ?float $ttl = null): int|float|null
    {
        $ffi = Library::get();
        $number = $ffi->new('uint64_t');
        $out = FFI::addr($number);
        [$do, $amount] = $by < 0 ? ['decr', -$by] : ['incr', $by];
        if ($initial === null) {
            $result = $ffi->{"kennel_$do"}($this->k, $key, strlen($key), $amount, $out);
        } elseif ($initial >= 0) {
            $how = FFI::addr(self::how(Values::INT, $ttl));
            $result = $ffi->{"kennel_{$do}_or"}($this->k, $key, strlen($key), $amount, $initial, $how, $out);
        } else {
            $result = Exception::OVERFLOW;
        }
        if ($result === Exception::OVERFLOW || $result === Exception::NOT_A_NUMBER) {
            return $this->exchangeSum($key, $by, $initial, $ttl);
        }
        if (Library::check($result) === self::NONE) {
            return null;
        }
        // FFI shows numbers above PHP_INT_MAX as negative numbers.
        return $number->cdata >= 0 ? $number->cdata : $number->cdata + 2 ** 64;
    }

    /** Adds by exchanging the value, because the library does not add to numbers below 0. */
    private function exchangeSum(string $key, int $by, ?int $initial, ?float $ttl): ?int
    {
        while (true) {
            $item = $this->getItem($key);
            if ($item === null) {
                if ($initial === null || $this->add($key, $initial, $ttl)) {
                    return $initial;
                }
                continue;
            }
            $old = filter_var($item->value, FILTER_VALIDATE_INT);
            if ($old === false || !is_scalar($item->value)) {
                throw Exception::of(Exception::NOT_A_NUMBER, 'the value of this key is not a number', '');
            }
            $sum = $old + $by;
            if (!is_int($sum)) {
                throw Exception::of(Exception::OVERFLOW, 'the number would not be an int of PHP; it is as it was', '');
            }
            $left = $item->expires === null ? INF : max(0.001, $item->expires - microtime(true));
            if ($this->compareAndSwap($key, $item->stamp, is_int($item->value) ? $sum : (string) $sum, $left) !== null) {
                return $sum;
            }
        }
    }

    public function decrement(string $key, int $by = 1, ?int $initial = null, ?float $ttl = null): int|float|null
    {
        return $this->increment($key, -$by, $initial, $ttl);
    }

    public function compareAndSwap(string $key, int $stamp, mixed $value, ?float $ttl = null): ?int
    {
        [$bytes, $flags] = Values::encode($value);
        $ffi = Library::get();
        $new = $ffi->new('uint64_t');
        $how = FFI::addr(self::how($flags, $ttl));
        $swap = fn () => $ffi->kennel_compare_and_swap(
            $this->k, $key, strlen($key), $stamp, $bytes, strlen($bytes), $how, FFI::addr($new),
        );
        return Library::check($swap()) === self::OK ? $new->cdata : null;
    }

    public function compareAndDelete(string $key, int $stamp): bool
    {
        $result = Library::get()->kennel_compare_and_delete($this->k, $key, strlen($key), $stamp);
        return Library::check($result) === self::OK;
    }

    public function getOrCreate(string $key, callable $create, ?float $ttl = null, array $options = []): mixed
    {
        $how = Library::struct('kennel_create_options');
        $how->ttl_ms = Values::ttl($ttl, '$ttl');
        $wait_ms = 30000;
        $unprotected = $uncached = false;
        $tags = [];
        foreach ($options as $name => $value) {
            match ($name) {
                'tags' => $tags = (array) $value,
                'stale_after' => $how->soft_ttl_ms = Values::ttl($value, 'Option "stale_after"'),
                'absent_ttl' => $how->absent_ttl_ms = Values::ttl($value, 'Option "absent_ttl"'),
                'claim_max_age' => $how->claim_max_age_ms = Values::ttl($value, 'Option "claim_max_age"'),
                'wait' => $wait_ms = Values::wait((float) $value, 'Option "wait"'),
                'unprotected' => $unprotected = (bool) $value,
                'or_uncached' => $uncached = (bool) $value,
                default => throw new \ValueError("Unknown option \"$name\""),
            };
        }
        [$texts, $kept] = Library::texts($tags, 'tag');
        if ($texts !== null) {
            $how->tags = FFI::addr($texts[0]);
        }
        $how->tag_count = count($tags);
        $found = $this->read($key, $value);
        if ($found !== null && $found->is_stale === 0) {
            return $value;
        }
        $name = $this->name . "\0\0$key";
        if (isset(self::$creating[$name])) {
            throw Exception::of(Exception::OWN_CLAIM, 'this creator is already creating the key', 'not-within');
        }
        self::$creating[$name] = true;
        try {
            return $this->create($key, $create, $how, $wait_ms, $unprotected, $uncached);
        } finally {
            unset(self::$creating[$name]);
        }
    }

    private function create(
        string $key,
        callable $create,
        CData $how,
        int $wait_ms,
        bool $unprotected,
        bool $uncached,
    ): mixed {
        while (true) {
            $item = Library::struct('kennel_item');
            $result = $this->begin($key, $how, $wait_ms, $item, $bytes, $claim);
            if ($result === self::CREATE) {
                return self::complete($claim, $how, $create, $key);
            }
            if ($result === self::NONE) {
                return null;
            }
            if ($result !== self::OK) {
                if ($result === Exception::TIMED_OUT ? $unprotected : $result !== Exception::RESTING && $uncached) {
                    return $create($key);
                }
                Library::check($result);
            }
            if (Values::decode($bytes, $item->flags, $value)) {
                return $value;
            }
            Library::get()->kennel_compare_and_delete($this->k, $key, strlen($key), $item->stamp);
        }
    }

    /** Begins a creation, and waits in parts. If the result is OK, sets `$bytes` to the value. */
    private function begin(string $key, CData $how, int $wait_ms, CData $item, ?string &$bytes, ?int &$claim): int
    {
        $ffi = Library::get();
        $value = $ffi->new('char *');
        $number = $ffi->new('uint64_t');
        $since = hrtime(true);
        do {
            $rest = $wait_ms < 0 ? self::PART_MS + 1 : $wait_ms - intdiv(hrtime(true) - $since, 1_000_000);
            $how->wait_ms = max(0, min($rest, self::PART_MS));
            $result = $ffi->kennel_begin_item(
                $this->k, $key, strlen($key), FFI::addr($how), FFI::addr($value), FFI::addr($item), FFI::addr($number),
            );
            $bytes = $result === self::OK && $item->len > 0 ? FFI::string($value, $item->len) : '';
            $ffi->kennel_free($value);
        } while ($result === Exception::TIMED_OUT && $rest > self::PART_MS);
        $claim = $number->cdata;
        return $result;
    }

    private static function complete(int $claim, CData $how, callable $create, string $key): mixed
    {
        Library::keep($claim, 'kennel_fail');
        try {
            $value = $create($key);
            if ($value === null && $how->absent_ttl_ms !== 0) {
                Library::get()->kennel_complete_absent($claim);
            } else {
                [$bytes, $flags] = Values::encode($value);
                $as = FFI::addr(self::how($flags, null));
                Library::get()->kennel_complete_with($claim, $bytes, strlen($bytes), $as);
            }
            Library::ended($claim);
        } catch (\Throwable $thrown) {
            Library::end($claim);
            throw $thrown;
        }
        return $value;
    }

    public function lock(string $key, ?float $wait = null, ?float $maxAge = null): ?Lock
    {
        $wait_ms = $wait === null ? -1 : Values::wait($wait, '$wait');
        $max_age_ms = max(0, Values::ttl($maxAge, '$maxAge'));
        $ffi = Library::get();
        $lock = $ffi->new('uint64_t');
        $since = hrtime(true);
        do {
            $rest = $wait_ms < 0 ? self::PART_MS + 1 : $wait_ms - intdiv(hrtime(true) - $since, 1_000_000);
            $part = max(0, min($rest, self::PART_MS));
            $result = $ffi->kennel_lock($this->k, $key, strlen($key), $part, $max_age_ms, FFI::addr($lock));
        } while ($result === self::NONE && $rest > self::PART_MS);
        return Library::check($result) === self::OK ? Lock::of($lock->cdata) : null;
    }

    public function isClaimed(string $key): bool
    {
        return Library::check(Library::get()->kennel_is_claimed($this->k, $key, strlen($key))) === self::OK;
    }

    public function keys(string $prefix = ''): array
    {
        $ffi = Library::get();
        $listing = $ffi->new('uint64_t');
        $key = $ffi->new('char *');
        $len = $ffi->new('size_t');
        Library::check($ffi->kennel_list($this->k, $prefix, strlen($prefix), FFI::addr($listing)));
        $keys = [];
        $next = fn () => $ffi->kennel_next($listing->cdata, FFI::addr($key), FFI::addr($len), null);
        while (Library::check($next()) === self::OK) {
            $keys[] = $len->cdata > 0 ? FFI::string($key, $len->cdata) : '';
            $ffi->kennel_free($key);
        }
        return $keys;
    }

    public function invalidate(bool $soft = false): void
    {
        Library::check(Library::get()->kennel_invalidate($this->k, $soft ? 1 : 0));
    }

    public function invalidateTags(array $tags, bool $soft = false): void
    {
        [$texts, $kept] = Library::texts($tags, 'tag');
        Library::check(Library::get()->kennel_invalidate_tags($this->k, $texts, count($tags), $soft ? 1 : 0));
    }

    public function removeNamespace(string $name): bool
    {
        return Library::check(Library::get()->kennel_remove_namespace($this->k, $name)) === self::OK;
    }

    public function stats(): array
    {
        $ffi = Library::get();
        $text = $ffi->new('char *');
        Library::check($ffi->kennel_stats_json($this->k, FFI::addr($text)));
        $stats = json_decode(FFI::string($text), true, 512, JSON_THROW_ON_ERROR);
        $ffi->kennel_free($text);
        return $stats;
    }
}
