<?php

declare(strict_types=1);

namespace Kennel\Symfony;

use Kennel\Cache;
use Kennel\Exception;
use Symfony\Component\Cache\Adapter\AbstractAdapter;
use Symfony\Component\Cache\CacheItem;
use Symfony\Contracts\Cache\ItemInterface;

/**
 * A Symfony cache pool, which implements PSR-6, with a cache of Kennel. If several processes miss an item in `get()`,
 * one of them computes it, and the others wait for it. For this it holds the lock of the item's key, which ends with
 * its process.
 */
final class KennelAdapter extends AbstractAdapter
{
    /** How many seconds a process waits for another one that computes an item. */
    private const WAIT = 30.0;

    private Cache $cache;

    /**
     * @param string $namespace a namespace of the cache. `clear()` clears this namespace, or the whole file if it is ''.
     * @param int $defaultLifetime the time to live, in seconds, of items for which none is given; 0 stands for no end
     */
    public function __construct(Cache $cache, string $namespace = '', int $defaultLifetime = 0)
    {
        $this->cache = $namespace === '' ? $cache : $cache->namespace($namespace);
        parent::__construct('', $defaultLifetime);
        $this->setCallbackWrapper([$this, 'computeOnce']);
    }

    protected function doFetch(array $ids): iterable
    {
        // An item whose class no longer exists counts as a miss.
        $handler = ini_set('unserialize_callback_func', self::class . '::handleUnserializeCallback');
        $missing = new \stdClass();
        try {
            return array_filter($this->cache->getMultiple($ids, $missing), fn ($value) => $value !== $missing);
        } catch (\Error $error) {
            throw new \ErrorException($error->getMessage(), $error->getCode(), \E_ERROR, $error->getFile(), $error->getLine());
        } finally {
            ini_set('unserialize_callback_func', (string) $handler);
        }
    }

    protected function doHave(string $id): bool
    {
        return $this->cache->has($id);
    }

    protected function doClear(string $namespace): bool
    {
        if ($namespace === '') {
            $this->cache->invalidate();
        } else {
            $this->cache->deleteMultiple($this->cache->keys($namespace));
        }
        return true;
    }

    protected function doDelete(array $ids): bool
    {
        $this->cache->deleteMultiple($ids);
        return true;
    }

    protected function doSave(array $values, int $lifetime): array|bool
    {
        $failed = [];
        foreach ($values as $id => $value) {
            try {
                $this->cache->set((string) $id, $value, $lifetime > 0 ? (float) $lifetime : null);
            } catch (Exception) {
                $failed[] = $id;
            }
        }
        return $failed;
    }

    /** @internal Symfony calls this method to compute an item. */
    public function computeOnce(
        callable $callback,
        ItemInterface $item,
        bool &$save,
        self $pool,
        ?\Closure $setMetadata = null,
    ): mixed {
        $waited = false;
        try {
            $lock = $this->cache->lock($item->getKey(), 0.0);
            if ($lock === null) {
                $waited = true;
                $lock = $this->cache->lock($item->getKey(), self::WAIT);
            }
        } catch (Exception) {
            $lock = null;
        }
        try {
            if ($waited && ($found = $pool->getItem($item->getKey()))->isHit()) {
                $save = false;
                return $found->get();
            }
            $value = $callback($item, $save);
            if ($save) {
                if ($setMetadata !== null && $item instanceof CacheItem) {
                    $setMetadata($item);
                }
                $pool->save($item->set($value));
                $save = false;
            }
            return $value;
        } finally {
            $lock?->release();
        }
    }
}
