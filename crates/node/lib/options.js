'use strict'
// Checks the arguments of callers, and converts them to the units of the addon.

function refuse (what, given, expected) {
  const shown = typeof given === 'string' ? JSON.stringify(given) : String(given)
  const error = new TypeError(`${what}: expected ${expected}, found ${shown}`)
  error.code = 'ERR_INVALID_ARG_VALUE'
  throw error
}

/** A time to live in milliseconds: 0 stands for the default, and Infinity for no end. */
function ttl (what, given) {
  if (given === undefined) return 0
  if (typeof given !== 'number' || !(given > 0)) refuse(what, given, 'a positive number of milliseconds, or Infinity')
  return given
}

/** A length of time in milliseconds. */
function time (what, given, initial) {
  if (given === undefined) return initial
  if (typeof given !== 'number' || !(given >= 0)) refuse(what, given, 'a number of milliseconds')
  return given
}

function count (what, given) {
  if (given === undefined) return 0
  if (!Number.isSafeInteger(given) || given < 1) refuse(what, given, 'a positive whole number')
  return given
}

function small (what, given) {
  if (given === undefined) return 0
  if (!Number.isInteger(given) || given < 0 || given > 0xffffffff) refuse(what, given, 'a whole number below 2 ** 32')
  return given
}

const UNITS = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, kB: 1e3, MB: 1e6, GB: 1e9 }

/** A number of bytes, or a text such as "64MiB". */
function bytes (what, given) {
  if (typeof given !== 'string') return count(what, given)
  const [, digits, unit] = /^(\d+) ?([A-Za-z]+)$/.exec(given) ?? []
  if (!UNITS[unit]) refuse(what, given, `a number of bytes, or a text such as "64MiB" (${Object.keys(UNITS).join(', ')})`)
  return count(what, Number(digits) * UNITS[unit])
}

/** A text for C, with a zero byte at its end. */
function text (what, given) {
  if (given === undefined) return undefined
  if (typeof given !== 'string' || given.includes('\0')) refuse(what, given, 'a string without a zero character')
  return `${given}\0`
}

function known (what, options, names) {
  if (options === null || typeof options !== 'object') refuse(what, options, 'an object')
  const stray = Object.keys(options).find((name) => !names.includes(name))
  if (stray !== undefined) refuse(what, stray, `one of ${names.join(', ')}`)
}

const FLAGS = { existing: 1, readOnly: 2, verifyReads: 4, trust: 8, allowNetwork: 16, sameSizes: 32 }
const OPEN = ['capacity', 'meanItem', 'lockWait', 'locks', 'stripes', 'seats', 'namespaces', 'claims', 'mode',
  ...Object.keys(FLAGS)]

/** The default of lockWait in milliseconds. It is shorter than the library's, because a wait blocks the event loop. */
const LOCK_WAIT = 250

/** The arguments of the addon's open(), after the path. */
function open (options) {
  known('options', options, OPEN)
  const bits = Object.keys(FLAGS).reduce((bits, name) => bits | (options[name] ? FLAGS[name] : 0), 0)
  return [
    bytes('capacity', options.capacity), bytes('meanItem', options.meanItem),
    Math.max(1, time('lockWait', options.lockWait, LOCK_WAIT)), text('locks', options.locks),
    ...['stripes', 'seats', 'namespaces', 'claims'].map((name) => small(name, options[name])),
    small('mode', options.mode), bits
  ]
}

/** A list of names of tags. A single string is refused, because its letters would be the tags. */
function tags (given) {
  if (given === undefined) return undefined
  if (given === null || typeof given !== 'object' || typeof given[Symbol.iterator] !== 'function') {
    refuse('tags', given, 'an array or a set of strings')
  }
  const list = Array.from(given)
  for (const tag of list) if (typeof tag !== 'string') refuse('a tag', tag, 'a string')
  return list
}

const STORE = ['ttl', 'softTtl', 'flags', 'tags']

/** Returns [ttl, softTtl, flags, tags] for an object, for a time to live in milliseconds, or for undefined. */
function store (options, more = []) {
  if (options === undefined) return [0, 0, 0, undefined]
  if (typeof options === 'number') return [ttl('ttl', options), 0, 0, undefined]
  known('options', options, [...STORE, ...more])
  return [ttl('ttl', options.ttl), ttl('softTtl', options.softTtl), small('flags', options.flags), tags(options.tags)]
}

const CREATE = [...STORE, 'absentTtl', 'wait', 'claimMaxAge', 'as', 'unprotected', 'uncached', 'needsValue', 'background']
const FORMS = ['buffer', 'string', 'json']

const WAIT = 30_000
const CLAIM_MAX_AGE = 300_000

/** Whether values are wanted as bytes, strings or JSON. */
function form (options) {
  known('options', options, ['as'])
  const as = options.as ?? 'buffer'
  if (!FORMS.includes(as)) refuse('as', as, `one of ${FORMS.join(', ')}`)
  return as
}

/** The options of getOrCreate(). */
function create (options) {
  known('options', options, CREATE)
  const as = form({ as: options.as })
  const uncached = options.uncached ?? true
  const bits = (options.unprotected ? 1 : 0) | (uncached ? 2 : 0) | (options.needsValue ? 4 : 0)
  return {
    store: store({ ttl: options.ttl, softTtl: options.softTtl, flags: options.flags, tags: options.tags }),
    absentTtl: ttl('absentTtl', options.absentTtl),
    wait: time('wait', options.wait, WAIT),
    claimMaxAge: time('claimMaxAge', options.claimMaxAge, CLAIM_MAX_AGE) || CLAIM_MAX_AGE,
    as,
    bits,
    uncached,
    unprotected: Boolean(options.unprotected),
    background: Boolean(options.background)
  }
}

function key (given) {
  if (typeof given !== 'string' && !(given instanceof Uint8Array)) {
    refuse('the key', given, 'a string, a Buffer or a Uint8Array')
  }
  return given
}

/** A list of keys. A single string is refused, because its letters would be the keys. */
function keys (given) {
  if (typeof given === 'string' || given instanceof Uint8Array) refuse('the keys', given, 'a list of keys')
  return Array.from(given)
}

module.exports = { refuse, ttl, time, small, text, tags, known, form, open, store, create, key, keys, LOCK_WAIT }
