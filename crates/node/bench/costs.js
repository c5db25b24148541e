'use strict'
// Measures the time of calls, and compares it with a Map, and with lru-cache and node:sqlite if they are available:
// node bench/costs.js
//
// Each figure is the best of many short rounds: on a busy machine most rounds are disturbed, and the best ones are not.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const kennel = require('../lib/index.js')

const CALLS = 2_000
const ROUNDS = 200
const KEYS = 1_000

const folder = fs.mkdtempSync(path.join(fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir(), 'kennel-bench-'))
const text = 'v'.repeat(200)
const bytes = Buffer.from(text)
const keys = Array.from({ length: KEYS }, (_, i) => `user:${i}:profile`)
const rows = []

/** Returns how many nanoseconds a call takes. */
function cost (call) {
  let best = Infinity
  for (let round = 0; round < ROUNDS; round++) {
    const began = process.hrtime.bigint()
    for (let i = 0; i < CALLS; i++) call(keys[i % KEYS])
    best = Math.min(best, Number(process.hrtime.bigint() - began) / CALLS)
  }
  return best
}

const add = (who, what, call) => rows.push({ who, what, ns: cost(call) })

/** Loads a module that may be missing. */
function optional (name) {
  try {
    return require(name)
  } catch {
    console.log(`left out: ${name}, which this Node.js does not find`)
    return undefined
  }
}

const cache = kennel.open(path.join(folder, 'bench.cache'))
const target = Buffer.alloc(200)
for (const key of keys) cache.set(key, bytes)
add('kennel', 'get', (key) => cache.get(key))
add('kennel', 'getString', (key) => cache.getString(key))
add('kennel', 'getInto', (key) => cache.getInto(key, target))
add('kennel', 'get, a miss', () => cache.get('no such key'))
add('kennel', 'set', (key) => cache.set(key, text))
cache.close()

const map = new Map()
add('Map', 'set', (key) => map.set(key, bytes))
add('Map', 'get', (key) => map.get(key))

const lru = optional('lru-cache')
if (lru) {
  const made = new lru.LRUCache({ max: 2 * KEYS })
  add('lru-cache', 'set', (key) => made.set(key, bytes))
  add('lru-cache', 'get', (key) => made.get(key))
}

const sqlite = optional('node:sqlite')
if (sqlite) {
  const db = new sqlite.DatabaseSync(path.join(folder, 'bench.sqlite'))
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE cache (key TEXT PRIMARY KEY, value BLOB)')
  const set = db.prepare('INSERT OR REPLACE INTO cache VALUES (?, ?)')
  const get = db.prepare('SELECT value FROM cache WHERE key = ?')
  add('node:sqlite', 'set', (key) => set.run(key, bytes))
  add('node:sqlite', 'get', (key) => get.get(key))
  db.close()
}

fs.rmSync(folder, { recursive: true, force: true })
for (const { who, what, ns } of rows) {
  console.log(`${who.padEnd(12)} ${what.padEnd(12)} ${ns.toFixed(0).padStart(6)} ns ${(ns / rows[0].ns).toFixed(2).padStart(6)}`)
}
