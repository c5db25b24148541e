--TEST--
The settings name the cache of the functions
--EXTENSIONS--
kennel
--INI--
kennel.path=/dev/shm/kennel-phpt-settings.cache
kennel.capacity=8M
kennel.namespace=app
kennel.mode=0660
kennel.trust=1
--FILE--
<?php
var_dump(kennel_enabled());
kennel_store('a', 1);
$stats = Kennel\Cache::default()->stats();
var_dump($stats['path'], $stats['capacity'], $stats['namespaces']);
printf("%o\n", fileperms($stats['path']) & 0777);
try {
    new Kennel\Cache($stats['path']);
    echo "without trust\n";
} catch (Kennel\Exception $exception) {
    echo $exception->getCode() === Kennel\Exception::NOT_TRUSTED ? 'refused without trust' : $exception, "\n";
}
var_dump((new Kennel\Cache($stats['path'], ['trust' => true]))->namespace('app')->get('a'));
var_dump((new Kennel\Cache($stats['path'], ['trust' => true]))->get('a'));
var_dump(ini_set('kennel.path', '/elsewhere'));
chmod($stats['path'], 0600);
var_dump(Kennel\Cache::destroy('/dev/shm/kennel-phpt-settings.cache'));
var_dump(kennel_fetch('a'), kennel_store('a', 2), kennel_fetch('a'));
chmod($stats['path'], 0600);
Kennel\Cache::destroy('/dev/shm/kennel-phpt-settings.cache');
?>
--EXPECT--
bool(true)
string(35) "/dev/shm/kennel-phpt-settings.cache"
int(8388608)
array(1) {
  [0]=>
  string(3) "app"
}
660
refused without trust
int(1)
NULL
bool(false)
bool(true)
bool(false)
bool(true)
int(2)
