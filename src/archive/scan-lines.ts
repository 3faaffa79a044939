/** Splits a part into lines. Empty lines are passed over; a line that is not UTF-8 gives no text. */

import { isUtf8 } from 'node:buffer'

/** @param onLine text of the line (undefined when it is not UTF-8), and where it stands in `bytes`, newline excluded */
export function scanLines(bytes: Buffer, onLine: (text: string | undefined, start: number, end: number) => void): void {
  const allValid = isUtf8(bytes)
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(10, start)
    const end = newline < 0 ? bytes.length : newline
    if (end > start) onLine(allValid || isUtf8(bytes.subarray(start, end)) ? bytes.toString('utf8', start, end) : undefined, start, end)
    start = end + 1
  }
}
