'use strict'
// Tests of what Keyv's own test suite does not cover. That suite is in the folder keyv/ beside this file.

const { test } = require('node:test')
const assert = require('node:assert/strict')
const kennel = require('../lib/index.js')
const KeyvKennel = require('../lib/keyv.js')
const { newPath, sleep } = require('./common.js')

test('the store of keyv keeps to its part of the file', async () => {
  const file = newPath()
  const cache = kennel.open(file)
  cache.set('mine', 'kept')
  const store = new KeyvKennel({ path: file, capacity: '8MiB' })
  const same = new KeyvKennel(cache)
  await store.set('a', '1')
  assert.equal(await same.get('a'), '1')
  assert.deepEqual(await same.getMany(['a', 'none']), ['1', undefined])
  assert.deepEqual(await same.hasMany(['a', 'none']), [true, false])
  const times = [['b', 30], ['c', 0], ['d', undefined], ['e', 60_000], ['f', 30]]
  const entries = times.map(([key, ttl], i) => ({ key, value: `${i + 2}`, ttl }))
  assert.deepEqual(await store.setMany(entries), [true, true, true, true, true])
  assert.equal(await store.get('b'), '2')
  await sleep(50)
  assert.deepEqual(await store.getMany(['b', 'c', 'd', 'e', 'f']), [undefined, '3', '4', '5', undefined])
  assert.equal(await store.deleteMany(['c', 'none']), true)
  assert.equal(await store.deleteMany(['c', 'none']), false)
  await store.clear()
  assert.equal(await same.get('a'), undefined)
  assert.equal(cache.getString('mine'), 'kept')
  await store.disconnect()
  await assert.rejects(store.get('a'), { code: 'ERR_KENNEL_CLOSED' })
  await same.disconnect()
  assert.equal(cache.getString('mine'), 'kept')
})

test('a namespace of keyv is cleared and listed alone', async () => {
  const store = new KeyvKennel(newPath())
  await store.setMany([{ key: 'one:a', value: '1' }, { key: 'two:a', value: '2' }])
  store.namespace = 'one'
  const found = []
  for await (const entry of store.iterator()) found.push(entry)
  assert.deepEqual(found, [['one:a', '1']])
  await store.clear()
  assert.deepEqual(await store.getMany(['one:a', 'two:a']), [undefined, '2'])
})
