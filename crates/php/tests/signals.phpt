--TEST--
A wait for another creator sees signals, and lets a handler throw
--EXTENSIONS--
kennel
pcntl
--FILE--
<?php
$path = '/dev/shm/kennel-phpt-signals.cache';
$cache = new Kennel\Cache($path);
$child = pcntl_fork();
if ($child === 0) {
    $cache->getOrCreate('k', fn () => sleep(60));
    exit;
}
while (!$cache->isClaimed('k')) {
    usleep(1000);
}
pcntl_async_signals(true);
pcntl_signal(SIGALRM, fn () => throw new LogicException('the alarm'));
foreach (['getOrCreate' => fn () => $cache->getOrCreate('k', fn () => 1), 'lock' => fn () => $cache->lock('k')] as $what => $wait) {
    pcntl_alarm(1);
    $since = microtime(true);
    try {
        $wait();
    } catch (LogicException $exception) {
        echo $what, ': ', $exception->getMessage(), microtime(true) - $since < 10 ? '' : ' too late', "\n";
    }
}
pcntl_signal(SIGALRM, SIG_DFL);
exec('kill -9 ' . $child);
pcntl_waitpid($child, $status);
Kennel\Cache::destroy($path);
?>
--EXPECT--
getOrCreate: the alarm
lock: the alarm
