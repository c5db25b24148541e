<?php

/** Loads the classes that the suites use: those of Debian's packages, and those of this library. */

set_include_path(get_include_path() . PATH_SEPARATOR . '/usr/share/php');
require_once 'Psr/SimpleCache/autoload.php';
require_once 'Psr/Cache/autoload.php';
require_once 'Cache/IntegrationTests/autoload.php';
require_once 'Symfony/Component/Cache/autoload.php';
require_once __DIR__ . '/../../src/autoload.php';

/** Creates an empty cache file, which is removed when the program ends. */
function fresh_cache(array $options = ['capacity' => 16 << 20]): Kennel\Cache
{
    static $count = 0;
    $folder = is_dir('/dev/shm') ? '/dev/shm' : sys_get_temp_dir();
    $path = sprintf('%s/kennel-php-%d-%d.cache', $folder, getmypid(), $count++);
    $owner = getmypid();
    register_shutdown_function(static function () use ($path, $owner): void {
        if (getmypid() === $owner) {
            Kennel\Cache::destroy($path);
        }
    });
    return new Kennel\Cache($path, $options);
}
