/**
 * The shipper: a worker thread at low priority that reads what is durable in the spool, packs it and hands it to the sink.
 * Live frames first; what earlier writers left goes beside them. Retries for ever; nothing is removed before it is accepted.
 */

import { readlinkSync } from 'node:fs'
import { unlink } from 'node:fs/promises'
import { constants, setPriority } from 'node:os'
import { join } from 'node:path'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { createSink } from '../../sink/create-sink.ts'
import { listLogs, listOrphans, spoolPath } from '../spool/list-logs.ts'
import { DURABLE, SLEEPING, unpackPlace } from './protocol.ts'
import type { FromWorker, ShipperData, ToWorker } from './protocol.ts'
import type { Packed } from './segment-builder.ts'
import { openWriterStream } from './writer-stream.ts'
import type { LogPlace, WriterStream } from './writer-stream.ts'

const READ_BUDGET_BYTES = 512 * 1024
const RETRY_MS = 200
const MAX_RETRY_MS = 30_000

const data = workerData as ShipperData
const port = parentPort
if (port !== null) {
  lowerPriority()
  await ship(data, port)
}

async function ship(options: ShipperData, main: NonNullable<typeof port>): Promise<void> {
  const { directory } = options
  const shared = new BigInt64Array(options.shared)
  const post = (message: FromWorker): void => main.postMessage(message)
  const sink = createSink(options.sink, Date.now)
  const pathOf = spoolPath(directory)
  const open = (writer: string, files: readonly number[]): WriterStream =>
    openWriterStream({
      directory,
      writer,
      files,
      pathOf: file => pathOf(writer, file),
      now: Date.now,
      onHole: (fromSeq, toSeq) => post({ type: 'warning', message: 'frames in the spool could not be read back', fields: { writer, fromSeq, toSeq } }),
    })
  const logs = listLogs(directory)
  for (const name of listOrphans(directory, logs)) await unlink(join(directory, name)).catch(() => {})
  const live = open(options.writer, logs.get(options.writer) ?? [0])
  const earlier = [...logs].filter(([writer]) => writer !== options.writer).map(([writer, files]) => open(writer, files))
  if (earlier.length > 0) post({ type: 'info', message: 'shipping what earlier writers left in the spool', fields: { writers: earlier.length } })

  const abort = new AbortController()
  const aborted = new Promise<never>((_resolve, reject) => {
    abort.signal.addEventListener('abort', () => reject(new Error('no time is left')), { once: true })
  })
  // Only a race looks at it.
  aborted.catch(() => {})
  let closing = false
  let wake: (() => void) | undefined
  main.on('message', (message: ToWorker) => {
    if (message.type === 'close') {
      closing = true
      setTimeout(() => {
        abort.abort()
        wake?.()
      }, message.deadlineMs).unref()
    }
    wake?.()
  })

  /** Sleeps until woken or for so long. */
  const sleep = async (ms: number): Promise<void> => {
    await new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })
    wake = undefined
  }
  const put = async (stream: WriterStream, packed: Packed): Promise<void> => {
    for (let most = RETRY_MS; ; most = Math.min(MAX_RETRY_MS, most * 2)) {
      const since = performance.now()
      try {
        await Promise.race([sink.put(packed.segment, abort.signal), aborted])
        post({ type: 'shipped', bytes: packed.segment.bytes.length, ackSeconds: (performance.now() - since) / 1000 })
        break
      } catch (error) {
        abort.signal.throwIfAborted()
        // Full jitter: recorders that lost the sink together must not come back together.
        const retryMs = Math.random() * most
        post({ type: 'failed', message: error instanceof Error ? error.message : String(error), retryMs })
        await sleep(closing ? Math.min(retryMs, RETRY_MS) : retryMs)
        abort.signal.throwIfAborted()
      }
    }
    const problem = await stream.accepted(packed)
    if (problem !== undefined) post({ type: 'warning', message: 'how far the spool is shipped could not be written down; after a restart some segments go out again', fields: { reason: problem instanceof Error ? problem.message : 'unknown error' } })
    post({ type: 'accepted', writer: stream.writer, place: packed.end })
  }
  /** One turn of a stream. @returns whether there is more to do at once */
  const turn = async (stream: WriterStream, durable: LogPlace | undefined): Promise<boolean> => {
    abort.signal.throwIfAborted()
    const result = stream.read(durable, READ_BUDGET_BYTES)
    if (result === 'more') {
      // Messages come between two turns only.
      await nextTurn()
      return true
    }
    if (result !== 'idle') {
      await put(stream, result)
      return true
    }
    const due = stream.oldestMs !== undefined && (durable === undefined || closing || Date.now() - stream.oldestMs >= options.lingerMs)
    const packed = due ? stream.finish() : undefined
    if (packed === undefined) return false
    await put(stream, packed)
    return true
  }

  try {
    for (let seen = -1n; ; ) {
      const last = closing
      const durable = Atomics.load(shared, DURABLE)
      const place = unpackPlace(durable)
      const moreLive = await turn(live, place)
      const next = earlier[0]
      if (next !== undefined && !(await turn(next, undefined))) {
        await next.remove()
        earlier.shift()
        post({ type: 'gone', writer: next.writer })
        post({ type: 'info', message: 'shipped an earlier writer', fields: { writer: next.writer, left: earlier.length } })
      }
      if (moreLive || earlier.length > 0) continue
      // `last` was read before the turn: what became durable until then has been read.
      if (last) break
      if (live.oldestMs === undefined && durable !== seen) {
        // Also what was passed over, because it had been read before.
        post({ type: 'accepted', writer: live.writer, place })
        seen = durable
      }
      const lingerMs = live.oldestMs === undefined ? undefined : Math.max(0, live.oldestMs + options.lingerMs - Date.now())
      Atomics.store(shared, SLEEPING, 1n)
      // Something may have become durable since it was read, before the flag stood: then nobody will wake us.
      if (Atomics.load(shared, DURABLE) === durable && !closing) await sleep(lingerMs ?? MAX_RETRY_MS)
      Atomics.store(shared, SLEEPING, 0n)
    }
    await live.remove()
    post({ type: 'closed', complete: true })
  } catch (error) {
    if (!abort.signal.aborted) throw error
    post({ type: 'closed', complete: false })
  } finally {
    await live.close()
    for (const stream of earlier) await stream.close()
    await sink.close()
    main.close()
  }
}

/** Packing must never take the processor from an answer that waits. Linux gives each thread its own priority. */
function lowerPriority(): void {
  try {
    setPriority(Number(readlinkSync('/proc/thread-self').split('/').at(-1)), constants.priority.PRIORITY_LOW)
  } catch {
    // Elsewhere, or without the right: slower under load, not wrong.
  }
}
