<?php

declare(strict_types=1);

namespace Kennel\Laravel;

use Illuminate\Cache\TaggableStore;
use Illuminate\Contracts\Cache\LockProvider;
use Kennel\Cache;

/**
 * A Laravel store with a cache of Kennel. If the cache fails, reads miss and writes return false, so the program goes
 * on.
 *
 * Increments are atomic, so rate limiters count correctly across all processes.
 */
final class KennelStore extends TaggableStore implements LockProvider
{
    use OrElse;

    /** @param Cache $cache usually a namespace of a file; `flush()` removes all its values */
    public function __construct(private Cache $cache, private string $prefix = '')
    {
    }

    /** Laravel's times are whole seconds. A time of less than one second counts as one. */
    private static function ttl(mixed $seconds): float
    {
        return max(1.0, (float) $seconds);
    }

    public function get($key)
    {
        return self::orElse(null, fn () => $this->cache->get($this->prefix . $key));
    }

    public function many(array $keys)
    {
        $stored = array_map(fn ($key) => $this->prefix . $key, array_values($keys));
        $found = self::orElse([], fn () => $this->cache->getMultiple($stored));
        $values = [];
        foreach ($keys as $key) {
            $values[$key] = $found[$this->prefix . $key] ?? null;
        }
        return $values;
    }

    public function put($key, $value, $seconds)
    {
        return self::orElse(false, fn () => $this->cache->set($this->prefix . $key, $value, self::ttl($seconds)));
    }

    public function putMany(array $values, $seconds)
    {
        $stored = [];
        foreach ($values as $key => $value) {
            $stored[$this->prefix . $key] = $value;
        }
        return self::orElse(false, function () use ($stored, $seconds) {
            $this->cache->setMultiple($stored, self::ttl($seconds));
            return true;
        });
    }

    /** Stores a value only if the key has none. This is atomic. */
    public function add($key, $value, $seconds)
    {
        return self::orElse(false, fn () => $this->cache->add($this->prefix . $key, $value, self::ttl($seconds)));
    }

    public function increment($key, $value = 1)
    {
        return self::orElse(false, fn () => $this->cache->increment($this->prefix . $key, $value, $value, INF));
    }

    public function decrement($key, $value = 1)
    {
        return self::orElse(false, fn () => $this->cache->decrement($this->prefix . $key, $value, -$value, INF));
    }

    public function forever($key, $value)
    {
        return self::orElse(false, fn () => $this->cache->set($this->prefix . $key, $value, INF));
    }

    /** Changes when a value expires. */
    public function touch($key, $seconds)
    {
        return self::orElse(false, fn () => $this->cache->touch($this->prefix . $key, self::ttl($seconds)));
    }

    public function forget($key)
    {
        return self::orElse(false, fn () => $this->cache->delete($this->prefix . $key));
    }

    public function flush()
    {
        return self::orElse(false, function () {
            $this->cache->invalidate();
            return true;
        });
    }

    public function getPrefix()
    {
        return $this->prefix;
    }

    public function lock($name, $seconds = 0, $owner = null)
    {
        return new KennelLock($this->cache, $this->prefix . $name, $seconds, $owner);
    }

    public function restoreLock($name, $owner)
    {
        return $this->lock($name, 0, $owner);
    }
}
