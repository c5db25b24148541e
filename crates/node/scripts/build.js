'use strict'
// Builds the addon where npm installs the package, unless the package contains one for this system.
//
// It needs a C compiler, and the library libkennel: one that is installed (pkg-config finds it), or Rust, which builds it
// from the sources in the package. KENNEL_LIBRARY=pkg-config or cargo chooses one of the two.

const fs = require('node:fs')
const os = require('node:os')
const path = require('node:path')
const { spawnSync } = require('node:child_process')
const { root, built, places } = require('../lib/places.js')

const { version } = require('../package.json')
/** The system libraries that a program needs if it is linked with Rust code. */
const SYSTEM_LIBRARIES = process.platform === 'darwin'
  ? ['-liconv', '-lSystem', '-lc', '-lm']
  : ['-lgcc_s', '-lutil', '-lrt', '-lpthread', '-lm', '-ldl', '-lc']

function fail (text) {
  console.error(`kennel: ${text}`)
  process.exit(1)
}

/** Runs a program. Returns its output, or undefined if it fails or is missing. */
function output (program, args) {
  const { status, stdout } = spawnSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  return status === 0 ? stdout.trim() : undefined
}

function run (program, args, options) {
  const { status, error } = spawnSync(program, args, { stdio: 'inherit', ...options })
  if (error) fail(`${program} could not be started: ${error.message}`)
  if (status !== 0) fail(`${program} ${args.join(' ')} ended with status ${status}`)
}

/** Whether the package contains an addon that can be used here. */
function isPrebuilt () {
  const [, prebuilt] = places()
  if (process.env.npm_config_build_from_source || !fs.existsSync(prebuilt)) return false
  return output(process.execPath, ['-e', `require(${JSON.stringify(prebuilt)})`]) !== undefined
}

/** The folder with the headers of Node-API: that of the running Node.js, or that of a package. */
function headers () {
  const own = path.join(path.dirname(process.execPath), '..', 'include', 'node')
  if (fs.existsSync(path.join(own, 'node_api.h'))) return own
  try {
    return require('node-api-headers').include_dir
  } catch {
    return fail('the headers of Node-API are missing: install the package node-api-headers')
  }
}

/** The library that pkg-config finds. It must have this version, because the addon and the library belong together. */
function installed () {
  const ask = (...args) => output('pkg-config', [...args, 'kennel'])
  if (output('pkg-config', ['--exists', `kennel = ${version}`]) === undefined) return undefined
  const folder = ask('--variable=libdir')
  const archive = path.join(folder, 'libkennel.a')
  const include = ask('--cflags').split(/\s+/).filter(Boolean)
  // Prefer the static library, if there is one: the addon then works even if the installed library is moved.
  const libraries = fs.existsSync(archive)
    ? [archive, ...SYSTEM_LIBRARIES]
    : [...ask('--libs').split(/\s+/), `-Wl,-rpath,${folder}`]
  return { include, libraries }
}

/** The folder of the C library's sources: in the package, or in a checkout. */
function sources () {
  const candidates = [path.join(root, 'vendor', 'crates', 'capi'), path.join(root, '..', 'capi')]
  return candidates.find((folder) => fs.existsSync(path.join(folder, 'Cargo.toml')))
}

/** The library, which cargo builds from its sources. */
function compiled (target) {
  const folder = sources()
  if (folder === undefined || output('cargo', ['--version']) === undefined) return undefined
  console.log('kennel: building the library from its sources')
  const env = { ...process.env, CARGO_TARGET_DIR: target }
  run('cargo', ['build', '--locked', '--release', '--lib'], { cwd: folder, env })
  return {
    include: ['-I', path.join(folder, 'include')],
    libraries: [path.join(target, 'release', 'libkennel.a'), ...SYSTEM_LIBRARIES]
  }
}

function library (target) {
  const ways = { 'pkg-config': installed, cargo: () => compiled(target) }
  const chosen = process.env.KENNEL_LIBRARY
  if (chosen && !ways[chosen]) fail(`KENNEL_LIBRARY: expected pkg-config or cargo, found ${chosen}`)
  for (const way of chosen ? [chosen] : Object.keys(ways)) {
    const found = ways[way]()
    if (found) return found
  }
  return fail(`libkennel ${version} was not found${chosen ? ` by ${chosen}` : ''}: install it, so that "pkg-config ` +
    '--modversion kennel" prints that version, or install Rust from https://rustup.rs')
}

function link ({ include, libraries }) {
  const compiler = process.env.CC || 'cc'
  if (output(compiler, ['--version']) === undefined) {
    fail(`a C compiler is needed, and ${compiler} was not found; on Debian: apt-get install gcc libc6-dev`)
  }
  const files = fs.readdirSync(path.join(root, 'native')).filter((name) => name.endsWith('.c')).sort()
  const mac = process.platform === 'darwin'
  fs.mkdirSync(path.dirname(built), { recursive: true })
  run(compiler, [
    '-std=gnu11', '-O2', '-g', '-fPIC', '-fvisibility=hidden', '-Wall', '-Wextra', '-pthread', '-D_GNU_SOURCE',
    ...(process.env.KENNEL_WERROR ? ['-Werror'] : []),
    '-I', headers(), ...include, ...files.map((name) => path.join(root, 'native', name)), '-o', `${built}.new`,
    // The addon stays loaded when the worker that loaded it ends, because its thread and its fork handlers must outlive
    // the worker.
    ...(mac ? ['-bundle', '-undefined', 'dynamic_lookup'] : ['-shared', '-Wl,-z,nodelete', '-Wl,--exclude-libs,ALL']),
    ...libraries
  ])
  // Rename instead of overwriting, so that a process that has the old addon mapped keeps it.
  fs.renameSync(`${built}.new`, built)
}

function main () {
  if (!['linux', 'darwin'].includes(process.platform)) fail(`${process.platform} is not supported yet`)
  if (isPrebuilt()) return
  const target = fs.mkdtempSync(path.join(os.tmpdir(), 'kennel-build-'))
  try {
    link(library(target))
  } finally {
    fs.rmSync(target, { recursive: true, force: true })
  }
}

main()
