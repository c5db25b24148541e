<?php

declare(strict_types=1);

namespace Kennel\Ffi;

/** @internal Values of PHP as bytes, and back, as the extension stores them. */
final class Values
{
    public const INT = 0x50480001;
    public const SERIALIZED = 0x50480002;

    /** @return array{string, int} the bytes and their flags */
    public static function encode(mixed $value): array
    {
        return match (true) {
            is_string($value) => [$value, 0],
            is_int($value) => [(string) $value, self::INT],
            default => [serialize($value), self::SERIALIZED],
        };
    }

    /** Returns false if PHP cannot read the value. */
    public static function decode(string $bytes, int $flags, mixed &$value): bool
    {
        if ($flags === self::INT && is_numeric($bytes)) {
            $value = $bytes + 0;
        } elseif ($flags === self::SERIALIZED) {
            $value = @unserialize($bytes);
            return $value !== false || $bytes === serialize(false);
        } else {
            $value = $bytes;
        }
        return true;
    }

    /** Seconds as milliseconds: null is the default, INF never. */
    public static function ttl(?float $seconds, string $name): int
    {
        if ($seconds === null) {
            return 0;
        }
        if (!($seconds > 0)) {
            throw new \ValueError("$name must be greater than 0");
        }
        return self::ms($seconds);
    }

    public static function wait(float $seconds, string $name): int
    {
        if (!($seconds >= 0)) {
            throw new \ValueError("$name must not be less than 0");
        }
        return $seconds > 0 ? self::ms($seconds) : 0;
    }

    private static function ms(float $seconds): int
    {
        return $seconds * 1000 >= 9e18 ? -1 : max(1, (int) ($seconds * 1000));
    }
}
