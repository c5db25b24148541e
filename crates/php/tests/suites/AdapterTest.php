<?php

declare(strict_types=1);

use Kennel\SimpleCache;
use Kennel\Symfony\KennelAdapter;
use PHPUnit\Framework\TestCase;
use Symfony\Contracts\Cache\ItemInterface;

/** Tests of the adapters that the suites of the standards do not contain. */
final class AdapterTest extends TestCase
{
    public function testOneOfManyProcessesComputesAnItemOfSymfony(): void
    {
        $cache = fresh_cache();
        $pool = new KennelAdapter($cache, 'symfony');
        $children = [];
        for ($i = 0; $i < 4; $i++) {
            $children[] = $pid = pcntl_fork();
            if ($pid === 0) {
                $value = $pool->get('page', function (ItemInterface $item) use ($cache) {
                    $item->expiresAfter(60);
                    $cache->increment('computed', 1, 1);
                    usleep(300000);
                    return 'html';
                });
                posix_kill(getmypid(), $value === 'html' ? SIGTERM : SIGKILL);
                sleep(10);
            }
        }
        foreach ($children as $pid) {
            pcntl_waitpid($pid, $status);
            $this->assertSame(SIGTERM, pcntl_wtermsig($status));
        }
        $this->assertSame(1, $cache->get('computed'));
        $this->assertSame('html', $pool->getItem('page')->get());
    }

    public function testAPoolClearsItsOwnNamespaceOnly(): void
    {
        $cache = fresh_cache();
        $pool = new KennelAdapter($cache, 'mine');
        $other = new KennelAdapter($cache, 'others');
        $cache->set('plain', 1);
        foreach ([$pool, $other] as $each) {
            $each->save($each->getItem('a.1')->set('x'));
            $each->save($each->getItem('b.1')->set('y'));
        }
        $this->assertTrue($pool->clear('a.'));
        $this->assertFalse($pool->hasItem('a.1'));
        $this->assertTrue($pool->hasItem('b.1'));
        $this->assertTrue($pool->clear());
        $this->assertFalse($pool->hasItem('b.1'));
        $this->assertTrue($other->hasItem('a.1'));
        $this->assertSame(1, $cache->get('plain'));
    }

    public function testACacheThatFailsStopsNoProgram(): void
    {
        $cache = fresh_cache();
        $simple = new SimpleCache($cache);
        $huge = str_repeat('x', 30 << 20);
        $this->assertFalse($simple->set('huge', $huge));
        $this->assertNull($simple->get('huge'));
        $pool = new KennelAdapter($cache, 'fails');
        $this->assertFalse($pool->save($pool->getItem('huge')->set($huge)));
        $this->assertSame($huge, $pool->get('huge', fn () => $huge));
        $this->assertFalse($pool->hasItem('huge'));
    }
}
