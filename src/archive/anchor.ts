/** The anchor: heads of writers' chains, kept where the writers cannot write. */

import { StenoError } from '../errors.ts'
import type { VerifyReport } from '../record/verdict.ts'

export interface Anchor {
  readonly format: 1
  /** RFC 3339: when the heads were taken. */
  readonly time: string
  readonly writers: readonly { readonly writer: string; readonly count: number; readonly head: string }[]
}

/** Reads an anchor file's text. @throws StenoError `anchor.invalid` */
export function parseAnchor(text: string): Anchor {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw invalid('it is not JSON', cause)
  }
  if (!isRecord(value)) throw invalid('it is not a JSON object')
  if (typeof value['format'] === 'number' && value['format'] > 1) throw invalid(`it has format ${value['format']}, which a newer steno reads`)
  const writers = value['writers']
  if (value['format'] !== 1 || typeof value['time'] !== 'string' || Number.isNaN(Date.parse(value['time'])) || !Array.isArray(writers)) throw invalid('format, time or writers is missing or wrong')
  const seen = new Set<unknown>()
  for (const each of writers as unknown[]) {
    const right = isRecord(each) && typeof each['writer'] === 'string' && Number.isSafeInteger(each['count']) && Number(each['count']) > 0 && typeof each['head'] === 'string' && /^[0-9a-f]{64}$/.test(each['head'])
    if (!right || seen.has(each['writer'])) throw invalid('a writer in it has wrong fields, or stands twice')
    seen.add(each['writer'])
  }
  return value as unknown as Anchor
}

/** What may be kept of a report as an anchor: the writers whose chain is whole from their first frame. */
export function makeAnchor(report: VerifyReport, time: string): Anchor {
  const writers = report.writers.flatMap(each =>
    each.head !== null && each.verdict !== 'broken' && each.holes.length === 0 && each.firstSeq === 0 ? [{ writer: each.writer, count: each.lastSeq + 1, head: each.head }] : [],
  )
  return { format: 1, time, writers }
}

function invalid(why: string, cause?: unknown): StenoError {
  return new StenoError('anchor.invalid', `this is not an anchor: ${why}; use a file that 'steno verify --save-anchor' wrote`, { cause })
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
