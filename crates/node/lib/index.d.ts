/** A key: a string stands for its bytes in UTF-8. It has at most 65535 bytes. */
export type Key = string | Uint8Array
export type Value = string | Uint8Array
/** A single string is refused, since its letters would be the keys. */
export type Keys = Iterable<Key> & { readonly charAt?: never }

export type Tags = readonly string[] | ReadonlySet<string>

export interface OpenOptions {
  /** Room for items: bytes, or a text such as `"64MiB"`, the default. */
  capacity?: number | string
  /** Mean bytes of a key and its value: 256 by default. */
  meanItem?: number | string
  /** How many milliseconds a write waits for another one in the same stripe: 250 by default. */
  lockWait?: number
  locks?: 'file' | 'lease' | 'process' | 'none' | 'rw-file'
  stripes?: number
  seats?: number
  namespaces?: number
  claims?: number
  /** Permission bits of a new file: 0o600 by default. */
  mode?: number
  /** Do not create a file. */
  existing?: boolean
  /** Open an existing file for reading only. */
  readOnly?: boolean
  /** Check the checksum of each value that is read. */
  verifyReads?: boolean
  /** Open a file that another user could have written. */
  trust?: boolean
  /** Use a file on a network file system. */
  allowNetwork?: boolean
  /** Refuse a file whose sizes differ from these options. Without this it is used as it is. */
  sameSizes?: boolean
}

export interface StoreOptions {
  /** When the value expires: milliseconds from now, or Infinity. */
  ttl?: number
  /** When it becomes stale: it is still returned while one caller makes a new one. */
  softTtl?: number
  /** A number of yours that is stored with the value. */
  flags?: number
  /** Names of tags, by which `invalidateTags` finds the value: 16 at most. */
  tags?: Tags
}

export interface CountOptions {
  /** What is stored if the key has no value; the delta is not added to it. */
  initial?: number | bigint
  /** When such a first number expires. */
  ttl?: number
  /** Tags of such a first number. */
  tags?: Tags
}

export interface Item {
  value: Buffer
  /** Identifies this write of the key. */
  stamp: bigint
  flags: number
  isStale: boolean
  /** Milliseconds since 1970. */
  expires?: number
  softExpires?: number
  created?: number
}

export interface CreateOptions extends StoreOptions {
  /** How long to remember that there is no value. Without it this is not remembered. */
  absentTtl?: number
  /** How many milliseconds to wait for another creator: 30000 by default. */
  wait?: number
  /** When others may take a creation over although its process lives: 5 minutes by default. */
  claimMaxAge?: number
  /** After the wait, create the value although another caller does, too. */
  unprotected?: boolean
  /** If the cache itself fails, or the wait is over, create the value all the same and store nothing: true by default. */
  uncached?: boolean
  /** Treat a key that is known to have no value as a miss. */
  needsValue?: boolean
  /** Return a stale value at once, and make the new one afterwards. */
  background?: boolean
}

export interface Creation<T> {
  /** The stale value, if there is one. */
  stale: T | undefined
}

/** What a creator returns: a value, a value with options of its own, or nothing. */
export type Made<T> = T | Created<T> | undefined | null
export type Creator<T, S = T> = (creation: Creation<S>) => Made<T> | Promise<Made<T>>

/** A created value with options of its own. */
export declare class Created<T> {
  constructor (value: T, options?: StoreOptions & { /** false: it is not stored. */ store?: boolean })
  readonly value: T
}

export declare class Lock {
  /** Releases the lock, and tells whether it still excluded others. */
  release (): boolean
}

export interface LockOptions {
  /** How many milliseconds to wait: 30000 by default. */
  wait?: number
  /** When others may take the lock over although its process lives: never by default. */
  maxAge?: number
}

export declare class KennelError extends Error {
  /** Such as `"ERR_KENNEL_BUSY"`. */
  readonly code: string
  /** The number of the error in kennel.h. */
  readonly number: number
  /** What was expected, and what was found. */
  readonly facts: string
  /** What to do, or "". */
  readonly advice: string
}

/** An open cache file, or one namespace in it. */
export declare class Cache {
  private constructor ()
  get (key: Key): Buffer | undefined
  getString (key: Key): string | undefined
  getJson<T = unknown> (key: Key): T | undefined
  /** The length of the value, which is copied to the target; -1 for a miss; -2 - length if the target is too small. */
  getInto (key: Key, target: Uint8Array): number
  getItem (key: Key): Item | undefined
  /** The values of many keys, in the order of the keys. */
  getMany (keys: Keys, options?: { as?: 'buffer' }): Array<Buffer | undefined>
  getMany (keys: Keys, options: { as: 'string' }): Array<string | undefined>
  getMany<T = unknown> (keys: Keys, options: { as: 'json' }): Array<T | undefined>
  has (key: Key): boolean
  /** @param options a number is a time to live */
  set (key: Key, value: Value, options?: StoreOptions | number): void
  setJson (key: Key, value: unknown, options?: StoreOptions | number): void
  /** Stores many values by one call. If some cannot be stored, the others are, and the error is that of the first. */
  setMany (entries: Iterable<readonly [Key, Value]>, options?: StoreOptions | number): void
  /** Stores a value if the key has none, and tells whether it did. */
  add (key: Key, value: Value, options?: StoreOptions | number): boolean
  /** Stores a value if the key has one, and tells whether it did. */
  replace (key: Key, value: Value, options?: StoreOptions | number): boolean
  /** Stores a value if the key still has that with this stamp. The new stamp, or undefined. */
  compareAndSwap (key: Key, stamp: bigint, value: Value, options?: StoreOptions | number): bigint | undefined
  compareAndDelete (key: Key, stamp: bigint): boolean
  delete (key: Key): boolean
  /** Removes many keys by one call, and tells how many of them had a value. */
  deleteMany (keys: Keys): number
  /** @param ttl milliseconds from now, or nothing for no end */
  touch (key: Key, ttl?: number): boolean
  /** Adds to a number: undefined if the key has none. With a bigint the result is one, too. */
  incr (key: Key, delta: bigint, options: CountOptions & { initial: number | bigint }): bigint
  incr (key: Key, delta: number | undefined, options: CountOptions & { initial: number | bigint }): number
  incr (key: Key, delta: bigint, options?: CountOptions): bigint | undefined
  incr (key: Key, delta?: number, options?: CountOptions): number | undefined
  decr (key: Key, delta: bigint, options: CountOptions & { initial: number | bigint }): bigint
  decr (key: Key, delta: number | undefined, options: CountOptions & { initial: number | bigint }): number
  decr (key: Key, delta: bigint, options?: CountOptions): bigint | undefined
  decr (key: Key, delta?: number, options?: CountOptions): number | undefined
  /** The value of a key. Of all callers in all processes one creates a missing value; the others wait for it. */
  getOrCreate (key: Key, create: Creator<Value, Buffer>): Promise<Buffer | undefined>
  getOrCreate (key: Key, options: CreateOptions & { as?: 'buffer' }, create: Creator<Value, Buffer>): Promise<Buffer | undefined>
  getOrCreate (key: Key, options: CreateOptions & { as: 'string' }, create: Creator<Value, string>): Promise<string | undefined>
  getOrCreate<T> (key: Key, options: CreateOptions & { as: 'json' }, create: Creator<T>): Promise<T | undefined>
  /** Locks a key against all that lock or create it, in all processes. Rejects with ERR_KENNEL_TIMED_OUT. */
  lock (key: Key, options?: LockOptions): Promise<Lock>
  /** The lock, or undefined if another has it. */
  tryLock (key: Key, options?: Pick<LockOptions, 'maxAge'>): Lock | undefined
  withLock<T> (key: Key, work: () => T | Promise<T>): Promise<T>
  withLock<T> (key: Key, options: LockOptions | undefined, work: () => T | Promise<T>): Promise<T>
  /** Whether somebody creates or locks the key. */
  isClaimed (key: Key): boolean
  /** The keys that begin with a prefix. No snapshot: a key may come twice. */
  keys (prefix?: Key): IterableIterator<Buffer>
  /** Invalidates all values of this namespace, or of the file. */
  invalidate (options?: { /** The values are stale, and not gone. */ soft?: boolean }): void
  /** Invalidates all values that bear one of the tags, in all namespaces and processes. */
  invalidateTags (tags: Tags, options?: { /** The values are stale, and not gone. */ soft?: boolean }): void
  namespace (name: string, options?: { /** The default time to live. */ ttl?: number }): Cache
  /** What `kennel stat --json` prints. */
  stats (): any
  close (): void
}

/** Opens a cache file, or creates it. Without a path it is the default one of this user. */
export declare function open (path?: string | URL | null, options?: OpenOptions): Cache
/** Removes a cache file, and tells whether there was one. */
export declare function destroy (path?: string | URL | null): boolean
/** The version of the library. */
export declare const version: string
