/** Looks through what earlier writers left in the spool: how far each came, what is not shipped, and what of it is damaged. Reads only. */

import type { RecoveredWriter } from '../../record/frame.ts'
import { readPosition } from './position-file.ts'
import { listLogs, spoolPath } from './list-logs.ts'
import { HEADER_BYTES, peekLine } from './log-format.ts'
import { openLogReader } from './log-reader.ts'

export interface SpoolFinding {
  readonly writer: string
  readonly reason: 'torn-tail' | 'damage'
  readonly bytes: number
  readonly fromSeq?: number
  readonly toSeq?: number
  readonly detail: string
}

/** Records of a log file that are not shipped. */
export interface LeftRecords {
  readonly writer: string
  readonly file: number
  readonly begin: number
  readonly end: number
  /** When the first of them was written, ms since epoch. */
  readonly ms: number
}

export interface Adopted {
  readonly recovered: readonly RecoveredWriter[]
  readonly findings: readonly SpoolFinding[]
  readonly left: readonly LeftRecords[]
}

interface Scan extends Adopted {
  readonly recovered: RecoveredWriter[]
  readonly findings: SpoolFinding[]
  readonly left: LeftRecords[]
}

/** @throws StenoError `spool.version` for a file that a newer program wrote */
export function adoptSpool(directory: string): Adopted {
  const scan: Scan = { recovered: [], findings: [], left: [] }
  for (const [writer, files] of listLogs(directory)) scanWriter(directory, writer, files, scan)
  return scan
}

function scanWriter(directory: string, writer: string, files: readonly number[], scan: Scan): void {
  const pathOf = (file: number): string => spoolPath(directory)(writer, file)
  // What is shipped is not looked at again: it is whole elsewhere.
  const shipped = readPosition(directory, writer, pathOf)
  let lastSeq = shipped?.position.seq ?? -1
  let stopped = shipped?.kind === 'writer.stop'
  let holeBytes = 0
  for (const file of files) {
    if (shipped !== undefined && file < shipped.position.file) continue
    const begin = shipped?.position.file === file ? shipped.position.offset : HEADER_BYTES
    const reader = openLogReader(pathOf(file), writer, begin)
    try {
      let end = begin
      let firstTime: string | undefined
      for (;;) {
        const item = reader.next(Infinity)
        if (item.kind === 'end') {
          holeBytes += item.bytes
          break
        }
        end = item.end
        if (item.kind === 'damage') {
          holeBytes += item.bytes
          continue
        }
        const head = peekLine(item.line)
        if (head === undefined || head.seq <= lastSeq) continue
        firstTime ??= head.time
        // Damage that cost no frame: a write that failed was repeated in the next file.
        if (head.seq !== lastSeq + 1 && (lastSeq >= 0 || holeBytes > 0)) {
          scan.findings.push({ writer, reason: 'damage', bytes: holeBytes, fromSeq: lastSeq + 1, toSeq: head.seq - 1, detail: `${head.seq - lastSeq - 1} frames in the spool could not be read back` })
        }
        holeBytes = 0
        lastSeq = head.seq
        stopped = head.kind === 'writer.stop'
      }
      if (firstTime !== undefined) scan.left.push({ writer, file, begin, end, ms: Date.parse(firstTime) })
    } finally {
      reader.close()
    }
  }
  if (holeBytes > 0) scan.findings.push({ writer, reason: 'torn-tail', bytes: holeBytes, fromSeq: lastSeq + 1, detail: 'the end of the log cannot be read: its last write was cut, of which nothing had been released, or the disk has damaged it' })
  scan.recovered.push({ writer, frames: lastSeq + 1, state: stopped ? 'stopped' : 'cut' })
}
