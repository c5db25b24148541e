'use strict'
// getOrCreate(): exactly one caller across all processes creates a missing value.
//
// In this thread one caller of a key, its leader, asks the cache, and the others join the leader. So there is one wait
// for each key, however many callers it has, and the addon's own thread waits.

const { AsyncLocalStorage } = require('node:async_hooks')
const { shared, take } = require('./addon.js')
const { timedOut, ownClaim } = require('./errors.js')
const check = require('./options.js')

const MISS = -1
const TOO_SMALL = -2
const NONE = 0
const CREATE = 2

/** The codes of failures of the cache itself. A caller that can create its value need not fail because of them. */
const OF_THE_CACHE = new Set(['IO', 'NOT_FOUND', 'LOCKS_LOST', 'BUSY', 'READ_ONLY', 'NO_MEMORY', 'NO_HANDLE', 'TOO_LARGE',
  'PANIC'].map((name) => `ERR_KENNEL_${name}`))

/** A created value with options of its own. */
class Created {
  constructor (value, options = {}) {
    this.value = value
    this.isStored = options.store ?? true
    this.options = check.store(options, ['store'])
  }
}

/** The creations of this thread that others may join, by file, namespace and key. */
const flights = new Map()
/** The flights within which the current code runs, the innermost first. */
const within = new AsyncLocalStorage()

const toBuffer = (made) => (typeof made === 'string' ? Buffer.from(made) : Buffer.from(made.buffer, made.byteOffset, made.length))
const same = (value) => value

/** How each form of a value is read from bytes, written as bytes, and returned to the caller that created it. */
const FORMS = {
  buffer: { read: same, write: same, result: toBuffer },
  string: { read: String, write: same, result: (made) => (typeof made === 'string' ? made : toBuffer(made).toString()) },
  json: { read: (value) => JSON.parse(value.toString()), write: (value) => JSON.stringify(value), result: same }
}

/** The name of a key among the flights: the same for a string and its bytes. */
function nameOf (file, key) {
  const bytes = typeof key === 'string' ? Buffer.from(key) : Buffer.from(key.buffer, key.byteOffset, key.byteLength)
  return `${file}\0${bytes.toString('latin1')}`
}

/** Looks a key up. */
function look (context, key) {
  const length = context.native.look(key, shared.offset)
  const isStale = shared.state[0] === 1
  if (length >= 0) return { value: take(length), isStale }
  if (length === MISS) return undefined
  const value = context.large(key, TOO_SMALL - length)
  return value && { value, isStale }
}

async function getOrCreate (context, key, options, create) {
  if (typeof options === 'function') [options, create] = [{}, options]
  if (typeof create !== 'function') check.refuse('the creator', create, 'a function')
  const how = check.create(options ?? {})
  const form = FORMS[how.as]
  let found
  try {
    found = look(context, check.key(key))
  } catch (error) {
    return await uncached(error, how, form, create)
  }
  if (found && !found.isStale) return form.read(found.value)
  return await joinOrLead(context, key, how, form, create, found)
}

async function joinOrLead (context, key, how, form, create, found) {
  const name = nameOf(context.file, key)
  const until = performance.now() + how.wait
  for (;;) {
    const flight = flights.get(name)
    if (!flight || performance.now() - flight.began > how.claimMaxAge) {
      return await lead(context, key, name, how, form, create, Math.max(0, until - performance.now()))
    }
    // The stale value, while another caller creates a new one.
    if (found) return form.read(found.value)
    if (isWithin(flight)) throw ownClaim()
    const outcome = await before(flight.done, until)
    if (outcome === undefined) {
      // The library then lets this caller create without a claim, and stores the value if nobody else has.
      if (how.unprotected) return await lead(context, key, name, how, form, create, 0)
      if (how.uncached) return form.result(plain(await create({ stale: undefined })))
      throw timedOut(how.wait)
    }
    // Each caller gets a copy of its own.
    if (outcome.is === 'value') return form.read(Buffer.from(outcome.bytes))
    if (outcome.is === 'absent' && !(how.bits & 4)) return undefined
    if (outcome.is === 'refused') return form.result(plain(await create({ stale: undefined })))
    // The leader has failed, so one of the waiting callers tries next.
  }
}

function isWithin (flight) {
  for (let at = within.getStore(); at; at = at.outer) if (at.flight === flight) return true
  return false
}

/** Resolves to the result of a promise, or to undefined if there is none before the moment `until`. */
async function before (promise, until) {
  const ms = until - performance.now()
  if (ms <= 0) return undefined
  let timer
  // A timer of Node.js lasts at most 2 ** 31 - 1 milliseconds.
  const late = new Promise((resolve) => { timer = setTimeout(resolve, Math.min(ms, 2 ** 31 - 1)) })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

/** Asks the cache for a key, and tells the outcome to the callers that have joined. */
async function lead (context, key, name, how, form, create, wait) {
  let tell
  const flight = { began: performance.now(), done: new Promise((resolve) => { tell = resolve }) }
  flights.set(name, flight)
  const end = (outcome) => {
    if (flights.get(name) === flight) flights.delete(name)
    tell(outcome)
  }
  try {
    return await asked(context, key, how, form, create, wait, flight, end)
  } finally {
    // Whatever has happened, callers that wait for this flight must go on. Only the first call of end() counts.
    if (!flight.inBackground) end({ is: 'failed' })
  }
}

async function asked (context, key, how, form, create, wait, flight, end) {
  const { native } = context
  const [ttl, softTtl, flags, tags] = how.store
  let answer
  try {
    answer = await native.ask(key, ttl, softTtl, how.absentTtl, wait, how.claimMaxAge, flags, how.bits, tags)
  } catch (error) {
    return await uncached(error, how, form, create)
  }
  const [result, stale, claim] = answer
  if (result === NONE) return end({ is: 'absent' })
  if (result !== CREATE) {
    end({ is: 'value', bytes: stale })
    return form.read(stale)
  }
  const made = () => created(context, claim, stale, how, form, create, flight, end)
  if (how.background && stale) {
    flight.inBackground = true
    // If the creation fails, this caller still has the stale value, and the next caller tries again.
    made().catch(() => {}).finally(() => end({ is: 'failed' }))
    return form.read(stale)
  }
  return await made()
}

/** Creates the value of a claim, stores it, and ends the claim whatever happens. */
async function created ({ native, lockWait }, claim, stale, how, form, create, flight, end) {
  let made, bytes
  try {
    const given = { stale: stale && form.read(stale) }
    made = await within.run({ flight, outer: within.getStore() }, create, given)
    bytes = encoded(form, plain(made))
  } catch (error) {
    native.fail(claim)
    throw error
  }
  const value = plain(made)
  try {
    if (made instanceof Created && !made.isStored) {
      native.refuse(claim)
      end({ is: 'refused' })
    } else if (bytes === undefined) {
      native.completeAbsent(claim)
      end({ is: 'absent' })
    } else {
      const own = made instanceof Created ? made.options : check.store()
      const isStored = await native.complete(claim, bytes, ...own, lockWait)
      // If the key was written or invalidated meanwhile, only the creator gets the value: the callers that have joined
      // look again.
      end(isStored ? { is: 'value', bytes: Buffer.from(bytes) } : { is: 'failed' })
    }
  } catch (error) {
    if (!isOfTheCache(error) || !how.uncached) throw error
    // The creator succeeded, so its caller gets the value although the cache cannot store it.
    end({ is: 'refused' })
  }
  return bytes === undefined ? undefined : form.result(value)
}

const plain = (made) => (made instanceof Created ? made.value : made)

/** The bytes of a created value, or undefined if there is none. */
function encoded (form, value) {
  if (value === undefined || value === null) return undefined
  const bytes = form.write(value)
  if (typeof bytes !== 'string' && !(bytes instanceof Uint8Array)) {
    check.refuse('the created value', value, form === FORMS.json ? 'something that JSON has' : 'a string, a Buffer or a Uint8Array')
  }
  return bytes
}

const isOfTheCache = (error) => OF_THE_CACHE.has(error?.code)

/** Creates the value without the cache, if the error is a failure of the cache itself. */
async function uncached (error, how, form, create) {
  if (!how.uncached || !isOfTheCache(error)) throw error
  const value = plain(await create({ stale: undefined }))
  return encoded(form, value) === undefined ? undefined : form.result(value)
}

module.exports = { Created, getOrCreate }
