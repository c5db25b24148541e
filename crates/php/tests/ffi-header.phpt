--TEST--
The header for FFI declares what kennel.h declares, and the remedies are those of the extension
--EXTENSIONS--
kennel
--SKIPIF--
<?php if (!is_file(__DIR__ . '/../../capi/include/kennel.h')) die('skip kennel.h is not beside this folder'); ?>
--FILE--
<?php
$plain = function (string $file): string {
    $text = preg_replace(['#/\*.*?\*/#s', '/^#.*$/m'], '', file_get_contents(__DIR__ . $file));
    return trim(preg_replace(['/\s+/', '/\s*([;{}])\s*/'], [' ', '$1'], $text));
};
$whole = $plain('/../../capi/include/kennel.h');
preg_match_all('/typedef struct \w+ \{.*?\}\w+;|[^;]+;/', $plain('/../src/Ffi/kennel.h'), $found);
foreach ($found[0] as $declaration) {
    if (!str_contains($whole, trim($declaration))) {
        echo "not in kennel.h: $declaration\n";
    }
}
echo count($found[0]) > 30 ? "compared\n" : "too few\n";
require __DIR__ . '/../src/Ffi/Remedies.php';
$errors = preg_replace('/"\s*\n\s*"/', '', file_get_contents(__DIR__ . '/../errors.c'));
preg_match_all('/\{"([a-z-]+)",\s*"((?:[^"\\\\]|\\\\.)*)"\}/', $errors, $rows, PREG_SET_ORDER);
$expected = array_column(array_map(fn ($row) => [$row[1], stripslashes($row[2])], $rows), 1, 0);
var_dump($expected === Kennel\Ffi\Remedies::WORDS, count($expected) > 10);
?>
--EXPECT--
compared
bool(true)
bool(true)
