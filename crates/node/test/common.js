'use strict'
// Functions that the tests share.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { after } = require('node:test')
const { fork } = require('node:child_process')

const home = fs.mkdtempSync(path.join(fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir(), 'kennel-node-'))
after(() => fs.rmSync(home, { recursive: true, force: true }))

let files = 0
/** Returns a path for a new cache file. */
const newPath = () => path.join(home, `${++files}.cache`)

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

/** Starts a process that runs one of the tasks of child.js. */
function child (task, ...args) {
  const process = fork(path.join(__dirname, 'child.js'), [task, ...args], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  const told = []
  const waiting = []
  process.on('message', (message) => (waiting.length > 0 ? waiting.shift()(message) : told.push(message)))
  process.ended = new Promise((resolve) => process.on('exit', (code, signal) => resolve({ code, signal })))
  /** Its next message. */
  process.next = () => (told.length > 0 ? Promise.resolve(told.shift()) : new Promise((resolve) => waiting.push(resolve)))
  return process
}

/** Measures how long some work takes. */
async function timed (work) {
  const began = performance.now()
  const value = await work()
  return { value, ms: performance.now() - began }
}

module.exports = { home, newPath, sleep, child, timed }
