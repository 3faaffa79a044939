/** Looks through what earlier writers left in the spool: how far each came, and what of it is damaged. Reads only. */

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { RecoveredWriter } from '../../record/frame.ts'
import { logName, parseLogName, peekLine, RECORD_HEAD_BYTES } from './log-format.ts'
import { openLogReader } from './log-reader.ts'

export interface SpoolFinding {
  readonly writer: string
  readonly reason: 'torn-tail' | 'damage'
  readonly bytes: number
  readonly fromSeq?: number
  readonly toSeq?: number
  readonly detail: string
}

export interface Adopted {
  readonly recovered: readonly RecoveredWriter[]
  readonly findings: readonly SpoolFinding[]
  /** Bytes that their files take. */
  readonly fileBytes: number
  /** Bytes of their records. */
  readonly recordBytes: number
}

/** Log files of a directory by writer, each list in order of file number. */
export function listLogs(directory: string): Map<string, number[]> {
  const logs = new Map<string, number[]>()
  for (const name of readdirSync(directory)) {
    const log = parseLogName(name)
    if (log === undefined) continue
    const files = logs.get(log.writer)
    if (files === undefined) logs.set(log.writer, [log.file])
    else files.push(log.file)
  }
  for (const files of logs.values()) files.sort((a, b) => a - b)
  return logs
}

export function adoptSpool(directory: string, pathOf: (writer: string, file: number) => string): Adopted {
  const recovered: RecoveredWriter[] = []
  const findings: SpoolFinding[] = []
  let fileBytes = 0
  let recordBytes = 0
  for (const [writer, files] of listLogs(directory)) {
    for (const file of files) fileBytes += statSync(pathOf(writer, file)).size
    const found = scanWriter(writer, files, pathOf)
    recovered.push(found.recovered)
    findings.push(...found.findings)
    recordBytes += found.recordBytes
  }
  return { recovered, findings, fileBytes, recordBytes }
}

function scanWriter(writer: string, files: readonly number[], pathOf: (writer: string, file: number) => string): { recovered: RecoveredWriter; findings: SpoolFinding[]; recordBytes: number } {
  const findings: SpoolFinding[] = []
  let lastSeq = -1
  let stopped = false
  let holeBytes = 0
  let recordBytes = 0
  files.forEach((file, index) => {
    const reader = openLogReader(pathOf(writer, file), writer, 0)
    try {
      for (;;) {
        const item = reader.next(Infinity)
        if (item.kind === 'line') {
          recordBytes += RECORD_HEAD_BYTES + item.line.length
          const peeked = peekLine(item.line)
          if (peeked === undefined || peeked.seq <= lastSeq) continue
          // Damage that cost no frame: a write that failed was repeated in the next file.
          if (peeked.seq !== lastSeq + 1 && (lastSeq >= 0 || holeBytes > 0)) {
            findings.push({ writer, reason: 'damage', bytes: holeBytes, fromSeq: lastSeq + 1, toSeq: peeked.seq - 1, detail: `${peeked.seq - lastSeq - 1} frames in the spool could not be read back` })
          }
          holeBytes = 0
          lastSeq = peeked.seq
          stopped = peeked.kind === 'writer.stop'
        } else if (item.kind === 'damage') {
          holeBytes += item.bytes
        } else {
          if (item.bytes > 0 && index === files.length - 1) findings.push({ writer, reason: 'torn-tail', bytes: item.bytes, fromSeq: lastSeq + 1, detail: 'the last write was cut; nothing of it had been released' })
          else if (item.bytes > 0) holeBytes += item.bytes
          break
        }
      }
    } finally {
      reader.close()
    }
  })
  return { recovered: { writer, frames: lastSeq + 1, state: stopped ? 'stopped' : 'cut' }, findings, recordBytes }
}

export function spoolPath(directory: string): (writer: string, file: number) => string {
  return (writer, file) => join(directory, logName(writer, file))
}
