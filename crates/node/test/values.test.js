'use strict'

const { test } = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const kennel = require('../lib/index.js')
const { newPath, sleep, home } = require('./common.js')

const code = (name) => ({ name: 'KennelError', code: `ERR_KENNEL_${name}` })

test('values are bytes, whatever form they are given in', () => {
  const cache = kennel.open(newPath())
  for (const key of ['plain', 'größe', 'x'.repeat(600), Buffer.from([0, 255, 1])]) {
    for (const value of ['', 'text', 'naïve 日本 😀', 'y'.repeat(5_000), 'z'.repeat(200_000), Buffer.from([0, 1, 2, 255])]) {
      cache.set(key, value)
      const expected = Buffer.from(value)
      assert.deepEqual(cache.get(key), expected)
      assert.deepEqual(cache.getItem(key).value, expected)
      if (typeof value === 'string') assert.equal(cache.getString(key), value)
      const target = Buffer.alloc(expected.length)
      assert.equal(cache.getInto(key, target), expected.length)
      assert.deepEqual(target, expected)
      if (expected.length > 0) assert.equal(cache.getInto(key, target.subarray(1)), -2 - expected.length)
    }
    assert.equal(cache.delete(key), true)
    assert.equal(cache.delete(key), false)
    assert.equal(cache.get(key), undefined)
    assert.equal(cache.getString(key), undefined)
    assert.equal(cache.getItem(key), undefined)
    assert.equal(cache.getInto(key, Buffer.alloc(1)), -1)
  }
  // A string, its bytes and any view of these bytes are the same key.
  cache.set('é', 'same')
  assert.equal(cache.getString(Buffer.from('é')), 'same')
  assert.equal(cache.getString(new Uint8Array(Buffer.from('-é-')).subarray(1, 3)), 'same')
})

test('keys of every length around the limits of the fixed room', () => {
  const cache = kennel.open(newPath())
  for (let length = 500; length < 520; length++) {
    for (const letter of ['a', 'é', '日', '😀']) {
      const key = letter.repeat(length)
      cache.set(key, String(length) + letter)
      assert.equal(cache.getString(Buffer.from(key)), String(length) + letter)
    }
  }
})

test('small values are views of a pool, and none overwrites another', () => {
  const cache = kennel.open(newPath())
  const kept = []
  for (let i = 0; i < 3_000; i++) {
    const value = `${i}-`.repeat(1 + (i % 400))
    cache.set('key', value)
    kept.push([cache.get('key'), value])
  }
  for (const [found, value] of kept) assert.equal(found.toString(), value)
  assert.ok(kept[5][0].buffer.byteLength <= 64 * 1024)
})

test('json', () => {
  const cache = kennel.open(newPath())
  cache.setJson('a', { b: [1, 'ü', null] })
  assert.deepEqual(cache.getJson('a'), { b: [1, 'ü', null] })
  assert.equal(cache.getJson('none'), undefined)
  assert.throws(() => cache.setJson('a', undefined), { code: 'ERR_INVALID_ARG_VALUE' })
})

test('many keys at a time', () => {
  const cache = kennel.open(newPath())
  cache.setMany(new Map([['a', '1'], ['b', '2']]), { ttl: 60_000 })
  assert.deepEqual(cache.getMany(['a', 'none', 'b']).map((value) => value?.toString()), ['1', undefined, '2'])
  assert.ok(cache.getItem('a').expires > Date.now())
  assert.deepEqual(cache.getMany(['b', 'none'], { as: 'string' }), ['2', undefined])
  assert.deepEqual(cache.getMany(new Set(['a', 'none']), { as: 'json' }), [1, undefined])
  assert.equal(cache.deleteMany(['a', 'none', 'b']), 2)
  assert.deepEqual([cache.getMany([]), cache.deleteMany([])], [[], 0])
  cache.setMany([])
  assert.deepEqual(cache.getMany(['a', 'b']), [undefined, undefined])
  // The letters of a string would be the keys.
  for (const call of ['getMany', 'deleteMany']) {
    for (const wrong of ['ab', Buffer.from('ab')]) assert.throws(() => cache[call](wrong), { code: 'ERR_INVALID_ARG_VALUE' })
    assert.throws(() => cache[call](['a', 5]), { code: 'ERR_INVALID_ARG_TYPE' })
  }
  assert.throws(() => cache.setMany([['a', '1'], ['b', 5]]), { code: 'ERR_INVALID_ARG_TYPE' })
  assert.throws(() => cache.getMany(['a'], { as: 'text' }), { code: 'ERR_INVALID_ARG_VALUE' })
  assert.equal(cache.has('a'), false)
})

test('many values of all lengths and kinds are those of single calls', () => {
  const cache = kennel.open(newPath(), { capacity: '64MiB' })
  const entries = []
  for (let i = 0; i < 700; i++) {
    const length = [0, 1, 7, 8, 9, 200, 4_096, 4_097, 70_000][i % 9]
    const key = i % 3 === 0 ? Buffer.from(`é${i}`) : `é${i}`
    entries.push([key, i % 2 === 0 ? 'ü'.repeat(length / 2) : Buffer.alloc(length, i)])
  }
  // Strings as long as the room for all characters, slightly shorter and longer, and much longer.
  for (let length = 1_010; length < 1_030; length++) entries.push([`😀${'y'.repeat(length)}`, 'z'.repeat(length)])
  cache.setMany(entries)
  const keys = entries.map(([key]) => key)
  const found = cache.getMany(keys)
  const texts = cache.getMany(keys, { as: 'string' })
  entries.forEach(([key, value], i) => {
    assert.deepEqual(found[i], Buffer.from(value))
    assert.deepEqual(found[i], cache.get(key))
    assert.equal(texts[i], cache.getString(key))
  })
  // The Buffers must not share memory.
  found.forEach((value, i) => value.fill(i))
  found.forEach((value, i) => assert.ok(value.every((byte) => byte === i % 256)))
  assert.equal(cache.deleteMany([...keys, ...keys]), keys.length)
})

test('of many values, those are stored that can be', () => {
  const cache = kennel.open(newPath(), { capacity: '1MiB' })
  const entries = [['a', '1'], ['x'.repeat(70_000), '2'], ['large', Buffer.alloc(2 ** 21)], ['b', '3']]
  assert.throws(() => cache.setMany(entries), code('KEY_TOO_LONG'))
  assert.deepEqual(cache.getMany(['a', 'large', 'b'], { as: 'string' }), ['1', undefined, '3'])
})

test('tags', () => {
  const cache = kennel.open(newPath())
  const pages = cache.namespace('pages')
  const lost = (...keys) => keys.filter((key) => !pages.has(key)).join('')
  pages.set('a', 'x', { ttl: 60_000, tags: ['user:1', 'größe'] })
  pages.setMany([['b', 'x'], ['c', 'x']], { tags: new Set(['user:2']) })
  assert.equal(pages.add('d', 'x', { tags: ['user:1'], flags: 7 }), true)
  assert.equal(pages.replace('d', 'y', { tags: ['user:3'] }), true)
  pages.set('e', 'x', { tags: ['user:1'] })
  pages.compareAndSwap('e', pages.getItem('e').stamp, 'y', { tags: ['user:4'] })
  pages.incr('f', 1, { initial: 1, tags: ['user:5'] })
  pages.set('g', 'x', { tags: [] })
  assert.equal(lost('a', 'b', 'c', 'd', 'e', 'f', 'g'), '')
  // Tags belong to the file, so any handle can invalidate them.
  cache.invalidateTags(['user:1'])
  assert.equal(lost('a', 'b', 'c', 'd', 'e', 'f', 'g'), 'a')
  kennel.open(newPath()).invalidateTags(['user:2'])
  assert.equal(lost('b', 'c'), '')
  pages.invalidateTags(new Set(['user:2', 'user:3', 'user:4', 'user:5']))
  assert.equal(lost('b', 'c', 'd', 'e', 'f', 'g'), 'bcdef')
  pages.set('a', 'x', { tags: ['größe'] })
  pages.invalidateTags(['größe'], { soft: true })
  assert.equal(pages.getItem('a').isStale, true)
  const sixteen = Array.from({ length: 16 }, (_, i) => `${i}`)
  pages.set('a', 'x', { tags: sixteen })
  assert.throws(() => pages.set('a', 'y', { tags: [...sixteen, 'more'] }), code('TOO_MANY_TAGS'))
  assert.throws(() => pages.setMany([['a', 'y']], { tags: [...sixteen, 'more'] }), code('TOO_MANY_TAGS'))
  assert.equal(pages.getString('a'), 'x')
  for (const tags of ['user:1', null, 5, ['a', Buffer.from('b')]]) {
    assert.throws(() => pages.set('a', 'z', { tags }), { code: 'ERR_INVALID_ARG_VALUE' })
    assert.throws(() => pages.invalidateTags(tags), { code: 'ERR_INVALID_ARG_VALUE' })
  }
  assert.throws(() => pages.invalidateTags(), { code: 'ERR_INVALID_ARG_VALUE' })
})

test('times to live, flags, and what is known of a value', async () => {
  const cache = kennel.open(newPath())
  cache.set('short', 'x', 30)
  cache.set('soft', 'x', { ttl: 60_000, softTtl: 10, flags: 7 })
  cache.set('ever', 'x', { ttl: Infinity })
  assert.equal(cache.has('short'), true)
  await sleep(60)
  assert.equal(cache.has('short'), false)
  const item = cache.getItem('soft')
  assert.deepEqual([item.isStale, item.flags, item.value.toString()], [true, 7, 'x'])
  assert.ok(item.softExpires < Date.now() && item.expires > Date.now())
  assert.equal(cache.getItem('ever').expires, undefined)
  assert.equal(cache.touch('ever', 20), true)
  assert.equal(cache.touch('none'), false)
  await sleep(40)
  assert.equal(cache.has('ever'), false)
})

test('add, replace, compare and swap, compare and delete', () => {
  const cache = kennel.open(newPath())
  assert.equal(cache.replace('key', 'x'), false)
  assert.equal(cache.add('key', 'one'), true)
  assert.equal(cache.add('key', 'two'), false)
  assert.equal(cache.replace('key', 'two'), true)
  const first = cache.getItem('key').stamp
  const second = cache.compareAndSwap('key', first, 'three')
  assert.equal(typeof second, 'bigint')
  assert.equal(cache.compareAndSwap('key', first, 'four'), undefined)
  assert.equal(cache.compareAndDelete('key', first), false)
  assert.equal(cache.getString('key'), 'three')
  assert.equal(cache.compareAndDelete('key', second), true)
  assert.throws(() => cache.compareAndDelete('key', undefined), { code: 'ERR_INVALID_ARG_VALUE' })
  assert.throws(() => cache.compareAndSwap('key', -1n, 'x'), RangeError)
})

test('numbers', () => {
  const cache = kennel.open(newPath())
  assert.equal(cache.incr('n'), undefined)
  assert.equal(cache.incr('n', 1, { initial: 5 }), 5)
  assert.equal(cache.incr('n', 2), 7)
  assert.equal(cache.incr('n', -3), 4)
  assert.equal(cache.decr('n', -1), 5)
  assert.equal(cache.decr('n', 5n), 0n)
  assert.throws(() => cache.decr('n'), code('OVERFLOW'))
  assert.equal(cache.incr('n', 2n ** 64n - 1n), 2n ** 64n - 1n)
  assert.throws(() => cache.incr('n', 2n ** 64n), RangeError)
  assert.throws(() => cache.incr('n', 1.5), { code: 'ERR_INVALID_ARG_VALUE' })
  cache.set('n', 'no number')
  assert.throws(() => cache.incr('n'), code('NOT_A_NUMBER'))
  assert.equal(cache.decr('limit', 1, { initial: 9, ttl: 60_000 }), 9)
  assert.ok(cache.getItem('limit').expires > Date.now())
})

test('namespaces, keys and invalidation', () => {
  const cache = kennel.open(newPath())
  const pages = cache.namespace('pages', { ttl: 60_000 })
  pages.set('a', 'page')
  cache.set('a', 'top')
  assert.equal(pages.getString('a'), 'page')
  assert.ok(pages.getItem('a').expires > Date.now())
  for (let i = 0; i < 600; i++) pages.set(`many:${i}`, 'x')
  const found = new Set([...pages.keys('many:')].map(String))
  assert.equal(found.size, 600)
  for (const key of pages.keys()) assert.ok(key.length > 0)
  pages.invalidate({ soft: true })
  assert.equal(pages.getItem('a').isStale, true)
  pages.invalidate()
  assert.equal(pages.get('a'), undefined)
  assert.equal(cache.getString('a'), 'top')
  for (const name of ['', 'x'.repeat(129), 'a\0b', 5]) {
    assert.throws(() => cache.namespace(name), { code: 'ERR_INVALID_ARG_VALUE' })
  }
})

test('a search for keys that nobody finishes ends with its garbage', () => {
  const cache = kennel.open(newPath())
  for (let i = 0; i < 600; i++) cache.set(`${i}`, 'x')
  for (let i = 0; i < 100; i++) for (const key of cache.keys()) if (key.length > 0) break
})

test('options of open', () => {
  const path = newPath()
  assert.throws(() => kennel.open(path, { existing: true }), (error) => {
    assert.equal(error.code, 'ERR_KENNEL_NOT_FOUND')
    // The messages are worded for JavaScript: they contain no names of C or Rust.
    assert.match(error.message, /without the option existing/)
    assert.doesNotMatch(error.message, /KENNEL_|::|`/)
    assert.equal(error.number, -2)
    assert.equal(error.message, `${error.facts}; ${error.advice}`)
    return true
  })
  const cache = kennel.open(path, { capacity: '4MiB', stripes: 4, seats: 64, mode: 0o640, meanItem: 100 })
  assert.equal(fs.statSync(path).mode & 0o777, 0o640)
  assert.throws(() => kennel.open(path, { capacity: '8MiB', sameSizes: true }), code('MISMATCH'))
  kennel.open(path, { capacity: '8MiB' }).close()
  const reader = kennel.open(path, { readOnly: true, verifyReads: true })
  cache.set('a', 'b')
  assert.equal(reader.getString('a'), 'b')
  assert.throws(() => reader.set('a', 'c'), code('READ_ONLY'))
  assert.throws(() => kennel.open(home), code('BAD_FILE'))
  for (const wrong of [{ size: 5 }, { capacity: '5 apples' }, { capacity: -1 }, { lockWait: 'x' }, { stripes: 1.5 }, 7, null]) {
    assert.throws(() => kennel.open(path, wrong), { code: 'ERR_INVALID_ARG_VALUE' })
  }
  assert.throws(() => kennel.open(path, { locks: 'spin' }), code('BAD_OPTION'))
  assert.throws(() => kennel.open('a\0b'), { code: 'ERR_INVALID_ARG_VALUE' })
  assert.throws(() => cache.set('big', Buffer.alloc(3 << 20)), code('TOO_LARGE'))
  assert.throws(() => cache.set('x'.repeat(70_000), 'v'), code('KEY_TOO_LONG'))
  assert.equal(cache.stats().stripes, 4)
  assert.equal(kennel.destroy(path), true)
  assert.equal(kennel.destroy(path), false)
})

test('a path as a URL', () => {
  const path = newPath()
  kennel.open(new URL(`file://${path}`)).set('a', 'b')
  assert.equal(kennel.open(path).getString('a'), 'b')
})

test('wrong arguments are told, and do no harm', () => {
  const cache = kennel.open(newPath())
  for (const wrong of [undefined, null, 5, {}, Symbol('x'), new Uint16Array(2)]) {
    for (const call of ['get', 'getString', 'getItem', 'has', 'delete', 'touch', 'isClaimed']) {
      assert.throws(() => cache[call](wrong), TypeError, call)
    }
    assert.throws(() => cache.set('key', wrong), { code: 'ERR_INVALID_ARG_TYPE' })
    if (wrong !== null) assert.throws(() => cache.getInto('key', wrong), TypeError)
  }
  for (const ttl of [0, -1, NaN, 'x', -Infinity]) {
    assert.throws(() => cache.set('key', 'x', { ttl }), { code: 'ERR_INVALID_ARG_VALUE' })
  }
  assert.throws(() => cache.set('key', 'x', { tll: 5 }), /expected one of ttl/)
})

test('a closed cache', () => {
  const path = newPath()
  const cache = kennel.open(path)
  const part = cache.namespace('part')
  cache.close()
  cache.close()
  for (const call of [() => cache.get('a'), () => cache.set('a', 'b'), () => cache.stats(), () => cache.keys().next()]) {
    assert.throws(call, code('CLOSED'))
  }
  part.set('a', 'b')
  assert.equal(part.getString('a'), 'b')
})

test('a file that was removed is a miss and an error of a write, as it is in other languages', () => {
  const path = newPath()
  const cache = kennel.open(path)
  cache.set('a', 'b')
  kennel.destroy(path)
  assert.equal(cache.get('a'), undefined)
  assert.throws(() => cache.set('a', 'b'), { name: 'KennelError' })
})

test('the module of ECMAScript', async () => {
  const { open, KennelError, default: whole } = await import('../lib/index.mjs')
  assert.equal(open, kennel.open)
  assert.equal(KennelError, kennel.KennelError)
  assert.equal(whole.version, require('../package.json').version)
})
