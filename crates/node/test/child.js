'use strict'
// The tests run this program as other processes: node child.js TASK PATH ARGUMENTS.

const kennel = require('../lib/index.js')

const [task, path, ...args] = process.argv.slice(2)
const cache = kennel.open(path)
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

const tasks = {
  /** Calls getOrCreate() for one key many times, and reports how often the value was created here. */
  async herd (callers) {
    let created = 0
    process.send('ready')
    await new Promise((resolve) => process.once('message', resolve))
    const values = await Promise.all(Array.from({ length: Number(callers) }, () =>
      cache.getOrCreate('herd', { as: 'string' }, async () => {
        created++
        await sleep(200)
        return `made by ${process.pid}`
      })))
    process.send({ created, values: [...new Set(values)] })
    process.disconnect()
  },
  /** Holds a creation until it is killed. */
  create (key) {
    cache.getOrCreate(key, async () => {
      process.send('creating')
      await sleep(60_000)
      return 'late'
    })
  },
  /** Begins a creation and takes a lock, and exits while both are pending. */
  leave (how) {
    cache.getOrCreate('left', () => new Promise(() => {}))
    cache.tryLock('lock')
    cache.getOrCreate('other', { as: 'string' }, () => 'value').then(() => {
      process.send('left', () => {
        if (how === 'exit') process.exit(3)
        process.disconnect()
      })
    })
  },
  /** Adds to a number many times. */
  count (times) {
    for (let i = 0; i < Number(times); i++) cache.incr('count', 1, { initial: 1 })
    process.disconnect()
  },
  /** Waits for a value that another process creates, and reports what it gets. */
  async wait (key) {
    process.send('waiting')
    process.send(await cache.getOrCreate(key, { as: 'string' }, () => 'by the waiter'))
    process.disconnect()
  }
}

tasks[task](...args)
