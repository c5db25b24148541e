<?php

declare(strict_types=1);

namespace Kennel\Laravel;

use Illuminate\Cache\Lock;
use Kennel\Cache;

/**
 * A lock of Laravel. It is a value with its owner's name, so that another process can restore and release it. Taking
 * and releasing it are atomic. Like any value, it can be evicted from a full cache. A lock of `Kennel\Cache::lock`
 * cannot be evicted, and ends with its process.
 */
final class KennelLock extends Lock
{
    use OrElse;

    public function __construct(private Cache $cache, string $key, $seconds, ?string $owner = null)
    {
        parent::__construct($key, $seconds, $owner);
    }

    public function acquire()
    {
        $ttl = $this->seconds > 0 ? (float) $this->seconds : INF;
        return self::orElse(false, fn () => $this->cache->add($this->name, (string) $this->owner, $ttl));
    }

    public function release()
    {
        return self::orElse(false, function () {
            $item = $this->cache->getItem($this->name);
            return $item !== null && $item->value === (string) $this->owner
                && $this->cache->compareAndDelete($this->name, $item->stamp);
        });
    }

    public function forceRelease()
    {
        // If the cache fails, the lock ends when its time is over.
        self::orElse(false, fn () => $this->cache->delete($this->name));
    }

    protected function getCurrentOwner()
    {
        return self::orElse(null, fn () => $this->cache->get($this->name));
    }
}
