<?php

declare(strict_types=1);

namespace Kennel;

/** The lock of a key, for programs without the extension. It ends at the latest when this object is destroyed. */
final class Lock
{
    /** @internal */
    public static function of(int $lock): self
    {
        return new self($lock);
    }

    private function __construct(private int $lock)
    {
        Ffi\Library::keep($lock, 'kennel_unlock');
    }

    /** Releases the lock. Returns whether it still excluded other callers. */
    public function release(): bool
    {
        $lock = $this->lock;
        $this->lock = 0;
        return $lock !== 0 && Ffi\Library::end($lock) === 1;
    }

    public function __destruct()
    {
        $this->release();
    }

    private function __clone()
    {
    }
}
