'use strict'
// Where the compiled addon may be: it was built here, or it came with the package.

const path = require('node:path')

const root = path.join(__dirname, '..')
const built = path.join(root, 'build', 'kennel.node')

function isMusl () {
  return process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime
}

/** The name of the folder with the addon for this system. */
function target () {
  return `${process.platform}-${process.arch}${isMusl() ? '-musl' : ''}`
}

/** The places, in the order in which to try them. */
function places () {
  return [built, path.join(root, 'prebuilds', target(), 'kennel.node')]
}

module.exports = { root, built, target: target(), places }
