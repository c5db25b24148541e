<?php

declare(strict_types=1);

/**
 * Measures the time of calls, and compares it with APCu and Yac.
 *
 *     php -d extension=kennel -d extension=apcu -d apc.enable_cli=1 bench/cost.php [ROUNDS] [cold]
 *
 * All caches are measured in one process and in turns, so that load on the machine affects all of them. The best round
 * counts, and the time of the loop itself is subtracted. Each call is measured after a loop that brings its keys into
 * the processor's caches. With "cold", the loops of the other caches have just evicted the keys from there. For Yac add
 * -d extension=yac -d yac.enable_cli=1.
 */

const CALLS = 2000;
const KEYS = 1000;
const WHAT = ['set' => 'a set of 200 bytes', 'get' => 'a get of 200 bytes', 'miss' => 'a miss',
    'set list' => 'a set of a small array', 'get list' => 'a get of a small array'];

/** Returns the calls of a cache whose functions or methods have these names, by what the calls do. */
function calls(string $set, string $get): array
{
    return ['set' => "$set(\$key, \$text)", 'get' => "$get(\$key)", 'miss' => "$get(\"none\$i\")",
        'set list' => "$set(\$key, \$list)", 'get list' => "$get(\$key)"];
}

/** Returns a loop into which a call is compiled. */
function loop(string $call, mixed $cache): Closure
{
    $text = str_repeat('0123456789', 20);
    $list = ['id' => 42, 'name' => 'Ada', 'roles' => ['admin', 'author'], 'seen' => 1700000000.5];
    $keys = array_map(fn (int $i) => "user:profile:$i", range(0, KEYS - 1));
    return eval('return function () use ($cache, $text, $list, $keys) {
        for ($i = 0; $i < ' . CALLS . '; $i++) { $key = $keys[$i % ' . KEYS . ']; ' . $call . '; }
    };');
}

/** Returns how many nanoseconds a call takes. */
function measured(Closure $loop, bool $cold): float
{
    $cold || $loop();
    $since = hrtime(true);
    $loop();
    return (hrtime(true) - $since) / CALLS;
}

$path = (is_dir('/dev/shm') ? '/dev/shm' : sys_get_temp_dir()) . '/kennel-cost-' . getmypid() . '.cache';
ini_get('kennel.path') !== '' || fwrite(STDERR, "the functions use the cache at the default path; name another one with -d kennel.path=FILE\n");
$contestants = ['Kennel, function' => [calls('kennel_store', 'kennel_fetch'), null],
    'Kennel, method' => [calls('$cache->set', '$cache->get'), new Kennel\Cache($path)]];
if (function_exists('apcu_enabled') && apcu_enabled()) {
    $contestants['APCu'] = [calls('apcu_store', 'apcu_fetch'), null];
}
if (class_exists('Yac') && ini_get('yac.enable_cli')) {
    $contestants['Yac'] = [calls('$cache->set', '$cache->get'), new Yac()];
}
$loops = ['the loop' => array_map(fn () => loop('', null), WHAT)];
foreach ($contestants as $who => [$calls, $cache]) {
    $loops[$who] = array_map(fn (string $call) => loop($call, $cache), $calls);
}
$best = [];
$cold = ($argv[2] ?? '') === 'cold';
for ($round = 0; $round < (int) ($argv[1] ?? 200); $round++) {
    foreach (array_keys(WHAT) as $what) {
        foreach ($loops as $who => $of) {
            $best[$what][$who] = min($best[$what][$who] ?? INF, measured($of[$what], $cold));
        }
    }
}
printf("%-24s%s\n", 'ns a call', implode('', array_map(fn ($who) => sprintf('%18s', $who), array_keys($contestants))));
foreach (WHAT as $what => $name) {
    $costs = array_map(fn ($who) => sprintf('%18.0f', $best[$what][$who] - $best[$what]['the loop']), array_keys($contestants));
    printf("%-24s%s\n", $name, implode('', $costs));
}
foreach (isset($contestants['APCu']) ? ['get' => 1.1, 'set' => 2.0] : [] as $what => $goal) {
    $ratio = ($best[$what]['Kennel, function'] - $best[$what]['the loop']) / ($best[$what]['APCu'] - $best[$what]['the loop']);
    printf("%s: %.2f of APCu's; the goal is below %.1f\n", $what, $ratio, $goal);
}
Kennel\Cache::destroy($path);
