<?php

declare(strict_types=1);

namespace Kennel\Laravel;

use Illuminate\Support\ServiceProvider;
use Kennel\Cache;

/** Registers the cache driver `kennel` with Laravel. */
final class KennelServiceProvider extends ServiceProvider
{
    public function register(): void
    {
        $this->app->booting(function (): void {
            // Laravel's manager binds the function to itself, so "self" in the function would mean the manager.
            $store = KennelServiceProvider::store(...);
            $this->app['cache']->extend('kennel', fn ($app, array $config) => $app['cache']->repository($store($app, $config)));
        });
    }

    /** Creates the store for an entry of `config/cache.php`. */
    private static function store($app, array $config): KennelStore
    {
        $file = isset($config['path']) ? new Cache($config['path'], $config['options'] ?? []) : new Cache();
        $prefix = $config['prefix'] ?? $app['config']['cache.prefix'] ?? '';
        return new KennelStore($file->namespace($config['namespace'] ?? 'laravel'), $prefix === '' ? '' : "$prefix:");
    }
}
