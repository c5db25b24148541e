<?php

/** Loads the library for Kennel\Ffi\Library. If ffi.enable is "preload", opcache.preload must name this file. */
\FFI::load(__DIR__ . '/kennel.h');
