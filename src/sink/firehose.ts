/**
 * Segments as records of an Amazon Data Firehose stream (PutRecordBatch), one segment a record. The stream must add no delimiter and compress nothing:
 * then its objects in S3 are members joined, as docs/recording-format.md wants them. Makes one attempt; the shipper retries.
 */

import { StenoError } from '../errors.ts'
import { receiptsOf } from './firehose-answer.ts'
import type { RecordAnswer } from './firehose-answer.ts'
import { sinkProblem } from './firehose-problem.ts'
import type { AwsFailure } from './firehose-problem.ts'
import type { Receipt, Segment, Sink } from './sink.ts'

/** Names as in a policy's `sink.firehose`. */
export interface FirehoseConfig {
  readonly stream: string
  readonly region: string
  /** Another place than AWS, or a VPC endpoint. */
  readonly endpoint?: string | undefined
}

/** Rejects with a FirehoseFailure. */
export interface FirehoseClient {
  putRecordBatch(stream: string, records: readonly Uint8Array[], signal: AbortSignal): Promise<readonly RecordAnswer[]>
  close(): void
}

export class FirehoseFailure extends Error {
  readonly failure: AwsFailure

  constructor(failure: AwsFailure, options?: { readonly cause?: unknown }) {
    super(failure.message, options)
    this.name = 'FirehoseFailure'
    this.failure = failure
  }
}

/** A record, before base64. */
export const MAX_RECORD_BYTES = 1_024_000
/** Records of a call. */
const MAX_RECORDS = 500
/** A call may be 4 MiB; through strings and base64 that costs five times as much memory. One full segment, or many small ones, is enough. */
const MAX_CALL_BYTES = MAX_RECORD_BYTES
/** So that who waits for the sink need not wait for the call before. */
const MAX_CALLS = 8

/** Bytes are billed: an eighth less than at 3. At 8 another fiftieth less, for half as much processor again. */
const LEVEL = 7

export interface FirehoseSinkOptions {
  readonly stream: string
  readonly createClient: () => FirehoseClient
}

export function createFirehoseSink({ stream, createClient }: FirehoseSinkOptions): Sink {
  let client: FirehoseClient | undefined

  const attempt = async (segments: readonly Segment[], signal: AbortSignal): Promise<readonly Receipt[]> => {
    client ??= createClient()
    const used = client
    try {
      return receiptsOf(stream, segments.length, await used.putRecordBatch(stream, segments.map(segment => segment.bytes), signal))
    } catch (error) {
      if (!(error instanceof FirehoseFailure)) throw error
      const problem = sinkProblem(stream, error.failure)
      // A client keeps its credentials until they end by themselves; a revoked role or a new token shows only to a new client.
      if (problem.code === 'sink.credentials' && client === used) {
        client = undefined
        used.close()
      }
      // One bad record fails its whole call: found by halving.
      if (problem.code !== 'sink.refused' || segments.length === 1 || signal.aborted) return segments.map(() => problem)
      const half = segments.length >> 1
      return [...(await attempt(segments.slice(0, half), signal)), ...(await attempt(segments.slice(half), signal))]
    }
  }

  return {
    level: LEVEL,
    limits: { segments: MAX_RECORDS, bytes: MAX_CALL_BYTES, calls: MAX_CALLS },
    put: async (segments, signal) => {
      const fitting = segments.filter(fits)
      const receipts = (fitting.length === 0 ? [] : await attempt(fitting, signal)).values()
      return segments.map(segment => (fits(segment) ? (receipts.next().value ?? unanswered(stream)) : tooLarge(stream, segment)))
    },
    close: async () => client?.close(),
  }
}

function fits(segment: Segment): boolean {
  return segment.bytes.length <= MAX_RECORD_BYTES
}

/** Sent, it would fail all others of its call. */
function tooLarge(stream: string, { bytes }: Segment): StenoError {
  return new StenoError('sink.refused', `Firehose stream '${stream}': the segment has ${bytes.length} bytes, a record may have ${MAX_RECORD_BYTES}`)
}

function unanswered(stream: string): StenoError {
  return new StenoError('sink.io', `Firehose stream '${stream}': no answer for a record`)
}
