'use strict'

const { test } = require('node:test')
const assert = require('node:assert/strict')
const path = require('node:path')
const { Worker } = require('node:worker_threads')
const { spawnSync } = require('node:child_process')
const kennel = require('../lib/index.js')
const { newPath, sleep } = require('./common.js')

const index = JSON.stringify(path.join(__dirname, '..', 'lib', 'index.js'))

/** Starts a worker that runs a program text, with `cache`, `post` and `sleep`. */
function worker (file, text) {
  const code = `
    const { parentPort } = require('node:worker_threads')
    const cache = require(${index}).open(${JSON.stringify(file)})
    const post = (message) => parentPort.postMessage(message)
    const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    (async () => { ${text} })()`
  const made = new Worker(code, { eval: true })
  made.next = () => new Promise((resolve, reject) => { made.once('message', resolve); made.once('error', reject) })
  made.ended = new Promise((resolve) => made.once('exit', resolve))
  return made
}

test('workers share a file: a herd over all of them creates once', async () => {
  const file = newPath()
  const text = `
    let created = 0
    const values = await Promise.all(Array.from({ length: 20 }, () =>
      cache.getOrCreate('herd', { as: 'string' }, async () => { created++; await sleep(100); return 'value' })))
    post({ created, values })`
  const workers = Array.from({ length: 4 }, () => worker(file, text))
  const told = await Promise.all(workers.map((one) => one.next()))
  assert.equal(told.reduce((sum, { created }) => sum + created, 0), 1)
  assert.ok(told.every(({ values }) => values.every((value) => value === 'value')))
  await Promise.all(workers.map((one) => one.ended))
})

test('a worker that is ended in the middle leaves nothing claimed and nobody waiting', async () => {
  const file = newPath()
  const cache = kennel.open(file)
  const held = await cache.lock('held')
  for (let round = 0; round < 10; round++) {
    const one = worker(file, `
      cache.getOrCreate('created', () => new Promise(() => {}))
      cache.tryLock('locked')
      cache.lock('held').catch(() => {})
      for (let i = 0; i < 50; i++) cache.getOrCreate('held', () => 'x').catch(() => {})
      await cache.getOrCreate('other', () => 'x')
      post('busy')
      await sleep(60000)`)
    assert.equal(await one.next(), 'busy')
    await sleep(round)
    await one.terminate()
    assert.equal(cache.isClaimed('created'), false)
    cache.tryLock('locked').release()
  }
  assert.equal(held.release(), true)
})

test('a worker that loads the addon alone may end: the process goes on', () => {
  const code = `
    const { Worker } = require('node:worker_threads')
    const text = 'const k = require(${index}); const c = k.open(process.argv[2]);' +
      'c.set("a", "b"); c.getOrCreate("x", () => new Promise(() => {})); k.open(process.argv[2]).tryLock("y")'
    const run = () => new Promise((resolve, reject) => {
      const one = new Worker(text, { eval: true, argv: [process.argv[1]] })
      one.on('error', reject)
      one.on('exit', resolve)
    });
    (async () => {
      for (let i = 0; i < 5; i++) await run()
      console.log(require('node:child_process').execSync('echo forked').toString().trim())
    })()`
  const { stdout, stderr, status } = spawnSync(process.execPath, ['-e', code, newPath()], { encoding: 'utf8', timeout: 60_000 })
  assert.deepEqual([stdout, status], ['forked\n', 0], stderr)
})

test('the workers of cluster share a file, as a server and those that it forks do', () => {
  const code = `
    const cluster = require('node:cluster')
    const cache = require(${index}).open(process.env.FILE)
    if (cluster.isPrimary) {
      cache.set('of the primary', 'seen')
      for (let i = 0; i < 3; i++) cluster.fork()
      let left = 3
      cluster.on('exit', (worker, status) => {
        if (status !== 0) process.exit(status)
        if (--left === 0) console.log(cache.getString('created'), cache.getString('visits'))
      })
    } else {
      if (cache.getString('of the primary') !== 'seen') process.exit(9)
      const create = async () => { await new Promise((r) => setTimeout(r, 100)); cache.incr('created', 1, { initial: 1 }); return 'x' }
      cache.getOrCreate('key', create).then(() => { cache.incr('visits', 1, { initial: 1 }); process.disconnect() })
    }`
  const { mkdtempSync, writeFileSync } = require('node:fs')
  const folder = mkdtempSync(path.join(path.dirname(newPath()), 'cluster-'))
  writeFileSync(path.join(folder, 'main.js'), code)
  const run = spawnSync(process.execPath, [path.join(folder, 'main.js')], {
    encoding: 'utf8', timeout: 60_000, env: { ...process.env, FILE: newPath() }
  })
  assert.deepEqual([run.stdout, run.status], ['1 3\n', 0], run.stderr)
})

test('a cache that nobody has any more is closed by the garbage collection', () => {
  const code = `
    const kennel = require(${index})
    const fs = require('node:fs')
    const count = () => fs.readFileSync('/proc/self/maps', 'utf8').split('\\n').filter((line) => line.includes('.cache')).length;
    (async () => {
      for (let i = 0; i < 30; i++) kennel.open(process.argv[1] + i + '.cache').set('a', 'b')
      const before = count()
      for (let i = 0; i < 5; i++) { gc(); await new Promise((resolve) => setTimeout(resolve, 20)) }
      console.log(before >= 30 && count() < before / 2)
    })()`
  if (process.platform !== 'linux') return
  const run = spawnSync(process.execPath, ['--expose-gc', '-e', code, newPath()], { encoding: 'utf8', timeout: 60_000 })
  assert.deepEqual([run.stdout, run.status], ['true\n', 0], run.stderr)
})
