'use strict'
// A store for Keyv, and so for cache-manager, cacheable and other packages that take Keyv's stores.

const { EventEmitter } = require('node:events')
const { Cache, open } = require('./index.js')

class KeyvKennel extends EventEmitter {
  #cache
  #mustClose

  /** @param given the path of a cache file, an open cache, or options with a path */
  constructor (given = {}) {
    super()
    const isCache = given instanceof Cache
    const { path, part = 'keyv', ...options } = typeof given === 'string' ? { path: given } : isCache ? {} : given
    const file = isCache ? given : open(path, options)
    // The store has a namespace of its own, because clear() must not remove what other programs store in the file.
    this.#cache = file.namespace(part)
    this.#mustClose = isCache ? [this.#cache] : [this.#cache, file]
    this.namespace = undefined
    // Keyv 5 iterates only over stores whose url contains the name of a store that it knows. Keyv 6 asks the store
    // itself.
    this.opts = { dialect: 'kennel', url: 'kennel://iterates-like-redis' }
  }

  async get (key) {
    return this.#cache.getString(key)
  }

  async getMany (keys) {
    return this.#cache.getMany(keys, { as: 'string' })
  }

  async set (key, value, ttl) {
    // For Keyv, 0 means no limit, like undefined.
    this.#cache.set(key, value, ttl > 0 ? ttl : undefined)
    return true
  }

  async setMany (entries) {
    const byTtl = new Map()
    for (const { key, value, ttl } of entries) {
      const time = ttl > 0 ? ttl : undefined
      if (!byTtl.has(time)) byTtl.set(time, [])
      byTtl.get(time).push([key, value])
    }
    for (const [ttl, pairs] of byTtl) this.#cache.setMany(pairs, ttl)
    return entries.map(() => true)
  }

  async delete (key) {
    return this.#cache.delete(key)
  }

  async deleteMany (keys) {
    return this.#cache.deleteMany(keys) > 0
  }

  async has (key) {
    return this.#cache.has(key)
  }

  async hasMany (keys) {
    return keys.map((key) => this.#cache.has(key))
  }

  async clear () {
    if (this.namespace) this.#cache.deleteMany([...this.#cache.keys(`${this.namespace}:`)])
    else this.#cache.invalidate()
  }

  async * iterator (namespace = this.namespace) {
    for (const key of this.#cache.keys(namespace ? `${namespace}:` : '')) {
      const value = this.#cache.getString(key)
      if (value !== undefined) yield [key.toString(), value]
    }
  }

  async disconnect () {
    for (const cache of this.#mustClose) cache.close()
  }
}

module.exports = KeyvKennel
module.exports.default = KeyvKennel
module.exports.KeyvKennel = KeyvKennel
