import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { glob, readFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

import { expect } from 'chai'

import { directoryArchive } from '../../src/archive/directory.ts'
import { verify } from '../../src/archive/verify.ts'
import type { FrameOf } from '../../src/record/frame.ts'
import { parseLine } from '../../src/record/parse-line.ts'
import { bodyOf, call, httpUpstream, post, rawClient, rawUpstream, readRecorded, recorderBefore, result } from '../support/recorder.ts'
import type { RecorderUnderTest, Upstream } from '../support/recorder.ts'

/** An upstream that keeps what it gets and answers every connection's request with fixed bytes. */
async function fixedUpstream(answer: (request: string, socket: Socket) => void): Promise<{ upstream: Upstream; got: string[] }> {
  const got: string[] = []
  const upstream = await rawUpstream(socket => {
    let text = ''
    socket.on('data', (chunk: Buffer) => {
      text += chunk.toString('latin1')
      const head = text.indexOf('\r\n\r\n')
      const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0)
      if (head < 0 || text.length < head + 4 + length) return
      const whole = text
      text = ''
      got.push(whole)
      answer(whole, socket)
    })
  })
  return { upstream, got }
}

const headLines = (text: string): string[] => text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n').slice(1)

describe('recorder on the data path', () => {
  let recorder: RecorderUnderTest | undefined
  let upstream: Upstream | undefined
  afterEach(async () => {
    await recorder?.dispose()
    await upstream?.close()
    recorder = upstream = undefined
  })

  it('passes request headers with their case, order and duplicates', async () => {
    const fixed = await fixedUpstream((_, socket) => void socket.write('HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n'))
    upstream = fixed.upstream
    recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    const own = ['X-Twice: one', 'x-lower: a', 'X-TWICE: two', 'Origin: https://evil.example', 'X-Latin: caf\u00e9', 'X-Empty:', 'Mcp-Session-Id: abc', 'Cookie: a=1; b=2', 'Accept-Encoding: gzip, br;q=0.5, zstd', 'TE: trailers']
    client.write(Buffer.from(['POST /mcp?x=1&y=%20 HTTP/1.1', 'Host: mcp.test:99', ...own, 'Content-Length: 2', '', '{}'].join('\r\n'), 'latin1'))
    await client.until(text => text.includes('202 Accepted'))
    const [seen = ''] = fixed.got
    expect(seen).to.match(/^POST \/mcp\?x=1&y=%20 HTTP\/1\.1\r\n/)
    expect(headLines(seen).filter(line => /^(?:x-|origin|mcp-|cookie|accept-encoding|te)/i.test(line)).map(line => line.replace(/:\s*/, ': ').trim())).to.deep.equal(own.map(line => line.replace(/:\s*/, ': ').trim()))
    expect(seen.toLowerCase()).to.include('host: mcp.test:99\r\n')
    expect(seen.toLowerCase()).not.to.include('x-forwarded')
    expect(seen.toLowerCase()).not.to.include('\r\nvia:')
  })

  it('passes response headers with their case, order, duplicates and reason phrase, and adds none', async () => {
    const own = ['X-Twice: one', 'x-lower: a', 'X-TWICE: two', 'Set-Cookie: a=1', 'SET-COOKIE: b=2', 'Content-Type: application/json', 'X-Latin: caf\u00e9', 'Mcp-Session-Id: 1868a90c', `Content-Length: ${result(1).length}`]
    const fixed = await fixedUpstream((_, socket) => void socket.write(Buffer.from(`HTTP/1.1 200 Quite Fine\r\n${own.join('\r\n')}\r\n\r\n${result(1)}`, 'latin1')))
    upstream = fixed.upstream
    recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write(post(call(1)))
    const received = await client.until(text => text.includes(result(1)))
    expect(received).to.match(/^HTTP\/1\.1 200 Quite Fine\r\n/)
    expect(headLines(received).filter(line => !/^(?:connection|keep-alive):/i.test(line))).to.deep.equal(own)
  })

  for (const [status, text, length] of [[204, 'No Content', ''], [304, 'Not Modified', ''], [202, 'Accepted', 'Content-Length: 0\r\n'], [405, 'Method Not Allowed', 'Content-Length: 0\r\nAllow: POST\r\n'], [599, 'Odd', 'Content-Length: 0\r\n']] as const) {
    it(`passes ${status} as it came`, async () => {
      const fixed = await fixedUpstream((_, socket) => void socket.write(`HTTP/1.1 ${status} ${text}\r\nX-A: b\r\n${length}\r\n`))
      upstream = fixed.upstream
      recorder = await recorderBefore(upstream.url)
      const client = await rawClient(recorder.port)
      client.write(post(call(1)))
      const received = await client.until(all => all.includes('\r\n\r\n'))
      expect(received).to.match(new RegExp(`^HTTP/1\\.1 ${status} ${text}\\r\\nX-A: b\\r\\n${length}`))
      // The connection is in order: it serves another request.
      client.write(post(call(2)))
      await client.until(all => all.split('HTTP/1.1').length === 3)
      const recorded = await recorder.stop()
      expect(recorded.of('exchange.end').map(end => end.status)).to.deep.equal([status, status])
    })
  }

  it('passes a HEAD answer with its length and no body', async () => {
    const fixed = await fixedUpstream((_, socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 12345\r\nContent-Type: text/plain\r\n\r\n'))
    upstream = fixed.upstream
    recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write('HEAD /mcp HTTP/1.1\r\nHost: a\r\n\r\nHEAD /again HTTP/1.1\r\nHost: a\r\n\r\n')
    const received = await client.until(all => all.split('Content-Length: 12345').length === 3)
    expect(received).not.to.include('0\r\n\r\n0')
  })

  it('passes 103 and trailers', async () => {
    const fixed = await fixedUpstream((_, socket) => void socket.write('HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n'))
    upstream = fixed.upstream
    recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write('GET /mcp HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n')
    const received = await client.until(all => all.endsWith('X-Sum: 42\r\n\r\n'))
    expect(received).to.match(/^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a>; rel=preload\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
    expect(received).to.match(/5\r\nhello\r\n0\r\nX-Sum: 42\r\n\r\n$/)
  })

  it('answers Expect: 100-continue, then passes the body', async () => {
    const fixed = await fixedUpstream((_, socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
    upstream = fixed.upstream
    recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write('POST /mcp HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n')
    await client.until(all => all === 'HTTP/1.1 100 Continue\r\n\r\n')
    client.write('body')
    await client.until(all => all.endsWith('\r\n\r\nok'))
    expect(fixed.got[0]).to.match(/\r\n\r\nbody$/)
  })

  it('passes what a client expects that is not 100-continue', async () => {
    const fixed = await fixedUpstream((_, socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
    upstream = fixed.upstream
    recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write('POST /mcp HTTP/1.1\r\nHost: a\r\nExpect: wonders\r\nContent-Length: 4\r\n\r\nbody')
    await client.until(all => all.endsWith('\r\n\r\nok'))
    expect((await recorder.stop()).of('exchange.end')).to.have.length(1)
  })

  it('keeps the chunks of an answer as the upstream cut them, also inside a character', async () => {
    const pieces = [Buffer.from('{"a":"gr'), Buffer.from([0xc3]), Buffer.from([0xbc, 0x22]), Buffer.from('}')]
    let send: (() => void) | undefined
    const fixed = await fixedUpstream((_, socket) => {
      socket.setNoDelay(true)
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n')
      const rest = [...pieces]
      send = () => {
        const piece = rest.shift()
        socket.write(piece === undefined ? '0\r\n\r\n' : Buffer.concat([Buffer.from(`${piece.length}\r\n`), piece, Buffer.from('\r\n')]))
      }
      send()
    })
    upstream = fixed.upstream
    recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write('GET /x HTTP/1.1\r\nHost: a\r\n\r\n')
    for (const [at, piece] of pieces.entries()) {
      // The unfinished character waits for its end, since it is no text yet; everything else comes chunk by chunk.
      if (at !== 1) await client.until(all => all.includes(piece.toString('latin1')))
      send?.()
    }
    const received = await client.until(all => all.endsWith('0\r\n\r\n'))
    expect(received.slice(received.indexOf('\r\n\r\n') + 4)).to.equal(`8\r\n{"a":"gr\r\n1\r\n\u00c3\r\n2\r\n\u00bc"\r\n1\r\n}\r\n0\r\n\r\n`)
    const recorded = await recorder.stop()
    const [first] = recorded.of('http')
    expect(first === undefined ? '' : recorded.bodyOf(first).toString()).to.equal('{"a":"grü"}')
  })

  it('closes the connection after an answer to HTTP/1.0 and to Connection: close', async () => {
    const fixed = await fixedUpstream((_, socket) => void socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'))
    upstream = fixed.upstream
    recorder = await recorderBefore(upstream.url)
    for (const head of ['GET /x HTTP/1.0\r\nHost: a\r\n\r\n', 'GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n']) {
      const client = await rawClient(recorder.port)
      client.write(head)
      expect(await client.closed()).to.match(/\r\n\r\nok$/)
    }
  })

  it('passes an answer without length until the upstream closes', async () => {
    const fixed = await fixedUpstream((_, socket) => void socket.end('HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{"jsonrpc":"2.0","id":1,"result":{}}'))
    upstream = fixed.upstream
    recorder = await recorderBefore(upstream.url)
    const response = await fetch(recorder.url, { method: 'POST', body: call(1) })
    expect(await response.json()).to.deep.equal({ jsonrpc: '2.0', id: 1, result: {} })
    const recorded = await recorder.stop()
    expect(recorded.of('exchange.end')[0]?.outcome).to.equal('ok')
  })

  it('answers pipelined requests in order', async () => {
    const held: (() => void)[] = []
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(body => {
        held.push(() => res.end(`answer to ${JSON.parse(body.toString()).id}`))
        if (held.length === 3) held.reverse().forEach(go => go())
      })
    })
    recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write(Buffer.concat([post(call(1)), post(call(2)), post(call(3))]))
    const received = await client.until(all => all.includes('answer to 3'))
    expect([...received.matchAll(/answer to \d/g)].map(String)).to.deep.equal(['answer to 1', 'answer to 2', 'answer to 3'])
  })

  for (const mib of [8, 100]) it(`carries bodies of ${mib} MiB both ways unchanged, recorded whole`, async function () {
    this.timeout(120_000)
    const size = mib * 1024 * 1024
    const block = Buffer.alloc(1024 * 1024)
    for (let at = 0; at < block.length; at++) block[at] = (at * 31 + (at >> 8)) & 0xff
    const expected = createHash('sha256')
    for (let sent = 0; sent < size; sent += block.length) expected.update(block)
    const digest = expected.digest('hex')
    let uploaded = ''
    upstream = await httpUpstream((req, res) => {
      const hash = createHash('sha256')
      req.on('data', (chunk: Buffer) => hash.update(chunk))
      req.on('end', () => {
        uploaded = hash.digest('hex')
        res.writeHead(200, { 'Content-Type': 'application/octet-stream' })
        let left = size
        const more = (): void => {
          while (left > 0) {
            left -= block.length
            if (!res.write(block)) {
              res.once('drain', more)
              return
            }
          }
          res.end()
        }
        more()
      })
    })
    recorder = await recorderBefore(upstream.url)
    const agent = new Agent({ keepAlive: false })
    const req = request(recorder.url, { method: 'POST', agent, headers: { 'Content-Type': 'application/octet-stream', 'Content-Length': size } })
    const answered = once(req, 'response') as Promise<[IncomingMessage]>
    for (let sent = 0; sent < size; sent += block.length) if (!req.write(block)) await once(req, 'drain')
    req.end()
    const [response] = await answered
    const downloaded = createHash('sha256')
    for await (const chunk of response) downloaded.update(chunk as Buffer)
    expect(uploaded).to.equal(digest)
    expect(downloaded.digest('hex')).to.equal(digest)
    const { archive } = recorder
    await recorder.halt()
    const ends = await lastParts(archive)
    expect(ends.map(part => [part.bytes, part.sha256])).to.deep.equal([[size, digest], [size, digest]])
    if (mib <= 8) {
      const recorded = await readRecorded(archive)
      expect(recorded.of('http').map(frame => createHash('sha256').update(recorded.bodyOf(frame)).digest('hex'))).to.deep.equal([digest, digest])
    }
    expect((await verify({ archive: await directoryArchive(archive) }, { now: Date.now })).verdict).to.equal('consistent')
  })
})

/** The frames that end a body in parts. Reads a segment at a time: the whole would not fit the memory of a small machine. */
async function lastParts(archive: string): Promise<FrameOf<'body'>[]> {
  const found: FrameOf<'body'>[] = []
  for await (const name of glob('**/*.jsonl.gz', { cwd: archive })) {
    for (const line of gunzipSync(await readFile(join(archive, name))).toString('utf8').split('\n')) {
      const parsed = line.includes('"last":true') ? parseLine(line) : undefined
      if (parsed?.kind === 'frame' && parsed.frame.kind === 'body') found.push(parsed.frame)
    }
  }
  return found
}
