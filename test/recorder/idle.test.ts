import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { expect } from 'chai'

import { createOwnClock } from '../support/own-clock.ts'
import type { OwnClock } from '../support/own-clock.ts'
import { bodyOf, call, httpUpstream, rawClient, rawUpstream, readRecorded, result } from '../support/recorder.ts'
import type { Upstream } from '../support/recorder.ts'

const STENO = fileURLToPath(new URL('../../steno', import.meta.url))
const HOUR_S = 3600

describe('exchanges that are silent for an hour', () => {
  let folder: string
  let clock: OwnClock
  let child: ChildProcess | undefined
  let upstream: Upstream | undefined
  let archive: string
  let port: number
  let adminUrl: string

  beforeEach(async function () {
    folder = await mkdtemp(join(tmpdir(), 'idle-'))
    const found = createOwnClock(folder)
    if (found === undefined) {
      if (process.env['CI'] === 'true') throw new Error('libfaketime is missing: install the Debian package libfaketime')
      console.error('      skipped: libfaketime is missing; install the Debian package libfaketime')
      this.skip()
    }
    clock = found
  })
  afterEach(async () => {
    child?.kill('SIGKILL')
    child = undefined
    await upstream?.close()
    await rm(folder, { recursive: true, force: true })
  })

  const startRecorder = async (before: Upstream): Promise<void> => {
    upstream = before
    archive = join(folder, 'archive')
    const started = spawn(STENO, ['up', '--upstream', upstream.url, '--archive', archive, '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'], { env: { ...process.env, ...clock.env }, stdio: ['ignore', 'ignore', 'pipe'] })
    child = started
    let talk = ''
    while (!/"recording".*\n/.test(talk)) talk += String((await once(started.stderr, 'data'))[0])
    const line = talk.split('\n').find(each => each.includes('"recording"')) ?? ''
    const { url, admin } = JSON.parse(line) as { url: string; admin: string }
    port = Number(new URL(url).port)
    adminUrl = admin
  }
  const stopped = async (): Promise<void> => {
    const exited = once(child as ChildProcess, 'exit')
    child?.kill('SIGTERM')
    expect((await exited)[0]).to.equal(0)
  }

  it('go on: a stream, an answer that has not begun, a download and an upload', async () => {
    const note = '{"jsonrpc":"2.0","method":"notifications/message","params":{}}'
    const open = new Map<string, ServerResponse>()
    let uploaded = ''
    let wake: () => void = () => {}
    const server = await httpUpstream((req, res) => {
      const path = req.url ?? ''
      if (path === '/upload') {
        void bodyOf(req).then(body => {
          uploaded = body.subarray(-4).toString()
          res.end('uploaded')
        })
        req.once('data', () => wake())
        return
      }
      void bodyOf(req).then(() => {
        if (path === '/stream') res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(': hi\n\n')
        if (path === '/download') res.writeHead(200, { 'Content-Type': 'application/octet-stream' }).write('first')
        open.set(path, res)
        wake()
      })
    })
    await startRecorder(server)
    const begin = async (head: string, body = ''): Promise<Awaited<ReturnType<typeof rawClient>>> => {
      const client = await rawClient(port)
      const arrived = new Promise<void>(resolve => (wake = resolve))
      client.write(`${head}\r\nHost: a\r\nUser-Agent: idle\r\n\r\n`)
      client.write(body)
      await arrived
      return client
    }
    const stream = await begin('GET /stream HTTP/1.1')
    const late = await begin(`POST /late HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: ${call(1).length}`, call(1))
    const download = await begin('GET /download HTTP/1.1')
    // Above what is held whole, so that it is under way to the upstream.
    const part = 'a'.repeat(2 * 1024 * 1024)
    const upload = await begin(`POST /upload HTTP/1.1\r\nContent-Type: application/octet-stream\r\nContent-Length: ${part.length + 4}`, part)
    await stream.until(text => text.includes(': hi'))
    await download.until(text => text.includes('first'))

    await clock.pass(HOUR_S, async () => await fetch(`${adminUrl}/livez`))

    open.get('/stream')?.end(`data: ${note}\n\n`)
    open.get('/late')?.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1))
    open.get('/download')?.end('last')
    upload.write('done')
    await stream.until(text => text.includes(note) && text.endsWith('0\r\n\r\n'))
    await late.until(text => text.includes(result(1)))
    await download.until(text => text.includes('last'))
    await upload.until(text => text.includes('uploaded'))
    expect(uploaded).to.equal('done')
    await stopped()
    const recorded = await readRecorded(archive)
    expect(recorded.of('exchange.end').map(end => end.outcome)).to.deep.equal(['ok', 'ok', 'ok', 'ok'])
    for (const end of recorded.of('exchange.end')) expect(end.durationUs).to.be.greaterThan(HOUR_S * 1e6)
    expect(recorded.verdict).to.equal('consistent')
  }).timeout(60_000)

  it('go on: an upgraded connection', async () => {
    const server = await rawUpstream(socket => {
      socket.once('data', () => {
        socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
        socket.on('data', (chunk: Buffer) => socket.write(`heard ${chunk.toString()}`))
      })
    })
    await startRecorder(server)
    const client = await rawClient(port)
    client.write('GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n')
    await client.until(text => text.includes('101 Switching'))
    await clock.pass(HOUR_S, async () => await fetch(`${adminUrl}/livez`))
    client.write('this')
    await client.until(text => text.endsWith('heard this'))
    client.socket.end()
    await client.closed()
    await stopped()
    expect((await readRecorded(archive)).of('exchange.end').map(end => end.outcome)).to.deep.equal(['ok'])
  }).timeout(60_000)
})
