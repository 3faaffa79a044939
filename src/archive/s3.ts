/**
 * A bucket, or a part of one, as an archive: what Firehose has written there. Every version of an object is read, the oldest first, so that a later one
 * can add what is missing and cannot replace what is there. Reads ranges; never writes. `docs/aws.md` says which rights it needs.
 */

import { GetObjectCommand, ListObjectVersionsCommand, S3Client } from '@aws-sdk/client-s3'
import type { GetObjectCommandOutput, ListObjectVersionsCommandOutput } from '@aws-sdk/client-s3'

import { StenoError } from '../errors.ts'
import { CERTIFICATE_ADVICE, failureName, isCertificateError } from '../platform/aws/error-name.ts'
import type { Archive, ArchiveObject, ObjectReader } from './archive.ts'
import { isRecording, readVersionName, resumeAfter, versionName } from './s3-keys.ts'

export interface S3Place {
  readonly bucket: string
  /** Empty, or ends with `/`. */
  readonly prefix: string
  /** The places of the AWS SDK when left out. */
  readonly region?: string | undefined
  /** Another store than AWS. */
  readonly endpoint?: string | undefined
  /** Bucket in the path instead of the host. */
  readonly pathStyle: boolean
}

/** A header with its index, and small members whole. */
const HOP_BYTES = 128 * 1024
/** For a reader that goes on from where it was. */
const AHEAD_BYTES = 4 * 1024 * 1024
const CONNECT_MS = 5_000
/** Until an answer begins, and between two pieces of it. */
const CALL_MS = 60_000
/** An answer that breaks off is asked for again so often; the SDK looks only at its head. */
const ATTEMPTS = 3
/** A question every half second would cost. */
const FRESH_MS = 5_000

export interface S3Archive extends Archive {
  close(): Promise<void>
}

/** @param name as the user gave it */
export function s3Archive(name: string, place: S3Place): S3Archive {
  const { bucket, prefix, endpoint, region } = place
  const client = new S3Client({
    forcePathStyle: place.pathStyle,
    followRegionRedirects: endpoint === undefined,
    // A range has no checksum of the whole.
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: { connectionTimeout: CONNECT_MS, requestTimeout: CALL_MS, socketTimeout: CALL_MS, throwOnRequestTimeout: true },
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
  })

  async function* list(after?: string): AsyncGenerator<ArchiveObject> {
    // The versions of one key, newest first, may be spread over two pages.
    let own: ArchiveObject[] = []
    let ownKey = ''
    let hidden = false
    const flush = (): readonly ArchiveObject[] => {
      const found = own.reverse().map(object => (hidden ? { ...object, hidden: true } : object))
      own = []
      return found
    }
    for await (const page of pages(after)) {
      const entries = [...(page.Versions ?? []).map(each => ({ ...each, marker: false })), ...(page.DeleteMarkers ?? []).map(each => ({ ...each, marker: true, Size: 0 }))]
      // Two lists come back; in each, keys ascend and what was stored last comes first. Times do not tell that: an upload in parts has the time at which it was begun.
      entries.sort((a, b) => compare(a.Key ?? '', b.Key ?? ''))
      for (const entry of entries) {
        const key = (entry.Key ?? '').slice(prefix.length)
        if (key !== ownKey) {
          yield* flush()
          ownKey = key
          hidden = false
        }
        if (entry.marker) hidden ||= entry.IsLatest === true
        else if (isRecording(key)) own.push({ name: versionName(key, entry.VersionId), size: entry.Size ?? 0, modifiedMs: entry.LastModified?.getTime() ?? 0 })
      }
    }
    yield* flush()
  }
  async function* pages(after: string | undefined): AsyncGenerator<ListObjectVersionsCommandOutput> {
    let marker: { readonly KeyMarker?: string | undefined; readonly VersionIdMarker?: string | undefined } = after === undefined ? {} : { KeyMarker: `${prefix}${after}` }
    for (;;) {
      const page = await client.send(new ListObjectVersionsCommand({ Bucket: bucket, Prefix: prefix, ...marker })).catch((cause: unknown) => {
        throw readError(name, `list bucket '${bucket}'`, cause)
      })
      yield page
      if (page.IsTruncated !== true) return
      if (page.NextKeyMarker === undefined || (page.NextKeyMarker === marker.KeyMarker && page.NextVersionIdMarker === marker.VersionIdMarker)) throw new StenoError('archive.io', `bucket '${bucket}' of ${name} says that there is more, and not where to go on; look at that store: it must list versions as S3 does`)
      marker = { KeyMarker: page.NextKeyMarker, VersionIdMarker: page.NextVersionIdMarker }
    }
  }
  /** @returns undefined when there is no such object */
  const fetchRange = async (object: string, from: number, length: number): Promise<{ readonly bytes: Uint8Array; readonly size: number } | undefined> => {
    const { key, version } = readVersionName(object)
    try {
      for (let attempt = 1; ; attempt++) {
        const answer = await client.send(new GetObjectCommand({ Bucket: bucket, Key: `${prefix}${key}`, VersionId: version, Range: `bytes=${from}-${from + length - 1}` }))
        const bytes = await bodyOf(answer, attempt < ATTEMPTS)
        if (bytes !== undefined) return { bytes, size: Number(/\/(\d+)$/.exec(answer.ContentRange ?? '')?.[1] ?? bytes.length) }
      }
    } catch (cause) {
      const reason = nameOf(cause)
      if (reason === 'NoSuchKey' || reason === 'NoSuchVersion' || reason === 'NotFound' || reason === 'MethodNotAllowed') return undefined
      // The object is empty, or ends before.
      if (reason === 'InvalidRange' || reason === 'RequestedRangeNotSatisfiable') return { bytes: new Uint8Array(), size: 0 }
      throw readError(name, `read '${key}'`, cause)
    }
  }
  const open = async (object: string): Promise<ObjectReader | undefined> => {
    const first = await fetchRange(object, 0, HOP_BYTES)
    if (first === undefined) return undefined
    const { size } = first
    let start = 0
    let block = first.bytes
    return {
      size,
      read: async (position, length) => {
        const wanted = Math.max(0, Math.min(length, size - position))
        const end = start + block.length
        if (position < start || position + wanted > end) {
          // Where it goes on, more is fetched than was asked for; where it hops, hardly.
          const ahead = position > 0 && position <= end && position >= start ? AHEAD_BYTES : HOP_BYTES
          const fetched = wanted === 0 ? undefined : await fetchRange(object, position, Math.max(wanted, ahead))
          block = fetched?.bytes ?? new Uint8Array()
          start = position
        }
        return block.subarray(position - start, position - start + wanted)
      },
      close: async () => {},
    }
  }
  return { name, list, open, resumeAfter, versioned: true, freshMs: FRESH_MS, close: async () => client.destroy() }
}

/** @returns undefined when it breaks off and that is borne */
async function bodyOf({ Body: body }: GetObjectCommandOutput, borne: boolean): Promise<Uint8Array | undefined> {
  try {
    return (await body?.transformToByteArray()) ?? new Uint8Array()
  } catch (cause) {
    if (borne) return undefined
    throw cause
  }
}

function readError(archive: string, what: string, cause: unknown): StenoError {
  const reason = nameOf(cause)
  if (reason === 'NoSuchBucket') return new StenoError('archive.missing', `there is no such bucket: ${archive}; check its name`, { cause })
  const advice = /Credentials|Token|Signature|AccessKey/i.test(reason)
    ? 'check the AWS credentials (AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)'
    : /AccessDenied|Forbidden/.test(reason)
      ? 'these credentials may not; they need s3:ListBucketVersions, s3:GetObject and s3:GetObjectVersion'
      : isCertificateError(reason)
        ? CERTIFICATE_ADVICE
        : 'check region, endpoint and network'
  return new StenoError('archive.io', `cannot ${what} of ${archive} (${reason}); ${advice}`, { cause })
}

function nameOf(cause: unknown): string {
  return cause instanceof Error && /^Region (?:is missing|not accepted)/.test(cause.message) ? 'no region is set' : failureName(cause)
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
