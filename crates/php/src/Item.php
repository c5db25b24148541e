<?php

declare(strict_types=1);

namespace Kennel;

/** A value and what the cache knows of it, for programs without the extension. Moments are seconds since 1970, or null. */
final class Item
{
    public $value = null;
    /** Identifies this write of the key. */
    public $stamp = 0;
    public $isStale = false;
    public $expires = null;
    public $staleFrom = null;
    public $created = null;
}
