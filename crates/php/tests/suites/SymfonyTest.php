<?php

declare(strict_types=1);

/** Runs the suite of PSR-6 with the adapter for Symfony. */
final class SymfonyTest extends Cache\IntegrationTests\CachePoolTest
{
    private static ?Kennel\Cache $file = null;

    public function createCachePool()
    {
        self::$file ??= fresh_cache();
        return new Kennel\Symfony\KennelAdapter(self::$file, 'psr6');
    }
}
