'use strict'
// The compiled addon, and the memory that it shares with JavaScript.

const { makeError } = require('./errors.js')
const { places } = require('./places.js')

function load () {
  let missing
  for (const place of places()) {
    try {
      return require(place)
    } catch (error) {
      if (error.code !== 'MODULE_NOT_FOUND') throw error
      missing = error
    }
  }
  throw new Error(
    'the addon of the package kennel is not built. npm runs the script that builds it only with leave: ' +
      'npm install-scripts approve kennel && npm rebuild kennel. ' +
      'Without npm: node node_modules/kennel/scripts/build.js', { cause: missing })
}

const addon = load()

// Small values are copied to a pool, as small Buffers of Node's own are: a Buffer is a view of it. A view keeps its pool
// alive, so a pool is small.
const POOL = 32 * 1024
/** Values up to this length are put into the pool. */
const POOLED = 4 * 1024

const shared = {
  pool: Buffer.allocUnsafeSlow(POOL),
  offset: 0,
  /** state[0]: whether the value that look() found is stale. */
  state: new Uint32Array(1)
}

addon.setUp(makeError, shared.pool, shared.state)
// Others need not find out that the claims and locks of this process have ended.
process.on('exit', () => addon.endAll())

/** The value whose length a function has told that writes to the pool at `shared.offset`. */
function take (length) {
  const start = shared.offset
  const value = shared.pool.subarray(start, start + length)
  // A multiple of 8, so that typed arrays may look at a value.
  shared.offset = (start + length + 7) & ~7
  if (shared.offset > POOL - POOLED) renew()
  return value
}

function renew () {
  shared.pool = Buffer.allocUnsafeSlow(POOL)
  shared.offset = 0
  addon.usePool(shared.pool)
}

module.exports = { addon, shared, take }
