<?php

declare(strict_types=1);

use Illuminate\Cache\ArrayStore;
use Illuminate\Cache\CacheManager;
use Illuminate\Cache\RateLimiter;
use Illuminate\Cache\Repository;
use Illuminate\Contracts\Cache\LockTimeoutException;
use Kennel\Laravel\KennelServiceProvider;
use Kennel\Laravel\KennelStore;
use PHPUnit\Framework\TestCase;

require_once 'Illuminate/Container/autoload.php';
require_once 'Illuminate/Cache/autoload.php';

/**
 * Tests the store for Laravel. Where Laravel's own ArrayStore defines the right answer, both stores must answer the
 * same.
 */
final class LaravelTest extends TestCase
{
    private static ?Kennel\Cache $file = null;
    private KennelStore $store;

    protected function setUp(): void
    {
        self::$file ??= fresh_cache();
        self::$file->invalidate();
        $this->store = new KennelStore(self::$file->namespace('laravel'), 'app:');
    }

    /** Calls that both stores must answer alike. */
    public function calls(): array
    {
        return [
            'values' => [function ($store) {
                $object = new stdClass();
                $object->list = [1, 'two'];
                foreach (['text', '', 0, 12, -7, 1.5, true, false, [1, 'a' => [2]]] as $i => $value) {
                    yield $store->put("v$i", $value, 60);
                    yield $store->get("v$i");
                }
                yield $store->put('object', $object, 60);
                yield (array) $store->get('object');
                yield $store->get('none');
                yield $store->forever('kept', 'x');
                yield $store->get('kept');
            }],
            'many' => [function ($store) {
                yield $store->putMany(['a' => 1, 'b' => [2], '7' => 'x'], 60);
                yield $store->many(['a', 'none', 'b', '7']);
                yield $store->forget('a');
                yield $store->forget('a');
                yield $store->many(['a']);
                yield $store->many([]);
            }],
            'numbers' => [function ($store) {
                yield $store->increment('n');
                yield $store->increment('n', 4);
                yield $store->get('n');
                yield $store->decrement('n', 2);
                yield $store->decrement('down');
                yield $store->decrement('down', 3);
                yield $store->put('set', 10, 60);
                yield $store->increment('set', 5);
            }],
            'flush' => [function ($store) {
                yield $store->put('a', 1, 60);
                yield $store->flush();
                yield $store->get('a');
            }],
            'tags' => [function ($store) {
                $cache = new Repository($store);
                yield $cache->tags(['pages', 'users'])->put('1', 'one', 60);
                yield $cache->tags(['pages'])->put('2', 'two', 60);
                yield $cache->get('1');
                yield $cache->tags(['pages', 'users'])->get('1');
                yield $cache->tags(['users'])->flush();
                yield $cache->tags(['pages', 'users'])->get('1');
                yield $cache->tags(['pages'])->get('2');
            }],
            'locks' => [function ($store) {
                $ours = $store->lock('job', 60);
                yield $ours->get();
                yield $store->lock('job', 60)->get();
                yield $store->lock('job', 60)->release();
                yield $store->restoreLock('job', $ours->owner())->release();
                yield $ours->release();
                yield $store->lock('job')->get(fn () => 'worked');
                yield $store->lock('job')->acquire();
                $store->lock('job')->forceRelease();
                yield $store->lock('job')->acquire();
            }],
            'repository' => [function ($store) {
                $cache = new Repository($store);
                yield $cache->add('a', 1, 60);
                yield $cache->add('a', 2, 60);
                yield $cache->remember('made', 60, fn () => 'once');
                yield $cache->remember('made', 60, fn () => 'twice');
                yield $cache->pull('made');
                yield $cache->has('made');
                yield $cache->put('gone', 1, 0);
                yield $cache->get('gone', 'default');
            }],
            'limiter' => [function ($store) {
                $limiter = new RateLimiter(new Repository($store));
                for ($i = 0; $i < 4; $i++) {
                    yield $limiter->attempt('send', 2, fn () => 'sent', 60);
                }
                yield $limiter->remaining('send', 2);
                $limiter->clear('send');
                yield $limiter->remaining('send', 2);
            }],
        ];
    }

    /** @dataProvider calls */
    public function testItAnswersAsLaravelsOwnStore(Closure $calls): void
    {
        $expected = iterator_to_array($calls(new ArrayStore(true)), false);
        $this->assertNotEmpty($expected);
        $this->assertSame($expected, iterator_to_array($calls($this->store), false));
    }

    public function testAValueEnds(): void
    {
        $this->store->put('brief', 1, 1);
        $this->assertSame(1, $this->store->get('brief'));
        $this->assertTrue($this->store->lock('brief lock', 1)->get());
        $this->store->put('touched', 1, 1);
        $this->assertTrue($this->store->touch('touched', 60));
        $this->assertFalse($this->store->touch('none', 60));
        usleep(1_100_000);
        $this->assertSame(1, $this->store->get('touched'));
        $this->assertNull($this->store->get('brief'));
        $this->assertTrue($this->store->lock('brief lock', 1)->get());
    }

    public function testPrefixesAndNamespacesAreApart(): void
    {
        $this->store->put('a', 1, 60);
        $this->assertNull((new KennelStore(self::$file->namespace('laravel'), 'other:'))->get('a'));
        self::$file->set('b', 1);
        $this->store->flush();
        $this->assertSame(1, self::$file->get('b'));
    }

    public function testOneOfManyProcessesHasALockAndAllCount(): void
    {
        $children = [];
        for ($i = 0; $i < 8; $i++) {
            $pid = pcntl_fork();
            if ($pid === 0) {
                for ($n = 0; $n < 200; $n++) {
                    $this->store->increment('count');
                }
                $won = $this->store->lock('winner')->get();
                posix_kill(getmypid(), $won ? SIGTERM : SIGKILL);
                sleep(10);
            }
            $children[] = $pid;
        }
        $winners = 0;
        foreach ($children as $pid) {
            pcntl_waitpid($pid, $status);
            $winners += pcntl_wtermsig($status) === SIGTERM ? 1 : 0;
        }
        $this->assertSame(1, $winners);
        $this->assertSame(1600, $this->store->get('count'));
    }

    public function testALockIsWaitedFor(): void
    {
        $this->assertTrue($this->store->lock('held', 60)->get());
        $this->expectException(LockTimeoutException::class);
        $this->store->lock('held', 60)->betweenBlockedAttemptsSleepFor(10)->block(0);
    }

    public function testACacheThatFailsStopsNoProgram(): void
    {
        $path = tempnam(sys_get_temp_dir(), 'kennel');
        unlink($path);
        (new Kennel\Cache($path, ['capacity' => 1 << 20]))->set('a', 1);
        $store = new KennelStore(new Kennel\Cache($path, ['read_only' => true]));
        try {
            $this->assertSame(1, $store->get('a'));
            $this->assertFalse($store->put('a', 2, 60));
            $this->assertFalse($store->putMany(['a' => 2], 60));
            $this->assertFalse($store->increment('n'));
            $this->assertFalse($store->forget('a'));
            $this->assertFalse($store->flush());
            $lock = $store->lock('job');
            $this->assertFalse($lock->get());
            $this->assertFalse($lock->release());
            $lock->forceRelease();
        } finally {
            Kennel\Cache::destroy($path);
        }
    }

    public function testLaravelFindsItByTheNameOfItsDriver(): void
    {
        $path = tempnam(sys_get_temp_dir(), 'kennel');
        unlink($path);
        $config = new ArrayObject(['cache.default' => 'shared', 'cache.prefix' => 'shop', 'cache.stores.shared' =>
            ['driver' => 'kennel', 'path' => $path, 'namespace' => 'shop', 'options' => ['capacity' => 1 << 20]]]);
        $app = new class extends Illuminate\Container\Container {
            public array $booting = [];

            public function booting(callable $callback): void
            {
                $this->booting[] = $callback;
            }
        };
        $app->instance('config', $config);
        $app->singleton('cache', fn ($app) => new CacheManager($app));
        try {
            (new KennelServiceProvider($app))->register();
            array_map(fn ($callback) => $callback(), $app->booting);
            $app['cache']->store('shared')->put('a', 'x', 60);
            $this->assertSame('x', (new Kennel\Cache($path))->namespace('shop')->get('shop:a'));
        } finally {
            Kennel\Cache::destroy($path);
        }
    }
}
