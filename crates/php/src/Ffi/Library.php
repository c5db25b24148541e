<?php

declare(strict_types=1);

namespace Kennel\Ffi;

use Kennel\Exception;

/**
 * @internal The C library, loaded once a process.
 *
 * Where `ffi.enable` is `preload`, as it is by default in FPM, `opcache.preload` must name preload.php in this folder.
 */
final class Library
{
    /** Bytes of the buffer for values; longer ones are looked up twice. */
    public const BUFFER = 16384;

    private static ?\FFI $ffi = null;
    private static ?\FFI\CData $buffer = null;
    /** @var array<int, string> claims and locks of this request, and the functions that end them */
    private static array $kept = [];

    public static function get(): \FFI
    {
        return self::$ffi ??= self::load();
    }

    private static function load(): \FFI
    {
        if (!class_exists(\FFI::class)) {
            throw new \Error('Kennel needs the extension "kennel", or FFI');
        }
        // Runs also after exit and fatal errors, when "finally" and destructors do not.
        register_shutdown_function(static function (): void {
            foreach (array_keys(self::$kept) as $number) {
                self::end($number);
            }
        });
        try {
            return \FFI::scope('kennel');
        } catch (\FFI\Exception) {
            $header = preg_replace('/^#.*$/m', '', (string) file_get_contents(__DIR__ . '/kennel.h'));
            return \FFI::cdef((string) $header, getenv('KENNEL_LIBRARY') ?: 'libkennel.so.0');
        }
    }

    /** Memory for a value, which the next call uses again. */
    public static function buffer(): \FFI\CData
    {
        return self::$buffer ??= self::get()->new('char[' . self::BUFFER . ']', false);
    }

    /** A struct that begins with its size. */
    public static function struct(string $name): \FFI\CData
    {
        $made = self::get()->new($name);
        $made->size = \FFI::sizeof($made);
        return $made;
    }

    /**
     * Texts as an array of `kennel_bytes`, and the memory in which they lie, which the caller has to keep.
     *
     * @param array<string|int> $texts
     * @return array{?\FFI\CData, ?\FFI\CData}
     */
    public static function texts(array $texts, string $what): array
    {
        if ($texts === []) {
            return [null, null];
        }
        foreach ($texts as $text) {
            if (!is_string($text) && !is_int($text)) {
                throw new \TypeError("Kennel\Cache: each $what must be a string, " . get_debug_type($text) . ' given');
            }
        }
        $made = self::get()->new('kennel_bytes[' . count($texts) . ']');
        $kept = self::memory(implode('', $texts));
        $i = $at = 0;
        foreach ($texts as $text) {
            $each = $made[$i++];
            $each->data = \FFI::addr($kept[$at]);
            $each->len = strlen((string) $text);
            $at += strlen((string) $text);
        }
        return [$made, $kept];
    }

    /** A copy of bytes, with a zero byte behind them. */
    public static function memory(string $bytes): \FFI\CData
    {
        $made = self::get()->new('char[' . (strlen($bytes) + 1) . ']');
        \FFI::memcpy($made, $bytes, strlen($bytes));
        return $made;
    }

    /** The result of a function, unless it is an error. */
    public static function check(int $result): int
    {
        if ($result < 0) {
            throw Exception::of($result, self::get()->kennel_last_facts(), self::get()->kennel_last_advice());
        }
        return $result;
    }

    /** Ends a claim or lock with this request at the latest. */
    public static function keep(int $number, string $end): void
    {
        self::$kept[$number] = $end;
    }

    public static function end(int $number): int
    {
        $end = self::$kept[$number] ?? 'kennel_fail';
        unset(self::$kept[$number]);
        return self::get()->$end($number);
    }

    /** The claim was completed. */
    public static function ended(int $number): void
    {
        unset(self::$kept[$number]);
    }
}
