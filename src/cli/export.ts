/** `steno export ID`: a session as JSON lines that others can check. Cleaned unless `--raw`; stderr says how much was taken out. */

import { open, rm } from 'node:fs/promises'
import type { FileHandle } from 'node:fs/promises'

import { exportSession } from '../archive/export.ts'
import { StenoError } from '../errors.ts'
import type { CliIo, ExitCode } from './io.ts'
import { escapeJson } from './printable.ts'
import { createProgress } from './progress.ts'
import { reportFindings, sessionOf, withSource } from './source.ts'
import type { SourceOptions } from './source.ts'
import { write } from './write.ts'

const CHUNK = 64 * 1024

export interface ExportOptions extends SourceOptions {
  readonly raw?: boolean
  readonly outputFile?: string
}

export async function runExport(id: string | undefined, options: ExportOptions, io: CliIo): Promise<ExitCode> {
  return withSource(options, io, async source => {
    const session = await sessionOf(source, id, options, io)
    const exported = exportSession(source.recording, session.id, { raw: options.raw === true })
    const lines = watched(exported.lines, io)
    if (options.outputFile === undefined) await toStdout(lines, io)
    else await toFile(options.outputFile, lines)
    reportFindings(source, io)
    const { frames, cleanedLines, changes } = exported.counts()
    const what = options.raw === true ? 'exactly as recorded: it may hold secrets' : `cleaned: ${counted(changes, 'value')} taken out of ${counted(cleanedLines, 'frame')}; --raw leaves all in`
    io.stderr.write(`exported ${counted(frames, 'frame')} of session ${session.id}, ${what}\n`)
    return 0
  })
}

async function* watched(lines: AsyncIterable<string>, io: CliIo): AsyncGenerator<string> {
  const progress = createProgress('lines', io)
  try {
    for await (const line of lines) {
      io.signal.throwIfAborted()
      progress.tick()
      yield line
    }
  } finally {
    progress.done()
  }
}

async function toStdout(lines: AsyncIterable<string>, io: CliIo): Promise<void> {
  // A line's bytes are its evidence: they are changed only where a terminal would obey them.
  const shown = io.stdout.isTTY === true ? escapeJson : (line: string): string => line
  for await (const chunk of chunks(lines, shown)) await write(io.stdout, chunk)
}

async function toFile(path: string, lines: AsyncIterable<string>): Promise<void> {
  let file: FileHandle
  try {
    file = await open(path, 'wx', 0o600)
  } catch (cause) {
    throw new StenoError('archive.io', `cannot write '${path}': the file exists, or its folder cannot be written to; choose another name`, { cause })
  }
  try {
    for await (const chunk of chunks(lines, line => line)) await file.appendFile(chunk)
    await file.close()
  } catch (cause) {
    // Half an export must not pass for a whole one.
    await file.close().catch(() => {})
    await rm(path, { force: true })
    throw cause
  }
}

async function* chunks(lines: AsyncIterable<string>, shown: (line: string) => string): AsyncGenerator<string> {
  let chunk = ''
  for await (const line of lines) {
    chunk += `${shown(line)}\n`
    if (chunk.length < CHUNK) continue
    yield chunk
    chunk = ''
  }
  if (chunk !== '') yield chunk
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}
