/** What the recorder's main thread and the shipper's worker tell each other. The log on disk is everything else. */

import type { SinkConfig } from '../../sink/create-sink.ts'
import type { LogPlace } from './writer-stream.ts'

/** Shared numbers: how far the live log is durable, and when the worker wants to be woken. */
export const SHARED_BYTES = 16
/** `file << 40 | offset` of the durable end. */
export const DURABLE = 0
/** The durable end, likewise, from which on the worker wants to be woken; 0 while it is awake. */
export const WAKE_AT = 1

const FILE_SHIFT = 40n
const OFFSET_MASK = (1n << FILE_SHIFT) - 1n

export function packPlace(place: LogPlace): bigint {
  return (BigInt(place.file) << FILE_SHIFT) | BigInt(place.offset)
}

export function unpackPlace(packed: bigint): LogPlace {
  return { file: Number(packed >> FILE_SHIFT), offset: Number(packed & OFFSET_MASK) }
}

export interface ShipperData {
  readonly directory: string
  /** The writer that is alive; its files grow. */
  readonly writer: string
  readonly sink: SinkConfig
  /** Longest wait of a line for others to share its segment. */
  readonly lingerMs: number
  /** ms since epoch, when the oldest frame became durable that no thread has read. */
  readonly sinceMs: number
  readonly shared: SharedArrayBuffer
}

export type ToWorker = { readonly type: 'wake' } | { readonly type: 'close'; readonly deadlineMs: number }

export type FromWorker =
  /** The sink has a segment. */
  | { readonly type: 'shipped'; readonly bytes: number; readonly ackSeconds: number }
  | { readonly type: 'failed'; readonly code: string; readonly message: string; readonly records: number; readonly retryMs: number }
  /** It has accepted all frames of a writer before this place. */
  | { readonly type: 'taken'; readonly writer: string; readonly place: LogPlace }
  /** The same, and the position is written down or soon will be: files that are wholly accepted are removed; `seq` of the last of them, when one was sent. */
  | { readonly type: 'accepted'; readonly writer: string; readonly place: LogPlace; readonly seq?: number }
  /** It has all of an earlier writer, whose files are removed. */
  | { readonly type: 'gone'; readonly writer: string }
  /** Frames between two that are there cannot be read back; seqs, both included. */
  | { readonly type: 'hole'; readonly writer: string; readonly fromSeq: number; readonly toSeq: number }
  /** The sink will never take a segment: it lies in a file instead. */
  | { readonly type: 'quarantined'; readonly writer: string; readonly fromSeq: number; readonly toSeq: number; readonly bytes: number; readonly path: string; readonly reason: string }
  | { readonly type: 'warning'; readonly message: string; readonly fields: Readonly<Record<string, string | number>> }
  | { readonly type: 'info'; readonly message: string; readonly fields: Readonly<Record<string, string | number>> }
  | { readonly type: 'closed'; readonly complete: boolean }
