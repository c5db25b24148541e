'use strict'
// A cacheHandler for Next.js: all servers of a host share pages and fetched data, and revalidateTag() reaches all.
//
// A tag is a key of its own. It holds when it was revalidated last, and a random word. An entry keeps the words of its
// tags; it is a miss once one of them differs. A tag that was evicted gets a new word, so its entries are misses, too:
// no eviction brings an old page back.

const fs = require('node:fs')
const path = require('node:path')
const v8 = require('node:v8')
const { randomBytes } = require('node:crypto')
const { Cache, open } = require('./index.js')

const TAGS_HEADER = 'x-next-cache-tags'
/** Creations in this process whose beginning is remembered. */
const MOST_BEGUN = 10_000

/** The name of the build: its pages are not those of another one. */
function buildOf (serverDistDir) {
  try {
    return fs.readFileSync(path.join(serverDistDir, '..', 'BUILD_ID'), 'utf8').trim()
  } catch {
    return ''
  }
}

/** The class that Next.js makes its handlers of. */
function cacheHandler (given = {}) {
  const { path: file, part = 'next', ...options } = given instanceof Cache ? {} : given
  /** When a page that was missing began to be made. */
  const begun = new Map()
  const builds = new Map()
  let cache

  /** The cache, or undefined if it cannot be used: Next.js then makes each page anew. */
  function opened () {
    if (cache === undefined) {
      try {
        cache = (given instanceof Cache ? given : open(file, options)).namespace(part)
      } catch (error) {
        console.warn(`kennel: pages are not cached: ${error.message}`)
        cache = null
      }
    }
    return cache ?? undefined
  }

  /** Runs work with the cache. What fails is a miss, or is not stored. */
  function attempt (work) {
    const cache = opened()
    try {
      return cache && work(cache)
    } catch (error) {
      if (!String(error.code).startsWith('ERR_KENNEL_')) throw error
      return undefined
    }
  }

  const newWord = () => `${Date.now()}:${randomBytes(8).toString('hex')}`
  const tagKey = (tag) => `tag:${tag}`

  /** The word of a tag, and whether it was made just now because there was none. */
  function tagOf (cache, tag) {
    const key = tagKey(tag)
    const word = cache.getString(key)
    if (word !== undefined) return { word, isNew: false }
    const isNew = cache.add(key, newWord())
    return { word: cache.getString(key), isNew }
  }

  const wordOf = (cache, tag) => tagOf(cache, tag).word

  const momentOf = (word) => (word === undefined ? Infinity : Number(word.split(':')[0]))

  function tagsOf (data, context) {
    const inHeader = data?.headers?.[TAGS_HEADER]
    const listed = typeof inHeader === 'string' ? inHeader.split(',') : []
    return [...new Set([...listed, ...(data?.tags ?? []), ...(context?.tags ?? [])])].filter(Boolean)
  }

  function remember (key) {
    if (begun.size >= MOST_BEGUN) begun.delete(begun.keys().next().value)
    begun.set(key, Date.now())
  }

  return class KennelCacheHandler {
    #build

    constructor (context = {}) {
      const folder = context.serverDistDir ?? ''
      if (!builds.has(folder)) builds.set(folder, buildOf(folder))
      this.#build = builds.get(folder)
    }

    // While Next.js builds, nothing is shared: pages of the build would be mistaken for those of a server.
    get #isBuilding () {
      return process.env.NEXT_PHASE === 'phase-production-build'
    }

    #keyOf (key) {
      return `${this.#build}:${key}`
    }

    async get (key, context = {}) {
      if (this.#isBuilding) return null
      const name = this.#keyOf(key)
      const found = attempt((cache) => this.#fresh(cache, name, context))
      if (found === undefined) remember(name)
      return found ?? null
    }

    #fresh (cache, name, context) {
      const bytes = cache.get(`page:${name}`)
      // Before the page is made: what is revalidated meanwhile must be seen.
      const asked = [...(context.tags ?? []), ...(context.softTags ?? [])].map((tag) => [tag, wordOf(cache, tag)])
      if (bytes === undefined) return undefined
      let entry
      try {
        entry = v8.deserialize(bytes)
      } catch {
        return undefined // Of another version of Node.js.
      }
      const { lastModified, value, words } = entry
      for (const [tag, word] of Object.entries(words)) if (wordOf(cache, tag) !== word) return undefined
      for (const [tag, word] of asked) if (!(tag in words) && momentOf(word) >= lastModified) return undefined
      return { lastModified, value }
    }

    async set (key, data, context = {}) {
      if (this.#isBuilding) return
      const name = this.#keyOf(key)
      const since = begun.get(name)
      begun.delete(name)
      attempt((cache) => {
        const tags = tagsOf(data, context).map((name) => ({ name, ...tagOf(cache, name) }))
        // A tag was revalidated while the page was made: it may have been made of what was valid before.
        if (tags.some(({ word, isNew }) => !isNew && momentOf(word) > since)) return
        const words = Object.fromEntries(tags.map(({ name, word }) => [name, word]))
        const expire = context.cacheControl?.expire
        const options = expire > 0 && Number.isFinite(expire) ? { ttl: expire * 1000 } : undefined
        cache.set(`page:${name}`, v8.serialize({ lastModified: Date.now(), value: data, words }), options)
      })
    }

    async revalidateTag (tags) {
      for (const tag of [tags].flat()) attempt((cache) => cache.set(tagKey(tag), newWord()))
    }

    resetRequestCache () {}
  }
}

module.exports = { cacheHandler }
