<?php
/**
 * Plugin Name: Kennel object cache
 * Description: WordPress' object cache in one file that all PHP processes of the host share. It needs the extension kennel.
 *
 * Copy or link this file to wp-content/object-cache.php. Settings in wp-config.php, all optional:
 *
 *     define('KENNEL_PATH', '/dev/shm/blog.cache');            // by default the path of kennel.path
 *     define('KENNEL_OPTIONS', ['capacity' => 256 << 20]);     // of a new file at KENNEL_PATH
 *     define('WP_CACHE_KEY_SALT', 'blog1');                    // a name for this site, if several share a file
 *
 * As WordPress expects, a request keeps the values that it reads until it ends. If the cache fails, requests go on as
 * they would without this file.
 */

defined('ABSPATH') || exit;

class WP_Object_Cache
{
    public int $cache_hits = 0;
    public int $cache_misses = 0;

    /** The values that this request has read or stored, by group and key. @var array<string, array<string, mixed>> */
    private array $kept = [];
    private ?Kennel\Cache $file = null;
    /** @var array<string, true> */
    private array $global = [];
    /** @var array<string, true> */
    private array $ofRequest = [];
    private string $blog;
    private object $nothing;

    public function __construct()
    {
        $this->nothing = new stdClass();
        $this->blog = is_multisite() ? get_current_blog_id() . ':' : '';
        try {
            $file = defined('KENNEL_PATH')
                ? new Kennel\Cache(KENNEL_PATH, defined('KENNEL_OPTIONS') ? KENNEL_OPTIONS : [])
                : Kennel\Cache::default();
            $this->file = $file->namespace('wordpress' . (defined('WP_CACHE_KEY_SALT') ? ':' . WP_CACHE_KEY_SALT : ''));
        } catch (Throwable $error) {
            trigger_error('The object cache is not shared: ' . $error->getMessage(), E_USER_WARNING);
        }
    }

    /** Does work with the file. Returns the replacement if the file fails or is not used for the group. */
    private function inFile(string $group, mixed $replacement, callable $work): mixed
    {
        if ($this->file === null || isset($this->ofRequest[$group])) {
            return $replacement;
        }
        try {
            return $work($this->file);
        } catch (Kennel\Exception) {
            return $replacement;
        }
    }

    /** Returns the group and the key within it, or null for a key that WordPress does not allow. */
    private function place(mixed $key, mixed $group): ?array
    {
        if (!is_int($key) && (!is_string($key) || trim($key) === '')) {
            _doing_it_wrong(__METHOD__, 'A cache key must be an int or a text that is not empty.', '6.1.0');
            return null;
        }
        $group = self::group($group);
        return [$group, (isset($this->global[$group]) ? '' : $this->blog) . $key];
    }

    private static function group(mixed $group): string
    {
        return empty($group) ? 'default' : (string) $group;
    }

    private static function stored(string $group, string $key): string
    {
        return "$group:$key";
    }

    private static function ttl(mixed $expire): float
    {
        return (int) $expire > 0 ? (float) $expire : INF;
    }

    /** Returns a copy of an object, so that the cache and its callers never share one. */
    private static function own(mixed $value): mixed
    {
        return is_object($value) ? clone $value : $value;
    }

    private function keeps(string $group, string $key): bool
    {
        return isset($this->kept[$group]) && array_key_exists($key, $this->kept[$group]);
    }

    public function add($key, $data, $group = 'default', $expire = 0)
    {
        $place = wp_suspend_cache_addition() ? null : $this->place($key, $group);
        if ($place === null || $this->keeps(...$place)) {
            return false;
        }
        [$group, $id] = $place;
        $added = $this->inFile($group, true, fn ($file) => $file->add(self::stored($group, $id), $data, self::ttl($expire)));
        if ($added) {
            $this->kept[$group][$id] = self::own($data);
        }
        return $added;
    }

    public function add_multiple(array $data, $group = '', $expire = 0)
    {
        $added = [];
        foreach ($data as $key => $value) {
            $added[$key] = $this->add($key, $value, $group, $expire);
        }
        return $added;
    }

    public function replace($key, $data, $group = 'default', $expire = 0)
    {
        $place = $this->place($key, $group);
        if ($place === null) {
            return false;
        }
        [$in, $id] = $place;
        $is_there = $this->inFile($in, $this->keeps($in, $id), fn ($file) => $file->has(self::stored($in, $id)));
        return $is_there && $this->set($key, $data, $group, $expire);
    }

    public function set($key, $data, $group = 'default', $expire = 0)
    {
        $place = $this->place($key, $group);
        if ($place === null) {
            return false;
        }
        [$group, $id] = $place;
        $this->kept[$group][$id] = self::own($data);
        return $this->inFile($group, true, fn ($file) => $file->set(self::stored($group, $id), $data, self::ttl($expire)));
    }

    public function set_multiple(array $data, $group = '', $expire = 0)
    {
        $set = [];
        foreach ($data as $key => $value) {
            $set[$key] = $this->set($key, $value, $group, $expire);
        }
        return $set;
    }

    public function get($key, $group = 'default', $force = false, &$found = null)
    {
        $values = $this->get_multiple([$key], $group, $force, $found);
        return $values === [] ? false : current($values);
    }

    /** Reads all values that this request does not keep with one call. */
    public function get_multiple($keys, $group = 'default', $force = false, &$found = null)
    {
        [$in, $ids, $asked] = [self::group($group), [], []];
        foreach ($keys as $key) {
            $id = $this->place($key, $group)[1] ?? null;
            if ($id === null) {
                $ids += is_string($key) ? [$key => null] : [];
                continue;
            }
            if ($force && !isset($this->ofRequest[$in]) || !$this->keeps($in, $id)) {
                $asked[self::stored($in, $id)] = $id;
            }
            $ids[$key] = $id;
        }
        $this->read($in, $asked);
        [$found, $values] = [false, []];
        foreach ($ids as $key => $id) {
            $found = $id !== null && $this->keeps($in, $id);
            $found ? $this->cache_hits++ : $this->cache_misses++;
            $values[$key] = $found ? self::own($this->kept[$in][$id]) : false;
        }
        return $values;
    }

    /** Reads some keys of a group, given as stored keys. Keeps the values that the file has, and forgets the others. */
    private function read(string $group, array $asked): void
    {
        $keys = array_map('strval', array_keys($asked));
        $read = $keys === [] ? [] : $this->inFile($group, [], fn ($file) => $file->getMultiple($keys, $this->nothing));
        foreach ($read as $stored => $value) {
            if ($value === $this->nothing) {
                unset($this->kept[$group][$asked[$stored]]);
            } else {
                $this->kept[$group][$asked[$stored]] = $value;
            }
        }
    }

    public function delete($key, $group = 'default')
    {
        $place = $this->place($key, $group);
        if ($place === null) {
            return false;
        }
        [$group, $id] = $place;
        $was_kept = $this->keeps($group, $id);
        unset($this->kept[$group][$id]);
        return $this->inFile($group, $was_kept, fn ($file) => $file->delete(self::stored($group, $id)));
    }

    public function delete_multiple(array $keys, $group = '')
    {
        $deleted = [];
        foreach ($keys as $key) {
            $deleted[$key] = $this->delete($key, $group);
        }
        return $deleted;
    }

    public function incr($key, $offset = 1, $group = 'default')
    {
        return $this->count($key, (int) $offset, $group);
    }

    public function decr($key, $offset = 1, $group = 'default')
    {
        return $this->count($key, -(int) $offset, $group);
    }

    /** Adds to an existing value. A value that is no number counts as 0, and the result is at least 0. */
    private function count($key, int $by, $group): int|false
    {
        $place = $this->place($key, $group);
        if ($place === null) {
            return false;
        }
        [$group, $id] = $place;
        $counted = fn ($value) => max(0, (is_numeric($value) ? (int) $value : 0) + $by);
        $alone = $this->keeps($group, $id) ? $counted($this->kept[$group][$id]) : false;
        $made = $this->inFile($group, $alone, function ($file) use ($group, $id, $counted) {
            do {
                $item = $file->getItem(self::stored($group, $id));
                if ($item === null) {
                    return false;
                }
                $made = $counted($item->value);
                $left = $item->expires === null ? INF : max(0.001, $item->expires - microtime(true));
            } while ($file->compareAndSwap(self::stored($group, $id), $item->stamp, $made, $left) === null);
            return $made;
        });
        if ($made === false) {
            unset($this->kept[$group][$id]);
        } else {
            $this->kept[$group][$id] = $made;
        }
        return $made;
    }

    public function flush()
    {
        $this->kept = [];
        return $this->inFile('', true, function ($file) {
            $file->invalidate();
            return true;
        });
    }

    public function flush_runtime()
    {
        $this->kept = array_intersect_key($this->kept, $this->ofRequest);
        return true;
    }

    public function flush_group($group)
    {
        unset($this->kept[$group]);
        return $this->inFile((string) $group, true, function ($file) use ($group) {
            $file->deleteMultiple($file->keys("$group:"));
            return true;
        });
    }

    public function add_global_groups($groups)
    {
        $this->global += array_fill_keys((array) $groups, true);
    }

    public function add_non_persistent_groups($groups)
    {
        $this->ofRequest += array_fill_keys((array) $groups, true);
    }

    public function switch_to_blog($blog_id)
    {
        $this->blog = is_multisite() ? (int) $blog_id . ':' : '';
    }

    public function stats()
    {
        echo "<p>Hits: {$this->cache_hits}, misses: {$this->cache_misses}</p>";
    }
}

function wp_cache_init()
{
    $GLOBALS['wp_object_cache'] = new WP_Object_Cache();
}

function wp_cache_add($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->add($key, $data, $group, $expire);
}

function wp_cache_add_multiple(array $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->add_multiple($data, $group, $expire);
}

function wp_cache_replace($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->replace($key, $data, $group, $expire);
}

function wp_cache_set($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->set($key, $data, $group, $expire);
}

function wp_cache_set_multiple(array $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->set_multiple($data, $group, $expire);
}

function wp_cache_get($key, $group = '', $force = false, &$found = null)
{
    return $GLOBALS['wp_object_cache']->get($key, $group, $force, $found);
}

function wp_cache_get_multiple($keys, $group = '', $force = false)
{
    return $GLOBALS['wp_object_cache']->get_multiple($keys, $group, $force);
}

function wp_cache_delete($key, $group = '')
{
    return $GLOBALS['wp_object_cache']->delete($key, $group);
}

function wp_cache_delete_multiple(array $keys, $group = '')
{
    return $GLOBALS['wp_object_cache']->delete_multiple($keys, $group);
}

function wp_cache_incr($key, $offset = 1, $group = '')
{
    return $GLOBALS['wp_object_cache']->incr($key, $offset, $group);
}

function wp_cache_decr($key, $offset = 1, $group = '')
{
    return $GLOBALS['wp_object_cache']->decr($key, $offset, $group);
}

function wp_cache_flush()
{
    return $GLOBALS['wp_object_cache']->flush();
}

function wp_cache_flush_runtime()
{
    return $GLOBALS['wp_object_cache']->flush_runtime();
}

function wp_cache_flush_group($group)
{
    return $GLOBALS['wp_object_cache']->flush_group($group);
}

function wp_cache_supports($feature)
{
    return in_array($feature, ['add_multiple', 'set_multiple', 'get_multiple', 'delete_multiple', 'flush_runtime', 'flush_group'], true);
}

function wp_cache_close()
{
    return true;
}

function wp_cache_add_global_groups($groups)
{
    $GLOBALS['wp_object_cache']->add_global_groups($groups);
}

function wp_cache_add_non_persistent_groups($groups)
{
    $GLOBALS['wp_object_cache']->add_non_persistent_groups($groups);
}

function wp_cache_switch_to_blog($blog_id)
{
    $GLOBALS['wp_object_cache']->switch_to_blog($blog_id);
}
