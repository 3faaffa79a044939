import { once } from 'node:events'
import { createHash } from 'node:crypto'
import { connect } from 'node:net'

import { expect } from 'chai'

import { bodyOf, call, httpUpstream, post, rawClient, recorderBefore, result } from '../support/recorder.ts'
import type { RecorderUnderTest, Upstream } from '../support/recorder.ts'

describe('recorder before hostile clients', () => {
  let recorder: RecorderUnderTest
  let upstream: Upstream
  let seen: string[]

  beforeEach(async () => {
    seen = []
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(body => {
        seen.push(`${req.method} ${req.url} ${body.toString()}`)
        res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1))
      })
    })
    recorder = await recorderBefore(upstream.url)
  })
  afterEach(async () => {
    await recorder.dispose()
    await upstream.close()
  })

  const refused: readonly (readonly [string, string, number])[] = [
    ['both lengths', 'POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG', 400],
    ['two lengths', 'POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab', 400],
    ['a list of lengths', 'POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nab', 400],
    ['a signed length', 'POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\na', 400],
    ['a coding that is not chunked last', 'POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n', 400],
    ['an obfuscated coding', 'POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n', 400],
    ['bare line feeds', 'POST /mcp HTTP/1.1\nHost: a\nContent-Length: 0\n\n', 400],
    ['a folded header', 'GET /mcp HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n', 400],
    ['a space before the colon', 'GET /mcp HTTP/1.1\r\nHost: a\r\nX-A : b\r\n\r\n', 400],
    ['a NUL in a header', 'GET /mcp HTTP/1.1\r\nHost: a\r\nX-A: b\u0000c\r\n\r\n', 400],
    ['no Host', 'GET /mcp HTTP/1.1\r\n\r\n', 400],
    ['two Hosts', 'GET /mcp HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['a chunk size that is none', 'POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n', 400],
    ['headers of 200 KiB', `GET /mcp HTTP/1.1\r\nHost: a\r\nX-A: ${'b'.repeat(200 * 1024)}\r\n\r\n`, 431],
    ['no HTTP at all', 'hello\r\n\r\n', 400],
    ['a TLS greeting', '\u0016\u0003\u0001\u0002\u0000\u0001', 400],
  ]
  for (const [name, bytes, status] of refused) {
    it(`refuses a request with ${name}, and forwards nothing`, async () => {
      const client = await rawClient(recorder.port)
      client.write(Buffer.from(bytes, 'latin1'))
      expect(await client.closed()).to.match(new RegExp(`^HTTP/1\\.1 ${status} `))
      expect(seen).to.deep.equal([])
      // It serves on.
      const next = await rawClient(recorder.port)
      next.write(post(call(1)))
      await next.until(text => text.includes(result(1)))
      next.socket.destroy()
    })
  }

  it('forwards a chunked request as one of known length', async () => {
    const client = await rawClient(recorder.port)
    client.write('POST /mcp HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4;ext=1\r\n{"a"\r\n3\r\n:1}\r\n0\r\nX-T: 1\r\n\r\n')
    await client.until(text => text.includes(result(1)))
    expect(seen).to.deep.equal(['POST /mcp {"a":1}'])
    client.socket.destroy()
  })

  it('never lets a smuggled request out of a body', async () => {
    const client = await rawClient(recorder.port)
    const inner = 'GET /admin HTTP/1.1\r\nHost: a\r\n\r\n'
    client.write(post(inner))
    await client.until(text => text.includes(result(1)))
    expect(seen).to.deep.equal([`POST /mcp ${inner}`])
    client.socket.destroy()
  })

  it('answers an upgrade over HTTP when answers before it on the connection are still owed', async () => {
    const client = await rawClient(recorder.port)
    const upgrade = 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    client.write(Buffer.concat([post(call(1)), Buffer.from(upgrade)]))
    expect((await client.closed()).split(result(1))).to.have.length(3)
    expect(seen.toSorted()).to.deep.equal(['GET /ws ', `POST /mcp ${call(1)}`])
    // It serves on.
    const next = await rawClient(recorder.port)
    next.write(post(call(2)))
    await next.until(text => text.includes(result(1)))
    next.socket.destroy()
  })

  it('drops what a client nominates as hop-by-hop, but never who it is', async () => {
    let headers: readonly string[] = []
    const own = await httpUpstream((req, res) => {
      headers = req.rawHeaders.map(each => each.toLowerCase())
      res.end()
    })
    const before = await recorderBefore(own.url)
    const client = await rawClient(before.port)
    client.write('GET /mcp HTTP/1.1\r\nHost: a\r\nConnection: close, X-Hop, Authorization\r\nX-Hop: 1\r\nAuthorization: Bearer t\r\n\r\n')
    await client.closed()
    expect(headers).to.include('authorization').and.not.to.include('x-hop')
    await before.dispose()
    await own.close()
  })

  it('keeps memory flat while a client that does not read is sent much', async function () {
    this.timeout(60_000)
    const total = 120 * 1024 * 1024
    const block = Buffer.alloc(1024 * 1024, 'a')
    let sent = 0
    let stalled: () => void = () => {}
    const isStalled = new Promise<void>(resolve => (stalled = resolve))
    const own = await httpUpstream((_req, res) => {
      res.writeHead(200, { 'Content-Type': 'application/octet-stream' })
      let quiet: NodeJS.Timeout | undefined
      const more = (): void => {
        for (; sent < total; ) {
          sent += block.length
          if (res.write(block)) continue
          clearTimeout(quiet)
          // Back-pressure has come through when the upstream, too, may not write on.
          quiet = setTimeout(stalled, 300)
          res.once('drain', more)
          return
        }
        clearTimeout(quiet)
        res.end()
      }
      more()
    })
    const before = await recorderBefore(own.url)
    const socket = connect(before.port, '127.0.0.1')
    socket.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n')
    socket.pause()
    await isStalled
    expect(sent).to.be.lessThan(64 * 1024 * 1024)
    const hash = createHash('sha256')
    let received = 0
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length
      hash.update(chunk)
    })
    socket.resume()
    while (received < total) await once(socket, 'data')
    expect(sent).to.equal(total)
    socket.destroy()
    await before.dispose()
    await own.close()
  })

  it('does not let an upstream that does not read fill its memory', async () => {
    let begun = (): void => {}
    const reading = new Promise<void>(resolve => (begun = resolve))
    const own = await httpUpstream((req, res) => {
      req.once('data', () => {
        req.pause()
        req.socket.pause()
        begun()
      })
      res.on('error', () => {})
    })
    const before = await recorderBefore(own.url)
    const socket = connect(before.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write('POST /x HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\nContent-Length: 500000000\r\n\r\n')
    const block = Buffer.alloc(1024 * 1024, 'b')
    let sent = 0
    const more = (): void => {
      while (sent < 500_000_000) {
        sent += block.length
        if (socket.write(block)) continue
        socket.once('drain', more)
        return
      }
    }
    more()
    await reading
    // It stands still when nothing more is taken while the recorder has answered many other requests.
    for (let seen = -1; seen !== sent; ) {
      seen = sent
      for (let turn = 0; turn < 100; turn++) await (await fetch(`${before.adminUrl}/livez`)).text()
    }
    expect(sent).to.be.lessThan(64 * 1024 * 1024)
    await own.close()
    socket.destroy()
    await before.dispose()
  })
})
