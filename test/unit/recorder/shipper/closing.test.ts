import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { StenoError } from '../../../../src/errors.ts'
import { systemClock } from '../../../../src/platform/clock.ts'
import { DURABLE, packPlace, SHARED_BYTES } from '../../../../src/recorder/shipper/protocol.ts'
import type { ToWorker } from '../../../../src/recorder/shipper/protocol.ts'
import { ship } from '../../../../src/recorder/shipper/ship.ts'
import { createSpoolLog } from '../../../../src/recorder/spool/open-log.ts'
import type { Sink } from '../../../../src/sink/sink.ts'
import { frameLine } from '../../../support/build-recording.ts'

const WRITER = '01hzzzzzzzzzzzzzzzzzzzzzzz'
/** For a wait that nobody sits out. */
const LONG = 10_000

describe('ship()', () => {
  it('tries again at once when it is told to close while it waits for the next attempt', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'closing-'))
    const shared = new SharedArrayBuffer(SHARED_BYTES)
    let tell: (message: ToWorker) => void = () => {}
    const log = createSpoolLog({
      directory,
      writer: WRITER,
      maxBytes: 1e9,
      remake: async () => {},
      clock: systemClock,
      onState: () => {},
      onLastWords: () => {},
      onSync: () => {},
      onDurable: (file, offset) => void Atomics.store(new BigInt64Array(shared), DURABLE, packPlace({ file, offset })),
    })
    let attempts = 0
    const sink: Sink = {
      limits: { segments: 1, bytes: 1e6, calls: 1 },
      level: 1,
      put: async segments => segments.map(() => (attempts++ === 0 ? new StenoError('sink.io', 'down') : 'accepted')),
      close: async () => {},
    }
    try {
      await log.start()
      log.append(frameLine(WRITER, 0, { kind: 'http', from: 'client', body: 'x', bytes: 1 }))
      await log.close()
      const failed = Promise.withResolvers<void>()
      let complete: boolean | undefined
      const over = ship({
        data: { directory, writer: WRITER, sink: { type: 'directory', path: directory }, lingerMs: 0, shared, sinceMs: Date.now() },
        sink,
        clock: systemClock,
        random: () => LONG,
        post: message => {
          if (message.type === 'failed') failed.resolve()
          if (message.type === 'closed') complete = message.complete
        },
        onMessage: listener => (tell = listener),
      })
      await failed.promise
      tell({ type: 'close', deadlineMs: LONG })
      await over
      expect({ attempts, complete }).to.deep.equal({ attempts: 2, complete: true })
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  })
})
