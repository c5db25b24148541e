'use strict'
// Locks of keys.

const { KennelError } = require('./errors.js')
const check = require('./options.js')

const WAIT = 30_000

/** The lock of a key. */
class Lock {
  #native
  #number

  constructor (native, number) {
    this.#native = native
    this.#number = number
  }

  /** Releases the lock. Returns whether it still excluded other callers. A second release does nothing. */
  release () {
    const number = this.#number
    this.#number = undefined
    return number !== undefined && this.#native.unlock(number)
  }
}

if (Symbol.dispose) Lock.prototype[Symbol.dispose] = Lock.prototype.release

function tryLock ({ native }, key, options = {}) {
  check.known('options', options, ['maxAge'])
  const number = native.lock(check.key(key), 0, check.time('maxAge', options.maxAge, 0))
  return number === undefined ? undefined : new Lock(native, number)
}

async function lock ({ native }, key, options = {}) {
  check.known('options', options, ['wait', 'maxAge'])
  const wait = check.time('wait', options.wait, WAIT)
  const number = await native.lock(check.key(key), wait, check.time('maxAge', options.maxAge, 0))
  if (number === undefined) {
    throw new KennelError(-20, `another caller has the lock, after a wait of ${wait} ms`, 'wait longer (option wait)')
  }
  return new Lock(native, number)
}

async function withLock (context, key, options, work) {
  if (typeof options === 'function') [options, work] = [undefined, options]
  if (typeof work !== 'function') check.refuse('the work', work, 'a function')
  const held = await lock(context, key, options)
  try {
    return await work()
  } finally {
    held.release()
  }
}

module.exports = { lock, tryLock, withLock }
