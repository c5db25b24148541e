'use strict'

const { test } = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs/promises')
const kennel = require('../lib/index.js')
const { newPath, sleep, child, timed } = require('./common.js')

const code = (name) => ({ code: `ERR_KENNEL_${name}` })

test('one caller creates, and all get the value in their form', async () => {
  const cache = kennel.open(newPath())
  let made = 0
  const create = async ({ stale }) => {
    assert.equal(stale, undefined)
    made++
    await sleep(30)
    return '{"a":1}'
  }
  const callers = [
    cache.getOrCreate('key', create), cache.getOrCreate(Buffer.from('key'), { as: 'string' }, create),
    cache.getOrCreate('key', { as: 'json' }, create), cache.getOrCreate('key', { as: 'buffer', ttl: 50 }, create)
  ]
  assert.deepEqual(await Promise.all(callers), [Buffer.from('{"a":1}'), '{"a":1}', { a: 1 }, Buffer.from('{"a":1}')])
  assert.equal(await cache.getOrCreate('key', { as: 'string' }, assert.fail), '{"a":1}')
  assert.equal(made, 1)
  assert.equal(cache.isClaimed('key'), false)
})

test('the value of the creator itself has the form that is asked for', async () => {
  const cache = kennel.open(newPath())
  assert.deepEqual(await cache.getOrCreate('a', () => 'é'), Buffer.from('é'))
  assert.equal(await cache.getOrCreate('b', { as: 'string' }, () => Buffer.from('é')), 'é')
  assert.deepEqual(await cache.getOrCreate('c', () => new Uint8Array([1, 2])), Buffer.from([1, 2]))
  assert.deepEqual(await cache.getOrCreate('d', { as: 'json' }, () => [1, null]), [1, null])
  assert.deepEqual(await cache.getOrCreate('d', { as: 'json' }, assert.fail), [1, null])
})

test('a creator that throws, rejects or returns nonsense leaves the key to the next', async () => {
  const cache = kennel.open(newPath())
  const wrong = [() => { throw new Error('thrown') }, async () => { throw new Error('rejected') }]
  for (const create of wrong) await assert.rejects(cache.getOrCreate('key', create), /thrown|rejected/)
  await assert.rejects(cache.getOrCreate('key', () => 5), { code: 'ERR_INVALID_ARG_VALUE' })
  assert.equal(cache.isClaimed('key'), false)
  // The next waiting caller tries with its own creator.
  const first = cache.getOrCreate('key', async () => { await sleep(20); throw new Error('of the first') })
  const others = ['second', 'third'].map((name) => cache.getOrCreate('key', { as: 'string' }, async () => name))
  await assert.rejects(first, /of the first/)
  assert.deepEqual(await Promise.all(others), ['second', 'second'])
})

test('a creator that never resolves: others wait as long as they wish, and may take it over', async () => {
  const cache = kennel.open(newPath())
  cache.getOrCreate('key', { claimMaxAge: 200 }, () => new Promise(() => {}))
  const { ms } = await timed(() => assert.rejects(cache.getOrCreate('key', { wait: 50, uncached: false }, () => 'x'), code('TIMED_OUT')))
  assert.ok(ms >= 45 && ms < 2_000, `${ms}`)
  assert.equal(await cache.getOrCreate('key', { wait: 50, as: 'string' }, () => 'of its own'), 'of its own')
  assert.equal(cache.has('key'), false)
  await sleep(200)
  const how = { claimMaxAge: 200, as: 'string' }
  assert.equal(await cache.getOrCreate('key', how, () => 'taken over'), 'taken over')
  assert.equal(cache.getString('key'), 'taken over')
})

test('what a caller creates without protection is stored, as by callers of other threads', async () => {
  const cache = kennel.open(newPath())
  let finish
  const first = cache.getOrCreate('key', { as: 'string' }, () => new Promise((resolve) => { finish = resolve }))
  const how = { wait: 20, unprotected: true, uncached: false, as: 'string' }
  assert.equal(await cache.getOrCreate('key', how, () => 'second'), 'second')
  assert.equal(cache.getString('key'), 'second')
  finish('first')
  assert.equal(await first, 'first')
  assert.equal(cache.getString('key'), 'second')
})

test('no value: remembered for a time, if the caller wishes', async () => {
  const cache = kennel.open(newPath())
  let asked = 0
  const nothing = () => { asked++ }
  assert.equal(await cache.getOrCreate('key', nothing), undefined)
  assert.equal(await cache.getOrCreate('key', { absentTtl: 60_000 }, nothing), undefined)
  assert.equal(await cache.getOrCreate('key', nothing), undefined)
  assert.equal(asked, 2)
  assert.equal(await cache.getOrCreate('key', { needsValue: true, as: 'string' }, () => 'value'), 'value')
})

test('values with options of their own', async () => {
  const cache = kennel.open(newPath())
  await cache.getOrCreate('key', { ttl: 60_000 }, () => new kennel.Created('x', { ttl: 30, flags: 4 }))
  assert.equal(cache.getItem('key').flags, 4)
  await sleep(50)
  assert.equal(cache.has('key'), false)
  let asked = 0
  const create = async () => { asked++; await sleep(20); return new kennel.Created(`${asked}`, { store: false }) }
  const values = await Promise.all([1, 2].map(() => cache.getOrCreate('not stored', { as: 'string' }, create)))
  assert.deepEqual([asked, values.length, cache.has('not stored')], [2, 2, false])
})

test('tags of a creation, of its options and of its value', async () => {
  const cache = kennel.open(newPath())
  const how = { as: 'string', tags: ['all'] }
  const create = () => new kennel.Created('x', { tags: ['user:1'] })
  for (const tag of ['all', 'user:1']) {
    assert.equal(await cache.getOrCreate('key', how, create), 'x')
    cache.invalidateTags(['user:2'])
    assert.equal(cache.has('key'), true)
    cache.invalidateTags([tag])
    assert.equal(cache.has('key'), false)
  }
  // A remembered absence bears the tags of the options.
  const absence = { absentTtl: 60_000, tags: ['all'] }
  assert.equal(await cache.getOrCreate('none', absence, () => undefined), undefined)
  assert.equal(await cache.getOrCreate('none', absence, assert.fail), undefined)
  cache.invalidateTags(['all'])
  assert.equal(await cache.getOrCreate('none', { as: 'string' }, () => 'y'), 'y')
  assert.throws(() => new kennel.Created('x', { tags: 'all' }), { code: 'ERR_INVALID_ARG_VALUE' })
})

test('who joins after an invalidation does not get what was begun before it', async () => {
  const cache = kennel.open(newPath())
  for (const invalidate of [() => cache.invalidateTags(['user:1']), () => cache.invalidate(), () => cache.delete('key')]) {
    const first = cache.getOrCreate('key', { as: 'string' }, async () => {
      await sleep(20)
      return new kennel.Created('old', { tags: ['user:1'] })
    })
    invalidate()
    const later = [1, 2, 3].map((i) => cache.getOrCreate('key', { as: 'string' }, async () => { await sleep(5); return `new ${i}` }))
    assert.equal(await first, 'old')
    assert.deepEqual(await Promise.all(later), ['new 1', 'new 1', 'new 1'])
    cache.delete('key')
  }
})

test('a stale value: one caller refreshes, or is served while it refreshes', async () => {
  const cache = kennel.open(newPath())
  const stale = () => cache.set('key', 'old', { softTtl: 1 })
  stale()
  await sleep(10)
  const how = { as: 'string', softTtl: 60_000 }
  const refresh = cache.getOrCreate('key', how, async ({ stale }) => { await sleep(50); return `${stale} and new` })
  assert.equal(await cache.getOrCreate('key', how, assert.fail), 'old')
  assert.equal(await refresh, 'old and new')
  stale()
  await sleep(10)
  assert.equal(await cache.getOrCreate('key', { ...how, background: true }, async () => { await sleep(20); return 'newer' }), 'old')
  await sleep(80)
  assert.equal(cache.getString('key'), 'newer')
  stale()
  await sleep(10)
  assert.equal(await cache.getOrCreate('key', { ...how, background: true }, async () => { throw new Error('lost') }), 'old')
  await sleep(10)
  assert.equal(cache.isClaimed('key'), false)
})

test('a creator that asks for its own key is told at once', async () => {
  const cache = kennel.open(newPath())
  const inner = async () => { await sleep(1); return await cache.getOrCreate('a', () => 'x') }
  await assert.rejects(cache.getOrCreate('a', () => cache.getOrCreate('b', inner)), code('OWN_CLAIM'))
  assert.equal(await cache.getOrCreate('a', { as: 'string' }, async () => String(await cache.getOrCreate('b', () => 'ok'))), 'ok')
})

test('if the cache fails, values are created all the same, unless the caller wishes otherwise', async () => {
  const path = newPath()
  const cache = kennel.open(path, { capacity: '4MiB' })
  const big = 'x'.repeat(3 << 20)
  assert.equal(await cache.getOrCreate('big', { as: 'string' }, () => big), big)
  await assert.rejects(cache.getOrCreate('big', { uncached: false }, () => big), code('TOO_LARGE'))
  assert.equal(cache.isClaimed('big'), false)
  kennel.destroy(path)
  assert.equal(await cache.getOrCreate('key', { as: 'string' }, () => 'value'), 'value')
  await assert.rejects(cache.getOrCreate('key', { uncached: false }, () => 'value'), { name: 'KennelError' })
  cache.close()
  await assert.rejects(cache.getOrCreate('key', () => 'value'), code('CLOSED'))
})

test('wrong arguments', async () => {
  const cache = kennel.open(newPath())
  const wrong = [['key'], ['key', {}, 5], [5, () => 'x'], ['key', { wait: -1 }, () => 'x'], ['key', { as: 'xml' }, () => 'x']]
  for (const args of wrong) await assert.rejects(cache.getOrCreate(...args), { code: 'ERR_INVALID_ARG_VALUE' })
  const long = 'x'.repeat(70_000)
  assert.equal(await cache.getOrCreate(long, { as: 'string' }, () => 'not stored'), 'not stored')
  await assert.rejects(cache.getOrCreate(long, { uncached: false }, () => 'x'), code('KEY_TOO_LONG'))
})

test('a cache that is closed while a value is created still gets it', async () => {
  const path = newPath()
  const cache = kennel.open(path)
  const other = kennel.open(path)
  const created = cache.getOrCreate('key', { as: 'string' }, async () => { await sleep(20); return 'value' })
  const waiting = other.getOrCreate('key', { as: 'string' }, assert.fail)
  await sleep(1)
  cache.close()
  other.close()
  assert.equal(await created, 'value')
  assert.equal(await waiting, 'value')
})

test('locks of keys', async () => {
  const cache = kennel.open(newPath())
  const held = await cache.lock('key')
  assert.equal(cache.tryLock('key'), undefined)
  await assert.rejects(cache.lock('key', { wait: 30 }), code('TIMED_OUT'))
  const next = cache.lock('key')
  await sleep(20)
  assert.equal(held.release(), true)
  assert.equal(held.release(), false)
  assert.equal((await next).release(), true)
  const order = []
  await Promise.all([1, 2, 3].map((i) => cache.withLock('key', async () => {
    order.push(`in ${i}`)
    await sleep(5)
    order.push(`out ${i}`)
  })))
  for (let i = 0; i < 6; i += 2) assert.equal(order[i].slice(3), order[i + 1].slice(4))
  await assert.rejects(cache.withLock('key', async () => { throw new Error('within') }), /within/)
  assert.equal(cache.isClaimed('key'), false)
  const old = cache.tryLock('key', { maxAge: 20 })
  // The cache stores ages to a tenth of a second.
  await sleep(150)
  cache.tryLock('key').release()
  assert.equal(old.release(), false)
})

test('processes: a herd on one key creates once', async () => {
  const path = newPath()
  const herd = Array.from({ length: 3 }, () => child('herd', path, '50'))
  for (const one of herd) assert.equal(await one.next(), 'ready')
  for (const one of herd) one.send('go')
  const told = await Promise.all(herd.map((one) => one.next()))
  assert.equal(told.reduce((sum, { created }) => sum + created, 0), 1)
  assert.equal(new Set(told.flatMap(({ values }) => values)).size, 1)
  for (const one of herd) assert.deepEqual(await one.ended, { code: 0, signal: null })
})

test('processes: while one waits, its event loop and its file system go on', async () => {
  const path = newPath()
  const cache = kennel.open(path)
  const owner = child('create', path, 'key')
  assert.equal(await owner.next(), 'creating')
  const callers = Array.from({ length: 40 }, (_, i) => cache.getOrCreate('key', { as: 'string' }, async () => `by ${i}`))
  let ticks = 0
  const timer = setInterval(() => ticks++, 5)
  const { ms } = await timed(async () => { for (let i = 0; i < 20; i++) await fs.readFile(__filename) })
  assert.ok(ms < 2_000, `20 reads took ${ms} ms`)
  await sleep(200)
  assert.ok(ticks > 10, `${ticks} ticks`)
  owner.kill('SIGKILL')
  const took = await timed(() => Promise.all(callers))
  clearInterval(timer)
  assert.equal(new Set(took.value).size, 1)
  assert.ok(took.ms < 5_000, `the claim of the killed process was taken over after ${took.ms} ms`)
})

test('processes: what one leaves pending when it ends is free at once', async () => {
  for (const how of ['exit', 'return']) {
    const path = newPath()
    const cache = kennel.open(path)
    const left = child('leave', path, how)
    assert.equal(await left.next(), 'left')
    assert.deepEqual(await left.ended, { code: how === 'exit' ? 3 : 0, signal: null })
    assert.equal(cache.isClaimed('left'), false, how)
    const lock = cache.tryLock('lock')
    assert.ok(lock, how)
    assert.equal(await cache.getOrCreate('left', { as: 'string' }, () => 'mine'), 'mine')
  }
})

test('processes: an increment of each counts', async () => {
  const path = newPath()
  const children = Array.from({ length: 3 }, () => child('count', path, '2000'))
  for (const one of children) assert.deepEqual(await one.ended, { code: 0, signal: null })
  assert.equal(kennel.open(path).getString('count'), '6000')
})

test('processes: the wait of one keeps it alive', async () => {
  const path = newPath()
  const cache = kennel.open(path)
  let resolve
  const created = cache.getOrCreate('key', () => new Promise((_resolve) => { resolve = _resolve }))
  const waiter = child('wait', path, 'key')
  assert.equal(await waiter.next(), 'waiting')
  await sleep(300)
  resolve('by the owner')
  await created
  assert.equal(await waiter.next(), 'by the owner')
  assert.deepEqual(await waiter.ended, { code: 0, signal: null })
})
