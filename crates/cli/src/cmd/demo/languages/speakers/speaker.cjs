// What Node.js says in `kennel demo --languages`.
'use strict'

const { createInterface } = require('node:readline')

// The package of the folder that the demo was started in, or of NODE_PATH.
const kennel = require(require.resolve('kennel', { paths: [process.cwd()] }))

async function create(cache, name) {
  console.log('ready')
  for await (const _ of createInterface({ input: process.stdin }));
  const made = await cache.getOrCreate('made once', { as: 'string' }, async () => {
    console.log('created')
    await new Promise((resolve) => setTimeout(resolve, 200))
    return `made by ${name}`
  })
  console.log(made)
}

function write(cache, name) {
  console.log('ready')
  for (let n = 0; ; n++) {
    const key = `key ${n % 100}`
    const value = cache.getString(key)
    if (value !== undefined && !value.startsWith(`${key} by `)) throw new Error(`${key} is ${value}`)
    cache.set(key, `${key} by ${name}, ${n}`)
  }
}

const [action, file, ...names] = process.argv.slice(2)
if (action === 'version') {
  console.log(`Node.js ${process.versions.node}`)
} else {
  const cache = kennel.open(file)
  const actions = {
    set: (name) => cache.set(`hello:${name}`, `${name} says hello`),
    get: (...names) => names.forEach((name) => console.log(cache.getString(`hello:${name}`) ?? '-')),
    create: (name) => create(cache, name),
    write: (name) => write(cache, name),
  }
  actions[action](...names)
}
