--TEST--
A child that is forked within a creator goes on, and its end leaves the claim to its parent
--EXTENSIONS--
kennel
pcntl
--FILE--
<?php
$path = '/dev/shm/kennel-phpt-fork.cache';
$cache = new Kennel\Cache($path);
$value = $cache->getOrCreate('k', function () use ($cache) {
    $child = pcntl_fork();
    if ($child === 0) {
        $cache->set('by', 'child');
        exit;
    }
    pcntl_waitpid($child, $status);
    return $cache->isClaimed('k') ? 'of the parent' : 'lost';
});
var_dump($value, $cache->get('k'), $cache->get('by'));
Kennel\Cache::destroy($path);
?>
--EXPECT--
string(13) "of the parent"
string(13) "of the parent"
string(5) "child"
