import { once } from 'node:events'
import { readdir, rm } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect } from 'node:net'

import { expect } from 'chai'

import { gatedFs } from '../support/gated-fs.ts'
import { bodyOf, call, httpUpstream, post, rawClient, rawUpstream, recorderBefore, result } from '../support/recorder.ts'
import type { RecorderUnderTest, Upstream } from '../support/recorder.ts'

interface RpcError {
  readonly id: unknown
  readonly error: { readonly code: number; readonly data: { readonly reason: string; readonly forwarded: boolean } }
}

describe('recorder when the other side fails', () => {
  let recorder: RecorderUnderTest | undefined
  let upstream: Upstream | undefined
  afterEach(async () => {
    await recorder?.dispose()
    await upstream?.close()
    recorder = upstream = undefined
  })

  it('answers 503 with Retry-After and the id when the upstream is down, and serves again when it is back', async () => {
    upstream = await httpUpstream((_req, res) => res.end())
    const { url } = upstream
    await upstream.close()
    upstream = undefined
    recorder = await recorderBefore(url)
    const response = await fetch(recorder.url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: call('abc') })
    expect([response.status, response.headers.get('retry-after')]).to.deep.equal([503, '2'])
    const { id, error } = (await response.json()) as RpcError
    expect([id, error.data]).to.deep.equal(['abc', { reason: 'upstream-unreachable', forwarded: false }])
    expect(await (await fetch(`${recorder.adminUrl}/metrics`)).text()).to.match(/mcp_server_operation_duration_seconds_count\{[^}]*error_type="-31002"[^}]*\} 1/)
    const batch = await fetch(recorder.url, { method: 'POST', body: `[${call(1)},${call(2)},{"jsonrpc":"2.0","method":"n"}]` })
    expect(((await batch.json()) as RpcError[]).map(each => [each.id, each.error.data.reason])).to.deep.equal([[1, 'upstream-unreachable'], [2, 'upstream-unreachable']])
    const recorded = await recorder.stop()
    expect(recorded.of('exchange.end').map(end => [end.status, end.outcome])).to.deep.equal([[503, 'error'], [503, 'error']])
    expect(recorded.of('mcp').filter(frame => frame.from === 'server').map(frame => frame.errorCode)).to.deep.equal([-31_002, -31_002, -31_002])
    expect(recorded.verdict).to.equal('consistent')
  })

  it('never sends a POST twice when the upstream closes without an answer', async () => {
    let connections = 0
    upstream = await rawUpstream(socket => {
      socket.once('data', () => {
        connections++
        socket.destroy()
      })
    })
    recorder = await recorderBefore(upstream.url)
    const response = await fetch(recorder.url, { method: 'POST', body: call(1) })
    expect(response.status).to.equal(503)
    expect(((await response.json()) as RpcError).error.data).to.deep.equal({ reason: 'upstream-unreachable', forwarded: true })
    expect(connections).to.equal(1)
  })

  for (const [name, answer] of [
    ['a JSON answer', 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"jsonrpc":'],
    ['a chunked answer', 'HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n'],
    ['a stream of events', `HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n11\r\ndata: {"a":1}\n\nda\r\n`],
  ] as const) {
    it(`lets the client see the cut when the upstream dies in the middle of ${name}`, async () => {
      upstream = await rawUpstream(socket => {
        socket.once('data', () => socket.end(answer))
      })
      recorder = await recorderBefore(upstream.url)
      const client = await rawClient(recorder.port)
      client.write(post(call(1)))
      const received = await client.closed()
      const tail = /\r\n\r\n([^]*)$/.exec(answer)?.[1] ?? ''
      expect(received.slice(received.indexOf('\r\n\r\n') + 4).replace(/(?:^|\r\n)[0-9a-f]+\r\n/g, '').trimEnd()).to.equal(tail.replace(/^[0-9a-f]+\r\n/, '').trimEnd())
      expect(received).not.to.include('\r\n0\r\n')
      const recorded = await recorder.stop()
      expect(recorded.of('exchange.end')[0]).to.include({ outcome: 'cut', status: 200 })
    })
  }

  it('lets the client see a garbled answer as an upstream that cannot be reached', async () => {
    upstream = await rawUpstream(socket => {
      socket.once('data', () => socket.end('SSH-2.0-OpenSSH_9.2\r\n'))
    })
    recorder = await recorderBefore(upstream.url)
    const response = await fetch(recorder.url, { method: 'POST', body: call(1) })
    expect(response.status).to.equal(503)
  })

  it('passes an early answer to an upload that the upstream does not want', async () => {
    upstream = await httpUpstream((_req, res) => {
      res.writeHead(413, { 'Content-Type': 'text/plain', Connection: 'close' }).end('too large')
    })
    recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write('POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Type: application/octet-stream\r\nContent-Length: 50000000\r\n\r\n')
    client.write(Buffer.alloc(3 * 1024 * 1024))
    expect(await client.until(text => text.includes('too large'))).to.match(/^HTTP\/1\.1 413 /)
    client.socket.destroy()
    const recorded = await recorder.stop()
    expect(recorded.of('exchange.end')[0]?.status).to.equal(413)
  })

  for (const [name, head] of [
    ['waits for the answer', undefined],
    ['reads a stream', { 'Content-Type': 'text/event-stream' }],
    ['reads a download', { 'Content-Type': 'application/octet-stream' }],
  ] as const) {
    it(`aborts upstream at once when a client that ${name} goes away`, async () => {
      let arrived: (res: ServerResponse) => void = () => {}
      const asked = new Promise<ServerResponse>(resolve => (arrived = resolve))
      upstream = await httpUpstream((req, res) => {
        void bodyOf(req).then(() => {
          if (head !== undefined) res.writeHead(200, head).write(head['Content-Type'] === 'text/event-stream' ? ': hi\n\n' : 'x')
          arrived(res)
        })
      })
      recorder = await recorderBefore(upstream.url)
      const client = await rawClient(recorder.port)
      client.write(post(call(1)))
      const res = await asked
      if (head !== undefined) await client.until(text => text.includes(head['Content-Type'] === 'text/event-stream' ? ': hi' : '1\r\nx'))
      const gone = once(res, 'close')
      client.socket.destroy()
      await gone
      const recorded = await recorder.stop()
      expect(recorded.of('exchange.end').map(end => end.outcome)).to.deep.equal(['cancelled'])
    })
  }

  it('records a request whose client went away in the middle of its body, and forwards nothing', async () => {
    let requests = 0
    upstream = await httpUpstream((_req, res) => {
      requests++
      res.end()
    })
    recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write('POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"half')
    await (await fetch(`${recorder.adminUrl}/livez`)).text()
    client.socket.end()
    await client.closed()
    const recorded = await recorder.stop()
    expect(recorded.of('exchange.end').map(end => end.outcome)).to.deep.equal(['cancelled'])
    expect(requests).to.equal(0)
  })

  it('takes a client that closes its half of the connection for gone, as Node servers do', async () => {
    let arrived: (res: ServerResponse) => void = () => {}
    const asked = new Promise<ServerResponse>(resolve => (arrived = resolve))
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(() => arrived(res))
    })
    recorder = await recorderBefore(upstream.url)
    const socket = connect({ port: recorder.port, host: '127.0.0.1', allowHalfOpen: true })
    await once(socket, 'connect')
    socket.resume().write(post(call(1)))
    const gone = once(await asked, 'close')
    socket.end()
    await gone
    socket.destroy()
    const recorded = await recorder.stop()
    expect(recorded.of('exchange.end').map(end => end.outcome)).to.deep.equal(['cancelled'])
  })

  describe('when it cannot record', () => {
    let asked: string[]
    beforeEach(async () => {
      asked = []
      upstream = await httpUpstream((req: IncomingMessage, res: ServerResponse) => {
        void bodyOf(req).then(body => {
          asked.push(body.toString())
          res.writeHead(200, { 'Content-Type': 'application/json' }).end(result((JSON.parse(body.toString() || '{}') as { id?: number }).id ?? null))
        })
      })
    })

    /** Resolves when the recorder's readiness is as wanted. */
    const ready = async (wanted: number): Promise<string> => {
      for (;;) {
        const response = await fetch(`${recorder?.adminUrl}/readyz`)
        const text = await response.text()
        if (response.status === wanted) return text
      }
    }
    const send = async (body: string, init: RequestInit = {}): Promise<{ status: number; retry: string | null; text: string }> => {
      const response = await fetch(recorder?.url ?? '', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body, ...init })
      return { status: response.status, retry: response.headers.get('retry-after'), text: await response.text() }
    }

    it('refuses under Block, forwards nothing, and goes on with a declared gap when it can record again', async () => {
      const gate = gatedFs()
      recorder = await recorderBefore(upstream?.url ?? '', { spoolFs: gate.fs })
      await send(call(1))
      gate.fail('EIO')
      const refused = await send(call(2))
      expect(refused).to.include({ status: 200, retry: null })
      expect(JSON.parse(refused.text)).to.deep.include({ id: 2 })
      expect((JSON.parse(refused.text) as RpcError).error).to.deep.include({ code: -31_001, data: { reason: 'recording-impossible', forwarded: false } })
      expect(await ready(503)).to.include('EIO')
      expect(await send(call(3))).to.include({ status: 200 })
      expect(await send('{"jsonrpc":"2.0","method":"notifications/x"}')).to.include({ status: 503, retry: '2' })
      expect(await send('{"jsonrpc":"2.0","id":0,"method":"initialize","params":{}}')).to.include({ status: 503, retry: '2' })
      expect((await fetch(recorder.url)).status).to.equal(503)
      expect((await fetch(recorder.url, { method: 'DELETE' })).status).to.equal(503)
      expect((JSON.parse((await send(`[${call(4)},${call(5)}]`)).text) as RpcError[]).map(each => each.id)).to.deep.equal([4, 5])
      expect((await send('x'.repeat(2_000_000))).status).to.equal(503)
      expect(asked).to.deep.equal([call(1)])
      gate.heal()
      await ready(200)
      expect(JSON.parse((await send(call(6))).text)).to.deep.include({ id: 6, result: { content: [] } })
      expect(asked).to.deep.equal([call(1), call(6)])
      const recorded = await recorder.stop()
      const gap = recorded.of('gap').find(each => each.reason === 'blocked')
      expect(gap?.count).to.be.greaterThan(5)
      expect(recorded.of('mcp').filter(frame => frame.from === 'server').map(frame => frame.rpcId)).to.include.members([1, 6])
      expect(recorded.verdict).to.equal('incomplete')
    })

    it('announces a session that began meanwhile as soon as it can', async () => {
      const gate = gatedFs()
      recorder = await recorderBefore(upstream?.url ?? '', { spoolFs: gate.fs })
      gate.fail('EIO')
      await send(call(1), { headers: { 'Mcp-Session-Id': 'first' } })
      await ready(503)
      await send(call(2), { headers: { 'Mcp-Session-Id': 'second' } })
      gate.heal()
      await ready(200)
      for (const session of ['first', 'second']) await send(call(3), { headers: { 'Mcp-Session-Id': session } })
      const recorded = await recorder.stop()
      const announced = recorded.of('session.start').map(start => start.session)
      expect(new Set(announced)).to.deep.equal(new Set(recorded.of('exchange.end').map(end => end.session)))
      expect(announced).to.have.length(2)
    })

    it('says full when the disk is full', async () => {
      const gate = gatedFs()
      recorder = await recorderBefore(upstream?.url ?? '', { spoolFs: gate.fs })
      gate.fail('ENOSPC')
      await send(call(2))
      expect(await ready(503)).to.match(/room|full/)
      gate.heal()
      await ready(200)
    })

    it('forwards under Allow and declares what passed unrecorded', async () => {
      const gate = gatedFs()
      recorder = await recorderBefore(upstream?.url ?? '', { spoolFs: gate.fs, onFailure: 'allow' })
      gate.fail('EIO')
      for (const id of [1, 2, 3]) expect(JSON.parse((await send(call(id))).text)).to.deep.include({ id, result: { content: [] } })
      expect(await ready(200)).to.include('degraded')
      expect(asked).to.have.length(3)
      gate.heal()
      for (let text = 'degraded'; text.includes('degraded'); ) text = await ready(200)
      await send(call(4))
      const recorded = await recorder.stop()
      const gap = recorded.of('gap').find(each => each.reason === 'unrecorded')
      expect(gap?.count).to.be.greaterThan(2)
      expect(recorded.of('mcp').filter(frame => frame.from === 'server').map(frame => frame.rpcId)).to.include(4)
    })

    it('writes its last words when the disk comes back while it stops', async () => {
      const gate = gatedFs()
      recorder = await recorderBefore(upstream?.url ?? '', { spoolFs: gate.fs, onFailure: 'allow' })
      await send(call(1), { headers: { 'Mcp-Session-Id': 's' } })
      gate.fail('ENOSPC')
      await send(call(2), { headers: { 'Mcp-Session-Id': 's' } })
      const ending = recorder.end()
      gate.heal()
      expect(await ending).to.include({ unshippedBytes: 0, ended: true })
      const recorded = await recorder.stop()
      expect(recorded.of('gap').map(gap => gap.reason)).to.include('unrecorded')
      expect(recorded.of('session.end')).to.have.length(1)
      expect(recorded.frames.at(-1)?.kind).to.equal('writer.stop')
    })

    it('says that it could not write its last words when the disk does not come back', async () => {
      const gate = gatedFs()
      recorder = await recorderBefore(upstream?.url ?? '', { spoolFs: gate.fs, onFailure: 'allow' })
      await send(call(1))
      gate.fail('EIO')
      await send(call(2))
      expect((await recorder.end()).ended).to.equal(false)
      expect((await recorder.stop()).of('writer.stop')).to.deep.equal([])
    })

    it('makes a spool directory that was removed again, and says what that cost', async () => {
      recorder = await recorderBefore(upstream?.url ?? '', { lingerMs: 60_000 })
      await send(call(1))
      await rm(recorder.spool, { recursive: true })
      for (const id of [2, 3]) expect(JSON.parse((await send(call(id))).text)).to.deep.include({ id, result: { content: [] } })
      expect(recorder.log()).to.include('the spool directory was removed')
      expect((await readdir(recorder.spool)).filter(name => name === 'lock' || name.endsWith('.log'))).to.have.length.greaterThan(1)
      expect(await recorder.end()).to.include({ unshippedBytes: 0, ended: true })
      const recorded = await recorder.stop()
      expect(recorded.of('mcp').filter(frame => frame.from === 'server').map(frame => frame.rpcId)).to.include.members([2, 3])
      expect(recorded.verdict).not.to.equal('broken')
    })

    it('ends an open stream with an error event for what it still owes', async () => {
      const gate = gatedFs()
      let stream: ServerResponse | undefined
      const own = await httpUpstream((req, res) => {
        void bodyOf(req).then(() => {
          stream = res
          res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(': open\n\n')
        })
      })
      recorder = await recorderBefore(own.url, { spoolFs: gate.fs })
      const client = await rawClient(recorder.port)
      client.write(post(call('later')))
      await client.until(text => text.includes(': open'))
      gate.fail('EIO')
      stream?.write(`data: ${result('later', { secret: 'unrecorded' })}\n\n`)
      const received = await client.until(text => text.endsWith('0\r\n\r\n'))
      expect(received).to.include('"id":"later","error":{"code":-31001').and.to.include('"forwarded":true').and.not.to.include('unrecorded')
      gate.heal()
      await own.close()
    })
  })
})
