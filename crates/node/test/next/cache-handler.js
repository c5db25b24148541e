const { cacheHandler } = require('kennel/next')
module.exports = cacheHandler({ path: process.env.KENNEL_PAGES })
