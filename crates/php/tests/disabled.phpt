--TEST--
Switched off, the functions do nothing and say nothing
--EXTENSIONS--
kennel
--INI--
kennel.enabled=0
--FILE--
<?php
var_dump(kennel_enabled(), kennel_store('a', 1), kennel_fetch('a'), kennel_entry('a', fn () => 'made'), kennel_cache_info());
?>
--EXPECT--
bool(false)
bool(false)
bool(false)
string(4) "made"
bool(false)
