/** What the recorder's main thread and the shipper's worker tell each other. The log on disk is everything else. */

import type { SinkConfig } from '../../sink/create-sink.ts'

/** Shared counters: how far the live log is durable, and whether the worker sleeps. */
export const SHARED_BYTES = 16
/** `file << 40 | offset` of the durable end. */
export const DURABLE = 0
/** 1 while the worker waits to be woken. */
export const SLEEPING = 1

export const FILE_SHIFT = 40n
export const OFFSET_MASK = (1n << FILE_SHIFT) - 1n

export interface ShipperData {
  readonly directory: string
  /** The writer that is alive; its files grow. */
  readonly writer: string
  readonly sink: SinkConfig
  readonly lingerMs: number
  readonly shared: SharedArrayBuffer
}

export type ToWorker = { readonly type: 'wake' } | { readonly type: 'close'; readonly deadlineMs: number }

export type FromWorker =
  | { readonly type: 'shipped'; readonly records: 1; readonly bytes: number; readonly ackSeconds: number; readonly spoolBytes: number; readonly freedBytes: number }
  | { readonly type: 'failed'; readonly message: string; readonly retryMs: number }
  | { readonly type: 'freed'; readonly freedBytes: number }
  | { readonly type: 'info'; readonly message: string; readonly fields: Readonly<Record<string, string | number>> }
  | { readonly type: 'closed'; readonly complete: boolean }
