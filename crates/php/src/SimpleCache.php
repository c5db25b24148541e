<?php

declare(strict_types=1);

namespace Kennel;

use Psr\SimpleCache\CacheInterface;

/**
 * PSR-16 with a cache of Kennel. If the cache fails, reads miss and writes return `false`, so the program never stops.
 *
 * Parameters have no types where version 1 of the interface has none.
 */
final class SimpleCache implements CacheInterface
{
    /**
     * @param ?float $ttl the time to live, in seconds, of values for which none is given; null stands for the cache's
     * default
     */
    public function __construct(private Cache $cache, private ?float $ttl = null)
    {
    }

    public function get($key, mixed $default = null): mixed
    {
        $key = self::key($key);
        try {
            return $this->cache->get($key, $default);
        } catch (Exception) {
            return $default;
        }
    }

    public function set($key, mixed $value, $ttl = null): bool
    {
        return $this->setMultiple([self::key($key) => $value], $ttl);
    }

    public function delete($key): bool
    {
        return $this->deleteMultiple([$key]);
    }

    public function clear(): bool
    {
        return self::done(fn () => $this->cache->invalidate());
    }

    /** @return iterable<string, mixed> */
    public function getMultiple($keys, mixed $default = null): iterable
    {
        $keys = self::keys($keys);
        try {
            return $this->cache->getMultiple($keys, $default);
        } catch (Exception) {
            return array_fill_keys($keys, $default);
        }
    }

    public function setMultiple($values, $ttl = null): bool
    {
        if (!is_iterable($values)) {
            throw new InvalidArgument('Values must be iterable, ' . get_debug_type($values) . ' given');
        }
        $checked = [];
        foreach ($values as $key => $value) {
            $checked[self::key(is_int($key) ? (string) $key : $key)] = $value;
        }
        $seconds = $this->seconds($ttl);
        if ($seconds !== null && $seconds <= 0) {
            return self::done(fn () => $this->cache->deleteMultiple(array_keys($checked)));
        }
        return self::done(fn () => $this->cache->setMultiple($checked, $seconds));
    }

    public function deleteMultiple($keys): bool
    {
        $keys = self::keys($keys);
        return self::done(fn () => $this->cache->deleteMultiple($keys));
    }

    public function has($key): bool
    {
        $key = self::key($key);
        try {
            return $this->cache->has($key);
        } catch (Exception) {
            return false;
        }
    }

    private static function done(callable $work): bool
    {
        try {
            $work();
            return true;
        } catch (Exception) {
            return false;
        }
    }

    private static function key(mixed $key): string
    {
        if (!is_string($key)) {
            throw new InvalidArgument('A key must be a string, ' . get_debug_type($key) . ' given');
        }
        if ($key === '' || strpbrk($key, '{}()/\\@:') !== false) {
            throw new InvalidArgument("The key \"$key\" is empty, or has one of the characters {}()/\\@:");
        }
        return $key;
    }

    /** @return list<string> */
    private static function keys(mixed $keys): array
    {
        if (!is_iterable($keys)) {
            throw new InvalidArgument('Keys must be iterable, ' . get_debug_type($keys) . ' given');
        }
        $checked = [];
        foreach ($keys as $key) {
            $checked[] = self::key($key);
        }
        return $checked;
    }

    private function seconds(mixed $ttl): ?float
    {
        if ($ttl instanceof \DateInterval) {
            $now = new \DateTimeImmutable('@0');
            return (float) $now->add($ttl)->format('U.u');
        }
        if ($ttl !== null && !is_int($ttl)) {
            throw new InvalidArgument('A time to live must be an int, a DateInterval or null');
        }
        return $ttl === null ? $this->ttl : (float) $ttl;
    }
}
