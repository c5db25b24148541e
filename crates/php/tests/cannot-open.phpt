--TEST--
A cache that cannot be opened is told once a request, and stops no program
--EXTENSIONS--
kennel
--INI--
kennel.path=/proc/none/x.cache
--FILE--
<?php
var_dump(kennel_store('a', 1));
var_dump(kennel_fetch('a'), kennel_fetch(['a']), kennel_exists('a'), kennel_delete('a'), kennel_inc('a'));
var_dump(kennel_entry('a', fn ($key) => "made $key"));
try {
    Kennel\Cache::default();
} catch (Kennel\Exception $exception) {
    echo get_class($exception), ' ', $exception->getCode() < 0 ? 'with a code' : 'without a code', "\n";
}
try {
    kennel_entry('a', fn () => throw new LogicException('of the creator'));
} catch (LogicException $exception) {
    echo $exception->getMessage(), "\n";
}
?>
--EXPECTF--
Warning: kennel_store(): The cache cannot be opened: %s in %s on line %d
bool(false)
bool(false)
bool(false)
bool(false)
bool(false)
bool(false)
string(6) "made a"
Kennel\Exception with a code
of the creator
