import { mkdtemp, rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { openRecording } from '../../src/archive/open-recording.ts'
import { systemClock } from '../../src/platform/clock.ts'
import type { Clock } from '../../src/platform/clock.ts'
import { createDirectorySink } from '../../src/sink/directory.ts'
import { DURABLE, packPlace, SHARED_BYTES } from '../../src/recorder/shipper/protocol.ts'
import type { FromWorker, ToWorker } from '../../src/recorder/shipper/protocol.ts'
import { ship } from '../../src/recorder/shipper/ship.ts'
import { createSpoolLog } from '../../src/recorder/spool/open-log.ts'
import { frameLine } from '../support/build-recording.ts'
import { bodyOf, call, httpUpstream, rawClient, post, recorderBefore, result } from '../support/recorder.ts'
import type { RecorderUnderTest, Upstream } from '../support/recorder.ts'
import { readArchive } from '../support/spool-archive.ts'

const DAY_MS = 86_400_000

/** The system's clocks, of which the wall clock can be set. */
function settableClock(): { readonly clock: Clock; step(ms: number): void } {
  let offsetMs = 0
  return { clock: { now: () => systemClock.now() + offsetMs, monotonic: systemClock.monotonic }, step: ms => void (offsetMs += ms) }
}

describe('recorder whose wall clock is set', () => {
  let recorder: RecorderUnderTest | undefined
  let upstream: Upstream
  let streams: ServerResponse[]

  beforeEach(async () => {
    streams = []
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(body => {
        const { id, params } = JSON.parse(body.toString()) as { id: number; params: { name: string } }
        if (params.name === 'stream') {
          streams.push(res)
          res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(': open\n\n')
        } else res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(id))
      })
    })
  })
  afterEach(async () => {
    await recorder?.dispose()
    await upstream.close()
  })

  for (const [name, steps] of [
    ['a day forward', [DAY_MS]],
    ['a day back', [-DAY_MS]],
    ['back and forth by a day', [DAY_MS, -DAY_MS, -DAY_MS, DAY_MS]],
    ['a second back, as in a leap second', [-1000]],
  ] as const) {
    it(`keeps order, frames and sessions when it is set ${name}`, async () => {
      const { clock, step } = settableClock()
      recorder = await recorderBefore(upstream.url, { clock })
      const { url, port, archive } = recorder
      const send = async (id: number, headers: Record<string, string>): Promise<void> => {
        const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body: call(id) })
        expect(await response.text()).to.equal(result(id))
      }
      const client = await rawClient(port)
      client.write(post(call(0, 'stream'), ['Mcp-Session-Id: of-the-server']))
      await client.until(text => text.includes(': open'))
      let id = 1
      const round = async (): Promise<void> => {
        // One session that the server named, and one that only a pause of half an hour would end.
        for (const headers of [{ 'Mcp-Session-Id': 'of-the-server' }, {}]) await send(id++, headers as Record<string, string>)
        const notification = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 0, progress: id } })
        streams[0]?.write(`data: ${notification}\n\n`)
        await client.until(text => text.includes(notification))
      }
      await round()
      for (const ms of steps) {
        step(ms)
        await round()
      }
      streams[0]?.end(`data: ${result(0)}\n\n`)
      await client.until(text => text.endsWith('0\r\n\r\n'))
      const recorded = await recorder.stop()

      expect(recorded.verdict).to.equal('consistent')
      expect(recorded.frames.map(frame => frame.seq)).to.deep.equal(recorded.frames.map((_, at) => at))
      expect(recorded.frames.every((frame, at) => frame.elapsedUs >= (recorded.frames[at - 1]?.elapsedUs ?? 0))).to.equal(true)
      expect(recorded.of('mcp').filter(frame => frame.type === 'response').map(frame => frame.rpcId)).to.deep.equal([...Array.from({ length: id - 1 }, (_, at) => at + 1), 0])
      expect(recorded.of('exchange.end').every(end => end.durationUs < 60_000_000)).to.equal(true)
      expect(recorded.of('session.start').map(start => start.basis)).to.have.members(['mcp', 'idle'])
      expect(recorded.of('session.end').map(end => end.reason)).to.deep.equal(['shutdown', 'shutdown'])
      const opened = await openRecording({ type: 'directory', path: archive }, { now: clock.now, tempDir: tmpdir() })
      const sessions = await opened.sessions({ limit: 10 })
      expect(sessions.map(session => session.state)).to.deep.equal(['ended', 'ended'])
      for (const session of sessions) {
        const seqs: number[] = []
        for await (const { frame } of opened.frames(session.id)) seqs.push(frame.seq)
        expect(seqs).to.deep.equal(seqs.toSorted((a, b) => a - b))
        expect(seqs).to.have.length(session.frames)
      }
      await opened.close()
    })
  }
})

describe('ship() whose wall clock is set back again and again', () => {
  it('ships what has waited for long enough all the same', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'clock-'))
    const writer = '01hzzzzzzzzzzzzzzzzzzzzzzz'
    const shared = new SharedArrayBuffer(SHARED_BYTES)
    let tell: (message: ToWorker) => void = () => {}
    let days = 0
    const log = createSpoolLog({
      directory: folder,
      writer,
      maxBytes: 1e9,
      remake: async () => {},
      clock: systemClock,
      onState: () => {},
      onLastWords: () => {},
      onSync: () => {},
      onDurable: (file, offset) => {
        Atomics.store(new BigInt64Array(shared), DURABLE, packPlace({ file, offset }))
        tell({ type: 'wake' })
      },
    })
    try {
      await log.start()
      const shipped = Promise.withResolvers<void>()
      const posted: FromWorker['type'][] = []
      const over = ship({
        data: { directory: folder, writer, sink: { type: 'directory', path: join(folder, 'archive') }, lingerMs: 30, shared, sinceMs: Date.now() },
        sink: createDirectorySink({ path: join(folder, 'archive'), now: Date.now }),
        clock: { now: () => Date.now() - DAY_MS * days++, monotonic: systemClock.monotonic },
        random: Math.random,
        post: message => {
          posted.push(message.type)
          if (message.type === 'shipped') shipped.resolve()
        },
        onMessage: listener => (tell = listener),
      })
      const line = frameLine(writer, 0, { kind: 'http', from: 'client', body: 'x', bytes: 1 })
      log.append(line)
      await shipped.promise
      await log.close()
      tell({ type: 'close', deadlineMs: 10_000 })
      await over
      expect(posted.at(-1)).to.equal('closed')
      expect((await readArchive(join(folder, 'archive'))).linesOf(writer)).to.deep.equal([line])
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})
