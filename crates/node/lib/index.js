'use strict'
// The package: a cache in one file that the processes of a host share.

const path = require('node:path')
const { addon, shared, take } = require('./addon.js')
const { KennelError } = require('./errors.js')
const { Created, getOrCreate } = require('./create.js')
const { lock, tryLock, withLock } = require('./lock.js')
const check = require('./options.js')

const SET = 0
const ADD = 1
const REPLACE = 2
const SWAP = 3
const KEYS_AT_A_TIME = 256

/** What a function of the addon returns instead of a length. */
const MISS = -1
const TOO_SMALL = -2

let opened = 0

/** An open cache file, or one namespace in it. */
class Cache {
  #native
  #file
  #lockWait

  /** Only this package calls this constructor: see open(). */
  constructor (native, file, lockWait) {
    this.#native = native
    this.#file = file
    this.#lockWait = lockWait
  }

  get (key) {
    const length = this.#native.get(key, shared.offset)
    if (length >= 0) return take(length)
    return length === MISS ? undefined : this.#getLarge(key, TOO_SMALL - length)
  }

  /** A value that does not fit into the pool. */
  #getLarge (key, needed) {
    for (;;) {
      const value = Buffer.allocUnsafeSlow(needed)
      const length = this.#native.getInto(key, value)
      if (length >= 0) return length === needed ? value : value.subarray(0, length)
      if (length === MISS) return undefined
      needed = TOO_SMALL - length
    }
  }

  getString (key) {
    return this.#native.getString(key)
  }

  getJson (key) {
    const text = this.#native.getString(key)
    return text === undefined ? undefined : JSON.parse(text)
  }

  getInto (key, target) {
    return this.#native.getInto(key, target)
  }

  getItem (key) {
    const found = this.#native.getItem(key)
    if (found === undefined) return undefined
    const [value, stamp, expires, softExpires, created, flags, isStale] = found
    const moment = (ms) => (ms === 0 ? undefined : ms)
    return {
      value, stamp, flags, isStale, expires: moment(expires), softExpires: moment(softExpires), created: moment(created)
    }
  }

  // Reads the keys one by one: for the addon, reading a list of keys and making a list of values takes longer than
  // single reads.
  getMany (keys, options = {}) {
    const as = check.form(options)
    const list = check.keys(keys)
    if (as === 'buffer') return list.map((key) => this.get(key))
    return list.map(as === 'string' ? (key) => this.getString(key) : (key) => this.getJson(key))
  }

  has (key) {
    return this.#native.has(key)
  }

  set (key, value, options) {
    if (options === undefined) return this.#native.set(key, value, 0)
    const [ttl, softTtl, flags, tags] = check.store(options)
    if (softTtl === 0 && flags === 0 && tags === undefined) return this.#native.set(key, value, ttl)
    this.#native.store(SET, key, value, ttl, softTtl, flags, tags)
  }

  setJson (key, value, options) {
    const text = JSON.stringify(value)
    if (text === undefined) check.refuse('the value', value, 'something that JSON has')
    this.set(key, text, options)
  }

  setMany (entries, options) {
    const how = check.store(options)
    const list = []
    for (const [key, value] of entries) list.push(key, value)
    this.#native.setMany(list, ...how)
  }

  add (key, value, options) {
    return this.#native.store(ADD, key, value, ...check.store(options)) !== undefined
  }

  replace (key, value, options) {
    return this.#native.store(REPLACE, key, value, ...check.store(options)) !== undefined
  }

  compareAndSwap (key, stamp, value, options) {
    return this.#native.store(SWAP, key, value, ...check.store(options), stamp)
  }

  compareAndDelete (key, stamp) {
    if (typeof stamp !== 'bigint') check.refuse('the stamp', stamp, 'a bigint')
    return this.#native.delete(key, stamp)
  }

  delete (key) {
    return this.#native.delete(key, undefined)
  }

  deleteMany (keys) {
    return this.#native.deleteMany(check.keys(keys))
  }

  touch (key, ttl) {
    return this.#native.touch(key, check.ttl('ttl', ttl))
  }

  incr (key, delta = 1, options = {}) {
    return this.#count(key, delta, options, false)
  }

  decr (key, delta = 1, options = {}) {
    return this.#count(key, delta, options, true)
  }

  #count (key, delta, options, isDown) {
    check.known('options', options, ['initial', 'ttl', 'tags'])
    const whole = (what, given) => {
      if (typeof given !== 'bigint' && !Number.isSafeInteger(given)) check.refuse(what, given, 'a whole number')
      return BigInt(given)
    }
    const by = whole('delta', delta)
    const first = options.initial === undefined ? undefined : whole('initial', options.initial)
    const [size, down] = by < 0n ? [-by, !isDown] : [by, isDown]
    const tags = check.tags(options.tags)
    const number = this.#native.count(key, down, size, first, check.ttl('ttl', options.ttl), tags)
    return number === undefined || typeof delta === 'bigint' ? number : Number(number)
  }

  getOrCreate (key, options, create) {
    return getOrCreate(this.#context(), key, options, create)
  }

  lock (key, options) {
    return lock(this.#context(), key, options)
  }

  tryLock (key, options) {
    return tryLock(this.#context(), key, options)
  }

  withLock (key, options, work) {
    return withLock(this.#context(), key, options, work)
  }

  isClaimed (key) {
    return this.#native.isClaimed(key)
  }

  #context () {
    return { native: this.#native, file: this.#file, lockWait: this.#lockWait, large: (key, n) => this.#getLarge(key, n) }
  }

  * keys (prefix = '') {
    const search = this.#native.keys(prefix)
    for (;;) {
      const found = this.#native.nextKeys(search, KEYS_AT_A_TIME)
      yield * found
      if (found.length < KEYS_AT_A_TIME) return
    }
  }

  invalidate (options = {}) {
    check.known('options', options, ['soft'])
    this.#native.invalidate(Boolean(options.soft))
  }

  invalidateTags (tags, options = {}) {
    check.known('options', options, ['soft'])
    this.#native.invalidateTags(check.tags(tags) ?? check.refuse('tags', tags, 'an array or a set of strings'), Boolean(options.soft))
  }

  namespace (name, options = {}) {
    check.known('options', options, ['ttl'])
    if (typeof name !== 'string' || name === '' || name.includes('\0') || Buffer.byteLength(name) > 128) {
      check.refuse('the name', name, 'a string of 1 to 128 bytes')
    }
    const native = this.#native.namespace(name, check.time('ttl', options.ttl, 0))
    return new Cache(native, `${this.#file.split('\0')[0]}\0${name}`, this.#lockWait)
  }

  stats () {
    return JSON.parse(this.#native.stats())
  }

  close () {
    this.#native.close()
  }
}

if (Symbol.dispose) Cache.prototype[Symbol.dispose] = Cache.prototype.close

function pathOf (file) {
  if (file === undefined || file === null) return undefined
  if (file instanceof URL) file = require('node:url').fileURLToPath(file)
  return check.text('path', typeof file === 'string' ? path.resolve(file) : file)
}

function open (file, options = {}) {
  const wanted = check.open(options)
  const native = addon.open(pathOf(file), ...wanted)
  // Only the library knows the default path, so each cache on it gets a name of its own, and its callers join only
  // callers of the same cache.
  return new Cache(native, file ? path.resolve(String(file)) : `default ${opened++}`, wanted[2])
}

function destroy (file) {
  return addon.destroy(pathOf(file))
}

module.exports = { open, destroy, Cache, Created, KennelError, version: addon.version() }
