<?php

declare(strict_types=1);

namespace Kennel\Ffi;

use Kennel\Exception;

/**
 * @internal The C library, which is loaded once in each process.
 *
 * If `ffi.enable` is `preload`, as it is by default in FPM, `opcache.preload` must name preload.php in this folder.
 */
final class Library
{
    /** The size in bytes of the buffer for values. A longer value is looked up twice. */
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
        // This function also runs after exit and fatal errors, when "finally" blocks and destructors do not run.
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

    /** Memory for a value. The next call uses it again. */
    public static function buffer(): \FFI\CData
    {
        return self::$buffer ??= self::get()->new('char[' . self::BUFFER . ']', false);
    }

    /** A new struct, whose first field is set to its size. */
    public static function struct(string $name): \FFI\CData
    {
        $made = self::get()->new($name);
        $made->size = \FFI::sizeof($made);
        return $made;
    }

    /**
     * Texts as an array of `kennel_bytes`, and the memory that contains them, which the caller must keep.
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

    /** A copy of bytes, with a zero byte at the end. */
    public static function memory(string $bytes): \FFI\CData
    {
        $made = self::get()->new('char[' . (strlen($bytes) + 1) . ']');
        \FFI::memcpy($made, $bytes, strlen($bytes));
        return $made;
    }

    /** Returns the result of a function of the library. Throws an exception if the result is an error. */
    public static function check(int $result): int
    {
        if ($result < 0) {
            throw Exception::of($result, self::get()->kennel_last_facts(), self::get()->kennel_last_advice());
        }
        return $result;
    }

    /** Makes sure that a claim or lock ends at the latest with this request. */
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

    /** Notes that a claim has been completed. */
    public static function ended(int $number): void
    {
        unset(self::$kept[$number]);
    }
}
