/** Where a command reads from: `--archive DIR` or `--archive s3://…`, else STENO_ARCHIVE, else `./recordings`; or `-f FILE`, where `-` is standard input. */

import { tmpdir } from 'node:os'

import type { OpenRecording } from '../archive/catalog-recording.ts'
import { openRecording, sourceAt } from '../archive/open-recording.ts'
import type { RecordingSource } from '../archive/open-recording.ts'
import { StenoError } from '../errors.ts'
import type { Frame } from '../record/frame.ts'
import type { SessionSummary, StoredFrame } from '../record/recording.ts'
import { defaultArchive, nowMs, programName } from './io.ts'
import type { CliIo, ExitCode } from './io.ts'
import { printable } from './printable.ts'
import { createProgress } from './progress.ts'
import { isS3, s3Source } from './s3-source.ts'

/** Flags that reading commands share, as commander gives them. */
export interface SourceOptions {
  readonly archive?: string
  readonly file?: string
}

export interface Source {
  readonly recording: OpenRecording
  /** As the user gave it. */
  readonly name: string
  /** Flags that name this source, for advice. */
  readonly flags: string
}

/** Opens the source, runs the command, closes it whatever happens. A signal ends the wait for a source that never comes. */
export async function withSource(options: SourceOptions, io: CliIo, run: (source: Source) => Promise<ExitCode>): Promise<ExitCode> {
  if (options.archive !== undefined && options.file !== undefined) throw new StenoError('usage.invalid', `--archive and -f name two sources; give one of them`)
  const name = options.file ?? options.archive ?? defaultArchive(io)
  const from = await sourceOf(options, name, io)
  const opening = openRecording(from, { now: () => nowMs(io), tempDir: tmpdir() })
  const recording = await unlessAborted(opening, io.signal)
  try {
    return await run({ recording, name: options.file === '-' ? 'standard input' : name, flags: flagsOf(options) })
  } finally {
    await recording.close()
  }
}

async function sourceOf(options: SourceOptions, name: string, io: CliIo): Promise<RecordingSource> {
  if (options.file === '-') return { type: 'stream', stream: io.stdin, name: 'standard input' }
  return options.file === undefined && isS3(name) ? s3Source(name, io) : await sourceAt(name)
}

function flagsOf(options: SourceOptions): string {
  if (options.file !== undefined) return ` -f ${options.file}`
  return options.archive === undefined ? '' : ` --archive ${shellWord(options.archive)}`
}

/** A place with parameters has signs that a shell reads otherwise. */
function shellWord(text: string): string {
  return /[?&]/.test(text) ? `'${text}'` : text
}

/** The session that an argument names. Without one, a file that holds a single session means that one. */
export async function sessionOf(source: Source, id: string | undefined, options: SourceOptions, io: CliIo): Promise<SessionSummary> {
  const { recording } = source
  const list = `'${programName(io)} list${source.flags}' shows what there is`
  if (id !== undefined) {
    const session = await recording.session(id)
    if (session === undefined) throw new StenoError('recording.not-found', `no session '${id}' in ${source.name}; ${list}`)
    return session
  }
  const sessions = await recording.sessions({ limit: 2 })
  const only = sessions[0]
  if (only === undefined) throw new StenoError('recording.not-found', `no session in ${source.name}`)
  if (options.file === undefined || sessions.length > 1) throw new StenoError('usage.invalid', `name a session; ${list}`)
  return only
}

/** Frames of a session, with a word on long work, until the end or a signal. */
export async function* framesOf(source: Source, session: SessionSummary, io: CliIo): AsyncGenerator<StoredFrame> {
  const progress = createProgress('frames', io)
  try {
    for await (const stored of source.recording.frames(session.id)) {
      io.signal.throwIfAborted()
      progress.tick()
      yield stored
    }
  } finally {
    progress.done()
  }
}

export async function collectFrames(source: Source, session: SessionSummary, io: CliIo, take: (frame: Frame) => void): Promise<void> {
  for await (const { frame } of framesOf(source, session, io)) take(frame)
}

/** Says what could not be read. What could be read is shown all the same. */
export function reportFindings(source: Source, io: CliIo): void {
  const findings = source.recording.findings()
  const first = findings[0]
  if (first === undefined) return
  const others = findings.length === 1 ? '' : `, and ${findings.length - 1} more`
  // Names of objects are recorded text like any other.
  io.stderr.write(`note: not everything could be read: ${printable(`${first.object} at ${first.offset}: ${first.detail}`)}${others}; '${programName(io)} verify${source.flags}' says what is proved\n`)
}

function unlessAborted<T extends { close(): Promise<void> }>(opening: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      reject(signal.reason)
      void opening.then(opened => opened.close(), () => {})
    }
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort, { once: true })
    opening.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
