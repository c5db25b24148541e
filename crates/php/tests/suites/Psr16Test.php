<?php

declare(strict_types=1);

/** Runs the suite of PSR-16. */
final class Psr16Test extends Cache\IntegrationTests\SimpleCacheTest
{
    private static ?Kennel\Cache $file = null;

    public function createSimpleCache()
    {
        self::$file ??= fresh_cache();
        return new Kennel\SimpleCache(self::$file);
    }
}
