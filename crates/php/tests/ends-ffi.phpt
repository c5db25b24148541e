--TEST--
Over FFI, however a creator or the holder of a lock ends, the key is free afterwards
--EXTENSIONS--
kennel
--SKIPIF--
<?php if (!extension_loaded("ffi") && !is_file(ini_get("extension_dir") . "/ffi.so")) die("skip FFI is not there"); ?>
--FILE--
<?php
require __DIR__ . '/ends.inc';
ends(['-d', 'extension=ffi', '-d', 'ffi.enable=1']);
?>
--EXPECT--
exit: free, created
exception: free, created
fatal error: free, created
memory limit: free, created
time limit: free, created
exit in a lock: free, created
fatal error in a lock: free, created
fatal error beside a fiber: free, created
end of a fiber: free, created
one process
