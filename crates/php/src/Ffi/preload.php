<?php

/** For opcache.preload, where ffi.enable is "preload": loads the library for Kennel\Ffi\Library. */
\FFI::load(__DIR__ . '/kennel.h');
