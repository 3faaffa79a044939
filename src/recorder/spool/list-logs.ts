/** Which files of the spool's directory are ours. Whatever else lies there is left alone. */

import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { logName, parseLogName, parsePositionName } from './log-format.ts'

const RESERVE_NAME = 'reserve'

/** Log files of a directory by writer, each list in order of file number. */
export function listLogs(directory: string): Map<string, number[]> {
  const logs = new Map<string, number[]>()
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const log = entry.isFile() ? parseLogName(entry.name) : undefined
    if (log === undefined) continue
    const files = logs.get(log.writer)
    if (files === undefined) logs.set(log.writer, [log.file])
    else files.push(log.file)
  }
  for (const files of logs.values()) files.sort((a, b) => a - b)
  return logs
}

/** Position files whose writer has no log any more: what a crash left when it came between removing the two. */
export function listOrphans(directory: string, logs: ReadonlyMap<string, unknown>): string[] {
  return readdirSync(directory).filter(name => {
    const writer = parsePositionName(name)
    return writer !== undefined && !logs.has(writer)
  })
}

/** What the log files and the reserve take on disk, preallocated room included. */
export function spoolFileBytes(directory: string): number {
  let bytes = 0
  for (const name of readdirSync(directory)) {
    if (name === RESERVE_NAME || parseLogName(name) !== undefined) bytes += statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0
  }
  return bytes
}

export function spoolPath(directory: string): (writer: string, file: number) => string {
  return (writer, file) => join(directory, logName(writer, file))
}

/** Where the reserve lies: room for the last words when the disk is full. */
export function reservePath(directory: string): string {
  return join(directory, RESERVE_NAME)
}
