import type { IncomingMessage, ServerResponse } from 'node:http'
import { gzipSync } from 'node:zlib'

import { expect } from 'chai'

import { gatedFs } from '../support/gated-fs.ts'
import type { GatedFs } from '../support/gated-fs.ts'
import { bodyOf, call, httpUpstream, rawUpstream, recorderBefore, result } from '../support/recorder.ts'
import type { RecorderUnderTest, Upstream } from '../support/recorder.ts'

/** More, all together, than the spool takes into memory. */
const BURST = 60
const LARGE = 'x'.repeat(900_000)

describe('recorder when the disk is slower than the traffic', () => {
  let disk: GatedFs
  let upstream: Upstream
  let recorder: RecorderUnderTest
  let answer: (res: ServerResponse, req: IncomingMessage, body: Buffer) => void

  beforeEach(async () => {
    disk = gatedFs()
    upstream = await httpUpstream((req, res) => void bodyOf(req).then(body => answer(res, req, body)))
    recorder = await recorderBefore(upstream.url, { spoolFs: disk.fs })
  })
  afterEach(async () => {
    disk.open()
    await recorder.dispose()
    await upstream.close()
  })

  const send = async (body: string, headers: Record<string, string> = {}): Promise<Response> => await fetch(recorder.url, { method: 'POST', headers: { 'Content-Type': 'application/json', ...headers }, body })

  it('refuses nothing of a burst of large requests, and records all of it', async () => {
    answer = (res, _req, body) => res.writeHead(200, { 'Content-Type': 'application/json' }).end(result((JSON.parse(body.toString()) as { id: number }).id))
    disk.shut()
    const answers = Promise.all(Array.from({ length: BURST }, async (_, id) => await (await send(call(id, 'echo', { LARGE }))).text()))
    await disk.waiting()
    disk.open()
    expect(await answers).to.deep.equal(Array.from({ length: BURST }, (_, id) => result(id)))
    const recorded = await recorder.stop()
    expect(recorded.of('gap')).to.deep.equal([])
    const requests = recorded.of('mcp').filter(frame => frame.from === 'client')
    expect(requests.map(frame => recorded.bodyOf(frame).toString()).toSorted()).to.deep.equal(Array.from({ length: BURST }, (_, id) => call(id, 'echo', { LARGE })).toSorted())
    expect(recorded.verdict).to.equal('consistent')
  })

  for (const encoding of [undefined, 'gzip'] as const) {
    it(`refuses nothing of a burst of large answers${encoding === undefined ? '' : ', compressed'}, and records all of it`, async () => {
      const waiting: (() => void)[] = []
      const all = Promise.withResolvers<undefined>()
      answer = (res, _req, body) => {
        const plain = result((JSON.parse(body.toString()) as { id: number }).id, { LARGE })
        waiting.push(() => res.writeHead(200, { 'Content-Type': 'application/json', ...(encoding === undefined ? {} : { 'Content-Encoding': encoding }) }).end(encoding === undefined ? plain : gzipSync(plain)))
        if (waiting.length === BURST) all.resolve(undefined)
      }
      const answers = Promise.all(Array.from({ length: BURST }, async (_, id) => await (await send(call(id))).text()))
      await all.promise
      disk.shut()
      for (const go of waiting) go()
      await disk.waiting()
      disk.open()
      expect(await answers).to.deep.equal(Array.from({ length: BURST }, (_, id) => result(id, { LARGE })))
      const recorded = await recorder.stop()
      expect(recorded.of('gap')).to.deep.equal([])
      expect(recorded.of('mcp').filter(frame => frame.from === 'server')).to.have.length(BURST)
      expect(recorded.of('exchange.end').map(end => end.outcome)).to.deep.equal(Array.from({ length: BURST }, () => 'ok'))
      expect(recorded.verdict).to.equal('consistent')
    })
  }

  it('lets a client go that leaves while it waits, and says so', async () => {
    answer = res => res.end()
    disk.shut()
    const leaving = new AbortController()
    const asked = Array.from({ length: BURST }, async (_, id) => await fetch(recorder.url, { method: 'POST', body: call(id, 'echo', { LARGE }), signal: leaving.signal }).catch(() => 'left'))
    await disk.waiting()
    leaving.abort()
    expect(new Set(await Promise.all(asked))).to.deep.equal(new Set(['left']))
    disk.open()
    const recorded = await recorder.stop()
    expect(new Set(recorded.of('exchange.end').map(end => end.outcome))).to.deep.equal(new Set(['cancelled']))
    expect(recorded.verdict).to.equal('consistent')
  })

  it('reads no more from an upstream that streams without end than fits', async () => {
    const event = Buffer.from(`data: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/message', params: { LARGE } })}\n\n`)
    let sent = 0
    const endless = await rawUpstream(socket => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n')
        const more = (): void => {
          while (!socket.destroyed && sent < 120) {
            sent++
            if (!socket.write(event)) {
              socket.once('drain', more)
              return
            }
          }
          socket.end()
        }
        more()
      })
    })
    const own = await recorderBefore(endless.url, { spoolFs: disk.fs })
    const response = await fetch(own.url, { method: 'POST', headers: { Accept: 'text/event-stream' }, body: call(1) })
    disk.shut()
    const reading = response.arrayBuffer()
    await disk.waiting()
    // The sender stands still: its socket is full, and nobody reads.
    let before = -1
    while (sent !== before) {
      before = sent
      for (let turn = 0; turn < 20; turn++) await (await fetch(`${own.adminUrl}/livez`)).text()
    }
    expect(sent).to.be.lessThan(60)
    disk.open()
    expect((await reading).byteLength).to.equal(120 * event.length)
    const recorded = await own.stop()
    expect(recorded.of('exchange.end')[0]).to.include({ events: 120, outcome: 'ok' })
    expect(recorded.verdict).to.equal('consistent')
    await own.dispose()
    await endless.close()
  })

  it('holds back an upload, and passes all of it', async () => {
    const chunk = Buffer.alloc(64 * 1024, 'y')
    let bytes = 0
    answer = (res, _req, body) => {
      bytes = body.length
      res.end()
    }
    disk.shut()
    const { readable, writable } = new TransformStream<Uint8Array>()
    const asked = fetch(recorder.url, { method: 'POST', headers: { 'Content-Type': 'application/octet-stream' }, body: readable, duplex: 'half' } as RequestInit)
    const writer = writable.getWriter()
    const writing = (async () => {
      for (let at = 0; at < 800; at++) await writer.write(chunk)
      await writer.close()
    })()
    await disk.waiting()
    disk.open()
    await writing
    expect((await asked).status).to.equal(200)
    expect(bytes).to.equal(800 * chunk.length)
    expect((await recorder.stop()).verdict).to.equal('consistent')
  })
})
