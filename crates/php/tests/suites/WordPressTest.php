<?php

declare(strict_types=1);

use PHPUnit\Framework\TestCase;

/** Tests the object cache for WordPress. Separate programs make the calls, each as one request. */
final class WordPressTest extends TestCase
{
    private const OURS = __DIR__ . '/../../wordpress/object-cache.php';
    private string $path;

    protected function setUp(): void
    {
        $this->path = (is_dir('/dev/shm') ? '/dev/shm' : sys_get_temp_dir()) . '/kennel-wordpress-' . getmypid() . '.cache';
    }

    protected function tearDown(): void
    {
        Kennel\Cache::destroy($this->path);
    }

    private function said(string $functions, string $calls, ?string $path = null): string
    {
        $own = array_merge([PHP_BINARY, '-d', 'display_errors=stderr'], getenv('KENNEL_EXTENSION') ? ['-d', 'extension=' . getenv('KENNEL_EXTENSION')] : []);
        $command = array_merge($own, [__DIR__ . '/wordpress.inc', $functions, $calls]);
        $environment = ['KENNEL_PATH' => $path ?? $this->path] + getenv();
        $process = proc_open($command, [1 => ['pipe', 'w'], 2 => ['pipe', 'w']], $pipes, null, $environment);
        $said = stream_get_contents($pipes[1]);
        $complaints = stream_get_contents($pipes[2]);
        $this->assertSame(0, proc_close($process), $complaints);
        return $said;
    }

    /** The file with WordPress' own functions, if WordPress is available. */
    private static function core(): ?string
    {
        $core = (getenv('WORDPRESS') ?: '/usr/share/wordpress') . '/wp-includes/cache.php';
        return is_file($core) ? $core : null;
    }

    /** @dataProvider scripts */
    public function testItAnswersAsWordPressItself(string $calls, string $expected): void
    {
        $this->assertSame($expected, $this->said(self::OURS, $calls));
        // If WordPress is available, check the expected answers with WordPress itself.
        if (self::core() !== null) {
            $this->assertSame($expected, $this->said(self::core(), $calls));
        }
    }

    public function scripts(): array
    {
        return array_map(fn ($calls) => [$calls, file_get_contents(__DIR__ . "/wordpress-$calls.txt")], ['same', 'sites']);
    }

    public function testALaterRequestFindsWhatIsStored(): void
    {
        $this->assertSame("[true,true,true,2]\n[true,true,{\"a\":1}]\n[false]\n", $this->said(self::OURS, 'store'));
        $this->assertSame("[{\"a\":1},2,false,false]\n", $this->said(self::OURS, 'find'));
        $this->assertSame("[{\"a\":1},3,false,false]\n", $this->said(self::OURS, 'find'));
    }

    /** Without a cache file, values live only as long as a request. */
    public function testAFileThatCannotBeOpenedStopsNoRequest(): void
    {
        $this->assertSame(file_get_contents(__DIR__ . '/wordpress-same.txt'), $this->said(self::OURS, 'same', '/no/such/folder/x'));
    }
}
