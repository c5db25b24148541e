<?php

declare(strict_types=1);

namespace Kennel;

/** The exception for a key, list or time that PSR-16 does not allow. */
final class InvalidArgument extends \InvalidArgumentException implements \Psr\SimpleCache\InvalidArgumentException
{
}
