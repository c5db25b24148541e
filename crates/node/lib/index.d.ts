/** A key of at most 65535 bytes. A string stands for its bytes in UTF-8. */
export type Key = string | Uint8Array
/** A value. A string is stored as its bytes in UTF-8. */
export type Value = string | Uint8Array
/** Keys. A single string is refused, because its letters would be the keys. */
export type Keys = Iterable<Key> & { readonly charAt?: never }

/** Names of tags: at most 16 for each value. */
export type Tags = readonly string[] | ReadonlySet<string>

export interface OpenOptions {
  /** How many bytes of items the file holds: a number, or text such as `"64MiB"`, which is the default. */
  capacity?: number | string
  /** The mean size of a key and its value together in bytes, which determines the size of the index: 256 by default. */
  meanItem?: number | string
  /**
   * How many milliseconds a write waits for the lock of its stripe, before it throws ERR_KENNEL_BUSY: 250 by default.
   */
  lockWait?: number
  /** The lock strategy of a new file: `'file'` by default. */
  locks?: 'file' | 'lease' | 'process' | 'none' | 'rw-file'
  /**
   * The number of stripes of a new file, a power of two. A write locks one stripe. By default it depends on the
   * capacity.
   */
  stripes?: number
  /** How many processes can have the file open for writing at the same time: 1024 by default. */
  seats?: number
  /** How many namespaces the file has room for: 64 by default. */
  namespaces?: number
  /** How many keys of one stripe can be created or locked at the same time: 64 by default. */
  claims?: number
  /** Permission bits of a new file: 0o600 by default. */
  mode?: number
  /** Do not create the file if it does not exist; throw ERR_KENNEL_NOT_FOUND instead. */
  existing?: boolean
  /** Open an existing file for reading only. */
  readOnly?: boolean
  /** Check the checksum of each value that is read. */
  verifyReads?: boolean
  /** Open the file even if it belongs to another user, or another user can write to it. */
  trust?: boolean
  /** Use the file even if it is on a network file system. */
  allowNetwork?: boolean
  /** Refuse an existing file whose sizes differ from these options. By default such a file is used as it is. */
  sameSizes?: boolean
}

export interface StoreOptions {
  /** When the value expires: milliseconds from now, or Infinity. By default the time of the namespace applies. */
  ttl?: number
  /**
   * When the value becomes stale, in milliseconds from now: reads still return it while one caller creates a new one.
   */
  softTtl?: number
  /** A number of yours, from 0 to 2 ** 32 - 1, that is stored with the value: 0 by default. */
  flags?: number
  /** The names of the value's tags, by which `invalidateTags` finds it: 16 at most. */
  tags?: Tags
}

export interface CountOptions {
  /** The number to store if the key has no value. The delta is not added to it. */
  initial?: number | bigint
  /** When an initial number expires, in milliseconds from now. An existing number keeps its expiry. */
  ttl?: number
  /** The tags of an initial number. An existing number keeps its tags. */
  tags?: Tags
}

/** A value with its metadata. */
export interface Item {
  value: Buffer
  /** Identifies the write that stored the value, for `compareAndSwap` and `compareAndDelete`. */
  stamp: bigint
  /** The number that was stored with the value. */
  flags: number
  isStale: boolean
  /** When the value expires, in milliseconds since 1970; undefined if it does not. */
  expires?: number
  /** When the value becomes stale, in milliseconds since 1970; undefined if it does not. */
  softExpires?: number
  /** When the value was created, in milliseconds since 1970; undefined if this is not known. */
  created?: number
}

export interface CreateOptions extends StoreOptions {
  /** How many milliseconds to remember that the key has no value. By default this is not remembered. */
  absentTtl?: number
  /** How many milliseconds to wait for another creator: 30000 by default. */
  wait?: number
  /**
   * After how many milliseconds another caller may create the value even if the first creator still runs: 300000 by
   * default.
   */
  claimMaxAge?: number
  /** When the wait is over, create the value even though another caller is creating it. */
  unprotected?: boolean
  /**
   * If the cache itself fails, or the wait is over, create the value and store nothing, instead of rejecting: true by
   * default.
   */
  uncached?: boolean
  /** Create the value even if the cache remembers that the key has no value. */
  needsValue?: boolean
  /** Return a stale value at once, and create the new one afterwards. */
  background?: boolean
}

export interface Creation<T> {
  /** The stale value, if there is one. */
  stale: T | undefined
}

/** What a creator returns: a value, a value with options of its own, or undefined or null if the key has no value. */
export type Made<T> = T | Created<T> | undefined | null
export type Creator<T, S = T> = (creation: Creation<S>) => Made<T> | Promise<Made<T>>

/** A created value with options of its own, which take the place of those of the call. */
export declare class Created<T> {
  constructor (value: T, options?: StoreOptions & { /** Whether the value is stored: true by default. */ store?: boolean })
  readonly value: T
}

/** The lock of a key. It also ends with its process. */
export declare class Lock {
  /** Releases the lock. Returns whether it still excluded other callers. */
  release (): boolean
}

export interface LockOptions {
  /** How many milliseconds to wait for the lock: 30000 by default. */
  wait?: number
  /**
   * After how many milliseconds another caller may take the lock over even if its process still runs: never by default.
   */
  maxAge?: number
}

/** A failure of the cache. */
export declare class KennelError extends Error {
  /** The kind of the error, such as `"ERR_KENNEL_BUSY"`. */
  readonly code: string
  /** The number of the error in the C header kennel.h. */
  readonly number: number
  /** What was expected, and what was found. */
  readonly facts: string
  /** What to do about the error, or "". */
  readonly advice: string
}

/** An open cache file, or one namespace in it. */
export declare class Cache {
  private constructor ()
  /** Returns the value of a key, or undefined for a miss. */
  get (key: Key): Buffer | undefined
  /** Returns the value of a key as a string, or undefined for a miss. */
  getString (key: Key): string | undefined
  /** Returns the value of a key, parsed as JSON, or undefined for a miss. */
  getJson<T = unknown> (key: Key): T | undefined
  /**
   * Copies the value of a key to the start of the target. Returns its length; -1 for a miss; -2 - length if the target
   * is too small.
   */
  getInto (key: Key, target: Uint8Array): number
  /** Returns the value of a key with its metadata, or undefined for a miss. */
  getItem (key: Key): Item | undefined
  /** Returns the values of many keys, in the order of the keys, with undefined for each miss. */
  getMany (keys: Keys, options?: { as?: 'buffer' }): Array<Buffer | undefined>
  getMany (keys: Keys, options: { as: 'string' }): Array<string | undefined>
  getMany<T = unknown> (keys: Keys, options: { as: 'json' }): Array<T | undefined>
  /** Returns whether a key has a value. */
  has (key: Key): boolean
  /**
   * Stores a value.
   * @param options the options, or the time to live in milliseconds
   */
  set (key: Key, value: Value, options?: StoreOptions | number): void
  /** Stores a value as JSON. */
  setJson (key: Key, value: unknown, options?: StoreOptions | number): void
  /**
   * Stores many values with one call. If some values cannot be stored, the others are stored, and the first error is
   * thrown.
   */
  setMany (entries: Iterable<readonly [Key, Value]>, options?: StoreOptions | number): void
  /** Stores a value only if the key has none. Returns whether it was stored. */
  add (key: Key, value: Value, options?: StoreOptions | number): boolean
  /** Stores a value only if the key already has one. Returns whether it was stored. */
  replace (key: Key, value: Value, options?: StoreOptions | number): boolean
  /**
   * Stores a value only if the key's current value has this stamp. Returns the new stamp, or undefined if nothing was
   * stored.
   */
  compareAndSwap (key: Key, stamp: bigint, value: Value, options?: StoreOptions | number): bigint | undefined
  /** Removes a key only if its current value has this stamp. Returns whether it was removed. */
  compareAndDelete (key: Key, stamp: bigint): boolean
  /** Removes a key. Returns whether it had a value. */
  delete (key: Key): boolean
  /** Removes many keys with one call. Returns how many of them had a value. */
  deleteMany (keys: Keys): number
  /**
   * Changes when the value of a key expires. Returns whether the key has a value.
   * @param ttl milliseconds from now; without it, or with Infinity, the value no longer expires
   */
  touch (key: Key, ttl?: number): boolean
  /**
   * Adds to a number, which is stored as decimal text. Returns the new number, as a bigint if the delta is one, or
   * undefined if the key has no value and no `initial` is given.
   */
  incr (key: Key, delta: bigint, options: CountOptions & { initial: number | bigint }): bigint
  incr (key: Key, delta: number | undefined, options: CountOptions & { initial: number | bigint }): number
  incr (key: Key, delta: bigint, options?: CountOptions): bigint | undefined
  incr (key: Key, delta?: number, options?: CountOptions): number | undefined
  /** Subtracts from a number, as `incr` adds to one. A result below 0 throws ERR_KENNEL_OVERFLOW. */
  decr (key: Key, delta: bigint, options: CountOptions & { initial: number | bigint }): bigint
  decr (key: Key, delta: number | undefined, options: CountOptions & { initial: number | bigint }): number
  decr (key: Key, delta: bigint, options?: CountOptions): bigint | undefined
  decr (key: Key, delta?: number, options?: CountOptions): number | undefined
  /**
   * Returns the value of a key. If it is missing, exactly one caller across all processes creates it, and the others
   * wait for it.
   */
  getOrCreate (key: Key, create: Creator<Value, Buffer>): Promise<Buffer | undefined>
  getOrCreate (key: Key, options: CreateOptions & { as?: 'buffer' }, create: Creator<Value, Buffer>): Promise<Buffer | undefined>
  getOrCreate (key: Key, options: CreateOptions & { as: 'string' }, create: Creator<Value, string>): Promise<string | undefined>
  getOrCreate<T> (key: Key, options: CreateOptions & { as: 'json' }, create: Creator<T>): Promise<T | undefined>
  /**
   * Takes the lock of a key, which excludes all callers, in all processes, that lock the key or create its value.
   * Rejects with ERR_KENNEL_TIMED_OUT when the wait is over.
   */
  lock (key: Key, options?: LockOptions): Promise<Lock>
  /** Takes the lock of a key without waiting. Returns undefined if another caller has it. */
  tryLock (key: Key, options?: Pick<LockOptions, 'maxAge'>): Lock | undefined
  /** Runs `work` while this caller holds the lock of a key. Resolves to the result of `work`. */
  withLock<T> (key: Key, work: () => T | Promise<T>): Promise<T>
  withLock<T> (key: Key, options: LockOptions | undefined, work: () => T | Promise<T>): Promise<T>
  /** Returns whether a caller in any process is creating the value of the key or holds its lock. */
  isClaimed (key: Key): boolean
  /**
   * Iterates over the keys that begin with a prefix, by default all keys. This is not a snapshot: a key may appear
   * twice.
   */
  keys (prefix?: Key): IterableIterator<Buffer>
  /** Invalidates all values of this namespace, or of the whole file, for all processes. */
  invalidate (options?: { /** Make the values stale instead of removing them. */ soft?: boolean }): void
  /** Invalidates all values that bear one of the tags, in all namespaces and processes. */
  invalidateTags (tags: Tags, options?: { /** Make the values stale instead of removing them. */ soft?: boolean }): void
  /** Opens a namespace, which has keys of its own. Its name has 1 to 128 bytes. */
  namespace (name: string, options?: { /** The default time to live of its values, in milliseconds. */ ttl?: number }): Cache
  /** Returns the statistics of the file, as `kennel stat --json` prints them. */
  stats (): any
  /** Closes the cache. Later calls throw ERR_KENNEL_CLOSED. */
  close (): void
}

/**
 * Opens a cache file, and creates it if it does not exist. Without a path, opens the default cache file of this user.
 */
export declare function open (path?: string | URL | null, options?: OpenOptions): Cache
/** Removes a cache file. Returns whether there was one. Processes that have it open get misses from then on. */
export declare function destroy (path?: string | URL | null): boolean
/** The version of the library. */
export declare const version: string
