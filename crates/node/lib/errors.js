'use strict'
// Errors: the library's numbers as codes, and its advice in words for JavaScript.

const CODES = {
  1: 'IO', 2: 'NOT_FOUND', 3: 'EXISTS', 4: 'BAD_FILE', 5: 'MISMATCH', 6: 'LOCKS_LOST', 7: 'LEASE_REFUSED',
  8: 'UNKNOWN_STRATEGY', 9: 'OPEN_ELSEWHERE', 10: 'NOT_TRUSTED', 11: 'NETWORK_FILESYSTEM', 12: 'NO_SPACE',
  13: 'SEATS_FULL', 14: 'BAD_OPTION', 15: 'KEY_TOO_LONG', 16: 'TOO_LARGE', 17: 'NOT_A_NUMBER', 18: 'OVERFLOW',
  19: 'BUSY', 20: 'TIMED_OUT', 21: 'OWN_CLAIM', 22: 'NAMESPACES_FULL', 23: 'CODEC', 24: 'READ_ONLY', 25: 'NO_MEMORY',
  26: 'BUFFER_TOO_SMALL', 27: 'NOT_RESIZED', 28: 'TOO_MANY_TAGS', 29: 'RESTING', 30: 'FAILED_ELSEWHERE', 90: 'CLOSED',
  91: 'NO_HANDLE', 99: 'PANIC'
}

const TIMED_OUT = -20
const OWN_CLAIM = -21

// What to do about an error, by the library's name of the advice.
const ADVICE = {
  create: 'create one with "kennel create", or open it without the option existing',
  'open-or-destroy': 'open it, or remove it first with destroy()',
  'other-path': 'this is no cache file, so it is left alone: choose another path, or remove it yourself',
  'other-path-or-remove': 'this is no cache file, so it is left alone: choose another path, or remove it yourself if you know that it once was one',
  'replace-lost': 'a power failure can leave a file like this, and nothing is lost with it: remove it with destroy()',
  'destroy-and-create': 'it is a cache file of another format, or a damaged one: remove it with destroy(), and open it again',
  'on-mismatch': 'use the file as it is, without the option sameSizes, or remove it with destroy()',
  'restore-locks': 'the file was moved, linked or mounted without its lock directory, or that directory was deleted: restore the ' +
    'directory, or remove the cache with destroy()',
  'not-lease': 'use another file system (/dev/shm, a volume), or create the file with the option locks: "file"',
  'share-handle': 'share that cache within the process, or create the file with other locks for several processes',
  trust: 'if you trust everyone who can write to it, open it with the option trust: true',
  'local-files': 'use a local file system, or the option allowNetwork: true if only one host uses it and you know that its locks work',
  'more-seats': 'create the file with more seats (option seats)',
  'larger-items': 'fewer stripes or a larger capacity allow larger items',
  'wait-longer': 'wait longer (option wait), or create the value anyway (option unprotected: true)',
  'not-within': 'within its creation or lock, do not create or lock the key again',
  'more-namespaces': 'create the file with room for more (option namespaces)'
}

class KennelError extends Error {
  constructor (number, facts, advice = '') {
    super(advice ? `${facts}; ${advice}` : facts)
    this.code = `ERR_KENNEL_${CODES[-number] ?? 'OTHER'}`
    this.number = number
    this.facts = facts
    this.advice = advice
  }
}
// The name is on the prototype, as with JavaScript's own errors.
Object.defineProperty(KennelError.prototype, 'name', { value: 'KennelError', configurable: true, writable: true })

/** Makes an error for the addon. Its stack begins with the caller of the addon. */
function makeError (number, facts, advice) {
  const error = new KennelError(number, facts, ADVICE[advice])
  Error.captureStackTrace(error, makeError)
  return error
}

const timedOut = (wait) =>
  new KennelError(TIMED_OUT, `another caller still creates the value, after a wait of ${wait} ms`, ADVICE['wait-longer'])
const ownClaim = () => new KennelError(OWN_CLAIM, 'this creation asks for the key that it creates', ADVICE['not-within'])

module.exports = { KennelError, makeError, timedOut, ownClaim }
