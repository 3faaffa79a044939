/** The shipper as the main thread sees it: wakes the worker, hears what was accepted, starts it again when it dies. */

import { Worker } from 'node:worker_threads'
import type { Log } from '../../platform/log.ts'
import { DURABLE, FILE_SHIFT, SHARED_BYTES, SLEEPING } from './protocol.ts'
import type { FromWorker, ShipperData, ToWorker } from './protocol.ts'

export interface Shipper {
  /** The live log is durable up to here. */
  durable(file: number, offset: number): void
  /** Ships all that is durable. @returns whether everything was accepted */
  close(deadlineMs: number): Promise<boolean>
}

export interface ShippedEvent {
  readonly records: number
  readonly bytes: number
  readonly ackSeconds: number
  readonly result: 'accepted' | 'failed'
}

const RESTART_MS = 500
const MAX_RESTART_MS = 30_000
/** Beyond the deadline: the worker then hangs in one attempt. */
const GRACE_MS = 2_000

export function startShipper(options: Omit<ShipperData, 'shared'> & { readonly log: Log; readonly random: () => number; readonly onShipped: (event: ShippedEvent) => void; readonly onAccepted: (spoolBytes: number, freedBytes: number) => void }): Shipper {
  const { log, random, onShipped, onAccepted, ...config } = options
  const buffer = new SharedArrayBuffer(SHARED_BYTES)
  const shared = new BigInt64Array(buffer)
  let worker: Worker
  let closed: ((complete: boolean) => void) | undefined
  let restartMs = RESTART_MS
  let restart: NodeJS.Timeout | undefined

  const onMessage = (message: FromWorker): void => {
    switch (message.type) {
      case 'shipped':
        restartMs = RESTART_MS
        onShipped({ records: message.records, bytes: message.bytes, ackSeconds: message.ackSeconds, result: 'accepted' })
        onAccepted(message.spoolBytes, message.freedBytes)
        return
      case 'failed':
        onShipped({ records: 1, bytes: 0, ackSeconds: 0, result: 'failed' })
        log.warn('the sink did not accept a segment; trying again', { reason: message.message, retryMs: Math.round(message.retryMs) })
        return
      case 'freed':
        onAccepted(0, message.freedBytes)
        return
      case 'info':
        log.info(message.message, message.fields)
        return
      case 'closed':
        closed?.(message.complete)
    }
  }
  const run = (): Worker => {
    Atomics.store(shared, SLEEPING, 0n)
    const data: ShipperData = { ...config, shared: buffer }
    const started = new Worker(new URL('./worker.ts', import.meta.url), { workerData: data, name: 'shipper' })
    started.on('message', onMessage)
    started.on('error', error => {
      // The log on disk is whole: a new worker goes on from the last position.
      log.error('the shipper ended unexpectedly; starting it again', { reason: error instanceof Error ? error.message : String(error) })
      if (closed !== undefined) {
        closed(false)
        return
      }
      restart = setTimeout(() => {
        worker = run()
      }, restartMs * random())
      restartMs = Math.min(MAX_RESTART_MS, restartMs * 2)
    })
    return started
  }
  worker = run()
  const tell = (message: ToWorker): void => worker.postMessage(message)

  return {
    durable: (file, offset) => {
      Atomics.store(shared, DURABLE, (BigInt(file) << FILE_SHIFT) | BigInt(offset))
      if (Atomics.compareExchange(shared, SLEEPING, 1n, 0n) === 1n) tell({ type: 'wake' })
    },
    close: async deadlineMs => {
      clearTimeout(restart)
      const complete = await new Promise<boolean>(resolve => {
        const timer = setTimeout(() => resolve(false), deadlineMs + GRACE_MS)
        closed = done => {
          clearTimeout(timer)
          resolve(done)
        }
        tell({ type: 'close', deadlineMs })
      })
      await worker.terminate()
      return complete
    },
  }
}
