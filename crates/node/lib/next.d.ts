import { Cache, OpenOptions } from './index'

export interface NextOptions extends OpenOptions {
  /** The cache file: the default one of this user if it is missing. */
  path?: string
  /** The namespace in the file: `next` by default. */
  part?: string
}

/** The class for `cacheHandler` in the configuration of Next.js. */
export declare function cacheHandler (given?: Cache | NextOptions): new (context?: any) => {
  get (key: string, context?: any): Promise<any>
  set (key: string, data: any, context?: any): Promise<void>
  revalidateTag (tags: string | string[], ...more: any[]): Promise<void>
  resetRequestCache (): void
}
