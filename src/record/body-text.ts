/** Bodies: what of them is text, and how the parts of one come together again. */

import type { BodyPart, Frame, FrameOf } from './frame.ts'

/** A whole body, or the longest beginning of it that was found. */
export interface JoinedBody {
  readonly parts: readonly BodyPart[]
  /** The text, when every part is text. */
  readonly text?: string
  /** Bytes of the original. */
  readonly bytes?: number
  readonly sha256?: string
  /** False when a part is missing. */
  readonly whole: boolean
}

/**
 * @param first the frame that the body begins in
 * @param rest its `body` frames, in any order
 */
export function joinBody(first: FrameOf<'mcp'> | FrameOf<'http'>, rest: readonly FrameOf<'body'>[]): JoinedBody {
  const inOrder = [...rest].sort((a, b) => a.part - b.part)
  const parts: BodyPart[] = [first]
  let last: FrameOf<'body'> | undefined
  for (const part of inOrder) {
    if (part.part !== parts.length) break
    parts.push(part)
    if (part.last === true) last = part
  }
  const whole = first.more !== true || last !== undefined
  const bytes = first.more === true ? last?.bytes : first.bytes
  const text = parts.every(part => part.base64 === undefined) ? parts.map(part => part.body ?? '').join('') : undefined
  return {
    parts,
    whole,
    ...(text === undefined ? {} : { text }),
    ...(bytes === undefined ? {} : { bytes }),
    ...(last?.sha256 === undefined ? {} : { sha256: last.sha256 }),
  }
}

/** The frame with its text and bytes left out. */
export function withoutBody(frame: Frame): Frame {
  if (!('body' in frame) && !('base64' in frame)) return frame
  const { body: _body, base64: _base64, ...rest } = frame as Frame & BodyPart
  return rest as Frame
}

const MAX_NOTE = 200
const MAX_PARSED = 64 * 1024

/** What an error answer says went wrong, cut to one short text. Undefined when it says nothing that can be shown. */
export function errorNote(body: string | undefined): string | undefined {
  if (body === undefined || body.length > MAX_PARSED) return undefined
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    return undefined
  }
  const message = at(value, 'error', 'message') ?? at(value, 'result', 'content', 0, 'text')
  return typeof message === 'string' && message !== '' ? message.slice(0, MAX_NOTE) : undefined
}

function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let here = value
  for (const key of path) {
    if (typeof here !== 'object' || here === null) return undefined
    here = (here as Readonly<Record<string | number, unknown>>)[key]
  }
  return here
}
