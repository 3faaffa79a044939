/** An archive whose objects are held in memory: thousands of small ones cost no disk. */

import type { Archive } from '../../src/archive/archive.ts'

export interface MemoryArchive extends Archive {
  /** Puts an object, in place of one that has the name. */
  put(name: string, bytes: Uint8Array): void
  append(name: string, bytes: Uint8Array): void
}

export function memoryArchive(): MemoryArchive {
  const objects = new Map<string, { readonly bytes: Buffer; readonly modifiedMs: number }>()
  let changes = 0
  const put = (name: string, bytes: Uint8Array): void => void objects.set(name, { bytes: Buffer.from(bytes), modifiedMs: ++changes })
  return {
    name: 'memory',
    put,
    append: (name, bytes) => put(name, Buffer.concat([objects.get(name)?.bytes ?? Buffer.alloc(0), bytes])),
    async *list() {
      for (const [name, { bytes, modifiedMs }] of [...objects].sort(([a], [b]) => (a < b ? -1 : 1))) yield { name, size: bytes.length, modifiedMs }
    },
    open: async name => {
      const object = objects.get(name)
      if (object === undefined) return undefined
      const { bytes } = object
      return { size: bytes.length, read: async (position, length) => bytes.subarray(position, position + length), close: async () => {} }
    },
  }
}
