<?php

declare(strict_types=1);

namespace Kennel\Laravel;

use Kennel\Exception;

/** Lets a program go on if the cache fails. */
trait OrElse
{
    /** Returns the result of the work, or the replacement if the cache fails. */
    private static function orElse(mixed $replacement, callable $work): mixed
    {
        try {
            return $work();
        } catch (Exception) {
            return $replacement;
        }
    }
}
