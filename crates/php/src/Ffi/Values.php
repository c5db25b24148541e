<?php

declare(strict_types=1);

namespace Kennel\Ffi;

/** @internal Converts PHP values to the bytes that the extension stores, and back. */
final class Values
{
    /** The flags of an int, which is stored as decimal digits. */
    public const INT = 0x50480001;
    /** The beginning of stored values that are neither text nor int. No text in UTF-8 begins with it. */
    private const SERIALIZED = "\xffPHP";

    /** @return array{string, int} the bytes and their flags */
    public static function encode(mixed $value): array
    {
        return match (true) {
            is_string($value) && !str_starts_with($value, self::SERIALIZED) => [$value, 0],
            is_int($value) => [(string) $value, self::INT],
            default => [self::SERIALIZED . serialize($value), 0],
        };
    }

    /** Returns false if PHP cannot read the value. */
    public static function decode(string $bytes, int $flags, mixed &$value): bool
    {
        $value = $bytes;
        if (str_starts_with($bytes, self::SERIALIZED)) {
            $serialized = substr($bytes, strlen(self::SERIALIZED));
            $value = @unserialize($serialized);
            return $value !== false || $serialized === serialize(false);
        }
        if ($flags === self::INT && preg_match('/^-?[0-9]{1,20}$/D', $bytes)) {
            $value = $bytes + 0;
        }
        return true;
    }

    /** Converts seconds to milliseconds. null stands for the default, INF for no end. */
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
