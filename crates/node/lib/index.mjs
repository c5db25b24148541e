import kennel from './index.js'

export const { open, destroy, Cache, Created, KennelError, version } = kennel
export default kennel
