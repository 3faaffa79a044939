/** A recorder in this process before a scripted upstream, on real sockets and a real disk, and what it recorded. */

import { once } from 'node:events'
import { glob, mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { IncomingMessage, RequestListener } from 'node:http'
import { connect, createServer as createTcpServer } from 'node:net'
import type { Server as TcpServer, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

import { directoryArchive } from '../../src/archive/directory.ts'
import { verify } from '../../src/archive/verify.ts'
import { systemClock } from '../../src/platform/clock.ts'
import { createLog } from '../../src/platform/log.ts'
import type { Frame, FrameKind, FrameOf } from '../../src/record/frame.ts'
import { parseLine } from '../../src/record/parse-line.ts'
import type { Verdict } from '../../src/record/verdict.ts'
import { startRecorder } from '../../src/recorder/recorder.ts'
import type { Recorder, RecorderOptions, Stopped } from '../../src/recorder/recorder.ts'
import { closeAtTheEnd } from './leftovers.ts'
import { listenOnLoopback } from './loopback.ts'

export interface RecorderUnderTest {
  readonly url: string
  readonly port: number
  readonly adminUrl: string
  readonly archive: string
  readonly spool: string
  /** What it has logged. */
  readonly log: () => string
  /** Stops it and reads back all that it recorded, in order, checked. */
  stop(): Promise<Recorded>
  /** Stops it. @returns what the recorder says of its end */
  end(): Promise<Stopped>
  /** As `stop`, without reading. */
  halt(): Promise<void>
  /** As `halt`; removes its folders. Harmless after `stop`. */
  dispose(): Promise<void>
}

export interface Recorded {
  readonly frames: readonly Frame[]
  /** All lines as they lie in the archive. */
  readonly text: string
  readonly verdict: Verdict
  of<K extends FrameKind>(kind: K, exchange?: number): readonly FrameOf<K>[]
  /** The body that a frame begins, joined with its `body` frames. */
  bodyOf(frame: Frame): Buffer
}

const KEY = Buffer.alloc(32, 7)

/** @param upstream base URL of the upstream, such as `http://127.0.0.1:3001/mcp` */
export async function recorderBefore(upstream: string, options: Partial<RecorderOptions> = {}): Promise<RecorderUnderTest> {
  const folder = await mkdtemp(join(tmpdir(), 'recorder-'))
  const archive = join(folder, 'archive')
  let logged = ''
  let recorder: Recorder
  try {
    recorder = await startRecorder({
      version: '0.0.0-test',
      upstream: new URL(upstream),
      listen: { host: '127.0.0.1', port: 0 },
      admin: { host: '127.0.0.1', port: 0 },
      serverName: 'test-server',
      spoolDirectory: join(folder, 'spool'),
      spoolMaxBytes: 512 * 1024 * 1024,
      sink: { type: 'directory', path: archive },
      lingerMs: 100,
      durability: 'local',
      onFailure: 'block',
      key: KEY,
      clock: systemClock,
      log: createLog({ level: 'info', write: line => void (logged += line), now: Date.now }),
      ...options,
    })
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  const dispose = async (): Promise<void> => {
    await recorder.stop('test')
    await rm(folder, { recursive: true, force: true })
  }
  closeAtTheEnd(dispose)
  return {
    url: recorder.url,
    port: Number(new URL(recorder.url).port),
    adminUrl: recorder.adminUrl,
    archive,
    spool: join(folder, 'spool'),
    log: () => logged,
    stop: async () => {
      await recorder.stop('test')
      return await readRecorded(archive)
    },
    end: async () => await recorder.stop('test'),
    halt: async () => void (await recorder.stop('test')),
    dispose,
  }
}

/** Reads every segment below a folder. Throws when a line is not what the format says. */
export async function readRecorded(archive: string): Promise<Recorded> {
  const lines = new Map<string, { line: string; frame: Frame }>()
  const documented = await documentedFields()
  for await (const name of glob('**/*.jsonl.gz', { cwd: archive })) {
    for (const line of gunzipSync(await readFile(join(archive, name))).toString('utf8').split('\n')) {
      if (line === '') continue
      const parsed = parseLine(line)
      if (parsed.kind === 'unknown') throw new Error(`${name} holds a line that is no frame: ${parsed.reason}: ${line.slice(0, 300)}`)
      if (parsed.kind !== 'frame') continue
      const undocumented = Object.keys(parsed.frame).filter(name => !documented.get(parsed.frame.kind)?.has(name))
      if (undocumented.length > 0) throw new Error(`${parsed.frame.kind} frames have fields that docs/recording-format.md does not name: ${undocumented.join(', ')}`)
      lines.set(`${parsed.frame.writer} ${String(parsed.frame.seq).padStart(12, '0')}`, { line, frame: parsed.frame })
    }
  }
  const sorted = [...lines].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each)
  const frames = sorted.map(each => each.frame)
  const report = await verify({ archive: await directoryArchive(archive) }, { now: Date.now })
  const of = <K extends FrameKind>(kind: K, exchange?: number): readonly FrameOf<K>[] =>
    frames.filter((frame): frame is FrameOf<K> => frame.kind === kind && (exchange === undefined || frame.exchange === exchange))
  return {
    frames,
    text: sorted.map(each => each.line).join('\n'),
    verdict: report.verdict,
    of,
    bodyOf: frame => Buffer.concat([frame, ...of('body').filter(part => part.of === frame.seq && part.writer === frame.writer)].map(storedBytes)),
  }
}

const HEAD_FIELDS = ['writer', 'seq', 'time', 'elapsedUs', 'kind', 'salt', 'session', 'exchange']
const BODY_FIELDS = ['body', 'base64', 'bytes', 'more']

/** By kind, the fields that the table of the format names. */
async function documentedFields(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const text = await readFile(new URL('../../docs/recording-format.md', import.meta.url), 'utf8')
  const kinds = new Map<string, ReadonlySet<string>>()
  for (const [, names = '', row = ''] of text.matchAll(/^\| ((?:`[a-z.]+`(?:, )?)+) \| (.*) \|$/gm)) {
    const fields = [...row.matchAll(/`([A-Za-z0-9]+)\??`/g)].map(([, name]) => name ?? '')
    for (const [, kind = ''] of names.matchAll(/`([a-z.]+)`/g)) kinds.set(kind, new Set([...HEAD_FIELDS, ...fields, ...(row.includes('body fields') ? BODY_FIELDS : [])]))
  }
  return kinds
}

function storedBytes(frame: Frame): Buffer {
  if ('base64' in frame && frame.base64 !== undefined) return Buffer.from(frame.base64, 'base64')
  return Buffer.from('body' in frame ? (frame.body ?? '') : '')
}

export interface Upstream {
  readonly url: string
  readonly port: number
  close(): Promise<void>
}

/** A real HTTP server on loopback. */
export async function httpUpstream(onRequest: RequestListener): Promise<Upstream> {
  const server = createServer(onRequest)
  return await listening(server)
}

/**
 * A server that speaks raw bytes: `onConnection` gets each socket, errors already heard.
 * @param options.allowHalfOpen it may go on speaking when the other side has said all
 */
export async function rawUpstream(onConnection: (socket: Socket) => void, options: { readonly allowHalfOpen?: boolean } = {}): Promise<Upstream> {
  return await listening(
    createTcpServer(options, onConnection),
  )
}

async function listening(server: TcpServer): Promise<Upstream> {
  const { port, origin, close } = await listenOnLoopback(server)
  return { url: `${origin}/mcp`, port, close }
}

/** The whole body of a request. */
export async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of message) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

export interface RawClient {
  readonly socket: Socket
  write(text: string | Buffer): void
  /** All that came so far, bytes as Latin-1. */
  readonly received: string
  /** Resolves when `enough` says so; rejects when the connection ends before. */
  until(enough: (received: string) => boolean): Promise<string>
  /** Resolves with all that came when the other side has closed. */
  closed(): Promise<string>
}

/** A client of raw bytes. */
export async function rawClient(port: number): Promise<RawClient> {
  const socket = connect(port, '127.0.0.1')
  let received = ''
  let over = false
  const watchers = new Set<() => void>()
  const wake = (): void => {
    for (const watcher of watchers) watcher()
  }
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
    wake()
  })
  socket.on('error', () => {})
  socket.on('close', () => {
    over = true
    wake()
  })
  await once(socket, 'connect')
  const wait = (enough: () => boolean, mayEnd: boolean): Promise<string> =>
    new Promise((resolve, reject) => {
      const check = (): void => {
        if (enough()) resolve(received)
        else if (over && !mayEnd) reject(new Error(`the connection ended after: ${JSON.stringify(received.slice(-500))}`))
        else return
        watchers.delete(check)
      }
      watchers.add(check)
      check()
    })
  return {
    socket,
    write: text => void socket.write(text),
    get received() {
      return received
    },
    until: enough => wait(() => enough(received), false),
    closed: () => wait(() => over, true),
  }
}

/** A POST as raw bytes, with the headers that an MCP client sends. */
export function post(body: string | Buffer, headers: readonly string[] = []): Buffer {
  const bytes = Buffer.from(body)
  const head = ['POST /mcp HTTP/1.1', 'Host: mcp.test', 'Content-Type: application/json', 'Accept: application/json, text/event-stream', ...headers, `Content-Length: ${bytes.length}`]
  return Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), bytes])
}

export function call(id: unknown, name = 'echo', args: object = {}): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name, arguments: args } })
}

export function result(id: unknown, value: object = { content: [] }): string {
  return JSON.stringify({ jsonrpc: '2.0', id, result: value })
}
