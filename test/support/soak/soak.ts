/** The real program under steady load for long: its memory and its descriptors must stay what they were, whatever clients leave behind. */

import { Agent, request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { once } from 'node:events'
import { mkdtemp, readdir, rm, stat, unlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

import { startLoad } from '../../../bench/support/processes.ts'
import { startProgram } from '../crash/program.ts'
import { bodyOf } from '../recorder.ts'
import { flatness, sampleOf } from './samples.ts'
import type { Flatness, Sample } from './samples.ts'
import { AFTER_THE_PAUSE, BEFORE_THE_PAUSE, startSoakServer } from './server.ts'

export interface SoakOptions {
  readonly minutes: number
  readonly onProgress: (line: string) => void
}

export interface SoakResult {
  readonly minutes: number
  /** Half of what it does flat out. */
  readonly callsPerSecond: number
  readonly calls: number
  readonly abandonedSessions: number
  readonly heapMb: number
  readonly rssMb: Flatness
  readonly descriptors: Flatness & { readonly idleBefore: number; readonly idleAfter: number }
  /** Seconds without a byte, on a stream that came whole. */
  readonly quietStreamSeconds: number
  /** Bounds that were broken. None: all is well. */
  readonly failures: readonly string[]
}

/** What is left for JavaScript in a container of 128 MiB: the rest is the program itself, buffers and stacks. */
const HEAP_MB = 64
const SESSIONS = 60_000
const CONNECTIONS = 16
const SLICE_SECONDS = 10
const SAMPLE_MS = 2_000
const QUIET_MS = 6 * 60_000
/** Of the time, for the abandoned sessions: they must be there before the second third. */
const SESSIONS_SHARE = 0.25
const MAX_RSS_GROWTH = 1.1
/** A segment, a folder that is synced, a position: files that are open for a moment. */
const MOMENTARY_DESCRIPTORS = 6
/** The archive is not what is looked at: of it only so many of the newest files are kept. */
const KEPT_SEGMENTS = 50

export async function soak({ minutes, onProgress }: SoakOptions): Promise<SoakResult> {
  const folder = await mkdtemp(join(tmpdir(), 'soak-'))
  const archive = join(folder, 'archive')
  const quietMs = Math.min(QUIET_MS, minutes * 45_000)
  const server = await startSoakServer(quietMs)
  const program = startProgram({ upstream: server.url, sink: ['--archive', archive], spool: join(folder, 'spool'), lingerSeconds: 1, nodeOptions: `--max-old-space-size=${HEAP_MB}` })
  const load = startLoad()
  const failures: string[] = []
  const samples: Sample[] = []
  const stopping = new AbortController()
  try {
    const url = await program.url
    if (url === undefined) throw new Error(`the program did not start:\n${program.said()}`)
    const port = Number(new URL(url).port)
    const flatOut = await load.run({ port, tool: 'json', connections: CONNECTIONS, seconds: SLICE_SECONDS })
    const rate = Math.floor(flatOut.calls / flatOut.seconds / 2)
    // After the first load: what is started when it is first needed, such as the shipper's thread, is there now.
    const idleBefore = await settledDescriptors(program.pid, 0)
    onProgress(`${Math.round(flatOut.calls / flatOut.seconds)} calls/s flat out; going on with ${rate}`)

    const endMs = performance.now() + minutes * 60_000
    const sampling = sampleUntil(stopping.signal, async () => {
      const sample = await sampleOf(program.pid)
      if (sample !== undefined) samples.push(sample)
      await prune(archive)
    })
    const quiet = quietStream(url)
    const abandoning = abandonSessions(url, (minutes * 60_000 * SESSIONS_SHARE) / SESSIONS)
    let calls = 0
    for (let slice = 0; performance.now() < endMs && !program.isOver; slice++) {
      const result = await load.run({ port, tool: slice % 4 === 3 ? 'sse' : 'json', connections: CONNECTIONS, seconds: SLICE_SECONDS, rate })
      calls += result.calls
      const latest = samples.at(-1)
      if (slice % 6 === 5) onProgress(`${Math.round((endMs - performance.now()) / 60_000)} min left: ${calls} calls, ${latest?.rssMb.toFixed(1)} MB, ${latest?.descriptors} descriptors`)
    }
    const abandonedSessions = await abandoning
    const quietStreamSeconds = await quiet
    stopping.abort()
    await sampling
    const rssMb = flatness(samples.map(sample => sample.rssMb))
    const idleAfter = await settledDescriptors(program.pid, idleBefore)
    const descriptors = { ...flatness(samples.map(sample => sample.descriptors)), idleBefore, idleAfter }

    if (program.isOver) failures.push(`the program ended by itself:\n${program.said().slice(-2000)}`)
    else await program.stop().catch((error: unknown) => failures.push(error instanceof Error ? error.message : String(error)))
    if (rssMb.lastThird > rssMb.secondThird * MAX_RSS_GROWTH) failures.push('resident memory has grown by more than a tenth from the second third to the last')
    if (descriptors.lastThird > descriptors.secondThird + MOMENTARY_DESCRIPTORS) failures.push('more descriptors are open in the last third than in the second')
    if (idleAfter > idleBefore + MOMENTARY_DESCRIPTORS) failures.push('descriptors stay open when the load is over')
    if (abandonedSessions < SESSIONS) failures.push(`only ${abandonedSessions} sessions could be begun`)
    if (quietStreamSeconds * 1000 < quietMs) failures.push('the quiet stream did not come whole')
    return { minutes, callsPerSecond: rate, calls, abandonedSessions, heapMb: HEAP_MB, rssMb, descriptors, quietStreamSeconds, failures }
  } finally {
    stopping.abort()
    load.child.kill()
    await program.kill()
    await server.close()
    await rm(folder, { recursive: true, force: true })
  }
}

async function sampleUntil(signal: AbortSignal, sample: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await sample()
    await wait(SAMPLE_MS, undefined, { signal }).catch(() => {})
  }
}

/** @returns seconds between the events of a stream that came whole; 0 when it did not */
async function quietStream(url: string): Promise<number> {
  const outgoing = request(url, { method: 'POST', headers: { 'Content-Type': 'application/json', Accept: 'application/json, text/event-stream' } })
  outgoing.end('{"jsonrpc":"2.0","id":"quiet","method":"tools/call","params":{"name":"quiet"}}')
  try {
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
    const [first] = (await once(answer, 'data')) as [Buffer]
    const sinceMs = performance.now()
    const text = first.toString() + (await bodyOf(answer)).toString()
    return text === `data: ${BEFORE_THE_PAUSE}\n\ndata: ${AFTER_THE_PAUSE}\n\n` ? Math.round((performance.now() - sinceMs) / 1000) : 0
  } catch {
    return 0
  }
}

/** Sessions of which each is used once and never ended. @returns how many were answered */
async function abandonSessions(url: string, everyMs: number): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: 4 })
  const sinceMs = performance.now()
  const call = async (number: number): Promise<boolean> => {
    const outgoing = request(url, { method: 'POST', agent, headers: { 'Content-Type': 'application/json', 'Mcp-Session-Id': `abandoned-${number}` } })
    outgoing.end(`{"jsonrpc":"2.0","id":${number},"method":"tools/call","params":{"name":"json"}}`)
    const [answer] = (await once(outgoing, 'response')) as [IncomingMessage]
    await bodyOf(answer)
    return answer.statusCode === 200
  }
  let answered = 0
  try {
    for (let begun = 0; begun < SESSIONS; ) {
      const due = Math.min(SESSIONS, Math.ceil((performance.now() - sinceMs) / everyMs))
      const calls: Promise<boolean>[] = []
      for (; begun < due; begun++) calls.push(call(begun))
      answered += (await Promise.all(calls)).filter(Boolean).length
      await wait(5)
    }
  } catch {
    // The program is gone, or has closed a connection: what was answered counts.
  } finally {
    agent.destroy()
  }
  return answered
}

/** Connections that are over take some seconds to be gone on both sides. Waits for ten at most, for less when so few are open as wanted. */
async function settledDescriptors(pid: number, wanted: number): Promise<number> {
  let open = Number.NaN
  for (let tries = 0; tries < 100; tries++) {
    open = (await sampleOf(pid))?.descriptors ?? Number.NaN
    if (open <= wanted) break
    await wait(100)
  }
  return open
}

async function prune(archive: string): Promise<void> {
  const names = (await readdir(archive, { recursive: true }).catch(() => [])).filter(name => name.endsWith('.jsonl.gz'))
  const files = await Promise.all(names.map(async name => ({ path: join(archive, name), ms: (await stat(join(archive, name))).mtimeMs })))
  for (const { path } of files.sort((a, b) => b.ms - a.ms).slice(KEPT_SEGMENTS)) await unlink(path)
}
