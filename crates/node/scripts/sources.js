'use strict'
// Copies the sources of the library into the package before "npm pack", so that the library can be built without a
// checkout. With --remove, removes them again.

const fs = require('node:fs')
const path = require('node:path')

const root = path.join(__dirname, '..')
const checkout = path.join(root, '..', '..')
const vendor = path.join(root, 'vendor')
const licences = ['LICENSE-MIT', 'LICENSE-APACHE']
const COPIED = ['src', 'README.md', ...licences,
  ...['Cargo.toml', 'Cargo.lock', 'build.rs', 'include', 'src'].map((name) => `crates/capi/${name}`)]

for (const made of [vendor, ...licences.map((name) => path.join(root, name))]) {
  fs.rmSync(made, { recursive: true, force: true })
}
if (!process.argv.includes('--remove')) {
  for (const name of COPIED) fs.cpSync(path.join(checkout, name), path.join(vendor, name), { recursive: true })
  for (const name of licences) fs.copyFileSync(path.join(checkout, name), path.join(root, name))
  // The copy of the workspace contains only the library, without its tests and benchmarks.
  const manifest = fs.readFileSync(path.join(checkout, 'Cargo.toml'), 'utf8')
  const sections = manifest.split(/^(?=\[)/m).filter((section) => !/^\[\[/.test(section))
  const alone = sections.join('').replace(/^(members|exclude|default-members) = \[.*\]$/gm, (line, name) =>
    name === 'members' ? 'members = ["."]' : '')
  fs.writeFileSync(path.join(vendor, 'Cargo.toml'), alone)
}
