import type { ServerResponse } from 'node:http'
import { brotliCompressSync, constants, createGzip, deflateRawSync, gzipSync, zstdCompressSync } from 'node:zlib'

import { expect } from 'chai'

import { bodyOf, call, httpUpstream, post, rawClient, recorderBefore, result } from '../support/recorder.ts'
import type { RecorderUnderTest, Upstream } from '../support/recorder.ts'

const note = (n: number): string => JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1, progress: n } })

/** Takes the chunked coding off. */
function unchunked(received: string): Buffer {
  let rest = received.slice(received.indexOf('\r\n\r\n') + 4)
  const parts: Buffer[] = []
  for (let length = Number.NaN; length !== 0; ) {
    const line = rest.indexOf('\r\n')
    length = Number.parseInt(rest.slice(0, line), 16)
    parts.push(Buffer.from(rest.slice(line + 2, line + 2 + length), 'latin1'))
    rest = rest.slice(line + 4 + length)
  }
  return Buffer.concat(parts)
}

describe('recorded streams of events', () => {
  let recorder: RecorderUnderTest
  let upstream: Upstream
  let answer: (res: ServerResponse) => void

  beforeEach(async () => {
    answer = res => res.end()
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(() => answer(res))
    })
    recorder = await recorderBefore(upstream.url)
  })
  afterEach(async () => {
    await recorder.dispose()
    await upstream.close()
  })

  const shapes: readonly (readonly [string, string, readonly string[]])[] = [
    ['LF', `data: ${note(1)}\n\nid: 7\nevent: message\ndata: ${result(1)}\n\n`, [note(1), result(1)]],
    ['CRLF', `data: ${note(1)}\r\n\r\nid: 7\r\nevent: message\r\ndata: ${result(1)}\r\n\r\n`, [note(1), result(1)]],
    ['CR', `data: ${note(1)}\r\rid: 7\revent: message\rdata: ${result(1)}\r\r`, [note(1), result(1)]],
    ['mixed line ends, comments and priming events', `: hi\n\nid: 0\ndata:\n\nretry: 10\r\n\rdata:${note(1)}\r\n\n:x\n\n`, [note(1)]],
    ['data in several lines', 'data: {"jsonrpc":"2.0",\ndata:  "id":1,\ndata: "result":{}}\n\n', ['{"jsonrpc":"2.0",\n "id":1,\n"result":{}}']],
    ['a byte order mark', `\ufeffdata: ${note(1)}\n\n`, [note(1)]],
  ]
  for (const [name, stream, bodies] of shapes) {
    for (const step of [1, 3, 1_000_000]) {
      it(`passes and records a stream with ${name}, ${step === 1_000_000 ? 'in one chunk' : `in chunks of ${step}`}`, async () => {
        const bytes = Buffer.from(stream)
        answer = res => {
          res.writeHead(200, { 'Content-Type': 'text/event-stream; charset=utf-8' })
          for (let at = 0; at < bytes.length; at += step) res.write(bytes.subarray(at, at + step))
          res.end()
        }
        const client = await rawClient(recorder.port)
        client.write(post(call(1)))
        expect(unchunked(await client.until(text => text.endsWith('\r\n0\r\n\r\n')))).to.deep.equal(bytes)
        const recorded = await recorder.stop()
        expect(recorded.of('mcp').filter(frame => frame.from === 'server').map(frame => frame.body)).to.deep.equal(bodies)
        expect(recorded.of('exchange.end')[0]).to.include({ outcome: 'ok', events: bodies.length })
        expect(recorded.verdict).to.equal('consistent')
      })
    }
  }

  it('passes the rest of a stream without a final blank line, recorded as what it is', async () => {
    const stream = `data: ${note(1)}\n\ndata: ${result(1)}\n`
    answer = res => res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(stream)
    expect(await (await fetch(recorder.url, { method: 'POST', body: call(1) })).text()).to.equal(stream)
    const recorded = await recorder.stop()
    expect(recorded.of('mcp').filter(frame => frame.from === 'server')).to.have.length(1)
    expect(recorded.of('http').map(frame => frame.body)).to.deep.equal([`data: ${result(1)}\n`])
  })

  it('passes and records an event of 20 MB in one line', async () => {
    const large = result(1, { content: [{ type: 'text', text: 'ü'.repeat(10 * 1024 * 1024) }] })
    answer = res => res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(`id: 1\ndata: ${large}\n\ndata: ${note(2)}\n\n`)
    expect(await (await fetch(recorder.url, { method: 'POST', body: call(1) })).text()).to.equal(`id: 1\ndata: ${large}\n\ndata: ${note(2)}\n\n`)
    const recorded = await recorder.stop()
    const [first, second] = recorded.of('mcp').filter(frame => frame.from === 'server')
    expect(first === undefined ? '' : recorded.bodyOf(first).toString()).to.equal(large)
    expect(first?.event).to.deep.equal({ id: '1' })
    expect(second?.body).to.equal(note(2))
    expect(recorded.of('exchange.end')[0]).to.include({ events: 2, outcome: 'ok' })
  })

  it('passes and records an event that is no UTF-8', async () => {
    const bytes = Buffer.concat([Buffer.from('data: '), Buffer.from([0xff, 0x80, 0x41]), Buffer.from('\n\n')])
    answer = res => res.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(bytes)
    expect(Buffer.from(await (await fetch(recorder.url, { method: 'POST', body: call(1) })).arrayBuffer())).to.deep.equal(bytes)
    const recorded = await recorder.stop()
    const [frame] = recorded.of('http')
    expect(frame === undefined ? undefined : recorded.bodyOf(frame)).to.deep.equal(Buffer.from([0xff, 0x80, 0x41]))
    expect(frame?.reason).to.equal('invalid-utf8')
  })

  const text = `{"jsonrpc":"2.0","id":1,"result":{"text":"${'grüße '.repeat(2000)}"}}`
  for (const [encoding, pack] of [['gzip', gzipSync], ['br', brotliCompressSync], ['zstd', zstdCompressSync]] as const) {
    it(`passes a ${encoding} answer compressed and records it inflated`, async () => {
      const packed = pack(Buffer.from(text))
      answer = res => res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': encoding, 'Content-Length': packed.length }).end(packed)
      const client = await rawClient(recorder.port)
      client.write(post(call(1), [`Accept-Encoding: ${encoding}`]))
      const received = await client.until(all => all.length >= packed.length + all.indexOf('\r\n\r\n') + 4 && all.includes('\r\n\r\n'))
      expect(Buffer.from(received.slice(received.indexOf('\r\n\r\n') + 4), 'latin1')).to.deep.equal(packed)
      const recorded = await recorder.stop()
      const [frame] = recorded.of('mcp').filter(each => each.from === 'server')
      expect(frame).to.include({ body: text, rpcId: 1 })
      expect(recorded.of('exchange.end')[0]?.responseBytes).to.equal(packed.length)
    })
  }

  it('passes each event of a gzip stream when it comes, recorded inflated', async () => {
    const gzip = createGzip({ flush: constants.Z_SYNC_FLUSH })
    let push = (_text: string): void => {}
    answer = res => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Content-Encoding': 'gzip' })
      gzip.pipe(res)
      push = line => {
        gzip.write(line)
      }
      push(`data: ${note(1)}\n\n`)
    }
    const response = await fetch(recorder.url, { method: 'POST', body: call(1), headers: { 'Accept-Encoding': 'gzip' } })
    const reader = (response.body as ReadableStream<Uint8Array>).getReader()
    expect(Buffer.from((await reader.read()).value ?? []).toString()).to.equal(`data: ${note(1)}\n\n`)
    push(`data: ${note(2)}\n\n`)
    expect(Buffer.from((await reader.read()).value ?? []).toString()).to.equal(`data: ${note(2)}\n\n`)
    gzip.end(`data: ${result(1)}\n\n`)
    expect(Buffer.from((await reader.read()).value ?? []).toString()).to.equal(`data: ${result(1)}\n\n`)
    expect((await reader.read()).done).to.equal(true)
    const recorded = await recorder.stop()
    expect(recorded.of('mcp').filter(frame => frame.from === 'server').map(frame => frame.body)).to.deep.equal([note(1), note(2), result(1)])
  })

  for (const [name, encoding, bytes] of [
    ['says gzip and is none', 'gzip', Buffer.from(text)],
    ['breaks off in the middle of its gzip', 'gzip', gzipSync(Buffer.from(text)).subarray(0, 60)],
    ['is raw deflate', 'deflate', deflateRawSync(Buffer.from(text))],
    ['has an encoding that nobody knows', 'x-secret', Buffer.from([1, 2, 3, 0xff])],
    ['expands a thousandfold', 'gzip', gzipSync(Buffer.alloc(64 * 1024 * 1024))],
  ] as const) {
    it(`passes an answer that ${name}`, async () => {
      answer = res => res.writeHead(200, { 'Content-Type': 'application/json', 'Content-Encoding': encoding, 'Content-Length': bytes.length }).end(bytes)
      const client = await rawClient(recorder.port)
      client.write(post(call(1)))
      const received = await client.until(all => all.includes('\r\n\r\n') && all.length >= bytes.length + all.indexOf('\r\n\r\n') + 4)
      expect(Buffer.from(received.slice(received.indexOf('\r\n\r\n') + 4), 'latin1').equals(bytes)).to.equal(true)
      const recorded = await recorder.stop()
      expect(recorded.of('exchange.end')[0]).to.include({ outcome: 'ok', responseBytes: bytes.length })
      expect(recorded.of('http').reduce((sum, frame) => sum + recorded.bodyOf(frame).length, 0)).to.be.lessThan(18 * 1024 * 1024)
    })
  }
})
