/** The shipper's thread: gives `ship.ts` the machine. */

import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../platform/clock.ts'
import { lowerThreadPriority } from '../../platform/lower-priority.ts'
import { createSink } from '../../sink/create-sink.ts'
import type { ShipperData } from './protocol.ts'
import { ship } from './ship.ts'

const data = workerData as ShipperData
const port = parentPort
if (port === null) throw new TypeError('this is the entry of a thread')
// Where an answer waits for the sink, this thread is on its way.
if (data.lingerMs > 0) lowerThreadPriority()
try {
  await ship({
    data,
    sink: await createSink(data.sink, systemClock.now),
    clock: systemClock,
    random: Math.random,
    post: message => port.postMessage(message),
    onMessage: listener => port.on('message', listener),
  })
} finally {
  port.close()
}
