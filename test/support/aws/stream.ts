/** A Firehose stream with the real limits, that buffers by size and interval and writes to a bucket as Firehose does: members joined, nothing between. */

import { randomUUID } from 'node:crypto'
import type { Bucket } from './bucket.ts'

export interface StreamOptions {
  readonly name: string
  readonly prefix: string
  readonly bufferBytes: number
  readonly bufferMs: number
}

export interface Stream {
  readonly name: string
  accept(record: Buffer, nowMs: number): string
  /** Writes what is due. */
  tick(nowMs: number): void
  /** Writes all that is buffered. */
  flush(): void
}

export function createStream(options: StreamOptions, bucket: Bucket): Stream {
  let buffered: Buffer[] = []
  let bytes = 0
  let written = 0
  /** Arrival of the oldest record. */
  let sinceMs = 0
  const flush = (): void => {
    if (buffered.length === 0) return
    const arrived = new Date(sinceMs).toISOString()
    const folder = arrived.slice(0, 13).replaceAll(/[-T]/g, '/')
    // Firehose's is random; here the order of keys is the order of writing.
    const id = `${String(written++).padStart(8, '0')}${randomUUID().slice(8)}`
    const time = arrived.slice(0, 19).replaceAll(/[:T]/g, '-')
    bucket.put(`${options.prefix}${folder}/${options.name}-1-${time}-${id}.jsonl.gz`, Buffer.concat(buffered), sinceMs + options.bufferMs)
    buffered = []
    bytes = 0
  }
  return {
    name: options.name,
    accept: (record, nowMs) => {
      if (buffered.length === 0) sinceMs = nowMs
      buffered.push(record)
      bytes += record.length
      if (bytes >= options.bufferBytes) flush()
      return randomUUID()
    },
    tick: nowMs => {
      if (nowMs - sinceMs >= options.bufferMs) flush()
    },
    flush,
  }
}
