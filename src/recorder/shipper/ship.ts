/**
 * Reads what is durable in the spool, packs it and hands it to the sink. Live frames first; what earlier writers left goes beside them.
 * Nothing is removed before it is accepted.
 */

import { unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../../platform/clock.ts'
import type { Sink } from '../../sink/sink.ts'
import { listLogs, listOrphans, spoolPath } from '../spool/list-logs.ts'
import { createOrders } from './orders.ts'
import type { Orders } from './orders.ts'
import { createOutbox, MAX_RETRY_MS } from './outbox.ts'
import type { Outbox } from './outbox.ts'
import { DURABLE, unpackPlace, WAKE_AT } from './protocol.ts'
import type { FromWorker, ShipperData, ToWorker } from './protocol.ts'
import { createQuarantine } from './quarantine.ts'
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
/** A segment of this size goes out after a part of the linger: Firehose bills 5 KiB a record at least, which is then no more than a twentieth. */
const WORTHWHILE_BYTES = 100 * 1024
const EAGER = 4
/** Lines that wait for others anyway are read so many bytes at a time: to wake a thread for each of them costs more than to read it. */
const READ_AT_ONCE_BYTES = 64n * 1024n
const NEVER = 2n ** 62n

interface Streams {
  readonly live: WriterStream
  /** In the order in which they are shipped; one that is done is taken out. */
  readonly earlier: WriterStream[]
  /** Read to their end, and under way. */
  readonly sent: WriterStream[]
}

/** Ships until it is told to close, and says `closed` then. Rejects when the spool cannot be read. */
export async function ship(deps: ShipDeps): Promise<void> {
  const orders = createOrders(deps.onMessage)
  const streams = await openStreams(deps)
  const outbox = createOutbox({ ...deps, quarantine: createQuarantine(deps.data.directory), signal: orders.signal, onChange: orders.wake })
  try {
    await Promise.race([run(deps, orders, streams, outbox), orders.outOfTime])
    await streams.live.remove()
    deps.post({ type: 'closed', complete: true })
  } catch (error) {
    if (!orders.signal.aborted) throw error
    deps.post({ type: 'closed', complete: false })
  } finally {
    outbox.close()
    await streams.live.close()
    for (const stream of [...streams.earlier, ...streams.sent]) await stream.close()
    await deps.sink.close()
  }
}

async function openStreams({ data, sink, clock, post }: ShipDeps): Promise<Streams> {
  const { directory, writer: own } = data
  // The thread was started late, or anew. A clock that was set in between must not hold anything up, nor hurry it by more than this.
  const waitedMs = Math.min(data.lingerMs, Math.max(0, clock.now() - data.sinceMs))
  const pathOf = spoolPath(directory)
  const open = (writer: string, files: readonly number[]): WriterStream =>
    openWriterStream({
      directory,
      writer,
      files,
      pathOf: file => pathOf(writer, file),
      now: clock.monotonic,
      waitedMs: writer === own ? waitedMs : 0,
      level: sink.level,
      onHole: (fromSeq, toSeq) => post({ type: 'hole', writer, fromSeq, toSeq }),
    })
  const logs = listLogs(directory)
  for (const name of listOrphans(directory, logs)) await unlink(join(directory, name)).catch(() => {})
  const live = open(own, logs.get(own) ?? [0])
  const earlier = [...logs].filter(([writer]) => writer !== own).map(([writer, files]) => open(writer, files))
  if (earlier.length > 0) post({ type: 'info', message: 'shipping what earlier writers left in the spool', fields: { writers: earlier.length } })
  return { live, earlier, sent: [] }
}

/** Returns when it was told to close and everything is shipped. */
async function run(deps: ShipDeps, orders: Orders, { live, earlier, sent }: Streams, outbox: Outbox): Promise<void> {
  const { clock, post } = deps
  const { lingerMs } = deps.data
  const shared = new BigInt64Array(deps.data.shared)
  const declaredMs = clock.monotonic() + DECLARE_MS

  /** Whether lines have waited for long enough to become a segment. */
  const isDue = (stream: WriterStream): boolean => {
    if (stream.oldestMs === undefined) return false
    if (orders.closing) return true
    const ageMs = clock.monotonic() - stream.oldestMs
    // Who must wait for the sink gathers while the sink is busy anyway.
    if (lingerMs === 0) return outbox.sendsAtOnce
    return ageMs >= lingerMs || (stream.pendingBytes >= WORTHWHILE_BYTES && ageMs >= lingerMs / EAGER)
  }
  /** One turn of a stream. @returns whether there is more to do at once, or not before the outbox has room, or all is read */
  const turn = (stream: WriterStream, durable: LogPlace | undefined): 'more' | 'full' | 'read' => {
    const lane = durable === undefined ? 'earlier' : 'live'
    if (!outbox.hasRoom(lane)) return 'full'
    const result = stream.read(durable, READ_BUDGET_BYTES)
    if (result === 'more') return 'more'
    const packed = result === 'idle' ? (durable === undefined || isDue(stream) ? stream.finish() : undefined) : result
    if (packed === undefined) return 'read'
    outbox.add(lane, stream, packed)
    return 'more'
  }
  /** Whether the live writer has said how those before it ended, or had its time. */
  const mayForget = (): boolean => orders.closing || unpackPlace(Atomics.load(shared, DURABLE)).offset > 0 || clock.monotonic() >= declaredMs
  const turnOfEarlier = async (): Promise<boolean> => {
    const next = earlier[0]
    const result = next === undefined ? undefined : turn(next, undefined)
    if (next !== undefined && result === 'read') {
      // Read to its end. The next one begins while this one is under way: what restarts left is small and shares calls.
      earlier.shift()
      sent.push(next)
    }
    for (let first = sent[0]; first !== undefined && outbox.isDone(first) && mayForget(); first = sent[0]) {
      sent.shift()
      await first.remove()
      post({ type: 'gone', writer: first.writer })
      post({ type: 'info', message: 'shipped an earlier writer', fields: { writer: first.writer, left: earlier.length + sent.length } })
    }
    return earlier.length > 0 && result !== 'full'
  }
  /** Sleeps until enough is durable beyond `read`, something was accepted, or a line has waited for long enough. */
  const rest = async (read: bigint, full: boolean): Promise<void> => {
    const dueMs = live.oldestMs === undefined ? undefined : live.oldestMs + (live.pendingBytes >= WORTHWHILE_BYTES ? lingerMs / EAGER : lingerMs)
    const waitMs = dueMs === undefined || dueMs <= clock.monotonic() ? MAX_RETRY_MS : dueMs - clock.monotonic()
    const ms = sent.length > 0 && !mayForget() ? Math.min(waitMs, Math.max(0, declaredMs - clock.monotonic())) : waitMs
    const wakeAt = full ? NEVER : read + (live.oldestMs === undefined || lingerMs === 0 ? 1n : READ_AT_ONCE_BYTES)
    Atomics.store(shared, WAKE_AT, wakeAt)
    // Something may have become durable since it was read, before the number stood: then nobody will wake us.
    if (Atomics.load(shared, DURABLE) < wakeAt) await orders.sleep(ms)
    Atomics.store(shared, WAKE_AT, 0n)
  }

  for (let told = -1n; ; ) {
    orders.signal.throwIfAborted()
    const last = orders.closing
    if (last) outbox.hurry()
    const durable = Atomics.load(shared, DURABLE)
    const place = unpackPlace(durable)
    const result = turn(live, place)
    const moreEarlier = await turnOfEarlier()
    if (result === 'more' || moreEarlier) {
      // Messages and answers come between two turns only.
      await nextTurn()
      continue
    }
    const idle = result === 'read' && live.oldestMs === undefined && outbox.isDone(live)
    // `last` was read before the turn: what became durable until then has been read.
    if (last && idle && earlier.length === 0 && sent.length === 0) return
    if (idle && durable !== told) {
      // Also what was passed over, because it had been read before.
      post({ type: 'taken', writer: live.writer, place })
      post({ type: 'accepted', writer: live.writer, place })
      told = durable
    }
    await rest(durable, result === 'full')
  }
}
