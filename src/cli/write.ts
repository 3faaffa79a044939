/** Writes that wait: a slow reader slows the command down instead of filling its memory. */

import type { Writable } from 'node:stream'

/** Resolves when the stream can take more. Rejects when it is closed meanwhile. */
export function write(stream: Writable, data: string | Uint8Array): Promise<void> {
  if (stream.write(data)) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const settle = (error?: Error): void => {
      stream.off('drain', settle)
      stream.off('error', settle)
      stream.off('close', closed)
      if (error === undefined) resolve()
      else reject(error)
    }
    const closed = (): void => settle(new Error('the output was closed'))
    stream.on('drain', settle)
    stream.on('error', settle)
    stream.on('close', closed)
  })
}

/** Lines gathered into larger writes. */
export async function writeLines(stream: Writable, lines: Iterable<string>): Promise<void> {
  let chunk = ''
  for (const line of lines) {
    chunk += `${line}\n`
    if (chunk.length < 64 * 1024) continue
    await write(stream, chunk)
    chunk = ''
  }
  if (chunk !== '') await write(stream, chunk)
}
