import { Cache, OpenOptions } from './index'

export interface NextOptions extends OpenOptions {
  /** The path of the cache file: by default the cache file of this user. */
  path?: string
  /** The namespace in the file: `next` by default. */
  part?: string
}

/** Returns the class for the setting `cacheHandler` of Next.js. */
export declare function cacheHandler (given?: Cache | NextOptions): new (context?: any) => {
  get (key: string, context?: any): Promise<any>
  set (key: string, data: any, context?: any): Promise<void>
  revalidateTag (tags: string | string[], ...more: any[]): Promise<void>
  resetRequestCache (): void
}
