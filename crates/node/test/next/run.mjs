// Builds the site, starts two servers of it, and checks that they share a page and that revalidateTag() reaches both.

import assert from 'node:assert/strict'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { once } from 'node:events'
import { spawn, spawnSync } from 'node:child_process'
import { createRequire } from 'node:module'

const next = createRequire(import.meta.url).resolve('next/dist/bin/next')
const folder = fs.mkdtempSync(path.join(fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir(), 'kennel-next-'))
const env = { ...process.env, NEXT_TELEMETRY_DISABLED: '1', KENNEL_PAGES: path.join(folder, 'pages.cache') }
const servers = []

async function freePort () {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

async function start () {
  const port = await freePort()
  servers.push(spawn(process.execPath, [next, 'start', '-H', '127.0.0.1', '-p', port], { env, stdio: ['ignore', 'ignore', 'inherit'] }))
  const url = `http://127.0.0.1:${port}/`
  for (let i = 0; i < 240; i++) {
    try {
      if ((await fetch(url)).ok) return url
    } catch {}
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  throw new Error(`no server at ${url}`)
}

const page = async (url) => /\[made [^\]]+\]/.exec(await (await fetch(url)).text())[0]

try {
  const { status } = spawnSync(process.execPath, [next, 'build'], { env, stdio: 'inherit' })
  assert.equal(status, 0, 'next build')
  const [one, two] = [await start(), await start()]
  const first = await page(one)
  assert.equal(await page(two), first)
  let last = first
  for (const reached of [one, two]) {
    await fetch(new URL('api/revalidate', reached))
    const pages = [await page(one), await page(two), await page(one), await page(two)]
    assert.equal(new Set(pages).size, 1, pages.join(' '))
    assert.notEqual(pages[0], last)
    last = pages[0]
  }
  console.log('two servers of Next.js share a page, and revalidateTag reaches both')
} finally {
  servers.forEach((server) => server.kill())
  fs.rmSync(folder, { recursive: true, force: true })
}
