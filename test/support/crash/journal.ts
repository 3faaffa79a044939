/** What an observer outside the recorder has seen, as lines on disk: what counts is only what is synced. */

import { hash } from 'node:crypto'
import { open } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'

/** What a client has received whole, what the server has received whole, and what a client has begun. */
export type Entry =
  | { readonly by: 'client'; readonly did: 'sent'; readonly life: number; readonly call: string }
  | { readonly by: 'client'; readonly did: 'answered'; readonly call: string; readonly messages: readonly string[] }
  /** `index` counts the events of a stream. */
  | { readonly by: 'client'; readonly did: 'event'; readonly call: string; readonly index: number; readonly id: string; readonly message: string }
  | { readonly by: 'server'; readonly did: 'received'; readonly call: string; readonly messages: readonly string[] }

/** An entry, and when it was added: ms since epoch. */
export type Seen = Entry & { readonly atMs: number }

export interface Journal {
  add(entry: Entry): void
  /** Resolves when all that was added is on disk. */
  synced(): Promise<void>
  /** All that is on disk. */
  read(): Promise<readonly Seen[]>
  close(): Promise<void>
}

/** How a message stands in a journal: its hash, so that comparing it means comparing every byte. */
export function digest(message: string): string {
  return `${Buffer.byteLength(message)} ${hash('sha256', message)}`
}

export async function openJournal(path: string): Promise<Journal> {
  const file: FileHandle = await open(path, 'a+', 0o600)
  let waiting: string[] = []
  let writing: Promise<void> | undefined

  const write = async (): Promise<void> => {
    while (waiting.length > 0) {
      const lines = waiting
      waiting = []
      await file.appendFile(lines.join(''))
      await file.datasync()
    }
    writing = undefined
  }
  return {
    add: entry => {
      waiting.push(`${JSON.stringify({ ...entry, atMs: Date.now() } satisfies Seen)}\n`)
      writing ??= write()
    },
    synced: async () => {
      await writing
    },
    read: async () => {
      const bytes = Buffer.alloc((await file.stat()).size)
      await file.read(bytes, 0, bytes.length, 0)
      return bytes.toString().split('\n').filter(line => line !== '').map(line => JSON.parse(line) as Seen)
    },
    close: () => file.close(),
  }
}
