/** Keys of an archive in S3: which are ours, how versions of them are named, and from where a listing must go on. Pure. */

/** An object as the archive names it: its key below the prefix, and the version where the bucket keeps versions. */
export interface VersionName {
  readonly key: string
  readonly version: string | undefined
}

const MARK = '?versionId='
/** What S3 calls the version of an object from before versioning was switched on. */
const UNVERSIONED = 'null'

export function versionName(key: string, version: string | undefined): string {
  return version === undefined || version === UNVERSIONED ? key : `${key}${MARK}${version}`
}

export function readVersionName(name: string): VersionName {
  const at = name.lastIndexOf(MARK)
  return at < 0 ? { key: name, version: undefined } : { key: name.slice(0, at), version: name.slice(at + MARK.length) }
}

/** `stream-version-2026-01-02-03-04-05-uuid`: what Firehose writes when the stream sets no file extension. */
const FIREHOSE = /-\d{4}(?:-\d\d){5}-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

/** @param key below the prefix */
export function isRecording(key: string): boolean {
  if (key.split('/').some(part => part === '' || part.startsWith('.'))) return false
  return /\.jsonl(\.gz)?$/.test(key) || FIREHOSE.test(key)
}

const HOUR = /^(\d{4})\/(\d\d)\/(\d\d)\/(\d\d)\//

/**
 * Firehose names an object by the arrival of its oldest record and tries for 24 hours to write it; a rewrite comes under the same name.
 * So what comes late lies at most so far before the newest.
 */
const OVERLAP_MS = 25 * 3_600_000

/**
 * @param newest the greatest name known
 * @returns the greatest name that need not be listed again; undefined when keys do not begin with the hour of arrival
 */
export function resumeAfter(newest: string): string | undefined {
  const match = HOUR.exec(newest)
  if (match === null) return undefined
  const [, year = '', month = '', day = '', hour = ''] = match
  const ms = Date.parse(`${year}-${month}-${day}T${hour}:00:00Z`)
  if (Number.isNaN(ms)) return undefined
  return `${new Date(ms - OVERLAP_MS).toISOString().slice(0, 13).replaceAll(/[-T]/g, '/')}/`
}
