--TEST--
Values of other programs, damaged values, and values whose classes read the cache while they wake up
--EXTENSIONS--
kennel
--FILE--
<?php
$path = '/dev/shm/kennel-phpt-values.cache';
$cache = new Kennel\Cache($path);

class Wakes
{
    public function __construct(public string $key = 'other') {}
    public function __serialize(): array { return ['key' => $this->key]; }
    public function __unserialize(array $data): void
    {
        $this->key = $data['key'] . ' ' . $GLOBALS['cache']->get('other');
    }
}
class Throws
{
    public function __sleep() { throw new LogicException('not this one'); }
}

$cache->set('other', 'read meanwhile');
$cache->set('wakes', [new Wakes('one'), new Wakes('two')]);
echo implode(', ', array_map(fn ($woken) => $woken->key, $cache->get('wakes'))), "\n";

try {
    $cache->set('throws', new Throws());
} catch (LogicException $exception) {
    echo $exception->getMessage(), ' ', var_export($cache->has('throws'), true), "\n";
}

// A value that PHP cannot read is a miss, and is created again.
$ffi = FFI::cdef(preg_replace('/^#.*$/m', '', file_get_contents(__DIR__ . '/../src/Ffi/kennel.h')), 'libkennel.so.0');
$k = $ffi->new('kennel *');
$ffi->kennel_open($path, null, FFI::addr($k));
$how = $ffi->new('kennel_set_options');
$how->size = FFI::sizeof($how);
$store = function (string $bytes, int $flags) use ($ffi, $k, $how) {
    $how->flags = $flags;
    $ffi->kennel_set_with($k, 'k', 1, $bytes, strlen($bytes), FFI::addr($how), null);
};
foreach (['a:3:{i:0;', 'O:8:"stdClass":9999999:{}', '', "\0\0\0"] as $damaged) {
    $store("\xffPHP$damaged", 0);
    var_dump($cache->get('k', 'a miss'));
}
var_dump($cache->getOrCreate('k', fn () => 'created'));
$store('99999999999999999999', 0x50480001);
var_dump($cache->get('k'));
$store('no digits', 0x50480001);
var_dump($cache->get('k'));
$store('of another program', 7);
var_dump($cache->get('k'));
Kennel\Cache::destroy($path);
// The lease of the handle above, which nobody closes.
exec('rm -rf ' . escapeshellarg($path) . '*');
?>
--SKIPIF--
<?php if (!class_exists('FFI')) die('skip FFI is not loaded'); ?>
--INI--
ffi.enable=1
--EXPECT--
one read meanwhile, two read meanwhile
not this one false
string(6) "a miss"
string(6) "a miss"
string(6) "a miss"
string(6) "a miss"
string(7) "created"
float(1.0E+20)
string(9) "no digits"
string(18) "of another program"
