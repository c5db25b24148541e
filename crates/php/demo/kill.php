<?php

declare(strict_types=1);

/**
 * Kills workers while they share a cache, and compares APCu with Kennel.
 *
 *     php -d extension=kennel -d extension=apcu -d apc.enable_cli=1 demo/kill.php [SECONDS]
 *
 * A parent forks four workers, as FPM does. They read and write the same thousand keys. At random moments the parent
 * kills one of them with SIGKILL, as the kernel does when memory is short, and starts a new one in its place. If no
 * worker makes progress for three seconds, the cache hangs. Each value contains its key, so wrong values are noticed.
 */

const WORKERS = 4;
const KEYS = 1000;
const PATIENCE = 3.0;

interface Contestant
{
    public function get(string $key): ?string;
    public function set(string $key, string $value): void;
}

final class OfApcu implements Contestant
{
    public function get(string $key): ?string
    {
        return apcu_fetch($key) ?: null;
    }

    public function set(string $key, string $value): void
    {
        apcu_store($key, $value);
    }
}

final class OfKennel implements Contestant
{
    private Kennel\Cache $cache;

    public function __construct(private string $path)
    {
        $this->cache = new Kennel\Cache($path, ['capacity' => 32 << 20]);
    }

    public function get(string $key): ?string
    {
        return $this->cache->get($key);
    }

    public function set(string $key, string $value): void
    {
        $this->cache->set($key, $value);
    }
}

/** A worker. It reports every hundred operations with one byte, and a wrong value with a different byte. */
function work(Contestant $cache, mixed $report): never
{
    mt_srand(getmypid() ^ hrtime(true));
    while (true) {
        $wrong = false;
        for ($i = 0; $i < 100; $i++) {
            $key = 'key ' . mt_rand(0, KEYS - 1);
            if ($i % 4 === 0) {
                $cache->set($key, str_pad($key . ' ', mt_rand(20, 400), (string) $i));
            } else {
                $value = $cache->get($key);
                $wrong = $wrong || ($value !== null && !str_starts_with($value, "$key "));
            }
        }
        if (@fwrite($report, $wrong ? '!' : '.') === false) {
            exit;
        }
    }
}

/** @return array{int, resource} the number of a process, and the stream of its reports */
function start(Contestant $cache): array
{
    [$here, $there] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
    $pid = pcntl_fork();
    if ($pid === 0) {
        fclose($here);
        work($cache, $there);
    }
    fclose($there);
    stream_set_blocking($here, false);
    return [$pid, $here];
}

function kill(array $worker): void
{
    posix_kill($worker[0], SIGKILL);
    pcntl_waitpid($worker[0], $status);
}

/** Ends a worker between two operations, by closing the stream of its reports. Kills it if it hangs. */
function stop(array $worker): void
{
    fclose($worker[1]);
    for ($end = microtime(true) + PATIENCE; microtime(true) < $end; usleep(1000)) {
        if (pcntl_waitpid($worker[0], $status, WNOHANG) === $worker[0]) {
            return;
        }
    }
    kill($worker);
}

/** Returns whether a new worker makes progress. */
function new_worker_works(Contestant $cache): bool
{
    $worker = start($cache);
    $read = [$worker[1]];
    $none = null;
    $works = stream_select($read, $none, $none, (int) PATIENCE) === 1;
    stop($worker);
    return $works;
}

/** Kills workers until the time is over or the cache hangs. */
function contest(Contestant $cache, float $seconds, bool $kills): array
{
    $workers = array_map(fn () => start($cache), range(1, WORKERS));
    $found = ['kills' => 0, 'operations' => 0, 'wrong' => 0, 'hangs' => false, 'new workers' => true];
    $end = microtime(true) + $seconds;
    $heard = microtime(true);
    while (microtime(true) < $end && !$found['hangs']) {
        $read = array_column($workers, 1);
        $none = null;
        if (stream_select($read, $none, $none, 0, mt_rand(500, 20000)) > 0) {
            foreach ($read as $each) {
                $reports = (string) fread($each, 65536);
                $found['operations'] += 100 * strlen($reports);
                $found['wrong'] += substr_count($reports, '!');
                $heard = $reports === '' ? $heard : microtime(true);
            }
        }
        // If no worker makes progress, killing more workers would only hide the hang.
        if ($kills && microtime(true) - $heard < 0.5) {
            $i = array_rand($workers);
            kill($workers[$i]);
            fclose($workers[$i][1]);
            $workers[$i] = start($cache);
            $found['kills']++;
        }
        $found['hangs'] = microtime(true) - $heard > PATIENCE;
    }
    array_map($found['hangs'] ? kill(...) : stop(...), $workers);
    $found['new workers'] = !$found['hangs'] || new_worker_works($cache);
    return $found;
}

function told(string $name, array $found): void
{
    $end = $found['hangs']
        ? 'hangs: all workers wait for a lock whose owner is dead'
            . ($found['new workers'] ? '' : ', and so does each new one')
        : 'all workers go on';
    printf("  %-16s %5d kills  %9d operations  %d wrong values  %s\n", $name, $found['kills'], $found['operations'],
        $found['wrong'], $end);
}

$seconds = (float) ($argv[1] ?? 10);
$path = (is_dir('/dev/shm') ? '/dev/shm' : sys_get_temp_dir()) . '/kennel-demo-' . getmypid() . '.cache';
printf("%d workers share a cache for %g s; one after another is killed at a random moment\n", WORKERS, $seconds);
if (function_exists('apcu_enabled') && apcu_enabled()) {
    told('APCu, no kills', contest(new OfApcu(), min($seconds, 3), false));
    told('APCu', contest(new OfApcu(), $seconds, true));
} else {
    echo "  APCu is left out: start this with -d extension=apcu -d apc.enable_cli=1\n";
}
$kennel = contest(new OfKennel($path), $seconds, true);
told('Kennel', $kennel);
Kennel\Cache::destroy($path);
exit($kennel['hangs'] || $kennel['wrong'] > 0 ? 1 : 0);
