/** Compares what was seen from outside with what lies in the archive. Believes the journals; of the recorder only what it wrote. */

import { glob, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'

import { directoryArchive } from '../../../src/archive/directory.ts'
import { verify } from '../../../src/archive/verify.ts'
import type { Frame, FrameOf } from '../../../src/record/frame.ts'
import { parseLine } from '../../../src/record/parse-line.ts'
import { listLogs, spoolPath } from '../../../src/recorder/spool/list-logs.ts'
import { openLogReader } from '../../../src/recorder/spool/log-reader.ts'
import { digest } from './journal.ts'
import type { Entry, Seen } from './journal.ts'

export interface Judgement {
  /** Whole answers and events that clients have. */
  readonly answersReceived: number
  readonly requestsServed: number
  /** What one side has and the archive has not, or has otherwise, or twice. */
  readonly lost: readonly string[]
  /** What is missing, or was cut, without a word. */
  readonly undeclared: readonly string[]
  readonly broken: readonly string[]
}

/** What is known of one life of the recorder. */
export interface Life {
  readonly number: number
  /** Its writer; undefined when it left no trace. */
  readonly writer: string | undefined
  /** It said where it listens. */
  readonly served: boolean
}

export interface JudgeRequest {
  readonly archive: string
  /** What the living program says about those before it may still lie there. */
  readonly spool: string
  readonly entries: readonly Entry[]
  /** Those that are over, and whose recordings have been shipped. */
  readonly lives: readonly Life[]
}

export async function judge({ archive, spool, entries, lives }: JudgeRequest): Promise<Judgement> {
  const stored = await readStored(archive)
  const exchanges = exchangesOf(stored.frames)
  const report = await verify({ archive: await directoryArchive(archive) }, { now: Date.now })
  return {
    ...countSeen(entries),
    lost: problemsOf(entries, exchanges).map(({ entry, problem }) => `${entry.call}: ${entry.by} ${entry.did}: ${problem}`),
    undeclared: undeclaredIn(stored.frames, [...stored.frames, ...spooledFrames(spool)].filter(isGap), entries, exchanges, lives),
    broken: [...stored.differing, ...(report.verdict === 'broken' ? [report.sentence] : [])],
  }
}

/** What was seen outside and is not in the archive, or not as it was seen. */
export interface Missed {
  readonly entry: Seen
  readonly problem: string
  /** It is there, but otherwise. */
  readonly wrong: boolean
}

/** @param archive a folder of segments */
export async function findMissed(archive: string, entries: readonly Seen[]): Promise<readonly Missed[]> {
  const { frames, differing } = await readStored(archive)
  if (differing[0] !== undefined) throw new Error(differing[0])
  return problemsOf(entries, exchangesOf(frames)).map(each => ({ ...each, wrong: WRONG.has(each.problem) }))
}

export function countSeen(entries: readonly Entry[]): Pick<Judgement, 'answersReceived' | 'requestsServed'> {
  const seen = entries.filter(({ did }) => did !== 'sent')
  const answersReceived = seen.filter(({ by }) => by === 'client').length
  return { answersReceived, requestsServed: seen.length - answersReceived }
}

function problemsOf<T extends Entry>(entries: readonly T[], exchanges: ReadonlyMap<string, readonly Exchange[]>): { readonly entry: T; readonly problem: string }[] {
  return entries.flatMap(entry => {
    const problem = entry.did === 'sent' ? undefined : problemOf(entry, exchanges.get(entry.call) ?? [])
    return problem === undefined ? [] : [{ entry, problem }]
  })
}

interface Stored {
  /** By writer and in order of seq. */
  readonly frames: readonly Frame[]
  /** Frames of which two copies differ. */
  readonly differing: readonly string[]
}

async function readStored(archive: string): Promise<Stored> {
  const lines = new Map<string, string>()
  const frames: Frame[] = []
  const differing: string[] = []
  for await (const name of glob('**/*.jsonl.gz', { cwd: archive })) {
    for (const line of gunzipSync(await readFile(join(archive, name))).toString().split('\n')) {
      const parsed = parseLine(line)
      if (parsed.kind === 'unknown' && line !== '') differing.push(`${name} holds a line that is no frame: ${parsed.reason}`)
      if (parsed.kind !== 'frame') continue
      const key = `${parsed.frame.writer} ${parsed.frame.seq}`
      const before = lines.get(key)
      if (before === undefined) frames.push(parsed.frame)
      else if (before !== line) differing.push(`two copies of frame ${key} differ`)
      lines.set(key, line)
    }
  }
  return { frames: frames.sort((a, b) => (a.writer === b.writer ? a.seq - b.seq : a.writer < b.writer ? -1 : 1)), differing }
}

interface Exchange {
  readonly client: readonly StoredMessage[]
  readonly server: readonly StoredMessage[]
}

interface StoredMessage {
  readonly digest: string
  readonly eventId: string | undefined
  /** Parts of it are not there. */
  readonly open: boolean
}

/** Exchanges by the name of their call, which is the id of their first request. */
function exchangesOf(frames: readonly Frame[]): Map<string, Exchange[]> {
  const bodies = new Map<string, { readonly from: 'client' | 'server'; readonly eventId: string | undefined; readonly exchange: string; text: string; parts: number; open: boolean }>()
  for (const frame of frames) {
    if (frame.kind === 'mcp' && frame.exchange !== undefined) {
      bodies.set(`${frame.writer} ${frame.seq}`, { from: frame.from, eventId: frame.event?.id, exchange: `${frame.writer} ${frame.exchange}`, text: frame.body ?? '', parts: 0, open: frame.more === true })
    }
    const begun = frame.kind === 'body' ? bodies.get(`${frame.writer} ${frame.of}`) : undefined
    // Whether it was the last part does not matter: all bytes of a long upload may have passed, each recorded before, when nobody knows yet that they were the last.
    if (frame.kind === 'body' && begun !== undefined) {
      begun.text += frame.body ?? ''
      begun.parts++
      begun.open = frame.last !== true || begun.parts !== frame.part
    }
  }
  const byNumber = new Map<string, { name: string | undefined; client: StoredMessage[]; server: StoredMessage[] }>()
  for (const { from, eventId, exchange, text, open } of bodies.values()) {
    const about = byNumber.get(exchange) ?? { name: undefined, client: [], server: [] }
    byNumber.set(exchange, about)
    about[from].push({ digest: digest(text), eventId, open })
    if (from === 'client') about.name ??= /"id":"([^"]+)"/.exec(text)?.[1]
  }
  const byName = new Map<string, Exchange[]>()
  for (const { name, ...exchange } of byNumber.values()) if (name !== undefined) byName.set(name, [...(byName.get(name) ?? []), exchange])
  return byName
}

const TWICE = 'recorded twice'
const OTHER_BYTES = 'other bytes'
const OTHER_EVENT = 'another event'
const WRONG: ReadonlySet<string> = new Set([TWICE, OTHER_BYTES, OTHER_EVENT])

function problemOf(entry: Exclude<Entry, { readonly did: 'sent' }>, found: readonly Exchange[]): string | undefined {
  const [exchange, second] = found
  if (exchange === undefined) return 'no such exchange'
  if (second !== undefined) return TWICE
  if (entry.did === 'event') {
    const stored = exchange.server[entry.index]
    if (stored?.digest === entry.message && stored.eventId === entry.id) return undefined
    return stored === undefined || stored.open ? `event ${entry.index} is missing` : OTHER_EVENT
  }
  const stored = entry.by === 'client' ? exchange.server : exchange.client
  if (stored.length !== entry.messages.length) return `${stored.length} messages instead of ${entry.messages.length}`
  const other = stored.find(({ digest: found }, at) => found !== entry.messages[at])
  return other === undefined ? undefined : other.open ? 'its last parts are missing' : OTHER_BYTES
}

/** Writers that were cut without a word, holes without a word, and calls in flight of which nothing is said. */
function undeclaredIn(frames: readonly Frame[], gaps: readonly FrameOf<'gap'>[], entries: readonly Entry[], exchanges: ReadonlyMap<string, readonly Exchange[]>, lives: readonly Life[]): string[] {
  const undeclared: string[] = []
  const stopped = new Set(frames.filter(frame => frame.kind === 'writer.stop').map(frame => frame.writer))
  const cut = new Set(gaps.filter(gap => gap.reason === 'cut').map(gap => gap.of))
  const seqs = new Map<string, number[]>()
  for (const { writer, seq } of frames) seqs.set(writer, [...(seqs.get(writer) ?? []), seq])
  for (const { number, writer, served } of lives) {
    if (writer === undefined) {
      if (served) undeclared.push(`life ${number} served and left no trace`)
      continue
    }
    if (seqs.has(writer) && !stopped.has(writer) && !cut.has(writer)) undeclared.push(`writer ${writer} of life ${number} was cut, and no later one says so`)
    for (const [from, to] of holesIn(seqs.get(writer) ?? [])) {
      const declared = gaps.some(gap => (gap.of ?? gap.writer) === writer && (gap.fromSeq ?? Infinity) <= from && (gap.toSeq ?? Infinity) >= to)
      if (!declared) undeclared.push(`frames ${from} to ${to} of ${writer} are missing without a word`)
    }
  }
  const writerOf = new Map(lives.map(life => [life.number, life.writer]))
  for (const entry of entries) {
    if (entry.did !== 'sent' || exchanges.has(entry.call) || !writerOf.has(entry.life)) continue
    const writer = writerOf.get(entry.life)
    if (writer === undefined || !cut.has(writer)) undeclared.push(`${entry.call} was in flight when life ${entry.life} ended, and nothing says that anything is missing there`)
  }
  return undeclared
}

function isGap(frame: Frame): frame is FrameOf<'gap'> {
  return frame.kind === 'gap'
}

/** Frames in the spool, as far as they are durable. */
export function spooledFrames(spool: string): Frame[] {
  const frames: Frame[] = []
  for (const [writer, files] of listLogs(spool)) {
    for (const file of files) {
      const reader = openLogReader(spoolPath(spool)(writer, file), writer, 0)
      for (let item = reader.next(Infinity); item.kind !== 'end'; item = reader.next(Infinity)) {
        const parsed = item.kind === 'line' ? parseLine(item.line.toString()) : undefined
        if (parsed?.kind === 'frame') frames.push(parsed.frame)
      }
      reader.close()
    }
  }
  return frames
}

function holesIn(seqs: readonly number[]): [number, number][] {
  const holes: [number, number][] = []
  let next = 0
  for (const seq of seqs) {
    if (seq !== next) holes.push([next, seq - 1])
    next = seq + 1
  }
  return holes
}
