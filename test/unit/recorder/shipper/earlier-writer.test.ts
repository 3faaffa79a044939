import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { systemClock } from '../../../../src/platform/clock.ts'
import { DURABLE, packPlace, SHARED_BYTES } from '../../../../src/recorder/shipper/protocol.ts'
import type { ToWorker } from '../../../../src/recorder/shipper/protocol.ts'
import { ship } from '../../../../src/recorder/shipper/ship.ts'
import type { LogWriter } from '../../../../src/recorder/spool/log-writer.ts'
import { createSpoolLog } from '../../../../src/recorder/spool/open-log.ts'
import { createDirectorySink } from '../../../../src/sink/directory.ts'
import { frameLine } from '../../../support/build-recording.ts'

const EARLIER = '01hyyyyyyyyyyyyyyyyyyyyyyy'
const LIVE = '01hzzzzzzzzzzzzzzzzzzzzzzz'

describe('ship()', () => {
  it('keeps the last file of an earlier writer until the live one has frames on disk that say how it ended', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'earlier-'))
    const shared = new SharedArrayBuffer(SHARED_BYTES)
    const durable = new BigInt64Array(shared)
    let tell: (message: ToWorker) => void = () => {}
    const openLog = (writer: string, onDurable: (file: number, offset: number) => void): LogWriter =>
      createSpoolLog({ directory, writer, maxBytes: 1e9, remake: async () => {}, clock: systemClock, onState: () => {}, onLastWords: () => {}, onSync: () => {}, onDurable })
    const write = (log: LogWriter, writer: string): Promise<void> =>
      new Promise(resolve => {
        log.append(frameLine(writer, 0, { kind: 'http', from: 'client', body: 'x', bytes: 1 }))
        log.commit(() => resolve())
      })
    try {
      const earlier = openLog(EARLIER, () => {})
      await earlier.start()
      await write(earlier, EARLIER)
      await earlier.close()
      const accepted = Promise.withResolvers<void>()
      const gone = Promise.withResolvers<bigint>()
      const over = ship({
        data: { directory, writer: LIVE, sink: { type: 'directory', path: join(directory, 'archive') }, lingerMs: 10, shared, sinceMs: Date.now() },
        sink: createDirectorySink({ path: join(directory, 'archive'), now: Date.now }),
        clock: systemClock,
        random: Math.random,
        post: message => {
          if (message.type === 'accepted' && message.writer === EARLIER) accepted.resolve()
          if (message.type === 'gone') gone.resolve(Atomics.load(durable, DURABLE))
        },
        onMessage: listener => (tell = listener),
      })
      await accepted.promise
      const live = openLog(LIVE, (file, offset) => void Atomics.store(durable, DURABLE, packPlace({ file, offset })))
      await live.start()
      await write(live, LIVE)
      expect(Number(await gone.promise)).to.be.greaterThan(0)
      await live.close()
      tell({ type: 'close', deadlineMs: 10_000 })
      await over
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})
