/**
 * Segments on their way to the sink: gathered into calls, several calls under way, sent again until each is accepted. Bounded.
 * Acceptance is told per stream in order, whatever the order in which calls come back, so that a position never runs ahead of what is accepted.
 */

import type { Clock } from '../../platform/clock.ts'
import type { StenoError } from '../../errors.ts'
import { errorCode } from '../../platform/error-code.ts'
import type { Receipt, Segment, Sink } from '../../sink/sink.ts'
import type { FromWorker } from './protocol.ts'
import type { Quarantine } from './quarantine.ts'
import { MAX_SEGMENT_BYTES } from './segment-builder.ts'
import type { Packed } from './segment-builder.ts'
import type { WriterStream } from './writer-stream.ts'

export interface OutboxDeps {
  readonly sink: Sink
  readonly clock: Clock
  readonly random: () => number
  readonly post: (message: FromWorker) => void
  readonly quarantine: Quarantine
  /** Aborted when no time is left. */
  readonly signal: AbortSignal
  /** Something was accepted, or there is room again. */
  readonly onChange: () => void
}

/** What is sent first. */
export type Lane = 'live' | 'earlier'

export interface Outbox {
  /** Whether a segment of this lane may be added. */
  hasRoom(lane: Lane): boolean
  /** Whether what is added now goes out at once. */
  readonly sendsAtOnce: boolean
  add(lane: Lane, stream: WriterStream, packed: Packed): void
  /** Everything of a stream that was added is accepted, and its position written. */
  isDone(stream: WriterStream): boolean
  /** Little time is left: waits no longer for the next attempt. */
  hurry(): void
  /** Ends what is under way. */
  close(): void
}

const RETRY_MS = 200
/** Longest wait between two attempts. */
export const MAX_RETRY_MS = 30_000
/** Segments of a lane that wait or are under way. */
const MAX_LANE_SEGMENTS = 500
const MAX_LANE_BYTES = 2 * MAX_SEGMENT_BYTES
/** Attempts until a segment that the sink says it will never take is put aside. */
const MAX_REFUSALS = 3

interface Item {
  readonly lane: Lane
  readonly stream: WriterStream
  readonly packed: Packed
  state: 'waiting' | 'sent' | 'accepted'
  refusals: number
}

export function createOutbox(deps: OutboxDeps): Outbox {
  const { sink, clock, random, post, quarantine, signal } = deps
  const { limits } = sink
  /** Per stream, in the order in which they were packed. */
  const items = new Map<WriterStream, Item[]>()
  const lanes: Record<Lane, { segments: number; bytes: number; waiting: Item[] }> = { live: { segments: 0, bytes: 0, waiting: [] }, earlier: { segments: 0, bytes: 0, waiting: [] } }
  /** Streams whose acceptance is being written down. */
  const settling = new Set<WriterStream>()
  let calls = 0
  /** Of them, those that carry earlier segments. */
  let earlierCalls = 0
  let sentBytes = 0
  /** Longest of the next wait; 0 while the sink accepts. */
  let most = 0
  let retry: NodeJS.Timeout | undefined
  let closed = false
  let hurried = false

  /** What goes into the next call; live segments first. */
  const nextCall = (): Item[] => {
    const batch: Item[] = []
    let bytes = 0
    // Nobody waits for earlier segments: while a call carries some, the others gather for the next.
    for (const lane of earlierCalls > 0 ? [lanes.live] : [lanes.live, lanes.earlier]) {
      for (let next = lane.waiting[0]; next !== undefined && batch.length < limits.segments; next = lane.waiting[0]) {
        const size = next.packed.segment.bytes.length
        if (bytes > 0 && bytes + size > limits.bytes) return batch
        lane.waiting.shift()
        batch.push(next)
        bytes += size
      }
    }
    return batch
  }
  const mayCall = (): boolean => {
    if (closed || retry !== undefined || signal.aborted) return false
    // One call at a time asks whether a sink that failed is back. Large ones go out one at a time: in memory each is there several times.
    return calls < (most > 0 ? 1 : limits.calls) && (calls === 0 || sentBytes < limits.bytes)
  }
  const pump = (): void => {
    while (mayCall()) {
      const batch = nextCall()
      if (batch.length === 0) return
      void send(batch)
    }
  }
  const send = async (batch: readonly Item[]): Promise<void> => {
    const segments = batch.map(item => item.packed.segment)
    const bytes = sizeOf(segments)
    for (const item of batch) item.state = 'sent'
    const carriesEarlier = batch.some(({ lane }) => lane === 'earlier') ? 1 : 0
    calls++
    earlierCalls += carriesEarlier
    sentBytes += bytes
    const since = clock.monotonic()
    const receipts = await sink.put(segments, signal)
    calls--
    earlierCalls -= carriesEarlier
    sentBytes -= bytes
    if (closed) return
    const ackSeconds = (clock.monotonic() - since) / 1000
    const failed: { readonly item: Item; readonly error: StenoError }[] = []
    for (const [at, item] of batch.entries()) {
      const receipt = receiptAt(receipts, at)
      if (receipt !== 'accepted') failed.push({ item, error: receipt })
      else accept(item, ackSeconds)
    }
    await putAside(failed)
    const again = failed.filter(({ item }) => item.state !== 'accepted')
    const first = again[0]
    if (first === undefined) most = 0
    else {
      for (const { item } of again.toReversed()) {
        item.state = 'waiting'
        lanes[item.lane].waiting.unshift(item)
      }
      backOff(first.error, again.length)
    }
    pump()
    deps.onChange()
  }
  const accept = (item: Item, ackSeconds: number): void => {
    item.state = 'accepted'
    post({ type: 'shipped', bytes: item.packed.segment.bytes.length, ackSeconds })
    void settle(item.stream)
  }
  /** What the sink will never take must not hold up what follows it. */
  const putAside = async (failed: readonly { readonly item: Item; readonly error: StenoError }[]): Promise<void> => {
    for (const { item, error } of failed) {
      if (error.code !== 'sink.refused' || ++item.refusals < MAX_REFUSALS) continue
      const { segment } = item.packed
      const path = await quarantine.keep(segment)
      if (path === undefined) continue
      item.state = 'accepted'
      const { writer, firstSeq, lastSeq } = segment.index
      post({ type: 'quarantined', writer, fromSeq: firstSeq, toSeq: lastSeq, bytes: segment.bytes.length, path, reason: error.message })
      void settle(item.stream)
    }
  }
  /** Full jitter: recorders that lost the sink together must not come back together. */
  const backOff = (error: StenoError, records: number): void => {
    most = Math.min(MAX_RETRY_MS, Math.max(RETRY_MS, most * 2))
    const retryMs = random() * (hurried ? RETRY_MS : most)
    post({ type: 'failed', code: errorCode(error) ?? 'unknown', message: error.message, records, retryMs })
    clearTimeout(retry)
    retry = setTimeout(() => {
      retry = undefined
      pump()
    }, retryMs)
  }
  /** Tells what is accepted from the front of a stream on, and frees it. */
  const settle = async (stream: WriterStream): Promise<void> => {
    if (settling.has(stream)) return
    settling.add(stream)
    const own = items.get(stream) ?? []
    for (;;) {
      const open = own.findIndex(item => item.state !== 'accepted')
      const done = own.splice(0, open < 0 ? own.length : open)
      const last = done.at(-1)
      if (last === undefined) break
      for (const { lane, packed } of done) {
        lanes[lane].segments--
        lanes[lane].bytes -= packed.segment.bytes.length
      }
      // Before it is written down: who waits for the sink waits no longer than for the sink.
      post({ type: 'taken', writer: stream.writer, place: last.packed.end })
      const problem = await stream.accepted(last.packed)
      if (problem !== undefined) post(positionWarning(problem))
      post({ type: 'accepted', writer: stream.writer, place: last.packed.end, seq: last.packed.end.seq })
    }
    settling.delete(stream)
    if (own.length === 0) items.delete(stream)
    deps.onChange()
  }

  return {
    hasRoom: lane => lanes[lane].segments < MAX_LANE_SEGMENTS && lanes[lane].bytes < MAX_LANE_BYTES,
    get sendsAtOnce() {
      return mayCall()
    },
    add: (lane, stream, packed) => {
      const item: Item = { lane, stream, packed, state: 'waiting', refusals: 0 }
      const own = items.get(stream)
      if (own === undefined) items.set(stream, [item])
      else own.push(item)
      lanes[lane].segments++
      lanes[lane].bytes += packed.segment.bytes.length
      lanes[lane].waiting.push(item)
      pump()
    },
    hurry: () => {
      if (hurried) return
      hurried = true
      clearTimeout(retry)
      retry = undefined
      pump()
    },
    isDone: stream => !items.has(stream) && !settling.has(stream),
    close: () => {
      closed = true
      clearTimeout(retry)
    },
  }
}

function receiptAt(receipts: readonly Receipt[], at: number): Receipt {
  const receipt = receipts[at]
  if (receipt === undefined) throw new TypeError('a sink gave too few receipts')
  return receipt
}

function sizeOf(segments: readonly Segment[]): number {
  return segments.reduce((sum, { bytes }) => sum + bytes.length, 0)
}

function positionWarning(problem: unknown): FromWorker {
  return {
    type: 'warning',
    message: 'how far the spool is shipped could not be written down; after a restart some segments go out again',
    fields: { code: errorCode(problem) ?? 'unknown', reason: problem instanceof Error ? problem.message : 'unknown error' },
  }
}
