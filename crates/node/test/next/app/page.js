import { unstable_cache } from 'next/cache'
export const revalidate = 3600
const data = unstable_cache(async () => `made ${process.pid} ${Date.now()} ${Math.random()}`, ['data'], { tags: ['posts'] })
export default async function Page () { return <p>{'[' + await data() + ']'}</p> }
