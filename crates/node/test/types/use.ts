// Checked by the compiler of TypeScript: each line that must not compile says so.
import kennelKeyv = require('kennel/keyv')
import { open, destroy, Cache, Created, KennelError, Item, Lock } from 'kennel'
import { cacheHandler } from 'kennel/next'

const cache: Cache = open('/tmp/x.cache', { capacity: '64MiB', locks: 'lease' })
const value: Buffer | undefined = cache.get('key')
const item: Item | undefined = cache.getItem(new Uint8Array(3))
cache.set('key', 'value', { ttl: 5_000, softTtl: 1_000 })
cache.set('key', Buffer.from('value'), 5_000)
cache.set('key', 'value', { tags: ['user:7'] })
cache.setMany(new Map([['key', 'value']]), { tags: new Set(['user:7']) })
cache.incr('n', 1, { initial: 1, tags: ['user:7'] })
cache.invalidateTags(['user:7'], { soft: true })
const removed: number = cache.deleteMany(new Set(['key']))
const many: Array<Buffer | undefined> = cache.getMany(['key', new Uint8Array(3)])
const texts: Array<string | undefined> = cache.getMany(['key'], { as: 'string' })
const objects: Array<{ a: number } | undefined> = cache.getMany<{ a: number }>(['key'], { as: 'json' })
const sum: number = cache.incr('n', 1, { initial: 1 })
const big: bigint | undefined = cache.incr('n', 1n)
const text: Promise<string | undefined> = cache.getOrCreate('key', { as: 'string' }, async ({ stale }) => stale ?? 'new')
const json: Promise<{ a: number } | undefined> = cache.getOrCreate('key', { as: 'json' }, () => new Created({ a: 1 }, { ttl: 5, tags: ['user:7'] }))
const bytes: Promise<Buffer | undefined> = cache.getOrCreate('key', () => undefined)
const lock: Promise<Lock> = cache.lock('key', { wait: 5 })
const worked: Promise<number> = cache.withLock('key', () => 5)
const code: string = new KennelError().code
const store = new kennelKeyv({ path: '/tmp/x.cache' })
const handler = new (cacheHandler({ path: '/tmp/x.cache' }))()
destroy()
// @ts-expect-error: no value
cache.set('key', 5)
// @ts-expect-error: its letters would be the keys
cache.getMany('key')
// @ts-expect-error: its letters would be the tags
cache.set('key', 'value', { tags: 'user:7' })
// @ts-expect-error: no option
open('/tmp/x.cache', { size: 5 })
// @ts-expect-error: it may be missing
const sure: number = cache.incr('n')
export { value, item, removed, many, texts, objects, sum, big, text, json, bytes, lock, worked, code, store, handler, sure }
