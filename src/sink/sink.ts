/** Where segments are shipped. The shipper retries; a sink only says of each segment whether one attempt was accepted. */

import type { StenoError } from '../errors.ts'
import type { MemberIndex } from '../record/member.ts'

export interface Segment {
  readonly index: MemberIndex
  /** The whole gzip member. */
  readonly bytes: Uint8Array
}

/** What one call may carry, and how many calls may be under way. */
export interface SinkLimits {
  readonly segments: number
  /** Of all segments of a call together; a single one is always allowed. */
  readonly bytes: number
  readonly calls: number
}

/** Durable outside the recorder, or why not: an error with a code `sink.…`. */
export type Receipt = 'accepted' | StenoError

export interface Sink {
  readonly limits: SinkLimits
  /** How hard segments are compressed, 1 to 9: what a byte costs there against the processor. */
  readonly level: number
  /**
   * One attempt. Never rejects: what is not known to be accepted has an error as its receipt, also when the answer was lost.
   * Putting a segment twice is harmless. `sink.refused` says that this very segment will never be taken.
   * @returns one receipt per segment, in their order
   */
  put(segments: readonly Segment[], signal: AbortSignal): Promise<readonly Receipt[]>
  close(): Promise<void>
}
