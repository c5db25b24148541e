<?php

declare(strict_types=1);

namespace Kennel\Laravel;

use Illuminate\Cache\TaggableStore;
use Illuminate\Contracts\Cache\LockProvider;
use Kennel\Cache;

/**
 * A store of Laravel over a cache of Kennel. A cache that fails stops no program: reads miss, and writes return false.
 *
 * Numbers are counted in one step, so rate limiters count right in all processes.
 */
final class KennelStore extends TaggableStore implements LockProvider
{
    use OrElse;

    /** @param Cache $cache a namespace of a file, usually; `flush()` removes all that it has */
    public function __construct(private Cache $cache, private string $prefix = '')
    {
    }

    /** Laravel's times are whole seconds; less than one is one. */
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

    /** Stores a value if the key has none, in one step. */
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
