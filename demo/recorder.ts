/** The recorder of the demonstration: the command `steno up`, in this process, so that it can never outlive it. */

import { createServer } from 'node:net'
import { Writable } from 'node:stream'
import type { CliIo } from '../src/cli/io.ts'
import { runUp } from '../src/cli/up.ts'

export interface DemoRecorder {
  readonly url: string
  readonly adminUrl: string
  /** Settles when the recorder has ended; rejects when it failed. */
  readonly ended: Promise<unknown>
  /** Everything recorded so far is in the archive. */
  shipped(signal: AbortSignal): Promise<void>
  /** Ends sessions, ships what is left. */
  stop(): Promise<void>
}

const HOST = '127.0.0.1'
const SHIPPED_MS = 30_000
const POLL_MS = 100

export interface RecorderOptions {
  readonly upstream: string
  readonly archive: string
  /** The ports that are taken when they are free. */
  readonly port: number
  readonly adminPort: number
  readonly say: (line: string) => void
}

export async function startRecorder(options: RecorderOptions): Promise<DemoRecorder> {
  const port = await freePort(options.port, options.say)
  const adminPort = await freePort(options.adminPort, () => {})
  const stopping = new AbortController()
  const log = createLogReader(options.say)
  const io: CliIo = { stdin: process.stdin, stdout: process.stdout, stderr: log.stream, env: process.env, signal: stopping.signal }
  const ended = runUp(
    { upstream: options.upstream, archive: options.archive, listen: `${HOST}:${port}`, admin: `${HOST}:${adminPort}`, onFailure: 'block', spoolMax: '512Mi', linger: '1', durability: 'local', serverName: 'everything' },
    io,
  )
  const { url, admin } = await Promise.race([log.recording, ended.then(() => Promise.reject(new Error('the recorder ended before it listened')))])
  const stop = async (): Promise<void> => {
    stopping.abort()
    if ((await ended) !== 0) throw new Error('the recording could not be ended as it should; the lines above say why')
  }
  return { url, adminUrl: admin, ended, shipped: signal => shipped(admin, signal), stop }
}

/** The port, or 0 (any free one) when another program has it. */
async function freePort(port: number, say: (line: string) => void): Promise<number> {
  const probe = createServer()
  const free = await new Promise<boolean>(resolve => {
    probe.once('error', () => resolve(false))
    probe.listen(port, HOST, () => resolve(true))
  })
  if (free) {
    await new Promise(done => probe.close(done))
    return port
  }
  say(`port ${port} is in use; taking a free one`)
  return 0
}

/** Reads the recorder's log: what it listens on, and what people should see. */
function createLogReader(say: (line: string) => void): { readonly stream: Writable; readonly recording: Promise<{ url: string; admin: string }> } {
  let tell: (where: { url: string; admin: string }) => void
  const recording = new Promise<{ url: string; admin: string }>(resolve => (tell = resolve))
  const stream = new Writable({
    decodeStrings: false,
    write(chunk: string | Buffer, _encoding, done) {
      for (const line of String(chunk).split('\n')) {
        if (line === '') continue
        const entry: { level?: unknown; msg?: unknown; url?: unknown; admin?: unknown } = JSON.parse(line)
        if (entry.msg === 'recording') tell({ url: String(entry.url), admin: String(entry.admin) })
        else if (entry.level === 'warn' || entry.level === 'error') say(line)
      }
      done()
    },
  })
  return { stream, recording }
}

async function shipped(adminUrl: string, signal: AbortSignal): Promise<void> {
  const until = Date.now() + SHIPPED_MS
  while (Date.now() < until) {
    const text = await (await fetch(`${adminUrl}/metrics`, { signal })).text()
    if (/^steno_spool_bytes 0$/m.test(text)) return
    await new Promise(next => setTimeout(next, POLL_MS))
  }
  throw new Error(`the recorder did not ship its spool within ${SHIPPED_MS / 1000} s; see ${adminUrl}/readyz and ${adminUrl}/metrics`)
}
