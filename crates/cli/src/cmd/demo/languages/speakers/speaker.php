<?php
// What PHP says in `kennel demo --languages`.

function create(Kennel\Cache $cache, string $name): void
{
    echo "ready\n";
    stream_get_contents(STDIN);
    $made = $cache->getOrCreate('made once', function () use ($name): string {
        echo "created\n";
        usleep(200_000);
        return "made by $name";
    });
    echo "$made\n";
}

function write(Kennel\Cache $cache, string $name): void
{
    echo "ready\n";
    for ($n = 0;; $n++) {
        $key = 'key ' . $n % 100;
        $value = $cache->get($key);
        if ($value !== null && !str_starts_with($value, "$key by ")) {
            fwrite(STDERR, "$key is $value\n");
            exit(1);
        }
        $cache->set($key, "$key by $name, $n");
    }
}

[, $action, $file] = $argv + [2 => null];
if ($action === 'version') {
    if (!class_exists('Kennel\Cache')) {
        fwrite(STDERR, "its extension kennel is not loaded\n");
        exit(1);
    }
    echo 'PHP ', PHP_MAJOR_VERSION, '.', PHP_MINOR_VERSION, '.', PHP_RELEASE_VERSION, "\n";
    exit;
}
$cache = new Kennel\Cache($file);
$names = array_slice($argv, 3);
match ($action) {
    'set' => $cache->set("hello:$names[0]", "$names[0] says hello"),
    'get' => array_walk($names, fn (string $name) => print($cache->get("hello:$name", '-') . "\n")),
    'create' => create($cache, $names[0]),
    'write' => write($cache, $names[0]),
};
