<?php

declare(strict_types=1);

namespace Kennel\Ffi;

/** @internal What to do about a failure, by the name of the advice. The words are those of the extension. */
final class Remedies
{
    public const WORDS = [
        'create' => 'create it with "kennel create", or open it without the option "existing"',
        'open-or-destroy' => 'open it, or remove it first with Kennel\Cache::destroy()',
        'other-path' =>
            'this is no cache file, so it is left alone: choose another path, or remove it yourself',
        'other-path-or-remove' =>
            'this is no cache file, so it is left alone: choose another path, or remove it yourself if '
            . 'you know that it once was one',
        'replace-lost' =>
            'a power failure can leave a file like this, and nothing is lost with it: remove it with '
            . 'Kennel\Cache::destroy()',
        'destroy-and-create' =>
            'it is a cache file of another format, or a damaged one: remove it with '
            . 'Kennel\Cache::destroy(), and open it again',
        'on-mismatch' =>
            'use the file as it is, without the option "same_sizes", or remove it with '
            . 'Kennel\Cache::destroy()',
        'restore-locks' =>
            'the file was moved, linked or mounted without its lock directory, or that directory was '
            . 'deleted: restore the directory, or remove the cache with Kennel\Cache::destroy()',
        'not-lease' =>
            'use another file system (/dev/shm, a volume), or create the file with the option "locks" '
            . '=> "file"',
        'share-handle' => 'create the file with another lock strategy for several processes',
        'trust' => 'if you trust everyone who can write to it, open it with the option "trust"',
        'local-files' =>
            'use a local file system, or the option "allow_network" if only one host uses the file and '
            . 'you know that its locks work',
        'more-seats' => 'create the file with more "seats"',
        'larger-items' => 'fewer "stripes" or a larger "capacity" allow larger items',
        'wait-longer' =>
            'wait longer (the option "wait"), or create the value anyway (the option "unprotected")',
        'not-within' => 'within its creation or lock, do not create or lock the key again',
        'more-namespaces' => 'create the file with room for more "namespaces"',
    ];
}
