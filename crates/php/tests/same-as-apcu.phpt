--TEST--
The functions answer as APCu's do
--EXTENSIONS--
kennel
--SKIPIF--
<?php if (!function_exists('apcu_enabled') || !apcu_enabled()) die('skip APCu is not enabled: apc.enable_cli=1'); ?>
--INI--
apc.enable_cli=1
kennel.path=/dev/shm/kennel-phpt-apcu.cache
--FILE--
<?php
/** The answers of a series of calls. */
function answers(string $prefix): array
{
    $object = new ArrayObject(['x' => 1]);
    $fails = function () { throw new LogicException('no'); };
    $calls = [
        ['clear_cache'],
        ['enabled'],
        ['fetch', 'none'],
        ['store', 'text', "a\0b"], ['fetch', 'text'],
        ['store', 'int', 42], ['fetch', 'int'],
        ['store', 'float', 1.25], ['fetch', 'float'],
        ['store', 'null', null], ['fetch', 'null'], ['exists', 'null'],
        ['store', 'false', false], ['fetch', 'false'],
        ['store', 'list', [1, 'two', [3]]], ['fetch', 'list'],
        ['store', 'object', $object], ['fetch', 'object'],
        ['store', 'empty', ''], ['fetch', 'empty'],
        ['store', ['a' => 1, 'b' => [2], '7' => 'seven']],
        ['fetch', ['a', 'b', 'none']], ['fetch', '7'],
        ['fetch', []],
        ['exists', ['a', 'none', 'b']], ['exists', 'a'], ['exists', 'none'],
        ['add', 'a', 2], ['add', 'new', 2], ['fetch', 'new'],
        ['add', ['a' => 3, 'newer' => 4]],
        ['delete', 'a'], ['delete', 'a'],
        ['delete', ['b', 'none']],
        ['inc', 'int'], ['inc', 'int', 5], ['dec', 'int', 50], ['fetch', 'int'], ['inc', 'int', 3], ['inc', 'int', -7],
        ['inc', 'begun'], ['dec', 'begun too', 3], ['fetch', 'begun too'],
        ['inc', 'text'], ['inc', 'list'],
        ['cas', 'int', -12, 8], ['cas', 'int', -12, 9], ['fetch', 'int'], ['cas', 'none', 1, 2], ['cas', 'text', 1, 2],
        ['entry', 'made', fn ($key) => "of $key"], ['entry', 'made', $fails], ['fetch', 'made'],
        ['entry', 'fails', $fails], ['exists', 'fails'],
        ['entry', 'outer', fn () => [($prefix . 'entry')('inner', fn () => 1)]], ['fetch', 'inner'],
        ['store', 'closure', $fails],
        ['delete', 'outer'],
        ['clear_cache'],
        ['fetch', 'text'],
    ];
    return array_map(function (array $call) use ($prefix) {
        $function = array_shift($call);
        try {
            $answer = ($prefix . $function)(...$call);
        } catch (Throwable $thrown) {
            $answer = get_class($thrown) . ': ' . $thrown->getMessage();
        }
        return json_encode([$function, is_string($call[0] ?? null) ? $call[0] : null]) . ' ' . serialize($answer);
    }, $calls);
}

/** The success that the functions report by reference. */
function successes(string $prefix): array
{
    $told = [];
    ($prefix . 'store')('one', 1);
    foreach ([['fetch', 'one'], ['fetch', 'none'], ['fetch', ['none']], ['inc', 'one', 1], ['inc', 'new', 1]] as $call) {
        $function = array_shift($call);
        $success = 'untouched';
        $call[] = &$success;
        ($prefix . $function)(...$call);
        $told[] = "$function " . serialize($success);
        unset($call[array_key_last($call)]);
    }
    ($prefix . 'inc')('brief', 1, $success, 60);
    $left = ($prefix . 'key_info')('brief')['ttl'];
    return [...$told, $left > 50 && $left <= 60];
}

foreach (['answers', 'successes'] as $series) {
    $apcu = $series('apcu_');
    $kennel = $series('kennel_');
    foreach ($apcu as $i => $answer) {
        if ($answer !== $kennel[$i]) {
            echo "APCu:   $answer\nKennel: $kennel[$i]\n";
        }
    }
}
foreach (['cache_info', 'sma_info'] as $info) {
    $names = array_diff(array_keys(('apcu_' . $info)(true)), array_keys(('kennel_' . $info)(true)));
    echo $info, ': ', implode(' ', $names), "\n";
}
Kennel\Cache::destroy('/dev/shm/kennel-phpt-apcu.cache');
?>
--EXPECT--
cache_info: 
sma_info: 
