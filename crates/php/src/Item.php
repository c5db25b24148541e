<?php

declare(strict_types=1);

namespace Kennel;

/** A value with its metadata, for programs without the extension. Times are in seconds since 1970, or null. */
final class Item
{
    public $value = null;
    /** Identifies the write that stored the value. */
    public $stamp = 0;
    public $isStale = false;
    public $expires = null;
    public $staleFrom = null;
    public $created = null;
}
