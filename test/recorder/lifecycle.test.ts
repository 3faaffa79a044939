import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { expect } from 'chai'

import { bodyOf, call, httpUpstream, post, rawClient, rawUpstream, readRecorded, recorderBefore, result } from '../support/recorder.ts'
import type { Upstream } from '../support/recorder.ts'

const STENO = fileURLToPath(new URL('../../steno', import.meta.url))

/** What starting a recorder is rejected with. */
async function refusal(starting: Promise<{ dispose(): Promise<void> }>): Promise<{ code: unknown; message: string }> {
  return await starting.then(
    async recorder => {
      await recorder.dispose()
      return { code: 'started', message: '' }
    },
    (error: Error & { code?: unknown }) => ({ code: error.code, message: error.message }),
  )
}

describe('recorder from start to end', () => {
  let upstream: Upstream
  let answers: ServerResponse[]
  let onAsked: () => void
  const asked = async (count: number): Promise<void> => {
    while (answers.length < count) await new Promise<void>(resolve => (onAsked = resolve))
  }

  beforeEach(async () => {
    answers = []
    onAsked = () => {}
    upstream = await httpUpstream((req, res) => {
      void bodyOf(req).then(() => {
        answers.push(res)
        onAsked()
      })
    })
  })
  afterEach(() => upstream.close())

  it('finishes what is in flight when it is stopped, ends sessions, accepts nothing more', async () => {
    const recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write(post(call(1), ['Mcp-Session-Id: a']))
    await asked(1)
    const stopping = recorder.stop()
    const late = await rawClient(recorder.port).then(() => 'accepted', () => 'refused')
    expect(late).to.equal('refused')
    expect((await fetch(`${recorder.adminUrl}/readyz`)).status).to.equal(503)
    answers[0]?.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1))
    expect(await client.closed()).to.include(result(1)).and.to.match(/connection: close/i)
    const recorded = await stopping
    expect(recorded.of('exchange.end').map(end => end.outcome)).to.deep.equal(['ok'])
    expect(recorded.frames.slice(-2).map(frame => frame.kind)).to.deep.equal(['session.end', 'writer.stop'])
    expect(recorded.verdict).to.equal('consistent')
    await recorder.dispose()
  })

  it('ends streams that owe nothing at once when it is stopped', async () => {
    const recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write('GET /mcp HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nMcp-Session-Id: a\r\n\r\n')
    await asked(1)
    answers[0]?.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(': open\n\n')
    await client.until(text => text.includes(': open'))
    const recorded = await recorder.stop()
    expect(await client.closed()).to.match(/0\r\n\r\n$/)
    expect(recorded.of('exchange.end')[0]).to.include({ outcome: 'cut', reason: 'the recorder is stopping' })
    expect(recorded.frames.at(-1)?.kind).to.equal('writer.stop')
    await recorder.dispose()
  })

  it('says which port is in use', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    for (const where of ['listen', 'admin'] as const) {
      const { code, message } = await refusal(recorderBefore(upstream.url, { [where]: { host: '127.0.0.1', port } }))
      expect(code).to.equal('listen.failed')
      expect(message).to.include(`127.0.0.1:${port}`).and.to.include(`--${where}`)
    }
    taken.close()
  })

  it('refuses an upstream that is itself, by any name', async () => {
    const probe = createServer().listen(0, '127.0.0.1')
    await once(probe, 'listening')
    const { port } = probe.address() as AddressInfo
    probe.close()
    await once(probe, 'close')
    for (const host of ['127.0.0.1', 'localhost']) {
      const { code } = await refusal(recorderBefore(`http://${host}:${port}/mcp`, { listen: { host: '127.0.0.1', port } }))
      expect(code).to.equal('upstream.loop')
    }
  })

  it('records twice, each in its own archive, when two stand in a chain', async () => {
    const inner = await recorderBefore(upstream.url)
    const outer = await recorderBefore(inner.url)
    const client = await rawClient(outer.port)
    client.write(post(call(1), ['Mcp-Session-Id: s']))
    await asked(1)
    answers[0]?.writeHead(200, { 'Content-Type': 'text/event-stream' }).end(`data: ${result(1)}\n\n`)
    await client.until(text => text.endsWith('0\r\n\r\n'))
    const [one, two] = [await outer.stop(), await inner.stop()]
    for (const recorded of [one, two]) expect(recorded.of('mcp').map(frame => frame.body)).to.deep.equal([call(1), result(1)])
    expect(one.of('session.start')[0]?.session).to.equal(two.of('session.start')[0]?.session)
    await outer.dispose()
    await inner.dispose()
  })

  it('shows what happened in its metrics', async () => {
    const recorder = await recorderBefore(upstream.url)
    const client = await rawClient(recorder.port)
    client.write(post(call(1, 'echo')))
    await asked(1)
    answers[0]?.writeHead(200, { 'Content-Type': 'application/json' }).end('{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"no"}}')
    await client.until(text => text.includes('-32602'))
    const metrics = await (await fetch(`${recorder.adminUrl}/metrics`)).text()
    expect(metrics).to.match(/^steno_exchanges_total\{[^}]*outcome="ok"[^}]*\} 1$/m)
    expect(metrics).to.match(/^steno_frames_total\{[^}]*kind="mcp"[^}]*\} 2$/m)
    expect(metrics).to.match(/mcp_server_operation_duration_seconds_count\{[^}]*tools\/call[^}]*\} 1/)
    await recorder.dispose()
  })

  describe('upgraded connections', () => {
    const greeting = 'GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nAuthorization: Bearer secret-ws\r\n\r\n'
    const accept = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'

    it('pass both ways unchanged and are recorded both ways', async () => {
      let received = ''
      let peer: Socket | undefined
      const own = await rawUpstream(socket => {
        socket.once('data', () => {
          peer = socket
          socket.write(`${accept}hello`)
          socket.on('data', (chunk: Buffer) => {
            received += chunk.toString('latin1')
            socket.write(`echo:${chunk.toString('latin1')}`, 'latin1')
          })
        })
      })
      const recorder = await recorderBefore(own.url)
      const client = await rawClient(recorder.port)
      client.write(greeting)
      await client.until(text => /101 Switching Protocols\r\n[^]*hello$/.test(text))
      client.write(Buffer.from([0x81, 0x02, 0xff, 0x00]))
      await client.until(text => text.endsWith('echo:\u0081\u0002\u00ff\u0000'))
      expect(received).to.equal('\u0081\u0002\u00ff\u0000')
      const gone = once(peer as Socket, 'close')
      client.socket.end()
      await gone
      await client.closed()
      await (await fetch(`${recorder.adminUrl}/livez`)).text()
      const recorded = await recorder.stop()
      const bytes = (from: string): string => Buffer.concat(recorded.of('http').filter(frame => frame.from === from).map(frame => recorded.bodyOf(frame))).toString('latin1')
      expect(bytes('client')).to.equal('\u0081\u0002\u00ff\u0000')
      expect(bytes('server')).to.include('hello').and.to.include('echo:\u0081\u0002\u00ff\u0000')
      expect(recorded.of('exchange.end')[0]).to.include({ status: 101, outcome: 'ok' })
      expect(recorded.frames.at(-1)?.kind).to.equal('writer.stop')
      expect(recorded.text).not.to.include('secret-ws')
      await recorder.dispose()
      await own.close()
    })

    it('are answered 503 when the upstream is down', async () => {
      const own = await rawUpstream(() => {})
      await own.close()
      const recorder = await recorderBefore(own.url)
      const client = await rawClient(recorder.port)
      client.write(greeting)
      expect(await client.closed()).to.match(/^HTTP\/1\.1 503 /)
      const recorded = await recorder.stop()
      expect(recorded.of('exchange.end')[0]).to.include({ status: 503, outcome: 'error' })
      await recorder.dispose()
    })

    it('pass the refusal of a server that does not upgrade', async () => {
      const own = await httpUpstream((_req, res) => res.writeHead(426, { 'X-Why': 'no' }).end('no'))
      const recorder = await recorderBefore(own.url)
      const client = await rawClient(recorder.port)
      client.write(greeting)
      expect(await client.closed()).to.match(/^HTTP\/1\.1 426 [^]*X-Why: no\r\n[^]*\r\n2\r\nno\r\n0\r\n\r\n$/)
      const recorded = await recorder.stop()
      expect(recorded.of('exchange.end')[0]).to.include({ status: 426, outcome: 'error' })
      await recorder.dispose()
      await own.close()
    })

    it('other than WebSocket are answered as if they were not offered', async () => {
      const recorder = await recorderBefore(upstream.url)
      const client = await rawClient(recorder.port)
      client.write(post(call(1), ['Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA']))
      await asked(1)
      answers[0]?.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1))
      await client.until(text => text.includes(result(1)))
      client.socket.destroy()
      await recorder.dispose()
    })

    it('cost nothing but themselves when either side breaks off at any time', async () => {
      const own = await rawUpstream(socket => void socket.once('data', () => socket.resetAndDestroy()))
      const recorder = await recorderBefore(own.url)
      for (let at = 0; at < 20; at++) {
        const client = await rawClient(recorder.port)
        client.write(greeting)
        if (at % 2 === 0) client.socket.resetAndDestroy()
        await client.closed()
      }
      expect((await fetch(`${recorder.adminUrl}/livez`)).status).to.equal(200)
      await recorder.dispose()
      await own.close()
    })

    it('give the client what the server says after the client has said all', async () => {
      const own = await rawUpstream(socket => {
        socket.once('data', () => {
          socket.write(accept)
          socket.once('end', () => socket.end('BYE'))
        })
      }, { allowHalfOpen: true })
      const recorder = await recorderBefore(own.url)
      const socket = connect({ port: recorder.port, host: '127.0.0.1', allowHalfOpen: true })
      let received = ''
      socket.on('data', (chunk: Buffer) => (received += chunk.toString()))
      socket.write(greeting)
      while (!received.includes('101')) await once(socket, 'data')
      socket.end()
      await once(socket, 'end')
      expect(received).to.match(/BYE$/)
      await recorder.dispose()
      await own.close()
    })

    it('are recorded as cut when the upstream breaks off', async () => {
      let peer: Socket | undefined
      const own = await rawUpstream(socket => {
        socket.once('data', () => {
          peer = socket
          socket.write(accept)
        })
      })
      const recorder = await recorderBefore(own.url)
      const client = await rawClient(recorder.port)
      client.write(greeting)
      await client.until(text => text.includes('101'))
      peer?.resetAndDestroy()
      await client.closed()
      const recorded = await recorder.stop()
      expect(recorded.of('exchange.end').map(end => end.outcome)).to.deep.equal(['cut'])
      await recorder.dispose()
      await own.close()
    })

    it('end with the recorder', async () => {
      const own = await rawUpstream(socket => void socket.once('data', () => socket.write(accept)))
      const recorder = await recorderBefore(own.url)
      const client = await rawClient(recorder.port)
      client.write(greeting)
      await client.until(text => text.includes('101'))
      const recorded = await recorder.stop()
      await client.closed()
      expect(recorded.frames.slice(-3).map(frame => frame.kind)).to.deep.equal(['exchange.end', 'session.end', 'writer.stop'])
      await recorder.dispose()
      await own.close()
    })
  })

  describe('as the program steno up', () => {
    let folder: string
    let child: ChildProcess | undefined
    beforeEach(async () => {
      folder = await mkdtemp(join(tmpdir(), 'steno-up-'))
    })
    afterEach(async () => {
      child?.kill('SIGKILL')
      await rm(folder, { recursive: true, force: true })
    })
    const up = (...flags: readonly string[]): { text: () => string; exited: Promise<number | null>; line: (wanted: string) => Promise<string> } => {
      const started = spawn(STENO, ['up', ...flags], { cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
      child = started
      let text = ''
      started.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()))
      const exited = once(started, 'close').then(([code]) => code as number | null)
      const line = async (wanted: string): Promise<string> => {
        for (;;) {
          const found = text.split('\n').find(each => each.includes(wanted))
          if (found !== undefined) return found
          await Promise.race([once(started.stderr, 'data'), exited.then(code => Promise.reject(new Error(`ended with ${code}: ${text}`)))])
        }
      }
      return { text: () => text, exited, line }
    }

    it('records, and on SIGTERM ships everything and exits 0', async () => {
      const archive = join(folder, 'archive')
      const program = up('--upstream', upstream.url, '--archive', archive, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0', '--linger', '3600')
      const { url } = JSON.parse(await program.line('"recording"')) as { url: string }
      const answer = fetch(url, { method: 'POST', body: call(1) })
      await asked(1)
      child?.kill('SIGTERM')
      await program.line('stopping')
      answers[0]?.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1))
      expect(await (await answer).text()).to.equal(result(1))
      expect(await program.exited).to.equal(0)
      const recorded = await readRecorded(archive)
      expect(recorded.of('mcp').map(frame => frame.body)).to.deep.equal([call(1), result(1)])
      expect(recorded.verdict).to.equal('consistent')
    })

    for (const [name, flags, code, message] of [
      ['an unknown flag', ['--upstream', 'http://127.0.0.1:1', '--archive', 'x', '--upstreem', 'x'], 2, /unknown option '--upstreem'[^]*--upstream/],
      ['no upstream', ['--archive', 'x'], 2, /--upstream/],
      ['an upstream that is no URL', ['--upstream', 'mcp', '--archive', 'x'], 2, /http:\/\/127\.0\.0\.1:3001\/mcp/],
      ['an upstream with a password', ['--upstream', 'http://a:secret@127.0.0.1:1', '--archive', 'x'], 2, /must not carry/],
      ['an unknown failure policy', ['--upstream', 'http://127.0.0.1:1', '--archive', 'x', '--on-failure', 'ignore'], 2, /block, allow/],
      ['a spool that is too small', ['--upstream', 'http://127.0.0.1:1', '--archive', 'x', '--spool-max', '1Mi'], 2, /at least 64Mi/],
      ['a listen address without port', ['--upstream', 'http://127.0.0.1:1', '--archive', 'x', '--listen', 'localhost'], 2, /HOST:PORT/],
      ['a key file without end', ['--upstream', 'http://127.0.0.1:1', '--archive', 'x', '--key-file', '/dev/urandom'], 2, /plain file/],
      ['a key file that is not there', ['--upstream', 'http://127.0.0.1:1', '--archive', 'x', '--key-file', 'none'], 2, /head -c 32/],
    ] as const) {
      it(`ends with ${code} and says what to do for ${name}`, async () => {
        const program = up(...flags)
        expect(await program.exited).to.equal(code)
        expect(program.text()).to.match(message).and.not.to.match(/secret|\n\s+at /)
      })
    }

    it('says what to do when the archive cannot be a folder', async () => {
      await writeFile(join(folder, 'file'), '')
      const program = up('--upstream', upstream.url, '--archive', join(folder, 'file'), '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0')
      expect(await program.exited).to.equal(1)
      expect(program.text()).to.match(/spool\.io|sink\.io/)
    })
  })
})
