'use strict'

const { test } = require('node:test')
const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const kennel = require('../lib/index.js')
const { cacheHandler } = require('../lib/next.js')
const { newPath, sleep } = require('./common.js')

/** Two servers of the same build, whose handlers share only the file. */
function servers (file, build = 'one') {
  const dist = path.join(path.dirname(file), `dist-${path.basename(file)}-${build}`)
  fs.mkdirSync(path.join(dist, 'server'), { recursive: true })
  fs.writeFileSync(path.join(dist, 'BUILD_ID'), build)
  const server = () => new (cacheHandler({ path: file }))({ serverDistDir: path.join(dist, 'server') })
  return [server(), server()]
}

const page = (html, ...tags) => ({
  kind: 'APP_PAGE', html, rscData: Buffer.from('rsc'), segmentData: new Map([['/a', Buffer.from('segment')]]),
  headers: { 'x-next-cache-tags': tags.join(',') }, status: 200
})

test('a page of one server is read by the other as it was', async () => {
  const [one, two] = servers(newPath())
  assert.equal(await one.get('/', { kind: 'APP_PAGE' }), null)
  await one.set('/', page('<h1>', '_N_T_/', 'posts'), {})
  const found = await two.get('/', { kind: 'APP_PAGE' })
  assert.deepEqual(found.value, page('<h1>', '_N_T_/', 'posts'))
  assert.ok(Math.abs(found.lastModified - Date.now()) < 10_000)
  await two.set('/none', null, {})
  assert.equal((await one.get('/none')).value, null)
})

test('revalidateTag reaches all servers, and nothing else is lost', async () => {
  const [one, two] = servers(newPath())
  await one.set('/a', page('a', 'posts', 'a'), {})
  await one.set('/b', page('b', 'b'), {})
  await two.revalidateTag(['posts', 'unknown'])
  for (const server of [one, two]) {
    assert.equal(await server.get('/a'), null)
    assert.equal((await server.get('/b')).value.html, 'b')
  }
  await sleep(5)
  await two.set('/a', page('new', 'posts', 'a'), {})
  assert.equal((await one.get('/a')).value.html, 'new')
  await one.revalidateTag('a')
  assert.equal(await two.get('/a'), null)
})

test('a tag that is evicted makes its pages misses', async () => {
  const file = newPath()
  const [one] = servers(file)
  await one.set('/a', page('a', 'posts'), {})
  assert.equal(kennel.open(file).namespace('next').delete('tag:posts'), true)
  assert.equal(await one.get('/a'), null)
})

test('what is revalidated while a page is made is not stored', async () => {
  const [one, two] = servers(newPath())
  await one.set('/a', page('old', 'posts'), {})
  await two.revalidateTag('posts')
  await sleep(5)
  assert.equal(await one.get('/a'), null) // begins to render the page
  await sleep(5)
  await two.revalidateTag('posts')
  await one.set('/a', page('made of old posts', 'posts'), {})
  assert.equal(await one.get('/a'), null)
  await one.set('/a', page('new', 'posts'), {})
  assert.equal((await two.get('/a')).value.html, 'new')
})

test('fetched data: tags of the request and of its path', async () => {
  const [one, two] = servers(newPath())
  const data = { kind: 'FETCH', data: { headers: {}, body: 'e30=', status: 200, url: 'x' }, revalidate: 60 }
  const context = { kind: 'FETCH', tags: ['posts'], softTags: ['_N_T_/layout', '_N_T_/blog'] }
  assert.equal(await one.get('hash', context), null)
  await sleep(5)
  await one.set('hash', data, { fetchCache: true, tags: ['posts'] })
  assert.deepEqual((await two.get('hash', context)).value, data)
  await sleep(5)
  await two.revalidateTag('_N_T_/blog')
  assert.equal(await one.get('hash', context), null)
  await sleep(5)
  await one.set('hash', data, { fetchCache: true, tags: ['posts'] })
  assert.deepEqual((await two.get('hash', context)).value, data)
  await one.revalidateTag('posts')
  assert.equal(await two.get('hash', context), null)
})

test('another build has pages of its own', async () => {
  const file = newPath()
  const [one] = servers(file)
  const [other] = servers(file, 'two')
  await one.set('/', page('of one'), {})
  assert.equal(await other.get('/'), null)
  assert.equal((await one.get('/')).value.html, 'of one')
})

test('pages expire as Next.js says, and one that cannot be read is a miss', async () => {
  const file = newPath()
  const [one] = servers(file)
  await one.set('/', page('x'), { cacheControl: { revalidate: 1, expire: 0.03 } })
  assert.equal((await one.get('/')).value.html, 'x')
  await sleep(60)
  assert.equal(await one.get('/'), null)
  kennel.open(file).namespace('next').set('page:one:/', 'no page')
  assert.equal(await one.get('/'), null)
})

test('without a cache each page is made anew', async (t) => {
  const warned = t.mock.method(console, 'warn', () => {})
  const handler = new (cacheHandler({ path: '/proc/none/next.cache' }))()
  await handler.set('/', page('x'), {})
  assert.equal(await handler.get('/'), null)
  await handler.revalidateTag('x')
  assert.equal(warned.mock.callCount(), 1)
  assert.match(warned.mock.calls[0].arguments[0], /pages are not cached/)
})
