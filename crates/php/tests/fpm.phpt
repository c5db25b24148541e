--TEST--
Workers of FPM share a cache, as the user that they become, and go on after a fatal error in a creator
--EXTENSIONS--
kennel
posix
--SKIPIF--
<?php
if (!is_file(sprintf('/usr/sbin/php-fpm%d.%d', PHP_MAJOR_VERSION, PHP_MINOR_VERSION))) die('skip PHP-FPM is not installed');
if (posix_geteuid() !== 0 || !posix_getpwnam('www-data')) die('skip this needs root and the user www-data');
?>
--FILE--
<?php
require __DIR__ . '/fpm.inc';
$folder = '/dev/shm/kennel-phpt-fpm-' . getmypid();
mkdir($folder);
chmod($folder, 0755);
// The workers must be able to read the script, wherever the checkout lies.
copy(__DIR__ . '/fpm.script.inc', "$folder/script.php");
$path = "/dev/shm/kennel-phpt-fpm-" . getmypid() . '.cache';
file_put_contents("$folder/fpm.conf", "[global]
error_log = $folder/log
[www]
listen = $folder/socket
user = www-data
pm = static
pm.max_children = 2
php_admin_value[kennel.path] = $path
php_admin_value[display_errors] = 0
");
$fpm = sprintf('/usr/sbin/php-fpm%d.%d', PHP_MAJOR_VERSION, PHP_MINOR_VERSION);
$extension = "$folder/kennel.so";
copy(getenv('KENNEL_EXTENSION'), $extension);
$process = proc_open([$fpm, '-n', '-F', '-R', '-y', "$folder/fpm.conf", '-d', "extension=$extension", '-d', 'extension=posix'],
    [1 => ['file', "$folder/out", 'w'], 2 => ['file', "$folder/out", 'a']], $pipes);
for ($i = 0; $i < 500 && !file_exists("$folder/socket"); $i++) {
    usleep(10000);
}
$ask = fn (string $do) => asked("$folder/socket", "$folder/script.php", "do=$do");
echo $ask('user'), "\n";
$ask('set');
for ($i = 0; $i < 100 && ($answer = $ask('other')) === 'same'; $i++) {
    usleep(1000);
}
echo $answer, "\n", strlen($ask('fatal')), "\n", $ask('after'), "\n";
$workers = array_unique(array_map(fn () => $ask('set'), range(1, 20)));
echo count($workers), " workers, as before\n";
proc_terminate($process);
proc_close($process);
// This user does not trust the file of the workers.
exec('rm -rf ' . escapeshellarg($path) . '*');
array_map(unlink(...), glob("$folder/*"));
rmdir($folder);
?>
--EXPECT--
the file is of the worker
read by another worker
0
false created
2 workers, as before
