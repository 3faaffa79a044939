import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import type { ServerResponse } from 'node:http'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect } from 'chai'

import { startProgram } from '../support/crash/program.ts'
import type { Program } from '../support/crash/program.ts'
import { bodyOf, call, httpUpstream, post, result } from '../support/recorder.ts'
import type { Upstream } from '../support/recorder.ts'

const MIB = 1024 * 1024
/** 1024 for the long run: `STENO_STREAM_MIB=1024`. */
const STREAM_MIB = Number(process.env['STENO_STREAM_MIB'] ?? 256)
const EVENT_BYTES = 32 * 1024
/** Above what an idle recorder has. It is the same however much streams. */
const MAX_GROWTH_MIB = 220
/** What sockets and the recorder together may take in before the upstream has to wait. */
const MAX_AHEAD_MIB = 64
/** So long without a chance to write, an upstream has been stopped. */
const STOPPED_MS = 500

/** Each event is another. */
function event(n: number): string {
  const text = createHash('sha256').update(String(n)).digest('base64')
  return `id: ${n}\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"${text.repeat(EVENT_BYTES / text.length)}"}}\n\n`
}

describe('a reader that stalls', function () {
  this.timeout(30_000 + STREAM_MIB * 1000)
  let folder: string
  let program: Program
  let upstream: Upstream
  let answer: (res: ServerResponse) => void
  let port: number
  let idleMib: number

  const memoryMib = async (field: 'VmRSS' | 'VmHWM'): Promise<number> => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(await readFile(`/proc/${program.pid}/status`, 'utf8'))?.[1]) / 1024

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'back-pressure-'))
    answer = res => void res.writeHead(200, { 'Content-Type': 'application/json' }).end(result(1))
    upstream = await httpUpstream((req, res) => void bodyOf(req).then(() => answer(res)))
    program = startProgram({ upstream: upstream.url, sink: ['--archive', join(folder, 'archive')], spool: join(folder, 'spool'), lingerSeconds: 1 })
    const url = (await program.url) ?? ''
    port = Number(new URL(url).port)
    // What the first call loads is not growth.
    await (await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: call(1) })).text()
    idleMib = await memoryMib('VmRSS')
  })
  afterEach(async () => {
    await program.kill()
    await upstream.close()
    await rm(folder, { recursive: true, force: true })
  })

  it(`is sent no more than it takes, holds memory flat, and gets every byte of ${STREAM_MIB} MiB in the end`, async () => {
    const sentHash = createHash('sha256')
    let sent = 0
    let stopped: () => void = () => {}
    const isStopped = new Promise<void>(resolve => (stopped = resolve))
    answer = res => {
      res.writeHead(200, { 'Content-Type': 'text/event-stream' })
      let quiet: NodeJS.Timeout | undefined
      let n = 0
      const more = (): void => {
        clearTimeout(quiet)
        while (sent < STREAM_MIB * MIB) {
          const next = Buffer.from(event(n++))
          sentHash.update(next)
          sent += next.length
          if (res.write(next)) continue
          quiet = setTimeout(stopped, STOPPED_MS)
          res.once('drain', more)
          return
        }
        res.end()
        stopped()
      }
      more()
    }
    const socket = connect(port, '127.0.0.1')
    socket.pause()
    socket.write(post(call(1), ['Connection: close']))
    await isStopped
    expect(sent).to.be.lessThan(MAX_AHEAD_MIB * MIB)
    expect(await memoryMib('VmHWM')).to.be.lessThan(idleMib + MAX_GROWTH_MIB)
    const received = await hashOfChunked(socket)
    expect(received).to.equal(sentHash.digest('hex'))
    expect(sent).to.be.at.least(STREAM_MIB * MIB)
    expect(await memoryMib('VmHWM')).to.be.lessThan(idleMib + MAX_GROWTH_MIB)
  })
})

/** Reads an answer in chunked coding to its end. @returns the SHA-256 of its body */
async function hashOfChunked(socket: Socket): Promise<string> {
  const hash = createHash('sha256')
  let held: Buffer = Buffer.alloc(0)
  let left = -1
  let ended = false
  const take = (chunk: Buffer): void => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    if (left === -1) {
      const head = held.indexOf('\r\n\r\n')
      if (head < 0) return
      held = held.subarray(head + 4)
      left = 0
    }
    while (!ended) {
      if (left === 0) {
        const line = held.indexOf('\r\n')
        if (line < 0) return
        const length = Number.parseInt(held.toString('latin1', 0, line), 16)
        held = held.subarray(line + 2)
        ended = length === 0
        // With the line end after it.
        left = length + 2
        continue
      }
      if (held.length === 0) return
      const part = held.subarray(0, left)
      hash.update(part.subarray(0, Math.min(part.length, Math.max(0, left - 2))))
      left -= part.length
      held = held.subarray(part.length)
    }
  }
  socket.on('data', take)
  socket.resume()
  await once(socket, 'close')
  if (!ended) throw new Error('the answer was cut')
  return hash.digest('hex')
}
