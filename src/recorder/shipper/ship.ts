/**
 * Reads what is durable in the spool, packs it and hands it to the sink. Live frames first; what earlier writers left goes beside them.
 * Retries for ever; nothing is removed before it is accepted.
 */

import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../../platform/clock.ts'
import type { Sink } from '../../sink/sink.ts'
import { listLogs, listOrphans, spoolPath } from '../spool/list-logs.ts'
import { deliver, MAX_RETRY_MS } from './deliver.ts'
import { createOrders } from './orders.ts'
import type { Orders } from './orders.ts'
import { DURABLE, SLEEPING, unpackPlace } from './protocol.ts'
import type { FromWorker, ShipperData, ToWorker } from './protocol.ts'
import { openWriterStream } from './writer-stream.ts'
import type { LogPlace, WriterStream } from './writer-stream.ts'

export interface ShipDeps {
  readonly data: ShipperData
  readonly sink: Sink
  readonly clock: Clock
  readonly random: () => number
  readonly post: (message: FromWorker) => void
  readonly onMessage: (listener: (message: ToWorker) => void) => void
}

const READ_BUDGET_BYTES = 512 * 1024
/** How long the last file of an earlier writer stays for the live one's first frames, which say how it ended. Not for ever: in a full volume it may be what makes room for them. */
const DECLARE_MS = 2_000
const DECLARE_STEP_MS = 20

interface Streams {
  readonly live: WriterStream
  /** In the order in which they are shipped; one that is done is taken out. */
  readonly earlier: WriterStream[]
}

/** Ships until it is told to close, and says `closed` then. Rejects when the spool cannot be read. */
export async function ship(deps: ShipDeps): Promise<void> {
  const orders = createOrders(deps.onMessage)
  const streams = await openStreams(deps)
  try {
    await run(deps, orders, streams)
    await streams.live.remove()
    deps.post({ type: 'closed', complete: true })
  } catch (error) {
    if (!orders.signal.aborted) throw error
    deps.post({ type: 'closed', complete: false })
  } finally {
    await streams.live.close()
    for (const stream of streams.earlier) await stream.close()
    await deps.sink.close()
  }
}

async function openStreams({ data, clock, post }: ShipDeps): Promise<Streams> {
  const { directory, writer: own } = data
  const pathOf = spoolPath(directory)
  const open = (writer: string, files: readonly number[]): WriterStream =>
    openWriterStream({
      directory,
      writer,
      files,
      pathOf: file => pathOf(writer, file),
      now: clock.monotonic,
      onHole: (fromSeq, toSeq) => post({ type: 'hole', writer, fromSeq, toSeq }),
    })
  const logs = listLogs(directory)
  for (const name of listOrphans(directory, logs)) await unlink(join(directory, name)).catch(() => {})
  const live = open(own, logs.get(own) ?? [0])
  const earlier = [...logs].filter(([writer]) => writer !== own).map(([writer, files]) => open(writer, files))
  if (earlier.length > 0) post({ type: 'info', message: 'shipping what earlier writers left in the spool', fields: { writers: earlier.length } })
  return { live, earlier }
}

/** Returns when it was told to close and everything is shipped. */
async function run(deps: ShipDeps, orders: Orders, { live, earlier }: Streams): Promise<void> {
  const { clock, post } = deps
  const { lingerMs } = deps.data
  const shared = new BigInt64Array(deps.data.shared)
  const declaredMs = clock.monotonic() + DECLARE_MS

  /** One turn of a stream. @returns whether there is more to do at once */
  const turn = async (stream: WriterStream, durable: LogPlace | undefined): Promise<boolean> => {
    orders.signal.throwIfAborted()
    const result = stream.read(durable, READ_BUDGET_BYTES)
    if (result === 'more') {
      // Messages come between two turns only.
      await nextTurn()
      return true
    }
    if (result !== 'idle') {
      await deliver(stream, result, { ...deps, orders })
      return true
    }
    const due = stream.oldestMs !== undefined && (durable === undefined || orders.closing || clock.monotonic() - stream.oldestMs >= lingerMs)
    const packed = due ? stream.finish() : undefined
    if (packed === undefined) return false
    await deliver(stream, packed, { ...deps, orders })
    return true
  }
  const turnOfEarlier = async (): Promise<void> => {
    const next = earlier[0]
    if (next === undefined || (await turn(next, undefined))) return
    if (unpackPlace(Atomics.load(shared, DURABLE)).offset === 0 && !orders.closing && clock.monotonic() < declaredMs) {
      await orders.sleep(DECLARE_STEP_MS)
      return
    }
    await next.remove()
    earlier.shift()
    post({ type: 'gone', writer: next.writer })
    post({ type: 'info', message: 'shipped an earlier writer', fields: { writer: next.writer, left: earlier.length } })
  }
  /** Sleeps until more is durable than `read`, or a line has waited for long enough. */
  const rest = async (read: bigint): Promise<void> => {
    const ms = live.oldestMs === undefined ? MAX_RETRY_MS : Math.max(0, live.oldestMs + lingerMs - clock.monotonic())
    Atomics.store(shared, SLEEPING, 1n)
    // Something may have become durable since it was read, before the flag stood: then nobody will wake us.
    if (Atomics.load(shared, DURABLE) === read && !orders.closing) await orders.sleep(ms)
    Atomics.store(shared, SLEEPING, 0n)
  }

  for (let told = -1n; ; ) {
    const last = orders.closing
    const durable = Atomics.load(shared, DURABLE)
    const place = unpackPlace(durable)
    const moreLive = await turn(live, place)
    await turnOfEarlier()
    if (moreLive || earlier.length > 0) continue
    // `last` was read before the turn: what became durable until then has been read.
    if (last) return
    if (live.oldestMs === undefined && durable !== told) {
      // Also what was passed over, because it had been read before.
      post({ type: 'accepted', writer: live.writer, place })
      told = durable
    }
    await rest(durable)
  }
}
