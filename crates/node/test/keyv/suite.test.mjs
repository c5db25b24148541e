// Runs Keyv's own tests of a store with vitest.

import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import * as test from 'vitest'
import suite, { keyvIteratorTests } from '@keyv/test-suite'
import { Keyv } from 'keyv'
import KeyvKennel from 'kennel/keyv'

const folder = fs.mkdtempSync(path.join(fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir(), 'kennel-keyv-'))
test.afterAll(() => fs.rmSync(folder, { recursive: true, force: true }))

const store = () => new KeyvKennel(path.join(folder, 'keyv.cache'))
suite(test, Keyv, store)
keyvIteratorTests(test, Keyv, store)
