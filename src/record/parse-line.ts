/**
 * One line of a recording, from text to a typed value or a reason. The only place where stored text becomes a frame.
 * Never guesses: a line that is not exactly what the format says is `unknown` with a reason, and a newer format is named.
 */

import { StenoError } from '../errors.ts'
import { fieldProblem, isKnownKind } from './frame-fields.ts'
import { FORMAT_VERSION } from './frame.ts'
import type { Frame, SealLine, SegmentLine } from './frame.ts'

/** Longest line that a reader accepts. Frames are far shorter: large bodies go on in `body` frames. */
export const MAX_LINE_LENGTH = 16 * 1024 * 1024

/** Deepest nesting that a reader accepts. Frames nest four deep; what they carry is text. */
const MAX_LINE_DEPTH = 64

/** Most hashes in one `leaves` line. */
export const MAX_LEAVES = 256

/** First line of an export: where each writer's run starts and what its chain must come to. */
export interface ExportLine {
  readonly kind: 'export'
  readonly format: number
  readonly session: string
  readonly cleaned: boolean
  readonly writers: readonly ExportedWriter[]
}

export interface ExportedWriter {
  readonly writer: string
  readonly firstSeq: number
  readonly previous: string | null
  readonly lastSeq: number
  readonly head: string | null
}

/** A run of frames that are not shown: only their leaves, so that the chain can be followed. */
export interface LeavesLine {
  readonly kind: 'leaves'
  readonly writer: string
  readonly fromSeq: number
  readonly sha256: readonly string[]
}

export type ParsedLine =
  | { readonly kind: 'frame'; readonly frame: Frame; readonly known: boolean }
  | { readonly kind: 'segment'; readonly segment: SegmentLine }
  | { readonly kind: 'seal'; readonly seal: SealLine }
  | { readonly kind: 'export'; readonly header: ExportLine }
  | { readonly kind: 'leaves'; readonly leaves: LeavesLine }
  | { readonly kind: 'cleaned'; readonly leaf: string; readonly changes: number; readonly frame: Frame; readonly known: boolean }
  | { readonly kind: 'unknown'; readonly reason: string }

/** What can be told of a frame from the first bytes of its line, without parsing the rest. */
export interface LineHead {
  readonly writer: string
  readonly seq: number
  readonly time: string
  readonly kind: string
  readonly session?: string
}

// The head of a frame stands first and in this order, so that readers may take it from the line's first bytes.
const HEAD =
  /^\{"writer":"([\x21\x23-\x5b\x5d-\x7e]{1,255})","seq":(0|[1-9]\d{0,15}),"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z)","elapsedUs":(0|[1-9]\d{0,15}),"kind":"([a-z][a-z0-9.-]{0,63})","salt":"([0-9a-f]{16})"(?:,"session":"([\x21\x23-\x5b\x5d-\x7e]{1,255})")?(?:,"exchange":(0|[1-9]\d{0,15}))?[,}]/
// The kind of a line that is no frame stands first, and a fast reader looks no further.
const OWN_KIND = /^\{"kind":"(segment|seal|export|leaves|cleaned)"/
const HEX_HASH = /^[0-9a-f]{64}$/
const WRITER = /^[\x21\x23-\x5b\x5d-\x7e]{1,255}$/

/** Longest head: what a reader needs to see of a line for `readHead`. */
export const MAX_HEAD_LENGTH = 1024

/** Head of a frame line, or undefined when the line does not begin like a frame. */
export function readHead(line: string): LineHead | undefined {
  const found = HEAD.exec(line)
  if (found === null) return undefined
  const session = found[7]
  const head = { writer: found[1] ?? '', seq: Number(found[2]), time: found[3] ?? '', kind: found[5] ?? '' }
  return session === undefined ? head : { ...head, session }
}

/** @throws StenoError `recording.version` when the line announces a format that this program does not know. */
export function parseLine(text: string): ParsedLine {
  if (text.length > MAX_LINE_LENGTH) return unknown(`longer than ${MAX_LINE_LENGTH} characters`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return unknown('not JSON')
  }
  if (!isObject(value)) return unknown('not a JSON object')
  // Whatever walks or prints a value later on takes a step of its stack for each level.
  if (isDeeper(value, MAX_LINE_DEPTH)) return unknown(`nested deeper than ${MAX_LINE_DEPTH} levels`)
  if (text.startsWith('{"writer":')) return parseFrame(text, value)
  const kind = OWN_KIND.exec(text)?.[1]
  switch (value['kind'] === kind ? kind : undefined) {
    case 'segment':
      return parseSegment(value)
    case 'seal':
      return parseSeal(value)
    case 'export':
      return parseExport(value)
    case 'leaves':
      return parseLeaves(value)
    case 'cleaned':
      return parseCleaned(value)
    default:
      return unknown('neither a frame nor a line that this version knows')
  }
}

function parseFrame(text: string, value: Record<string, unknown>): ParsedLine {
  const head = HEAD.exec(text)
  if (head === null) return unknown('the head of the frame is not in the order and form of the format')
  const [, writer, seq, time, elapsedUs, kind, salt, session, exchange] = head
  // JSON.parse lets a later key win. A line whose head says one thing to a fast reader and another to a slow one is refused.
  const same =
    value['writer'] === writer &&
    value['seq'] === Number(seq) &&
    value['time'] === time &&
    value['elapsedUs'] === Number(elapsedUs) &&
    value['kind'] === kind &&
    value['salt'] === salt &&
    value['session'] === session &&
    value['exchange'] === (exchange === undefined ? undefined : Number(exchange))
  if (!same) return unknown('a key of the head stands twice or out of place')
  if (!Number.isSafeInteger(value['seq']) || !Number.isSafeInteger(value['elapsedUs'])) return unknown('a number of the head is out of range')
  if (value['exchange'] !== undefined && !Number.isSafeInteger(value['exchange'])) return unknown('a number of the head is out of range')
  return checkFields(value)
}

function checkFields(value: Record<string, unknown>): ParsedLine {
  const kind = String(value['kind'])
  if (kind === 'writer.start') refuseNewer(value['format'])
  const problem = fieldProblem(kind, value)
  if (problem !== undefined) return unknown(problem)
  return { kind: 'frame', frame: value as unknown as Frame, known: isKnownKind(kind) }
}

function parseSegment(value: Record<string, unknown>): ParsedLine {
  refuseNewer(value['format'])
  if (value['format'] !== FORMAT_VERSION || !isWriter(value['writer']) || !isCount(value['firstSeq']) || !isHashOrNull(value['previous'])) return unknown('a segment line with wrong fields')
  return { kind: 'segment', segment: value as unknown as SegmentLine }
}

function parseSeal(value: Record<string, unknown>): ParsedLine {
  if (!isWriter(value['writer']) || !isCount(value['lastSeq']) || !isCount(value['frames']) || !isHashOrNull(value['head'])) return unknown('a seal line with wrong fields')
  return { kind: 'seal', seal: value as unknown as SealLine }
}

function parseExport(value: Record<string, unknown>): ParsedLine {
  refuseNewer(value['format'])
  const writers = value['writers']
  const right =
    value['format'] === FORMAT_VERSION &&
    typeof value['session'] === 'string' &&
    typeof value['cleaned'] === 'boolean' &&
    Array.isArray(writers) &&
    writers.every((each: unknown) => isObject(each) && isWriter(each['writer']) && isCount(each['firstSeq']) && isCount(each['lastSeq']) && isHashOrNull(each['previous']) && isHashOrNull(each['head']))
  return right ? { kind: 'export', header: value as unknown as ExportLine } : unknown('an export line with wrong fields')
}

function parseLeaves(value: Record<string, unknown>): ParsedLine {
  const leaves = value['sha256']
  const right = isWriter(value['writer']) && isCount(value['fromSeq']) && Array.isArray(leaves) && leaves.length > 0 && leaves.length <= MAX_LEAVES && leaves.every(isHash)
  return right ? { kind: 'leaves', leaves: value as unknown as LeavesLine } : unknown('a leaves line with wrong fields')
}

function parseCleaned(value: Record<string, unknown>): ParsedLine {
  const frame = value['frame']
  if (!isHash(value['leaf']) || !isCount(value['changes']) || !isObject(frame)) return unknown('a cleaned line with wrong fields')
  const inner = parseFrame(JSON.stringify(frame), frame)
  return inner.kind === 'frame' ? { kind: 'cleaned', leaf: value['leaf'], changes: value['changes'], frame: inner.frame, known: inner.known } : inner
}

function refuseNewer(format: unknown): void {
  if (typeof format !== 'number' || format <= FORMAT_VERSION) return
  throw new StenoError('recording.version', `this recording has format ${format}, and this steno reads formats up to ${FORMAT_VERSION}; read it with a newer steno`)
}

function unknown(reason: string): ParsedLine {
  return { kind: 'unknown', reason }
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (levels === 0) return true
  for (const key in value) if (isDeeper((value as Readonly<Record<string, unknown>>)[key], levels - 1)) return true
  return false
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isWriter(value: unknown): value is string {
  return typeof value === 'string' && WRITER.test(value)
}

function isHash(value: unknown): value is string {
  return typeof value === 'string' && HEX_HASH.test(value)
}

function isHashOrNull(value: unknown): value is string | null {
  return value === null || isHash(value)
}
