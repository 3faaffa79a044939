/** Where segments are shipped. The shipper retries; a sink only says whether one attempt was accepted. */

import type { MemberIndex } from '../record/member.ts'

export interface Segment {
  readonly index: MemberIndex
  /** The whole gzip member. */
  readonly bytes: Uint8Array
}

export interface Sink {
  /**
   * Resolves once the segment is durable outside the recorder. Putting the same segment twice is harmless.
   * Rejects with `sink.io`; the caller decides about another attempt.
   */
  put(segment: Segment, signal: AbortSignal): Promise<void>
  close(): Promise<void>
}
