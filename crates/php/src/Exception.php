<?php

declare(strict_types=1);

namespace Kennel;

/** A failure of the cache, for programs without the extension. Its code is one of these constants. */
class Exception extends \RuntimeException
{
    public const IO = -1;
    public const NOT_FOUND = -2;
    public const EXISTS = -3;
    public const BAD_FILE = -4;
    public const MISMATCH = -5;
    public const LOCKS_LOST = -6;
    public const LEASE_REFUSED = -7;
    public const UNKNOWN_STRATEGY = -8;
    public const OPEN_ELSEWHERE = -9;
    public const NOT_TRUSTED = -10;
    public const NETWORK_FILESYSTEM = -11;
    public const NO_SPACE = -12;
    public const SEATS_FULL = -13;
    public const BAD_OPTION = -14;
    public const KEY_TOO_LONG = -15;
    public const TOO_LARGE = -16;
    public const NOT_A_NUMBER = -17;
    public const OVERFLOW = -18;
    public const BUSY = -19;
    public const TIMED_OUT = -20;
    public const OWN_CLAIM = -21;
    public const NAMESPACES_FULL = -22;
    public const READ_ONLY = -24;
    public const NO_MEMORY = -25;
    public const TOO_MANY_TAGS = -28;
    public const RESTING = -29;
    public const NO_HANDLE = -91;
    public const PANIC = -99;

    /** What was expected, and what was found. */
    public $facts = '';
    /** What to do about the failure, or ''. */
    public $remedy = '';

    /** @internal */
    public static function of(int $code, string $facts, string $advice): self
    {
        $remedy = Ffi\Remedies::WORDS[$advice] ?? '';
        $made = new self($remedy === '' ? $facts : "$facts; $remedy", $code);
        $made->facts = $facts;
        $made->remedy = $remedy;
        return $made;
    }
}
