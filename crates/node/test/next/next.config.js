module.exports = { cacheHandler: require.resolve('./cache-handler.js'), cacheMaxMemorySize: 0 }
