<?php

declare(strict_types=1);

use Kennel\Cache;
use Kennel\Exception;
use PHPUnit\Framework\TestCase;

/** Tests the class. Both that of the extension and that over FFI must pass. */
final class CacheTest extends TestCase
{
    private static ?Cache $file = null;
    private Cache $cache;

    protected function setUp(): void
    {
        self::$file ??= fresh_cache();
        $this->cache = self::$file;
        $this->cache->invalidate();
    }

    /** Runs a function in a child process, and waits for the end of the process. */
    private static function child(callable $work): int
    {
        $pid = pcntl_fork();
        if ($pid === 0) {
            try {
                $code = (int) $work();
            } catch (Throwable $thrown) {
                fwrite(STDERR, $thrown . "\n");
                $code = 99;
            }
            // The child must not run the parent's shutdown functions and destructors.
            posix_kill(getmypid(), $code === 0 ? SIGTERM : SIGKILL);
            sleep(10);
        }
        return $pid;
    }

    private function mustEndWell(int $pid): void
    {
        pcntl_waitpid($pid, $status);
        $this->assertTrue(pcntl_wifsignaled($status));
        $this->assertSame(SIGTERM, pcntl_wtermsig($status));
    }

    public function values(): array
    {
        $object = new stdClass();
        $object->list = [1, 'two', null];
        return [
            ['text'], [''], ["\0\xff"], ['12'], ['-7'], ['-'], ["\xffPHP"], ["\xffPHPi:1;"], [str_repeat('long ', 20000)], [0], [-5], [PHP_INT_MIN], [PHP_INT_MAX],
            [1.5], [true], [false], [null], [[]], [['a' => [1, 2]]], [$object], [range(1, 20000)],
        ];
    }

    public function testTagsReachEachValueThatBearsThem(): void
    {
        $this->cache->setTagged('a', 1, ['user:1', 'page']);
        $this->cache->setTagged('b', ['x'], ['user:2'], 60, 30);
        $this->cache->setTagged('none', 'plain', []);
        $this->cache->getOrCreate('made', fn () => 'made', null, ['tags' => ['user:2', 7]]);
        $this->cache->invalidateTags(['user:1', 'unknown']);
        $this->assertSame(['a' => null, 'b' => ['x'], 'none' => 'plain', 'made' => 'made'],
            $this->cache->getMultiple(['a', 'b', 'none', 'made']));
        $this->cache->invalidateTags(['7'], true);
        $this->assertTrue($this->cache->getItem('made')->isStale);
        $this->cache->invalidateTags(['user:2']);
        $this->assertNull($this->cache->get('b'));
        $this->cache->invalidateTags([]);
        $this->expectException(TypeError::class);
        $this->cache->invalidateTags([[]]);
    }

    public function testMoreTagsThanFitAreAnError(): void
    {
        $this->expectException(Exception::class);
        $this->cache->setTagged('a', 1, range(1, 17));
    }

    public function testARemovedNamespaceLeavesNothing(): void
    {
        $old = $this->cache->namespace('old');
        $old->set('key', 'value');
        $this->assertTrue($this->cache->removeNamespace('old'));
        $this->assertFalse($this->cache->removeNamespace('old'));
        $this->assertNull($old->get('key'));
        $old->set('key', 'again');
        $this->assertSame('again', $this->cache->namespace('old')->get('key'));
    }

    public function testManyValuesByOneCallHaveTheirTypes(): void
    {
        $given = ['text' => "a\0b", 'empty' => '', 'int' => -7, 'list' => [1, [2]], 'null' => null, 'large' => str_repeat('x', 50000)];
        $this->cache->setMultiple($given + ['digits' => '12']);
        $keys = [...array_keys($given), 'none', 'digits'];
        $this->assertSame([...$given, 'none' => 'no', 'digits' => '12'], $this->cache->getMultiple($keys, 'no'));
        $this->assertSame([], $this->cache->getMultiple([]));
        $this->assertSame(2, $this->cache->deleteMultiple(['text', 'none', 'int']));
        $this->assertSame(0, $this->cache->deleteMultiple([]));
        $this->cache->setMultiple([]);
        $this->expectException(TypeError::class);
        $this->cache->getMultiple([1.5]);
    }

    public function testOfManyValuesThoseAreStoredThatCanBe(): void
    {
        try {
            $this->cache->setMultiple(['a' => 1, str_repeat('x', 70000) => 2, 'b' => 'c']);
            $this->fail('no exception');
        } catch (Exception $exception) {
            $this->assertSame(Exception::KEY_TOO_LONG, $exception->getCode());
        }
        $this->assertSame(['a' => 1, 'b' => 'c'], $this->cache->getMultiple(['a', 'b']));
        try {
            $this->cache->setMultiple(['a' => 2, 'function' => fn () => 1]);
            $this->fail('no exception');
        } catch (\Exception $exception) {
            $this->assertSame(1, $this->cache->get('a'));
        }
        $this->expectException(TypeError::class);
        $this->cache->deleteMultiple(['a', 1.5]);
    }

    /** @dataProvider values */
    public function testAValueComesBackWithItsType(mixed $value): void
    {
        $this->assertSame('none', $this->cache->get('v', 'none'));
        $this->cache->set('v', $value);
        $this->assertTrue($this->cache->has('v'));
        is_object($value)
            ? $this->assertEquals($value, $this->cache->get('v', 'none'))
            : $this->assertSame($value, $this->cache->get('v', 'none'));
        $this->assertTrue($this->cache->delete('v'));
        $this->assertFalse($this->cache->delete('v'));
        $this->assertNull($this->cache->get('v'));
    }

    public function testManyKeys(): void
    {
        $this->cache->setMultiple(['a' => 1, 'b' => 'x', '7' => [2]]);
        $this->assertSame(['a' => 1, 'none' => 0, 7 => [2]], $this->cache->getMultiple(['a', 'none', '7'], 0));
        $this->assertSame(2, $this->cache->deleteMultiple(['a', 7, 'none']));
        $this->assertSame(['b'], $this->cache->keys());
    }

    public function testKeysOfAPrefix(): void
    {
        $this->cache->setMultiple(['user:1' => 1, 'user:2' => 2, 'page:1' => 3]);
        $keys = $this->cache->keys('user:');
        sort($keys);
        $this->assertSame(['user:1', 'user:2'], $keys);
    }

    public function testTimes(): void
    {
        $this->cache->set('brief', 1, 0.05);
        $this->cache->set('stale', 'old', 10, 0.05);
        $this->cache->set('touched', 1, 0.05);
        $this->assertTrue($this->cache->touch('touched'));
        $this->assertEqualsWithDelta(microtime(true) + 10, $this->cache->getItem('stale')->expires, 2);
        usleep(80000);
        $this->assertNull($this->cache->getItem('brief'));
        $this->assertTrue($this->cache->getItem('stale')->isStale);
        $this->assertNull($this->cache->getItem('touched')->expires);
        $this->assertSame('new', $this->cache->getOrCreate('stale', fn () => 'new', 10));
        $this->assertFalse($this->cache->touch('brief', 1));
    }

    public function testATimeMustBeGreaterThan0(): void
    {
        $this->expectException(ValueError::class);
        $this->cache->set('a', 1, 0);
    }

    public function testAdd(): void
    {
        $this->assertTrue($this->cache->add('a', 1));
        $this->assertFalse($this->cache->add('a', 2));
        $this->assertSame(1, $this->cache->get('a'));
    }

    public function testNumbers(): void
    {
        $this->assertNull($this->cache->increment('n'));
        $this->assertSame(5, $this->cache->increment('n', 1, 5, 100));
        $this->assertSame(7, $this->cache->increment('n', 2));
        $this->assertSame(-3, $this->cache->decrement('n', 10));
        $this->assertSame(-3, $this->cache->get('n'));
        $this->assertEqualsWithDelta(microtime(true) + 100, $this->cache->getItem('n')->expires, 5);
        $this->assertSame(1, $this->cache->increment('n', 4));
        $this->assertSame(-9, $this->cache->increment('below', 1, -9));
        $this->cache->set('text', '41');
        $this->assertSame(42, $this->cache->increment('text'));
        $this->assertSame('42', $this->cache->get('text'));
        $this->cache->set('most', PHP_INT_MAX);
        $this->assertSame(PHP_INT_MAX + 1, $this->cache->increment('most'));
    }

    public function testWhatIsNoNumber(): void
    {
        $this->cache->set('text', 'x');
        try {
            $this->cache->increment('text');
            $this->fail();
        } catch (Exception $exception) {
            $this->assertSame(Exception::NOT_A_NUMBER, $exception->getCode());
        }
    }

    public function testStamps(): void
    {
        $this->cache->set('a', 1);
        $stamp = $this->cache->getItem('a')->stamp;
        $new = $this->cache->compareAndSwap('a', $stamp, 2);
        $this->assertNotNull($new);
        $this->assertNull($this->cache->compareAndSwap('a', $stamp, 3));
        $this->assertFalse($this->cache->compareAndDelete('a', $stamp));
        $this->assertSame(2, $this->cache->get('a'));
        $this->assertTrue($this->cache->compareAndDelete('a', $new));
    }

    public function testNamespaces(): void
    {
        $pages = $this->cache->namespace('pages', 0.05);
        $other = $this->cache->namespace('other');
        $pages->set('a', 'page');
        $other->set('a', 'other');
        $this->assertNull($this->cache->get('a'));
        $this->assertSame(['a'], $pages->keys());
        $other->invalidate();
        $this->assertSame('page', $pages->get('a'));
        $this->assertNull($other->get('a'));
        usleep(80000);
        $this->assertNull($pages->get('a'));
    }

    public function testErrorsSayWhatToDoInPhp(): void
    {
        try {
            $this->cache->set('huge', str_repeat('x', 30 << 20));
            $this->fail();
        } catch (Exception $exception) {
            $this->assertSame(Exception::TOO_LARGE, $exception->getCode());
            $this->assertSame('fewer "stripes" or a larger "capacity" allow larger items', $exception->remedy);
            $this->assertSame("$exception->facts; $exception->remedy", $exception->getMessage());
        }
        try {
            new Cache('/dev/shm/kennel-there-is-none.cache', ['existing' => true]);
            $this->fail();
        } catch (Exception $exception) {
            $this->assertSame(Exception::NOT_FOUND, $exception->getCode());
            $this->assertStringContainsString('"existing"', $exception->remedy);
        }
    }

    public function testUnknownOptions(): void
    {
        $this->expectException(ValueError::class);
        $this->expectExceptionMessage('Unknown option "sise"');
        new Cache(null, ['sise' => 1]);
    }

    public function testGetOrCreate(): void
    {
        $calls = 0;
        $create = function (string $key) use (&$calls) {
            $calls++;
            return ["of $key"];
        };
        $this->assertSame(['of k'], $this->cache->getOrCreate('k', $create, 60));
        $this->assertSame(['of k'], $this->cache->getOrCreate('k', $create, 60));
        $this->assertSame(1, $calls);
        $none = function () use (&$calls) {
            $calls++;
            return null;
        };
        $this->assertNull($this->cache->getOrCreate('none', $none, 60, ['absent_ttl' => 60]));
        $this->assertNull($this->cache->getOrCreate('none', $none, 60, ['absent_ttl' => 60]));
        $this->assertSame(2, $calls);
    }

    public function testACreatorThatFailsGivesTheClaimBack(): void
    {
        try {
            $this->cache->getOrCreate('k', fn () => throw new LogicException('no'));
            $this->fail();
        } catch (LogicException) {
            $this->assertFalse($this->cache->isClaimed('k'));
        }
        try {
            $this->cache->getOrCreate('k', fn () => fn () => 1);
            $this->fail();
        } catch (\Exception $exception) {
            $this->assertStringContainsString('Closure', $exception->getMessage());
        }
        $this->assertSame('good', $this->cache->getOrCreate('k', fn () => 'good'));
    }

    public function testACreatorMustNotCreateItsOwnKey(): void
    {
        $this->expectException(Exception::class);
        $this->expectExceptionCode(Exception::OWN_CLAIM);
        $this->cache->getOrCreate('k', fn () => $this->cache->getOrCreate('k', fn () => 1));
    }

    public function testCreatorsNest(): void
    {
        $inner = fn () => $this->cache->getOrCreate('inner', fn () => 2) + 1;
        $this->assertSame(3, $this->cache->getOrCreate('outer', $inner));
        $this->assertSame(2, $this->cache->get('inner'));
    }

    public function testOneOfManyProcessesCreates(): void
    {
        $children = [];
        for ($i = 0; $i < 6; $i++) {
            $children[] = self::child(function () {
                $value = $this->cache->getOrCreate('herd', function () {
                    $this->cache->increment('created', 1, 1);
                    usleep(300000);
                    return 'made';
                });
                return $value === 'made' ? 0 : 1;
            });
        }
        array_map($this->mustEndWell(...), $children);
        $this->assertSame(1, $this->cache->get('created'));
    }

    public function testWhatAnotherProcessCreatesHasItsType(): void
    {
        foreach ([-7, '7', '', null, [1, ['two' => 2.5]], str_repeat('x', 50000)] as $i => $value) {
            $child = self::child(fn () => $this->cache->getOrCreate("k$i", function () use ($value) {
                usleep(30000);
                return $value;
            }) === $value ? 0 : 1);
            while (!$this->cache->isClaimed("k$i") && !$this->cache->has("k$i")) {
                usleep(1000);
            }
            $this->assertSame($value, $this->cache->getOrCreate("k$i", fn () => 'mine'));
            $this->mustEndWell($child);
        }
    }

    public function testTheClaimOfAKilledProcessEnds(): void
    {
        $child = self::child(fn () => $this->cache->getOrCreate('k', fn () => sleep(60)));
        while (!$this->cache->isClaimed('k')) {
            usleep(1000);
        }
        try {
            $this->cache->getOrCreate('k', fn () => 'twice', null, ['wait' => 0.15]);
            $this->fail();
        } catch (Exception $exception) {
            $this->assertSame(Exception::TIMED_OUT, $exception->getCode());
        }
        $both = $this->cache->getOrCreate('k', fn () => 'both', null, ['wait' => 0.0, 'unprotected' => true]);
        $this->assertSame('both', $both);
        posix_kill($child, SIGKILL);
        pcntl_waitpid($child, $status);
        $since = microtime(true);
        $this->assertSame('after', $this->cache->getOrCreate('k', fn () => 'after'));
        $this->assertLessThan(5, microtime(true) - $since);
    }

    public function testLocks(): void
    {
        $lock = $this->cache->lock('k');
        $this->assertTrue($this->cache->isClaimed('k'));
        $this->assertNull($this->cache->lock('k', 0.0));
        $this->mustEndWell(self::child(fn () => $this->cache->lock('k', 0.15) === null ? 0 : 1));
        $this->assertTrue($lock->release());
        $this->assertFalse($lock->release());
        $lock = $this->cache->lock('k', 0.0);
        $this->assertNotNull($lock);
        unset($lock);
        $this->assertFalse($this->cache->isClaimed('k'));
    }

    public function testAChildGoesOnWithWhatItInherited(): void
    {
        $lock = $this->cache->lock('of the parent');
        $this->mustEndWell(self::child(function () use ($lock) {
            $lock->release();
            $this->cache->set('by', 'child');
            return $this->cache->isClaimed('of the parent') ? 0 : 1;
        }));
        $this->assertSame('child', $this->cache->get('by'));
        $this->assertTrue($lock->release());
    }

    public function testStatistics(): void
    {
        $this->cache->set('a', 1);
        $stats = $this->cache->stats();
        $this->assertGreaterThan(0, $stats['items']);
        $this->assertGreaterThan(0, $stats['counters']['sets']);
    }

    public function testAFileThatIsMadeAgain(): void
    {
        $path = '/dev/shm/kennel-php-again-' . getmypid() . '.cache';
        $first = new Cache($path);
        $first->set('a', 1);
        $this->assertTrue(Cache::destroy($path));
        $this->assertFalse(Cache::destroy($path));
        $second = new Cache($path);
        $this->assertNull($second->get('a'));
        $second->set('a', 2);
        $this->assertSame(2, $second->get('a'));
        Cache::destroy($path);
    }
}
