'use strict'
// A cacheHandler for Next.js: all servers of a host share pages and fetched data, and revalidateTag() reaches all of
// them.
//
// Each tag has a key of its own. Its value, the word of the tag, consists of the time of the last revalidation and
// random digits. An entry keeps the words of its tags, and is a miss as soon as one of them differs. A tag that was
// evicted gets a new word, so its entries are misses, too: no eviction brings an old page back.

const fs = require('node:fs')
const path = require('node:path')
const v8 = require('node:v8')
const { randomBytes } = require('node:crypto')
const { Cache, open } = require('./index.js')

const TAGS_HEADER = 'x-next-cache-tags'
/** The largest number of creations whose beginnings this process remembers. */
const MOST_BEGUN = 10_000

/** The id of the build. Pages of different builds are kept apart. */
function buildOf (serverDistDir) {
  try {
    return fs.readFileSync(path.join(serverDistDir, '..', 'BUILD_ID'), 'utf8').trim()
  } catch {
    return ''
  }
}

/** Returns the class whose instances are Next.js's handlers. */
function cacheHandler (given = {}) {
  const { path: file, part = 'next', ...options } = given instanceof Cache ? {} : given
  /** When the creation of a missing page began, by its key. */
  const begun = new Map()
  const builds = new Map()
  let cache

  /** The cache, or undefined if it cannot be opened: Next.js then renders each page anew. */
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

  /** Runs work with the cache. If the cache fails, a read is a miss, and a write stores nothing. */
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

  /** The word of a tag, and whether it was created just now because there was none. */
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

    // While Next.js builds the site, nothing is stored: pages of the build would be mistaken for those of a server.
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
      // Make sure that each tag has a word before the page is rendered, so that a revalidation meanwhile is noticed.
      const asked = [...(context.tags ?? []), ...(context.softTags ?? [])].map((tag) => [tag, wordOf(cache, tag)])
      if (bytes === undefined) return undefined
      let entry
      try {
        entry = v8.deserialize(bytes)
      } catch {
        return undefined // The entry was written by another version of Node.js.
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
        // A tag was revalidated while the page was rendered, so the page may be made from old data.
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
