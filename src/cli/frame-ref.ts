/** Frames by name: `WRITER.SEQ`, or SEQ alone where the session has one writer. A writer may be cut to a prefix that fits one only. */

import { StenoError } from '../errors.ts'
import type { SessionSummary } from '../record/recording.ts'
import type { FrameRef } from '../record/row.ts'

const SHORT = 8

/** @throws StenoError `usage.invalid`, `recording.not-found` */
export function parseFrameRef(text: string, session: SessionSummary): FrameRef {
  const found = /^(?:(.+)\.)?(\d+)$/.exec(text)
  if (found === null) throw new StenoError('usage.invalid', `'${text}' is no frame; write it as WRITER.SEQ, or as SEQ where the session has one writer`)
  const [, prefix, seq] = found
  const writers = session.writers.filter(writer => prefix === undefined || writer === prefix || writer.startsWith(prefix))
  const writer = session.writers.find(each => each === prefix) ?? writers[0]
  if (writer === undefined) throw new StenoError('recording.not-found', `session ${session.id} has no writer '${prefix ?? ''}'; its writers are ${session.writers.join(', ') || 'none'}`)
  if (writers.length > 1 && writer !== prefix) throw new StenoError('usage.invalid', `'${text}' fits several writers: ${writers.join(', ')}; write WRITER.${seq}`)
  return { writer, seq: Number(seq) }
}

/** How a frame is shown: its seq, and its writer only where there are several. */
export function frameNamer(session: SessionSummary): (frame: FrameRef) => string {
  if (session.writers.length < 2) return frame => String(frame.seq)
  let length = SHORT
  while (length < 255 && new Set(session.writers.map(writer => writer.slice(0, length))).size < session.writers.length) length += 1
  return frame => `${frame.writer.slice(0, length)}.${frame.seq}`
}
