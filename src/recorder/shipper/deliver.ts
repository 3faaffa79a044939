/** One segment to the sink: offered until it is accepted, then its position is made durable and its files are removed. */

import type { Clock } from '../../platform/clock.ts'
import { errorCode } from '../../platform/error-code.ts'
import type { Sink } from '../../sink/sink.ts'
import type { Orders } from './orders.ts'
import type { FromWorker } from './protocol.ts'
import type { Packed } from './segment-builder.ts'
import type { WriterStream } from './writer-stream.ts'

export interface Delivery {
  readonly sink: Sink
  readonly orders: Orders
  readonly clock: Clock
  readonly random: () => number
  readonly post: (message: FromWorker) => void
}

const RETRY_MS = 200
const MAX_RETRY_AT_END_MS = 1_000
export const MAX_RETRY_MS = 30_000

/** Retries for as long as there is time; rejects with the reason of `orders.signal` when there is none left. */
export async function deliver(stream: WriterStream, packed: Packed, { post, ...offering }: Delivery): Promise<void> {
  await offer(packed, { post, ...offering })
  const problem = await stream.accepted(packed)
  if (problem !== undefined) {
    post({
      type: 'warning',
      message: 'how far the spool is shipped could not be written down; after a restart some segments go out again',
      fields: { code: errorCode(problem) ?? 'unknown', reason: problem instanceof Error ? problem.message : 'unknown error' },
    })
  }
  post({ type: 'accepted', writer: stream.writer, place: packed.end, seq: packed.end.seq })
}

async function offer({ segment }: Packed, { sink, orders, clock, random, post }: Delivery): Promise<void> {
  for (let most = RETRY_MS; ; most = Math.min(MAX_RETRY_MS, most * 2)) {
    const since = clock.monotonic()
    try {
      const [receipt] = await Promise.race([sink.put([segment], orders.signal), orders.outOfTime])
      if (receipt !== 'accepted') throw receipt ?? new TypeError('a sink gave no receipt')
      post({ type: 'shipped', bytes: segment.bytes.length, ackSeconds: (clock.monotonic() - since) / 1000 })
      return
    } catch (error) {
      orders.signal.throwIfAborted()
      // Full jitter: recorders that lost the sink together must not come back together.
      const retryMs = random() * (orders.closing ? Math.min(most, MAX_RETRY_AT_END_MS) : most)
      post({ type: 'failed', code: errorCode(error) ?? 'unknown', message: error instanceof Error ? error.message : String(error), retryMs })
      await orders.sleep(retryMs)
      orders.signal.throwIfAborted()
    }
  }
}
