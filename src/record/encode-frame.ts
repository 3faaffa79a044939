/**
 * One frame to one line. The order of the head's fields is part of the format: shipper and adoption read writer, seq, kind and
 * session from a line's beginning without parsing it.
 */

import type { FrameContent, FrameHead } from './frame.ts'

/** As `FrameHead`, made without looking what is there. */
type Head = Omit<FrameHead, 'session' | 'exchange'> & { readonly session?: string | undefined; readonly exchange?: number | undefined }

/**
 * @param head writer, session and salt must be plain ASCII without quotes or backslashes (they are ours)
 * @returns the line without newline
 */
export function encodeFrame(head: Head, content: FrameContent): string {
  let line = `{"writer":"${head.writer}","seq":${head.seq},"time":"${head.time}","elapsedUs":${head.elapsedUs},"kind":"${content.kind}","salt":"${head.salt}"`
  if (head.session !== undefined) line += `,"session":"${head.session}"`
  if (head.exchange !== undefined) line += `,"exchange":${head.exchange}`
  // Not Object.entries: this runs for every frame, and the arrays that it makes are garbage.
  for (const key in content) {
    const value: unknown = content[key as keyof FrameContent]
    if (key === 'kind' || value === undefined) continue
    line += typeof value === 'number' || typeof value === 'boolean' ? `,"${key}":${value}` : `,"${key}":${JSON.stringify(value)}`
  }
  return `${line}}`
}
