import { EventEmitter } from 'node:events'
import { Cache, OpenOptions } from './index'

interface KeyvKennelOptions extends OpenOptions {
  /** The path of the cache file: by default the cache file of this user. */
  path?: string
  /** The namespace in the file: `keyv` by default. */
  part?: string
}

declare class KeyvKennel extends EventEmitter {
  constructor (given?: string | Cache | KeyvKennelOptions)
  opts: Record<string, unknown>
  namespace: string | undefined
  get<T> (key: string): Promise<T | undefined>
  getMany<T> (keys: string[]): Promise<Array<T | undefined>>
  set (key: string, value: any, ttl?: number): Promise<boolean>
  setMany (entries: Array<{ key: string, value: any, ttl?: number }>): Promise<any>
  delete (key: string): Promise<boolean>
  deleteMany (keys: string[]): Promise<boolean>
  has (key: string): Promise<boolean>
  hasMany (keys: string[]): Promise<boolean[]>
  clear (): Promise<void>
  iterator<T> (namespace?: string): AsyncGenerator<[string, T], void>
  disconnect (): Promise<void>
}

declare namespace KeyvKennel { export { KeyvKennel, KeyvKennel as default, KeyvKennelOptions } }
export = KeyvKennel
