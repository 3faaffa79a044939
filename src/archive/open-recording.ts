/** Opens what a user names: a folder of segments, one file of any kind that holds frames, or a stream of the same. */

import { stat } from 'node:fs/promises'
import type { Readable } from 'node:stream'

import { StenoError } from '../errors.ts'
import type { Archive } from './archive.ts'
import { numberOf } from './catalog-statements.ts'
import { Catalog } from './catalog.ts'
import { catalogRecording } from './catalog-recording.ts'
import type { OpenRecording } from './catalog-recording.ts'
import { directoryArchive, fileArchive } from './directory.ts'
import type { S3Place } from './s3.ts'
import { spoolStream } from './stdin-file.ts'

export type RecordingSource =
  | { readonly type: 'directory'; readonly path: string }
  | { readonly type: 'file'; readonly path: string }
  | { readonly type: 'stream'; readonly stream: Readable; readonly name: string }
  /** `cacheFolder`: where the catalog may lie; without one it is made anew each time. */
  | { readonly type: 's3'; readonly place: S3Place; readonly name: string; readonly cacheFolder: string | undefined }

export interface OpenRecordingDeps {
  /** ms since epoch: decides whether a session is still live. */
  readonly now: () => number
  /** Folder for a piped recording. It is emptied of it on `close`. */
  readonly tempDir: string
}

/** What lies at a path. @throws StenoError `archive.missing` */
export async function sourceAt(path: string): Promise<RecordingSource> {
  const stats = await stat(path).catch(() => undefined)
  return { type: stats?.isDirectory() === true || stats === undefined ? 'directory' : 'file', path }
}

/** @throws StenoError `archive.missing`, `archive.io`, `recording.invalid`, `recording.version` */
export async function openRecording(source: RecordingSource, deps: OpenRecordingDeps): Promise<OpenRecording> {
  if (source.type === 'directory') return opened(await directoryArchive(source.path), { folder: source.path, deps, mayBeEmpty: true })
  if (source.type === 'file') return opened(await fileArchive(source.path), { deps, mayBeEmpty: false })
  if (source.type === 's3') {
    // Only here: the client of S3 takes long to load.
    const { s3Archive } = await import('./s3.ts')
    const archive = s3Archive(source.name, source.place)
    try {
      return await opened(archive, { ...(source.cacheFolder === undefined ? {} : { folder: source.cacheFolder }), deps, mayBeEmpty: true, cleanUp: archive.close })
    } catch (cause) {
      await archive.close()
      throw cause
    }
  }
  const spooled = await spoolStream(source.stream, deps.tempDir)
  try {
    const archive = { ...(await fileArchive(spooled.path)), name: source.name }
    return await opened(archive, { deps, mayBeEmpty: false, cleanUp: spooled.remove })
  } catch (cause) {
    await spooled.remove()
    throw cause
  }
}

interface Opening {
  readonly folder?: string
  readonly deps: OpenRecordingDeps
  readonly mayBeEmpty: boolean
  readonly cleanUp?: () => Promise<void>
}

async function opened(archive: Archive, opening: Opening): Promise<OpenRecording> {
  const catalog = await Catalog.open(archive, opening.folder, opening.deps.now)
  try {
    const cleanUp = opening.cleanUp
    const recording = await catalogRecording(catalog, cleanUp === undefined ? { now: opening.deps.now } : { now: opening.deps.now, cleanUp })
    const writers = numberOf(catalog.database.prepare('select count(*) n from writer').get(), 'n')
    if (writers === 0) refuse(archive, recording, opening.mayBeEmpty)
    return recording
  } catch (cause) {
    await catalog.close()
    throw cause
  }
}

/** Nothing could be read as a frame: says why, unless a folder simply holds nothing yet. */
function refuse(archive: Archive, recording: OpenRecording, mayBeEmpty: boolean): void {
  const findings = recording.findings()
  const future = findings.find(finding => finding.reason === 'version')
  if (future !== undefined) throw new StenoError('recording.version', `'${archive.name}': ${future.detail}`)
  if (mayBeEmpty && findings.every(finding => finding.reason === 'cut')) return
  const why = findings[0] === undefined ? 'it holds no frames' : findings[0].detail
  throw new StenoError('recording.invalid', `'${archive.name}' is no recording that can be read: ${why}; name a segment (*.jsonl.gz), an export (*.jsonl) or a folder of them`)
}
