<?php

declare(strict_types=1);

namespace Kennel\Laravel;

use Kennel\Exception;

/** A cache that fails stops no program. */
trait OrElse
{
    /** What work returns, or a replacement if the cache fails. */
    private static function orElse(mixed $replacement, callable $work): mixed
    {
        try {
            return $work();
        } catch (Exception) {
            return $replacement;
        }
    }
}
