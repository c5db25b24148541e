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

// Small values are copied to a pool, like Node's own small Buffers: each Buffer is a view of the pool. A view keeps the
// whole pool alive, so a pool is small.
const POOL = 32 * 1024
/** Values up to this length are copied to the pool. */
const POOLED = 4 * 1024

const shared = {
  pool: Buffer.allocUnsafeSlow(POOL),
  offset: 0,
  /** state[0]: whether the value that look() found is stale. */
  state: new Uint32Array(1)
}

addon.setUp(makeError, shared.pool, shared.state)
// End the claims and locks of this process, so that other processes need not find out that it has gone.
process.on('exit', () => addon.endAll())

/** The value that a function of the addon wrote to the pool at `shared.offset`, and whose length it returned. */
function take (length) {
  const start = shared.offset
  const value = shared.pool.subarray(start, start + length)
  // Round up to a multiple of 8, so that typed arrays can be views of a value.
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
