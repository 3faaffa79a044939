/**
 * What reading costs, on recordings that the recorder's own code packed: the list with a warm catalog, building the catalog, opening one
 * long session, verifying. All in this process, one after another; figures are medians over rounds.
 */

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'

import { directoryArchive } from '../src/archive/directory.ts'
import { openRecording } from '../src/archive/open-recording.ts'
import { verify } from '../src/archive/verify.ts'
import { runCli } from '../src/cli/program.ts'
import { chainStart } from '../src/record/chain.ts'
import { encodeFrame } from '../src/record/encode-frame.ts'
import type { FrameContent } from '../src/record/frame.ts'
import { createSegmentBuilder, sha256 } from '../src/recorder/shipper/segment-builder.ts'
import type { Packed } from '../src/recorder/shipper/segment-builder.ts'
import { createDirectorySink } from '../src/sink/directory.ts'
import { median, round } from './support/figures.ts'

export interface ReadOptions {
  readonly quick: boolean
  readonly say: (line: string) => void
}

const FULL = { rounds: 5, sessions: 100_000, longFrames: 100_000, verifyFrames: 150_000 }
const QUICK = { rounds: 1, sessions: 2_000, longFrames: 2_000, verifyFrames: 2_000 }
const SECOND_MS = 1000
const MB = 1_000_000

interface Written {
  readonly frames: number
  /** Of the lines, newlines included. */
  readonly bytes: number
}

export async function runReadBench({ quick, say }: ReadOptions): Promise<object> {
  const size = quick ? QUICK : FULL
  const folder = await mkdtemp(join(tmpdir(), 'steno-bench-'))
  try {
    const many = join(folder, 'many')
    const written = await writeSessions(many, size.sessions)
    say(`wrote ${size.sessions} sessions, ${written.frames} frames, ${round(written.bytes / MB)} MB`)
    const catalogCosts: Cost[] = []
    for (let i = 0; i < size.rounds; i++) {
      await rm(join(many, '.catalog'), { recursive: true, force: true })
      catalogCosts.push(await timed(() => list(many)))
    }
    const listCosts: Cost[] = []
    for (let i = 0; i < size.rounds * 3; i++) listCosts.push(await timed(() => list(many)))
    say(`catalog of ${written.frames} frames ${medianOf(catalogCosts).ms} ms, list ${medianOf(listCosts).ms} ms`)
    await rm(many, { recursive: true, force: true })

    const long = join(folder, 'long')
    const longWritten = await writeLongSession(long, size.longFrames)
    const openCosts: Cost[] = []
    const showCosts: Cost[] = []
    const verifyCosts: Cost[] = []
    await list(long)
    for (let i = 0; i < size.rounds; i++) {
      openCosts.push(await timed(() => open(long, longWritten.frames)))
      showCosts.push(await timed(() => steno(['show', 'long', '--archive', long, '-o', 'name'])))
    }
    say(`a session of ${longWritten.frames} frames (${round(longWritten.bytes / MB)} MB) opened in ${medianOf(openCosts).ms} ms, shown in ${medianOf(showCosts).ms} ms`)
    await rm(long, { recursive: true, force: true })

    const whole = join(folder, 'whole')
    const wholeWritten = await writeLongSession(whole, size.verifyFrames)
    for (let i = 0; i < size.rounds; i++) verifyCosts.push(await timed(() => checked(whole)))
    say(`${round(wholeWritten.bytes / MB)} MB of frames verified in ${medianOf(verifyCosts).ms} ms`)
    return {
      bench: 'read',
      quick,
      node: process.version,
      cpus: availableParallelism(),
      rounds: size.rounds,
      list: { sessions: size.sessions, ...medianOf(listCosts) },
      catalog: { frames: written.frames, ...medianOf(catalogCosts), frameRate: rates(written.frames, medianOf(catalogCosts)), mbRate: rates(written.bytes / MB, medianOf(catalogCosts)) },
      open: { frames: longWritten.frames, mb: round(longWritten.bytes / MB), ...medianOf(openCosts), show: medianOf(showCosts) },
      verify: { mb: round(wholeWritten.bytes / MB), ...medianOf(verifyCosts), mbRate: rates(wholeWritten.bytes / MB, medianOf(verifyCosts)) },
      rssMb: round(process.memoryUsage.rss() / MB),
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

interface Cost {
  readonly ms: number
  /** Of all threads of the process: what it would take at most on a machine that does nothing else. */
  readonly cpuMs: number
}

async function timed(run: () => Promise<unknown>): Promise<Cost> {
  const start = performance.now()
  const before = process.cpuUsage()
  await run()
  const { user, system } = process.cpuUsage(before)
  return { ms: performance.now() - start, cpuMs: (user + system) / 1000 }
}

function medianOf(costs: readonly Cost[]): Cost {
  return { ms: round(median(costs.map(each => each.ms))), cpuMs: round(median(costs.map(each => each.cpuMs))) }
}

function rates(amount: number, { ms, cpuMs }: Cost): { readonly perSecond: number; readonly perCpuSecond: number } {
  return { perSecond: round((amount / ms) * SECOND_MS), perCpuSecond: round((amount / cpuMs) * SECOND_MS) }
}

/** `steno list`, as a person runs it. */
async function list(archive: string): Promise<void> {
  await steno(['list', '--archive', archive])
}

async function steno(argv: readonly string[]): Promise<void> {
  const silent = (): Writable => new Writable({ write: (_chunk, _encoding, done) => done() })
  const code = await runCli(argv, { stdin: process.stdin, stdout: silent(), stderr: silent(), env: {}, signal: new AbortController().signal })
  if (code !== 0) throw new Error(`steno ${argv.join(' ')} exited with ${code}`)
}

/** Every frame of the only session, parsed, in order. */
async function open(archive: string, frames: number): Promise<void> {
  const recording = await openRecording({ type: 'directory', path: archive }, { now: Date.now, tempDir: tmpdir() })
  let count = 0
  try {
    for await (const _each of recording.frames('long')) count++
  } finally {
    await recording.close()
  }
  if (count < frames - 2) throw new Error(`${count} of ${frames} frames were read`)
}

async function checked(archive: string): Promise<void> {
  const report = await verify({ archive: await directoryArchive(archive) }, { now: Date.now })
  if (report.verdict !== 'consistent') throw new Error(report.sentence)
}

type AddFrame = (content: FrameContent, at?: { readonly session?: string; readonly exchange?: number }) => Promise<void>

/** Writes one writer's frames as the shipper would. */
async function write(folder: string, add: (frame: AddFrame) => Promise<void>): Promise<Written> {
  const sink = createDirectorySink({ path: folder, now: () => START_MS })
  const never = new AbortController().signal
  const writer = 'bench-writer'
  const builder = createSegmentBuilder(writer, { seq: -1, head: Buffer.from(chainStart(sha256, writer)).toString('hex') }, sink.level)
  const put = async (packed: Packed | undefined): Promise<void> => {
    if (packed === undefined) return
    const [receipt] = await sink.put([packed.segment], never)
    if (receipt !== 'accepted') throw receipt ?? new TypeError('no receipt')
  }
  let frames = 0
  let bytes = 0
  await add(async (content, at = {}) => {
    const ms = START_MS + frames
    const line = Buffer.from(encodeFrame({ writer, seq: frames, time: new Date(ms).toISOString().replace('Z', '000Z'), elapsedUs: frames * 1000, salt: randomBytes(8).toString('hex'), ...at }, content))
    bytes += line.length + 1
    await put(builder.add(line, { seq: frames, session: at.session, file: 0, start: 0, offset: 0 }))
    frames++
  })
  for (let packed = builder.finish(); packed !== undefined; packed = builder.finish()) await put(packed)
  await sink.close()
  return { frames, bytes }
}

const START_MS = Date.parse('2026-01-02T03:04:05Z')
const START: FrameContent = { kind: 'writer.start', format: 1, steno: 'bench', host: 'bench', pid: 1, recovered: [] }
const SERVER = { name: 'bench', url: 'http://127.0.0.1:1' }
const HEADERS = { 'content-type': 'application/json' }

/** Sessions of one call each: six frames. */
function writeSessions(folder: string, sessions: number): Promise<Written> {
  return write(folder, async frame => {
    await frame(START)
    for (let i = 0; i < sessions; i++) {
      const session = `s${randomBytes(12).toString('hex')}`
      const at = { session, exchange: i }
      await frame({ kind: 'exchange.start', method: 'POST', target: '/mcp', headers: HEADERS, peer: '127.0.0.1:1', era: 'legacy' }, at)
      await frame({ kind: 'session.start', basis: 'mcp', server: SERVER, client: { name: 'bench', version: '1', asserted: true } }, at)
      await call(frame, at, i, 200)
      await frame({ kind: 'session.end', reason: 'delete', totals: { exchanges: 1, calls: 1, errors: 0, bytes: 0 } }, { session })
    }
    await frame({ kind: 'writer.stop', reason: 'SIGTERM' })
  })
}

/** One session with answers of about 1 KB. */
function writeLongSession(folder: string, frames: number): Promise<Written> {
  return write(folder, async frame => {
    await frame(START)
    await frame({ kind: 'session.start', basis: 'mcp', server: SERVER }, { session: 'long', exchange: 0 })
    for (let i = 0; i * 4 < frames; i++) {
      const at = { session: 'long', exchange: i }
      await frame({ kind: 'exchange.start', method: 'POST', target: '/mcp', headers: HEADERS, peer: '127.0.0.1:1', era: 'legacy' }, at)
      await call(frame, at, i, 2000)
    }
    await frame({ kind: 'session.end', reason: 'delete', totals: { exchanges: 1, calls: 1, errors: 0, bytes: 0 } }, { session: 'long' })
    await frame({ kind: 'writer.stop', reason: 'SIGTERM' })
  })
}

async function call(frame: AddFrame, at: { readonly session: string; readonly exchange: number }, id: number, answerBytes: number): Promise<void> {
  const request = JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: { name: 'json', arguments: { seed: id } } })
  // Half of it is noise: all of one letter would deflate to nothing and make inflating look fast.
  const answer = JSON.stringify({ jsonrpc: '2.0', id, result: { content: [{ type: 'text', text: `${randomBytes(answerBytes / 4).toString('hex')}${'lorem "ipsum" dolor '.repeat(answerBytes / 40)}` }] } })
  await frame({ kind: 'mcp', from: 'client', type: 'request', rpcId: id, method: 'tools/call', name: 'json', body: request, bytes: request.length }, at)
  await frame({ kind: 'mcp', from: 'server', type: 'response', rpcId: id, body: answer, bytes: answer.length }, at)
  await frame({ kind: 'exchange.end', status: 200, headers: HEADERS, durationUs: 2000, requestBytes: request.length, responseBytes: answer.length, outcome: 'ok' }, at)
}
